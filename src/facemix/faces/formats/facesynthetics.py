"""FaceSynthetics (Wood et al., 2021): `NNNNNN.png` or `.jpg` beside `NNNNNN_ldmks.txt`, one flat folder.

A line is `x y` in 0-based pixels; 68 iBUG points, which two pupils may follow. Points may lie outside the image.
Two files of `facemix render` are read: `render.json` says in which scheme the points are, and the columns `person` and
`visible` of `faces.parquet` who is shown and which points can be seen. Faces of one person count as one photograph.
Anything else in the folder (segmentations `NNNNNN_seg.png`, notes) is left alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, VISIBLE, BrokenFace, Face
from facemix.faces.formats import fitting, photos, points
from facemix.faces.formats.listing import visible
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

_LANDMARKS = "_ldmks.txt"
_OWN, _PUPILS = "ibug68", 2
"""The scheme of the set that the format is named after, and what may follow its points."""
_RECORD, _TABLE = "render.json", "faces.parquet"
"""What `facemix render` writes beside the faces."""
_UNFINISHED = "unfinished"
"""The key of `render.json` that `facemix relabel` sets while it puts new points in the place of old ones."""


def read(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of a FaceSynthetics folder; one whose files are broken or incomplete comes as a `BrokenFace`.

    Raises:
        FacemixError: the table of rendered faces is damaged, or only some faces have their new labels.
    """
    names = {path.name for path in visible(root)}
    annotated = {name.removesuffix(_LANDMARKS) for name in names if name.endswith(_LANDMARKS)}
    if not annotated:
        return
    if _UNFINISHED in _record(root):
        raise FacemixError(
            f"{root}: found new labels for some faces and old ones for others, because a run of `facemix relabel` was "
            "stopped; run it again"
        )
    scheme = scheme or fitting.required(None, detect(root), str(root))
    rendered = _rendered(root / _TABLE)
    images: dict[str, list[Path]] = {}
    for path in map(root.joinpath, sorted(names)):
        if path.suffix.lower() in SUFFIXES and (path.stem in annotated or path.stem.isdecimal()):
            images.setdefault(path.stem, []).append(path)
    for name in sorted(annotated | images.keys()):
        try:
            yield _face(root, name, images.get(name, []), scheme, rendered)
        except BrokenFace as broken:
            yield broken


def detect(root: Path) -> list[str]:
    """The scheme that `facemix render` recorded; else that of FaceSynthetics."""
    return [_record(root).get("scheme", _OWN)]


def _record(root: Path) -> dict[str, Any]:
    """What `facemix render` recorded; empty where it did not, or the file cannot be read."""
    try:
        content = json.loads((root / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True, slots=True)
class _Rendered:
    """What `facemix render` recorded of a face."""

    person: str | None
    visible: Sequence[bool] | None
    """Of each point."""


def _rendered(table: Path) -> Mapping[str, _Rendered] | None:
    """Name of a face -> what `facemix render` recorded of it; None where there is no table of its kind.

    Raises:
        FacemixError: the table cannot be read, or names a face twice.
    """
    if not table.exists():
        return None
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        there = parquet.read_schema(table).names
        told = [column for column in ("person", "visible") if column in there]
        if not told:
            return None
        columns = parquet.read_table(table, columns=["file", *told]).to_pydict()
        names = [Path(file).stem for file in columns["file"]]
    except (KeyError, TypeError, ValueError, OSError, pyarrow.ArrowException) as error:
        raise FacemixError(
            f"{table}: damaged ({' '.join(str(error).split())}), expected the table that `facemix render` writes; "
            "restore it, or render the set again"
        ) from None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FacemixError(f"{table}: found the face {twice} twice, expected a row a face; restore the table")
    nothing = [None] * len(names)
    rows = zip(names, columns.get("person", nothing), columns.get("visible", nothing), strict=True)
    return {
        name: _Rendered(None if who is None else str(who), visible)
        for name, who, visible in rows
        if who is not None or "person" not in told
    }


def _states(table: Path, name: str, rendered: _Rendered | None, scheme: Scheme) -> npt.NDArray[np.uint8] | None:
    """VISIBLE or HIDDEN of each point (K,); None where nothing says so."""
    if rendered is None or rendered.visible is None:
        return None
    if len(rendered.visible) != len(scheme):
        raise BrokenFace(
            table,
            f"says of {len(rendered.visible)} points of {name} whether they are visible, expected the {len(scheme)} of "
            f"{scheme.name}; run `facemix relabel`, or restore the table",
        )
    return np.where(rendered.visible, VISIBLE, HIDDEN).astype(np.uint8)


def _face(root: Path, name: str, images: list[Path], scheme: Scheme, table: Mapping[str, _Rendered] | None) -> Face:
    annotation = root / (name + _LANDMARKS)
    if not images:
        raise BrokenFace(annotation, f"no {name}.png or {name}.jpg beside the points; add the image or remove them")
    if not annotation.exists():
        raise BrokenFace(images[0], f"no {annotation.name} beside the image; add its points or remove the image")
    if len(images) > 1:
        found = " and ".join(path.name for path in images)
        raise BrokenFace(images[1], f"the same face twice: found {found}, expected one image; remove the others")
    stated = points.parse_rows(annotation, points.read_text(annotation).splitlines())
    if scheme.name == _OWN and len(stated) == len(scheme) + _PUPILS:
        stated = stated[: len(scheme)]
    rendered = table.get(name) if table is not None else None
    if table is not None and rendered is None:
        raise BrokenFace(
            annotation, f"{_TABLE} does not say who this is; render the set to its end, or restore the table"
        )
    landmarks, states = points.checked(annotation, stated, scheme, _states(root / _TABLE, name, rendered, scheme))
    attributes = {} if rendered is None or rendered.person is None else {"person": rendered.person}
    return Face(
        id=name,
        subset="",
        photo=photos.stated(attributes) or name,
        image=images[0],
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(images[0], annotation, *([root / _TABLE] if rendered else [])),
        attributes=attributes,
    )
