"""What can be found out only by decoding the images."""

import hashlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from facemix.faces import integrity
from facemix.faces.face import BrokenFace, Face, File
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.images import decode, read_bytes
from facemix.faces.parallel import on_all_cores


def check(faces: Sequence[Face]) -> list[BrokenFace]:
    """Decodes every image and returns what is broken, in the order of the faces.

    Broken are: an image that cannot be decoded, is not whole or is damaged; a point more than one side of the landmark
    box, or of the image, beyond the border of the image (less is valid: a face may be cut off there); a face that is
    there twice, with the same image and points.
    """
    results = on_all_cores(_look_at, faces, "checking faces")
    decoded = [face.image for face, result in zip(faces, results, strict=True) if isinstance(result, bytes)]
    damaged = _damaged(decoded)
    broken: list[BrokenFace] = []
    first: dict[bytes, Face] = {}
    for face, result in zip(faces, results, strict=True):
        if isinstance(result, BrokenFace):
            broken.append(result)
        elif face.image in damaged:
            broken.append(damaged[face.image])
        elif (twin := first.setdefault(result, face)) is not face:
            reason = f"the same face twice: image and points equal those of {twin.image}; remove one of them"
            broken.append(BrokenFace(face.image, reason))
    return broken


def _damaged(images: Sequence[File]) -> dict[File, BrokenFace]:
    """The pictures of which libjpeg complains; one after the other, as its complaints do not say which they are of."""
    found = {}
    for path in tqdm(dict.fromkeys(images), "checking pictures", unit="picture", disable=None):
        if complaint := integrity.complaint(read_bytes(path)):
            found[path] = BrokenFace(path, f"damaged: the JPEG decoder says {complaint!r}; copy the file again")
    return found


def _look_at(face: Face) -> bytes | BrokenFace:
    """A digest of the face's image file and points, or what is broken."""
    try:
        data = read_bytes(face.image)
        height, width = decode(face.image, data).shape[:2]
    except BrokenFace as broken:
        return broken
    border = np.array([width - 1, height - 1])
    beyond = np.maximum(-face.landmarks, face.landmarks - border).max(axis=1)
    worst = int(np.nanargmax(beyond))
    side = float(square_side(landmark_box(face.landmarks)))
    limit, of = min(
        (side, "of the landmark box"), (float(max(width, height)), "of the image")
    )  # the box holds the point
    if beyond[worst] > limit:
        return BrokenFace(
            face.image,
            f"point {worst} lies {beyond[worst]:.0f} px outside the image of {width} x {height}, expected at most the "
            f"side {of}, {limit:.0f} px; are these the points of this image? Correct or remove the face",
        )
    return hashlib.sha256(data + face.landmarks.tobytes()).digest()
