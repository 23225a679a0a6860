"""300-W in its official layout: photographs with 68 hand-made points (Sagonas et al., 2013).

`afw/`, `helen/trainset/`, `helen/testset/`, `lfpw/trainset/`, `lfpw/testset/` and `ibug/`, any of which may be missing;
each face is an image and a `.pts` of the same name.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import points
from facemix.faces.images import SUFFIXES

OFFICIAL_300W: dict[str, int] = {
    "afw": 337,
    "helen/trainset": 2000,
    "lfpw/trainset": 811,
    "helen/testset": 330,
    "lfpw/testset": 224,
    "ibug": 135,
}
"""Faces per subset of the complete benchmark: train, then test (Common, and ibug, which is Challenging)."""

_FACES_SHARE_A_PHOTO = ("afw", "helen")


def read(root: Path) -> Iterator[Face | BrokenFace]:
    """The faces of a 300-W folder; a face whose files are broken or incomplete comes as a `BrokenFace`.

    Mirrored copies (`NAME_mirror.*`, part of dlib's package) are left out: a split must never part them from NAME.
    """
    for subset in OFFICIAL_300W:
        # .pts first: a folder of images alone is not 300-W, and yields nothing rather than a complaint per image.
        if any(path.suffix.lower() == ".pts" for path in _files(root / subset)):
            yield from _read_subset(root, subset)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _read_subset(root: Path, subset: str) -> Iterator[Face | BrokenFace]:
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in _files(root / subset):
        if path.suffix.lower() in SUFFIXES | {".pts"} and not path.stem.endswith("_mirror"):
            parts[path.stem].append(path)
    for name, files in parts.items():
        try:
            yield _face(subset, name, files)
        except BrokenFace as broken:
            yield broken


def _face(subset: str, name: str, files: list[Path]) -> Face:
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
    return Face(
        id=f"{subset}/{name}",
        subset=subset,
        photo=_photo(subset, name),
        image=images[0],
        landmarks=read_pts(annotations[0]),
        files=(images[0], annotations[0]),
    )


def _photo(subset: str, name: str) -> str:
    """AFW and HELEN number the faces of a photo (`NAME_1`), HELEN across train and test; LFPW and ibug do not."""
    family = subset.split("/")[0]
    if family in _FACES_SHARE_A_PHOTO:
        return f"{family}/{re.sub(r'_[0-9]+$', '', name)}"
    return f"{subset}/{name}"


def read_pts(path: Path) -> npt.NDArray[np.float32]:
    """The points (68, 2) of a `.pts`, with header and braces or without, moved from Matlab's 1-based pixels to 0-based.

    Raises:
        BrokenFace: the file is not the points of a face.
    """
    lines = points.read_text(path).splitlines()
    header = re.compile(r"\s*(version\s*:.*|n_points\s*:.*|[{}])\s*", re.IGNORECASE)
    rows = [line for line in lines if not header.fullmatch(line)]
    return points.checked(path, points.parse_rows(path, rows) - 1)
