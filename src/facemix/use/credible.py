"""Which of the faces that were looked at are faces, and none twice."""

import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.images import LARGEST_BOX
from facemix.finding.found import areas, intersections

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

UNSURE = 4.0
"""Expected error of a face / that of usual faces, above which what is seen there is no face.

Both are means over the points, in sides of the box around them. On 300-W, real faces have up to 3.5, an ear 4.3.
"""
SMALLEST = 8.0
"""Side of a box in pixels below which there is no face to be seen."""
DOUBLE = 0.6
"""Overlap of two boxes, intersection / union, from which they show one face. Heads side by side overlap far less."""


def overlaps(a: Doubles, b: Doubles) -> Doubles:
    """Intersection / union (n, m) of boxes (n, 4) and (m, 4) xyxy; 0 of boxes without extent or with a NaN."""
    shared = intersections(a[:, None], b[None])
    union = areas(a)[:, None] + areas(b)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def doubled(boxes: Doubles) -> Mask:
    """Whether a box (n, 4) shows the face (n,) of an earlier one that does not itself."""
    same = overlaps(boxes, boxes) >= DOUBLE
    found = np.zeros(len(boxes), dtype=bool)
    for k in range(1, len(boxes)):
        found[k] = bool((same[k, :k] & ~found[:k]).any())
    return found


def unsure(points: Doubles, errors: Doubles, usual: float) -> Mask:
    """Whether so large errors are expected of points (n, K, 2) that what is seen there is no face (n,).

    Args:
        errors: (n, K) expected; NaN says nothing.
        usual: the expected error of usual faces, in sides of the box around their points.
    """
    return np.asarray(errors.mean(axis=1) > UNSURE * usual * square_side(landmark_box(points)))


def credible(points: Doubles, errors: Doubles, width: int, height: int, usual: float) -> Mask:
    """Whether points (n, K, 2) with expected errors (n, K) can be faces (n,) of a picture of so many pixels.

    The middle of their box lies in the picture, the box has a size, and the expected error is not too large for it. An
    error that is NaN says nothing.

    Args:
        usual: the expected error of usual faces, in sides of the box around their points.
    """
    boxes = landmark_box(points)
    middle, side = (boxes[:, :2] + boxes[:, 2:]) / 2, square_side(boxes)
    inside = ((middle >= 0) & (middle <= [width - 1, height - 1])).all(axis=1)
    sized = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (side >= SMALLEST) & (side <= LARGEST_BOX * max(width, height))
    known = np.isfinite(points).all(axis=(1, 2))
    return np.asarray(inside & sized & known & ~unsure(points, errors, usual))
