"""Is a difference between two strategies real? Intervals over photographs and seeds, pure functions on arrays.

**The population.** The mean paired difference is over all photographs like those of the test set, and over all
trainings of the same recipe on the same data: a seed decides the first weights, the batches and, where `n_real` is a
number, which real faces are trained on. The test set is a sample of the photographs and the seeds are a sample of the
trainings, so both make the difference uncertain: with m the mean, a photograph p and a seed s

    difference(s, p) = m + seed(s) + photograph(p) + rest(s, p)
    variance of the mean = V_seed / S + V_photograph / P + V_rest / (S P)

and resampling faces alone, however many there are, never sees the first term.

**Photographs are resampled**, not faces: faces cut from one photograph share light, focus and company. Each resample
draws P photographs with replacement, all faces of each, and divides by the number of faces drawn. Resamples of few
photographs spread too little: they are spread out by sqrt(P / (P - 1)) and by t with P - 1 degrees of freedom over z
(T. C. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 2015), 0.3 % at P = 522.

**Seeds are drawn from their t distribution** with S - 1 degrees of freedom: each resample is moved by t times the
standard error of the mean over seeds. Resampling the seeds themselves, as the pigeonhole bootstrap does (A. B. Owen,
"The pigeonhole bootstrap", Ann. Appl. Stat. 2007), is right for many rows and columns only. With few seeds it fails: no
resample leaves the range of the seeds, and the range of three misses the mean of all seeds in one case of four. The
price is an assumption, that the means of seeds are normally distributed; the sum of both parts is what Behrens and
Fisher take for a mean with two sources of error. `rest` would count in both parts, in seed means and in photograph
means, so the part of photographs is shrunk by what `rest` has in it (two-way variance components, as in A. C. Cameron,
J. B. Gelbach and D. L. Miller, "Robust inference with multiway clustering", JBES 2011: add both ways, take the
intersection off once).

**The interval is BCa** (B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 14):
percentiles of the resamples, corrected for bias and for skewness. The acceleration comes from the infinitesimal
jackknife over photographs: the third moment of their influence values over the variance of both parts to the power 3/2,
which is the formula of several samples (A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application",
1997, section 5.3) where the part of seeds, being symmetric, has no third moment.

Several comparisons are several chances of a false alarm: `holm` adjusts their p-values (S. Holm, "A simple sequentially
rejective multiple test procedure", Scand. J. Stat. 1979).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Doubles = npt.NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
CHUNK = 1_000_000  # counts of photographs that are in memory at a time
ROUNDING = 1e-12  # of the greatest difference: a spread below this is no spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean of paired differences, and what is known about the mean of the population."""

    mean: float
    low: float
    high: float
    """The ends of the interval."""
    below: float
    """Share of resamples below zero; those at zero count half."""
    p_value: float
    """Two-sided, of no difference: 1 - the confidence of the interval that ends at zero."""


