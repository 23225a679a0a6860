"""What annotation tools have in common: objects in pictures, with points by name, which become faces of a scheme."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.face import UNLABELLED, BrokenFace, Face
from facemix.faces.formats import fitting, points
from facemix.faces.schemes import Scheme

Mark = tuple[str, object, object, int]
"""A point as a file states it: name, x, y, state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A face, or another object, as a file states it."""

    place: str
    """Where in the file, for messages: `skeleton 2`, `line 7`."""
    names: tuple[str, ...] | None = None
    """Of each point; None: all points in the order of the scheme."""
    stated: npt.NDArray[np.float64]
    """(n, 2) x, y in pixels; NaN where unlabelled."""
    states: npt.NDArray[np.uint8]
    """(n,) as of a `Face`."""
    kind: str = ""
    """What the tool calls such an object, where a file may hold several kinds."""
    id: str = ""
    """Where the file itself names the face."""
    fault: str = ""
    """What makes the object unusable, and what to do."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """As of a `Face`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture and the objects in it."""

    file: Path
    """The annotation file."""
    name: str
    """As the annotation file states it."""
    image: Path | str
    """The file of the picture, or what is wrong with it."""
    objects: Sequence[Object]
    split: str = ""
    subset: str = ""
    group: str = ""
    """What the faces of one photograph, person or sequence share; by default the picture."""
    more_files: tuple[Path, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    """As of a `Face`, for all in the picture."""


def named(
    place: str,
    marks: Sequence[Mark],
    *,
    kind: str = "",
    fault: str = "",
    attributes: Mapping[str, str] | None = None,
) -> Object:
    """An object of marked points; one that has no two finite coordinates, or stands there twice, is a fault."""
    names = tuple(mark[0] for mark in marks)
    stated, states, found = _values(marks)
    return Object(
        place=place,
        names=names,
        stated=stated,
        states=states,
        kind=kind,
        fault=fault or found,
        attributes=attributes or {},
    )


def in_order(
    place: str, marks: Sequence[Mark], *, fault: str = "", attributes: Mapping[str, str] | None = None
) -> Object:
    """As `named`, for points in the order of the scheme, whose names are for messages only."""
    return replace(named(place, marks, fault=fault, attributes=attributes), names=None)


def scalars(content: Mapping[str, object], *, without: Collection[str] = ()) -> dict[str, str]:
    """The texts and whole numbers of an object in a JSON file, as attributes of a `Face`."""
    return {
        key: str(value)
        for key, value in content.items()
        if isinstance(value, str | int) and not isinstance(value, bool) and key not in without and str(value).strip()
    }


def number(value: object) -> float:
    """A finite number, or NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _values(marks: Sequence[Mark]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], str]:
    stated = np.full((len(marks), 2), np.nan)
    states = np.array([mark[3] for mark in marks], dtype=np.uint8)
    fault = ""
    for i, (name, x, y, state) in enumerate(marks):
        if state == UNLABELLED:
            continue
        stated[i] = number(x), number(y)
        if np.isnan(stated[i]).any() and not fault:
            fault = f"point {name} is at ({x}, {y}), expected two numbers; correct it"
    return stated, states, fault


def schemes_of(pictures: Iterable[Picture]) -> list[str]:
    """The names of the schemes that fit the points of some kind of object; faulty ones count where no others are."""
    objects = [item for picture in pictures for item in picture.objects]
    usable = [item for item in objects if not item.fault] or [replace(item, fault="") for item in objects]
    found: set[str] = set()
    for kind in _kinds(usable).values():
        found.update(fitting.of_names(_names(kind)))
        counts = Counter(len(item.stated) for item in kind if item.names is None)
        if counts:
            found.update(fitting.of_count([counts.most_common(1)[0][0]]))
    return sorted(found)


