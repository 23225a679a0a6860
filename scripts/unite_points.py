"""Unites the points of several sweeps into one in `reports/sweep`, and draws it: nothing is trained or opened.

    python scripts/unite_points.py docs/grid/points.csv
    python scripts/unite_points.py docs/grid/points.csv kept/points.csv && facemix advise

Each file is a `points.csv` as `facemix sweep` writes it, with `errors.parquet` beside it if it is there. A point that
several files have counts once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from facemix.errors import FacemixError
from facemix.strategies import STRATEGIES
from facemix.sweeps import known, results
from facemix.sweeps.grid import Point, Result


def main(files: Sequence[Path]) -> None:
    """Writes what `facemix sweep` would have written for all points together."""
    found = united(files)
    results.check_alike(found, found[0].normalizer)
    total = max(dict(one.point.settings).get("n_real", 0) for one in found)
    results.write_tables(found, total)
    results.write_curves(found, total)


def united(files: Sequence[Path]) -> list[Result]:
    """The points of all files, each once: by strategy, settings and seed.

    Raises:
        FacemixError: a file is not what a sweep writes, or two have different figures for one digest.
    """
    found: dict[tuple[str, Point], tuple[Path, Result]] = {}
    for file in files:
        for one in known.read_points(file):
            key = one.result.digest, one.result.point
            first, former = found.setdefault(key, (file, one.result))
            if _figures(former) != _figures(one.result):
                raise FacemixError(f"{first} and {file}: found different figures of one digest, {key[0]}; remove one")
            if former.errors is None:
                found[key] = first, one.result
    order = [*STRATEGIES]
    points = [one for _, one in found.values()]
    return sorted(points, key=lambda one: (order.index(one.point.strategy), _sortable(one.point), one.point.seed))


def _figures(one: Result) -> Result:
    return replace(one, errors=None, subsets=frozenset())


def _sortable(point: Point) -> list[tuple[str, float, str]]:
    return [(key, value if isinstance(value, int | float) else 0.0, str(value)) for key, value in point.settings]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="points.csv")
    try:
        main(parser.parse_args().files)
    except FacemixError as error:
        raise SystemExit(f"unite_points: {error}") from None
