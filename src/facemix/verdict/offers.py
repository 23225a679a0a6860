"""The cheapest mix that reaches a target, looked for along the lines of a sweep and among its mixes that are on none.

A line gives the number of faces with which its law reaches the target, in each resample; a cost follows from it and
from the number that the line keeps fixed. See `advice` for lines, and for how far they are believed.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.verdict import advice, curve
from facemix.verdict.advice import Axis, Laid, Line, parameter
from facemix.verdict.curve import Parameter
from facemix.verdict.points import Mix
from facemix.verdict.tuning import MixName

Doubles = npt.NDArray[np.float64]

_LEVELS = 8  # shares of resamples that are tried for the cheapest offer
_TARGETS = 12  # of the frontier between the best mix and the worst, at most
_ABOVE = 4  # more above the worst, so that even the cheapest mix reaches one with the chance
_ROUNDING = 1e-9
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # between two of them, % NME


class Prices(NamedTuple):
    """In any currency."""

    label: float
    """Of a real face with its label."""
    render: float
    """Of a synthetic face."""
    hour: float = 0.0
    """Of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A mix that reaches a target, and what it costs."""

    strategy: str
    alpha: float | None
    n_real: int
    n_synthetic: int
    hours: float | None
    """Of training for one detector; None where they were not recorded."""
    cost: float
    chance: float
    """Share of resamples in which its mean NME is the target's or less. Of the cheapest, where that is not sure to hold
    with the chance that was asked for (see `_level`): with which it does hold."""
    nme: Parameter
    """What is expected of it, %."""
    extrapolated: bool
    over: Axis | None
    """The line that it comes from; None: a mix as it was swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line on which a number of faces is looked for, or one mix that stands on no line and counts once or not."""

    of: Line | Mix
    needed: Doubles
    """(resamples,) how many faces the target needs, 1 at least; infinite where no number reaches it. Of a mix: its NME
    as a share of the target, so that it reaches it up to 1."""
    estimate: float
    """The same by what was measured."""
    least: int
    """Fewer are not offered: they may do as well, but nothing was measured there. Of a mix: 1."""
    most: float
    """More are not believed. Of a mix: 1."""

    @property
    def chance(self) -> float:
        """Of reaching the target at all."""
        return float(np.mean(self.needed <= self.most))

    def mix(self, n: float) -> tuple[float, float]:
        """Numbers of real and synthetic faces with n on the line."""
        if isinstance(self.of, Mix):
            return self.of.n_real, self.of.n_synthetic
        return (n, self.of.fixed) if self.of.axis == "n_real" else (self.of.fixed, n)

    def within(self, n: Doubles) -> Doubles:
        """What is offered where n is needed; infinite where nothing is."""
        n = np.maximum(n, self.least)
        return np.where(n <= self.most, n, np.inf)

    def cost(self, n: Doubles, prices: Prices) -> Doubles:
        """Of n on the line; infinite where n is."""
        per_face = 0.0
        if isinstance(self.of, Line):
            per_face = prices.label if self.of.axis == "n_real" else prices.render
        fixed = _cost(*self.mix(0), self.of.hours, prices)
        return np.where(np.isfinite(n), fixed + per_face * np.where(np.isfinite(n), n, 0), np.inf)


def ways(laid: Laid, target: float) -> list[Way]:
    """What each line of the sweep, and each mix that is on none, needs for a target NME in %.

    A line on which more faces are not shown to help has no law to go by: its mixes count as they were swept.
    """
    lines = [line for line in laid.lines if line.fit.falls]
    found = [
        Way(
            of=line,
            needed=np.maximum(needed(line.fit.resampled, target), 1),
            estimate=max(float(needed(line.fit.parameters[None], target)[0]), 1),
            least=line.counts[0],
            most=advice.REACH * line.counts[-1],
        )
        for line in lines
    ]
    found += [
        Way(
            of=one,
            needed=laid.means[:, laid.mixes.index(one)] / target,
            estimate=one.test_nme / target,
            least=1,
            most=1,
        )
        for one in off_lines(laid, lines)
    ]
    return found


def off_lines(laid: Laid, lines: Sequence[Line]) -> list[Mix]:
    """The mixes of a sweep that are on none of these lines."""
    on_lines = {
        (line.strategy, *((n, line.fixed) if line.axis == "n_real" else (line.fixed, n)))
        for line in lines
        for n in line.counts
    }
    return [one for one in laid.mixes if (one.strategy, one.n_real, one.n_synthetic) not in on_lines]


def needed(parameters: Doubles, target: float) -> Doubles:
    """How many faces (b,) reach a target by laws D, a, C (b, 3); infinite where no number does, 0 where any does."""
    d, a, c = parameters.T
    room = target - c
    falls = (d > 0) & (room > 0)
    with np.errstate(over="ignore"):
        n = np.where(falls, d / np.where(falls, room, 1), 0) ** (1 / np.where(falls, a, 1))
    return np.asarray(np.where(falls | ((d == 0) & (room >= 0)), n, np.inf))


def offers(laid: Laid, target: float, prices: Prices, chance: float) -> list[Offer]:
    """The mix of each way that reaches a target NME with a chance at least, the cheapest first.

    Args:
        laid: the sweep.
        target: mean NME on test, %.
        prices: of a label, a render and an hour of training.
        chance: share of resamples, above 0 and below 1.
    """
    open_ways = [way for way in ways(laid, target) if np.isfinite(way.estimate)]
    level, picked = _level(open_ways, prices, chance)
    found = [one for way in open_ways if (one := _offer(laid, way, prices, level)) is not None]
    found.sort(key=lambda one: (one.cost, -one.chance))
    if found and picked < chance:
        found[0] = dataclasses.replace(found[0], chance=min(found[0].chance, picked))
    return found


def _level(open_ways: Sequence[Way], prices: Prices, chance: float) -> tuple[float, float]:
    """The share of resamples to ask each way for, so that the cheapest of them reaches the target with a chance.

    Of several ways the cheapest is also the one whose luck was best, so the chance of each by itself is not enough.
    Each resample plays the sweep once more, with what was measured as the truth: every way offers its numbers with the
    same margin, the cheapest is taken, and it is seen whether that reaches the target in truth. A way that today's
    margin leaves out takes part: in another play it could be the lucky one.

    Returns:
        the share, and that chance: of the least share that does; where none does, of the greatest with an offer.
    """
    found = (chance, 0.0)
    for level in np.linspace(chance, 1, _LEVELS, endpoint=False).tolist():
        numbers = [float(np.quantile(way.needed, level, method="inverted_cdf")) for way in open_ways]
        if not any(np.isfinite(way.within(np.array(number))) for way, number in zip(open_ways, numbers, strict=True)):
            break
        costs, holds = [], []
        for way, number in zip(open_ways, numbers, strict=True):
            if np.isfinite(number):
                offered = way.within(way.needed * number / way.estimate)
                costs.append(way.cost(offered, prices))
                holds.append(offered >= way.estimate * (1 - _ROUNDING))
        cheapest_way = np.argmin(costs, axis=0)[None]
        cost, held = (np.take_along_axis(np.stack(rows), cheapest_way, axis=0)[0] for rows in (costs, holds))
        if (offered_any := np.isfinite(cost)).any():
            found = level, float(np.mean(held[offered_any]))
        if found[1] >= chance:
            break
    return found


def cheapest(
    laid: Laid, target: float, prices: Prices, chance: float, others: Sequence[tuple[float, Offer]]
) -> list[Offer]:
    """`offers`, of which there is one at least; what is cheaper and reaches a lower target is first.

    Args:
        laid, target, prices, chance: as of `offers`.
        others: other targets, ascending, and the cheapest mix for each: the `frontier` of these prices and this chance.

    Raises:
        FacemixError: no mix reaches the target within what a line is believed.
    """
    found = offers(laid, target, prices, chance)
    lower = [one for of, one in others if of < target]
    if lower and (not found or lower[-1].cost < found[0].cost):
        first = _for_target(laid, lower[-1], target)
        found = [first, *(one for one in found if _way(one) != _way(first))]
    if found:
        return found
    best = min(laid.mixes, key=lambda one: one.test_nme)
    likely = max((way.chance for way in ways(laid, target)), default=0.0)
    likeliest = f"the greatest chance is {100 * likely:.0f} %" if likely else "no resample reaches it"
    raise FacemixError(
        f"--target-nme: found {target:g}, which no mix reaches with a chance of {100 * chance:.0f} % within "
        f"{advice.REACH:g} times the numbers of faces of the sweep: {likeliest}; expected a target nearer to the best "
        f"mix ({say_mix(best)}, NME {best.test_nme:.2f}); ask for a greater NME or a smaller --chance, or sweep more "
        "faces or a better detector"
    )


def frontier(laid: Laid, prices: Prices, chance: float) -> list[tuple[float, Offer]]:
    """Round target NMEs from just below the best mix to just above the worst, each with the cheapest mix for it.

    Targets that no mix reaches with the chance are left out, and the list ends where the cheapest mix of all does. What
    reaches a lower target reaches the higher ones too, so cost never rises along the list.
    """
    best, worst = (extreme(one.test_nme for one in laid.mixes) for extreme in (min, max))
    step = next((one for one in _STEPS if worst - best <= _TARGETS * one), _STEPS[-1])
    least = min(_cost(one.n_real, one.n_synthetic, one.hours, prices) for one in laid.mixes)
    found: list[tuple[float, Offer]] = []
    for multiple in range(max(1, math.floor(best / step) - 1), math.ceil(worst / step) + _ABOVE):
        target = round(multiple * step, 2)
        lower = [_for_target(laid, offer, target) for _, offer in found[-1:]]
        open_ = lower + [one for one in offers(laid, target, prices, chance)[:1] if one.chance >= chance - _ROUNDING]
        if open_:
            found.append((target, min(open_, key=lambda one: one.cost)))
            if found[-1][1].cost <= least:
                break
    return found


def _way(one: Offer) -> tuple[object, ...]:
    """What tells the way of an offer from others."""
    fixed = {"n_real": one.n_synthetic, "n_synthetic": one.n_real, None: (one.n_real, one.n_synthetic)}[one.over]
    return one.strategy, one.over, fixed


def _for_target(laid: Laid, one: Offer, target: float) -> Offer:
    """The same offer, with its chance to reach a higher target."""
    if one.over is None:
        mixes = [(mix.strategy, mix.n_real, mix.n_synthetic) for mix in laid.mixes]
        means = laid.means[:, mixes.index((one.strategy, one.n_real, one.n_synthetic))]
    else:
        n, fixed = (one.n_real, one.n_synthetic) if one.over == "n_real" else (one.n_synthetic, one.n_real)
        lines = {(line.strategy, line.axis, line.fixed): line for line in laid.lines}
        line = lines[one.strategy, one.over, fixed]
        means = curve.law(np.full(len(laid.means), n), line.fit.resampled)
    return dataclasses.replace(one, chance=max(one.chance, float(np.mean(means <= target))))


def _cost(n_real: float, n_synthetic: float, hours: float | None, prices: Prices) -> float:
    return prices.label * n_real + prices.render * n_synthetic + prices.hour * (hours or 0.0)


def say_mix(one: Mix | Offer) -> str:
    """`mixing at alpha = 0.5 with 100 real and 1000 synthetic faces`."""
    return str(MixName(strategy=one.strategy, alpha=one.alpha, n_real=one.n_real, n_synthetic=one.n_synthetic))


def _offer(laid: Laid, way: Way, prices: Prices, share: float) -> Offer | None:
    """What a way offers that reaches the target in a share of resamples."""
    number = float(way.within(np.array(np.quantile(way.needed, share, method="inverted_cdf"))))
    if not np.isfinite(number):
        return None
    n, of = int(np.ceil(number)), way.of
    n_real, n_synthetic = (int(count) for count in way.mix(n))
    return Offer(
        strategy=of.strategy,
        alpha=of.alpha if isinstance(of, Mix) else of.alpha_at(n),
        n_real=n_real,
        n_synthetic=n_synthetic,
        hours=of.hours,
        cost=_cost(n_real, n_synthetic, of.hours, prices),
        chance=float(np.mean(way.needed <= n)),
        nme=parameter(of.test_nme, laid.means[:, laid.mixes.index(of)]) if isinstance(of, Mix) else of.nme(n),
        extrapolated=isinstance(of, Line) and of.standing(n) != "measured",
        over=of.axis if isinstance(of, Line) else None,
    )
