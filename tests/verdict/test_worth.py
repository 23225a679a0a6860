import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from facemix.verdict import simulation, worth


def power_law(n: np.ndarray, a: float = 30.0, b: float = 0.3) -> np.ndarray:
    return a * n**-b


def test_a_power_law_is_read_backwards_exactly() -> None:
    n = np.array([50.0, 100, 250, 500, 1709])
    wanted = np.array([51.0, 63, 100, 333, 1200, 1700])
    assert worth.faces_worth(n, power_law(n), power_law(wanted)) == pytest.approx(wanted)
    assert worth.faces_worth(n, power_law(n), power_law(n)) == pytest.approx(n)


def test_beyond_its_ends_a_curve_says_so() -> None:
    n = np.array([50.0, 500])
    found = worth.faces_worth(n, power_law(n), np.array([power_law(n[1]) - 0.1, power_law(n[0]) + 0.1]))
    assert found.tolist() == [np.inf, 0.0]
    assert [worth.say_count(one, [50, 500]) for one in (*found, 123.4)] == ["more than 500", "fewer than 50", "123"]


def test_where_a_curve_rises_its_neighbours_are_averaged() -> None:
    n = np.array([10.0, 100, 1000])
    assert worth.faces_worth(n, np.array([8.0, 4.0, 5.0]), 4.0) == np.inf  # 4 was luck: the curve ends at sqrt(20)
    assert worth.faces_worth(n, np.array([8.0, 4.0, 5.0]), np.sqrt(20)) == pytest.approx(100)
    assert worth.faces_worth(n, np.array([8.0, 8.0, 8.0]), 8.0) == pytest.approx(10)
    start = np.log(72) / 2
    expected = 100 * 10 ** ((start - np.log(6)) / (start - np.log(4)))
    assert worth.faces_worth(n, np.array([8.0, 9.0, 4.0]), 6.0) == pytest.approx(expected)


def test_each_of_many_curves_is_its_own_isotonic_regression() -> None:
    curves = np.random.default_rng(0).standard_normal((3, 40, 6))
    found = worth.falling(curves)
    for curve, fitted in zip(curves.reshape(-1, 6), found.reshape(-1, 6), strict=True):
        expected = IsotonicRegression(increasing=False).fit_transform(np.arange(6), curve)
        assert fitted == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("n_seeds", [2, 5])
def test_on_a_flat_curve_chance_moves_the_worth_to_both_sides_alike(n_seeds: int) -> None:
    n, true = np.array([50.0, 100, 200, 400, 800, 1600]), np.array([100.0, 200, 600])
    means, low, high = 4 * np.concatenate([n, true]) ** -0.024, [], []
    for repetition in range(150):
        rng = np.random.default_rng(repetition)
        photos = simulation.photographs(rng, 100)
        errors = simulation.errors(rng, means, n_seeds, photos, seed_sd=0.03)
        found = worth.worth_intervals(n, errors[:6], errors[6:], photos.astype(np.str_), resamples=500, seed=repetition)
        low += (found[:, 2] < true).tolist()
        high += (found[:, 1] > true).tolist()
    assert np.mean(low) < 0.05  # what the least NME so far gave: 11 %
    assert np.mean(high) < 0.05
    assert 1 - np.mean(low) - np.mean(high) >= 0.92


def test_the_intervals_of_parts_hold_together() -> None:
    parts = ["all", "jaw", "eyes", "frontal", "turned"]
    assert [worth.confidence_of(part, parts) for part in parts] == pytest.approx([0.95] + [0.9875] * 4)
    assert worth.confidence_of("all", ["all"]) == 0.95


def test_greater_confidence_has_a_wider_interval() -> None:
    n, rng = np.array([50.0, 100, 200, 400, 800]), np.random.default_rng(0)
    values = power_law(np.array([*n, 150]))[:, None, None] * rng.lognormal(0, 0.1, (6, 3, 30))
    usual, sure = (worth.worth_intervals(n, values[:5], values[5:], PHOTOS, confidence=c)[0] for c in (0.95, 0.99))
    assert sure[1] < usual[1] < usual[0] == sure[0] < usual[2] < sure[2]


def test_a_sentence_says_who_saw_more_faces() -> None:
    row = {"strategy": "mixing", "alpha": 0.5, "n_real": 50, "test_nme": 4.0, "worth": 120.0, "low": 0.0}
    row |= {"high": np.inf, "counts": [50, 400], "confidence": 95.0, "compared_with": "real_only", "seeds": 3}
    fair = worth.say_worth(row | {"faces_seen": 640, "compared_faces_seen": 640})
    assert fair == (
        "50 real faces + synthetic (mixing at alpha = 0.5, NME 4.00) are as good as 120 real alone (95 %: fewer than "
        "50 to more than 400)"
    )
    one_seed = worth.say_worth(row | {"seeds": 1, "faces_seen": 640, "compared_faces_seen": 640})
    assert one_seed == fair[:-1] + "; over photographs alone: one seed)"
    more = worth.say_worth(row | {"faces_seen": 1280, "compared_faces_seen": 640})
    assert more == fair[:-1] + "; they saw 1,280 faces, real_only 640)"


