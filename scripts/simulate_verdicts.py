"""How often what facemix claims is wrong, and its intervals hold: the table of all of it in docs/statistics.md.

    python scripts/simulate_verdicts.py

Made-up trainings of known truth (`facemix.verdict.simulation`), 100 photographs, one to five seeds that differ by 0, 1,
2 and 5 %. Where a row has two numbers, the first is of steep learning curves, the second of flat ones.

- alarms: six strategies as good as real_only are ranked; the share of experiments in which any is called better or
  worse.
- difference: the interval of a difference holds the true one (six in each experiment).
- worth: the interval of a worth holds the true number of faces (three in each experiment).
- advice: the intervals of `facemix advise` hold the true gain of 100 more labels, that of twice as many renders, and
  the NME with twice the labels (three in each experiment). It needs two seeds.
- wrong: `facemix advise` calls for more or for different renders, and it is not so.
- gate: the true gain is the bound, 2 %, and `facemix gate` says supported; or it says refuted. The row's seeds are its
  --max-seeds, of which it needs three.

An interval of one seed knows of photographs alone, and nothing is claimed from it.
"""

import argparse
import math
from collections.abc import Sequence

import coverage
import numpy as np
import simulate_advice
from simulate_advice import SHAPES

from facemix.verdict import gate, simulation

PHOTOS = 100
SEEDS = (1, 2, 3, 4, 5)
SPREADS = (0.0, 0.01, 0.02, 0.05)
BOUND = 0.02
HELD = ("100 more", "renders", "twice")
COLUMNS = ("seeds", "differ by", "alarms", "difference", "worth", "advice", "wrong", "gate")


def cells(n_seeds: int, seed_sd: float, repetitions: int) -> list[str]:
    """One row of the table."""
    effects = {"seed_sd": seed_sd}
    held, _ = coverage.coverage(n_seeds, PHOTOS, repetitions, effects)
    _, alarms = coverage.false_alarms(n_seeds, PHOTOS, 5 * repetitions, effects)
    _, steep = coverage.sweep_coverage(n_seeds, PHOTOS, repetitions, effects)
    flat = 1 - sum(coverage.flat_misses(n_seeds, PHOTOS, repetitions, seed_sd))
    return [
        shown(alarms),
        shown(held),
        shown(steep, flat),
        *(advised(n_seeds, seed_sd, repetitions // 4) if n_seeds > 1 else ["", ""]),
        shown(*gated(n_seeds, seed_sd, repetitions)) if n_seeds >= gate.FIRST else "",
    ]


def advised(n_seeds: int, seed_sd: float, repetitions: int) -> list[str]:
    """Shares of intervals that hold, and of wrong verdicts."""
    held, wrong = [], []
    for name in ("steep", "flat"):
        # 4 r + 1: without leaving numbers out, which is another question.
        found = [simulate_advice.asked(SHAPES[name], n_seeds, seed_sd, 4 * r + 1) for r in range(repetitions)]
        held.append(float(np.mean([one[key] for one in found for key in HELD])))
        wrong.append(float(np.mean([one["wrong"] for one in found])))
    return [shown(*held), shown(*wrong)]


def gated(most: int, seed_sd: float, repetitions: int) -> tuple[float, float]:
    """Shares of gates that say supported, and refuted, where the gain is the bound."""
    said = []
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        photo_of = simulation.photographs(rng, PHOTOS)
        own, other = simulation.errors(rng, 4.0 * np.array([1 - BOUND, 1.0]), most, photo_of, seed_sd=seed_sd)
        for look in gate.looks(most):
            n = look.seeds
            found = gate.gain(own[:n], other[:n], photo_of.astype(np.str_), BOUND, look.confidence, seed=repetition)
            if found.verdict != "undecided":
                break
        said.append(found.verdict)
    return said.count("supported") / repetitions, said.count("refuted") / repetitions


def shown(*shares: float) -> str:
    """In %."""
    return ", ".join(f"{100 * share:.1f}" for share in shares)


def uncertainty(share: float, n: int) -> float:
    """Two standard errors of a share of n, in %."""
    return 200 * math.sqrt(share * (1 - share) / n)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repetitions",
        type=int,
        default=160,
        help="a cell; a quarter for advice, five times as many for alarms (default: 160)",
    )
    repetitions = parser.parse_args(arguments).repetitions
    few, many = uncertainty(0.05, repetitions), uncertainty(0.05, 5 * repetitions)
    print(f"sure to about ± {few:.1f} where a share is near 5 or 95, alarms to ± {many:.1f}")
    coverage.row(*COLUMNS)
    coverage.row(*["---"] * len(COLUMNS))
    for seed_sd in SPREADS:
        for n_seeds in SEEDS:
            coverage.row(n_seeds, f"{100 * seed_sd:.0f} %", *cells(n_seeds, seed_sd, repetitions))


if __name__ == "__main__":
    main()
