"""FaceSynthetics (Wood et al., 2021): `NNNNNN.png` or `.jpg` beside `NNNNNN_ldmks.txt`, one flat folder.

A line is `x y` in 0-based pixels; 68 iBUG points, which two pupils may follow. Points may lie outside the image.
Two files of `facemix render` are read: `render.json` says in which scheme the points are, and the columns `person` and
`visible` of `faces.parquet` who is shown and which points can be seen. Faces of one person count as one photograph.
Anything else in the folder (segmentations `NNNNNN_seg.png`, notes) is left alone. Where there are no such files, faces
may be in shards (`webdataset`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.face import HIDDEN, VISIBLE, BrokenFace, Face
from facemix.faces.formats import fitting, photos, points, webdataset
from facemix.faces.formats.listing import visible
from facemix.faces.formats.webdataset import Parts, Said
from facemix.faces.schemes import Scheme

_LANDMARKS = "_ldmks.txt"
_NUMBER = re.compile(r"[0-9]+|[a-z][0-9]{7,}")
"""What `facemix render` and FaceSynthetics call a face."""
_OWN, _PUPILS = "ibug68", 2
"""The scheme of the set that the format is named after, and what may follow its points."""
_RECORD = "render.json"
"""What `facemix render` writes beside the faces."""
_UNFINISHED = "unfinished"
"""The key of `render.json` that `facemix relabel` sets while it puts new points in the place of old ones."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def read(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of a FaceSynthetics folder; one whose files are broken or incomplete comes as a `BrokenFace`.

    Raises:
        FacemixError: the table of rendered faces or a shard is damaged, or only some faces have their new labels.
    """
    paths = visible(root)
    shards = [path for path in paths if path.suffix == tars.SUFFIX]
    unpacked = next((path for path in paths if path.name.endswith(webdataset.POINTS)), None)
    if shards and unpacked:
        raise FacemixError(f"{root}: found {unpacked.name} beside {shards[0].name}; unpack shards into another folder")
    is_loose = unpacked is not None or any(path.name.endswith(_LANDMARKS) for path in paths)
    if not is_loose and (root / webdataset.WORK).exists():
        raise FacemixError(f"{root}: its rendering was stopped; run the same `facemix render` to its end first")
    if not is_loose and not shards:
        if packed := next((path for path in paths if path.name.endswith(_COMPRESSED)), None):
            raise FacemixError(f"{packed}: compressed, so no face of it can be read in place; decompress it")
        return
    if _UNFINISHED in _record(root):
        raise FacemixError(
            f"{root}: found new labels for some faces and old ones for others, because a run of `facemix relabel` was "
            "stopped; run it again"
        )
    scheme = scheme or fitting.required(None, detect(root), str(root))
    for parts in _loose(root, paths) if is_loose else webdataset.in_shards(root, shards):
        try:
            yield parts if isinstance(parts, BrokenFace) else _face(parts, scheme)
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


def _loose(root: Path, paths: list[Path]) -> Iterator[Parts | BrokenFace]:
    """The faces whose files lie in the folder, sorted by name."""
    annotated: dict[str, list[Path]] = {}
    images: dict[str, list[Path]] = {}
    endings = (_LANDMARKS, webdataset.POINTS)
    for path in paths:
        for ending in endings:
            if path.name.endswith(ending):
                annotated.setdefault(path.name.removesuffix(ending), []).append(path)
    for path in paths:
        if path.suffix.lower() in webdataset.IMAGES and (path.stem in annotated or _NUMBER.fullmatch(path.stem)):
            images.setdefault(path.stem, []).append(path)
    table = root / webdataset.TABLE
    rendered = _rendered(table)
    for name in sorted(annotated.keys() | images.keys()):
        stated = annotated.get(name, [])
        try:
            if len(stated) > 1:
                raise BrokenFace(stated[1], f"the points of {name} twice: found {stated[0].name} too; remove one")
            dotted = bool(stated) and stated[0].name.endswith(webdataset.POINTS)
            record = root / f"{name}{webdataset.RECORD}"
            said = rendered.get(name) if rendered is not None else None
            if rendered is None and dotted and record.exists():
                said = webdataset.said_in(record)
            yield Parts(
                name=name,
                images=images.get(name, []),
                points=stated[0] if stated else None,
                ending=endings[dotted],
                said=said,
                table=None if rendered is None else table,
            )
        except BrokenFace as broken:
            yield broken


def _rendered(table: Path) -> Mapping[str, Said] | None:
    """Name of a face -> what `facemix render` recorded of it; None where there is no table of its kind.

    Raises:
        FacemixError: the table cannot be read, or names a face twice.
    """
    if not table.exists():
        return None
    import pyarrow.parquet as parquet

    with webdataset.readable(table) as there:
        told = [column for column in ("person", "visible") if column in there]
        if not told:
            return None
        rows = parquet.read_table(table, columns=["file", *told]).to_pylist()
        names = [Path(row["file"]).stem for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FacemixError(f"{table}: found the face {twice} twice, expected a row a face; restore the table")
    stated = {name: webdataset.said_by(table, row) for name, row in zip(names, rows, strict=True)}
    return {name: said for name, said in stated.items() if said}


def _states(name: str, said: Said | None, scheme: Scheme) -> npt.NDArray[np.uint8] | None:
    """VISIBLE or HIDDEN of each point (K,); None where nothing says so."""
    if said is None or said.visible is None:
        return None
    if len(said.visible) != len(scheme):
        raise BrokenFace(
            said.place,
            f"says of {len(said.visible)} points of {name} whether they are visible, expected the {len(scheme)} of "
            f"{scheme.name}; run `facemix relabel`, or restore the table",
        )
    return np.where(said.visible, VISIBLE, HIDDEN).astype(np.uint8)


def _face(parts: Parts, scheme: Scheme) -> Face:
    name, images, annotation = parts.name, parts.images, parts.points
    if not images:
        assert annotation is not None
        raise BrokenFace(annotation, f"no {name}.png or {name}.jpg beside the points; add the image or remove them")
    if annotation is None:
        raise BrokenFace(images[0], f"no {name}{parts.ending} beside the image; add its points or remove the image")
    if len(images) > 1:
        found = " and ".join(image.name for image in images)
        raise BrokenFace(images[1], f"the same face twice: found {found}, expected one image; remove the others")
    stated = points.parse_rows(annotation, points.read_text(annotation).splitlines())
    if scheme.name == _OWN and len(stated) == len(scheme) + _PUPILS:
        stated = stated[: len(scheme)]
    if parts.table and parts.said is None:
        raise BrokenFace(
            annotation,
            f"{parts.table.name} does not say who this is; render the set to its end, or restore the table",
        )
    landmarks, states = points.checked(annotation, stated, scheme, _states(name, parts.said, scheme))
    attributes = parts.said.attributes if parts.said else {}
    files = [parts.tar] if parts.tar else [file for file in (images[0], annotation) if isinstance(file, Path)]
    if parts.said and isinstance(parts.said.place, Path):
        files.append(parts.said.place)
    return Face(
        id=name,
        subset="",
        photo=photos.stated(attributes) or name,
        image=images[0],
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=tuple(files),
        attributes=attributes,
    )
