"""What the numbers themselves tell of a shift by half a pixel or a whole one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from facemix.faces.face import Face

NEARLY_ALL = 0.99
"""Share of numbers that have to be of a kind."""
CUT = 5
"""Points at one border, and as many at the opposite one, that show where a set's borders are."""

_ROUNDED = 1e-4  # pixels


def remarks(faces: Sequence[Face], sizes: npt.NDArray[np.int64]) -> list[str]:
    """What to tell the user of a shift; nothing where the numbers do not tell.

    Args:
        faces: of one set.
        sizes: (n, 2) width and height in pixels of their pictures.
    """
    points = np.stack([face.landmarks for face in faces]).astype(np.float64)
    return [text for text in (_fractions(points), _borders(points, sizes)) if text]


def _fractions(points: npt.NDArray[np.float64]) -> str:
    numbers = points[np.isfinite(points)]
    half = np.abs(numbers % 1 - 0.5) < _ROUNDED
    if half.mean() < NEARLY_ALL:
        return ""
    return (
        "all points lie half a pixel beside the middle of one: whole numbers that were shifted. facemix counts from "
        "the centre of the first pixel; if these points were clicked on whole pixels, set offset: [-0.5, -0.5] or "
        "[0.5, 0.5] in params.yaml, whichever the sheet shows to be right"
    )


def _borders(points: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> str:
    """Points that were cut off at the border of the picture show where the set takes it to be."""
    beyond = points - (sizes[:, None] - 1)

    def cut(low: float, high: float) -> bool:
        return bool((points == low).sum() >= CUT and (beyond == high).sum() >= CUT)

    if cut(0, 0):
        return ""
    for shift in (1, -1):
        if cut(shift, shift):
            return (
                f"points end at {shift} and at {'the width and height' if shift > 0 else 'two pixels before them'}: "
                f"the files count pixels {'from 1' if shift > 0 else 'from 0, though their format counts from 1'}. Set "
                f"offset: [{-shift}, {-shift}] in params.yaml"
            )
    if cut(0, 1):
        return (
            "points end at 0 and at the width and height: the files count from the corner of the first pixel, facemix "
            "from its centre. Set offset: [-0.5, -0.5] in params.yaml"
        )
    return ""
