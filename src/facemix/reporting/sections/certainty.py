"""Whether detectors know how sure they are of each point."""

from collections.abc import Mapping, Sequence

import numpy as np

from facemix.reporting import figures
from facemix.reporting.page import Missing, Piece, Table, Text, chart
from facemix.reporting.sections.found import Found
from facemix.verdict import comparison
from facemix.verdict.comparison import Trained

LEVEL = 0.9
"""Of the table."""
SETS = {"val": "validation", "test": "test", "challenging": "challenging"}


def reliability(found: Found) -> list[Piece]:
    """How many test points lie within the radius that is said to hold a share of them."""
    told = [one for one in found.trained if "within" in one.metrics]
    names = [row["strategy"] for row in found.ranked if any(one.strategy == row["strategy"] for one in told)]
    if not names:
        return [Missing(what="No detector is calibrated: all were trained by an earlier version.", command="dvc repro")]
    shares = {name: shares_of(told, name) for name in names}
    path = found.figures / "reliability.png"
    tests = {name: sets["test"] for name, sets in shares.items()}
    figures.reliability(path, {name: list(one.items()) for name, one in tests.items()}, comparison.faces_shown(told))
    said = ", ".join(f"{name} {100 * one[LEVEL]:.0f} %" for name, one in tests.items())
    there = [key for key in SETS if key in shares[names[0]]]
    return [
        Text(
            text="Each detector says of each point how far it expects it to be from the truth, calibrated on the "
            "validation faces. From that follows the radius that should hold the true point with any probability."
        ),
        chart(
            path,
            alt=f"Share of test points within the radius that is said to hold a share of them. Of 90 %: {said}.",
            caption=f"Of the points of {found.test_faces} that are said to lie within a radius with the probability "
            "below, those that do. On the dashed line what is said is true; above it the detector is better than it "
            "says.",
        ),
        Table(
            caption=f"Points within the radius that should hold {100 * LEVEL:.0f} % of them, in %",
            header=["strategy", *(SETS[key] for key in there)],
            rows=[[name, *(f"{100 * shares[name][key][LEVEL]:.1f}" for key in there)] for name in names],
        ),
    ]


def shares_of(trained: Sequence[Trained], strategy: str) -> Mapping[str, dict[float, float]]:
    """Set of faces -> level -> share of points within its radius, mean over the seeds of a strategy."""
    seeds = [one.metrics["within"] for one in trained if one.strategy == strategy]
    return {
        name: dict(np.mean([one[name] for one in seeds], axis=0).tolist())
        for name in seeds[0]
        if all(name in one for one in seeds)
    }