def faces(
    root: Path, pictures: Sequence[Picture], scheme: Scheme | None, *, origin: float = 0.0, first: int | None = None
) -> Iterator[Face | BrokenFace]:
    """The faces of pictures; objects without a labelled point are left out.

    Official splits count where the files state more than one. A face that two files state alike is read once.

    Args:
        root: what ids are relative to.
        pictures: of one file or several.
        scheme: None: the only one that fits.
        origin: what the files call the centre of the first pixel.
        first: as in `fitting.indices`.

    Raises:
        FacemixError: no kind of object has points of the scheme.
    """
    if not any(picture.objects for picture in pictures):
        return
    objects = [item for picture in pictures for item in picture.objects]
    scheme = fitting.required(
        scheme,
        [] if scheme else schemes_of(pictures),
        str(root),
        names=_names(objects),
        counts={len(item.stated) for item in objects if item.names is None},
    )
    indices = _indices(pictures, scheme, first)
    found: dict[Path, list[tuple[Picture, Object]]] = defaultdict(list)
    for picture in pictures:
        objects = [item for item in picture.objects if item.kind in indices and (item.fault or item.states.any())]
        if isinstance(picture.image, Path):
            found[picture.image].extend((picture, item) for item in objects)
        elif objects:
            yield BrokenFace(picture.file, f"{_called(picture)}: {picture.image}")
    official = len({picture.split for picture in pictures} - {""}) > 1
    stems = Counter(image.with_suffix("") for image in found)
    ids: set[str] = set()
    for image, items in found.items():
        relative = image.relative_to(root)
        photo = (relative if stems[image.with_suffix("")] > 1 else relative.with_suffix("")).as_posix()
        once = _once(items)
        for k, (picture, item) in enumerate(once):
            try:
                landmarks, states = _checked(picture, item, once[:k], scheme, indices[item.kind], origin)
                id_ = item.id or (photo + (f"/{k}" if len(once) > 1 else ""))
                if id_ in ids:
                    raise BrokenFace(picture.file, f"{item.place}: a second face called {id_!r}; rename or remove it")
            except BrokenFace as broken:
                yield broken
                continue
            ids.add(id_)
            yield Face(
                id=id_,
                subset=picture.subset,
                photo=picture.group or photo,
                image=image,
                landmarks=landmarks,
                states=states,
                scheme=scheme,
                files=(image, picture.file, *picture.more_files),
                attributes={**picture.attributes, **item.attributes},
                split=picture.split if official else "",
            )


def _indices(pictures: Sequence[Picture], scheme: Scheme, first: int | None) -> dict[str, dict[str, int]]:
    """For each kind of object that has points of the scheme: name -> index.

    Raises:
        FacemixError: no kind has.
    """
    found: dict[str, dict[str, int]] = {}
    errors: list[FacemixError] = []
    kinds = _kinds(item for picture in pictures for item in picture.objects)
    for kind, objects in kinds.items():
        where = str(next(picture.file for picture in pictures if any(item.kind == kind for item in picture.objects)))
        try:
            found[kind] = fitting.indices(_names(objects), scheme, f"{where}: {kind}" if kind else where, first)
        except FacemixError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def _names(objects: Iterable[Object]) -> set[str]:
    return {name for item in objects if not item.fault for name in item.names or ()}


def _kinds(objects: Iterable[Object]) -> dict[str, list[Object]]:
    kinds: dict[str, list[Object]] = defaultdict(list)
    for item in objects:
        kinds[item.kind].append(item)
    return kinds


def _once(items: Sequence[tuple[Picture, Object]]) -> list[tuple[Picture, Object]]:
    """Without objects that another file of the same split, or a file of no split, repeats."""
    kept: list[tuple[Picture, Object]] = []
    for picture, item in items:
        again = (
            other
            for other, before in kept
            if other.file != picture.file and picture.split in ("", other.split) and _same(item, before)
        )
        if next(again, None) is None:
            kept.append((picture, item))
    return kept


def _same(a: Object, b: Object) -> bool:
    return a.names == b.names and np.array_equal(a.stated, b.stated, equal_nan=True) and not (a.fault or b.fault)


def _checked(
    picture: Picture,
    item: Object,
    before: Sequence[tuple[Picture, Object]],
    scheme: Scheme,
    indices: dict[str, int],
    origin: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Points (K, 2) and states (K,) of an object.

    Raises:
        BrokenFace: a fault of the object; it names the file and the place.
    """
    place = f"{_called(picture)}: {item.place}"
    if item.fault:
        raise BrokenFace(picture.file, f"{place}: {item.fault}")
    for other, earlier in before:
        if _same(item, earlier):
            raise BrokenFace(
                picture.file, f"{place}: the same points as {earlier.place} of {other.file.name}; remove one of them"
            )
    stated, states = _arranged(picture, item, place, scheme, indices)
    try:
        return points.checked(picture.file, stated, scheme, states, origin)
    except BrokenFace as broken:
        raise BrokenFace(picture.file, f"{place}: {broken.reason}") from None


def _called(picture: Picture) -> str:
    return f"image {picture.name}" if picture.name else "an image without a name"


def _arranged(
    picture: Picture, item: Object, place: str, scheme: Scheme, indices: dict[str, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Points and states in the order of the scheme."""
    if item.names is None:
        if len(item.stated) != len(scheme):
            raise BrokenFace(
                picture.file,
                f"{place}: {len(item.stated)} points, expected {len(scheme)} in the order of the scheme "
                f"{scheme.name}; correct or remove the face",
            )
        return item.stated, item.states
    rows = [indices[name] for name in item.names]
    if len(set(rows)) < len(rows):
        twice = next(name for name, row in zip(item.names, rows, strict=True) if rows.count(row) > 1)
        raise BrokenFace(
            picture.file,
            f"{place}: point {twice!r} stands there twice, expected each point once in a face; remove one, or say "
            "which points belong to which face",
        )
    stated, states = np.full((len(scheme), 2), np.nan), np.zeros(len(scheme), dtype=np.uint8)
    stated[rows], states[rows] = item.stated, item.states
    return stated, states
