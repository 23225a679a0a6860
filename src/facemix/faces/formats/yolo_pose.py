"""YOLO-pose of Ultralytics: a YAML file with `kpt_shape`, images, and a text file of labels for each.

`train`, `val` and `test` of the YAML file name folders, lists of images (`.txt`), or several of them, and are the
official splits; a picture in several is of none. The labels of `.../images/a.jpg` are in `.../labels/a.txt`, else in
`a.txt` beside it; a picture without such a file has no face. A line is `class cx cy w h` and `x y` or `x y v` for each
point, in shares of the picture. v is 0 for an unlabelled point, whatever its place, 1 for a hidden and 2 for a visible
one. Without v, negative coordinates are unlabelled, as for Ultralytics, and so is (0, 0), which converters write.

Points are in the order of the scheme, unless `kpt_names` says otherwise. `flip_idx` must be the scheme's mirror order.

Shares count from the corner of the picture, as the box's do, and as Ultralytics scales pictures and points: the whole
picture reaches from 0 to 1, so the centre of its first pixel is at half a pixel, which is taken off. A converter that
divided 0-based pixels by the size of the picture (Ultralytics' own for COCO) made points that are off by as much: where
there is a COCO file, use that.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, fitting, labelled, points
from facemix.faces.formats.labelled import Mark, Object, Picture
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

ORIGIN = 0.5
"""Where the centre of the first pixel is."""
LITTLE = 0.01
"""Share of the picture by which a point may lie outside of it: more is refused by Ultralytics too."""

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_BOX = 5
"""Numbers of a line before the points: class and box."""
_ORIENTATION, _TURNED = 0x0112, range(5, 9)


@dataclass(frozen=True, slots=True)
class _Dataset:
    file: Path
    count: int
    """K, points of a face."""
    values: int
    """2 or 3 numbers a point."""
    names: tuple[str, ...] | None
    flip: tuple[int, ...] | None
    places: Mapping[str, Sequence[str]]
    """Split -> folders and lists, as stated."""
    path: str


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with a YOLO-pose set.

    Raises:
        FacemixError: several YAML files, one that is not as Ultralytics expects it, that names a folder that is not
            there, or has another number, other names or another mirror order of points than the scheme; or `scheme`
            is None and not certain.
    """
    dataset = _dataset(root)
    if dataset is None:
        return
    scheme = fitting.required(
        scheme,
        [] if scheme else _fitting(dataset),
        str(dataset.file),
        names=dataset.names or (),
        counts=[dataset.count],
    )
    _check(dataset, scheme)
    yield from labelled.faces(root, list(_pictures(root, dataset)), scheme, origin=ORIGIN)


def detect(root: Path) -> list[str]:
    """The names of the schemes with the YAML file's number of points, and its names where stated."""
    dataset = _dataset(root)
    return [] if dataset is None else _fitting(dataset)


def _fitting(dataset: _Dataset) -> list[str]:
    return fitting.of_names(dataset.names) if dataset.names else fitting.of_count([dataset.count])


# The YAML file


def _dataset(root: Path) -> _Dataset | None:
    found = {
        path: content
        for path in documents.below(root, ".yaml", ".yml")
        if isinstance(content := documents.yaml_content(path, "kpt_shape"), dict) and "kpt_shape" in content
    }
    if len(found) > 1:
        names = " and ".join(str(path) for path in list(found)[:2])
        raise FacemixError(f"{root}: found {names}, expected one YAML file with kpt_shape; remove the others")
    for path, content in found.items():
        return _parsed(path, content)
    return None


def _parsed(path: Path, content: Mapping[str, Any]) -> _Dataset:
    match content["kpt_shape"]:
        case [int(count), 2 | 3 as values] if count > 0:
            pass
        case other:
            raise FacemixError(f"{path}: kpt_shape: found {other}, expected [K, 2] or [K, 3]; correct it")
    flip = content.get("flip_idx")
    if flip is not None and (not isinstance(flip, list) or sorted(map(str, flip)) != sorted(map(str, range(count)))):
        raise FacemixError(f"{path}: flip_idx: found {flip}, expected each of 0 to {count - 1} once; correct it")
    names = content.get("kpt_names")
    if isinstance(names, dict):  # one list for each class
        lists = list(names.values())
        if any(other != lists[0] for other in lists):
            raise FacemixError(f"{path}: kpt_names: classes with different points, expected the same; import one class")
        names = lists[0] if lists else None
    if names is not None and (not isinstance(names, list) or len(names) != count):
        raise FacemixError(f"{path}: kpt_names: found {names}, expected a list of {count} names; correct or remove it")
    places = {}
    for key, split in _SPLITS.items():
        stated = content.get(key)
        places[split] = [str(place) for place in (stated if isinstance(stated, list) else [stated]) if place]
    if not any(places.values()):
        raise FacemixError(f"{path}: neither train nor val nor test, expected folders of images; add them")
    return _Dataset(
        file=path,
        count=count,
        values=values,
        names=tuple(map(str, names)) if names else None,
        flip=tuple(flip) if flip else None,
        places=places,
        path=str(content.get("path") or ""),
    )


def _check(dataset: _Dataset, scheme: Scheme) -> None:
    """Raises FacemixError where number, names or mirror order of the points are not the scheme's."""
    if dataset.count != len(scheme):
        raise fitting.wrong_count([dataset.count], scheme, f"{dataset.file}: kpt_shape")
    order = list(range(len(scheme)))
    if dataset.names:
        order = list(fitting.indices(dataset.names, scheme, f"{dataset.file}: kpt_names").values())
        if len(set(order)) < len(scheme):
            raise FacemixError(f"{dataset.file}: kpt_names: a point stands there twice, expected each once; correct it")
    for i, j in enumerate(dataset.flip or ()):
        expected = order.index(int(scheme.mirror[order[i]]))
        if j != expected:
            raise FacemixError(
                f"{dataset.file}: flip_idx: point {i} ({scheme.points[order[i]]}) mirrors to {j} "
                f"({scheme.points[order[j]]}), but in the scheme {scheme.name} to {expected} "
                f"({scheme.points[order[expected]]}): the points have another order; use another scheme, or correct "
                "flip_idx"
            )


