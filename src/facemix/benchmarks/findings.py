"""What the trainings of `facemix bench realism` say, in words: means, differences between sets, and curves."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from facemix.benchmarks.halves import MEASURES
from facemix.benchmarks.records import Finished
from facemix.verdict import bootstrap, curve
from facemix.verdict.curve import Fit, Parameter

Doubles = npt.NDArray[np.float64]
Trainings = dict[tuple[str, int, int], list[Finished]]
"""Set, n and steps -> the trainings of all seeds."""


def said(finished: Sequence[Finished]) -> str:
    """All that the trainings say: the table, each pair of sets, each curve.

    Args:
        finished: trainings of the same seeds for each set, n and steps, all measured on the same faces.
    """
    trainings = grouped(finished)
    parts = [[table(trainings)], _said_pairs(trainings), _said_curves(trainings)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def grouped(finished: Sequence[Finished]) -> Trainings:
    """The trainings by set, n and steps."""
    groups: Trainings = {}
    for one in finished:
        groups.setdefault((one.row.set, one.row.n, one.row.steps), []).append(one)
    return groups


def errors_of(trainings: Sequence[Finished], measure: str) -> Doubles:
    """NME (S, F) in % of F faces, for each of S seeds."""
    return np.stack([getattr(one.errors, measure) for one in trainings])


def table(trainings: Trainings) -> str:
    """A line for each set, n and steps: mean NME over the seeds and, from two seeds on, their standard deviation."""
    width = max([len(name) for name, _, _ in trainings] + [3])
    heads = "".join(f"{measure:>19}" for measure in MEASURES)
    lines = [f"{'set':{width}} {'n':>6} {'steps':>6} {'seeds':>6}{heads}"]
    for (name, n, steps), own in trainings.items():
        means = "".join(f"{_mean([getattr(one.row, measure) for one in own]):>19}" for measure in MEASURES)
        lines.append(f"{name:{width}} {n:6d} {steps:6d} {len(own):6d}{means}")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


# --- Two sets at the same n, steps, seeds and photographs -------------------------------------------------------------


def ratio(first: Doubles, second: Doubles, photos: npt.NDArray[np.str_]) -> tuple[float, float, float]:
    """By what share the mean error of one set is above that of another, with the ends of its 95 % interval.

    The interval is that of the paired differences between the first errors and the second ones times the ratio of
    both means: around what was measured, the ratio of two means is linear in these differences.

    Args:
        first: (S, F) errors of F faces, for each of S seeds.
        second: the same seeds and faces.
        photos: (F,) the photograph of each face.

    Returns:
        the share and the ends; -0.1 is a tenth below.
    """
    quotient = first.mean() / second.mean()
    (found,) = bootstrap.compare(((first - quotient * second) / second.mean())[None], photos)
    share = float(quotient) - 1
    return share, share + found.low, share + found.high


def _said_pairs(trainings: Trainings) -> list[str]:
    """A line for each two sets and measure, wherever both were trained with the same n and steps."""
    lines = []
    for n, steps in dict.fromkeys((n, steps) for _, n, steps in trainings):
        names = [name for name, *rest in trainings if rest == [n, steps]]
        for first, second in combinations(names, 2):
            one, other = trainings[first, n, steps], trainings[second, n, steps]
            for measure in MEASURES:
                shares = ratio(errors_of(one, measure), errors_of(other, measure), one[0].errors.photos)
                lines.append(f"{measure}, n {n}, steps {steps}: {say_ratio(first, second, *shares)}")
    return [_over(trainings, "differences"), *lines] if lines else []


def _over(trainings: Trainings, what: str) -> str:
    """The line above differences or curves: what their intervals are over."""
    (first, *more), *_ = trainings.values()
    faces = f"{len(first.errors.photos)} faces of {len(np.unique(first.errors.photos))} photographs"
    seeds = f" and {len(more) + 1} seeds" if more else ", of one seed: they know nothing of other seeds"
    return f"{what}, with 95 % intervals over {faces}{seeds}"


def say_ratio(first: str, second: str, share: float, low: float, high: float) -> str:
    """`A is 8.0 % lower than B, 95 % interval 5.0 to 11.0`, in the direction of what was measured."""
    way, ends = ("lower", (-high, -low)) if share < 0 else ("higher", (low, high))
    text = f"{first} is {100 * abs(share):.1f} % {way} than {second}"
    return f"{text}, 95 % interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f}{_if_none(low, high)}"


def _if_none(low: float, high: float) -> str:
    return ": no difference shown" if low <= 0 <= high else ""


# --- Curves over n ----------------------------------------------------------------------------------------------------


def curves(trainings: Trainings, measure: str) -> dict[tuple[str, int], tuple[list[int], Fit]]:
    """Set and steps -> the numbers of faces, ascending, and the law that fits, where there are enough of them."""
    found = {}
    for name, steps in dict.fromkeys((name, steps) for name, _, steps in trainings):
        counts = sorted(n for own, n, own_steps in trainings if (own, own_steps) == (name, steps))
        if len(counts) >= curve.LEAST_COUNTS:
            errors = np.stack([errors_of(trainings[name, n, steps], measure) for n in counts])
            photos = trainings[name, counts[0], steps][0].errors.photos
            found[name, steps] = counts, curve.fitted(counts, errors, photos)
    return found


def _said_curves(trainings: Trainings) -> list[str]:
    lines = []
    for measure in MEASURES:
        found = curves(trainings, measure)
        for (name, steps), (counts, fit) in found.items():
            heading = f"{measure}, steps {steps}: {name}, n {', '.join(map(str, counts))}"
            lines += [heading, *(f"  {line}" for line in say_fit(fit))]
        lines += list(_said_differences(measure, found))
    for (name, steps), number in Counter((name, steps) for name, _, steps in trainings).items():
        if 1 < number < curve.LEAST_COUNTS:
            lines.append(f"steps {steps}: {name}: no curve through {number} n; four or more are needed")
    return [_over(trainings, "curves, error = D n^-a + C"), *lines] if lines else []


def say_fit(fit: Fit) -> list[str]:
    """The parameters with their intervals, unless the curve is flat; and what is not determined."""
    if not fit.falls:
        return list(fit.notes)
    parameters = [("C", fit.c), ("D", fit.d), ("a", fit.a)]
    return [", ".join(f"{name} {_parameter(one)}" for name, one in parameters), *fit.notes]


def _parameter(one: Parameter) -> str:
    return f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"


def _said_differences(measure: str, found: dict[tuple[str, int], tuple[list[int], Fit]]) -> Iterator[str]:
    """A line for each two sets whose curves have the same n and steps: how far apart their C are."""
    for ((first, steps), (counts, one)), ((second, other_steps), (other_counts, other)) in combinations(
        found.items(), 2
    ):
        if (steps, counts) != (other_steps, other_counts) or not (one.falls and other.falls):
            continue
        difference = one.c.value - other.c.value
        low, high = curve.interval(one.resampled[:, 2] - other.resampled[:, 2])
        way, ends = ("below", (-high, -low)) if difference < 0 else ("above", (low, high))
        yield (
            f"{measure}, steps {steps}: C of {first} is {abs(difference):.2f} {way} that of {second}, "
            f"95 % interval {ends[0]:.2f} to {ends[1]:.2f}{_if_none(low, high)}"
        )
