"""Made-up errors whose mean is known: what intervals are checked on, and what `facemix bench compare` compares."""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def errors(
    rng: np.random.Generator,
    means: Doubles,
    n_seeds: int,
    photo_of: npt.NDArray[np.int64],
    *,
    seed_sd: float = 0.01,
    photo_sd: float = 0.05,
    rest_sd: float = 0.1,
) -> Doubles:
    """NME of k strategies, S seeds and n faces (k, S, n): lognormal, so positive and skewed as real ones are.

    What makes a face hard is shared by all strategies (standard deviation of log NME: 0.25 a photograph, 0.15 a face).
    Beside it a strategy has effects of its own for each seed, each photograph, and each seed and face.

    Args:
        rng: where they come from.
        means: (k,) mean NME of each strategy over all seeds and faces of the population.
        n_seeds: S.
        photo_of: (n,) the number of each face's photograph.
        seed_sd, photo_sd, rest_sd: standard deviations of the effects, of log NME; relative, so 0.01 is 1 %.
    """
    k, n = len(means), len(photo_of)
    spreads = (0.25, 0.15, seed_sd, photo_sd, rest_sd)
    log = (
        0.25 * rng.standard_normal(n)[photo_of]
        + 0.15 * rng.standard_normal(n)
        + seed_sd * rng.standard_normal((k, n_seeds, 1))
        + photo_sd * rng.standard_normal((k, 1, n))[..., photo_of]
        + rest_sd * rng.standard_normal((k, n_seeds, n))
    )
    return np.asarray(means[:, None, None] * np.exp(log - sum(sd**2 for sd in spreads) / 2))


def photographs(rng: np.random.Generator, n_photos: int) -> npt.NDArray[np.int64]:
    """The photograph of each face, where one to three faces were cut from each."""
    return np.repeat(np.arange(n_photos), rng.integers(1, 4, n_photos))
