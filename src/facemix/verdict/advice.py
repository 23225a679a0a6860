"""What a finished sweep says of mixes that it did not train: laws along its lines, and what follows from them.

A *line* of the sweep is what varies in one number of faces alone: a strategy at several numbers of real faces and one
of synthetic ones, or the other way round. Along each line the error follows error = D n^-a + C (`curve`); alpha is the
best one on validation at each point, and the test errors have no say in it.

**Intervals** are over photographs and seeds. Each resample draws the same photographs and seeds for all points of the
sweep (`bootstrap.resampled_means`), fits every line anew, and answers every question; an interval holds the middle 95 %
of the answers. That the law itself holds is assumed. `held_out` asks the data: it leaves out one number of faces,
predicts it from the others, and says whether what was measured lies within the interval. Where more are wrong than
chance allows (`fails`), nothing is asked of the law: its mixes count as they were measured.

**How far a line is believed**: within its numbers of faces; up to twice the greatest (`REACH`) as an extrapolation,
which is said; beyond, and below half the least, not at all. A power law with a floor is a good description of curves
that were measured, but what it says far away hangs on the floor, which is the parameter that is known worst.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from facemix.verdict import bootstrap, comparison, curve, worth
from facemix.verdict.comparison import BASELINE, CONTROL
from facemix.verdict.curve import Fit, Parameter
from facemix.verdict.points import Mix, Swept, budgets, renders_are_used

Doubles = npt.NDArray[np.float64]
Axis = Literal["n_real", "n_synthetic"]

RESAMPLES = 2000
"""Of laws, each of which is fitted anew. A worth needs no fit, so it has as many as in `worth.csv`."""
REACH = 2.0
"""By which factor a line may be left; see the module's docstring."""
MATTERS = 0.01
"""Share of the NME that is worth speaking of: what moves it by less is called nothing."""
LEAST_TO_CHECK = curve.LEAST_COUNTS + 1
"""Numbers of faces of a line that can be checked: one is left out, and a law needs the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """One line of a sweep with its law; equal to itself alone."""

    strategy: str
    axis: Axis
    """What varies."""
    fixed: int
    """The other number of faces."""
    counts: tuple[int, ...]
    """Numbers of faces, ascending."""
    alphas: tuple[float | None, ...]
    """The best on validation at each of them."""
    means: Doubles
    """(k,) test NME at each, %."""
    resampled: Doubles
    """(resamples, k) the same."""
    fit: Fit
    hours: float | None
    """Of training for one detector: see `Mix.hours`."""

    def nme(self, n: float) -> Parameter:
        """What the law says at n faces, %."""
        return parameter(
            float(curve.law(n, self.fit.parameters)), curve.law(np.full(len(self.resampled), n), self.fit.resampled)
        )

    def expected(self, n: int) -> float:
        """What was measured with n faces, %; where nothing was, what the law says."""
        return float(self.means[self.counts.index(n)]) if n in self.counts else self.nme(n).value

    def alpha_at(self, n: float) -> float | None:
        """Of the number of faces that was measured nearest to n, by ratio."""
        return self.alphas[int(np.argmin(np.abs(np.log(self.counts) - np.log(n))))]

    def standing(self, n: float) -> Literal["measured", "extrapolated", "refused"]:
        """How far n is believed."""
        least, *_, greatest = self.counts
        if least <= n <= greatest:
            return "measured"
        return "extrapolated" if least / REACH <= n <= REACH * greatest else "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A sweep laid out for advice: its mixes at their best alpha, their resampled means, and its lines."""

    mixes: tuple[Mix, ...]
    means: Doubles
    """(resamples, mixes) test NME, %; each row of the same photographs and seeds."""
    lines: tuple[Line, ...]
    swept: Swept


def lay_out(swept: Swept, resamples: int = RESAMPLES, seed: int = 0) -> Laid:
    """Chooses alpha on validation, resamples all mixes together, and fits each line of three numbers or more."""
    mixes = at_best_alpha(swept.mixes)
    values = np.stack([one.errors for one in mixes])
    means = bootstrap.resampled_means(values, swept.photos, resamples=resamples, seed=seed)
    means = np.maximum(means, worth.LEAST)
    return Laid(mixes=mixes, means=means, lines=_lines(mixes, means), swept=swept)


def at_best_alpha(mixes: Iterable[Mix]) -> tuple[Mix, ...]:
    """Each strategy and numbers of faces once, with the alpha of the least validation NME."""
    best: dict[tuple[str, int, int], Mix] = {}
    for one in mixes:
        key = (one.strategy, one.n_real, one.n_synthetic)
        if key not in best or one.val_nme < best[key].val_nme:
            best[key] = one
    return tuple(best.values())


