"""How often the intervals of `facemix compare` and `sweep` hold the truth: the tables of docs/statistics.md.

    python scripts/coverage.py --repetitions 400

Errors are made up (`facemix.verdict.simulation`) with known differences between strategies, and each 95 % interval is
asked whether it holds the true one.

1. The differences of `facemix compare`. In brackets stands the plain bootstrap of photographs and seeds (Owen's
   pigeonhole bootstrap with percentiles), which facemix does not use because of what this shows. False alarms: six
   strategies that are all as good as real_only; the share of experiments in which any is called better or worse.
2. The same with one seed, 300 photographs, for seeds that differ by more and more: how often the interval misses, and
   how often a claim would be made by its p-values. In brackets: how often facemix makes one.
3. The intervals of `facemix sweep`: of a mean NME, and of what synthetic faces are worth in real ones.
4. The worth on a flat learning curve, and on which side its interval misses. In brackets stands what the least NME so
   far would give in the place of isotonic regression.
5. Alarms where each strategy stands at the best on validation of several equally good settings.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from facemix.verdict import bootstrap, comparison, simulation, tuning, worth
from facemix.verdict.tuning import MixName, Try

Doubles = npt.NDArray[np.float64]
Effects = dict[str, float]

SEEDS = (2, 3, 5)
PHOTOS = (50, 200)
EFFECTS: dict[str, Effects] = {
    "seeds differ by 1 %": {"seed_sd": 0.01, "photo_sd": 0.05},
    "by 5 %": {"seed_sd": 0.05, "photo_sd": 0.05},
    "by 1 %, photographs by 20 %": {"seed_sd": 0.01, "photo_sd": 0.2},
}
MEANS = np.array([4.0, 3.6, 3.8, 3.9, 4.0, 4.2, 5.0])
"""NME of real_only and of six strategies: as many as learn from synthetic faces."""
RESAMPLES = 2000
COUNTS = np.array([50.0, 100, 200, 400, 800])
WORTHS = np.array([80.0, 150, 300])
CURVE = 30 * np.concatenate([COUNTS, WORTHS]) ** -0.15
"""NME of real_only with each number of faces, and of what is worth as many faces as WORTHS says."""
FLAT_COUNTS = np.array([50.0, 100, 200, 400, 800, 1600])
FLAT = 4.4 * np.concatenate([FLAT_COUNTS, WORTHS]) ** -0.024
"""The same where real faces hardly help any more: six numbers of faces, slope 0.024."""
ONE_SEED = (0.0, 0.01, 0.02)
"""By how much seeds differ in the table of one seed."""
VALIDATION = 60
"""Photographs that settings are chosen on."""
SEARCHES = ((3, 3), (1, 3), (3, 1))
"""How many settings are tried for real_only, and for each of the others."""


def pigeonhole(differences: Doubles, photo_of: npt.NDArray[np.int64], seed: int) -> tuple[Doubles, Doubles]:
    """The plain percentile intervals (k,) of differences (k, S, n): seeds and photographs resampled independently."""
    rng = np.random.default_rng(seed)
    k, n_seeds, _ = differences.shape
    sizes = np.bincount(photo_of)
    sums = np.stack([np.bincount(photo_of, weights=one) for one in differences.reshape(k * n_seeds, -1)])
    photos, seeds = (np.concatenate(list(bootstrap.draws(rng, RESAMPLES, n))) for n in (len(sizes), n_seeds))
    of_seeds = (photos @ sums.T).reshape(RESAMPLES, k, n_seeds) / (photos @ sizes)[:, None, None]
    resampled = (of_seeds * seeds[:, None] / n_seeds).sum(axis=2)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return low, high


def coverage(n_seeds: int, n_photos: int, repetitions: int, effects: Effects) -> tuple[float, float]:
    """Shares of intervals that hold the true difference: facemix's, and the plain ones."""
    held, plain_held = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, n_photos)
        errors = simulation.errors(rng, MEANS, n_seeds, photo_of, **effects)
        differences, true = errors[1:] - errors[0], MEANS[1:] - MEANS[0]
        found = bootstrap.compare(differences, photo_of, resamples=RESAMPLES, seed=repetition)
        held += [one.low <= mean <= one.high for one, mean in zip(found, true, strict=True)]
        low, high = pigeonhole(differences, photo_of, repetition)
        plain_held += ((low <= true) & (true <= high)).tolist()
    return float(np.mean(held)), float(np.mean(plain_held))


