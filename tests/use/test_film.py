"""Video files: what is read, and what is refused with which words."""

import io
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facemix.errors import FacemixError
from facemix.use import film
from toy_video import film as toy_film

FRAMES = [np.full((48, 64, 3), (20 * k, 60, 200 - 20 * k), dtype=np.uint8) for k in range(10)]


def frames(path: Path) -> list[film.Frame]:
    with film.opened(path) as video:
        return list(video)


def animated(path: Path, durations: list[int]) -> Path:
    pictures = [Image.fromarray(frame) for frame in FRAMES[: len(durations)]]
    data = io.BytesIO()
    pictures[0].save(
        data, path.suffix[1:].upper(), save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
    path.write_bytes(data.getvalue())
    return path


def test_frames_come_in_order_in_rgb_with_their_times(tmp_path: Path) -> None:
    read = frames(toy_film(tmp_path / "a.mp4", FRAMES))
    assert [frame.number for frame in read] == list(range(10))
    np.testing.assert_allclose([frame.time for frame in read], np.arange(10) / 25)
    for frame, expected in zip(read, FRAMES, strict=True):
        assert np.abs(frame.image.astype(int) - expected).max() <= 6


def test_frames_have_their_own_times_where_the_rate_varies(tmp_path: Path) -> None:
    read = frames(animated(tmp_path / "a.gif", [100, 200, 50, 100]))
    np.testing.assert_allclose([frame.time for frame in read], [0, 0.1, 0.3, 0.35])


def test_a_video_is_turned_as_the_file_says(tmp_path: Path) -> None:
    """The matrix in a track's header: phones hold their camera upright, and the file says so."""
    path = toy_film(tmp_path / "a.mp4", [frame * (np.arange(64) < 20)[:, None] for frame in FRAMES])
    data = path.read_bytes()
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    assert struct.unpack(">9i", data[place : place + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    quarter = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + quarter + data[place + 36 :])
    image = frames(path)[0].image
    assert image.shape == (64, 48, 3)
    assert image[:18].max() > 180  # what was left is above
    assert image[24:].max() < 20


@pytest.mark.parametrize(
    ("name", "is_video"), [("a.MP4", True), ("a.gif", True), ("a.webm", True), ("a.jpg", False), ("a.csv", False)]
)
def test_videos_are_known_by_their_suffix(tmp_path: Path, name: str, is_video: bool) -> None:
    assert film.is_video(tmp_path / name) == is_video


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_animated_pictures_are_known_by_their_content(tmp_path: Path, suffix: str) -> None:
    still = tmp_path / f"still.{suffix}"
    described = Image.Exif()
    described[270] = "with an extended header"
    Image.fromarray(FRAMES[0]).save(still, exif=described)
    assert film.is_video(animated(tmp_path / f"a.{suffix}", [100] * 3))
    assert not film.is_video(still)


def test_an_animated_png_is_read_as_a_video(tmp_path: Path) -> None:
    read = frames(animated(tmp_path / "a.png", [100] * 4))
    np.testing.assert_allclose([frame.time for frame in read], [0, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(read[3].image, FRAMES[3])


def refused(path: Path, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FacemixError, match=f"^{re.escape(str(path))}: {message}"):
        frames(path)
    assert capfd.readouterr().err == ""


def test_what_is_no_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path / "none.mp4", "no such file, expected a video", capfd)
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "0 bytes, expected a video; copy the file again", capfd)
    (tmp_path / "text.mp4").write_text("no video\n" * 99, encoding="utf-8")
    refused(tmp_path / "text.mp4", "no frame can be decoded: no video, cut off, or damaged; expected", capfd)
    whole = toy_film(tmp_path / "whole.mp4", FRAMES).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # its index stands at its end
    refused(tmp_path / "half.mp4", "no frame can be decoded: no video, cut off", capfd)
    refused(animated(tmp_path / "a.webp", [100] * 3), "an animated WebP, which cannot be decoded; convert it", capfd)


def test_a_video_without_frames_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    writer.release()
    refused(path, "no frame can be decoded", capfd)


def test_a_codec_that_cannot_be_decoded_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = toy_film(tmp_path / "a.avi", FRAMES, codec="MJPG")
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"ZZZ9"))
    refused(path, "no frame can be decoded, found the codec ZZZ9, expected H.264, .*; .* `ffmpeg -i a.avi", capfd)


@pytest.mark.parametrize(
    ("content", "codec"),
    [
        (b"stsd" + bytes(12) + b"mp4a" + bytes(99) + b"stsd" + bytes(12) + b"apcn", "apcn"),
        (b"\x1aE\xdf\xa3" + bytes(9) + b"A_OPUS" + bytes(9) + b"V_REAL/RV40\x00", "V_REAL/RV40"),
        (bytes(99) + b"vidsIV50", "IV50"),
    ],
)
def test_the_codec_is_read_from_the_container(
    tmp_path: Path, content: bytes, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    refused(path, f"no frame can be decoded, found the codec {codec}, expected", capfd)


def test_a_video_that_ends_early_gives_the_frames_that_there_are(tmp_path: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (30, 96, 128, 3), dtype=np.uint8))
    path = toy_film(tmp_path / "a.avi", noise, codec="MJPG")
    with film.opened(path) as video:
        assert len(list(video)) == 30
        assert not video.is_cut_off
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with film.opened(path) as video:
        assert 10 < len(list(video)) < 20
        assert video.is_cut_off
        assert video.count == 30


@pytest.mark.parametrize("height", [47, 48])
def test_a_written_film_has_all_pictures_and_grows_to_even_sides(tmp_path: Path, height: int) -> None:
    path = tmp_path / "new" / "a.mp4"
    with film.written(path, 12.5) as add:
        for frame in FRAMES:
            add(frame[:height, :63])
        assert not path.exists()
    read = frames(path)
    assert [frame.image.shape for frame in read] == [(48, 64, 3)] * 10
    np.testing.assert_allclose([frame.time for frame in read], np.arange(10) / 12.5)
    assert np.abs(read[4].image.astype(int) - FRAMES[4]).max() <= 6
    assert list(path.parent.iterdir()) == [path]


def test_a_film_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), film.written(tmp_path / "a.mp4", 25) as add:
        add(FRAMES[0])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_film_that_lacks_pictures_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the disk is full, of which OpenCV says nothing."""
    monkeypatch.setattr(film._Writer, "release", lambda writer: writer._film.write_bytes(b""))
    with (
        pytest.raises(OSError, match=r"a\.mp4: could not be written .*0 of 1 frames"),
        film.written(tmp_path / "a.mp4", 25) as add,
    ):
        add(FRAMES[0])
    assert not list(tmp_path.iterdir())


def test_pictures_too_large_for_the_format_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(FacemixError, match=r"a\.mp4: found frames of 9000 x 2 pixels, expected at most"),
        film.written(tmp_path / "a.mp4", 25) as add,
    ):
        add(np.zeros((2, 9000, 3), dtype=np.uint8))
