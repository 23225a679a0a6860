"""What synthetic faces are worth in real ones: a learning curve read backwards. Pure functions on arrays.

The learning curve is known at a few numbers of real faces, each with an error. Read backwards as it stands it would
have no answer, or several, where chance made it rise. So it is made to fall first, by isotonic regression of log NME:
the falling curve that is closest to what was measured, every number of faces counting the same (all were tested on the
same faces with the same seeds). Where it rises, neighbours are averaged. To take the least NME so far instead would
follow the luckiest training, and find synthetic faces worth too little on flat curves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from facemix.verdict import bootstrap

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

ALL = "all"
"""The part that is the whole: all points of all test faces."""
LEAST = 1e-3
"""NME in % that a resample has at least: with two seeds a few fall below zero, and have no logarithm."""
_DIGITS = 9  # of log NME: rounding in a mean makes no flat curve rise or fall


def falling(log_nme: Array) -> Array:
    """The falling curves (..., k) closest to these, by least squares."""
    rows = log_nme.reshape(-1, log_nme.shape[-1])
    # Curves that lie apart, each below the one before, are one falling sequence: none is averaged with another.
    apart = (np.ptp(rows) + 1) * np.arange(len(rows))[:, None]
    fitted = isotonic_regression((rows - apart).ravel(), increasing=False).x.reshape(rows.shape) + apart
    return np.asarray(fitted.reshape(log_nme.shape))


def faces_worth(n: Array, nme: Array, target: float | Array) -> Array:
    """How many real faces alone reach an NME: the learning curve read backwards, straight in log n and log NME.

    The curve is made to fall first: see the module's docstring.

    Args:
        n: numbers of faces (k,), ascending, k >= 2.
        nme: NME with each (..., k), in %.
        target: NME to reach, (...).

    Returns:
        Numbers of faces (...); infinite where not even the greatest n is as good, 0 where the least n is better.
    """
    log_n = np.log(n)
    goal = np.log(np.asarray(target, np.float64)).round(_DIGITS)
    curve = np.broadcast_to(falling(np.log(nme)).round(_DIGITS), (*goal.shape, len(n)))
    reached = curve <= goal[..., None]
    last = np.argmax(reached, axis=-1)
    before = np.maximum(last - 1, 0)
    high, low = (np.take_along_axis(curve, at[..., None], axis=-1)[..., 0] for at in (before, last))
    share = np.where(high > low, (high - goal) / np.where(high > low, high - low, 1), 1.0)
    found = np.exp(log_n[before] + share * (log_n[last] - log_n[before]))
    found = np.where(last == 0, np.where(curve[..., 0] < goal, 0.0, n[0]), found)
    return np.where(reached.any(axis=-1), found, np.inf)


def worth_intervals(
    n: Array,
    real: Array,
    targets: Array,
    photos: Names,
    *,
    resamples: int = bootstrap.RESAMPLES,
    confidence: float = bootstrap.CONFIDENCE,
    seed: int = 0,
) -> Array:
    """`faces_worth` of mean curves, with percentile bootstrap intervals over photographs and seeds.

    All curves see the same resamples: see `bootstrap.resampled_means`. With one seed the interval is over photographs
    alone, with one photograph nothing is known.

    Args:
        n: numbers of real faces (k,), ascending.
        real: NME of each test face with real faces alone (k, S, faces), in %.
        targets: the same for what is to be matched (m, S, faces), of the same seeds.
        photos: (faces,) the photograph of each face.
        resamples: their number.
        confidence: of the intervals.
        seed: of the resampling.

    Returns:
        (m, 3): the number of faces, and the ends of its interval; 0 and infinity as in `faces_worth`.
    """
    worth = faces_worth(n, real.mean(axis=(1, 2)), targets.mean(axis=(1, 2)))
    if len(np.unique(photos)) < 2:
        return np.stack([worth, np.zeros(len(worth)), np.full(len(worth), np.inf)], axis=1)
    values = np.concatenate([real, targets])
    means = bootstrap.resampled_means(
        values, photos, resamples=resamples, confidence=confidence, seed=seed, of_differences=True
    )
    means = np.maximum(means, LEAST)
    drawn = faces_worth(n, means[:, None, : len(n)], means[:, len(n) :])
    tail = (1 - confidence) / 2
    ends = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")  # not between infinities
    return np.stack([worth, *ends], axis=1)


def confidence_of(part: str, parts: Sequence[str]) -> float:
    """The confidence of a part's intervals: Bonferroni's, so that those of all parts hold together at 95 %.

    The whole is the question itself and is not adjusted. The parts are looked over for any that stands out; without
    adjustment one of eight would stand out by chance in up to every third sweep.

    Args:
        part: one of them.
        parts: all of them; the first is the whole.
    """
    whole, *others = parts
    return bootstrap.CONFIDENCE if part == whole else 1 - (1 - bootstrap.CONFIDENCE) / len(others)


def say_count(worth: float, counts: Sequence[int], thousands: str = "") -> str:
    """A number of faces in words where the curve ends: `fewer than 50`, `more than 1709`."""
    if np.isinf(worth):
        return f"more than {max(counts):{thousands}}"
    return f"{worth:{thousands}.0f}" if worth else f"fewer than {min(counts):{thousands}}"


def say_worths(row: Mapping[str, Any], thousands: str = "") -> dict[str, Any]:
    """One row of `worth_table` as a row of worth.csv: its numbers of faces in words where the curve ends."""
    said = {key: say_count(row[key], row["counts"], thousands) for key in ("worth", "low", "high")}
    return {key: value for key, value in {**row, **said}.items() if key != "counts"}


def say_worth(row: Mapping[str, Any]) -> str:
    """One row of `worth_table` as a sentence."""
    said = say_worths(row, ",")
    alpha = "" if row["alpha"] is None else f" at alpha = {row['alpha']:g}"
    seen, other = row["faces_seen"], row["compared_faces_seen"]
    cost = "" if seen == other else f"; they saw {seen:,} faces, {row['compared_with']} {other:,}"
    photographs = "; over photographs alone: one seed" if row["seeds"] == 1 else ""
    beside = f"{row['n_real']:,} real faces + synthetic" if row["n_real"] else "synthetic faces alone"
    return (
        f"{beside} ({row['strategy']}{alpha}, NME {row['test_nme']:.2f}) are as good as "
        f"{said['worth']} real alone ({row['confidence']:g} %: {said['low']} to {said['high']}{photographs}{cost})"
    )
