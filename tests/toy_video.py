"""Videos of bright rectangles, and a detector that takes them for faces."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from facemix.errors import FacemixError
from facemix.faces.geometry import landmark_box

WIDTH, HEIGHT = 96, 64
CORNERS = np.array([[0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]])
"""Of a face's five points, in its box."""

Box = tuple[float, float, float, float]


@dataclass
class Faces:
    boxes: np.ndarray
    points: np.ndarray
    errors: np.ndarray
    visible: np.ndarray


@dataclass
class Detector:
    """Takes each bright rectangle for a face; inside of a box it sees the brightest one that touches the box."""

    knows_errors: bool = True
    has_finder: bool = True
    blind: Callable[[int], bool] = lambda _: False
    """Whether the finder misses everything when it looks for the n-th time, from 0."""
    finder: object = None
    usual: float = 0.02
    looks: list[int] = field(default_factory=list)
    """How many faces were followed when the finder looked."""
    frames: list[int] = field(default_factory=list)

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> Faces:
        self.frames.append(len(boxes))
        points = np.array([self._points(image, box) for box in boxes]).reshape(-1, 5, 2)
        empty = np.array([np.isnan(face).any() for face in points], dtype=bool)
        points[empty] = boxes[empty][:, None, :2] + CORNERS * (boxes[empty][:, None, 2:] - boxes[empty][:, None, :2])
        errors = np.where(empty[:, None], 100.0, 0.5) * np.ones((len(boxes), 5))
        return self._faces(boxes, points, errors)

    def find(self, image: np.ndarray) -> Faces:
        if not self.has_finder:
            raise FacemixError("no finder: boxes are needed")
        self.looks.append(len(self.frames))
        found = np.zeros((0, 4)) if self.blind(len(self.looks) - 1) else rectangles(image)
        return self._faces(found, _points(found), np.full((len(found), 5), 0.5))

    def _points(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        x0, y0 = np.maximum(np.floor(box[:2]).astype(int), 0)
        x1, y1 = np.ceil(box[2:]).astype(int) + 1
        touched = [
            face for face in rectangles(image) if face[0] < x1 and face[2] > x0 and face[1] < y1 and face[3] > y0
        ]
        return _points(np.array(touched[:1]))[0] if touched else np.full((5, 2), np.nan)

    def _faces(self, boxes: np.ndarray, points: np.ndarray, errors: np.ndarray) -> Faces:
        unknown = np.full(errors.shape, np.nan)
        return Faces(boxes, points, errors if self.knows_errors else unknown, unknown)


def rectangles(image: np.ndarray) -> np.ndarray:
    """The boxes (n, 4) of bright areas, the largest first."""
    bright = (image.mean(axis=2) > 128).astype(np.uint8)
    _, _, areas, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    areas = areas[1:][np.argsort(-areas[1:, cv2.CC_STAT_AREA], kind="stable")]
    x, y, width, height, _ = areas.T.astype(float)
    return np.stack([x, y, x + width - 1, y + height - 1], axis=1)


def _points(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, None, :2] + CORNERS * (boxes[:, None, 2:] - boxes[:, None, :2])


def picture(faces: Iterable[Box], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame with bright rectangles x0, y0, x1, y1, ends included."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in faces:
        image[max(0, round(y0)) : max(0, round(y1) + 1), max(0, round(x0)) : max(0, round(x1) + 1)] = 255
    return image


def film(path: Path, frames: Sequence[np.ndarray], rate: float = 25.0, codec: str = "mp4v") -> Path:
    """Writes a video."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def boxes(faces: Sequence[object]) -> np.ndarray:
    """The tight boxes of tracked faces."""
    return landmark_box(np.array([face.points for face in faces]))
