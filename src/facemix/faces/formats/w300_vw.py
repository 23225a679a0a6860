"""300-VW (Shen et al., 2015): a folder for each video, with `vid.avi` and `annot/NNNNNN.pts` for each of its frames.

Frames are counted from 1, and so are the pixels of the `.pts`. The pictures are inside of the videos, so they cannot be
imported as they are: `extract` writes each frame that has points as JPEG, and a table that the format `csv` reads. All
frames of a video stand together as one photograph. Its number says whether it trains or tests officially, and in which
category it tests.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace
from facemix.faces.formats import pairs, points, pts
from facemix.faces.parallel import on_all_cores
from facemix.faces.schemes import Scheme, ibug68

_VIDEOS = (".avi", ".mp4", ".mkv", ".mov", ".m4v")
_ANNOTATIONS = "annot"
_QUALITY = 95
"""Of the JPEG files; the videos themselves are compressed further."""

TABLE = "points.csv"

_LISTS = {
    ("train", ""): """
        001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037
        039 041 043 044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225
    """,
    ("test", "category_1"): """
        114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514
        515 518 519 520 521 522 524 525 537 538 540 541 546 547 548
    """,
    ("test", "category_2"): "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553",
    ("test", "category_3"): "410 411 516 517 526 528 529 530 531 533 557 558 559 562",
}
OFFICIAL: Mapping[str, tuple[str, str]] = {name: key for key, names in _LISTS.items() for name in names.split()}
"""Number of a video -> its official split and, for test, its category: well lit, unconstrained, arbitrary."""

Row = list[str]


@dataclass(frozen=True, slots=True)
class _Sequence:
    name: str
    """Its path below the root."""
    video: Path
    frames: Mapping[int, Path]
    """Number, from 1 -> file of points."""


def extract(root: Path, folder: Path, every: int = 1) -> list[BrokenFace]:
    """Writes the frames of all videos below a folder, and a table of their points; returns what is broken.

    Args:
        root: the folder of the set.
        folder: an empty folder, which they are written into.
        every: k, where only the frames 1, 1 + k, 1 + 2 k and so on are wanted.

    Raises:
        FacemixError: there is no such video, or no frame is whole: all of them are listed.
        OSError: the disk is full.
    """
    scheme = ibug68()
    sequences = list(_sequences(root, every))
    if not sequences:
        raise FacemixError(f"{root}: no folder with a video and {_ANNOTATIONS}/*.pts; check the path")
    written = on_all_cores(lambda sequence: _write(sequence, folder, scheme), sequences, "extracting", "video")
    broken = [face for _, faces in written for face in faces]
    rows = [row for found, _ in written for row in found]
    if not rows:
        listed = "".join(f"\n  {face}" for face in broken)
        raise FacemixError(f"{root}: all {len(broken)} frames are broken; restore their files:{listed}")
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        axes = [f"{point}_{axis}" for point in scheme.points for axis in "xy"]
        writer.writerow(["image", "sequence", "split", "subset", *axes])
        writer.writerows(rows)
    return broken


def _sequences(root: Path, every: int) -> Iterator[_Sequence]:
    for folder in pairs.folders(root):
        annotations = pairs.files(folder / _ANNOTATIONS, [".pts"])
        if not annotations:
            continue
        videos = pairs.files(folder, _VIDEOS)
        if len(videos) != 1:
            found = " and ".join(path.name for path in videos) or "none"
            raise FacemixError(f"{folder}: expected one video beside {_ANNOTATIONS}/, found {found}; correct it")
        if unnumbered := [path for path in annotations if not path.stem.isdecimal()]:
            raise FacemixError(f"{unnumbered[0]}: expected the number of a frame as name; rename or remove the file")
        frames = {int(path.stem): path for path in annotations if (int(path.stem) - 1) % every == 0}
        yield _Sequence(folder.relative_to(root).as_posix(), videos[0], frames)


def _write(sequence: _Sequence, folder: Path, scheme: Scheme) -> tuple[list[Row], list[BrokenFace]]:
    """Writes the frames of one video; their rows of the table, and what is broken."""
    name = sequence.video.parent.name if sequence.name == "." else sequence.name
    split, category = OFFICIAL.get(Path(name).name, ("", ""))
    rows, broken = [], []
    whole: dict[int, Row] = {}
    for number, path in sequence.frames.items():
        try:
            landmarks, _ = points.checked(path, pts.parse(path), scheme, origin=1)
            whole[number] = [f"{value:.9g}" for value in landmarks.ravel().tolist()]
        except BrokenFace as face:
            broken.append(face)
    there = set()
    for number, frame in _frames(sequence.video, sorted(whole)):
        there.add(number)
        image = f"{name}/{number:06d}.jpg"
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(data.tobytes())
        rows.append([image, name, split, category, *whole[number]])
    broken += [
        BrokenFace(sequence.frames[number], f"no frame {number} in {sequence.video}; restore it or remove the points")
        for number in whole
        if number not in there
    ]
    return rows, broken


def _frames(video: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a video with these numbers, from 1 and rising, as far as it has them."""
    capture = cv2.VideoCapture(str(video))
    try:
        at = 0
        for number in wanted:
            while at < number:
                if not capture.grab():
                    return
                at += 1
            there, frame = capture.retrieve()
            if not there:
                return
            yield number, frame
    finally:
        capture.release()
