"""The faces of one picture as plain lists, for whoever asked over a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError

if TYPE_CHECKING:
    from facemix.use.detector import Faces

DECIMALS = 3


def answer(faces: Faces) -> dict[str, list[Any]]:
    """The faces as JSON has them.

    Returns:
        `landmarks` (n, K, 2), `boxes` (n, 4) and `errors` (n, K) in pixels of the picture, `visible` (n, K) and
        `scores` (n,) from 0 to 1; None for a number that is not known.
    """
    return {
        "landmarks": _lists(faces.points),
        "boxes": _lists(faces.boxes),
        "errors": _lists(faces.errors),
        "visible": _lists(faces.visible),
        "scores": _lists(faces.scores),
    }


def _lists(values: npt.NDArray[np.float64]) -> list[Any]:
    """Nested lists, with None for NaN: JSON has no NaN."""
    rounded = np.round(values, DECIMALS).astype(object)
    rounded[np.isnan(values)] = None
    listed: list[Any] = rounded.tolist()
    return listed


def boxes_of(where: str, given: Any) -> npt.NDArray[np.float64]:
    """Boxes (n, 4) xyxy, as somebody sent them.

    Args:
        where: what the message names.
        given: anything that JSON can hold.

    Raises:
        FacemixError: it is no list of [x0, y0, x1, y1] with finite numbers, x0 < x1 and y0 < y1.
    """
    try:
        boxes = np.array([[float(value) for value in box] for box in given]).reshape(len(given), 4)
    except (TypeError, ValueError, OverflowError):
        boxes = np.full((1, 4), np.nan)
    if not np.isfinite(boxes).all() or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise FacemixError(
            f"{where}: found {_short(given)}, expected a list of [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1"
        )
    return boxes


def _short(given: Any) -> str:
    text = str(given)
    return text if len(text) <= 200 else f"{text[:200]} ..."
