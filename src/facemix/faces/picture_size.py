"""The size of a picture as a viewer shows it, from the head of its file."""

import io
from pathlib import Path

from PIL import Image

from facemix.faces.face import BrokenFace, File

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations of EXIF that change width and height."""


def picture_size(path: File) -> tuple[int, int]:
    """Width and height in pixels, with the orientation in EXIF applied, as points refer to them.

    Raises:
        BrokenFace: the file is missing or no image.
    """
    try:
        # Of a file on disk only the head is read.
        with Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes())) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except BrokenFace:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenFace(path, f"not an image whose size can be read ({error}); replace the file") from None
    return (height, width) if turned else (width, height)
