"""Pictures that somebody sends: limited in size, and looked at before they are decoded."""

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from facemix.errors import FacemixError
from facemix.faces import images

MEGABYTES = 20
"""The largest file."""
MEGAPIXELS = 64
"""The largest picture: decoded, it takes three bytes a pixel."""
KINDS = ("JPEG", "PNG", "WEBP")
KNOWN = (*KINDS, "GIF", "BMP", "TIFF")
"""What is told apart."""
SEVERAL = "MPO"
"""What Pillow calls a JPEG with more pictures behind the first, as some phones write them."""
EXPECTED = "expected a JPEG, PNG or WebP picture"

BAD_REQUEST, TOO_LARGE, OF_ANOTHER_TYPE = 400, 413, 415


class RefusedError(FacemixError):
    """An upload that is not taken."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """As HTTP counts them."""


def decode(name: Path, data: bytes) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) RGB of a file's content.

    Args:
        name: what messages call it.
        data: the content.

    Raises:
        RefusedError: more than MEGABYTES or MEGAPIXELS, or something else than one picture; none of it is decoded.
        BrokenFace: a picture that is cut off or damaged.
    """
    if not data:
        raise RefusedError(BAD_REQUEST, f"{name}: 0 bytes, {EXPECTED}")
    if len(data) > MEGABYTES * 1e6:
        raise too_large(name, f"{len(data) / 1e6:.1f} MB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, which are refused below
        try:
            with Image.open(io.BytesIO(data), formats=KNOWN) as head:
                kind, (width, height) = head.format, head.size
                animated = kind in KINDS and getattr(head, "is_animated", False)
        except Image.DecompressionBombError:
            raise too_large(name, f"over {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels") from None
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise RefusedError(OF_ANOTHER_TYPE, f"{name}: not an image that can be read, {EXPECTED}") from None
    if kind not in (*KINDS, SEVERAL):
        raise RefusedError(OF_ANOTHER_TYPE, f"{name}: found a {kind}, {EXPECTED}")
    if animated:
        raise RefusedError(OF_ANOTHER_TYPE, f"{name}: found an animated {kind}, {EXPECTED} that is still")
    if width * height > MEGAPIXELS * 1e6:
        raise too_large(name, f"{width} x {height} pixels ({width * height / 1e6:.0f} megapixels)")
    return images.decode(name, data)


def too_large(name: Path, found: str) -> RefusedError:
    """What to raise for a picture that is too large.

    Args:
        name: what the message calls it.
        found: its size.
    """
    return RefusedError(
        TOO_LARGE,
        f"{name}: found {found}, expected at most {MEGABYTES} MB and {MEGAPIXELS} megapixels; make it smaller",
    )
