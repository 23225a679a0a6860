"""How often the intervals and the offers of `facemix advise` hold: the table of docs/advise.md.

    python scripts/simulate_advice.py --repetitions 160

Each experiment is a made-up sweep (`facemix.verdict.simulation`) whose true errors are known: real faces alone and
mixing at six numbers of real faces, and mixing at 100 real faces and five numbers of synthetic ones; 150 photographs
with one to three faces, which change a mix's NME by 5 %. What varies: the shape of the curves, the number of seeds, and
by how much seeds differ. `bent` curves do not follow the law: they are sums of two.

In % of experiments (left out numbers, and lines: of every fourth):

- held out, within and ends: the interval for a number of faces that was left out holds what was measured there; within
  the line, and at its least and greatest number, where the law is drawn beyond what it was fitted to.
- fails: a line's law is said to fail (of lines; steep and flat ones all follow it).
- twice: the interval at twice the greatest number of real faces holds the true NME.
- 100 more: that of what 100 more labels bring holds the true gain.
- renders: that of what twice as many renders bring does.
- wrong: `left` says more or different renders, and it is not so.
- worth: the interval of what synthetic faces are worth at 100 real ones holds the true number.
- offered: some mix is offered that reaches the target with a chance of 80 %.
- reached: the cheapest of them truly reaches it; of the sweeps that offer one.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from facemix.verdict import advice, offers, simulation
from facemix.verdict.curve import Parameter
from facemix.verdict.points import Mix, Swept

Doubles = npt.NDArray[np.float64]

REAL = (25, 50, 100, 250, 500, 1709)
SYNTHETIC = (100, 300, 1000, 3000, 10_000)
AT = 100
"""Real faces where synthetic ones vary."""
PHOTOS = 150
RESAMPLES = 400
PRICES = offers.Prices(label=2.0, render=0.02)
CHANCE = 0.8
CHECKED = 4
"""Of so many sweeps one has its numbers left out, which takes longest and gives 17 answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """True NME in %: of n real faces alone, and of n real faces mixed with m synthetic ones."""

    real: Callable[[float], float]
    mixed: Callable[[float, float], float]
    target: float


SHAPES = {
    "steep": Shape(
        real=lambda n: 3.0 + 8 * n**-0.45,
        mixed=lambda n, m: 3.0 + 3 * n**-0.4 + 3 * m**-0.4,
        target=3.5,
    ),
    "flat": Shape(
        real=lambda n: 3.2 + 1.2 * n**-0.25,
        mixed=lambda n, m: 3.2 + 0.9 * n**-0.25 + 0.5 * m**-0.25,
        target=3.5,
    ),
    "bent": Shape(
        real=lambda n: 2.6 + 10 * n**-0.8 + 1.5 * n**-0.1,
        mixed=lambda n, m: 2.6 + 3 * n**-0.8 + 1.2 * n**-0.1 + 4 * m**-0.8 + 0.5 * m**-0.1,
        target=3.6,
    ),
}
CASES = (
    ("steep", 3, 0.0),
    ("steep", 3, 0.01),
    ("steep", 3, 0.05),
    ("steep", 2, 0.02),
    ("steep", 5, 0.02),
    ("flat", 3, 0.01),
    ("flat", 3, 0.05),
    ("bent", 3, 0.01),
    ("bent", 3, 0.05),
)
COLUMNS = ("within", "ends", "fails", "twice", "100 more", "renders", "wrong", "worth", "offered", "reached")


def sweep(shape: Shape, n_seeds: int, seed_sd: float, seed: int) -> Swept:
    """A made-up sweep."""
    rng = np.random.default_rng(seed)
    photo_of = simulation.photographs(rng, PHOTOS)
    points = [("real_only", n, 0) for n in REAL] + [("mixing", n, SYNTHETIC[-1]) for n in REAL]
    points += [("mixing", AT, m) for m in SYNTHETIC[:-1]]
    true = np.array([shape.mixed(n, m) if m else shape.real(n) for _, n, m in points])
    errors = simulation.errors(rng, true, n_seeds, photo_of, seed_sd=seed_sd)
    mixes = tuple(
        Mix(
            strategy=strategy,
            alpha=0.5 if m else None,
            n_real=n,
            n_synthetic=m,
            val_nme=float(own.mean()),
            errors=own,
            faces_seen=1,
        )
        for (strategy, n, m), own in zip(points, errors, strict=True)
    )
    return Swept(mixes=mixes, seeds=tuple(range(n_seeds)), photos=photo_of.astype(np.str_), stand_in=False)


def asked(shape: Shape, n_seeds: int, seed_sd: float, seed: int) -> dict[str, list[bool]]:
    """What held and what did not in one experiment, by COLUMNS."""
    laid = advice.lay_out(sweep(shape, n_seeds, seed_sd, seed), resamples=RESAMPLES, seed=seed)
    real, renders = laid.lines[0], laid.lines[-1]
    checks = [advice.held_out(line) for line in laid.lines] if seed % CHECKED == 0 else []
    tests = [one for own in checks for one in own]
    greatest, most = REAL[-1], SYNTHETIC[-1]
    true_doubling = shape.mixed(AT, most) - shape.mixed(AT, 2 * most)
    left, nothing = advice.left(renders), advice.MATTERS * shape.mixed(AT, most)
    wrong = {"more": true_doubling <= nothing, "different": true_doubling >= nothing, "undecided": False}
    equal = brentq(lambda n: shape.real(n) - shape.mixed(AT, most), 1, 1e6)
    (worth,) = (one.faces for one in advice.worths(laid) if (one.mix.n_real, one.mix.n_synthetic) == (AT, most))
    low, high = worth.low or 0, worth.high
    offered = offers.offers(laid, shape.target, PRICES, CHANCE)[:1]
    reached = [
        (shape.mixed(one.n_real, one.n_synthetic) if one.n_synthetic else shape.real(one.n_real)) <= shape.target
        for one in offered
    ]
    return {
        "within": [one.covered for one in tests if not one.extrapolated],
        "ends": [one.covered for one in tests if one.extrapolated],
        "fails": [advice.fails(own) for own in checks],
        "twice": [holds(real.nme(2 * greatest), shape.real(2 * greatest))],
        "100 more": [holds(advice.gain(real, greatest, 100), shape.real(greatest) - shape.real(greatest + 100))],
        "renders": [holds(left.doubling, true_doubling)],
        "wrong": [wrong[left.verdict]],
        "worth": [low <= equal <= high],
        "offered": [bool(offered)],
        "reached": reached,
    }


def holds(interval: Parameter, true: float) -> bool:
    """Whether an interval holds the truth."""
    return bool(interval.low <= true <= interval.high)


def main() -> None:
    """Prints the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=160, help="made-up sweeps a row (default: 160)")
    repetitions = parser.parse_args().repetitions
    row("curves", "seeds", "differ by", *COLUMNS)
    row(*["---"] * (3 + len(COLUMNS)))
    for shape, n_seeds, seed_sd in CASES:
        found = [asked(SHAPES[shape], n_seeds, seed_sd, seed) for seed in range(repetitions)]
        row(shape, n_seeds, f"{100 * seed_sd:.0f} %", *(share([one[key] for one in found]) for key in COLUMNS))


def share(held: Sequence[Sequence[bool]]) -> str:
    """In %, of all experiments together."""
    flat = [one for own in held for one in own]
    return f"{100 * np.mean(flat):.1f}" if flat else "none"


def row(*cells: object) -> None:
    """Prints a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
