"""Unites the points of several sweeps into one in `reports/sweep`, and draws it: nothing is trained or opened.

    python scripts/unite_points.py docs/grid/points.csv
    python scripts/unite_points.py docs/grid/points.csv kept/points.csv && facemix advise

Each file is a `points.csv` as `facemix sweep` writes it, with `errors.parquet` beside it if it is there. A training
that several files have counts once. All must be trained alike: by the same settings, but for those that are columns, at
the same seeds, and tested on the same faces. What a column of one file is to a point of another, `params.yaml` says at
the point's commit, so unite sweeps in the project that they ran in. Where a column has several values, each mix stands
at its best ones on validation, and these alone need all seeds: tries of settings are often of one.
"""

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from facemix import config
from facemix.errors import FacemixError
from facemix.strategies import STRATEGIES
from facemix.sweeps import grid, known, results, run, tables
from facemix.sweeps.grid import AXES, Point, Result
from facemix.sweeps.repository import git


def main(files: Sequence[Path]) -> None:
    """Writes what `facemix sweep` would have written for all points together."""
    found = united(files)
    total = max(dict(one.point.settings).get("n_real", 0) for one in found)
    results.write_tables(found, total)
    results.write_curves(found, total)


@dataclass(frozen=True, slots=True)
class Read:
    """A point and the file that it comes from."""

    file: Path
    result: Result

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.result.point.settings)

    @property
    def mix(self) -> tuple[Any, ...]:
        """What differs between the mixes of a grid."""
        return self.result.point.strategy, *map(self.settings.get, AXES), self.result.n_synthetic

    @property
    def others(self) -> dict[str, Any]:
        """What else the file says that it was trained with."""
        return {key: value for key, value in self.settings.items() if key not in AXES}


def united(files: Sequence[Path]) -> list[Result]:
    """The points of all files, each once.

    A training may be several points: `mixing` at alpha = 0 is `real_only`.

    Raises:
        FacemixError: a file is not what a sweep writes, or the files are not of trainings that can stand together.
    """
    found: dict[tuple[str, tuple[Any, ...]], Read] = {}
    for file in files:
        for one in known.read_points(file):
            new = Read(file, one.result)
            former = found.setdefault((new.result.digest, new.mix), new)
            found[new.result.digest, new.mix] = _more_complete(former, new)
    order = [*STRATEGIES]
    points = sorted(
        found.values(),
        key=lambda one: (
            order.index(one.result.point.strategy),
            one.result.n_synthetic,
            _sortable(one.result.point),
            one.result.point.seed,
        ),
    )
    points = with_usual_settings(points)
    check_alike(points)
    return [one.result for one in points]


def _more_complete(former: Read, new: Read) -> Read:
    """What both files together say of one training."""
    if known.figures(former.result) != known.figures(new.result):
        raise FacemixError(
            f"{former.file} and {new.file}: found different figures of one digest, {new.result.digest}; expected one "
            "training: leave one of the files out"
        )
    with_errors = next((one for one in (former, new) if one.result.errors is not None), former)
    point = replace(former.result.point, settings=tuple((new.settings | former.settings).items()))
    seconds = former.result.seconds if former.result.seconds is not None else new.result.seconds
    return Read(former.file, replace(with_errors.result, point=point, seconds=seconds))


def with_usual_settings(points: Sequence[Read]) -> list[Read]:
    """The points with all settings that any of them names: the others are those of `params.yaml` at their commits.

    Points whose commits are not in the repository stay as they are.
    """
    keys = {key for one in points for key in one.others}
    commits = {one.result.commit for one in points if keys - one.others.keys()}
    params = {commit: found for commit in sorted(commits) if (found := _params_at(commit))}
    if not params:
        return list(points)
    inputs = run.read_inputs(Path.cwd(), config.load())

    def named(one: Read) -> Read:
        strategy, usual = inputs.get(one.result.point.strategy), params.get(one.result.commit, {})
        lacking = [key for key in sorted(keys - one.others.keys()) if strategy and grid.matters(key, strategy)]
        added = [(key, value) for key in lacking if (value := _looked_up(usual, key)) is not None]
        point = replace(one.result.point, settings=(*one.result.point.settings, *added))
        return replace(one, result=replace(one.result, point=point))

    return [named(one) for one in points]


