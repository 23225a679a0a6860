"""A picture in several sizes, each half the one before: what is small in one size fills another."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

LARGEST = 1024
"""Longer side of the largest size in pixels: bounds time and memory, whatever the picture has."""
SMALLEST = 80
"""The picture is halved until its longer side is at most this."""


def sizes(image: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """The picture (H, W, 3) at most `LARGEST` pixels long, then halved and halved again; never enlarged."""
    longer = min(max(image.shape[:2]), LARGEST)
    image = _resized(image, longer)
    yield image
    while longer > SMALLEST:
        longer = -(-longer // 2)
        image = _resized(image, longer)
        yield image


def _resized(image: npt.NDArray[np.uint8], longer: int) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    factor = longer / max(height, width)
    if factor == 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[no-any-return]
