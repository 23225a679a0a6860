"""What goes over a network as JSON: the faces of a picture out, boxes in."""

from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.use.detector import Faces, listed

LONGEST = 200
"""Characters of what somebody sent, in a message."""


def answer(faces: Faces) -> dict[str, list[Any]]:
    """The faces as JSON has them.

    Returns:
        `landmarks` (n, K, 2), `boxes` (n, 4) and `errors` (n, K) in pixels of the picture, `visible` (n, K) and
        `scores` (n,) from 0 to 1; None for a number that is not known.
    """
    return {
        "landmarks": listed(faces.points),
        "boxes": listed(faces.boxes),
        "errors": listed(faces.errors),
        "visible": listed(faces.visible, 3),
        "scores": listed(faces.scores, 3),
    }


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
        text = str(given)
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
        raise FacemixError(
            f"{where}: found {text}, expected a list of [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1"
        )
    return boxes