def _params_at(commit: str) -> dict[str, Any]:
    """What params.yaml said, unchecked, as older code may have had other keys; nothing where git does not know it."""
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return {}
    try:
        found = YAML(typ="safe").load(git(Path.cwd(), "show", f"{commit}:./{config.PARAMS_FILE}"))
    except (FacemixError, YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _looked_up(params: dict[str, Any], key: str) -> Any:
    try:
        return config.lookup(params, key)
    except KeyError:
        return None


def check_alike(points: Sequence[Read]) -> None:
    """Raises FacemixError where points cannot stand in one table: what would be averaged must differ in seeds alone."""
    first = points[0]
    for one in points:
        for what, value, expected in (
            ("NME in % of", one.result.normalizer, first.result.normalizer),
            ("the failure rate", one.result.failures[0], first.result.failures[0]),
        ):
            if value != expected:
                raise FacemixError(f"{one.file}: found {what} {value}, expected {expected} as in {first.file}")
    tested = [one for one in points if one.result.errors is not None]
    for one in tested:
        faces, expected = (read.result.errors.faces for read in (one, tested[0]))  # type: ignore[union-attr]
        if not np.array_equal(faces, expected):
            raise FacemixError(
                f"{one.file}: found {len(faces)} test faces that are not the {len(expected)} of {tested[0].file}, "
                "expected the same; leave one of the files out"
            )
    _check_told_apart(points)
    try:
        best, _ = tables.at_best_settings([one.result for one in points])
    except FacemixError:
        return  # nothing is drawn of such points, and it is said why
    kept = {id(one) for one in best}
    _check_seeds([one for one in points if id(one.result) in kept])


def _check_told_apart(points: Sequence[Read]) -> None:
    """Two trainings of one mix and seed differ in a setting, and both files must say in which."""
    groups: dict[tuple[Any, ...], list[Read]] = {}
    for one in points:
        groups.setdefault((*one.mix, one.result.point.seed), []).append(one)
    for own in groups.values():
        for one, other in itertools.combinations(own, 2):
            if not any(other.others.get(key, value) != value for key, value in one.others.items()):
                raise FacemixError(
                    f"{one.file} and {other.file}: found two trainings, {one.result.experiment} and "
                    f"{other.result.experiment}, that differ in settings which the files do not both name; expected "
                    "trainings that are alike: unite them in the project that trained them, which knows the settings "
                    "of its commits, or leave one of the files out"
                )


def _check_seeds(points: Sequence[Read]) -> None:
    """All mixes have the same seeds: intervals are paired over them."""
    seeds: dict[tuple[Any, ...], set[int]] = {}
    for one in points:
        seeds.setdefault(one.mix, set()).add(one.result.point.seed)
    most = max(seeds.values(), key=len)
    for one in points:
        own = seeds[one.mix]
        if own != most:
            raise FacemixError(
                f"{one.file}: found {_said(own)} of {one.result.experiment} and its like, expected {_said(most)} as "
                "other points have; sweep what is missing, or remove the lines of the other seeds"
            )


def _said(seeds: set[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"


def _sortable(point: Point) -> list[tuple[bool, str, float, str]]:
    """What sorts points by their numbers of faces and then by other settings, in whatever order files name these."""
    return sorted(
        (key not in AXES, key, value if isinstance(value, int | float) else 0.0, str(value))
        for key, value in point.settings
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="points.csv")
    try:
        main(parser.parse_args().files)
    except (FacemixError, OSError) as error:
        raise SystemExit(f"unite_points: {error}") from None
