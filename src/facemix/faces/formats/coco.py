"""COCO keypoints: one or several JSON files of pictures and annotations, with points `x y v` in 0-based pixels.

`v` is 0 for a point that is not labelled, whatever its place, 1 for a hidden and 2 for a visible one. Many tools write
1 for all labelled points: in a file without any 2, and for shares between 0 and 1, 1 says no more than labelled. Names
in `categories` are matched with the scheme's, in any order. A file of whole bodies (COCO-WholeBody) holds several
schemes: the number of points says which part of it is read. Crowds and annotations without a labelled point are left
out. One file may state what another does (a file of all and one of each split): each face is read once.

Fields of an image or annotation called `group`, `person`, `sequence`, `video_id` or `photo` say what faces share.

A file or its folder names the official split (`person_keypoints_train2017.json`, `valid/_annotations.coco.json`). One
split alone is none: a folder of `test.json` only can still be divided.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, labelled, official, photos, points
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.listing import visible
from facemix.faces.schemes import Scheme

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """Points of an annotation that are a face or another object of its own."""

    key: str
    valid: str
    """The key that is false where nothing is labelled; "" if there is none."""
    suffix: str
    """What is added to the id where a picture has one part of each kind."""
    box: str


_WHOLE = _Part("keypoints", "", "", "bbox")
_PARTS = (
    _Part("face_kpts", "face_valid", "", "face_box"),
    _Part("lefthand_kpts", "lefthand_valid", "/left_hand", "lefthand_box"),
    _Part("righthand_kpts", "righthand_valid", "/right_hand", "righthand_box"),
    _Part("foot_kpts", "foot_valid", "", "bbox"),
)
"""Parts of COCO-WholeBody; `keypoints` is the body."""

CROWD, NO_POINTS, TWICE = "a crowd", "no labelled point", "stated in another file too"


_OF_IMAGES = {"id", "file_name", "width", "height", "license", "coco_url", "flickr_url", "date_captured"}
_OF_ANNOTATIONS = {"id", "image_id", "category_id", "iscrowd", "area", "num_keypoints"}
"""Fields that COCO itself has, which say nothing of what faces share."""


@dataclass(frozen=True, slots=True)
class _LeftOut:
    reason: str


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    split: str
    categories: Mapping[object, Json]
    images: Mapping[object, Sequence[Json]]
    annotations: Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """A labelled part of an annotation."""

    file: _File
    name: str
    part: _Part
    image: Path
    stated: npt.NDArray[np.float64]
    states: npt.NDArray[np.uint8]
    attributes: Mapping[str, str]


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with COCO files; what is broken names its file and annotation.

    Raises:
        FacemixError: a file is no JSON or not of the form, its points are not the scheme's, or `scheme` is None and
            several schemes fit or none.
    """
    return (item for item in _items(root, scheme) if not isinstance(item, _LeftOut))


def left_out(root: Path, scheme: Scheme | None) -> Counter[str]:
    """How many annotations `read` leaves out as they are no face to learn from, by reason.

    Raises:
        FacemixError: as `read`.
    """
    return Counter(item.reason for item in _items(root, scheme) if isinstance(item, _LeftOut))


def detect(root: Path) -> list[str]:
    """The names of the schemes whose number of points, and names where stated, some file has.

    Raises:
        FacemixError: a file is no JSON or not of the form.
    """
    found: set[str] = set()
    for file in _files(root):
        for names in _named(file):
            found.update(name for name in fitting.of_names(names) if len(schemes.load(name)) == len(names))
        found.update(fitting.of_count(_counts(file)))
    return sorted(found)


def _named(file: _File) -> list[list[str]]:
    """The names of points that categories state."""
    return [category["keypoints"] for category in file.categories.values() if category.get("keypoints")]


