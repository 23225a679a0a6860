"""Faces cut out of their pictures into a shard of a pack, and what a shard is made of."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces import geometry
from facemix.faces.face import BrokenFace, Face
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


@cache
def code() -> str:
    """A digest of the code that may decide a crop."""
    found = hashlib.sha256()
    for name in CODE:
        found.update(f"{name}\0".encode() + Path(__file__).with_name(name).read_bytes() + b"\0")
    return found.hexdigest()


def cut(crops: Crops, folder: Path, progress: Progress) -> Cropped:
    """Decodes images and writes crops to a file of `folder`, on all cores; the memory is given back on the way.

    Raises:
        OSError: the disk is full or read-only.
    """
    n = len(crops.faces)
    beside, shape = folder / f"{crops.source}.npy", (n, crops.size, crops.size, 3)
    written: np.memmap[tuple[int, ...], np.dtype[np.uint8]] = np.lib.format.open_memmap(
        beside, mode="w+", dtype=np.uint8, shape=shape
    )
    reserve(beside)
    sizes = np.zeros((n, 2), np.int64)

    def cut_one(i: int) -> bytes | BrokenFace:
        face = crops.faces[i]
        try:
            data = read_bytes(face.image)
            image = decode(face.image, data)
        except BrokenFace as broken:
            return broken
        sizes[i] = image.shape[:2]
        written[i] = geometry.warp(image, crops.transforms[i], crops.size)
        if i % _RELEASED == 0:
            release(written)
        return digest(data)

    found = []
    for one in in_turn(cut_one, range(n)):
        found.append(one)
        progress(1)
    broken = [one for one in found if isinstance(one, BrokenFace)]
    if broken:
        beside.unlink()
        return Cropped(name="", images="", sizes=sizes, broken=broken)
    images = hashlib.sha256(b"".join(one for one in found if isinstance(one, bytes))).hexdigest()
    written.flush()
    name = f"{crops.source}-{_digest(written)}.npy"
    beside.replace(folder / name)
    return Cropped(name=name, images=images, sizes=sizes, broken=[])


def _digest(crops: npt.NDArray[np.uint8]) -> str:
    found = hashlib.sha256()
    for start in range(0, len(crops), _RELEASED):
        found.update(crops[start : start + _RELEASED].data)
        release(crops)
    return found.hexdigest()[:16]
