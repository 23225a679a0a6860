"""How often the intervals of `facemix compare` and `sweep` hold the truth: the tables of docs/statistics.md.

    python scripts/coverage.py --repetitions 400

Errors are made up (`facemix.verdict.simulation`) with known differences between strategies, and each 95 % interval is
asked whether it holds the true one. In brackets stands the plain bootstrap of photographs and seeds (Owen's pigeonhole
bootstrap with percentiles), which facemix does not use because of what this shows. False alarms: five strategies that
are all as good as real_only, Holm-adjusted; the share of experiments in which any is called better or worse. The second
table asks the same of the intervals of `facemix sweep`: of a mean NME, and of what synthetic faces are worth in real.
"""

import argparse

import numpy as np
import numpy.typing as npt

from facemix.sweeps import grid
from facemix.verdict import bootstrap, simulation

Doubles = npt.NDArray[np.float64]
Effects = dict[str, float]

SEEDS = (1, 2, 3, 5)
PHOTOS = (50, 200)
EFFECTS: dict[str, Effects] = {
    "seeds differ by 1 %": {"seed_sd": 0.01, "photo_sd": 0.05},
    "by 5 %": {"seed_sd": 0.05, "photo_sd": 0.05},
    "by 1 %, photographs by 20 %": {"seed_sd": 0.01, "photo_sd": 0.2},
}
MEANS = np.array([4.0, 3.6, 3.8, 4.0, 4.2, 5.0])
"""NME of real_only and of five strategies."""
RESAMPLES = 2000
COUNTS = np.array([50.0, 100, 200, 400, 800])
WORTHS = np.array([80.0, 150, 300])
CURVE = 30 * np.concatenate([COUNTS, WORTHS]) ** -0.15
"""NME of real_only with each number of faces, and of what is worth as many faces as WORTHS says."""


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


def false_alarms(n_seeds: int, n_photos: int, repetitions: int, effects: Effects) -> float:
    """Share of experiments without any difference in which a strategy is called better or worse."""
    alarms = 0
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, n_photos)
        errors = simulation.errors(rng, np.full_like(MEANS, 4.0), n_seeds, photo_of, **effects)
        found = bootstrap.compare(errors[1:] - errors[0], photo_of, resamples=RESAMPLES, seed=repetition)
        adjusted = bootstrap.holm(np.array([one.p_value for one in found]))
        alarms += adjusted.min() < 1 - bootstrap.CONFIDENCE
    return alarms / repetitions


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
        worth = grid.worth_intervals(COUNTS, real, targets, photo_of, resamples=RESAMPLES, seed=repetition)
        worths_held += ((worth[:, 1] <= WORTHS) & (worth[:, 2] >= WORTHS)).tolist()
    return float(np.mean(means_held)), float(np.mean(worths_held))


def main() -> None:
    """Prints the tables, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400, help="made-up experiments a cell (default: 400)")
    repetitions = parser.parse_args().repetitions
    header = "| photographs | seeds | " + " | ".join(EFFECTS)
    print(header + " | false alarms |")
    print("|---|---" + "|---" * len(EFFECTS) + "|---|")
    for n_photos in PHOTOS:
        for n_seeds in SEEDS:
            cases = promised(n_seeds)
            found = [coverage(n_seeds, n_photos, repetitions, effects) for effects in cases]
            alarms = false_alarms(n_seeds, n_photos, repetitions, cases[0])
            cells = [f"{100 * ours:.1f} ({100 * plain:.1f})" for ours, plain in found]
            print(f"| {n_photos} | {n_seeds} | " + " | ".join(cells) + f" | {100 * alarms:.1f} |", flush=True)
    print("\n" + header + " |\n|---|---" + "|---" * len(EFFECTS) + "|")
    for n_photos in PHOTOS:
        for n_seeds in SEEDS:
            found = [sweep_coverage(n_seeds, n_photos, repetitions, effects) for effects in promised(n_seeds)]
            cells = [f"{100 * mean:.1f}, {100 * worth:.1f}" for mean, worth in found]
            print(f"| {n_photos} | {n_seeds} | " + " | ".join(cells) + " |", flush=True)


def promised(n_seeds: int) -> list[Effects]:
    """One seed promises nothing about others: what it promises is checked where they do not differ."""
    return [effects | ({"seed_sd": 0.0} if n_seeds == 1 else {}) for effects in EFFECTS.values()]


if __name__ == "__main__":
    main()