PHOTOS = np.arange(30).astype(np.str_)


def test_without_noise_the_interval_is_a_point_and_with_noise_it_holds_the_truth() -> None:
    n = np.array([50.0, 100, 200, 400, 800])
    exact = np.broadcast_to(power_law(n)[:, None, None], (5, 3, 30))
    targets = np.broadcast_to(power_law(np.array([150.0, 300]))[:, None, None], (2, 3, 30))
    expected = np.array([[150.0] * 3, [300.0] * 3])
    assert worth.worth_intervals(n, exact, targets, PHOTOS) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    noisy, near = (values * rng.lognormal(0, 0.1, values.shape) for values in (exact, targets))
    found = worth.worth_intervals(n, noisy, near, PHOTOS, seed=3)
    assert np.all((found[:, 1] < expected[:, 0]) & (expected[:, 0] < found[:, 2]))
    assert np.all((found[:, 1] < found[:, 0]) & (found[:, 0] < found[:, 2]))
    assert np.array_equal(found, worth.worth_intervals(n, noisy, near, PHOTOS, seed=3))


def test_what_makes_faces_and_seeds_hard_for_all_alike_leaves_the_worth_sure() -> None:
    n = np.array([50.0, 100, 200])
    rng = np.random.default_rng(0)
    hard = rng.lognormal(0, 0.3, (1, 1, 30)) * rng.lognormal(0, 0.1, (1, 3, 1))
    real, targets = power_law(n)[:, None, None] * hard, power_law(np.array([120.0]))[:, None, None] * hard
    assert worth.worth_intervals(n, real, targets, PHOTOS)[0] == pytest.approx([120, 120, 120])


@given(st.integers(1, 4), st.floats(0.5, 20), st.integers(0, 100))
@settings(max_examples=20)
def test_copies_of_all_faces_of_a_photograph_and_the_scale_of_errors_change_nothing(
    n_seeds: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = np.array([50.0, 100, 200])
    values = power_law(np.array([50.0, 100, 200, 120]))[:, None, None] * rng.lognormal(0, 0.1, (4, n_seeds, 30))
    found = worth.worth_intervals(n, values[:3], values[3:], PHOTOS, resamples=200)
    copies = scale * np.repeat(values, 3, axis=2)
    again = worth.worth_intervals(n, copies[:3], copies[3:], np.repeat(PHOTOS, 3), resamples=200)
    assert again == pytest.approx(found)


def test_an_interval_may_reach_beyond_the_curve() -> None:
    n = np.array([50.0, 100])
    real = np.broadcast_to(power_law(n)[:, None, None], (2, 1, 30))
    target = (np.where(np.arange(30) % 2, 0.5, 1.5) * power_law(np.array(70.0)))[None, None]
    assert worth.worth_intervals(n, real, target, PHOTOS)[0] == pytest.approx([70, 0, np.inf])
    assert worth.worth_intervals(n, real, target, np.full(30, "one"))[0] == pytest.approx([70, 0, np.inf])


def test_two_seeds_that_lie_apart_make_no_number_impossible() -> None:
    n = np.array([50.0, 100])
    seeds = np.array([0.5, 1.5])[:, None] * np.ones(30)
    found = worth.worth_intervals(n, np.ones((2, 2, 30)) * [[[2]], [[1]]], seeds[None] * 1.4, PHOTOS)
    assert found[0, 0] == pytest.approx(100 ** (np.log(2 / 1.4) / np.log(2)) * 50 ** (np.log(1.4) / np.log(2)))
    assert found[0, 1:].tolist() == [0, np.inf]


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_interval_holds_the_true_number_in_95_of_100_cases(n_seeds: int) -> None:
    n, true, held = np.array([50.0, 100, 200, 400, 800]), np.array([80.0, 150, 300]), []
    means = power_law(np.concatenate([n, true]), b=0.15)
    for repetition in range(150):
        rng = np.random.default_rng(repetition)
        photos = simulation.photographs(rng, 150)
        errors = simulation.errors(rng, means, n_seeds, photos, seed_sd=0.0 if n_seeds == 1 else 0.01)
        names = photos.astype(np.str_)
        found = worth.worth_intervals(n, errors[:5], errors[5:], names, resamples=1000, seed=repetition)
        held += ((found[:, 1] <= true) & (true <= found[:, 2])).tolist()
    assert 0.93 <= np.mean(held) <= 0.99
