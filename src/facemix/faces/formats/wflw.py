"""WFLW (Wu et al., 2018): the lists `list_98pt_rect_attr_train.txt` and `..._test.txt`, which are its official splits.

A line is a face: 196 numbers `x y` in 0-based pixels, the box, six flags (pose, expression, illumination, make-up,
occlusion, blur) and the picture below `WFLW_images/`. The 10,000 faces are of 6,551 pictures. Points may coincide, and
nothing says which are hidden. A face may have several flags, so they make no subsets.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, pairs, points
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.schemes import Scheme

_LISTS = {"list_98pt_rect_attr_train.txt": "train", "list_98pt_rect_attr_test.txt": "test"}
_COORDINATES, _BOX, _FLAGS = 196, 4, 6
_NUMBERS = _COORDINATES + _BOX + _FLAGS


@dataclass(frozen=True, slots=True)
class _Line:
    list: Path
    split: str
    name: str
    image: Path
    stated: npt.NDArray[np.float64]


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of the lists, which may be anywhere below the root; a broken one names its list and line.

    Raises:
        FacemixError: another scheme than `wflw98`, by number of points; a list is there twice, or no text.
    """
    scheme = fitting.own("wflw98", scheme, "wflw")
    lists = _lists(root)
    if not lists:
        return
    images = ImagesBelow(root)
    of_image: dict[Path, list[_Line]] = defaultdict(list)
    for path in lists:
        for number, text in enumerate(_text(path).splitlines(), start=1):
            if text.strip():
                try:
                    line = _line(path, f"line {number}", text, images)
                    of_image[line.image].append(line)
                except BrokenFace as broken:
                    yield broken
    for image, lines in of_image.items():
        for k, line in enumerate(lines):
            try:
                yield _face(root, image, line, f"/{k}" if len(lines) > 1 else "", scheme)
            except BrokenFace as broken:
                yield BrokenFace(line.list, f"{line.name}: {broken.reason}")


def _lists(root: Path) -> list[Path]:
    found: dict[str, Path] = {}
    for folder in pairs.folders(root):
        for path in pairs.files(folder, [".txt"]):
            if path.name in _LISTS and path.name in found:
                raise FacemixError(f"{path}: the same list as {found[path.name]}, expected one; remove one of them")
            if path.name in _LISTS:
                found[path.name] = path
    return [found[name] for name in _LISTS if name in found]


def _text(path: Path) -> str:
    try:
        return points.read_text(path)
    except BrokenFace as broken:
        raise FacemixError(str(broken)) from None


def _line(path: Path, name: str, text: str, images: ImagesBelow) -> _Line:
    fields = text.strip().split(maxsplit=_NUMBERS)
    try:
        numbers = np.array(fields[:_NUMBERS], dtype=np.float64)
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != _NUMBERS or len(fields) != _NUMBERS + 1:
        raise BrokenFace(
            path,
            f"{name}: found {len(text.split())} fields, expected {_NUMBERS + 1}: {_COORDINATES} coordinates, a box of "
            f"{_BOX}, {_FLAGS} flags, all numbers, and the image; correct or remove the line",
        )
    if not np.isin(numbers[-_FLAGS:], (0, 1)).all():
        raise BrokenFace(path, f"{name}: the six flags before the image are not all 0 or 1; correct or remove the line")
    image = images.find(fields[_NUMBERS], near=path.parent, split=_LISTS[path.name])
    if isinstance(image, str):
        raise BrokenFace(path, f"{name}: {image}")
    return _Line(path, _LISTS[path.name], name, image, numbers[:_COORDINATES].reshape(-1, 2))


def _face(root: Path, image: Path, line: _Line, suffix: str, scheme: Scheme) -> Face:
    landmarks, states = points.checked(line.list, line.stated, scheme)
    photo = pairs.id_of(image, root)
    return Face(
        id=photo + suffix,
        subset="",
        photo=photo,
        image=image,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(image, line.list),
        split=line.split,
    )