# Images and labels


def _pictures(root: Path, dataset: _Dataset) -> Iterator[Picture]:
    splits: dict[Path, set[str]] = defaultdict(set)
    for split, places in dataset.places.items():
        for place in places:
            for image in _images(root, dataset, split, place):
                splits[image].add(split)
    for image, of in splits.items():
        labels = _labels(root, image)
        if labels is None:
            continue
        objects = _objects(labels, image, dataset)
        split = next(iter(of)) if len(of) == 1 else ""
        name = image.relative_to(root).as_posix()
        files = (dataset.file,)
        yield Picture(file=labels, name=name, image=image, objects=objects, split=split, more_files=files)


def _images(root: Path, dataset: _Dataset, split: str, stated: str) -> Iterator[Path]:
    """The images of a folder, or of a list of them."""
    place = _locate(root, dataset.file.parent, dataset.path, stated)
    if place is None:
        raise FacemixError(f"{dataset.file}: no {stated!r} ({split}) below {root}; correct the path or add the folder")
    if place.is_dir():
        yield from documents.below(place, *SUFFIXES)
        return
    try:
        lines = points.read_text(place).splitlines()
    except BrokenFace as broken:
        raise FacemixError(
            f"{dataset.file}: {split}: {broken.reason.replace('points of a face', 'list of images')}"
        ) from None
    for line in lines:
        if line.strip():
            image = _locate(root, place.parent, dataset.path, line.strip())
            if image is None:
                raise FacemixError(f"{place}: no image {line.strip()!r} below {root}; remove the line or add the image")
            yield image


def _locate(root: Path, near: Path, path: str, stated: str) -> Path | None:
    """What a path means that may be absolute on another machine, or relative to something above `root`.

    The longest end of it that exists counts, from the folder `near` or from `root`.
    """
    parts = [
        part for text in (path, stated) for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")
    ]
    for start in range(len(parts)):
        for folder in (near, root):
            if (found := folder.joinpath(*parts[start:])).exists():
                return found
    return None


def _labels(root: Path, image: Path) -> Path | None:
    parts = list(image.relative_to(root).with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    found = root.joinpath(*parts)
    return found if found.is_file() else None


def _objects(labels: Path, image: Path, dataset: _Dataset) -> list[Object]:
    try:
        lines = points.read_text(labels).splitlines()
        size = _size(image) if any(line.strip() for line in lines) else (1, 1)
    except BrokenFace as broken:
        return [labelled.in_order("all lines", [], fault=broken.reason)]
    seen: set[str] = set()
    found = []
    for i, line in enumerate(lines):
        if line.strip() and line not in seen:  # Ultralytics leaves out a line that stands there twice, too
            seen.add(line)
            found.append(_object(f"line {i + 1}", line, size, dataset))
    return found


def _object(place: str, line: str, size: tuple[int, int], dataset: _Dataset) -> Object:
    values = [labelled.number(word) for word in line.split()]
    expected = _BOX + dataset.count * dataset.values
    if len(values) != expected or np.isnan(values).any():
        fault = f"{len(values)} values, expected {expected} numbers: class, box and {dataset.values} for each point"
        return labelled.in_order(place, [], fault=f"{fault}; correct the line")
    marks: list[Mark] = []
    fault = _box_fault(*values[1:_BOX])
    for i in range(dataset.count):
        x, y, *v = values[_BOX + i * dataset.values :][: dataset.values]
        if v and v[0] not in (UNLABELLED, HIDDEN, VISIBLE):
            fault = fault or f"point {i} has v = {v[0]:g}, expected 0 (not labelled), 1 (hidden) or 2 (visible)"
        state = int(v[0]) if v else UNLABELLED if x < 0 or y < 0 or x == y == 0 else VISIBLE
        if state != UNLABELLED and not all(-LITTLE <= share <= 1 + LITTLE for share in (x, y)):
            fault = fault or f"point {i} at ({x:g}, {y:g}), expected shares of the picture, 0 to 1"
        name = dataset.names[i] if dataset.names else str(i)
        marks.append((name, x * size[0], y * size[1], state))
    made = labelled.named if dataset.names else labelled.in_order
    return made(place, marks, fault=f"{fault}; correct the line" if fault else "")


def _box_fault(x: float, y: float, width: float, height: float) -> str:
    """What is wrong with a box of a middle and sides in shares of the picture, or ""."""
    if not (width > 0 and height > 0):
        return f"a box of width {width:g} and height {height:g}, expected more than 0"
    if abs(x - 0.5) >= (1 + width) / 2 or abs(y - 0.5) >= (1 + height) / 2:
        return f"a box around ({x:g}, {y:g}), outside the picture, expected shares of it, 0 to 1"
    return ""


def _size(image: Path) -> tuple[int, int]:
    """Width and height of a picture as it is displayed, from its header.

    Raises:
        BrokenFace: the header cannot be read.
    """
    try:
        with Image.open(image) as opened:
            turned = opened.getexif().get(_ORIENTATION) in _TURNED
            width, height = opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BrokenFace(image, "its image is none whose size can be read; replace the image") from None
    return (height, width) if turned else (width, height)
