"""Faces that show the same photograph, found by what they look like and not by what they are called.

Every face is cut out along its landmarks into a small grey patch. Patches are compared by their local contrast, in
which brightness, exposure and large shadows play no part. `candidates` finds those that are coarsely alike. They are
registered to each other (enhanced correlation coefficient: Evangelidis & Psarakis, "Parametric image alignment...",
PAMI 2008), which takes out what two annotators disagree about and how far a copy was stretched: first at half the
resolution, which dismisses most of them, then in full.

Measured on 2566 faces of 300-W: of the 158 pairs above `ALIKE`, looked at one by one, 153 show one picture and 5 two
shots of one moment. Other photographs of one person at one event reach 0.83; mirrored faces, of which 300-W holds no
copies, reach 0.78 in 3.3 million pairs. Of 300 faces copied on purpose, 99 % or more are found when mirrored, darker,
stretched by 10 %, annotated anew, in JPEG quality 20 or at a third of the resolution, and 61 % at a quarter of it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facemix.checks import candidates
from facemix.checks.candidates import local_contrast, units
from facemix.faces import geometry, mapped
from facemix.faces.mapped import release
from facemix.faces.parallel import on_all_cores, single_threaded_opencv
from facemix.faces.schemes import Scheme
from facemix.faces.shards import Images

SIDE = 72
"""Of a patch, pixels."""
REACH = 1.8
"""Half a patch / root mean square distance of the inner 51 points from their mean: brows to chin and a little more."""
GLANCE = 0.8
"""Least correlation of patches registered at half the resolution for a closer look: 1 candidate of 300-W in 15 that
show different photographs; its pairs lie above 0.84."""
ALIKE = 0.84
"""Least correlation of registered patches that show one photograph."""

_EDGE = 6  # pixels of a registered patch that may lie outside of the other one
_ITERATIONS, _PRECISION = 40, 1e-4  # of the registration
_QUICK_ITERATIONS, _QUICK_PRECISION = 20, 1e-3  # at half the resolution
_AT_ONCE = 256  # faces, or candidates, of one piece of work

Floats = npt.NDArray[np.floating]
Patches = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two faces that show one photograph."""

    first: int
    second: int
    """Rows; first < second."""
    mirrored: bool
    """Whether one shows the mirror image of the other."""
    similarity: float
    """Correlation of local contrast, `ALIKE` to 1."""
    transform: npt.NDArray[np.float64]
    """(2, 3) from the second patch to the first; it mirrors where the pair does."""


def on_disk(n: int) -> Patches:
    """Room for n patches (n, SIDE, SIDE) in a file that goes with them, so that they take no memory.

    Raises:
        FacemixError: the folder of temporary files has no room for them.
    """
    return mapped.on_disk(f"patches of {n} faces", (n, SIDE, SIDE), np.uint8)


def cut(images: Images, landmarks: Floats, scheme: Scheme, out: Patches | None = None) -> Patches:
    """Upright grey patches (n, SIDE, SIDE) of equal face size, in the frames of `frames`.

    Args:
        images: (n, S, S, 3) RGB.
        landmarks: (n, K, 2) pixels of those images.
        out: where the patches go; None: a new array.
    """
    patches = np.empty((len(images), SIDE, SIDE), np.uint8) if out is None else out

    def some(start: int) -> None:
        chosen = slice(start, start + _AT_ONCE)
        for i, transform in enumerate(frames(landmarks[chosen], scheme), start):
            patches[i] = geometry.warp(cv2.cvtColor(images[i], cv2.COLOR_RGB2GRAY), transform, SIDE)
        release(patches)

    with single_threaded_opencv():
        on_all_cores(some, range(0, len(images), _AT_ONCE), "cutting faces", unit=f"{_AT_ONCE} faces")
    return patches


def frames(landmarks: Floats, scheme: Scheme) -> npt.NDArray[np.float64]:
    """The similarity transforms (n, 2, 3) from images with landmarks (n, K, 2) to upright patches.

    The frame of a mirrored face is the mirror image of its frame.
    """
    points = landmarks.astype(np.float64)
    inner = np.delete(points, list(scheme.outline), axis=1)
    centre = np.nanmean(inner, axis=1)
    size = np.sqrt(np.nanmean(((inner - centre[:, None]) ** 2).sum(axis=2), axis=1))
    first, second = scheme.sides()
    across = points[:, second] - points[:, first]
    eyes = np.nansum(across, axis=1)
    angle = np.arctan2(eyes[:, 1], eyes[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    scale = (SIDE - 1) / 2 / (REACH * size)
    linear = scale[:, None, None] * np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
    shift = (SIDE - 1) / 2 - (linear @ centre[:, :, None])
    return np.concatenate([linear, shift], axis=2)


def find(patches: Patches, n: int) -> list[Pair]:
    """The pairs of faces that show one photograph, in the order of their rows.

    Args:
        patches: (m, SIDE, SIDE), as `cut` makes them.
        n: the first n faces are compared with each other and with all that follow; what follows is not compared among
            itself.
    """
    return confirmed(patches, candidates.find(patches, n))


def confirmed(patches: Patches, rows: npt.NDArray[np.int32]) -> list[Pair]:
    """The pairs among candidates (m, 3), as `candidates.find` returns them."""

    def some(start: int) -> list[Pair]:
        found = [_registered(patches, *candidate) for candidate in rows[start : start + _AT_ONCE].tolist()]
        release(patches)
        return [pair for pair in found if pair]

    with single_threaded_opencv():
        blocks = on_all_cores(some, range(0, len(rows), _AT_ONCE), "comparing faces", unit=f"{_AT_ONCE} pairs")
    best: dict[tuple[int, int], Pair] = {}
    for pair in sorted((pair for block in blocks for pair in block), key=lambda pair: pair.similarity):
        best[pair.first, pair.second] = pair  # a symmetric face is also alike its mirror image
    return [best[key] for key in sorted(best)]


def _registered(patches: Patches, first: int, second: int, mirrored: int) -> Pair | None:
    """The pair, if its patches show one photograph once the second is registered to the first."""
    a = patches[first]
    b = np.ascontiguousarray(patches[second][:, ::-1]) if mirrored else patches[second]
    half = (SIDE // 2, SIDE // 2)
    small, other = (cv2.resize(patch, half, interpolation=cv2.INTER_AREA) for patch in (a, b))
    if _register(small, other, _QUICK_ITERATIONS, _QUICK_PRECISION)[0] < GLANCE:
        return None
    similarity, forth = _register(a, b, _ITERATIONS, _PRECISION)
    if similarity < ALIKE:
        return None
    if mirrored:
        forth = forth @ np.array([[-1.0, 0.0, SIDE - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return Pair(first=first, second=second, mirrored=bool(mirrored), similarity=min(similarity, 1.0), transform=forth)


def _register(a: Patches, b: Patches, iterations: int, precision: float) -> tuple[float, npt.NDArray[np.float64]]:
    """How alike a patch and another one are that was registered to it, and the transform (2, 3) that did it.

    -1 where there is no way from one to the other.
    """
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, precision)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, back = cv2.findTransformECC(a, b, start, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:
        return -1.0, np.eye(2, 3)
    forth = geometry.invert(back.astype(np.float64))
    moved = cv2.warpAffine(b, forth, a.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    edge = _EDGE * len(a) // SIDE
    inside = slice(edge, -edge)
    one, other = units(np.array([local_contrast(patch)[inside, inside] for patch in (a, moved)]))
    return float(one @ other), forth
