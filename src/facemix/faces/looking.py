"""Whole pictures through a network that sees crops: each face is cut out, looked at, and what is found taken back.

Knows no torch: what looks at the crops is a function.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facemix.faces import geometry

BATCH = 64
"""Crops that are looked at together."""


class Seen(NamedTuple):
    """What a detector says of n faces."""

    points: npt.NDArray[np.floating]
    """(n, K, 2) pixels."""
    errors: npt.NDArray[np.floating]
    """(n, K) expected distance from the truth, pixels; of a detector that is not calibrated, its spread."""
    visible: npt.NDArray[np.floating]
    """(n, K) probability that a point is seen and not hidden; NaN where the detector has not learned it."""


Look = Callable[[npt.NDArray[np.uint8]], Seen]
"""From crops (n, S, S, 3) uint8 RGB to what is seen in them, in pixels of the crops."""


def look_each(
    look: Look, images: Iterable[npt.NDArray[np.uint8]], transforms: npt.NDArray[np.float64], size: int, n_points: int
) -> Seen:
    """What is seen of one face in each of n images, in pixels of the images.

    Args:
        look: what looks at crops.
        images: (H, W, 3) uint8 RGB each, one for each face; they are read one by one.
        transforms: (n, 2, 3) image-to-crop.
        size: side of the crops, pixels.
        n_points: K.
    """
    n = len(transforms)
    points = np.zeros((n, n_points, 2), dtype=np.float32)
    errors, visible = np.zeros((n, n_points), dtype=np.float32), np.zeros((n, n_points), dtype=np.float32)
    remaining = iter(images)
    for start in range(0, n, BATCH):
        part = slice(start, start + BATCH)
        seen = look(np.stack(list(_crops(remaining, transforms[part], size))))
        points[part] = geometry.apply(geometry.invert(transforms[part]), seen.points.astype(np.float64))
        errors[part] = seen.errors / geometry.scale(transforms[part])[:, None]
        visible[part] = seen.visible
    return Seen(points, errors, visible)


def _crops(
    images: Iterator[npt.NDArray[np.uint8]], transforms: npt.NDArray[np.float64], size: int
) -> Iterator[npt.NDArray[np.uint8]]:
    for image, transform in zip(islice(images, len(transforms)), transforms, strict=True):
        yield geometry.warp(image, transform, size)
