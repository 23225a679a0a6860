"""Gives published points the digests that the code of today has for them: a new one where `training/` has changed.

    facemix preset grid && facemix import 300w ~/300w && git add -A && git commit -m "Grid"
    python scripts/sign_points.py docs/grid/points.csv

Run it in the project that the points are of. It says how many digests differ, and writes all points to
`reports/sweep`, as `facemix sweep` does. Publish these only if trainings still come out the same, bit for bit: train
some steps of each strategy with the former code and with this, and compare the weights. If they do not, the points are
of the former code, and have to be trained anew.
"""

import argparse
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemix import config
from facemix.errors import FacemixError
from facemix.sweeps import grid, known, results, run
from facemix.sweeps.grid import Inputs, Point, Result


def main(file: Path) -> None:
    """Writes the points of a file with today's digests."""
    former = [one.result for one in known.read_points(file)]
    total = max(dict(one.point.settings).get("n_real", 0) for one in former)
    params = config.load()
    inputs = run.read_inputs(Path.cwd(), params)
    asked = [as_asked(one, inputs, config.plain(params)) for one in former]
    digests = run.digests_of(Path.cwd(), asked, params, inputs)
    signed = [
        dataclasses.replace(one, digest=digests[point], experiment=f"{one.experiment[:-7]}{digests[point][:7]}")
        for one, point in zip(former, asked, strict=True)
    ]
    different = sum(one.digest != new.digest for one, new in zip(former, signed, strict=True))
    print(f"{different} of {len(signed)} digests are new")
    results.write_tables(signed, total)


def as_asked(one: Result, inputs: Mapping[str, Inputs], plain: Mapping[str, Any]) -> Point:
    """The training of a point as a grid asked for it; what it says of numbers of faces stands in its name.

    Args:
        plain: params.yaml, which says how many faces where the name does not.
    """
    settings = dict(one.point.settings)
    if "-nall-" in one.experiment:
        settings["n_real"] = "all"
    if named := re.search("-n_synthetic=([0-9]+|all)-", one.experiment):
        (settings["n_synthetic"],) = grid.parse_values("n_synthetic", named[1])
    typed = {key: grid.typed(key, value, plain) for key, value in settings.items()}
    kept = tuple((key, value) for key, value in typed.items() if grid.matters(key, inputs[one.point.strategy]))
    return grid.trained_as(dataclasses.replace(one.point, settings=kept), inputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="points.csv")
    try:
        main(parser.parse_args().file)
    except (FacemixError, OSError) as error:
        raise SystemExit(f"sign_points: {error}") from None
