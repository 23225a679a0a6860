"""Video files: read frame by frame as a player shows them, and written whole or not at all."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.files import whole_file

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"}
    | {".ogv", ".gif", ".apng"}
)
"""What is taken for a video, in lower case."""
CODECS = "H.264, HEVC, VP8, VP9, AV1, MPEG-4 or Motion JPEG"
"""What FFmpeg in OpenCV's wheel decodes, and what usual files hold."""
RATE = 25.0
"""Frames per second where a file tells none that can be."""
FASTEST = 1000.0
SHORT = 0.02
"""Share of a video's time that may be missing at its end: containers round."""
MPEG4_SIDE = 8190
"""The longest side of a picture in MPEG-4 Part 2, pixels."""

Image = npt.NDArray[np.uint8]

# FFmpeg reads this once, when it is first used. The messages here say what is wrong.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_ENDS = 1 << 22  # bytes at both ends of a file in which the codec's name is looked for
_CODEC = (
    re.compile(rb"vids(\w{4})", re.DOTALL),  # AVI: stream header
    re.compile(rb"stsd.{12}(?!mp4a|ac-3|ec-3|Opus|sowt|twos|alac|samr|text|tx3g|tmcd)([\w ]{4})", re.DOTALL),  # MP4
    re.compile(rb"(V_[A-Z0-9/]+)"),  # Matroska, WebM
)


def is_video(path: Path) -> bool:
    """Whether a file is to be read as a video: by its suffix, or as an animated PNG or WebP by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    animated_png = head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]
    return animated_png or _is_animated_webp(head)


def _is_animated_webp(head: bytes) -> bool:
    return head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)  # the second bit of the flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of a video."""

    number: int
    """From 0."""
    time: float
    """Seconds from the start, as the file has it: rates may vary."""
    image: Image
    """(H, W, 3) RGB, turned as the file says."""


class Video:
    """A video that is read once, from its first frame to its last: `for frame in video`."""

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        self._path, self._capture = path, capture
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if 0 < rate <= FASTEST else RATE
        """Frames per second, the mean."""
        self.count = int(count) if 0 < count < 2**53 else None
        """How many frames the file says it has, which may be an estimate; None where it does not."""
        self.read = 0
        """How many frames were read."""
        self._time = -1 / self.rate

    def __iter__(self) -> Iterator[Frame]:
        while True:
            decoded, image = self._capture.read()
            if not decoded:
                break
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Streams without time stamps say 0 of each frame.
            self._time = time if np.isfinite(time) and time > self._time else self._time + 1 / self.rate
            self.read += 1
            yield Frame(number=self.read - 1, time=self._time, image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        if not self.read:
            raise FacemixError(_undecodable(self._path))

    @property
    def is_cut_off(self) -> bool:
        """Whether it ended well before the time that the file says."""
        return self.count is not None and self._time + 1 / self.rate < (1 - SHORT) * self.count / self.rate


@contextmanager
def opened(path: Path) -> Iterator[Video]:
    """A video file, to be read once.

    Raises:
        FacemixError: it is missing, empty or no video, or of a codec that cannot be decoded; iterating: no frame of it
            can be decoded.
    """
    if not path.is_file():
        raise FacemixError(f"{path}: no such file, expected a video")
    if not path.stat().st_size:
        raise FacemixError(f"{path}: 0 bytes, expected a video; copy the file again")
    capture = _capture(path)
    try:
        if not capture.isOpened():
            raise FacemixError(_undecodable(path))
        yield Video(path, capture)
    finally:
        capture.release()


def _capture(path: Path) -> cv2.VideoCapture:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # Absolute, so that no name is taken for a network address.
        return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _undecodable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        content = head + file.read(_ENDS)
    if _is_animated_webp(head):
        return f"{path}: an animated WebP, which cannot be decoded; convert it to MP4 or GIF"
    codec = next((match.group(1).decode() for pattern in _CODEC if (match := pattern.search(content))), None)
    if codec is None:
        return (
            f"{path}: no frame can be decoded: no video, cut off, or damaged; expected a video such as MP4 with "
            f"{CODECS}; play it to see whether it is whole, or copy it again"
        )
    return (
        f"{path}: no frame can be decoded, found the codec {codec.strip()}, expected {CODECS}; if a player shows it, "
        f"convert it, for example with `ffmpeg -i {path.name} -c:v mpeg4 -q:v 2 converted.mp4`"
    )


@contextmanager
def written(path: Path, rate: float) -> Iterator[Callable[[Image], None]]:
    """A function that adds a picture (H, W, 3) RGB to an MP4 file; the file is there when the block ends well.

    All pictures get the size of the first; an odd width or height grows by a pixel, which MPEG-4 needs.

    Args:
        path: the file.
        rate: frames per second.

    Raises:
        FacemixError: pictures that are too large for MPEG-4.
        OSError: the disk is full or read-only.
    """
    with whole_file(path) as beside:
        film = beside.with_name(f"{beside.name}.mp4")  # OpenCV tells the container by the suffix
        beside.touch()  # says why it cannot be written, which OpenCV does not
        writer = _Writer(path, film, rate)
        try:
            yield writer.add
            writer.close()
            film.replace(beside)
        finally:
            writer.release()
            film.unlink(missing_ok=True)


class _Writer:
    def __init__(self, path: Path, film: Path, rate: float) -> None:
        self._path, self._film, self._rate = path, film, rate
        self._writer = cv2.VideoWriter()
        self._size = (0, 0)
        self._count = 0

    def add(self, image: Image) -> None:
        if not self._count:
            self._open(*image.shape[:2])
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if even.shape[1::-1] != self._size:
            even = cv2.resize(even, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self._count += 1

    def _open(self, height: int, width: int) -> None:
        if max(height, width) > MPEG4_SIDE:
            raise FacemixError(
                f"{self._path}: found frames of {width} x {height} pixels, expected at most {MPEG4_SIDE} on a side for "
                "an MP4; leave --overlay out, or make the video smaller"
            )
        self._size = width + width % 2, height + height % 2
        self._writer.open(str(self._film.absolute()), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, self._size)
        if not self._writer.isOpened():
            raise OSError("OpenCV has no MPEG-4 encoder here")

    def close(self) -> None:
        """Makes sure that all pictures are in the file: OpenCV does not say when the disk is full."""
        self.release()
        capture = _capture(self._film)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if count != self._count:
            raise OSError(f"{count} of {self._count} frames are in it; is the disk full?")

    def release(self) -> None:
        self._writer.release()
