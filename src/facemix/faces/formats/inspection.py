"""What can be found out only by decoding the images."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.faces import integrity
from facemix.faces.face import BrokenFace, Face, File
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.images import decode, read_bytes
from facemix.faces.parallel import on_all_cores

Inspected = bytes | BrokenFace
"""A digest of a face's image file and points, or what is broken."""
InspectAll = Callable[[Sequence[Face]], Sequence[Inspected]]
"""Inspects faces, in their order."""


def check(faces: Sequence[Face], inspect_all: InspectAll | None = None) -> list[BrokenFace]:
    """Decodes every image and returns what is broken, in the order of the faces.

    Broken are: an image that cannot be decoded, is not whole or is damaged; a point more than one side of the landmark
    box, or of the image, beyond the border of the image (less is valid: a face may be cut off there); a face that is
    there twice, with the same image and points.

    Args:
        inspect_all: looks at single faces; by default on all cores of this machine.
    """
    results = (inspect_all or here)(faces)
    broken: list[BrokenFace] = []
    first: dict[bytes, Face] = {}
    for face, result in zip(faces, results, strict=True):
        if isinstance(result, BrokenFace):
            broken.append(result)
        elif (twin := first.setdefault(result, face)) is not face:
            reason = f"the same face twice: image and points equal those of {twin.image}; remove one of them"
            broken.append(BrokenFace(face.image, reason))
    return broken


def here(faces: Sequence[Face]) -> list[Inspected]:
    """Inspects faces on all cores of this machine."""
    results: list[Inspected] = on_all_cores(_read_and_inspect, faces, "checking faces")
    decoded = [face.image for face, result in zip(faces, results, strict=True) if isinstance(result, bytes)]
    # One after the other, as libjpeg's complaints do not say which picture they are of.
    pictures = tqdm(dict.fromkeys(decoded), "checking pictures", unit="picture", disable=None)
    found = {path: damaged(path, read_bytes(path)) for path in pictures}
    return [found.get(face.image) or result for face, result in zip(faces, results, strict=True)]


def _read_and_inspect(face: Face) -> Inspected:
    try:
        return inspect(face.image, read_bytes(face.image), face.landmarks)
    except BrokenFace as broken:
        return broken


def damaged(path: File, data: bytes) -> BrokenFace | None:
    """Whether libjpeg complains of a picture that it decodes all the same; no two threads may ask at once."""
    complaint = integrity.complaint(data)
    reason = f"damaged: the JPEG decoder says {complaint!r}; copy the file again"
    return BrokenFace(path, reason) if complaint else None


def inspect(path: File, data: bytes, landmarks: npt.NDArray[np.float32]) -> Inspected:
    """Looks at one face.

    Args:
        path: of the image, for messages.
        data: the content of the image file.
        landmarks: (K, 2), pixels.
    """
    try:
        height, width = decode(path, data).shape[:2]
    except BrokenFace as broken:
        return broken
    border = np.array([width - 1, height - 1])
    beyond = np.maximum(-landmarks, landmarks - border).max(axis=1)
    worst = int(np.nanargmax(beyond))
    side = float(square_side(landmark_box(landmarks)))
    limit, of = min(
        (side, "of the landmark box"), (float(max(width, height)), "of the image")
    )  # the box holds the point
    if beyond[worst] > limit:
        return BrokenFace(
            path,
            f"point {worst} lies {beyond[worst]:.0f} px outside the image of {width} x {height}, expected at most the "
            f"side {of}, {limit:.0f} px; are these the points of this image? Correct or remove the face",
        )
    return hashlib.sha256(data + landmarks.tobytes()).digest()
