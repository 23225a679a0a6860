"""Image files: decoded to RGB, or refused with a reason."""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces import integrity
from facemix.faces.face import BrokenFace, File

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""What the formats' readers take for an image, in lower case."""


def read_image(path: File) -> npt.NDArray[np.uint8]:
    """The image (H, W, 3) uint8 RGB as a viewer displays it: points refer to the displayed image.

    The orientation in EXIF is applied, grey is repeated, 16 bits are rounded to 8. Alpha is dropped: the renders that
    have it (DGFaces v2) are opaque everywhere, and the colour beneath is the whole picture.

    Raises:
        BrokenFace: the file is missing, empty, no image, cut off or damaged.
    """
    return decode(path, read_bytes(path))


def read_bytes(path: File) -> bytes:
    """The content of an image file.

    Raises:
        BrokenFace: the file cannot be read, or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BrokenFace(path, f"cannot be read ({reason}), expected an image; restore the file") from None
    if not data:
        raise BrokenFace(path, "0 bytes, expected an image; copy the file again")
    return data


def contents(path: File) -> bytes:
    """A digest of an image file's bytes: equal where the same image would be decoded.

    Raises:
        BrokenFace: as `read_bytes` does.
    """
    return digest(read_bytes(path))


def digest(data: bytes) -> bytes:
    """The digest that `contents` gives of a file with these bytes."""
    return hashlib.sha256(data).digest()


def decode(path: File, data: bytes) -> npt.NDArray[np.uint8]:
    """The image that an image file's bytes hold, as `read_image` returns it; `path` is for messages only."""
    if reason := integrity.flaw(data):
        raise BrokenFace(path, f"{reason}; copy the file again")
    try:
        # Without IMREAD_UNCHANGED, OpenCV applies the orientation in EXIF and repeats grey.
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise BrokenFace(path, "not an image that can be decoded, expected a JPEG or PNG; replace the file")
    if integrity.is_filled_up(data, image):
        raise BrokenFace(path, "cut off: a part of the picture is missing before its end marker; copy the file again")
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 257 = 255, rounded
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[no-any-return]


LARGEST_BOX = 100
"""Side of a box / side of the picture."""


def check_inside(path: File, image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float64]) -> None:
    """Raises BrokenFace for a box (xyxy) without a pixel of the image, or so large that no face is to be seen in it.

    Parts of a face may lie outside.
    """
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in boxes.tolist():
        if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
            found = ",".join(f"{value:g}" for value in (x0, y0, x1, y1))
            raise BrokenFace(path, f"the box {found} lies outside the picture of {width} x {height} pixels")
        if max(x1 - x0, y1 - y0) > LARGEST_BOX * max(width, height):
            found = ",".join(f"{value:g}" for value in (x0, y0, x1, y1))
            raise BrokenFace(
                path,
                f"the box {found} is over {LARGEST_BOX} times as large as the picture of {width} x {height} pixels",
            )
