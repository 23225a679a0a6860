"""The folder of a rendered set: what lies in it, who may write there, and what of it is complete.

000000.png          the picture; .jpg or .webp where asked for
000000_ldmks.txt    a line `x y` a point of the scheme, pixels, 0-based pixel centres
000000_seg.png      where asked for: the class of each pixel, an index into `facemix.render.studio.SEGMENTS`
faces.parquet       a row a face: index, file, what was drawn for it, `visible`: which points can be seen, and `seen`:
                    which of the head's vertices (`facemix.render.visibility`)
render.json         every setting that decides a picture or its labels

From a million faces on, a letter before the number keeps names in the order of the faces: 999999, a1000000.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.files import whole_file
from facemix.render.surfaces import Array

TABLE = "faces.parquet"
MANIFEST = "render.json"
POINTS = "_ldmks.txt"
SEGMENTS = "_seg.png"
NAME = r"[a-z]?\d{6,}"
"""What names look like, as a regular expression."""
ROWS = ".rows"
"""A file a face until the table is written."""
UNFINISHED = "unfinished"
"""The key of `render.json` that says that only some faces have their new labels: readers refuse such a folder."""

Row = dict[str, Any]


@contextlib.contextmanager
def sole_user(out: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes from writing into it; the kernel unlocks, however the block ends."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FacemixError(f"{out}: another process writes into this folder; wait until it has finished") from None
        yield
    finally:
        os.close(descriptor)


def name(index: int) -> str:
    """The name of a face: six digits, or a letter that counts them, and more."""
    digits = f"{index:06d}"
    return digits if len(digits) == 6 else chr(ord("a") + len(digits) - 7) + digits


def finished(out: Path, endings: Collection[str]) -> dict[int, Row]:
    """The faces that are complete, which have all files of these endings, each with its row."""

    def is_whole(index: int) -> bool:
        files = [out / f"{name(index)}{ending}" for ending in endings]
        return all(file.exists() and file.stat().st_size for file in files)

    return {index: row for index, row in rows(out).items() if is_whole(index)}


def rows(out: Path) -> dict[int, Row]:
    """The row of each face, from the table and from what has come since it was written."""
    import pyarrow.parquet as parquet

    try:
        found: list[Row] = parquet.read_table(out / TABLE).to_pylist() if (out / TABLE).exists() else []
    except ValueError as error:
        raise FacemixError(f"{out / TABLE}: damaged ({error}); remove the folder and render it again") from None
    found += [read_json(path) for path in (out / ROWS).glob("*.json")]
    if any("index" not in row for row in found):
        raise FacemixError(f"{out / TABLE}: damaged (a row has no index); remove the folder and render it again")
    return {row["index"]: row for row in found}


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes `faces.parquet`, whole; without rows it still has its first columns."""
    import pyarrow
    import pyarrow.parquet as parquet

    empty = pyarrow.schema([("index", pyarrow.int64()), ("file", pyarrow.string())])
    with whole_file(path) as beside:
        parquet.write_table(pyarrow.Table.from_pylist(rows) if rows else empty.empty_table(), beside)


def write_points(path: Path, points: Array) -> None:
    """Writes points (K, 2), whole."""
    with whole_file(path) as beside:
        beside.write_bytes(points_text(points))


def points_text(points: Array) -> bytes:
    """What the file of points (K, 2) holds."""
    return "".join(f"{x:.5f} {y:.5f}\n" for x, y in points.tolist()).encode()


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `render.json`, whole."""
    with whole_file(path) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What a file of the folder holds.

    Raises:
        FacemixError: no object in JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise FacemixError(f"found {type(content).__name__}, expected an object")
    except ValueError as error:
        raise FacemixError(f"{path}: damaged ({error}); remove the folder and render it again") from None
    return content


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, value found and value expected of all that differs; `population.yaw_sd` is a key of its own."""
    a, b = _flat(found), _flat(expected)
    return [(key, a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    population = content.get("population")
    inner = population if isinstance(population, Mapping) else {}
    return {key: value for key, value in content.items() if key != "population"} | {
        f"population.{key}": value for key, value in inner.items()
    }
