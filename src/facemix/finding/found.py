"""What a face finder gives, and how several sightings of one face become one box."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

SAME = 0.3
"""Two boxes whose intersection / union is above it show one face (as in MediaPipe's graph of BlazeFace)."""
INSIDE = 0.6
"""A box of which more than this share lies in a surer one shows a part of that face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The faces of one picture, the surest first."""

    boxes: Doubles
    """(n, 4) xyxy, pixels of the picture, 0-based with integers at pixel centres; their middles lie in it."""
    scores: Doubles
    """(n,) 0 to 1."""


def merged(boxes: Doubles, scores: Doubles) -> Found:
    """One box for each face: the mean of all boxes that show it, weighted by their scores.

    The mean lies steadier than the surest box alone (Bazarevsky et al. 2019, section 3.3).

    Args:
        boxes: (n, 4) xyxy, a face may have many.
        scores: (n,) 0 to 1.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept = np.zeros((0, 4))
    kept_scores: list[float] = []
    while len(boxes):
        same = intersections(boxes[0], boxes) > SAME * (areas(boxes[0]) + areas(boxes)) / (1 + SAME)
        same[0] = True  # also where it has no area
        box = np.average(boxes[same], axis=0, weights=scores[same])
        if not (intersections(box, kept) > INSIDE * areas(box)).any():
            kept = np.concatenate([kept, box[None]])
            kept_scores.append(float(scores[0]))
        boxes, scores = boxes[~same], scores[~same]
    return Found(boxes=kept, scores=np.array(kept_scores, dtype=np.float64))


def areas(boxes: Doubles) -> Doubles:
    """The areas (...,) of boxes (..., 4) xyxy."""
    return np.asarray(np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1))


def intersections(one: Doubles, other: Doubles) -> Doubles:
    """The areas (...,) that boxes (..., 4) share with others (..., 4)."""
    extent = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    return np.asarray(np.prod(extent.clip(0), axis=-1))
