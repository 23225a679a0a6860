"""Whether an image file holds its whole picture: OpenCV fills up what is missing and carries on."""

import io
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)  # in the data of a scan, 0xff 0x00 is a byte of data
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_COEFFICIENTS = 64
# What could go on in a scan: bytes without a marker, then the same after each restart marker, one of which is expected.
_MORE = b"".join(restart + bytes(range(1, 0xFF)) for restart in (b"", *(bytes([0xFF, 0xD0 + k]) for k in range(8))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jpeg:
    """What the markers of a JPEG tell."""

    components: int
    progressive: bool
    missing: bool
    """Some bits of some coefficients are in no scan."""
    end: int
    """Where the end marker stands."""


def flaw(data: bytes) -> str | None:
    """What the structure of a file shows to be missing or damaged, before it is decoded; None where it looks whole.

    Only JPEG and PNG are looked at. Whatever follows the end of the picture does not matter.
    """
    if data.startswith(_PNG):
        return _png_flaw(data)
    if data.startswith(_JPEG):
        return _jpeg_flaw(data)
    return None


def is_filled_up(data: bytes, image: npt.NDArray[np.uint8]) -> bool:
    """Whether the data of a JPEG end before its picture does.

    What is missing of a sequential JPEG is decoded as grey up to the last block. A picture without grey in any corner
    (the file may turn it) is whole. For the others, and for progressive ones, whose lack is blur, more data are put
    before the end marker: a whole picture stays as it is, because the decoder has no use for them.

    Args:
        data: the file, in which `flaw` finds nothing.
        image: (H, W, 3) as decoded.
    """
    if not data.startswith(_JPEG) or (jpeg := _parse(data)) is None:
        return False
    if not jpeg.progressive and jpeg.components in (1, 3) and not _grey_corner(image):
        return False
    scans, end = data[: jpeg.end], bytes([0xFF, _END])
    return _pixels(scans + end) != _pixels(scans + _MORE + end)


def complaint(data: bytes) -> str:
    """What libjpeg says, inside of OpenCV, of a JPEG that is damaged in its middle; "" where it finds nothing.

    It decodes such a file all the same. It says so on the standard error of the process only, which is caught
    meanwhile: no two threads may call this at once.
    """
    if not data.startswith(_JPEG):
        return ""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            # All data are looked at, and least is computed.
            cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except cv2.error:
            return ""  # not a picture at all, which `decode` refuses
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.readline().decode(errors="replace").strip().removeprefix("Corrupt JPEG data: ")


def _grey_corner(image: npt.NDArray[np.uint8]) -> bool:
    """Whether a corner has the luma that stands for nothing; its colour may have run in from a neighbour."""
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
    return bool((np.abs(corners @ np.array([0.299, 0.587, 0.114]) - 128) < 3).any())


def _pixels(data: bytes) -> bytes | None:
    """A JPEG decoded by Pillow, which, unlike OpenCV, is silent about surplus data; None where it refuses the file."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.tobytes()
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None


def _jpeg_flaw(data: bytes) -> str | None:
    jpeg = _parse(data)
    if jpeg is None:
        return f"cut off: {len(data)} bytes found, expected more up to the image's end marker"
    return "cut off: the last scans of a progressive JPEG are missing" if jpeg.missing else None


def _parse(data: bytes) -> _Jpeg | None:
    """Reads the markers up to the end marker; None where there is none, or where another picture begins before it.

    Segments are stepped over: an embedded thumbnail has an end marker of its own.
    """
    progressive = False
    bits: dict[int, list[int]] = {}  # of each component: the lowest bit of each coefficient that was sent
    at = len(_JPEG)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _START:
            return None
        if marker == _END:
            missing = any(max(sent) > 0 for sent in bits.values())
            return _Jpeg(components=len(bits), progressive=progressive, missing=missing, end=found.start())
        if marker in _ALONE:
            continue
        segment = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        at += 2 + len(segment)
        try:
            if marker in _FRAMES:
                progressive = marker in _PROGRESSIVE
                bits = {segment[6 + 3 * i]: [_COEFFICIENTS] * _COEFFICIENTS for i in range(segment[5])}
            elif marker == _SCAN:
                _take_scan(segment, bits, progressive)
        except (IndexError, KeyError, ValueError):  # a segment that ends too early
            return None
    return None


def _take_scan(segment: bytes, bits: dict[int, list[int]], progressive: bool) -> None:
    """Notes what a scan with this header sends."""
    n = segment[0]
    first, last, approximation = segment[1 + 2 * n : 4 + 2 * n] if progressive else (0, _COEFFICIENTS - 1, 0)
    for i in range(n):
        sent = bits[segment[1 + 2 * i]]
        for k in range(first, min(last, _COEFFICIENTS - 1) + 1):
            sent[k] = approximation & 0x0F


def _png_flaw(data: bytes) -> str | None:
    inflate = zlib.decompressobj()
    for kind, content, whole in _chunks(data):
        if kind[:1].isupper() and not whole:  # what lower case begins is not needed for the picture
            return f"damaged: the checksum of its part {kind.decode('latin-1')} is wrong"
        if kind == b"IEND":
            return None if inflate.eof else "cut off: the compressed picture has no end"
        if kind == b"IDAT":
            try:
                while content and not inflate.eof:
                    inflate.decompress(content, 1 << 20)
                    content = inflate.unconsumed_tail
            except zlib.error as error:
                return f"damaged: the compressed picture cannot be read ({error})"
    return f"cut off: {len(data)} bytes found, expected more up to the image's end marker"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, content and whether the checksum is right, of each whole part of a PNG."""
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        yield (
            data[at + 4 : at + 8],
            data[at + 8 : end],
            zlib.crc32(data[at + 4 : end]) == int.from_bytes(data[end : end + 4], "big"),
        )
        at = end + 4
