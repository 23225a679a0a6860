"""Pictures that are not whole are refused wherever they were cut; whole ones never."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemix.faces.face import BrokenFace
from facemix.faces.images import SUFFIXES, decode, read_image

_Y, _X = np.mgrid[0:120, 0:100]
PICTURE = np.stack([100 + 60 * np.sin(_X / 7) + _Y / 3, 120 + 50 * np.cos(_Y / 9), 90 + _X / 2 + _Y / 4], axis=-1)
PICTURE = (PICTURE + np.random.default_rng(0).normal(0, 6, PICTURE.shape)).clip(0, 255).astype(np.uint8)
GREY_CORNERS = PICTURE.copy()
GREY_CORNERS[:40] = GREY_CORNERS[-40:] = 128
END = b"\xff\xd9"

KINDS = {
    "sequential": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "full colour": {"subsampling": 0},
}


def jpeg(picture=PICTURE, mode="RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def png(picture=PICTURE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def refused(data: bytes) -> str | None:
    try:
        decode(Path("picture"), data)
    except BrokenFace as broken:
        return broken.reason
    return None


@pytest.mark.parametrize(
    "picture", [PICTURE, GREY_CORNERS, np.full_like(PICTURE, 128)], ids=["face", "corners", "grey"]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_jpegs_pass(picture, mode, kind):
    assert refused(jpeg(picture, mode, **KINDS[kind])) is None
    assert refused(jpeg(picture, mode, **KINDS[kind]) + b"appended" + jpeg()) is None


@pytest.mark.parametrize("picture", [PICTURE, GREY_CORNERS], ids=["face", "corners"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("tail", [b"", END, jpeg()], ids=["no end", "an end", "a whole one"])
def test_jpegs_cut_anywhere_are_refused(picture, mode, kind, share, tail):
    data = jpeg(picture, mode, **KINDS[kind])
    scans = data.index(b"\xff\xda") + 16
    assert refused(data[: scans + int(share * (len(data) - scans))] + tail) is not None


def test_what_is_missing_is_said():
    assert "more up to the image's end marker; copy the file again" in str(refused(jpeg()[:3000]))
    assert "a part of the picture is missing before its end marker" in str(refused(jpeg()[:3000] + END))
    assert "last scans of a progressive JPEG are missing" in str(refused(jpeg(progressive=True)[:2000] + END))


@pytest.mark.parametrize("k", range(1, 190, 7))
def test_jpegs_cut_between_restarts_are_refused(k):
    data = jpeg(mode="L", restart_marker_blocks=1)
    at = -1
    for _ in range(k):
        at = min(found for n in range(8) if (found := data.find(bytes([0xFF, 0xD0 + n]), at + 1)) > 0)
    for cut in (at, at + 1, at + 2):
        assert refused(data[:cut] + END) is not None


def test_a_turned_jpeg_that_is_cut_is_refused():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(exif=exif)
    assert refused(data) is None
    assert refused(data[: len(data) * 2 // 3] + END) is not None


def test_whole_png_passes_and_every_cut_is_refused():
    data = png()
    assert refused(data) is None
    assert refused(data + b"appended") is None
    for at in range(40, len(data), len(data) // 40):
        assert refused(data[:at]) is not None
        assert refused(data[:at] + data[-12:]) is not None


def test_a_png_with_a_wrong_byte_is_refused():
    data = bytearray(png())
    data[len(data) // 2] ^= 1
    assert "checksum of its part IDAT is wrong" in str(refused(bytes(data)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_png_that_lacks_whole_parts_is_refused():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100, 120, 8, 2, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PICTURE))
    start, end = b"\x89PNG\r\n\x1a\n" + header, chunk(b"IEND", b"")
    assert refused(start + chunk(b"IDAT", rows[:9000]) + chunk(b"IDAT", rows[9000:]) + end) is None
    assert "no end" in str(refused(start + chunk(b"IDAT", rows[:9000]) + end))


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["300w", "synthetic"])
def test_real_pictures_are_whole(shared_data, folder):
    files = sorted(path for path in (shared_data / folder).rglob("*") if path.suffix in SUFFIXES)
    assert len(files) > 1000
    for path in files[::10]:  # `test_real_sets_are_whole` looks at all of them
        read_image(path)