def _counts(file: _File) -> set[int]:
    """The numbers of points of what has no names."""
    parts = _PARTS if _named(file) else (_WHOLE, *_PARTS)
    return {length // 3 for part in parts for length in _lengths(file, part) if length % 3 == 0}


def _items(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace | _LeftOut]:
    files = _files(root)
    if not files:
        return
    if not any(_lengths(file, part) for file in files for part in (_WHOLE, *_PARTS)):
        raise FacemixError(
            f"{files[0].path}: no annotation has keypoints, expected x, y, v of each point; use another file"
        )
    names = {name for file in files for named in _named(file) for name in named}
    counts = {count for file in files for count in _counts(file)}
    scheme = fitting.required(scheme, [] if scheme else detect(root), str(root), names=names, counts=counts)
    parts = {file.path: _parts(file, scheme) for file in files}
    if not any(parts.values()):
        raise _unfit(files, scheme)
    images = ImagesBelow(root)
    found: list[_Found] = []
    for file in files:
        for item in _annotations(file, scheme, parts[file.path], images):
            if isinstance(item, _Found):
                found.append(item)
            else:
                yield item
    yield from _faces(root, found, scheme)


# Files


def _files(root: Path) -> list[_File]:
    """All files of the form, those of official splits first."""
    paths = sorted(path for path in _below(root) if path.suffix.lower() == ".json")
    found = []
    for path in paths:
        content = _json(path)
        if isinstance(content, dict) and ({"images", "annotations"} & content.keys() or len(paths) == 1):
            if path.stem.startswith("image_info") and "annotations" not in content:
                continue  # COCO's lists of test pictures, whose annotations are not public
            found.append(_parsed(path, content, official.split(path.relative_to(root))))
        elif len(paths) == 1:
            raise FacemixError(f"{path}: found no object, expected 'images' and 'annotations' as in a COCO file")
    return sorted(found, key=lambda file: not file.split)


def _below(folder: Path) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir():
            yield from _below(path)
        else:
            yield path


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise FacemixError(f"{path}: not JSON that can be read ({reason}); restore or remove the file") from None


def _parsed(path: Path, content: Json, split: str) -> _File:
    for key in ("images", "annotations"):
        if not isinstance(content.get(key), list):
            found = f"found {type(content[key]).__name__}" if key in content else "missing"
            raise FacemixError(f"{path}: {key}: {found}, expected a list as in a COCO file; correct or remove the file")
    images: dict[object, list[Json]] = defaultdict(list)
    for i, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise FacemixError(f"{path}: images[{i}]: expected an object with id and file_name; correct the file")
        images[image["id"]].append(image)
    categories: dict[object, Json] = {}
    for i, category in enumerate(content.get("categories") or []):
        if not isinstance(category, dict) or not _is_id(category.get("id")):
            raise FacemixError(f"{path}: categories[{i}]: expected an object with an id; correct the file")
        names = category.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FacemixError(
                f"{path}: categories[{i}]: keypoints: expected a list of names, empty if there are none; correct it"
            )
        categories[category["id"]] = category
    return _File(path, split, categories, images, content["annotations"])


def _is_id(value: object) -> TypeGuard[int | str]:
    return isinstance(value, int | str) and not isinstance(value, bool)


# Which part of a file has the points of a scheme


def _lengths(file: _File, part: _Part) -> set[int]:
    """How many numbers the annotations state for a part, where they state any."""
    stated = (annotation.get(part.key) for annotation in file.annotations if isinstance(annotation, dict))
    return {len(numbers) for numbers in stated if isinstance(numbers, list) and numbers}


def _parts(file: _File, scheme: Scheme) -> tuple[_Part, ...]:
    """The parts with the scheme's number of points: of a file of whole bodies, one or both hands, face or body."""
    for group in ((_WHOLE,), _PARTS):
        if fitting_parts := tuple(part for part in group if 3 * len(scheme) in _lengths(file, part)):
            return fitting_parts
    return ()


def _unfit(files: Sequence[_File], scheme: Scheme) -> FacemixError:
    lengths = {length for file in files for part in (_WHOLE, *_PARTS) for length in _lengths(file, part)}
    where = str(files[0].path)
    if 2 * len(scheme) in lengths:
        return FacemixError(
            f"{where}: keypoints of {2 * len(scheme)} numbers, expected {3 * len(scheme)}: x, y and v of "
            f"{len(scheme)} points; add v (0 not labelled, 1 hidden, 2 visible)"
        )
    if not any(length % 3 == 0 for length in lengths):
        found = " or ".join(map(str, sorted(lengths)))
        return FacemixError(f"{where}: keypoints of {found} numbers, expected {3 * len(scheme)}: x, y, v of each point")
    return fitting.wrong_count((length // 3 for length in lengths if length % 3 == 0), scheme, where)


# Annotations


def _annotations(
    file: _File, scheme: Scheme, parts: tuple[_Part, ...], images: ImagesBelow
) -> Iterator[_Found | BrokenFace | _LeftOut]:
    orders = _orders(file, scheme) if parts == (_WHOLE,) else {}
    only_labelled = {part.key: _ones_mean_labelled(file, part, scheme) for part in parts}
    seen: set[object] = set()
    for i, annotation in enumerate(file.annotations):
        name = f"annotations[{i}]"
        try:
            if not isinstance(annotation, dict):
                raise BrokenFace(file.path, f"{name}: expected an object; correct or remove it")
            if _is_id(annotation.get("id")):
                name = f"annotation {annotation['id']}"
                if annotation["id"] in seen:
                    raise BrokenFace(file.path, f"{name}: an annotation of this id stands before it; remove one")
                seen.add(annotation["id"])
            if annotation.get("iscrowd"):
                yield _LeftOut(CROWD)
                continue
            category = _category(file, annotation, name)
            if orders and category not in orders and category in file.categories:
                continue  # of another kind: a hand where faces are asked for
            for part in parts:
                yield _found(
                    file, annotation, name, part, scheme, orders.get(category), only_labelled[part.key], images
                )
        except BrokenFace as broken:
            yield broken


def _orders(file: _File, scheme: Scheme) -> dict[object, list[int] | None]:
    """For each category that has the scheme's points, or no names, their order: None for the scheme's.

    Raises:
        FacemixError: none has.
    """
    named = {key: category["keypoints"] for key, category in file.categories.items() if category.get("keypoints")}
    fit: dict[object, list[int] | None] = {key: None for key in file.categories if key not in named}
    errors: dict[object, FacemixError] = {}
    for key, names in named.items():
        try:
            fit[key] = fitting.order(names, scheme, f"{file.path}: categories: {file.categories[key].get('name')}")
        except FacemixError as error:
            errors[key] = error
    if named and len(errors) == len(named):
        used = [annotation.get("category_id") for annotation in file.annotations if isinstance(annotation, dict)]
        for key in errors:
            if key in used:
                raise errors[key]
    return fit


def _category(file: _File, annotation: Json, name: str) -> object:
    """The category of an annotation: the only one where none is stated.

    Raises:
        BrokenFace: one that the file does not have.
    """
    if not file.categories:
        return None
    if len(file.categories) == 1 and "category_id" not in annotation:
        return next(iter(file.categories))
    number = annotation.get("category_id")
    if not _is_id(number) or number not in file.categories:
        known = ", ".join(map(str, list(file.categories)[:5]))
        raise BrokenFace(
            file.path, f"{name}: category_id {number!r} is not among the categories ({known}); correct or remove it"
        )
    return number


def _ones_mean_labelled(file: _File, part: _Part, scheme: Scheme) -> bool:
    """Whether v never reaches 2, so that 1 cannot mean hidden as opposed to visible."""
    for annotation in file.annotations:
        numbers = annotation.get(part.key) if isinstance(annotation, dict) else None
        if isinstance(numbers, list) and len(numbers) == 3 * len(scheme) and 2 in numbers[2::3]:
            return False
    return True


def _found(
    file: _File,
    annotation: Json,
    name: str,
    part: _Part,
    scheme: Scheme,
    order: list[int] | None,
    only_labelled: bool,
    images: ImagesBelow,
) -> _Found | _LeftOut:
    numbers = annotation.get(part.key)
    if not numbers or annotation.get(part.valid, True) is False:
        return _LeftOut(NO_POINTS)
    stated = _numbers(file.path, name, part.key, numbers, scheme)
    v = stated[:, 2]
    if not (v > 0).any():
        if fault := _box_fault(annotation.get(part.box), None):
            raise BrokenFace(
                file.path, f"{name}: no labelled point, and {part.box}: {fault}; correct or remove the annotation"
            )
        return _LeftOut(NO_POINTS)
    visible_from = 0 if only_labelled else 2
    states = np.where(v == 0, 0, np.where((v >= visible_from) | ((v > 0) & (v < 1)), 2, 1)).astype(np.uint8)
    places = np.where(v[:, None] == 0, np.nan, stated[:, :2])
    if order is not None:
        places, states = places[order], states[order]
    image = _image(file, annotation, name, images)
    if fault := _box_fault(annotation.get(part.box), images.size(image)):
        raise BrokenFace(file.path, f"{name}: {part.box}: {fault}; correct or remove the annotation")
    attributes = labelled.scalars(file.images[annotation["image_id"]][0], without=_OF_IMAGES)
    attributes |= labelled.scalars(annotation, without=_OF_ANNOTATIONS)
    return _Found(file, name, part, image, places, states, attributes)


def _numbers(path: Path, name: str, key: str, numbers: object, scheme: Scheme) -> npt.NDArray[np.float64]:
    """x, y, v (K, 3) of an annotation.

    Raises:
        BrokenFace: they are not numbers, or not as many, or a v is none.
    """
    where = f"{name}: {key}"
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise BrokenFace(path, f"{where}: expected a list of numbers x, y, v; correct or remove the annotation")
    if len(numbers) % 3:
        raise BrokenFace(
            path, f"{where}: {len(numbers)} numbers, expected {3 * len(scheme)}: x, y and v of each point; correct it"
        )
    if len(numbers) != 3 * len(scheme):
        raise BrokenFace(
            path,
            f"{where}: {len(numbers) // 3} points, expected {len(scheme)} of the scheme {scheme.name}; correct or "
            "remove the annotation",
        )
    stated = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    v = stated[:, 2]
    if (wrong := ~((v >= 0) & (v <= 2))).any():
        worst = int(np.argmax(wrong))
        raise BrokenFace(
            path,
            f"{where}: point {worst} has v = {v[worst]:g}, expected 0 (not labelled), 1 (hidden) or 2 (visible); "
            "correct or remove the annotation",
        )
    return stated


def _box_fault(box: object, size: tuple[int, int] | None) -> str:
    """What is wrong with a box `x y w h`, beside a picture of some width and height where it is known; or ""."""
    if not isinstance(box, list) or len(box) != 4 or not all(type(number) in (int, float) for number in box):
        return ""
    if not any(box):
        return ""  # four zeros are how tools say that there is no box
    x, y, width, height = box
    if not (width > 0 and height > 0):
        return f"found {box}, which has no size, expected x, y, width and height"
    if size:
        ways = (size, size[::-1])  # the picture may be shown on its side
        if not any(x <= w and y <= h and x + width >= 0 and y + height >= 0 for w, h in ways):
            return f"found {box}, which lies outside the picture of {size[0]} x {size[1]} pixels"
    return ""


def _image(file: _File, annotation: Json, name: str, images: ImagesBelow) -> Path:
    number = annotation.get("image_id")
    known = file.images.get(number, []) if _is_id(number) else []
    if not known:
        raise BrokenFace(
            file.path, f"{name}: image_id {number!r} is not among the images; correct or remove the annotation"
        )
    names = sorted({image["file_name"] for image in known})
    if len(names) > 1:
        raise BrokenFace(
            file.path, f"{name}: image_id {number!r} stands for {names[0]} and {names[1]}, expected one; correct it"
        )
    image = images.find(names[0], near=file.path.parent, split=file.split)
    if isinstance(image, str):
        raise BrokenFace(file.path, f"{name}: {image}")
    stated, size = (known[0].get("width"), known[0].get("height")), images.size(image)
    if size and all(type(side) is int for side in stated) and size not in (stated, stated[::-1]):
        raise BrokenFace(
            file.path,
            f"{name}: {image} has {size[0]} x {size[1]} pixels, expected {stated[0]} x {stated[1]}; use the image "
            "that the points were made for",
        )
    return image


# Faces


def _faces(root: Path, found: Sequence[_Found], scheme: Scheme) -> Iterator[Face | BrokenFace | _LeftOut]:
    splits = {item.file.split for item in found}
    splits_are_official = len(splits - {""}) > 1
    of_image: dict[tuple[Path, str], list[_Found]] = defaultdict(list)
    for item in found:
        same = of_image[item.image, item.part.suffix]
        if any(item.file is not other.file and _equal(item, other) for other in same):
            yield _LeftOut(TWICE)
        elif twin := next((other for other in same if _equal(item, other)), None):
            yield BrokenFace(item.file.path, f"{item.name}: the same points as {twin.name}; remove one of them")
        else:
            same.append(item)
    for (image, suffix), items in of_image.items():
        photo = str(PurePosixPath(image.relative_to(root)).with_suffix(""))
        for k, item in enumerate(items):
            try:
                landmarks, states = points.checked(item.file.path, item.stated, scheme, item.states)
            except BrokenFace as broken:
                yield BrokenFace(item.file.path, f"{item.name}: {broken.reason}")
                continue
            yield Face(
                id=photo + (f"/{k}" if len(items) > 1 else "") + suffix,
                subset="",
                photo=photos.stated(item.attributes) or photo,
                image=image,
                landmarks=landmarks,
                states=states,
                scheme=scheme,
                files=(image, item.file.path),
                split=item.file.split if splits_are_official else "",
                attributes=item.attributes,
            )


def _equal(a: _Found, b: _Found) -> bool:
    return bool(np.array_equal(a.stated, b.stated, equal_nan=True))
