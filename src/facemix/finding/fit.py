"""How the boxes of a face finder lie to those of a scheme's landmarks, measured on faces that have both."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import square_side
from facemix.finding.finders import DEFAULT, FINDERS
from facemix.finding.found import Doubles, areas, intersections
from facemix.training.frame import between

FITS = 0.4
"""Least intersection / union of the square of a landmark box with what the fitted frame makes of the found one."""
LEAST = 0.5
"""Least share of faces that must be found and fit: of hands or bodies, no finder of faces knows where they are."""


def fit_frame(
    images: Iterable[npt.NDArray[np.uint8]], boxes: Doubles, name: str = DEFAULT
) -> dict[str, str | float | int | None]:
    """Fits the frame (`facemix.training.frame.Frame`) that leads from found boxes to landmark boxes.

    Args:
        images: n pictures (H, W, 3) uint8 RGB, with one labelled face each.
        boxes: (n, 4) xyxy, tight around its landmarks, pixels of the picture.
        name: of the finder, in `FINDERS`.

    Returns:
        `name`; `down` and `scale` of the frame, None where too few faces are found for one; `found`, in how many
        pictures the finder's box tells the labelled one; `of` n pictures.
    """
    pairs = [(seen, box) for image, box in zip(images, boxes, strict=True) for seen in _around(box, image, name)]
    result: dict[str, str | float | int | None] = {"name": name, "down": None, "scale": None, "found": 0}
    result["of"] = len(boxes)
    if not pairs:
        return result
    seen, labelled = (_square(np.stack(part)) for part in zip(*pairs, strict=True))
    frame = between(seen, labelled)
    result["found"] = n = sum(map(_fits, frame.of(seen), labelled))
    if n >= LEAST * len(boxes):
        # Weights of the same faces must be the same on every machine, and the last digits of a network are not.
        result |= {"down": round(frame.down, 3), "scale": round(frame.scale, 3)}
    return result


def _around(box: Doubles, image: npt.NDArray[np.uint8], name: str) -> Doubles:
    """The found box (1, 4) whose middle lies nearest to that of the labelled one; (0, 4) where no face is found."""
    found = FINDERS[name](image).boxes
    apart = np.linalg.norm(found[:, :2] + found[:, 2:] - box[:2] - box[2:], axis=1)
    return found[np.argsort(apart, kind="stable")[:1]]


def _square(boxes: Doubles) -> Doubles:
    """Around the same middle with the longer side: a network is shown squares, and the box of two eyes is flat."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, square_side(boxes)[:, None] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _fits(expected: Doubles, labelled: Doubles) -> bool:
    shared = intersections(expected, labelled[None])[0]
    return bool(shared >= FITS * (areas(expected) + areas(labelled) - shared))
