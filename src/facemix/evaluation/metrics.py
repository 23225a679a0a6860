"""Errors of facial landmarks: NME, failure rate, AUC and CED. Pure functions on arrays; all errors in per cent.

NME as in the 300-W benchmark: C. Sagonas et al., "300 faces in-the-wild challenge: database and results", IVC 2016.
"""

import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.geometry import landmark_box
from facemix.faces.schemes import Scheme

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


def _distance(a: Floats, b: Floats) -> Doubles:
    distance: Doubles = np.linalg.norm(a.astype(np.float64) - b, axis=-1)
    return distance


def _box_sides(points: Floats) -> Doubles:
    box = landmark_box(points)
    return box[..., 2:] - box[..., :2]


BOX_SIZES: Mapping[str, tuple[float, ...]] = {"box_side": (7,), "box_diagonal": (4,)}
"""The face sizes that every scheme has, with the errors in % of them above which a face counts as failed.

Those of a scheme stand in its file. 7 % of the box side: A. Bulat and G. Tzimiropoulos, "How far are we from solving
the 2D & 3D face alignment problem?", ICCV 2017. The box diagonal has none in the field: 4 % of it lies between 8 and
10 % of the outer-eye distance, which are 3.4 and 4.3 % of the diagonal (by the median ratio of 2566 faces of 300-W).
"""

AUTO = "auto"
"""In the place of a normaliser: the one that the scheme names."""


def resolved(normalizer: str, scheme: Scheme) -> str:
    """The name of a face size of a scheme.

    Raises:
        FacemixError: the scheme has no such size.
    """
    name = scheme.normalizer if normalizer == AUTO else normalizer
    known = (*scheme.face_sizes, *BOX_SIZES)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise FacemixError(
            f"params.yaml: evaluation.normalizer: found {name!r}{hint}, but the scheme {scheme.name} has "
            f"{', '.join(known)}; choose one of them, or {AUTO}"
        )
    return name


def thresholds(scheme: Scheme, normalizer: str) -> tuple[float, ...]:
    """Errors in % of a face size above which a face counts as failed; the AUC reaches to the first of them."""
    name = resolved(normalizer, scheme)
    return BOX_SIZES[name] if name in BOX_SIZES else scheme.face_sizes[name].thresholds


def face_size(points: Floats, scheme: Scheme, normalizer: str = AUTO) -> Doubles:
    """Face size in pixels (...,) of points (..., K, 2); NaN where a point that it needs is unlabelled.

    `box_side` is the geometric mean of the tight box's sides, `box_diagonal` its diagonal; others are the distance
    between the means of two groups of points.
    """
    name = resolved(normalizer, scheme)
    if name == "box_side":
        return np.asarray(np.sqrt(_box_sides(points).prod(axis=-1)))
    if name == "box_diagonal":
        return np.asarray(np.linalg.norm(_box_sides(points), axis=-1))
    first, second = (_middle(points, group) for group in scheme.face_sizes[name].between)
    return _distance(first, second)


def _middle(points: Floats, group: Sequence[int]) -> Floats:
    own = points[..., list(group), :]
    return own[..., 0, :] if len(group) == 1 else own.astype(np.float64).mean(axis=-2)


def point_errors(predicted: Floats, truth: Floats, scheme: Scheme, normalizer: str = AUTO) -> Doubles:
    """Distance of each point to its ground truth, in % of the face size.

    Args:
        predicted: (n, K, 2) pixels.
        truth: (n, K, 2) pixels; NaN where unlabelled.
        scheme: of the points.
        normalizer: a face size of the scheme; measured on the ground truth.

    Returns:
        (n, K) per cent; NaN where unlabelled.

    Raises:
        FacemixError: a face without a size, which has no NME.
    """
    name = resolved(normalizer, scheme)
    size = face_size(truth, scheme, name)
    if not np.all(size > 0):
        without = np.flatnonzero(~(size > 0))
        raise FacemixError(
            f"{len(without)} of {len(size)} faces have no {name}, the first is {without[0]}: its NME is undefined. "
            "Expected the points that this size needs in different places; choose evaluation.normalizer: box_side in "
            "params.yaml, or remove the faces"
        )
    errors: Doubles = 100 * _distance(predicted, truth) / size[:, None]
    return errors


def nme(predicted: Floats, truth: Floats, scheme: Scheme, normalizer: str = AUTO) -> Doubles:
    """Normalised mean error of each face: (n,) per cent, the mean of `point_errors` over the labelled points."""
    return mean_of_labelled(point_errors(predicted, truth, scheme, normalizer))


def mean_of_labelled(errors: Floats) -> Doubles:
    """The mean (...,) over the points of errors (..., K) that are not NaN; NaN where all are."""
    labelled = ~np.isnan(errors)
    if labelled.all():
        return np.asarray(errors.mean(axis=-1), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(labelled, errors, 0).sum(axis=-1) / labelled.sum(axis=-1), dtype=np.float64)


def by_region(errors: Floats, scheme: Scheme) -> dict[str, Doubles]:
    """NME (...) of each region of the scheme: the mean of `point_errors` (..., K) over its labelled points.

    All regions are normalised by the same face size, so where regions share no point and leave none out, the NME of a
    fully labelled face is their mean, weighted by their points.
    """
    return {
        name: mean_of_labelled(errors[..., list(points)].astype(np.float64)) for name, points in scheme.regions.items()
    }


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


def rates(errors: Floats, limits: Sequence[float]) -> dict[str, float]:
    """Failure rates at each limit, and the AUC to the first, of errors (n,): `fr8` in %, `auc8` in [0, 1]."""
    found = [*(failure_rate(errors, limit) for limit in limits), auc(errors, limits[0])]
    return dict(zip(rate_names(limits), found, strict=True))


def is_rate(name: str) -> bool:
    """Whether it is one of the names that `rate_names` gives for any limits."""
    return re.fullmatch(r"(fr|auc)[0-9.e+-]+", name) is not None


def rate_names(limits: Sequence[float]) -> list[str]:
    """The names of `rates`: `fr8`, `fr10` and `auc8` for limits of 8 and 10 %."""
    return [*(f"fr{limit:g}" for limit in limits), f"auc{limits[0]:g}"]
