"""Advice from sweeps whose true curves are known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_sweep
from facemix.errors import FacemixError
from facemix.verdict import advice, curve, simulation
from facemix.verdict.advice import Laid
from facemix.verdict.points import Mix, Swept

PRICES = (2.0, 0.02)


def swept(points: list[dict[str, object]], noise: float = 1.0, seeds: int = 3, seed: int = 0) -> Swept:
    """A sweep of toy points; noise 1 is little, at 0 all errors of a point are its mean."""
    rng = np.random.default_rng(seed)
    photo_of = simulation.photographs(rng, 40)
    true = np.array([one["true"] for one in points])
    sds = {"seed_sd": 0.003 * noise, "photo_sd": 0.01 * noise, "rest_sd": 0.02 * noise}
    errors = simulation.errors(rng, true, seeds, photo_of, **sds)
    if not noise:
        errors = np.broadcast_to(true[:, None, None], errors.shape)
    mixes = [
        Mix(
            strategy=str(one["strategy"]),
            alpha=one["alpha"],
            n_real=one["n_real"] or 0,
            n_synthetic=one["n_synthetic"] or 0,
            val_nme=float(own.mean()) + one["bias"],
            errors=own,
            faces_seen=one.get("faces_seen"),
        )
        for one, own in zip(points, errors, strict=True)
    ]
    photos = photo_of.astype(np.str_)
    return Swept(mixes=tuple(mixes), seeds=tuple(range(seeds)), photos=photos, stand_in=False)


@pytest.fixture(scope="module")
def exact() -> Laid:
    """The grid, measured without any noise."""
    return advice.lay_out(swept(toy_sweep.grid(), noise=0), resamples=50)


@pytest.fixture(scope="module")
def laid() -> Laid:
    return advice.lay_out(swept(toy_sweep.grid()), resamples=200)


def test_lines_are_what_varies_in_one_number_of_faces(laid: Laid) -> None:
    assert [(line.strategy, line.axis, line.fixed, line.counts) for line in laid.lines] == [
        ("real_only", "n_real", 0, toy_sweep.REAL),
        ("mixing", "n_real", 3000, toy_sweep.REAL),
        ("mixing", "n_synthetic", 100, (100, 300, 1000, 3000)),
    ]


def test_alpha_is_chosen_on_validation_and_test_has_no_say() -> None:
    good = toy_sweep.point("mixing", 100, 300, alpha=0.25, bias=0.0)
    lucky_on_test = good | {"alpha": 0.75, "true": good["true"] - 0.5, "bias": 1.0}
    (chosen,) = advice.at_best_alpha(swept([lucky_on_test, good]).mixes)
    assert chosen.alpha == 0.25


def test_a_number_between_has_the_alpha_of_its_nearest(laid: Laid) -> None:
    line = dataclasses.replace(laid.lines[1], alphas=(0.9, 0.8, 0.7, 0.6, 0.5, 0.1))
    assert [line.alpha_at(n) for n in (25, 60, 158, 159, 5000)] == [0.9, 0.8, 0.7, 0.6, 0.1]


def test_without_noise_the_laws_are_the_true_ones(exact: Laid) -> None:
    real, mixing, renders = exact.lines
    assert real.fit.parameters == pytest.approx([8, 0.45, 3], rel=1e-2)
    assert real.nme(3000).value == pytest.approx(toy_sweep.real(3000), rel=1e-3)
    gain = advice.gain(mixing, 200, 100).value
    assert gain == pytest.approx(toy_sweep.mixed(200, 3000) - toy_sweep.mixed(300, 3000), rel=1e-2)
    left = advice.left(renders)
    assert (left.n, left.more.value) == (3000, pytest.approx(3 * 3000**-0.4, rel=1e-2))
    assert left.floor.value == pytest.approx(3 + 3 * 100**-0.4, rel=1e-2)
    assert left.more.value + left.floor.value == pytest.approx(renders.nme(3000).value)


def test_a_line_is_believed_to_twice_its_greatest_number_and_half_its_least(laid: Laid) -> None:
    (line, *_) = laid.lines
    numbers = (12, 13, 25, 1709, 1710, 3418, 3419)
    refused, beyond, within = "refused", "extrapolated", "measured"
    assert [line.standing(n) for n in numbers] == [refused, beyond, within, within, beyond, beyond, refused]


@pytest.mark.parametrize(
    ("law", "verdict"),
    [
        (lambda m: 3 + 8 * m**-0.3, "more"),
        (lambda m: 3.5 + 50 * m**-1.0, "different"),
        (lambda m: 3.5, "different"),
    ],
)
def test_more_renders_are_told_from_different_ones(law: Callable[[float], float], verdict: str) -> None:
    points = [toy_sweep.point("mixing", 100, m, alpha=0.5, true=law(m)) for m in (100, 300, 1000, 3000)]
    (line,) = advice.lay_out(swept(points), resamples=300).lines
    assert advice.left(line).verdict == verdict


def test_where_noise_hides_what_renders_bring_it_is_undecided() -> None:
    points = [toy_sweep.point("mixing", 100, m, alpha=0.5, true=3 + 8 * m**-0.3) for m in (100, 300, 1000, 3000)]
    (line,) = advice.lay_out(swept(points, noise=15), resamples=300).lines
    assert advice.left(line).verdict == "undecided"


def test_worth_is_the_curve_of_real_faces_read_backwards(exact: Laid) -> None:
    found = {(one.mix.n_real, one.mix.n_synthetic): one for one in advice.worths(exact)}
    assert len(found) == 9
    equal = (8 / (toy_sweep.mixed(100, 3000) - 3)) ** (1 / 0.45)
    assert found[100, 3000].faces.value == pytest.approx(equal, rel=0.1)  # the curve is straight between its points
    assert {one.compared_with for one in found.values()} == {"real_only"}
    assert {one.compared_saw for one in found.values()} == {"fewer"}  # mixing stands on two networks


def test_worth_is_by_real_faces_that_saw_as_many() -> None:
    control = [toy_sweep.point("control", n, true=toy_sweep.real(n) - 0.2) for n in toy_sweep.REAL]
    grid = [*toy_sweep.grid(), *control]
    by_control = advice.worths(advice.lay_out(swept(grid), resamples=50))
    assert {(one.compared_with, one.compared_saw) for one in by_control} == {("control", "as many")}
    recorded = [one | {"faces_seen": 20 if one["strategy"] == "control" else 10} for one in grid]
    by_real_only = advice.worths(advice.lay_out(swept(recorded), resamples=50))
    assert {(one.compared_with, one.compared_saw) for one in by_real_only} == {("real_only", "as many")}


# --- The cheapest mix -------------------------------------------------------------------------------------------------


@given(d=st.floats(0.1, 50), a=st.floats(0.05, 2), c=st.floats(0, 5), room=st.floats(0.01, 10))
def test_what_a_target_needs_reaches_it(d: float, a: float, c: float, room: float) -> None:
    parameters = np.array([[d, a, c]])
    (n,) = advice.needed(parameters, c + room)
    assert curve.law(n, parameters[0]) == pytest.approx(c + room, rel=1e-6)
    assert advice.needed(parameters, c).tolist() == [np.inf]  # the floor is never reached


def test_a_flat_curve_needs_none_or_never_reaches() -> None:
    flat = np.array([[0.0, np.nan, 4.0]])
    assert [advice.needed(flat, target).item() for target in (4.1, 4.0, 3.9)] == [0, 0, np.inf]


@pytest.mark.parametrize("prices", [(2.0, 0.02), (2.0, 1.0), (0.0, 1.0), (0.1, 0.0)])
def test_the_cheapest_mix_is_that_of_the_true_curves(exact: Laid, prices: tuple[float, float]) -> None:
    target = 3.6
    alone = (8 / (target - 3)) ** (1 / 0.45)
    labels = (3 / (target - 3 - 3 * 3000**-0.4)) ** (1 / 0.4)
    renders = (3 / (target - 3 - 3 * 100**-0.4)) ** (1 / 0.4)
    ways = {(alone, 0.0), (labels, 3000.0), (100.0, renders)}
    cost, n_real, n_synthetic = min((float(np.dot(way, prices)), *way) for way in ways)
    best, *others = advice.offers(exact, target, prices, 0.5)
    assert (best.n_real, best.n_synthetic) == pytest.approx((n_real, n_synthetic), rel=0.05)
    assert best.cost == pytest.approx(cost, rel=0.05)
    assert best.nme.value == pytest.approx(target, rel=5e-3)
    assert len(others) == 2 and best.cost <= others[0].cost <= others[1].cost


def test_more_chance_costs_more_and_what_is_offered_has_the_chance(laid: Laid) -> None:
    costs = []
    for chance in (0.5, 0.7, 0.9):
        (best, *others) = advice.offers(laid, 3.6, PRICES, chance)
        assert min(one.chance for one in (best, *others)) >= chance
        costs.append(best.cost)
    assert costs == sorted(costs) and costs[0] < costs[-1]


def test_of_many_equal_ways_each_is_asked_for_more_than_the_chance() -> None:
    names = ("mixing", "fine_tuning", "label_adaptation", "data_adaptation")
    points = [toy_sweep.point(name, n, 3000) for name in names for n in toy_sweep.REAL]
    (one, *_) = advice.offers(advice.lay_out(swept(points[:6], noise=3), resamples=300), 3.6, PRICES, 0.8)
    best, *others = advice.offers(advice.lay_out(swept(points, noise=3), resamples=300), 3.6, PRICES, 0.8)
    assert 0.8 <= one.chance < 0.82
    assert min(other.chance for other in others) > one.chance + 0.02
    assert best.chance >= 0.8


def test_faces_that_were_not_measured_are_not_offered(exact: Laid) -> None:
    least = [one for one in advice.offers(exact, 4.5, PRICES, 0.5) if one.strategy == "mixing"]
    assert {(one.n_real, one.n_synthetic) for one in least} == {(25, 3000), (100, 100)}  # fewer might do as well
    beyond = toy_sweep.real(3000), toy_sweep.real(4000)
    alone = [[one for one in advice.offers(exact, nme, (1, 1), 0.5) if one.strategy == "real_only"] for nme in beyond]
    assert [one.extrapolated for one in alone[0]] == [True]
    assert alone[1] == []


def test_synthetic_faces_alone_are_offered_where_they_do() -> None:
    grid = [*toy_sweep.grid(), toy_sweep.point("synthetic_only", 0, 3000)]
    best, *_ = advice.offers(advice.lay_out(swept(grid), resamples=100), 6.0, (3.0, 0.02), 0.8)
    assert (best.strategy, best.n_real, best.n_synthetic, best.cost, best.over) == ("synthetic_only", 0, 3000, 60, None)


def test_a_target_that_is_reached_or_out_of_reach_is_said(laid: Laid) -> None:
    with pytest.raises(FacemixError, match=r"found 9, which every mix .* \(the worst, real_only with 25 real faces"):
        advice.cheapest(laid, 9.0, PRICES, 0.8)
    with pytest.raises(FacemixError, match=r"found 2, which no mix reaches .* no resample reaches it; expected"):
        advice.cheapest(laid, 2.0, PRICES, 0.8)


# --- Whether the law holds --------------------------------------------------------------------------------------------


def test_a_number_that_is_left_out_is_predicted_from_the_others(exact: Laid) -> None:
    tests = advice.held_out(exact.lines[0])
    assert [one.n for one in tests] == list(toy_sweep.REAL)
    assert [one.extrapolated for one in tests] == [True, False, False, False, False, True]
    for one in tests[1:-1]:
        assert one.predicted.value == pytest.approx(toy_sweep.real(one.n), rel=2e-3)


def test_a_number_that_is_left_out_has_no_say_in_its_prediction() -> None:
    points = toy_sweep.grid()[:6]
    points[3] = points[3] | {"true": points[3]["true"] + 0.6}
    (line,) = advice.lay_out(swept(points, noise=0), resamples=20).lines
    assert advice.held_out(line)[3].predicted.value == pytest.approx(toy_sweep.real(toy_sweep.REAL[3]), rel=2e-3)


def test_photographs_that_are_hard_at_every_number_do_not_widen_a_prediction(laid: Laid) -> None:
    line = laid.lines[0]
    for one in advice.held_out(line)[1:-1]:
        mean = line.nme(one.n)
        assert one.predicted.high - one.predicted.low < (mean.high - mean.low) / 3


def test_what_does_not_follow_the_law_is_not_covered(laid: Laid) -> None:
    assert sum(one.covered for one in advice.held_out(laid.lines[0])) >= 5
    points = toy_sweep.grid()[:6]
    points[3] = points[3] | {"true": points[3]["true"] + 0.6}
    (line,) = advice.lay_out(swept(points), resamples=200).lines
    assert not advice.held_out(line)[3].covered


def test_three_numbers_are_no_check() -> None:
    (line,) = advice.lay_out(swept(toy_sweep.grid()[:3]), resamples=50).lines
    assert advice.held_out(line) == []
