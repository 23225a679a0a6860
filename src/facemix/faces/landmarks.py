"""The 68 iBUG / Multi-PIE points: regions, mirror order, and the points that measure a face's size."""

import numpy as np
import numpy.typing as npt

N_POINTS = 68

REGIONS: dict[str, range] = {
    "jaw": range(0, 17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}

OUTER_EYE_CORNERS = (36, 45)
IMAGE_LEFT_EYE = range(36, 42)
IMAGE_RIGHT_EYE = range(42, 48)

# Left-right partners in a mirrored image (points on the midline are their own): mirrored[i] = points[MIRROR[i]].
_PAIRS = [
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31 + i, 35 - i) for i in range(2)),
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (59, 55), (58, 56),
    (60, 64), (61, 63), (67, 65),
]  # fmt: skip


def _mirror_order() -> npt.NDArray[np.int64]:
    order = np.arange(N_POINTS)
    for a, b in _PAIRS:
        order[a], order[b] = b, a
    order.flags.writeable = False
    return order


MIRROR = _mirror_order()


def mirror(points: npt.NDArray[np.floating], width: int) -> npt.NDArray[np.floating]:
    """Points of the left-right mirrored image.

    Args:
        points: (..., 68, 2) x, y in pixels, 0-based pixel centres.
        width: width of the image in pixels.
    """
    mirrored = points[..., MIRROR, :].copy()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored
