import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from facemix.verdict import bootstrap, simulation

Doubles = npt.NDArray[np.float64]


def normal(n_seeds: int, n: int, seed_sd: float = 0.0, sd: float = 1.0) -> Doubles:
    """Differences (1, S, n) whose faces have exactly the mean 0 and the given spread, and so have the seeds."""
    rng = np.random.default_rng(0)
    faces = stats.zscore(rng.standard_normal(n), ddof=1) * sd
    seeds = stats.zscore(rng.standard_normal(n_seeds), ddof=1) * seed_sd if n_seeds > 1 else np.zeros(1)
    return (seeds[:, None] + faces)[None]


def width(differences: Doubles, photos: npt.NDArray[np.int64] | None = None) -> float:
    photos = np.arange(differences.shape[2]) if photos is None else photos
    (found,) = bootstrap.compare(differences, photos)
    return found.high - found.low


def test_of_one_seed_the_interval_is_that_of_a_mean() -> None:
    assert width(normal(1, 400)) == pytest.approx(2 * 1.966 / np.sqrt(400), rel=0.04)


def test_photographs_count_not_faces() -> None:
    faces = normal(1, 400)
    copies = np.repeat(faces, 3, axis=2)
    assert width(copies, np.repeat(np.arange(400), 3)) == pytest.approx(width(faces), rel=1e-9)
    assert width(copies) == pytest.approx(width(faces) / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 10])
def test_where_only_seeds_differ_the_interval_is_students(n_seeds: int) -> None:
    expected = 2 * stats.t.ppf(0.975, n_seeds - 1) * 0.3 / np.sqrt(n_seeds)
    assert width(normal(n_seeds, 400, seed_sd=0.3, sd=0.0)) == pytest.approx(expected, rel=0.01)


def test_of_many_seeds_the_variances_of_seeds_and_photographs_add_up() -> None:
    expected = 2 * 1.96 * np.sqrt(1 / 400 + 0.5**2 / 100)
    assert width(normal(100, 400, seed_sd=0.5)) == pytest.approx(expected, rel=0.04)


def test_what_differs_by_seed_and_face_counts_once() -> None:
    rest = np.random.default_rng(0).standard_normal((1, 30, 400))
    assert width(rest) == pytest.approx(2 * 2.045 / np.sqrt(30 * 400), rel=0.35)  # counted twice: 1.41 times that


def test_of_one_seed_the_interval_is_scipys_bca() -> None:
    skewed = np.random.default_rng(1).lognormal(size=1000)
    expected = stats.bootstrap((skewed,), np.mean, n_resamples=9999, rng=np.random.default_rng(2)).confidence_interval
    (found,) = bootstrap.compare(skewed[None, None], np.arange(1000))
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.03 * np.ptp(expected))
    assert found.high - found.mean > 1.05 * (found.mean - found.low)


def test_equal_strategies_differ_by_nothing_at_all() -> None:
    (found,) = bootstrap.compare(np.zeros((1, 3, 20)), np.arange(20))
    assert (found.mean, found.low, found.high, found.below, found.p_value) == (0, 0, 0, 0.5, 1)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_symmetric_differences_are_below_zero_in_half_of_the_resamples(n_seeds: int) -> None:
    half = np.random.default_rng(0).standard_normal((1, n_seeds, 200))
    (found,) = bootstrap.compare(np.concatenate([half, -half], axis=2), np.arange(400))
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.below == pytest.approx(0.5, abs=0.02)
    assert found.p_value > 0.9


def test_the_sign_of_a_difference_turns_everything_round() -> None:
    differences = np.random.default_rng(0).lognormal(size=(1, 3, 100)) - 1.5
    (one,), (other,) = (bootstrap.compare(sign * differences, np.arange(100)) for sign in (1, -1))
    assert other.mean == -one.mean
    assert [-other.high, -other.low] == pytest.approx([one.low, one.high], abs=0.03 * (one.high - one.low))
    assert other.below == pytest.approx(1 - one.below, abs=0.03)
    assert other.p_value == pytest.approx(one.p_value, abs=0.03)


@pytest.mark.parametrize("shift", [-0.3, -0.19, -0.1, 0.05, 0.22])
def test_the_p_value_is_below_5_percent_where_the_interval_leaves_zero_out(shift: float) -> None:
    (found,) = bootstrap.compare(normal(5, 100, seed_sd=0.05) + shift, np.arange(100))
    assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_the_same_seed_gives_the_same_interval_whatever_else_is_compared() -> None:
    differences = np.random.default_rng(0).standard_normal((4, 3, 50))
    together = bootstrap.compare(differences, np.arange(50))
    alone = bootstrap.compare(differences[2:3], np.arange(50))[0]
    assert together == bootstrap.compare(differences, np.arange(50))
    assert [alone.low, alone.high] == pytest.approx([together[2].low, together[2].high], abs=1e-9)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_equal_differences_of_all_faces_say_nothing_of_others(n_seeds: int) -> None:
    (found,) = bootstrap.compare(np.full((1, n_seeds, 21), 0.1), np.arange(21))  # their mean is not 0.1 to the last bit
    assert (found.low, found.high, found.below, found.p_value) == (-np.inf, np.inf, 0.5, 1)
    assert found.mean == pytest.approx(0.1)


@pytest.mark.parametrize("values", [[-1.0, -1, -1, -1, -1, 99], [0.0, 0, 0, 0, 0, 1], [1e-9, 2e-9]])
def test_few_or_odd_differences_have_an_interval_of_numbers(values: list[float]) -> None:
    (found,) = bootstrap.compare(np.array(values)[None, None], np.arange(len(values)), confidence=0.999)
    assert found.low <= found.mean <= found.high
    assert 0 < found.p_value <= 1


def test_faces_of_one_photograph_whose_differences_cancel_say_nothing_of_others() -> None:
    (found,) = bootstrap.compare(np.array([[[-1.0, 1.0]]]), np.array(["a", "a"]))
    assert (found.mean, found.low, found.high) == (0, -np.inf, np.inf)


def test_one_photograph_says_nothing_of_others() -> None:
    (found,) = bootstrap.compare(np.full((1, 3, 2), -1.0), np.array(["a", "a"]))
    assert (found.mean, found.low, found.high, found.p_value) == (-1, -np.inf, np.inf, 1)


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 10])
def test_resampled_means_have_the_interval_of_each_mean(n_seeds: int) -> None:
    values = 5 + np.concatenate([normal(n_seeds, 400, seed_sd=0.05), 2 * normal(n_seeds, 400, seed_sd=0.02)])
    drawn = bootstrap.resampled_means(values, np.arange(400), resamples=20_000)
    expected = bootstrap.compare(values, np.arange(400))
    for low, high, one in zip(*np.quantile(drawn, [0.025, 0.975], axis=0), expected, strict=True):
        assert [low, high] == pytest.approx([one.low, one.high], abs=0.05 * (one.high - one.low))


def test_of_differences_what_seeds_and_photographs_do_together_counts_once() -> None:
    rng, photo_of = np.random.default_rng(0), np.arange(300)
    values = simulation.errors(rng, np.array([4.0, 3.8, 4.1]), 10, photo_of, seed_sd=0.002, photo_sd=0.01, rest_sd=0.3)
    expected = bootstrap.compare(values[1:] - values[0], photo_of, resamples=20_000)
    widths = {}
    for of_differences in (True, False):
        drawn = bootstrap.resampled_means(values, photo_of, resamples=20_000, of_differences=of_differences)
        low, high = np.quantile(drawn[:, 1:] - drawn[:, :1], [0.025, 0.975], axis=0)
        widths[of_differences] = high - low
    exact = np.array([one.high - one.low for one in expected])
    assert widths[True] == pytest.approx(exact, rel=0.05)
    assert (widths[False] > 1.15 * exact).all()


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_what_photographs_and_seeds_do_to_several_means_alike_they_do_in_each_resample(n_seeds: int) -> None:
    one = normal(n_seeds, 100, seed_sd=0.5)
    drawn = bootstrap.resampled_means(np.concatenate([one, 2 * one, 3 - one]), np.arange(100), resamples=500)
    assert drawn[:, 1] == pytest.approx(2 * drawn[:, 0])
    assert drawn[:, 2] == pytest.approx(3 - drawn[:, 0])
    assert drawn[:, 0].std() > 0.05


def test_draws_in_pieces_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", 30)
    pieces = list(bootstrap.draws(np.random.default_rng(0), 10, 7))
    assert [piece.shape for piece in pieces] == [(4, 7), (4, 7), (2, 7)]
    assert all((piece.sum(axis=1) == 7).all() for piece in pieces)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x 0.005, 3 x 0.01, 2 x 0.03, then not less
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.7, 0.6], [1, 1]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(bootstrap.holm(np.array(p_values)), expected)


def test_holm_keeps_the_order_and_lies_between_the_plain_value_and_bonferronis() -> None:
    p = np.random.default_rng(0).random((200, 6)) ** 3
    adjusted = np.stack([bootstrap.holm(row) for row in p])
    order = np.argsort(p, axis=1)
    assert np.all(np.diff(np.take_along_axis(adjusted, order, axis=1), axis=1) >= 0)
    assert np.all((adjusted >= p) & (adjusted <= np.minimum(6 * p, 1)))


# Errors that are made up with a known difference: skewed, in clusters, with effects of seeds, photographs and both.


@pytest.mark.parametrize(
    ("n_seeds", "effects"),
    [
        (1, {"seed_sd": 0.0}),
        (3, {"seed_sd": 0.02}),
        (5, {"seed_sd": 0.005, "photo_sd": 0.2}),
    ],
)
def test_the_interval_holds_the_true_difference_in_95_of_100_cases(n_seeds: int, effects: dict[str, float]) -> None:
    means, held = np.array([4.0, 3.7, 4.0, 4.4]), []
    for repetition in range(500):
        rng = np.random.default_rng(repetition)
        photos = simulation.photographs(rng, 200)
        errors = simulation.errors(rng, means, n_seeds, photos, **effects)
        found = bootstrap.compare(errors[1:] - errors[0], photos, resamples=1000, seed=repetition)
        held += [one.low <= true <= one.high for one, true in zip(found, means[1:] - means[0], strict=True)]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_without_a_difference_at_most_5_of_100_verdicts_claim_any(n_seeds: int) -> None:
    alarms = 0
    for repetition in range(400):
        rng = np.random.default_rng(repetition)
        photos = simulation.photographs(rng, 200)
        errors = simulation.errors(rng, np.full(6, 4.0), n_seeds, photos)
        found = bootstrap.compare(errors[1:] - errors[0], photos, resamples=1000, seed=repetition)
        alarms += bootstrap.holm(np.array([one.p_value for one in found])).min() < 0.05
    assert alarms / 400 <= 0.05


def test_made_up_errors_have_the_means_that_were_asked_for() -> None:
    rng = np.random.default_rng(0)
    photos = simulation.photographs(rng, 20_000)
    errors = simulation.errors(rng, np.array([4.0, 5.0]), 2, photos, seed_sd=0.0, photo_sd=0.2, rest_sd=0.3)
    assert errors.shape == (2, 2, len(photos))
    assert errors.min() > 0
    np.testing.assert_allclose(errors.mean(axis=(1, 2)), [4, 5], rtol=0.01)
    assert len(photos) == pytest.approx(2 * 20_000, rel=0.02)
