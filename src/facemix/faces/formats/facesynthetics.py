"""FaceSynthetics (Wood et al., 2021): `NNNNNN.png` or `.jpg` beside `NNNNNN_ldmks.txt`, one flat folder.

A line is `x y` in 0-based pixels; 68 iBUG points, which two pupils may follow. Points may lie outside the image.
Two files of `facemix render` are read: `render.json` says in which scheme the points are, and the column `person` of
`faces.parquet` who is shown. Faces of one person count as one photograph. Anything else in the folder (segmentations
`NNNNNN_seg.png`, notes) is left alone.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace, Face
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
    persons = _persons(root / _TABLE)
    images: dict[str, list[Path]] = {}
    for path in map(root.joinpath, sorted(names)):
        if path.suffix.lower() in SUFFIXES and (path.stem in annotated or path.stem.isdecimal()):
            images.setdefault(path.stem, []).append(path)
    for name in sorted(annotated | images.keys()):
        try:
            yield _face(root, name, images.get(name, []), scheme, persons)
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


def _persons(table: Path) -> Mapping[str, str] | None:
    """Name of a face -> its person, as `facemix render` recorded it; None where no table says so.

    Raises:
        FacemixError: the table cannot be read, or names a face twice.
    """
    if not table.exists():
        return None
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        if "person" not in parquet.read_schema(table).names:
            return None
        columns = parquet.read_table(table, columns=["file", "person"]).to_pydict()
        names = [Path(file).stem for file in columns["file"]]
    except (KeyError, TypeError, ValueError, OSError, pyarrow.ArrowException) as error:
        raise FacemixError(
            f"{table}: damaged ({' '.join(str(error).split())}), expected the table that `facemix render` writes; "
            "restore it, or render the set again"
        ) from None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FacemixError(f"{table}: found the face {twice} twice, expected a row a face; restore the table")
    return {name: str(person) for name, person in zip(names, columns["person"], strict=True) if person is not None}


def _face(root: Path, name: str, images: list[Path], scheme: Scheme, persons: Mapping[str, str] | None) -> Face:
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
    landmarks, states = points.checked(annotation, stated, scheme)
    if persons is not None and name not in persons:
        raise BrokenFace(
            annotation, f"{_TABLE} does not say who this is; render the set to its end, or restore the table"
        )
    attributes = {} if persons is None else {"person": persons[name]}
    return Face(
        id=name,
        subset="",
        photo=photos.stated(attributes) or name,
        image=images[0],
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(images[0], annotation, *([root / _TABLE] if attributes else [])),
        attributes=attributes,
    )
