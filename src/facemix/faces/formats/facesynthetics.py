"""FaceSynthetics (Wood et al., 2021): `NNNNNN.png` or `.jpg` beside `NNNNNN_ldmks.txt`, one flat folder.

A line is `x y` in 0-based pixels; 68 iBUG points, which two pupils may follow. Points may lie outside the image.
Anything else in the folder (segmentations `NNNNNN_seg.png`, notes) is left alone.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, points
from facemix.faces.formats.listing import visible
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

_LANDMARKS = "_ldmks.txt"
_OWN, _PUPILS = "ibug68", 2
"""The scheme of the set that the format is named after, and what may follow its points."""


def read(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of a FaceSynthetics folder; one whose files are broken or incomplete comes as a `BrokenFace`."""
    names = {path.name for path in visible(root)}
    annotated = {name.removesuffix(_LANDMARKS) for name in names if name.endswith(_LANDMARKS)}
    if not annotated:
        return
    scheme = scheme or fitting.required(None, detect(root), str(root))
    images: dict[str, list[Path]] = {}
    for path in map(root.joinpath, sorted(names)):
        if path.suffix.lower() in SUFFIXES and (path.stem in annotated or path.stem.isdecimal()):
            images.setdefault(path.stem, []).append(path)
    for name in sorted(annotated | images.keys()):
        try:
            yield _face(root, name, images.get(name, []), scheme)
        except BrokenFace as broken:
            yield broken


def detect(root: Path) -> list[str]:
    """The scheme that `facemix render` recorded; else that of FaceSynthetics."""
    record = root / "render.json"
    try:
        return [json.loads(record.read_text(encoding="utf-8")).get("scheme", _OWN)] if record.exists() else [_OWN]
    except (OSError, ValueError, AttributeError):
        return [_OWN]


def _face(root: Path, name: str, images: list[Path], scheme: Scheme) -> Face:
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
    return Face(
        id=name,
        subset="",
        photo=name,
        image=images[0],
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(images[0], annotation),
    )
