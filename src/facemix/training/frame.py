"""How the tight boxes of two landmark schemes lie to each other.

A network is judged in tight boxes of the real scheme's points. If it learns another scheme, the box of its own points
is another one: that of five points holds eyes and mouth, that of a whole head the hair. All faces share one frame, as
sideways a face and its mirror image are equally likely.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix.faces import schemes
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Frame:
    """How expected boxes lie to given ones."""

    down: float = 0.0
    """Distance of their centres, in longer sides of the given box."""
    scale: float = 1.0
    """Ratio of their longer sides."""

    def of(self, boxes: Floats) -> npt.NDArray[np.float64]:
        """The expected boxes (n, 4) xyxy for given ones."""
        if self == AS_GIVEN:
            return boxes.astype(np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + [0, self.down] * square_side(boxes)[:, None]
        half = self.scale * (boxes[:, 2:] - boxes[:, :2]) / 2
        expected: npt.NDArray[np.float64] = np.concatenate([centres - half, centres + half], axis=1)
        return expected


AS_GIVEN = Frame()
"""The given box is the expected one."""


def between(given: Floats, expected: Floats) -> Frame:
    """The frame that leads from given boxes (n, 4) xyxy to the expected ones of the same faces, as the median is."""
    side = square_side(given)
    down = ((expected[:, 1::2] - given[:, 1::2]).mean(axis=1) / side).astype(np.float64)
    return Frame(float(np.median(down)), float(np.median(square_side(expected) / side)))


def by_names(own: Floats, scheme: Scheme, other: Floats, other_scheme: Scheme) -> Frame:
    """From the boxes of one scheme to those that the other one's points would have on the same faces.

    The box of the points of equal name is the link between the two sets of faces.

    Args:
        own: (n, K, 2) labels of faces; NaN where unlabelled.
        scheme: theirs.
        other: (m, M, 2) labels of other faces.
        other_scheme: theirs.

    Returns:
        the frame; one that changes nothing where equal names make no box.
    """
    ours, theirs = schemes.shared(scheme, other_scheme)
    to_link, from_link = _to_link(own, ours), _to_link(other, theirs)
    if to_link is None or from_link is None:
        return AS_GIVEN
    scale = to_link.scale / from_link.scale
    return Frame(to_link.down - from_link.down * scale, scale)


def _to_link(points: Floats, link: npt.NDArray[np.int64]) -> Frame | None:
    """From the box of all points (n, K, 2) to that of some, by the faces that have these; None where there is none."""
    whole = points[~np.isnan(points[:, link]).any(axis=(1, 2))]
    if len(link) < 2 or not len(whole):
        return None
    frame = between(landmark_box(whole), landmark_box(whole[:, link]))
    return frame if frame.scale > 0 else None
