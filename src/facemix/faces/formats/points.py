"""What every format's points have to pass, whatever file they come from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces.face import BrokenFace
from facemix.faces.landmarks import N_POINTS, OUTER_EYE_CORNERS

FAR = 4.0
"""Sizes of a face: no point of one lies that far from most others."""


def read_text(path: Path) -> str:
    """A small text file.

    Raises:
        BrokenFace: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BrokenFace(path, f"cannot be read ({reason}), expected the points of a face; restore the file") from None
    except UnicodeDecodeError:
        raise BrokenFace(path, "not a text file, expected the points of a face; replace the file") from None


def parse_rows(path: Path, lines: Sequence[str]) -> npt.NDArray[np.float64]:
    """Points (n, 2) from lines `x y`; empty lines do not count.

    Raises:
        BrokenFace: a line that is not two numbers.
    """
    rows = []
    for line in filter(None, map(str.strip, lines)):
        try:
            x, y = map(float, line.split())
        except ValueError:
            raise BrokenFace(path, f"found {line[:60]!r}, expected a point 'x y'; correct or remove the face") from None
        rows.append((x, y))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def checked(path: Path, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The points (68, 2) of a face that can be cropped and measured.

    Points may coincide (closed lips), but a face whose outer eye corners coincide has no size to measure errors in.

    Raises:
        BrokenFace: not 68 points, one that is not finite or far from the others, no extent, or outer eye corners in one
            place.
    """
    if points.shape != (N_POINTS, 2):
        raise BrokenFace(path, f"{len(points)} points, expected {N_POINTS}; correct or remove the face")
    if not np.isfinite(points).all():
        worst = int(np.argmin(np.isfinite(points).all(axis=1)))
        found = points[worst].tolist()
        raise BrokenFace(path, f"point {worst} is {found}, expected finite numbers; correct or remove the face")
    # The size of the face by most of its points: one that is wrong must not say what is far.
    low, high = np.percentile(points, [10, 90], axis=0)
    away = np.maximum(low - points, points - high).max(axis=1)
    if away.max() > FAR * (high - low).max():
        worst = int(away.argmax())
        raise BrokenFace(
            path, f"point {worst}, {points[worst].tolist()}, is far from the others; correct or remove the face"
        )
    if not (np.ptp(points, axis=0) > 0).all():
        raise BrokenFace(path, "all points lie on one line, expected a face with an extent; correct or remove the face")
    left, right = OUTER_EYE_CORNERS
    if (points[left] == points[right]).all():
        raise BrokenFace(path, f"the outer eye corners ({left}, {right}) coincide; correct or remove the face")
    return points.astype(np.float32)
