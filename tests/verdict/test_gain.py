"""The gate's looks and its interval."""

import numpy as np
import pytest

from facemix.verdict import bootstrap, gate, simulation
from facemix.verdict.gate import Gain


def test_all_looks_together_spend_what_one_interval_does() -> None:
    for most in (3, 4, 7, 12):
        looks = gate.looks(most)
        assert [one.seeds for one in looks] == [*range(3, most + 1)]
        spent = [1 - one.confidence for one in looks]
        assert sum(spent) == pytest.approx(0.05)
        assert spent == sorted(spent) and min(spent) > 0  # least at the first look


def made(gain: float, seeds: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    photo_of = simulation.photographs(rng, 60)
    strategy, other = simulation.errors(rng, 4.0 * np.array([1 - gain, 1.0]), seeds, photo_of, seed_sd=0.005)
    return strategy, other, photo_of.astype(np.str_)


def asked(strategy: np.ndarray, other: np.ndarray, photos: np.ndarray, bound: float = 0.02) -> Gain:
    return gate.gain(strategy, other, photos, bound, 0.95)


def test_the_gain_is_the_share_by_which_the_error_is_lower() -> None:
    strategy, other, photos = made(0.1)
    found = asked(strategy, other, photos)
    assert found.value == pytest.approx(1 - strategy.mean() / other.mean())
    assert found.low < found.value < found.high
    twice = asked(2 * strategy, 2 * other, photos)
    assert (twice.value, twice.low, twice.high) == pytest.approx((found.value, found.low, found.high))


def test_the_interval_decides() -> None:
    for true, verdict in ((0.1, "supported"), (-0.1, "refuted"), (0.02, "undecided")):
        found = asked(*made(true))
        assert found.verdict == verdict
        assert {"supported": found.low > 0.02, "refuted": found.high < 0.02}.get(verdict, True)


def test_at_no_gain_it_asks_what_the_ranking_asks() -> None:
    strategy, other, photos = made(0.03)
    found = gate.gain(strategy, other, photos, 0.0, 0.95)
    (difference,) = bootstrap.compare((strategy - other)[None], photos)
    ends = (-difference.high / other.mean(), -difference.low / other.mean())
    assert (found.low, found.high) == pytest.approx(ends)
