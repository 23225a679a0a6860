"""Where a network expects its face: the box of one landmark scheme from that of another.

A network is trained on crops around the tight box of its own points, and judged in tight boxes of the real scheme's
points. Between two schemes those boxes differ: the box of five points holds eyes and mouth, that of a whole head the
hair. All faces share one frame, as sideways a face and its mirror image are equally likely.
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
    """How the boxes that a network expects lie to those that it is given."""

    down: float = 0.0
    """Distance of their centres, in longer sides of the given box."""
    scale: float = 1.0
    """Ratio of their longer sides."""

    @property
    def inverse(self) -> "Frame":
        """How the given boxes lie to the expected ones."""
        return Frame(-self.down / self.scale, 1 / self.scale)

    def of(self, boxes: Floats) -> npt.NDArray[np.float64]:
        """The boxes (n, 4) xyxy that the network expects, for those that it is given."""
        if self == Frame():
            return boxes.astype(np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + [0, self.down] * square_side(boxes)[:, None]
        half = self.scale * (boxes[:, 2:] - boxes[:, :2]) / 2
        expected: npt.NDArray[np.float64] = np.concatenate([centres - half, centres + half], axis=1)
        return expected


def between(given: Floats, expected: Floats) -> Frame:
    """The frame that leads from given boxes (n, 4) xyxy to the expected ones of the same faces, as the median is."""
    side = square_side(given)
    down = ((expected[:, 1::2] - given[:, 1::2]).mean(axis=1) / side).astype(np.float64)
    return Frame(float(np.median(down)), float(np.median(square_side(expected) / side)))


def by_names(real: Floats, real_scheme: Scheme, synthetic: Floats, synthetic_scheme: Scheme) -> Frame:
    """The frame that the points of equal name tell: their box is the link between those of two sets of faces.

    Args:
        real: (n, M, 2) labels of faces as the network is judged on; NaN where unlabelled.
        real_scheme: theirs.
        synthetic: (m, K, 2) labels of faces as the network is trained on.
        synthetic_scheme: theirs.

    Returns:
        the frame; one that changes nothing where equal names make no box.
    """
    theirs, own = schemes.shared(real_scheme, synthetic_scheme)
    to_link = _to_link(real, theirs)
    from_link = _to_link(synthetic, own)
    if to_link is None or from_link is None:
        return Frame()
    scale = to_link.scale / from_link.scale
    return Frame(to_link.down - from_link.down * scale, scale)


def _to_link(points: Floats, link: npt.NDArray[np.int64]) -> Frame | None:
    """From the box of all points (n, K, 2) to that of some, by the faces that have these; None where there is none."""
    whole = points[~np.isnan(points[:, link]).any(axis=(1, 2))]
    if len(link) < 2 or not len(whole):
        return None
    frame = between(landmark_box(whole), landmark_box(whole[:, link]))
    return frame if frame.scale > 0 else None
