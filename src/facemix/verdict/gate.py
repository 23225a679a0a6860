"""Whether a strategy's gain over real faces alone is above a bound, looked at again with each seed that is added.

**Gain.** 1 - NME of the strategy / NME of what it is compared with, each the mean over seeds and faces. It is above g
where the mean of *NME of the strategy - (1 - g) NME of the other* is below zero. That is a mean of paired differences,
so `bootstrap.compare` says how sure it is, over photographs and seeds. At g = the bound its interval decides; divided
by the other's NME it is shown as the interval of the gain.

**Looks.** Whoever looks after each seed and stops when the interval decides has several chances of a false alarm. So
the 5 % are spent over the looks by the function of K. K. G. Lan and D. L. DeMets ("Discrete sequential boundaries for
clinical trials", Biometrika 1983) that resembles O'Brien and Fleming's bounds: little at first, most at the last look.
What a look may spend is the confidence of its interval (Bonferroni). That is right whatever looks have in common, and
they share the photographs and all seeds but one; bounds that make use of it would be a little narrower, and would need
the joint distribution of means of a few seeds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from facemix.verdict import bootstrap

Doubles = npt.NDArray[np.float64]
Verdict = Literal["supported", "refuted", "undecided"]

FIRST = 3
"""Seeds of the first look: two say too little of how far seeds differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is asked after a number of seeds."""

    seeds: int
    confidence: float
    """Of its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """By which share a strategy's NME is lower, and what follows for a bound."""

    value: float
    low: float
    high: float
    verdict: Verdict


def looks(most: int) -> list[Look]:
    """The looks after three seeds and each further one, with what each may spend of the 5 %.

    Args:
        most: seeds of the last look, three at least.
    """
    numbers = range(FIRST, most + 1)
    spent = np.array([_spent(n / most) for n in numbers])
    return [
        Look(seeds=n, confidence=1 - share)
        for n, share in zip(numbers, np.diff(spent, prepend=0.0).tolist(), strict=True)
    ]


def _spent(share: float) -> float:
    """Of the 5 %, what may be spent when a share of the seeds is there: both sides of the interval together."""
    quantile = special.ndtri(1 - (1 - bootstrap.CONFIDENCE) / 4)
    return float(4 * special.ndtr(-quantile / np.sqrt(share)))


def gain(
    strategy: Doubles, other: Doubles, photos: npt.NDArray[np.str_], bound: float, confidence: float, seed: int = 0
) -> Gain:
    """The gain of a strategy, and what its interval says of a bound.

    Args:
        strategy, other: NME (S, F) of the same S seeds and F faces.
        photos: (F,) the photograph of each face.
        bound: a share, such as 0.02.
        confidence: of the interval.
        seed: of the resampling.
    """
    paired = strategy - (1 - bound) * other
    (found,) = bootstrap.compare(paired[None], photos, confidence=confidence, seed=seed)
    nme = float(other.mean())
    return Gain(
        value=bound - found.mean / nme,
        low=bound - found.high / nme,
        high=bound - found.low / nme,
        verdict="supported" if found.high < 0 else "refuted" if found.low > 0 else "undecided",
    )
