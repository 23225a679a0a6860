"""Pictures that a browser sends: limited in size, decoded, and kept nowhere."""

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from facemix.faces import images

NAME = Path("the picture")
"""What messages call it: its file's name stays in the browser."""
MEGABYTES = 20
"""The largest file."""
MEGAPIXELS = 64
"""The largest picture: decoded, it takes three bytes a pixel."""
TYPES = ("image/", "application/octet-stream")
"""A page of another site cannot send these without being asked: a form knows only others."""
KINDS = ("JPEG", "PNG", "WEBP")
KNOWN = (*KINDS, "GIF", "BMP", "TIFF")
"""What is told apart."""
SEVERAL = "MPO"
"""What Pillow calls a JPEG with more pictures behind the first, as some phones write them."""
EXPECTED = "expected a JPEG, PNG or WebP picture"


async def body(request: Request) -> bytes:
    """The body of a request, which is a picture's file.

    Raises:
        HTTPException: 413 for more than MEGABYTES, whatever the header says; 415 for a body of another type.
    """
    kind = request.headers.get("content-type", "none")
    if not kind.startswith(TYPES):
        raise HTTPException(
            415, f"Content-Type: found {kind[:100]}, expected the picture's file as the body, as image/jpeg"
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MEGABYTES * 1e6:
        raise _too_large(f"{int(declared) / 1e6:.1f} MB")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MEGABYTES * 1e6:
            raise _too_large(f"over {MEGABYTES} MB")
    return bytes(content)


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) RGB of a file.

    Raises:
        HTTPException: 413 for more than MEGAPIXELS, which are not decoded; 415 for something else than one picture.
        BrokenFace: a picture that is cut off or damaged.
    """
    if not data:
        raise HTTPException(400, f"{NAME}: 0 bytes, {EXPECTED}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, which are refused below
        try:
            with Image.open(io.BytesIO(data), formats=KNOWN) as head:
                kind, (width, height) = head.format, head.size
                animated = kind in KINDS and getattr(head, "is_animated", False)
        except Image.DecompressionBombError:
            raise _too_large(f"over {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels") from None
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise HTTPException(415, f"{NAME}: not a file that is known as a picture, {EXPECTED}") from None
    if kind not in (*KINDS, SEVERAL):
        raise HTTPException(415, f"{NAME}: found a {kind}, {EXPECTED}")
    if animated:
        raise HTTPException(415, f"{NAME}: found an animated {kind}, {EXPECTED} that is still")
    if width * height > MEGAPIXELS * 1e6:
        raise _too_large(f"{width} x {height} pixels ({width * height / 1e6:.0f} megapixels)")
    return images.decode(NAME, data)


def _too_large(found: str) -> HTTPException:
    return HTTPException(
        413, f"{NAME}: found {found}, expected at most {MEGABYTES} MB and {MEGAPIXELS} megapixels; make it smaller"
    )
