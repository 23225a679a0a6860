"""How the boxes of a face finder lie to those of a scheme's landmarks, measured on faces that have both."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import square_side
from facemix.finding.finders import DEFAULT, find
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
        name: of the finder, a key of `FINDERS`.

    Returns:
        `name`; `down` and `scale` of the frame, None where too few faces are found for one; `found`, in how many
        pictures the finder's box tells the labelled one; `of` n pictures.
    """
    looked = ((find(name, image).boxes, box) for image, box in zip(images, boxes, strict=True))
    pairs = [(seen[nearest(seen, box)], box) for seen, box in looked if len(seen)]
    result: dict[str, str | float | int | None] = {"name": name, "down": None, "scale": None, "found": 0}
    result["of"] = len(boxes)
    if not pairs:
        return result
    seen, labelled = (np.stack(part) for part in zip(*pairs, strict=True))
    frame = between(seen, labelled)
    result["found"] = n = int(fits(frame.of(seen), labelled).sum())
    if n >= LEAST * len(boxes):
        # Weights of the same faces must be the same on every machine, and the last digits of a network are not.
        result |= {"down": round(frame.down, 3), "scale": round(frame.scale, 3)}
    return result


def nearest(found: Doubles, labelled: Doubles) -> int:
    """Which of n > 0 found boxes (n, 4) has its middle nearest to that of a labelled one (4,)."""
    return int(np.linalg.norm(found[:, :2] + found[:, 2:] - labelled[:2] - labelled[2:], axis=1).argmin())


def fits(expected: Doubles, labelled: Doubles) -> npt.NDArray[np.bool_]:
    """Of n faces (n,): whether an expected box (n, 4) shows the same as the labelled one (n, 4).

    Both count as squares, as a network is shown them; the box of two eyes is flat.
    """
    ours, theirs = _square(expected), _square(labelled)
    shared = intersections(ours, theirs)
    return np.asarray(shared >= FITS * (areas(ours) + areas(theirs) - shared))


def _square(boxes: Doubles) -> Doubles:
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, square_side(boxes)[:, None] / 2
    return np.concatenate([middle - half, middle + half], axis=1)
