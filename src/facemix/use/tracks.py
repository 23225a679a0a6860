"""Faces followed from frame to frame: each face keeps its number as long as it is seen.

The box of a face follows from its points in the frame before. The face finder looks from time to time for new faces,
and at once when a face is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import landmark_box
from facemix.use.credible import credible, doubled, overlaps
from facemix.use.detector import Detector, Faces

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LOOK_EVERY = 10
"""Frames from one search for new faces to the next: a third of a second of usual video."""
SAME = 0.3
"""Overlap of two boxes, intersection / union, from which a found face is a followed one."""
UNSEEN = 3
"""Searches in a row that do not find a face after which it counts as lost, where points have no expected error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFace:
    """One face of one frame."""

    track: int
    """Its number: from 0 in the order of appearance, never given twice."""
    box: Doubles
    """(4,) xyxy pixels: what the network was shown."""
    points: Doubles
    """(K, 2) pixels."""
    errors: Doubles
    """(K,) the expected distance of each point from the truth, pixels; NaN where the model has no calibration."""
    visible: Doubles
    """(K,) probability that the point is seen; NaN where the model does not know."""


def assigned(scores: Doubles, least: float) -> dict[int, int]:
    """Pairs of rows and columns of a table (n, m), the highest score first, each row and column at most once.

    Args:
        scores: such as overlaps.
        least: a pair below it is none.
    """
    scores = scores.copy()
    pairs: dict[int, int] = {}
    while scores.size and scores.max() >= least:
        row, column = (int(place) for place in np.unravel_index(scores.argmax(), scores.shape))
        pairs[row] = column
        scores[row], scores[:, column] = -np.inf, -np.inf
    return pairs


class Tracker:
    """Follows the faces of a video, one frame after the other.

    Args:
        detector: finds faces, and their points.
        boxes: (n, 4) xyxy pixels, tight around the landmarks of the faces in the first frame. Only these are followed
            then, and the detector needs no finder.
    """

    def __init__(self, detector: Detector, boxes: Doubles | None = None) -> None:
        self._detector = detector
        self._looks = boxes is None
        self._boxes = np.zeros((0, 4)) if boxes is None else boxes
        self._numbers = list(range(len(self._boxes)))
        self._next = len(self._boxes)
        self._frames = 0
        self._unseen: dict[int, int] = {}

    def next(self, image: npt.NDArray[np.uint8]) -> list[TrackedFace]:
        """The faces of the next frame (H, W, 3) uint8 RGB, oldest first.

        Raises:
            FacemixError: there were no boxes, and the detector has no finder.
        """
        faces, good, lost = self._followed(image)
        if self._looks and (lost or self._frames % LOOK_EVERY == 0):
            faces = self._looked(image, faces, good)
        else:
            faces = [face for face, fine in zip(faces, good, strict=True) if fine]
        self._boxes = _tight(faces)
        self._numbers = [face.track for face in faces]
        self._frames += 1
        return faces

    def _followed(self, image: npt.NDArray[np.uint8]) -> tuple[list[TrackedFace], Mask, bool]:
        """The faces of the frame before in this one, whether each is credible, and whether any was lost.

        Of two that show one face, the younger is left out.
        """
        if not self._numbers:
            return [], np.zeros(0, dtype=bool), False
        height, width = image.shape[:2]
        found = self._detector.predict(image, self._boxes)
        good = credible(found.points, found.errors, width, height, self._detector.usual)
        alone = ~doubled(np.where(good[:, None], landmark_box(found.points), self._boxes))
        faces = [face for face, single in zip(_rows(found, self._numbers), alone, strict=True) if single]
        return faces, good[alone], not (good & alone).all()

    def _looked(self, image: npt.NDArray[np.uint8], faces: list[TrackedFace], good: Mask) -> list[TrackedFace]:
        """The faces with those that the finder sees: one that was not credible goes on from there, or ends."""
        seen = _rows(self._detector.find(image))
        shown = np.array([face.box for face in faces]).reshape(-1, 4)
        pairs = assigned(overlaps(np.where(good[:, None], _tight(faces), shown), _tight(seen)), SAME)
        kept = []
        for k, face in enumerate(faces):
            if good[k] and not self._is_forgotten(face, k in pairs):
                kept.append(face)
            elif k in pairs:
                kept.append(replace(seen[pairs[k]], track=face.track))
        new = [face for k, face in enumerate(seen) if k not in pairs.values()]
        again = doubled(_tight([*kept, *new]))[len(kept) :]
        for face, known in zip(new, again, strict=True):
            if not known:
                kept.append(replace(face, track=self._next))
                self._next += 1
        return kept

    def _is_forgotten(self, face: TrackedFace, seen: bool) -> bool:
        """Whether a face without expected errors was missed by the finder too often in a row."""
        times = 0 if seen or not np.isnan(face.errors).all() else self._unseen.get(face.track, 0) + 1
        self._unseen[face.track] = times
        return times >= UNSEEN


def _rows(faces: Faces, numbers: Sequence[int] | None = None) -> list[TrackedFace]:
    return [
        TrackedFace(
            track=-1 if numbers is None else numbers[k],
            box=faces.boxes[k],
            points=faces.points[k],
            errors=faces.errors[k],
            visible=faces.visible[k],
        )
        for k in range(len(faces.boxes))
    ]


def _tight(faces: Sequence[TrackedFace]) -> Doubles:
    """The boxes (n, 4) around the points of faces."""
    return landmark_box(np.array([face.points for face in faces])) if faces else np.zeros((0, 4))
