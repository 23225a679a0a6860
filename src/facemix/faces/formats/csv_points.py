"""Tables of points: CSV files with a row for each face (wide) or for each point (long), in 0-based pixels.

Wide: a column `image`, and for each point `NAME_x` and `NAME_y`, also `x0`, `y0` and so on; `NAME_v` is its state.
Long: the columns `image`, `point`, `x` and `y`; `face` tells the faces of a picture apart, and `state`, or `visible`,
says what of a point is to be seen. Names are the scheme's, or numbers from 0 or from 1. Empty cells are points that
are not labelled. Optional columns: `id` names the face (wide), `group` what faces share (also called `person`,
`sequence`, `video_id` or `photo`), `split` (train, validation, test, challenging) and `subset`.

A state is 0 or `unlabelled`, 1 or `hidden`, 2 or `visible`; `visible` is 0 or 1. Cells are divided by commas,
semicolons or tabs. `columns.yaml` beside the file may map its columns to these: `{PUPIL_X: left_eye_x, FILE: image}`.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path, PurePath

from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, labelled, official, photos
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.labelled import Mark, Object, Picture
from facemix.faces.schemes import Scheme

_MAP = "columns.yaml"
_SHOWN = 8
"""Columns in a message."""
_DELIMITERS = ",;\t"
_ALIASES = {
    "image": ("image", "image_path", "image_name", "file", "file_name", "filename", "path"),
    "id": ("id", "face_id"),
    "face": ("face", "face_id", "id"),
    "split": ("split",),
    "subset": ("subset",),
    "point": ("point", "landmark", "name", "label"),
    "x": ("x",),
    "y": ("y",),
    "state": ("state", "v", "visibility", "visible"),
}
_BOXES = {"box", "bbox", "face_box"}
_AXES = {"x": "x", "y": "y", "v": "v", "state": "v", "visibility": "v", "visible": "visible"}
_STATES = {
    "v": {
        "0": UNLABELLED, "1": HIDDEN, "2": VISIBLE,
        "unlabelled": UNLABELLED, "hidden": HIDDEN, "visible": VISIBLE,
    },
    "visible": {"0": HIDDEN, "1": VISIBLE, "false": HIDDEN, "true": VISIBLE, "no": HIDDEN, "yes": VISIBLE},
}  # fmt: skip
_EMPTY = {"", "nan", "na", "none", "null"}

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Table:
    file: Path
    columns: Sequence[str]
    rows: Sequence[tuple[int, Row]]
    """Line, column -> cell."""
    more_files: tuple[Path, ...]

    def column(self, what: str) -> str:
        """The column for something, or ""."""
        return next((name for alias in _ALIASES[what] for name in self.columns if name == alias), "")


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with CSV files and their images.

    Raises:
        FacemixError: a table cannot be read or has no points, its points are not the scheme's, or `scheme` is None and
            not certain.
    """
    yield from labelled.faces(root, _pictures(root), scheme)


def detect(root: Path) -> list[str]:
    """The names of the schemes that fit the points of the files."""
    return labelled.schemes_of(_pictures(root))


def _pictures(root: Path) -> list[Picture]:
    found = [_table(path) for path in documents.below(root, ".csv", ".tsv")]
    tables = [table for table in found if table.column("image")]
    if not tables and (table := next(filter(_has_points, found), None)) is not None:
        raise FacemixError(
            f"{table.file}: no column of images among {', '.join(table.columns[:_SHOWN])}; expected 'image', the name "
            f"of each picture; rename it, or say what columns mean in {_MAP}"
        )
    images = ImagesBelow(root) if tables else None
    pictures: list[Picture] = []
    for table in tables:
        assert images is not None
        long = all(table.column(what) for what in ("point", "x", "y"))
        pictures.extend(_of_points(table, images) if long else _of_faces(table, images))
    return pictures


# Files


