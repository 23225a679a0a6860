"""By how many pixels the points of a set lie to the right of what they mark, measured by the symmetry of faces.

Points that are all too far to the right are, in the mirrored pictures, all too far to the left. So the picture around a
point and the mirrored picture around its partner on the other side of the face show the same thing, twice the offset
apart. Noses, shadows and turned heads are not symmetric, but they are so to either side alike: over some hundred faces
the offset remains. A vertical offset looks the same in the mirror, and cannot be measured in this way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme
from facemix.faces.shards import Images

Array = npt.NDArray[np.float64]

SAMPLE = 600
"""Faces that are looked at."""
FEWEST = 30
"""Faces below which nothing is said."""
LARGE, SURE = 0.25, 3.0
"""Pixels, and standard errors, above which an offset is worth a word."""

_PAIRS = 3  # points with a partner below which nothing is said
_GRID = 80  # samples across a face
_REACH = 5  # samples to each side of a point
_FLAT = 4.0  # grey values squared: patches without more contrast count less
_STEPS = 3
_FIRST_SLOPE = 0.4  # of the answer to a shift by one pixel; the true one is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """What was measured."""

    right: float
    """Pixels of the photographs by which points lie to the right of what they mark."""
    error: float
    """Standard error of it."""
    faces: int

    @property
    def significant(self) -> bool:
        return abs(self.right) > max(LARGE, SURE * self.error)


def measure(
    images: Images,
    landmarks: npt.NDArray[np.floating],
    scheme: Scheme,
    scales: Array,
    faces: npt.NDArray[np.int64],
) -> Offset | None:
    """The offset of a set, or None where there are too few faces.

    The answer of the pictures to a shift is smaller than the shift, as their two halves are not quite alike. So the
    points are moved until there is no answer, and the slope of the answers turns its error into pixels.

    Args:
        images: (n, S, S, 3) crops, upright as in their photographs.
        landmarks: (n, K, 2) pixels of the crops; faces with unlabelled points are not looked at.
        scheme: of the points. Its outline is left out: no symmetry binds it.
        scales: (n,) pixels of the crop / pixels of the photograph.
        faces: which of them to look at, or, where they are many, to choose from.
    """
    inner = np.array([i for i in range(len(scheme)) if i not in scheme.outline], dtype=np.int64)
    sides, partners = scheme.sides(), scheme.mirror[inner]
    faces = faces[np.isfinite(landmarks[faces]).all(axis=(1, 2))]
    if len(faces) < FEWEST or len(sides[0]) == 0 or (inner < partners).sum() < _PAIRS:
        return None
    rows = faces[np.unique(np.linspace(0, len(faces) - 1, min(len(faces), SAMPLE)).round().astype(int))]
    points, scale = landmarks[rows].astype(np.float64), scales[rows].astype(np.float64)
    step = square_side(landmark_box(points)) / _GRID
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(images[row], cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), size)
        for row, size in zip(rows, step, strict=True)
    ]

    def answer(right: float) -> tuple[float, float]:
        moved = points - np.stack([right * scale, np.zeros_like(scale)], axis=-1)[:, None]
        seen = np.array([_half_shift(*face, sides, inner, partners) for face in zip(grey, moved, step, strict=True)])
        return _robust_mean(seen / scale, scale)

    at_first, _ = answer(0.0)
    trial = at_first / _FIRST_SLOPE if abs(at_first) > 0.1 else 0.5
    then, _ = answer(trial)
    slope = (at_first - then) / trial
    if slope <= 0.05:
        return None  # the pictures do not answer: they show nothing that is symmetric
    right = at_first / slope
    for _ in range(_STEPS):
        rest, error = answer(right)
        right += rest / slope
        if abs(rest) < error:
            break
    return Offset(right=right, error=error / slope, faces=len(rows))


def _half_shift(
    image: npt.NDArray[np.float32],
    points: Array,
    step: float,
    sides: tuple[list[int], list[int]],
    inner: npt.NDArray[np.int64],
    partners: npt.NDArray[np.int64],
) -> float:
    """How far right of what they mark the points (K, 2) of a face seem to lie, pixels of the crop (S, S).

    One least-squares step for the shift between the patches around the points and the mirrored ones around their
    partners (B. D. Lucas and T. Kanade, 1981), along the line through the eyes, and seen on the x axis.
    """
    across = points[sorted(sides[1])].mean(axis=0) - points[sides[0]].mean(axis=0)
    cosine, sine = across / np.hypot(*across)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    grid = np.stack(np.meshgrid(*[np.arange(-_REACH, _REACH + 1.0)] * 2), axis=-1)
    weight = np.exp(-2 * np.square(grid).sum(axis=-1) / _REACH**2)
    weight /= weight.sum()
    own = _patches(image, points[inner], step * grid @ turn, weight)
    other = _patches(image, points[partners], step * (grid * [-1, 1]) @ turn, weight)
    mean = (own + other) / 2
    right, down = np.gradient(mean, axis=2), np.gradient(mean, axis=1)
    wide, high, change = right * weight, down * weight, own - other
    a, b, c = np.vdot(wide, right), np.vdot(wide, down), np.vdot(high, down)
    x, y = np.vdot(wide, change), np.vdot(high, change)
    determinant = a * c - b * b
    shift = (c * x - b * y) / determinant if determinant > 0 else 0.0
    return float(shift / 2 * step * cosine)


def _patches(image: npt.NDArray[np.float32], centres: Array, grid: Array, weight: Array) -> Array:
    """Patches (n, H, W) around centres (n, 2), each of mean 0 and contrast 1: light falls on one side of a face."""
    places = (centres[:, None, None] + grid).astype(np.float32)
    flat = places.reshape(len(centres), -1, 2)
    patches = cv2.remap(image, flat, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weights = weight.ravel()
    found = patches.astype(np.float64)
    found -= (found @ weights)[:, None]
    scaled: Array = found / np.sqrt(found**2 @ weights + _FLAT)[:, None]
    return scaled.reshape(places.shape[:3])


def _robust_mean(values: Array, scale: Array) -> tuple[float, float]:
    """Huber's mean of values whose spread is that of faces, `1 / scale`, and its standard error."""
    mean = float(np.median(values))
    for _ in range(10):
        distance = np.abs(values - mean) * scale
        limit = max(1.5 * 1.4826 * np.median(distance), 1e-9)
        weight = scale**2 * np.minimum(1, limit / np.maximum(distance, 1e-9))
        mean = float((weight * values).sum() / weight.sum())
    return mean, float(np.sqrt(np.square(weight * (values - mean)).sum()) / weight.sum())
