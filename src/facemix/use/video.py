"""Faces of a video: followed, written as they come, drawn, and how much their points tremble."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import geometry
from facemix.faces.drawing import RADIUS, draw_box, draw_number, draw_points
from facemix.faces.face import BrokenFace
from facemix.faces.images import check_inside
from facemix.files import whole_file
from facemix.use import film, jitter
from facemix.use.detector import Detector, listed
from facemix.use.jitter import Jitter
from facemix.use.smoothing import OneEuro
from facemix.use.tracks import Doubles, TrackedFace, Tracker

OUT = (".json", ".csv")
COLUMNS = ("video", "frame", "time", "track", "point", "x", "y", "error", "visible")
FACE_PER_RADIUS = 120
"""Longer side of a face's box / radius of its drawn points."""
LISTED = 20
"""Tracks in the summary."""

Write = Callable[[film.Frame, Sequence[TrackedFace]], None]


@dataclass(slots=True)
class Track:
    """What is known of one face when the video ends."""

    first: int
    """The first frame with it, from 0."""
    last: int
    raw: Jitter = field(default_factory=Jitter)
    """Of the points as the network gives them."""
    smoothed: Jitter = field(default_factory=Jitter)
    """Of those that were written, where they are smoothed."""


@dataclass(slots=True)
class Summary:
    """What was found in a video."""

    path: Path
    frames: int = 0
    tracks: dict[int, Track] = field(default_factory=dict)
    """By their numbers."""
    is_smoothed: bool = False

    def lines(self) -> list[str]:
        """The summary as text: the video, and a line for each of its first tracks."""
        if not self.tracks:
            return [f"{self.path}: no face found in {self.frames} frames"]
        total = self._trembling(
            [track.raw for track in self.tracks.values()], [t.smoothed for t in self.tracks.values()]
        )
        lines = [f"{self.path}: {self.frames} frames, {_counted(len(self.tracks), 'face')}, {total}"]
        for number, track in list(self.tracks.items())[:LISTED]:
            several = f"frames {track.first} to {track.last}"
            lines.append(f"  track {number}: {several}, {self._trembling([track.raw], [track.smoothed])}")
        if len(self.tracks) > LISTED:
            lines.append(f"  and {len(self.tracks) - LISTED} more")
        return lines

    def _trembling(self, raw: list[Jitter], smoothed: list[Jitter]) -> str:
        before, after = jitter.overall(raw), jitter.overall(smoothed)
        if math.isnan(before):
            return "too short for a jitter"
        return f"jitter {before:.3f} % of the face" + (f", smoothed {after:.3f} %" if self.is_smoothed else "")


def follow(
    detector: Detector,
    path: Path,
    *,
    boxes: Doubles | None = None,
    out: Path | None = None,
    overlay: Path | None = None,
    smooth: bool = False,
) -> Summary:
    """Finds and follows the faces of a video, and prints on the standard error what was found.

    Args:
        detector: of a trained model.
        path: the video.
        boxes: (n, 4) xyxy pixels, tight around the landmarks of the faces in the first frame, which then are the only
            ones that are followed. Without them the detector looks for faces.
        out: a .json or .csv file; by default JSON goes to the standard output.
        overlay: a folder for the video with boxes, points and track numbers drawn in, `NAME.mp4`.
        smooth: write points that are smoothed over time.

    Raises:
        FacemixError: the video, a box or a path cannot be used, or the detector needs boxes; nothing is written.
        OSError: the disk is full or read-only.
    """
    drawing = None if overlay is None else overlay / f"{path.stem}.mp4"
    _check_targets(path, out, drawing)
    summary = Summary(path, is_smoothed=smooth)
    filters: dict[int, OneEuro] = {}
    with film.opened(path) as video, ExitStack() as files:
        found = followed(detector, path, video, boxes)
        for frame, faces in tqdm(found, "following", total=video.count, unit="frame", disable=None):
            if not summary.frames:  # nothing is written of a video that cannot be decoded
                record = files.enter_context(_recorded(out, path))
                draw = files.enter_context(nullcontext() if drawing is None else film.written(drawing, video.rate))
            shown = _smoothed(filters, frame, faces) if smooth else faces
            _count(summary, frame, faces, shown)
            record(frame, shown)
            if draw is not None:
                draw(drawn(frame.image, shown))
    _report(summary, video, out)
    return summary


def followed(
    detector: Detector, path: Path, video: film.Video, boxes: Doubles | None = None
) -> Iterator[tuple[film.Frame, list[TrackedFace]]]:
    """Each frame of a video with its faces, as the network gives them; arguments as of `follow`."""
    tracker = Tracker(detector, boxes)
    for frame in video:
        if boxes is not None and not frame.number:
            try:
                check_inside(path, frame.image, boxes)
            except BrokenFace as error:
                raise FacemixError(str(error)) from None
        yield frame, tracker.next(frame.image)


