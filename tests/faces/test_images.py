from pathlib import Path

import cv2
import numpy as np
import pytest

from facemix.faces.face import BrokenFace
from facemix.faces.images import read_image

RED = np.zeros((20, 40, 3), np.uint8)
RED[:, :10, 0] = 200  # the left quarter, in RGB


def write(path: Path, rgb: np.ndarray) -> Path:
    """Writes RGB, RGBA or grey."""
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, order[rgb.shape[2]]) if rgb.ndim == 3 else rgb)
    return path


def with_exif(jpeg: bytes, tail: bytes) -> bytes:
    """The JPEG with an EXIF segment: orientation 6 (turn clockwise to display), and a tail."""
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00" + bytes(4)
    segment = b"Exif\x00\x00" + tiff + tail
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def test_png_is_read_as_rgb(tmp_path):
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", RED)), RED)


def test_upper_case_suffix(tmp_path):
    assert read_image(write(tmp_path / "a.JPG", RED)).shape == (20, 40, 3)


@pytest.mark.parametrize(
    "value, expected", [(0, 0), (128, 0), (129, 1), (257, 1), (65406, 254), (65407, 255), (65535, 255)]
)
def test_16_bits_are_rounded_to_8(tmp_path, value, expected):
    image = read_image(write(tmp_path / "a.png", np.full((4, 4, 3), value, np.uint16)))
    assert image.dtype == np.uint8
    assert np.unique(image).tolist() == [expected]


def test_alpha_is_dropped_and_the_colour_beneath_kept(tmp_path):
    alpha = np.full((20, 40, 1), 65535, np.uint16)
    alpha[:5] = 0
    image = read_image(write(tmp_path / "a.png", np.concatenate([RED.astype(np.uint16) * 257, alpha], axis=2)))
    np.testing.assert_array_equal(image, RED)


def test_grey_is_repeated(tmp_path):
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", RED[..., 0])), RED[..., [0, 0, 0]])


def test_exif_orientation_is_applied(tmp_path):
    path = write(tmp_path / "a.jpg", RED)
    path.write_bytes(with_exif(path.read_bytes(), tail=b""))
    image = read_image(path)
    assert image.shape == (40, 20, 3)
    assert image[2, 10, 0] > 150 > image[-2, 10, 0]  # the left quarter is displayed at the top


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_cut_off(tmp_path, capfd, suffix, share):
    path = write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BrokenFace, match="cut off") as error:
        read_image(path)
    assert error.value.path == path
    assert capfd.readouterr().err == ""


def test_cut_off_behind_an_embedded_thumbnail(tmp_path):
    path = write(tmp_path / "a.jpg", RED)
    data = with_exif(path.read_bytes(), tail=path.read_bytes())
    path.write_bytes(data[:-2])
    with pytest.raises(BrokenFace, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_bytes_after_the_end_do_not_matter(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", RED)
    path.write_bytes(path.read_bytes() + b"appended by a camera" * 100)
    assert read_image(path).shape == (20, 40, 3)


def test_missing(tmp_path):
    with pytest.raises(BrokenFace, match="cannot be read"):
        read_image(tmp_path / "a.png")


def test_folder(tmp_path):
    with pytest.raises(BrokenFace, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("content, reason", [(b"", "0 bytes"), (b"<html>not found</html>", "not an image")])
def test_not_an_image(tmp_path, content, reason):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BrokenFace, match=reason):
        read_image(path)