def false_alarms(n_seeds: int, n_photos: int, repetitions: int, effects: Effects) -> tuple[float, float]:
    """Shares of experiments without any difference with a p-value below 5 %, and with a verdict that claims one."""
    significant, claimed = 0, 0
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, n_photos)
        errors = simulation.errors(rng, np.full_like(MEANS, 4.0), n_seeds, photo_of, **effects)
        found = bootstrap.compare(errors[1:] - errors[0], photo_of, resamples=RESAMPLES, seed=repetition)
        adjusted = bootstrap.holm(np.array([one.p_value for one in found])).tolist()
        verdicts = {comparison.judge(one.mean, p, n_seeds, 1, 1) for one, p in zip(found, adjusted, strict=True)}
        significant += min(adjusted) < 1 - bootstrap.CONFIDENCE
        claimed += bool(verdicts & {"better", "worse"})
    return significant / repetitions, claimed / repetitions


def tuned_alarms(
    n_seeds: int, n_photos: int, repetitions: int, seed_sd: float, search: tuple[int, int], judged: int
) -> tuple[float, float]:
    """Shares of experiments that call any strategy better, and any worse, where none is and settings were chosen.

    Args:
        search: one of SEARCHES.
        judged: on how many of the seeds settings are chosen; the best are then trained with all.
    """
    better, worse = 0, 0
    names = ["real_only", *(f"other {i}" for i in range(len(MEANS) - 1))]
    tries = [(name, i) for name in names for i in range(search[name != "real_only"])]
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, VALIDATION + n_photos)
        errors = simulation.errors(rng, np.full(len(tries), 4.0), n_seeds, photo_of, seed_sd=seed_sd)
        tested = photo_of >= VALIDATION
        val_nme = errors[..., ~tested].mean(axis=-1)
        made = [
            Try(
                mix=MixName(strategy=name, alpha=None, n_real=1, n_synthetic=0),
                settings={"training.learning_rate": i},
                seed=seed,
                val_nme=float(of_try[seed]),
                faces_seen=1,
            )
            for (name, i), of_try in zip(tries, val_nme, strict=True)
            for seed in range(judged)
        ]
        kept, _ = tuning.at_best(made)
        chosen = errors[[i // judged for i in kept[::judged]]][..., tested]
        photos = photo_of[tested] - VALIDATION
        found = bootstrap.compare(chosen[1:] - chosen[0], photos, resamples=RESAMPLES, seed=repetition)
        adjusted = bootstrap.holm(np.array([one.p_value for one in found])).tolist()
        verdicts = {comparison.judge(one.mean, p, n_seeds, 1, 1) for one, p in zip(found, adjusted, strict=True)}
        better += "better" in verdicts
        worse += "worse" in verdicts
    return better / repetitions, worse / repetitions


def sweep_coverage(n_seeds: int, n_photos: int, repetitions: int, effects: Effects) -> tuple[float, float]:
    """Shares of a sweep's intervals that hold the true mean NME, and the true number of real faces."""
    means_held, worths_held = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, n_photos)
        errors = simulation.errors(rng, CURVE, n_seeds, photo_of, **effects)
        found = bootstrap.compare(errors, photo_of, resamples=RESAMPLES, seed=repetition)
        means_held += [one.low <= mean <= one.high for one, mean in zip(found, CURVE, strict=True)]
        real, targets = np.split(errors, [len(COUNTS)])
        ends = worth.worth_intervals(COUNTS, real, targets, photo_of, resamples=RESAMPLES, seed=repetition)[:, 1:]
        worths_held += ((ends[:, 0] <= WORTHS) & (ends[:, 1] >= WORTHS)).tolist()
    return float(np.mean(means_held)), float(np.mean(worths_held))


def flat_misses(n_seeds: int, n_photos: int, repetitions: int, seed_sd: float) -> tuple[float, float]:
    """Shares of intervals of a worth on a flat curve that lie below the true number of faces, and above it."""
    below, above = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, n_photos)
        real, targets = np.split(simulation.errors(rng, FLAT, n_seeds, photo_of, seed_sd=seed_sd), [len(FLAT_COUNTS)])
        ends = worth.worth_intervals(FLAT_COUNTS, real, targets, photo_of, resamples=RESAMPLES, seed=repetition)[:, 1:]
        below += (ends[:, 1] < WORTHS).tolist()
        above += (ends[:, 0] > WORTHS).tolist()
    return float(np.mean(below)), float(np.mean(above))


