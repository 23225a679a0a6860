"""What more faces bring, and what they never mend: error = D n^-a + C, fitted to errors at several numbers of faces n.

The law is that of H. Mikami et al., "A Scaling Law for Syn2real Transfer: How Much Is Your Pre-training Effective?"
(arXiv 2108.11018). C is the error that no number of faces of this kind goes below; D and a say what more of them bring.
Pure functions on arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix.verdict import bootstrap

Doubles = npt.NDArray[np.float64]

LEAST_COUNTS = 3
"""Numbers of faces that a fit needs: it has three parameters."""
EXPONENTS = (0.01, 5.0)
"""Between which a is looked for. Below, no curve differs from a straight line in log n; above, from a single step."""
_GRID, _ZOOMS = 25, 6  # values of a that are tried at once, and how often the grid is narrowed
_NEAR = 0.01  # share of a limit within which a parameter counts as being at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the law, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The law that fits one curve best."""

    d: Parameter
    a: Parameter
    c: Parameter
    falls: bool
    """Whether the error at the greatest n is shown to be below that at the least; else nothing is determined."""
    notes: tuple[str, ...]
    """What the curve does not determine, and what would."""
    resampled: Doubles
    """(resamples, 3) D, a, C of each resample, the same photographs and seeds for all curves."""

    @property
    def parameters(self) -> Doubles:
        """(3,) D, a, C."""
        return np.array([self.d.value, self.a.value, self.c.value])


def law(n: npt.ArrayLike, parameters: Doubles) -> Doubles:
    """The error (...) at numbers of faces n (...) by D, a, C (..., 3). A flat curve has no a, and is C everywhere."""
    d, a, c = np.moveaxis(parameters, -1, 0)
    return np.asarray(np.where(d > 0, d * np.asarray(n, np.float64) ** -np.where(d > 0, a, 0), 0) + c)


def fit(n: Sequence[int], errors: Doubles) -> Doubles:
    """D, a, C (b, 3) of the curves (b, k) by least squares, with D and C at least 0 and a within EXPONENTS.

    For a given a the law is linear in D and C, whose best values are known; only a is searched for (variable
    projection: G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 1973). So there is no start value to depend on, and
    thousands of resamples are fitted at once.

    Args:
        n: k numbers of faces, three or more different ones.
        errors: the error of each curve at each of them.

    Returns:
        a is NaN and D 0 where a curve does not fall.
    """
    relative = np.asarray(n, np.float64) / min(n)
    low, high = (np.full(len(errors), np.log(end)) for end in EXPONENTS)
    rows = np.arange(len(errors))
    for _ in range(_ZOOMS):
        tried = np.linspace(low, high, _GRID, axis=1)
        rest = np.stack([_linear(relative, np.exp(a), errors)[2] for a in tried.T], axis=1)
        best = rest.argmin(axis=1)
        low, high = tried[rows, np.maximum(best - 1, 0)], tried[rows, np.minimum(best + 1, _GRID - 1)]
    a = np.exp(tried[rows, best])
    gain, c, _ = _linear(relative, a, errors)
    return np.stack([gain * float(min(n)) ** a, np.where(gain > 0, a, np.nan), c], axis=1)


def _linear(relative: Doubles, a: Doubles, errors: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """The best gain and C, none below 0, of errors (b, k) = gain relative^-a + C at given a (b,); and what is left.

    Returns:
        gain, C and the sum of squared residuals, (b,) each.
    """
    x = relative ** -a[:, None]
    x_mean, y_mean = x.mean(axis=1), errors.mean(axis=1)
    centred = x - x_mean[:, None]
    gain = (centred * errors).sum(axis=1) / (centred**2).sum(axis=1)
    c = y_mean - gain * x_mean
    # Where one of both would be below 0, it is 0, and the other what is best then.
    no_floor, rises = c < 0, gain < 0
    gain = np.where(no_floor, (x * errors).sum(axis=1) / (x**2).sum(axis=1), gain)
    gain = np.where(rises, 0, np.maximum(gain, 0))
    c = np.where(rises, np.maximum(y_mean, 0), np.where(no_floor, 0, c))
    return gain, c, ((gain[:, None] * x + c[:, None] - errors) ** 2).sum(axis=1)


def fitted(n: Sequence[int], errors: Doubles, photos: npt.NDArray[np.str_]) -> Fit:
    """The law of a curve with 95 % percentile intervals, over photographs and seeds together.

    Args:
        n: k numbers of faces, ascending, three or more.
        errors: (k, S, F) the error of F validation faces at each of them, for each of S seeds.
        photos: (F,) the photograph of each face.
    """
    return fitted_to(n, errors.mean(axis=(1, 2)), bootstrap.resampled_means(errors, photos))


def fitted_to(n: Sequence[int], errors: Doubles, means: Doubles) -> Fit:
    """The law of a curve with 95 % percentile intervals.

    Args:
        n: k numbers of faces, ascending, three or more.
        errors: (k,) the mean error at each of them.
        means: (resamples, k) the same, resampled.
    """
    resampled = fit(n, means)
    d, a, c = (
        Parameter(value=value, low=low, high=high)
        for value, (low, high) in zip(fit(n, errors[None])[0].tolist(), map(interval, resampled.T), strict=True)
    )
    falls = interval(means[:, 0] - means[:, -1])[0] > 0 and d.value > 0
    notes = _undetermined(n, a, c) if falls else (_flat(n),)
    return Fit(d=d, a=a, c=c, falls=falls, notes=notes, resampled=resampled)


def interval(resampled: Doubles) -> tuple[float, float]:
    """The ends of the 95 % percentile interval of resampled values (b,); those that are NaN do not count."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - bootstrap.CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _flat(n: Sequence[int]) -> str:
    return (
        f"not determined: the curve is flat, the error at n {n[-1]} is not shown to be below that at n {n[0]}; "
        "smaller n or more seeds are needed"
    )


def _undetermined(n: Sequence[int], a: Parameter, c: Parameter) -> tuple[str, ...]:
    """What a falling curve at ascending n does not determine, and what would."""
    notes = []
    if len(n) == LEAST_COUNTS:
        notes.append("three n fix three parameters and leave nothing to check the law by; a fourth n is needed")
    if a.high > (1 - _NEAR) * EXPONENTS[1]:
        notes.append(f"a and D have no upper end: all may be won at n {n[1]}; smaller n are needed")
    if c.low <= _NEAR * c.value:
        notes.append("C is not told from 0; larger n or more seeds are needed")
    return tuple(notes)
