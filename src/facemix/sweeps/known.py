"""Points that somebody else trained: a sweep's `points.csv`, and `errors.parquet` where it lies beside it.

A point is known by the digest of all that its training depends on, so it counts as trained wherever the digest is the
same. Its model is not there: what starts from it needs it trained.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.files import read_text
from facemix.sweeps.grid import Errors, Point, Result, parse_values
from facemix.sweeps.tables import COLUMNS
from facemix.verdict import points, worth

_AGAIN = "expected a points.csv as `facemix sweep` writes it"
_FACES = ("face", "subset", "photo", "yaw", "nme", "digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A point that was trained elsewhere."""

    result: Result
    """Its point has the settings as the file has them, with `n_real` as a number."""

    @property
    def n_real(self) -> int | None:
        """Real training faces; None where it needs none."""
        n_real = dict(self.result.point.settings).get("n_real")
        assert n_real is None or isinstance(n_real, int)
        return n_real

    def as_point(self, point: Point) -> Result:
        """What is known, as the result of a point of equal digest."""
        return replace(self.result, point=point)


def read(path: Path) -> dict[str, Known]:
    """The trainings of a file by their digests: see `read_points`."""
    found: dict[str, Known] = {}
    for one in read_points(path):
        found.setdefault(one.result.digest, one)
    return found


def read_points(path: Path) -> list[Known]:
    """The points of a file, with the errors of single faces where `errors.parquet` lies beside it.

    A training may be two points: `mixing` at alpha = 0 is `real_only`, and has its digest. A line that is there twice
    counts once.

    Raises:
        FacemixError: a file cannot be read or is not what a sweep writes, or has different figures for one digest.
    """
    reader = csv.DictReader(_text(path).splitlines())
    header = reader.fieldnames or ()
    rates = [name for name in header if metrics.is_rate(name)]
    missing = [name for name in COLUMNS if name not in header] + ([] if rates else ["fr8 or the like"])
    if missing:
        raise FacemixError(f"{path}: found no column {' and '.join(missing)}, {_AGAIN}; older code wrote fewer columns")
    rows: list[Known] = []
    found: dict[str, Known] = {}
    lines: dict[str, int] = {}
    for line, row in enumerate(reader, 2):
        one = _row(f"{path}: line {line}", row, rates[0])
        digest = one.result.digest
        if digest in found and figures(found[digest].result) != figures(one.result):
            raise FacemixError(
                f"{path}: lines {lines[digest]} and {line}: found different figures of one digest, {digest}; expected "
                "one training: remove the wrong line"
            )
        lines.setdefault(digest, line)
        found.setdefault(digest, one)
        rows.append(one)
    if not found:
        raise FacemixError(f"{path}: found no points, {_AGAIN}")
    beside = path.parent / points.ERRORS
    if beside.exists():
        found = _with_errors(found, beside)
    once = dict.fromkeys((one.result.digest, one.result.point) for one in rows)
    return [Known(result=found[digest].as_point(point)) for digest, point in once]


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        found = "a folder" if path.is_dir() else "no file" if not path.exists() else f"{error.strerror}"
        raise FacemixError(f"{path}: found {found}, {_AGAIN}; name one that can be read") from None


def _row(place: str, row: Mapping[str, str | None], rate: str) -> Known:
    def number(key: str, kind: type = float, needed: bool = True) -> Any:
        return points.number(place, row, key, kind, needed=needed)

    points.check_row(place, row)
    strategy, digest, experiment = (row[key] or "" for key in ("strategy", "digest", "experiment"))
    if not re.fullmatch(r"[0-9a-f]{32}", digest) or not experiment.endswith(digest[:7]):
        raise FacemixError(
            f"{place}: found digest {digest!r} of {experiment!r}, expected 32 hexadecimal digits, with the first seven "
            "of which the experiment ends"
        )
    if not row["normalizer"]:
        raise FacemixError(f"{place}: found no normalizer, expected the face size that NME is in % of")
    settings = {"alpha": number("alpha", needed=False), "n_real": number("n_real", int, needed=False)} | {
        key: parse_values(key, text)[0] for key, text in row.items() if "." in key and text
    }
    result = Result(
        point=Point(
            strategy=strategy,
            seed=number("seed", int),
            settings=tuple((key, value) for key, value in settings.items() if value is not None),
        ),
        experiment=experiment,
        commit=row["commit"] or "",
        digest=digest,
        val_nme=number("val_nme"),
        test_nme=number("test_nme"),
        failures=(rate, number(rate)),
        normalizer=row["normalizer"],
        subsets=frozenset(),
        faces_seen=number("faces_seen", int),
        n_synthetic=number("n_synthetic", int, needed=False) or 0,
        seconds=number("seconds", needed=False),
        errors=None,
    )
    return Known(result=result)


def figures(one: Result) -> tuple[Any, ...]:
    """What is the same wherever a training of one digest ran."""
    n_real = dict(one.point.settings).get("n_real")
    return one.val_nme, one.test_nme, one.failures, one.normalizer, one.faces_seen, one.n_synthetic, n_real


def _with_errors(found: Mapping[str, Known], path: Path) -> dict[str, Known]:
    """The same points with the errors of each face; those that the file does not hold stay without."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        columns = {key: table[key].to_pylist() for key in ("digest", "subset", "photo", "face")}
        yaw = table["yaw"].to_numpy().astype(np.float64)
        regions = [key for key in table.column_names[table.column_names.index("nme") + 1 :] if key not in _FACES]
        nme = {
            part: table[key].to_numpy().astype(np.float64)
            for part, key in ((worth.ALL, "nme"), *((region, region) for region in regions))
        }
    except (pyarrow.ArrowInvalid, KeyError, ValueError) as error:
        raise FacemixError(
            f"{path}: not what this version's `facemix sweep` writes ({error}); move it away, and the points count "
            "without the errors of single faces"
        ) from None
    faces, subsets, photos = (np.array(columns[key], dtype=np.str_) for key in ("face", "subset", "photo"))
    rows: dict[str, dict[str, int]] = {}
    for i, (digest, face) in enumerate(zip(columns["digest"], columns["face"], strict=True)):
        rows.setdefault(digest, {})[face] = i  # mixing at alpha = 1 stands there a second time, and is the same
    errors: dict[str, Errors] = {}
    for digest in sorted(found.keys() & rows.keys()):
        own = np.array([i for _, i in sorted(rows[digest].items())])
        errors[digest] = Errors(
            faces=faces[own],
            subsets=subsets[own],
            photos=photos[own],
            yaw=yaw[own],
            nme={part: values[own] for part, values in nme.items()},
        )
    return dict(found) | _joined(found, errors, path)


def _joined(found: Mapping[str, Known], errors: Mapping[str, Errors], path: Path) -> dict[str, Known]:
    """The points that have errors of single faces, with them; all of the same faces, whose mean is the points' NME."""
    if not errors:
        return {}
    first = next(iter(errors.values()))
    test_nme = np.array([found[digest].result.test_nme for digest in errors])
    alike = all(np.array_equal(one.faces, first.faces) for one in errors.values())
    judged = (
        points.judged(np.stack([one.nme[worth.ALL] for one in errors.values()]), first.subsets, test_nme)
        if (alike)
        else None
    )
    if judged is None:
        raise FacemixError(
            f"{path}: found other errors than those of which the points beside it hold the mean, expected the two "
            "files of one sweep; move it away, and the points count without the errors of single faces"
        )
    subsets = frozenset(first.subsets[judged].tolist())
    return {
        digest: replace(found[digest], result=replace(found[digest].result, errors=one, subsets=subsets))
        for digest, one in errors.items()
    }
