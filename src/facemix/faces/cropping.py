"""Faces cut out of their pictures into a shard of a pack, and what a shard is made of."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces import geometry
from facemix.faces.face import BrokenFace, Face, File
from facemix.faces.images import contents, decode, digest, read_bytes
from facemix.faces.mapped import release, reserve
from facemix.faces.parallel import in_turn

CODE = (
    "cropping.py",
    "face.py",
    "geometry.py",
    "images.py",
    "integrity.py",
    "mapped.py",
    "schemes.py",
)
"""What of `facemix.faces` may decide a crop: this module and what it imports."""

_RELEASED = 256  # crops after which the memory of those that are written is given back

Progress = Callable[[int], object]
"""Told of each number of faces that are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """A shard's worth of faces, and how they are cut out."""

    source: str
    faces: Sequence[Face]
    transforms: npt.NDArray[np.float64]
    """(n, 2, 3) image-to-crop."""
    size: int
    """Of a crop, pixels."""

    def recipe(self) -> str:
        """A digest of all that decides the crops but the contents of the images: faces, points, crops, code."""
        schemes = [scheme.as_dict() for scheme in {id(face.scheme): face.scheme for face in self.faces}.values()]
        found = hashlib.sha256(json.dumps([code(), cv2.__version__, np.__version__, schemes, self.size]).encode())
        for face, transform in zip(self.faces, self.transforms, strict=True):
            found.update(json.dumps([self.source, face.id]).encode())
            found.update(face.landmarks.tobytes() + transform.tobytes())
        return found.hexdigest()

    def images(self) -> str | None:
        """A digest of the contents of all images; None where one cannot be read."""
        found = hashlib.sha256()
        try:
            for one in in_turn(lambda face: contents(face.image), self.faces):
                found.update(one)
        except BrokenFace:
            return None
        return found.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropped:
    """What came of a shard's worth of faces."""

    name: str
    """Of the file: source and contents."""
    images: str
    """As `Crops.images`: of the very bytes that were decoded."""
    sizes: npt.NDArray[np.int64]
    """(n, 2) height and width of the images."""
    broken: Sequence[BrokenFace]
    """If there are any, there is no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOut:
    """A face that was cut out."""

    crop: npt.NDArray[np.uint8]
    """(S, S, 3) RGB."""
    size: tuple[int, int]
    """Height and width of the image."""
    digest: bytes
    """Of the image file, as `images.contents`."""


CutAll = Callable[[Crops], Iterable[tuple[int, CutOut | BrokenFace]]]
"""Cuts out each face, in any order: its number, and what came of it."""


@cache
def code() -> str:
    """A digest of the code that may decide a crop."""
    found = hashlib.sha256()
    for name in CODE:
        found.update(f"{name}\0".encode() + Path(__file__).with_name(name).read_bytes() + b"\0")
    return found.hexdigest()


def cut(crops: Crops, folder: Path, progress: Progress, cut_all: CutAll) -> Cropped:
    """Decodes images and writes crops to a file of `folder`; the memory is given back on the way.

    Args:
        crops: what to cut out.
        folder: where the file goes.
        progress: told of each face.
        cut_all: what cuts the faces out, such as `here`.

    Raises:
        OSError: the disk is full or read-only.
    """
    n = len(crops.faces)
    beside, shape = folder / f"{crops.source}.npy", (n, crops.size, crops.size, 3)
    written: np.memmap[Any, Any] = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=shape)
    reserve(beside)
    sizes, digests, broken = np.zeros((n, 2), np.int64), [b""] * n, {}
    for done, (i, one) in enumerate(cut_all(crops)):
        if isinstance(one, BrokenFace):
            broken[i] = one
        else:
            written[i], sizes[i], digests[i] = one.crop, one.size, one.digest
        if done % _RELEASED == 0:
            release(written)
        progress(1)
    if broken:
        beside.unlink()
        return Cropped(name="", images="", sizes=sizes, broken=[broken[i] for i in sorted(broken)])
    written.flush()
    name = f"{crops.source}-{_digest(written)}.npy"
    beside.replace(folder / name)
    return Cropped(name=name, images=hashlib.sha256(b"".join(digests)).hexdigest(), sizes=sizes, broken=[])


def here(crops: Crops) -> Iterator[tuple[int, CutOut | BrokenFace]]:
    """Cuts faces out on all cores of this machine."""

    def cut_one(i: int) -> CutOut | BrokenFace:
        image = crops.faces[i].image
        try:
            return cut_out(image, read_bytes(image), crops.transforms[i], crops.size)
        except BrokenFace as broken:
            return broken

    yield from enumerate(in_turn(cut_one, range(len(crops.faces))))


def cut_out(image: File, data: bytes, transform: npt.NDArray[np.float64], size: int) -> CutOut:
    """A face cut out of an image file's bytes.

    Args:
        image: what messages call it.
        data: its bytes.
        transform: (2, 3) image-to-crop.
        size: of the crop, pixels.

    Raises:
        BrokenFace: as `images.decode`.
    """
    picture = decode(image, data)
    height, width = picture.shape[:2]
    return CutOut(crop=geometry.warp(picture, transform, size), size=(height, width), digest=digest(data))


def _digest(crops: npt.NDArray[np.uint8]) -> str:
    found = hashlib.sha256()
    for start in range(0, len(crops), _RELEASED):
        found.update(crops[start : start + _RELEASED].data)
        release(crops)
    return found.hexdigest()[:16]
