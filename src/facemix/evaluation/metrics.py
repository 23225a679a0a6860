"""Errors of facial landmarks: NME, failure rate, AUC and CED. Pure functions on arrays; all errors in per cent.

NME as in the 300-W benchmark: C. Sagonas et al., "300 faces in-the-wild challenge: database and results", IVC 2016.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.geometry import landmark_box
from facemix.faces.landmarks import IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE, OUTER_EYE_CORNERS, REGIONS

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


def _distance(a: Floats, b: Floats) -> Doubles:
    distance: Doubles = np.linalg.norm(a.astype(np.float64) - b, axis=-1)
    return distance


def _box_sides(points: Floats) -> Doubles:
    box = landmark_box(points)
    return box[..., 2:] - box[..., :2]


def _inter_pupil(points: Floats) -> Doubles:
    eyes = [points[..., list(eye), :].astype(np.float64).mean(axis=-2) for eye in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE)]
    return _distance(eyes[0], eyes[1])


NORMALIZERS: dict[str, Callable[[Floats], Doubles]] = {
    "outer_eye": lambda points: _distance(points[..., OUTER_EYE_CORNERS[0], :], points[..., OUTER_EYE_CORNERS[1], :]),
    "inter_pupil": _inter_pupil,
    "box_side": lambda points: np.sqrt(_box_sides(points).prod(axis=-1)),
    "box_diagonal": lambda points: np.linalg.norm(_box_sides(points), axis=-1),
}
"""Face size in pixels (...,) of points (..., 68, 2). `box_side` is the geometric mean of the tight box's sides."""


def point_errors(predicted: Floats, truth: Floats, normalizer: str = "outer_eye") -> Doubles:
    """Distance of each point to its ground truth, in % of the face size.

    Args:
        predicted: (n, 68, 2) pixels.
        truth: (n, 68, 2) pixels.
        normalizer: a key of `NORMALIZERS`; measured on the ground truth.

    Returns:
        (n, 68) per cent.

    Raises:
        FacemixError: a face of zero size, which has no NME.
    """
    size = NORMALIZERS[normalizer](truth)
    if not np.all(size > 0):
        raise FacemixError(f"{normalizer} of face {int(np.argmin(size > 0))} is {size.min()}: its NME is undefined")
    errors: Doubles = 100 * _distance(predicted, truth) / size[:, None]
    return errors


def nme(predicted: Floats, truth: Floats, normalizer: str = "outer_eye") -> Doubles:
    """Normalised mean error of each face: (n,) per cent, the mean of `point_errors` over the 68 points."""
    return np.asarray(point_errors(predicted, truth, normalizer).mean(axis=-1))


def by_region(errors: Floats) -> dict[str, Doubles]:
    """NME (...) of each region of REGIONS: the mean of `point_errors` (..., 68) over its points.

    All regions are normalised by the same face size, so the NME of a face is their mean, weighted by their points.
    """
    return {name: errors[..., list(points)].astype(np.float64).mean(axis=-1) for name, points in REGIONS.items()}


def failure_rate(errors: Floats, threshold: float) -> float:
    """Share of faces, in %, whose error lies above the threshold (both in %); errors (n,)."""
    return 100 * float(np.mean(errors > threshold))


def ced(errors: Floats, thresholds: Floats) -> Doubles:
    """Cumulative error distribution: the share (m,) of faces in [0, 1] with an error <= each threshold (m,)."""
    return np.searchsorted(np.sort(errors), thresholds, side="right") / len(errors)


def auc(errors: Floats, threshold: float) -> float:
    """Area under the CED from 0 to the threshold, divided by the threshold: in [0, 1], exact.

    The CED is a sum of steps, one per face, so its area is the mean of what lies between each error and the threshold.
    """
    return float(np.mean(np.clip(1 - errors / threshold, 0, None)))
