"""The cheapest mix by sweeps whose true curves are known."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_sweep
from facemix.errors import FacemixError
from facemix.verdict import advice, curve, offers
from facemix.verdict.advice import Laid
from facemix.verdict.offers import Prices

PRICES = Prices(label=2.0, render=0.02)


@pytest.fixture(scope="module")
def exact() -> Laid:
    """The grid, measured without any noise."""
    return advice.lay_out(toy_sweep.swept(toy_sweep.grid(), noise=0), resamples=50)


@pytest.fixture(scope="module")
def laid() -> Laid:
    return advice.lay_out(toy_sweep.swept(toy_sweep.grid()), resamples=200)


@given(d=st.floats(0.1, 50), a=st.floats(0.05, 2), c=st.floats(0, 5), room=st.floats(0.01, 10))
def test_what_a_target_needs_reaches_it(d: float, a: float, c: float, room: float) -> None:
    parameters = np.array([[d, a, c]])
    (n,) = offers.needed(parameters, c + room)
    assert curve.law(n, parameters[0]) == pytest.approx(c + room, rel=1e-6)
    assert offers.needed(parameters, c).tolist() == [np.inf]  # the floor is never reached


def test_a_flat_curve_needs_none_or_never_reaches() -> None:
    flat = np.array([[0.0, np.nan, 4.0]])
    assert [offers.needed(flat, target).item() for target in (4.1, 4.0, 3.9)] == [0, 0, np.inf]


@pytest.mark.parametrize("prices", [(2.0, 0.02), (2.0, 1.0), (0.0, 1.0), (0.1, 0.0)])
def test_the_cheapest_mix_is_that_of_the_true_curves(exact: Laid, prices: tuple[float, float]) -> None:
    target = 3.6
    alone = (8 / (target - 3)) ** (1 / 0.45)
    labels = (3 / (target - 3 - 3 * 3000**-0.4)) ** (1 / 0.4)
    renders = (3 / (target - 3 - 3 * 100**-0.4)) ** (1 / 0.4)
    ways = {(alone, 0.0), (labels, 3000.0), (100.0, renders)}
    cost, n_real, n_synthetic = min((float(np.dot(way, prices)), *way) for way in ways)
    best, *others = offers.offers(exact, target, Prices(*prices), 0.5)
    assert (best.n_real, best.n_synthetic) == pytest.approx((n_real, n_synthetic), rel=0.05)
    assert best.cost == pytest.approx(cost, rel=0.05)
    assert best.nme.value == pytest.approx(target, rel=5e-3)
    assert len(others) == 2 and best.cost <= others[0].cost <= others[1].cost


def test_more_chance_costs_more_and_what_is_offered_has_the_chance(laid: Laid) -> None:
    costs = []
    for chance in (0.5, 0.7, 0.9):
        (best, *others) = offers.offers(laid, 3.6, PRICES, chance)
        assert min(one.chance for one in (best, *others)) >= chance
        costs.append(best.cost)
    assert costs == sorted(costs) and costs[0] < costs[-1]


def test_of_many_equal_ways_each_is_asked_for_more_than_the_chance() -> None:
    names = ("mixing", "fine_tuning", "label_adaptation", "data_adaptation")
    points = [toy_sweep.point(name, n, 3000) for name in names for n in toy_sweep.REAL]
    (one, *_) = offers.offers(advice.lay_out(toy_sweep.swept(points[:6], noise=3), resamples=300), 3.6, PRICES, 0.8)
    best, *others = offers.offers(advice.lay_out(toy_sweep.swept(points, noise=3), resamples=300), 3.6, PRICES, 0.8)
    assert 0.8 <= one.chance < 0.82
    assert min(other.chance for other in others) > one.chance + 0.02
    assert best.chance >= 0.8


def test_cheaper_mixes_that_just_fail_lower_the_chance_of_the_one_that_does_not() -> None:
    names = ("fine_tuning", "label_adaptation", "data_adaptation")
    failing = [toy_sweep.point(name, 100, n, true=4.2) for name in names for n in (800, 900)]
    reaches = toy_sweep.point("mixing", 100, 1000, true=4.0)
    laid = advice.lay_out(toy_sweep.swept([reaches, *failing], noise=3), resamples=400)
    target = float(np.quantile(laid.means[:, 0], 0.9, method="inverted_cdf"))
    assert min(one.test_nme for one in laid.mixes[1:]) > target
    (best,) = offers.offers(laid, target, PRICES, 0.8)
    assert best.strategy == "mixing"
    assert best.chance < 0.85  # by itself it would be 0.9; in other plays a cheaper one is taken, and fails


def test_faces_that_were_not_measured_are_not_offered(exact: Laid) -> None:
    least = [one for one in offers.offers(exact, 4.5, PRICES, 0.5) if one.strategy == "mixing"]
    assert {(one.n_real, one.n_synthetic) for one in least} == {(25, 3000), (100, 100)}  # fewer might do as well
    beyond = toy_sweep.real(3000), toy_sweep.real(4000)
    alone = [
        [one for one in offers.offers(exact, nme, Prices(1, 1), 0.5) if one.strategy == "real_only"] for nme in beyond
    ]
    assert [one.extrapolated for one in alone[0]] == [True]
    assert alone[1] == []


def test_synthetic_faces_alone_are_offered_where_they_do() -> None:
    grid = [*toy_sweep.grid(), toy_sweep.point("synthetic_only", 0, 3000)]
    best, *_ = offers.offers(advice.lay_out(toy_sweep.swept(grid), resamples=100), 6.0, Prices(3.0, 0.02), 0.8)
    assert (best.strategy, best.n_real, best.n_synthetic, best.cost, best.over) == ("synthetic_only", 0, 3000, 60, None)


def test_a_mix_that_stands_on_no_line_is_offered_as_it_was_swept() -> None:
    grid = [toy_sweep.point("real_only", n) for n in toy_sweep.REAL] + [toy_sweep.point("mixing", 100, 1000, alpha=0.5)]
    laid = advice.lay_out(toy_sweep.swept(grid), resamples=100)
    best, *others = offers.offers(laid, 4.1, PRICES, 0.8)
    assert (best.strategy, best.alpha, best.n_real, best.n_synthetic) == ("mixing", 0.5, 100, 1000)
    assert (best.cost, best.over, best.extrapolated) == (220, None, False)
    assert [one.strategy for one in others] == ["real_only"] and others[0].cost > 220
    assert offers.offers(laid, 3.6, PRICES, 0.8)[0].strategy == "real_only"  # the mix has 3.9


@pytest.mark.parametrize("target", [3.6, 4.0])
def test_ways_are_compared_by_what_their_offers_cost(laid: Laid, target: float) -> None:
    more = [toy_sweep.point("synthetic_only", 0, 3000), toy_sweep.point("fine_tuning", 50, 1000)]
    mixes = advice.lay_out(toy_sweep.swept([*toy_sweep.grid(), *more], noise=0), resamples=20)
    prices, seen = Prices(2.0, 0.02), set()
    for way in offers.ways(mixes, target):
        if offer := offers._offer(mixes, way, prices, 0.5):
            number = way.within(np.quantile(way.needed, [0.5], method="inverted_cdf"))
            assert way.cost(np.ceil(number), prices).item() == pytest.approx(offer.cost)
            seen.add(offer.over)
    assert seen >= {"n_real", "n_synthetic"} | ({None} if target == 4.0 else set())


def test_hours_of_all_networks_behind_a_mix_cost(exact: Laid) -> None:
    hours = {"real_only": 1.0, "mixing": 3.0}
    timed = dataclasses.replace(
        exact, lines=tuple(dataclasses.replace(one, hours=hours[one.strategy]) for one in exact.lines)
    )
    free, priced = (offers.offers(timed, 3.6, Prices(2.0, 0.02, hour), 0.5) for hour in (0.0, 10.0))
    costs = [{(one.strategy, one.over): one.cost for one in found} for found in (free, priced)]
    assert {key: costs[1][key] - cost for key, cost in costs[0].items()} == {
        key: pytest.approx(10 * hours[key[0]]) for key in costs[0]
    }
    assert offers.offers(timed, 3.6, Prices(2.0, 0.02, 1e4), 0.5)[0].strategy == "real_only"  # one training, not three


def test_where_every_mix_reaches_the_target_the_cheapest_of_all_is_offered(laid: Laid) -> None:
    best, *_ = offers.cheapest(laid, 9.0, PRICES, 0.8, [])
    assert (best.strategy, best.n_real, best.cost, best.chance) == ("real_only", 25, 50, 1)


def test_a_target_out_of_reach_is_said(laid: Laid) -> None:
    with pytest.raises(FacemixError, match=r"found 2, which no mix reaches .* no resample reaches it; expected"):
        offers.cheapest(laid, 2.0, PRICES, 0.8, [])


def test_the_frontier_asks_more_for_less_error_and_has_the_cheapest_mix_for_each(exact: Laid) -> None:
    found = offers.frontier(exact, PRICES, 0.5)
    targets = [target for target, _ in found]
    assert targets == [3.4, 3.6, 3.8, 4.0, 4.2, 4.4, 4.6, 4.8, 5.0]  # the best mix has 3.27, the worst 4.88
    costs = [one.cost for _, one in found]
    assert costs[-1] == 2.0 * 25  # the cheapest mix of all
    assert costs == sorted(costs, reverse=True) and costs[0] > 10 * costs[-1]
    for target, one in found:
        assert one.nme.value <= target + 1e-9
        assert one.cost <= offers.offers(exact, target, PRICES, 0.5)[0].cost


def test_the_same_mix_has_the_same_chance_in_the_frontier_and_by_itself() -> None:
    mixes = [
        *(toy_sweep.point("real_only", n) for n in toy_sweep.REAL),
        toy_sweep.point("mixing", 100, 1000, alpha=0.5),
    ]
    laid = advice.lay_out(toy_sweep.swept([*mixes, toy_sweep.point("synthetic_only", 0, 3000)], noise=3), resamples=300)
    for chance in (0.5, 0.8, 0.95):
        shared = 0
        for target, row in offers.frontier(laid, PRICES, chance):
            assert row.chance >= chance - 1e-9
            for one in offers.offers(laid, target, PRICES, chance):
                if (one.strategy, one.n_real, one.n_synthetic) == (row.strategy, row.n_real, row.n_synthetic):
                    assert one.chance == pytest.approx(row.chance)
                    shared += 1
        assert shared > 3


def test_what_reaches_a_lower_target_for_less_is_offered_for_the_higher_one(
    exact: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    (any_, *_) = offers.offers(exact, 3.6, PRICES, 0.5)
    costs = iter([90.0, 110.0, 60.0])
    monkeypatch.setattr(
        offers, "offers", lambda *_: [dataclasses.replace(any_, cost=cost) for cost in [next(costs, 99)]]
    )
    assert [one.cost for _, one in offers.frontier(exact, PRICES, 0.5)][:4] == [90.0, 90.0, 60.0, 60.0]


@pytest.mark.parametrize("seed", range(3))
def test_an_easier_target_never_costs_more_than_what_the_frontier_has_for_a_harder_one(seed: int) -> None:
    laid = advice.lay_out(toy_sweep.swept(toy_sweep.grid(), noise=20, seed=seed), resamples=400)
    frontier = offers.frontier(laid, PRICES, 0.8)
    for target, one in frontier:
        for easier in (target, target + 0.013, target + 0.051):
            first, *others = offers.cheapest(laid, easier, PRICES, 0.8, frontier)
            assert first.cost <= one.cost and all(other.cost >= first.cost for other in others)