def best_at(laid: Laid, n_real: int) -> Mix | None:
    """The mix with synthetic faces that is best on validation at a number of real faces."""
    own = [one for one in laid.mixes if one.n_real == n_real and renders_are_used(one.strategy)]
    return min(own, key=lambda one: one.val_nme, default=None)


def _lines(mixes: Sequence[Mix], means: Doubles) -> tuple[Line, ...]:
    """The lines with enough numbers of faces for a law: those over real faces, then those over synthetic ones."""
    groups: dict[tuple[Axis, str, int], list[tuple[Mix, Doubles]]] = {}
    for one, column in zip(mixes, means.T, strict=True):
        if one.n_real:
            groups.setdefault(("n_real", one.strategy, one.n_synthetic), []).append((one, column))
        if one.n_synthetic:
            groups.setdefault(("n_synthetic", one.strategy, one.n_real), []).append((one, column))
    lines = [_line(*key, points) for key, points in groups.items() if len(points) >= curve.LEAST_COUNTS]
    return tuple(sorted(lines, key=lambda line: line.axis))


def _line(axis: Axis, strategy: str, fixed: int, points: Sequence[tuple[Mix, Doubles]]) -> Line:
    points = sorted(points, key=lambda point: getattr(point[0], axis))
    counts = tuple(getattr(one, axis) for one, _ in points)
    means = np.array([one.test_nme for one, _ in points])
    resampled = np.stack([column for _, column in points], axis=1)
    return Line(
        strategy=strategy,
        axis=axis,
        fixed=fixed,
        counts=counts,
        alphas=tuple(one.alpha for one, _ in points),
        means=means,
        resampled=resampled,
        fit=curve.fitted_to(counts, means, resampled),
        hours=points[0][0].hours,
    )


def parameter(value: float, resampled: Doubles) -> Parameter:
    """A value with the 95 % interval of its resamples (b,)."""
    low, high = curve.interval(resampled)
    return Parameter(value=value, low=low, high=high)


# --- What more faces bring --------------------------------------------------------------------------------------------