def drawn(image: npt.NDArray[np.uint8], faces: Sequence[TrackedFace]) -> npt.NDArray[np.uint8]:
    """A copy of a frame (H, W, 3) RGB with each face's points, the box around them, and its number."""
    for face in faces:
        box = geometry.landmark_box(face.points)
        radius = max(RADIUS, float(geometry.square_side(box)) / FACE_PER_RADIUS)
        image = draw_box(image, box, max(1, round(radius / 2)))
        image = draw_points(image, face.points, radius)
        image = draw_number(image, face.track, box[:2], 9 * radius)
    return image


def _check_targets(path: Path, out: Path | None, drawing: Path | None) -> None:
    if out is not None and out.suffix not in OUT:
        raise FacemixError(f"--out {out}: found {out.suffix or 'no extension'}, expected one of {', '.join(OUT)}")
    for target in (out, drawing):
        if target is not None and target.resolve() == path.resolve():
            raise FacemixError(f"{target}: would be overwritten, but it is the video; give another --out or --overlay")


def _smoothed(filters: dict[int, OneEuro], frame: film.Frame, faces: Sequence[TrackedFace]) -> list[TrackedFace]:
    """The faces with smoothed points; `filters` holds a filter for each face of the frame before, then of this one."""
    for ended in filters.keys() - {face.track for face in faces}:
        del filters[ended]
    return [
        replace(face, points=filters.setdefault(face.track, OneEuro())(frame.time, face.points, _size(face)))
        for face in faces
    ]


def _size(face: TrackedFace) -> float:
    return float(geometry.square_side(geometry.landmark_box(face.points)))


def _count(summary: Summary, frame: film.Frame, faces: Sequence[TrackedFace], shown: Sequence[TrackedFace]) -> None:
    summary.frames = frame.number + 1
    for face, smooth in zip(faces, shown, strict=True):
        track = summary.tracks.setdefault(face.track, Track(frame.number, frame.number))
        track.last = frame.number
        track.raw.add(frame.time, face.points, _size(face))
        track.smoothed.add(frame.time, smooth.points, _size(face))


def _report(summary: Summary, video: film.Video, out: Path | None) -> None:
    if video.is_cut_off:
        print(
            f"{summary.path}: ends early, after {video.read} of {video.count} frames; what was found until then is "
            "kept; copy the file again if it should be longer",
            file=sys.stderr,
        )
    print("\n".join(summary.lines()), file=sys.stderr)
    if out is not None:
        print(f"{out}: {_counted(len(summary.tracks), 'face')} in {summary.frames} frames")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


@contextmanager
def _recorded(out: Path | None, path: Path) -> Iterator[Write]:
    """A function that writes the faces of each frame as they come, to a file or as JSON to the standard output."""
    with ExitStack() as stack:
        if out is None:
            file: TextIO = sys.stdout
        else:
            beside = stack.enter_context(whole_file(out))
            file = stack.enter_context(beside.open("w", newline="", encoding="utf-8"))
        if out is not None and out.suffix == ".csv":
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            yield lambda frame, faces: table.writerows(row for face in faces for row in rows(path, frame, face))
        else:
            file.write("[")
            between = "\n"

            def write(frame: film.Frame, faces: Sequence[TrackedFace]) -> None:
                nonlocal between
                for face in faces:
                    file.write(between + json.dumps(as_object(path, frame, face), ensure_ascii=False))
                    between = ",\n"

            yield write
            file.write("\n]\n")


def rows(path: Path, frame: film.Frame, face: TrackedFace) -> list[dict[str, object]]:
    """A row of COLUMNS for each point; what the model does not know is empty."""
    common = {"video": str(path), "frame": frame.number, "time": round(frame.time, 4), "track": face.track}
    numbers = zip(listed(face.points), listed(face.errors), listed(face.visible, 3), strict=True)
    return [
        common | {"point": point, "x": x, "y": y, "error": error, "visible": visible}
        for point, ((x, y), error, visible) in enumerate(numbers)
    ]


def as_object(path: Path, frame: film.Frame, face: TrackedFace) -> Mapping[str, Any]:
    """A face of a frame for JSON; what the model does not know is null."""
    return {
        "video": str(path),
        "frame": frame.number,
        "time": round(frame.time, 4),
        "track": face.track,
        "box": listed(face.box),
        "landmarks": listed(face.points),
        "errors": listed(face.errors),
        "visible": listed(face.visible, 3),
    }
