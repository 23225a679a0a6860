"""300-W in its official layout: photographs with 68 hand-made points (Sagonas et al., 2013).

`afw/`, `helen/trainset/`, `helen/testset/`, `lfpw/trainset/`, `lfpw/testset/` and `ibug/`, any of which may be missing;
each face is an image and a `.pts` of the same name.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, photos, points, pts
from facemix.faces.formats.listing import visible
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

OFFICIAL_300W: dict[str, int] = {
    "afw": 337,
    "helen/trainset": 2000,
    "lfpw/trainset": 811,
    "helen/testset": 330,
    "lfpw/testset": 224,
    "ibug": 135,
}
"""Faces per subset of the complete benchmark: train, then test (Common, and ibug, which is Challenging)."""

SPLITS = {"helen/testset": "test", "lfpw/testset": "test", "ibug": "challenging"}
"""The official test subsets: Common (`test`) and Challenging; both together are Full. All others train."""

_PHOTO = {"afw": r"([0-9]{6,})_[0-9]{1,2}", "helen": r"([0-9]{6,})_[0-9]{1,2}", "ibug": r"(image_[0-9]{3,})_[0-9]{1,2}"}
"""How AFW, HELEN and iBUG name the faces of a photograph, HELEN across train and test; LFPW has one face of each."""


def read(root: Path, scheme: Scheme | None = None) -> Iterator[Face | BrokenFace]:
    """The faces of a 300-W folder; a face whose files are broken or incomplete comes as a `BrokenFace`.

    Mirrored copies (`NAME_mirror.*`, part of dlib's package) are left out: a split must never part them from NAME.
    """
    scheme = fitting.own("ibug68", scheme, "300w")
    for subset in OFFICIAL_300W:
        # .pts first: a folder of images alone is not 300-W, and yields nothing rather than a complaint per image.
        if any(path.suffix.lower() == ".pts" for path in visible(root / subset)):
            yield from _read_subset(root, subset, scheme)


def _read_subset(root: Path, subset: str, scheme: Scheme) -> Iterator[Face | BrokenFace]:
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in visible(root / subset):
        if path.suffix.lower() in SUFFIXES | {".pts"} and not path.stem.endswith("_mirror"):
            parts[path.stem].append(path)
    photo_of = _photos(subset, list(parts))
    for name, files in parts.items():
        try:
            yield _face(subset, name, photo_of[name], files, scheme)
        except BrokenFace as broken:
            yield broken


def _face(subset: str, name: str, photo: str, files: list[Path], scheme: Scheme) -> Face:
    annotations = [path for path in files if path.suffix.lower() == ".pts"]
    images = [path for path in files if path not in annotations]
    if not annotations:
        raise BrokenFace(images[0], f"no {name}.pts beside the image; add its points or remove the image")
    if not images:
        raise BrokenFace(annotations[0], f"no {name}.jpg or {name}.png beside the points; add the image or remove them")
    for what, found in (("image", images), ("file of points", annotations)):
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise BrokenFace(found[1], f"the same face twice: found {names}, expected one {what}; remove the others")
    landmarks, states = points.checked(annotations[0], pts.parse(annotations[0]), scheme, origin=1)
    return Face(
        id=f"{subset}/{name}",
        subset=subset,
        photo=photo,
        image=images[0],
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        split=SPLITS.get(subset, "train"),
        files=(images[0], annotations[0]),
    )


def _photos(subset: str, names: Sequence[str]) -> dict[str, str]:
    """The photograph of each name by the rule of the official set, as far as names are of that set; else its own id."""
    family = subset.split("/")[0]
    matches = {name: re.fullmatch(_PHOTO[family], name) if family in _PHOTO else None for name in names}
    official = photos.few_each(Counter(match[1] for match in matches.values() if match).values())
    return {
        name: f"{family}/{match[1]}" if match and official else f"{subset}/{name}" for name, match in matches.items()
    }