def gain(line: Line, n: int, more: int) -> Parameter:
    """By how much `more` faces beside n lower the NME, by the law of the line, in % of the face size."""
    value, resampled = (
        curve.law(n, parameters) - curve.law(n + more, parameters)
        for parameters in (line.fit.parameters, line.fit.resampled)
    )
    return parameter(float(value), resampled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left of the error at the greatest number of faces of a line, in % NME."""

    n: int
    more: Parameter
    """D n^-a: what more faces of this kind could take away, were there no end of them."""
    floor: Parameter
    """C: what they never take away."""
    doubling: Parameter
    """What twice as many take away."""
    won: Parameter
    """What was measured: by how much the greatest number lowers the NME of the least."""
    verdict: Literal["more", "different", "undecided"]
    """`more`: twice as many lower the NME by more than the share MATTERS, at the lower end of the interval.
    `different`: by less, at its upper end. Else `undecided`."""


def left(line: Line) -> Left:
    """Whether more faces of a kind or different ones are needed."""
    n = line.counts[-1]
    sampled, nme, doubling = line.fit.resampled, line.nme(n).value, gain(line, n, n)
    return Left(
        n=n,
        more=parameter(nme - line.fit.c.value, curve.law(n, sampled) - sampled[:, 2]),
        floor=line.fit.c,
        doubling=doubling,
        won=parameter(float(line.means[0] - line.means[-1]), line.resampled[:, 0] - line.resampled[:, -1]),
        verdict="more"
        if doubling.low > MATTERS * nme
        else "different"
        if doubling.high < MATTERS * nme
        else "undecided",
    )


# --- What synthetic faces are worth -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """How many real faces alone are as good as a mix."""

    mix: Mix
    faces: Parameter
    """Numbers of real faces; 0 and infinite as in `worth.faces_worth`."""
    compared_with: str
    """Whose learning curve: real faces alone with as many faces seen, where it can be read, else `real_only`."""
    counts: tuple[int, ...]
    """Numbers of faces of that curve, ascending."""
    compared_saw: Literal["fewer", "as many", "more"]
    """Faces, than the networks behind the mix."""
    at_equal_cost: Parameter | None
    """By how much the NME of `control` with the same real faces is above that of the mix, where that curve saw fewer
    faces and the control, trained there, as many; else None."""


def worths(laid: Laid) -> list[Worth]:
    """The worth of each mix that has synthetic faces; none where `real_only` has fewer than two numbers of faces."""
    alone = {
        name: sorted((one for one in laid.mixes if one.strategy == name), key=lambda one: one.n_real)
        for name in (BASELINE, CONTROL)
    }
    counts = {name: [one.n_real for one in own] for name, own in alone.items()}
    if len(counts[BASELINE]) < 2:
        return []
    return [_worth(laid, one, alone, counts) for one in laid.mixes if one.n_synthetic]


def _worth(laid: Laid, mix: Mix, alone: dict[str, list[Mix]], counts: dict[str, list[int]]) -> Worth:
    """The worth of one mix: by itself, so that it is the same whatever else was swept."""
    name = _reference(mix, {name: alone[name] for name in comparison.curves_at(mix.n_real, counts)})
    curve_of = alone[name]
    ((value, low, high),) = worth.worth_intervals(
        np.array(counts[name], np.float64),
        np.stack([one.errors for one in curve_of]),
        mix.errors[None],
        laid.swept.photos,
    ).tolist()
    saw = _beside(_seen(curve_of[0]), _seen(mix))
    control = next((one for one in alone[CONTROL] if one.n_real == mix.n_real and _seen(one) == _seen(mix)), None)
    return Worth(
        mix=mix,
        faces=Parameter(value=value, low=low, high=high),
        compared_with=name,
        counts=tuple(counts[name]),
        compared_saw=saw,
        at_equal_cost=_above(laid, control, mix) if control and saw == "fewer" else None,
    )


def _above(laid: Laid, one: Mix, other: Mix) -> Parameter:
    """By how much the NME of one mix is above that of another."""
    of_one, of_other = (laid.means[:, laid.mixes.index(mix)] for mix in (one, other))
    return parameter(one.test_nme - other.test_nme, of_one - of_other)


def _reference(one: Mix, alone: dict[str, list[Mix]]) -> str:
    seen = {name: _seen(own[0]) for name, own in alone.items()}
    found = comparison.reference(one.strategy, seen | {one.strategy: _seen(one)})
    assert found is not None
    return found


def _beside(compared: int, own: int) -> Literal["fewer", "as many", "more"]:
    return "as many" if compared == own else "fewer" if compared < own else "more"


def _seen(one: Mix) -> int:
    """Faces seen by every network behind a mix; where that was not recorded, the number of budgets spent on them."""
    return one.faces_seen if one.faces_seen is not None else budgets(one.strategy)


# --- Whether the law holds --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One number of faces of a line, predicted from the others."""

    n: int
    measured: float
    predicted: Parameter
    """% NME; the interval is for what is measured there: it holds the chance of both the law and the measurement."""
    extrapolated: bool
    """Whether it is the least or the greatest number of the line."""

    @property
    def covered(self) -> bool:
        return self.predicted.low <= self.measured <= self.predicted.high

    @property
    def wrong(self) -> bool:
        """Whether what was measured is outside of the interval, and away from the prediction by what `MATTERS`."""
        return not self.covered and abs(self.predicted.value - self.measured) > MATTERS * self.measured


def fails(tests: Sequence[HeldOut]) -> bool:
    """Whether the numbers of a line speak against its law.

    They do where so many predictions are wrong that, were it true, chance would make as many so in less than 5 % of
    cases. One of four is no ground, two are.
    """
    wrong = sum(one.wrong for one in tests)
    return bool(binom.sf(wrong - 1, len(tests), 1 - bootstrap.CONFIDENCE) < 1 - bootstrap.CONFIDENCE)


def held_out(line: Line) -> list[HeldOut]:
    """Each number of faces of a line left out and predicted from the others; none where a law needs all of them.

    Prediction and measurement share photographs and seeds, so what is resampled is their difference.
    """
    if len(line.counts) < LEAST_TO_CHECK:
        return []
    found = []
    for i, n in enumerate(line.counts):
        others = [j for j in range(len(line.counts)) if j != i]
        counts = [line.counts[j] for j in others]
        predicted = float(curve.law(n, curve.fit(counts, line.means[None, others])[0]))
        misses = curve.law(n, curve.fit(counts, line.resampled[:, others])) - line.resampled[:, i]
        measured = float(line.means[i])
        low, high = curve.interval(misses)
        found.append(
            HeldOut(
                n=n,
                measured=measured,
                predicted=Parameter(value=predicted, low=measured + low, high=measured + high),
                extrapolated=i in (0, len(line.counts) - 1),
            )
        )
    return found