def _table(path: Path) -> _Table:
    """The table of a file; without its rows where it has no column of images.

    Raises:
        FacemixError: not text, rows of another length than the header, a column twice, or decimal commas.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise FacemixError(f"{path}: cannot be read ({error.strerror}); restore the file") from None
    except UnicodeDecodeError:
        raise FacemixError(f"{path}: not a text file in UTF-8; save it as CSV in UTF-8") from None
    if not any(lines):
        return _Table(path, [], [], ())
    delimiter = max(_DELIMITERS, key=lines[0].count)
    renamed = _renamed(path.with_name(_MAP))
    try:
        header, *rows = csv.reader(lines, delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise FacemixError(f"{path}: not a table that can be read ({error}); correct the file") from None
    columns = [renamed.get(name.strip(), _plain(name)) for name in header]
    table = _Table(path, columns, [], (path.with_name(_MAP),) if renamed else ())
    if not table.column("image"):
        return table
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise FacemixError(f"{path}: column {twice[0]!r} stands there twice, expected each once; rename one")
    numbered = [(line, row) for line, row in enumerate(rows, start=2) if any(cell.strip() for cell in row)]
    for line, row in numbered:
        _check(path, line, row, columns)
    return changed(table, rows=[(line, dict(zip(columns, row, strict=True))) for line, row in numbered])


def _check(path: Path, line: int, row: Sequence[str], columns: Sequence[str]) -> None:
    comma = next((cell for cell in row if re.fullmatch(r"\s*-?[0-9]+,[0-9]+\s*", cell)), None)
    if comma is not None:
        raise FacemixError(
            f"{path}: line {line}: found {comma.strip()!r}, expected a decimal point; save it with points"
        )
    if len(row) != len(columns):
        raise FacemixError(
            f"{path}: line {line}: {len(row)} cells, expected {len(columns)} as in the header; correct the line, and "
            "write decimal points, no commas"
        )


def _renamed(path: Path) -> dict[str, str]:
    """What `columns.yaml` calls the columns of a file."""
    if not path.is_file():
        return {}
    content = documents.yaml_content(path)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise FacemixError(f"{path}: expected 'COLUMN OF THE FILE: its meaning' on each line; correct it")
    return {str(name): _plain(meaning) for name, meaning in content.items()}


def _plain(name: str) -> str:
    return re.sub(r"[ -]+", "_", name.strip().lower())


# A row for each face


def _of_faces(table: _Table, images: ImagesBelow) -> Iterator[Picture]:
    points = _point_columns(table)
    of_points = {column for axes in points.values() for column in axes.values()}
    others = [column for column in table.columns if column not in of_points]
    for line, row in table.rows:
        marks, fault = [], ""
        for name, axes in points.items():
            mark, wrong = _mark(name, row[axes["x"]], row[axes["y"]], row, axes)
            marks.append(mark)
            fault = fault or wrong
        item = labelled.named(f"line {line}", marks, fault=fault)
        yield _picture(table, row, changed(item, id=row.get(table.column("id"), "").strip()), images, others)


def _has_points(table: _Table) -> bool:
    """Whether some columns are x and y of one point."""
    axes = _axes(table)
    return any({"x", "y"} <= columns.keys() for columns in axes.values()) or {"x", "y"} <= set(table.columns)


def _axes(table: _Table) -> dict[str, dict[str, str]]:
    """Point -> x, y, and v or visible -> column."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for column in table.columns:
        match = re.fullmatch(r"(?P<name>.+)_(?P<axis>x|y|v|state|visibility|visible)", column) or re.fullmatch(
            r"(?P<axis>x|y|v)_?(?P<name>[0-9]+)", column
        )
        if match and match["name"] not in _BOXES:
            found[match["name"]][_AXES[match["axis"]]] = column
    return found


def _point_columns(table: _Table) -> dict[str, dict[str, str]]:
    """As `_axes`.

    Raises:
        FacemixError: there are none, or an x or y alone.
    """
    found = _axes(table)
    for name, axes in found.items():
        if missing := {"x", "y"} - axes.keys():
            raise FacemixError(
                f"{table.file}: columns {', '.join(axes.values())} without {name}_{min(missing)}, expected x and y of "
                "each point; add or rename the column"
            )
    if not found:
        shown = ", ".join(table.columns[:_SHOWN])
        raise FacemixError(
            f"{table.file}: no columns of points among {shown}; expected NAME_x and NAME_y of each point, or point, x "
            f"and y; rename them, or say what they mean in {_MAP}"
        )
    return found


# A row for each point


def _of_points(table: _Table, images: ImagesBelow) -> Iterator[Picture]:
    face, state = table.column("face"), table.column("state")
    axes = {_AXES[state]: state} if state else {}
    groups: dict[tuple[str, str], list[tuple[Row, Mark]]] = defaultdict(list)
    faults: dict[tuple[str, str], str] = {}
    for line, row in table.rows:
        key = (row[table.column("image")].strip(), row.get(face, "").strip())
        mark, fault = _mark(
            row[table.column("point")].strip(), row[table.column("x")], row[table.column("y")], row, axes
        )
        groups[key].append((row, mark))
        if fault:
            faults.setdefault(key, f"line {line}: {fault}")
    others = [
        name for name in table.columns if name not in {table.column(what) for what in ("point", "x", "y", "state")}
    ]
    for (image, name), marks in groups.items():
        place = f"face {name}" if name else f"points of {image}"
        item = labelled.named(place, [mark for _, mark in marks], fault=faults.get((image, name), ""))
        yield _picture(table, marks[0][0], item, images, others)


# Cells


def _mark(name: str, x: str, y: str, row: Row, axes: Mapping[str, str]) -> tuple[Mark, str]:
    """A point and what is wrong with it, or ""."""
    empty = [cell.strip().lower() in _EMPTY for cell in (x, y)]
    state, fault = UNLABELLED if all(empty) else VISIBLE, ""
    for kind, words in _STATES.items():
        cell = row[axes[kind]].strip().lower() if kind in axes else ""
        if cell in _EMPTY or (kind == "visible" and all(empty)):
            continue
        known = words.get(cell.removesuffix(".0"))
        if known is None:
            fault = f"point {name} has the state {cell!r}, expected {' or '.join(words)}; correct it"
        else:
            state = known
    if not fault and any(empty) and state != UNLABELLED:
        fault = (
            f"point {name} is at ({x.strip()}, {y.strip()}), expected two numbers, or an unlabelled point; correct it"
        )
    return (name, x, y, state), fault


def _picture(table: _Table, row: Row, item: Object, images: ImagesBelow, others: Sequence[str]) -> Picture:
    """The picture of a row; `others` are the columns that are not of points."""

    def cell(what: str) -> str:
        return row.get(table.column(what), "").strip()

    attributes = {column: row[column].strip() for column in others if row[column].strip()}
    name = cell("image")
    split = official.split(PurePath(cell("split"))) if cell("split") else ""
    fault = ""
    if cell("split") and not split:
        fault = f"split {cell('split')!r}, expected train, validation, test or challenging; correct it"
    return Picture(
        file=table.file,
        name=name,
        image=images.find(name, near=table.file.parent, split=split) if name else f"none stated ({item.place}); add it",
        objects=[changed(item, fault=item.fault or fault)],
        split=split,
        subset=cell("subset"),
        group=photos.stated(attributes),
        attributes=attributes,
        more_files=table.more_files,
    )
