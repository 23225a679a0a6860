"""Folders of images each with a `.pts` of the same name: any number of points, at any depth.

`.pts` is a text of one point `x y` a line in Matlab's 1-based pixels, with `version`, `n_points` and braces or without.
Nothing in it says that a point is hidden or missing: (0, 0), (-1, -1) and negated coordinates are refused.

MERL-RAV (Kumar et al., 2020) is a format of its own, as its negative coordinates have a meaning: `-x -y` is a hidden
point at (x, y), `-1 -1` one that the head hides from itself, whose place nobody stated.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, official, pairs, points
from facemix.faces.schemes import Scheme

Array = npt.NDArray[np.float64]
States = npt.NDArray[np.uint8]

_HEADER = re.compile(r"\s*(version\b.*|n_points\s*[:=]?\s*([0-9]+)\s*|[{}])\s*", re.IGNORECASE)
_LOOKED_AT = 50
"""Files that tell the scheme: all of a set have one number of points, or few do not."""


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of all folders that hold a `.pts`; mirrored copies (`NAME_mirror.*`) are left out.

    Raises:
        FacemixError: `scheme` is None and several schemes have as many points, or none.
    """
    for pair in _pairs(root):
        if isinstance(pair, BrokenFace):
            yield pair
            continue
        try:
            stated = parse(pair.annotation)
            scheme = scheme or fitting.required(None, detect(root), str(root), counts=_counts(root))
            id_ = pairs.id_of(pair.image, root)
            yield _face(pair, id_, id_, "", scheme, stated, None)
        except BrokenFace as broken:
            yield broken


def read_merl_rav(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of MERL-RAV as its script arranges them: `frontal/trainset/image00019.jpg` beside its `.pts`.

    `image20991_1` and `image20991_2` are two faces of one photograph, in whatever folders they are.

    Raises:
        FacemixError: another scheme than `ibug68`, by number of points.
    """
    scheme = fitting.own("ibug68", scheme, "merl_rav")
    for pair in _pairs(root):
        if isinstance(pair, BrokenFace):
            yield pair
            continue
        id_ = pairs.id_of(pair.image, root)
        numbered = re.fullmatch(r"(image[0-9]+)(_[0-9]+)?", pair.image.stem)
        split = official.split(pair.image.relative_to(root))
        try:
            stated, states = unsigned(parse(pair.annotation))
            yield _face(pair, id_, numbered[1] if numbered else id_, split, scheme, stated, states)
        except BrokenFace as broken:
            yield broken


def detect(root: Path) -> list[str]:
    """The names of the schemes that have as many points as the first files."""
    return fitting.of_count(_counts(root))


def _counts(root: Path) -> set[int]:
    """How many points the first files have."""
    counts = set()
    for _, pair in zip(range(_LOOKED_AT), _pairs(root), strict=False):
        if isinstance(pair, pairs.Pair):
            try:
                counts.add(len(parse(pair.annotation)))
            except BrokenFace:
                continue
    return counts


def parse(path: Path) -> Array:
    """The points (n, 2) of a `.pts` as stated.

    Raises:
        BrokenFace: the file is not the points of a face, or has another number of them than its header says.
    """
    lines = points.read_text(path).splitlines()
    matches = [_HEADER.fullmatch(re.sub(r"(#|//).*", "", line)) for line in lines]
    stated = points.parse_rows(path, [line for line, match in zip(lines, matches, strict=True) if not match])
    for announced in [int(match[2]) for match in matches if match and match[2]]:
        if announced != len(stated):
            raise BrokenFace(
                path, f"its header says {announced} points, found {len(stated)}; correct or remove the face"
            )
    return stated


def unsigned(stated: Array) -> tuple[Array, States]:
    """Places (n, 2) and states (n,) of MERL-RAV's signed points: NaN and 0 where none is stated, 1 where hidden.

    One negative coordinate is the place of a visible point beyond the border of the picture.
    """
    missing = (stated == -1).all(axis=1)
    hidden = (stated < 0).all(axis=1) & ~missing
    places = np.where(hidden[:, None], -stated, stated)
    states = np.where(missing, 0, np.where(hidden, 1, 2)).astype(np.uint8)
    return np.where(missing[:, None], np.nan, places), states


def _pairs(root: Path) -> Iterator[pairs.Pair | BrokenFace]:
    for folder in pairs.folders(root):
        annotations = _originals(pairs.files(folder, [".pts"]))
        if annotations:
            yield from pairs.pairs(_originals(pairs.images(folder)), annotations)


def _originals(paths: list[Path]) -> list[Path]:
    """Those that are not the mirrored copy of another (dlib's package has them): a split must never part the two."""
    stems = {path.stem for path in paths}
    return [path for path in paths if path.stem.removesuffix("_mirror") not in stems - {path.stem}]


def _face(
    pair: pairs.Pair, id_: str, photo: str, split: str, scheme: Scheme, stated: Array, states: States | None
) -> Face:
    landmarks, checked_states = points.checked(pair.annotation, stated, scheme, states, origin=1)
    return Face(
        id=id_,
        subset="",
        photo=photo,
        image=pair.image,
        landmarks=landmarks,
        states=checked_states,
        scheme=scheme,
        files=(pair.image, pair.annotation),
        split=split,
    )
