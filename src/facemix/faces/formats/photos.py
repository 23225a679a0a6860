"""Which faces are of one photograph, by what the user or the files say, by names, and by what is the same in them.

A split never parts the faces of one photograph. What names and files do not tell, `facemix leaks` finds by pixels.
"""

import dataclasses
import difflib
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from facemix.config import COLUMN
from facemix.errors import FacemixError
from facemix.faces.face import UNLABELLED, Face, File
from facemix.faces.tars import Member

_NUMBERED = re.compile(r"(.*[0-9])[_-]([0-9])")
"""`PHOTO_K`: a name that ends in a number, and the number of a face in it."""
_CROWD = 6.0
"""Faces a photograph: where more share a first part of their names on average, that names a camera or a day."""
_ENOUGH = 10
"""Labelled points that two different photographs do not have alike by chance."""


STATED = ("group", "person", "sequence", "video_id", "photo")
"""Columns of tables and fields of COCO that name what faces share, the widest first."""


def stated(attributes: Mapping[str, str]) -> str:
    """The photograph, person or sequence that a file names by one of the usual columns, or ""."""
    return next((attributes[name] for name in STATED if attributes.get(name)), "")


def say(faces: Sequence[Face], group: str) -> list[Face]:
    """The faces with the photograph that the user says.

    Args:
        group: a regular expression that finds it in an id (its first group, or the whole match), or `column:NAME`: the
            column, field or attribute that names it.

    Raises:
        FacemixError: it is no regular expression, or finds nothing in an id; or a face has nothing of that name.
    """
    if group.startswith(COLUMN):
        return [dataclasses.replace(face, photo=_attribute(face, group)) for face in faces]
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise FacemixError(f"group {group!r}: not a regular expression ({error}); correct it") from None
    found = [pattern.search(face.id) for face in faces]
    for face, match in zip(faces, found, strict=True):
        if match is None or not match[1 if pattern.groups else 0]:
            raise FacemixError(
                f"group {group!r}: found no photograph in {face.id!r}, expected one in the id of each face; correct it"
            )
    return [
        dataclasses.replace(face, photo=match[1 if pattern.groups else 0])
        for face, match in zip(faces, found, strict=True)
        if match
    ]


def _attribute(face: Face, group: str) -> str:
    found = {_plain(name): value for name, value in face.attributes.items()}
    name = _plain(group.removeprefix(COLUMN))
    if found.get(name):
        return found[name]
    if not found:
        advice = "the files state nothing of faces but their points; use a regular expression"
    else:
        near = difflib.get_close_matches(name, list(found), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near and near[0] != name else ""
        advice = f"expected one of {', '.join(face.attributes)}{hint}; correct it, or add what is missing"
    raise FacemixError(f"group {group!r}: found nothing of that name for the face {face.id!r}: {advice}")


def _plain(name: str) -> str:
    return re.sub(r"[ -]+", "_", name.strip().lower())


def by_name(faces: Sequence[Face]) -> list[Face]:
    """The faces, those of names `PHOTO_1`, `PHOTO_2` together, where the names of the set look like that.

    They do where PHOTO ends in a digit, K is one digit that counts from 0 or 1 without a gap, and no more than six
    share a PHOTO on average: `IMG_0001` to `IMG_0040` are 40 photographs, `0012_1` to `0012_3` one. Only faces that
    the reader's own rule leaves alone (`photo` is the id) are looked at.
    """
    groups: dict[str, dict[int, Face]] = defaultdict(dict)
    for face in faces:
        if face.photo == face.id and (match := _NUMBERED.fullmatch(face.id)):
            groups[match[1]][int(match[2])] = face
    shared = {name: group for name, group in groups.items() if _counts(group)}
    if not few_each(map(len, shared.values())):
        return list(faces)
    photo = {face.id: name for name, group in shared.items() for face in group.values()}
    return [dataclasses.replace(face, photo=photo.get(face.id, face.photo)) for face in faces]


def few_each(counts: Iterable[int]) -> bool:
    """Whether groups of that many faces may be photographs: no more than six on average where there are several."""
    several = [count for count in counts if count > 1]
    return sum(several) <= _CROWD * len(several)


def _counts(group: Mapping[int, Face]) -> bool:
    numbers = sorted(group)
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def by_content(faces: Sequence[Face]) -> list[Face]:
    """The faces, those with the same image file or the same points together, with all that share a photograph with one.

    Points are the same to the last digit where a set shows one hand before several backgrounds (FreiHAND), or one face
    in several colours. Where many more faces share them, as in pictures that were aligned by their points, or all
    do, they say nothing, and neither do a few points. Only files of equal size are read.
    """
    of_size: dict[int, list[Face]] = defaultdict(list)
    for face in faces:
        of_size[_size(face.image)].append(face)
    same: dict[bytes, list[str]] = defaultdict(list)
    for alike in of_size.values():
        if len({face.photo for face in alike}) > 1:
            for face in alike:
                same[_digest(face.image)].append(face.photo)
    photo = _united([*same.values(), *_of_equal_points(faces)])
    return [dataclasses.replace(face, photo=photo.get(face.photo, face.photo)) for face in faces]


def _of_equal_points(faces: Sequence[Face]) -> list[list[str]]:
    """The photographs of faces with equal points, as far as these tell."""
    equal: dict[bytes, list[str]] = defaultdict(list)
    for face in faces:
        if (face.states != UNLABELLED).sum() >= _ENOUGH:
            equal[face.landmarks.tobytes() + face.states.tobytes()].append(face.photo)
    return list(equal.values()) if len(equal) > 1 and few_each(map(len, equal.values())) else []


def _united(groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """Name -> the first name, in the order of the alphabet, of all that groups connect it with."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for group in groups:
        roots = sorted({root(name) for name in group})
        for other in roots:
            first[other] = roots[0]
    return {name: root(name) for name in first}


def _size(image: File) -> int:
    if isinstance(image, Member):
        return image.size
    assert isinstance(image, Path)
    return image.stat().st_size if image.exists() else -1  # what is missing is found broken elsewhere


def _digest(image: File) -> bytes:
    return hashlib.sha256(image.read_bytes()).digest() if image.exists() else str(image).encode()


def described(faces: Sequence[Face]) -> str:
    """One line: how many photographs there are, with an example of faces that share one."""
    photos: dict[str, list[str]] = defaultdict(list)
    for face in faces:
        photos[face.photo].append(face.id)
    text = f"{len(faces)} faces of {len(photos)} photographs"
    largest = max(photos.values(), key=len, default=[])
    if len(largest) < 2:
        return text
    example = f"{largest[0]} and {largest[1]} count as one"
    return f"{text}: {example}; if that is wrong, say what names a photograph with --group"