def compare(
    differences: Doubles,
    photos: npt.NDArray[np.str_],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> list[Difference]:
    """What paired differences say about the population; see the module's docstring.

    All comparisons see the same resamples. With one seed the interval is over photographs alone and knows nothing of
    other seeds. With two it holds, but t with one degree of freedom makes it some four times as wide as three seeds
    would. Differences that do not vary at all (one photograph, or copies of one) say nothing of others: the interval is
    infinite, unless they are all zero; then so are its ends.

    Args:
        differences: (k, S, n) of k comparisons, S seeds and n faces.
        photos: (n,) the photograph of each face.
        resamples: their number.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        k of them.
    """
    means, n_seeds = differences.mean(axis=(1, 2)), differences.shape[1]
    n_photos, differ = len(np.unique(photos)), np.abs(differences).max(axis=(1, 2)) > 0
    if n_photos < 2:
        return [_nothing_known(mean, any_) for mean, any_ in zip(means.tolist(), differ, strict=True)]
    part = _part_of_photographs(differences, photos)
    seed_error = np.sqrt((_seed_effects(differences) ** 2).sum(axis=1))
    rng = np.random.default_rng(seed)
    # t at evenly spaced probabilities in random order: its far tails are the same in each run of few seeds.
    t = special.stdtrit(max(n_seeds - 1, 1), (rng.permutation(resamples) + 0.5) / resamples)
    shifts = part.kept * _drawn(rng, part, resamples, confidence)
    resampled = means[:, None] + shifts.T + seed_error[:, None] * t

    variance = part.kept**2 * part.variance + seed_error**2
    third = part.kept**3 * (part.influences**3).sum(axis=1) / n_photos**3
    acceleration = _ratio(third, 6 * variance**1.5)
    varies = np.sqrt(variance) > ROUNDING * np.abs(differences).max(axis=(1, 2))
    return [
        _bca(float(mean), values, float(a), confidence) if known else _nothing_known(float(mean), any_)
        for mean, values, a, known, any_ in zip(means, resampled, acceleration, varies, differ, strict=True)
    ]


def _nothing_known(mean: float, differ: bool) -> Difference:
    """What differences without any spread say; where they are all zero, that there is no difference."""
    end = np.inf if differ else 0.0
    return Difference(mean=mean, low=-end, high=end, below=0.5, p_value=1.0)


def resampled_means(
    values: Doubles,
    photos: npt.NDArray[np.str_],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    of_differences: bool = False,
) -> Doubles:
    """Resampled means of k things together, for what is computed from all of them: photographs and seeds as above.

    A resample draws the same photographs for all k. Their shifts by seeds are drawn from the multivariate t
    distribution with S - 1 degrees of freedom whose scale is the covariance of the means over seeds: each of them is
    shifted as in `compare`, and what the same seed does to several of them it does in each resample. With one seed
    there are no such shifts.

    Args:
        values: (k, S, n), of the same S seeds and the same n faces.
        photos: (n,) the photograph of each face, two at least.
        resamples: their number.
        confidence: of the interval that is to be read off.
        seed: of the resampling.
        of_differences: what is computed depends on little but differences of the k means, such as a curve read
            backwards. What seeds and photographs do together then counts once in each difference, too. Else it counts
            once in each mean, and up to twice in differences. That errs on the safe side where laws are fitted to
            means of few seeds: the shifts by S seeds reach only S - 1 directions.

    Returns:
        (resamples, k).
    """
    n_seeds = values.shape[1]
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((resamples, n_seeds))
    t = normal / np.sqrt(rng.chisquare(max(n_seeds - 1, 1), (resamples, 1)) / max(n_seeds - 1, 1))
    part = _part_of_photographs(values, photos)
    kept = _kept_of_all(part) if of_differences else np.diag(part.kept)
    shifts = _drawn(rng, part, resamples, confidence) @ kept.T
    return np.asarray(values.mean(axis=(1, 2)) + shifts + t @ _seed_effects(values).T)


def _seed_effects(values: Doubles) -> Doubles:
    """Deviations (k, S) of seeds, scaled so that the root of their sum of squares is the standard error over seeds."""
    seed_means = values.mean(axis=2)
    n_seeds = seed_means.shape[1]
    deviations = seed_means - seed_means.mean(axis=1, keepdims=True)
    return np.asarray(deviations / np.sqrt(n_seeds * max(n_seeds - 1, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Photographs:
    """What photographs do to k means."""

    sizes: Doubles
    """(P,) faces of each / their mean."""
    influences: Doubles
    """(k, P) of each photograph on the mean over seeds."""
    variance: Doubles
    """(k,) of the mean, by photographs."""
    rest: Doubles
    """(k, k) covariance of the means by seeds and photographs together, which is in that variance."""

    @property
    def kept(self) -> Doubles:
        """(k,) share of the spread of each mean by photographs that is theirs alone."""
        return np.sqrt(np.clip(1 - _ratio(np.diag(self.rest), self.variance), 0, 1))


def _part_of_photographs(values: Doubles, photos: npt.NDArray[np.str_]) -> _Photographs:
    """The part of photographs in the uncertainty of the means of values (k, S, n)."""
    n_seeds = values.shape[1]
    _, photo_of = np.unique(photos, return_inverse=True)
    sizes = np.bincount(photo_of).astype(np.float64)
    n_photos = len(sizes)
    # Influence of each photograph on the mean of each seed: (k, S, P), the sum over its faces / faces of a photograph.
    influence = _sums(values - values.mean(axis=2, keepdims=True), photo_of) / sizes.mean()
    influences = influence.mean(axis=1)
    variance = (influences**2).sum(axis=1) / (n_photos * (n_photos - 1))
    rest = np.zeros((len(values), len(values)))
    if n_seeds > 1:
        alone = (influence - influences[:, None]).reshape(len(values), -1)
        rest = alone @ alone.T / ((n_seeds - 1) * (n_photos - 1) * n_seeds * n_photos)
    return _Photographs(sizes=sizes / sizes.mean(), influences=influences, variance=variance, rest=rest)


def _kept_of_all(part: _Photographs) -> Doubles:
    """(k, k) what turns shifts of k means by photographs into those that are theirs alone, in all directions at once.

    Their covariance becomes that of photographs less `rest`, or 0 in a direction where rest is larger. To shrink each
    mean by itself would leave in a difference what seeds and photographs do together: photographs are hard for all k,
    so each mean has little of it, and a difference of two much.
    """
    n_photos = part.influences.shape[1]
    values, directions = np.linalg.eigh(part.influences @ part.influences.T / (n_photos * (n_photos - 1)))
    there = values > ROUNDING * max(values[-1], 0)
    root = directions[:, there] * np.sqrt(values[there])
    whitening = directions[:, there] / np.sqrt(values[there])
    shares, turned = np.linalg.eigh(whitening.T @ part.rest @ whitening)
    return np.asarray(root @ (turned * np.sqrt(np.clip(1 - shares, 0, 1))) @ turned.T @ whitening.T)


def _drawn(rng: np.random.Generator, part: _Photographs, resamples: int, confidence: float) -> Doubles:
    """Shifts (resamples, k) of the means by the photographs that are drawn."""
    n_photos, upper = len(part.sizes), (1 + confidence) / 2
    spread = np.sqrt(n_photos / (n_photos - 1)) * special.stdtrit(n_photos - 1, upper) / special.ndtri(upper)
    shifts = np.concatenate(
        [counts @ part.influences.T / (counts @ part.sizes)[:, None] for counts in draws(rng, resamples, n_photos)]
    )
    return np.asarray(spread * shifts)


def _sums(values: Doubles, group: npt.NDArray[np.intp]) -> Doubles:
    """Sums of values (..., n) over the faces of each photograph: (..., P)."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(values[..., order], starts, axis=-1)


def draws(rng: np.random.Generator, resamples: int, n: int) -> Iterator[Doubles]:
    """How often each of n is drawn in each resample of n with replacement: (resamples, n), some rows at a time."""
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _ratio(a: Doubles, b: Doubles) -> Doubles:
    """a / b, and 0 where b is 0: what does not vary has nothing to share."""
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)


def _bca(mean: float, resampled: Doubles, acceleration: float, confidence: float) -> Difference:
    """The BCa interval of one mean from its resamples (b,), and the p-value that its inversion gives."""
    least = 0.5 / len(resampled)  # a share of 0 or 1 is one that so few resamples cannot tell from it
    bias = special.ndtri(np.clip(_share_below(resampled, mean), least, 1 - least))
    z = bias + special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(resampled, special.ndtr(bias + z / (1 - acceleration * z)))
    below = _share_below(resampled, 0.0)
    w = special.ndtri(np.clip(below, least, 1 - least)) - bias
    p_value = 2 * special.ndtr(-abs(w / (1 + acceleration * w) - bias))
    return Difference(mean=mean, low=float(low), high=float(high), below=below, p_value=float(p_value))


def _share_below(values: Doubles, threshold: float) -> float:
    return float(np.mean(values < threshold) + np.mean(values == threshold) / 2)


def holm(p_values: Doubles) -> Doubles:
    """Holm's adjusted p-values (k,): at most a share alpha of experiments has any false one below alpha."""
    order = np.argsort(p_values, kind="stable")
    k = len(p_values)
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(k, 0, -1)), 1)
    return adjusted
