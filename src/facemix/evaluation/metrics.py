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

THRESHOLDS: dict[str, tuple[int, ...]] = {
    "outer_eye": (8, 10),
    "inter_pupil": (10,),
    "box_side": (7,),
    "box_diagonal": (4,),
}
"""Errors in % of each face size above which a face counts as failed; the AUC reaches to the first of them.

They are the field's own where it has any: 8 % of the outer-eye distance on 300-W (H. Fan and E. Zhou, "Approaching
human level facial landmark localization by deep learning", IVC 2016) and 10 % on WFLW (W. Wu et al., "Look at
Boundary", CVPR 2018); 10 % of the inter-pupil distance on COFW (X. Burgos-Artizzu et al., "Robust face landmark
estimation under occlusion", ICCV 2013); 7 % of the box side (A. Bulat and G. Tzimiropoulos, "How far are we from
solving the 2D & 3D face alignment problem?", ICCV 2017). The box diagonal has none: 4 % of it lies between 8 and 10 %
of the outer-eye distance, which are 3.4 and 4.3 % of the diagonal (by the median ratio of 2566 faces of 300-W).
"""


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
    """Share of faces, in %, whose error lies above the threshold (both in %); errors (n,), NaN among the failures."""
    return 100 * float(np.mean(~(errors <= threshold)))


def ced(errors: Floats, thresholds: Floats) -> Doubles:
    """Cumulative error distribution: the share (m,) of faces in [0, 1] with an error <= each threshold (m,).

    An error that is NaN is above all of them.
    """
    return np.searchsorted(np.sort(errors), thresholds, side="right") / len(errors)


def auc(errors: Floats, threshold: float) -> float:
    """Area under the CED from 0 to the threshold, divided by the threshold: in [0, 1], exact.

    The CED is a sum of steps, one per face, so its area is the mean of what lies between each error and the threshold.
    A NaN has no part in it.
    """
    return float(np.mean(np.fmax(1 - errors / threshold, 0)))


def rates(errors: Floats, normalizer: str) -> dict[str, float]:
    """Failure rates and AUC of errors (n,) at the THRESHOLDS of a face size: `fr8` in %, `auc8` in [0, 1]."""
    thresholds = THRESHOLDS[normalizer]
    found = [*(failure_rate(errors, threshold) for threshold in thresholds), auc(errors, thresholds[0])]
    return dict(zip(rate_names(normalizer), found, strict=True))


def rate_names(normalizer: str) -> list[str]:
    """The names of `rates`: `fr8`, `fr10` and `auc8` of the outer-eye distance."""
    thresholds = THRESHOLDS[normalizer]
    return [*(f"fr{threshold}" for threshold in thresholds), f"auc{thresholds[0]}"]