@contextmanager
def least_so_far() -> Iterator[None]:
    """Learning curves made to fall by the least NME so far, not by isotonic regression."""
    falling = worth.falling
    worth.falling = lambda log_nme: np.minimum.accumulate(log_nme, axis=-1)
    yield
    worth.falling = falling


def main() -> None:
    """Prints the tables, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400, help="made-up experiments a cell (default: 400)")
    repetitions = parser.parse_args().repetitions
    cases = [(n_photos, n_seeds) for n_photos in PHOTOS for n_seeds in SEEDS]

    header("photographs", "seeds", *EFFECTS, "false alarms")
    for n_photos, n_seeds in cases:
        found = [coverage(n_seeds, n_photos, repetitions, effects) for effects in EFFECTS.values()]
        _, alarms = false_alarms(n_seeds, n_photos, repetitions, next(iter(EFFECTS.values())))
        row(
            n_photos,
            n_seeds,
            *(f"{100 * ours:.1f} ({100 * plain:.1f})" for ours, plain in found),
            f"{100 * alarms:.1f}",
        )

    header("one seed; seeds differ by", "interval misses", "p below 5 %, and claimed")
    for seed_sd in ONE_SEED:
        held, _ = coverage(1, 300, repetitions, {"seed_sd": seed_sd})
        significant, claimed = false_alarms(1, 300, repetitions, {"seed_sd": seed_sd})
        row(f"{100 * seed_sd:.0f} %", f"{100 * (1 - held):.1f}", f"{100 * significant:.1f} ({100 * claimed:.1f})")

    header("photographs", "seeds", *EFFECTS)
    for n_photos, n_seeds in cases:
        found = [sweep_coverage(n_seeds, n_photos, repetitions, effects) for effects in EFFECTS.values()]
        row(n_photos, n_seeds, *(f"{100 * mean:.1f}, {100 * equal:.1f}" for mean, equal in found))

    header("flat curve: seeds", "differ by", "held", "too few", "too many")
    for n_seeds, seed_sd in ((1, 0.0), (2, 0.02), (3, 0.01), (3, 0.05), (5, 0.05)):
        below, above = flat_misses(n_seeds, 200, repetitions, seed_sd)
        with least_so_far():
            low, high = flat_misses(n_seeds, 200, repetitions, seed_sd)
        pairs = ((1 - below - above, 1 - low - high), (below, low), (above, high))
        cells = (f"{100 * ours:.1f} ({100 * former:.1f})" for ours, former in pairs)
        row(n_seeds, f"{100 * seed_sd:.0f} %", *cells)

    header("seeds", "differ by", "chosen on", *(f"{own} and {others} tries" for own, others in SEARCHES))
    for n_seeds, judged in ((3, 1), (3, 3), (5, 1)):
        for seed_sd in (0.01, 0.05):
            found = [tuned_alarms(n_seeds, 100, repetitions, seed_sd, search, judged) for search in SEARCHES]
            cells = (f"{100 * better:.1f}, {100 * worse:.1f}" for better, worse in found)
            row(n_seeds, f"{100 * seed_sd:.0f} %", f"{judged} seed{'s' * (judged > 1)}", *cells)


def header(*columns: str) -> None:
    """Prints the head of a Markdown table."""
    print()
    row(*columns)
    row(*["---"] * len(columns))


def row(*cells: object) -> None:
    """Prints a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
