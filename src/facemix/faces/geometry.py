"""Boxes, crops and the similarity transforms between an image and its crop.

A transform is a (2, 3) matrix [A | t] that takes points of the image to points of the crop: `crop = A @ image + t`.
Coordinates are 0-based with integers at pixel centres, so the middle of a W pixels wide image is (W - 1) / 2.
"""

import cv2
import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError

Floats = npt.NDArray[np.floating]


def landmark_box(points: Floats) -> npt.NDArray[np.float64]:
    """The tight box (..., 4) xyxy around points (..., n, 2); those that are NaN do not count."""
    ends = [np.fmin.reduce(points, axis=-2), np.fmax.reduce(points, axis=-2)]
    return np.concatenate(ends, axis=-1).astype(np.float64)


def square_side(box: Floats) -> npt.NDArray[np.float64]:
    """The longer side (...,) of boxes (..., 4) xyxy: the side of the square that a crop is measured in."""
    return np.asarray((box[..., 2:] - box[..., :2]).max(axis=-1), dtype=np.float64)


def crop_transform(box: Floats, size: int, margin: float) -> npt.NDArray[np.float64]:
    """Image-to-crop transforms (..., 2, 3): the square of `margin` x the longer side around the box fills the crop.

    Args:
        box: (..., 4) xyxy in pixels of the image.
        size: side of the crop in pixels.
        margin: side of the square / longer side of the box.

    Raises:
        FacemixError: a box without extent.
    """
    side = square_side(box) * margin
    if not np.all(side > 0):
        raise FacemixError(f"a face box must have a positive width and height, found {np.asarray(box).tolist()}")
    scale = size / side
    centre = (box[..., :2] + box[..., 2:]) / 2
    transform = np.zeros((*side.shape, 2, 3))
    transform[..., 0, 0] = transform[..., 1, 1] = scale
    transform[..., 2] = (size - 1) / 2 - scale[..., None] * centre
    return transform


def apply(transform: Floats, points: Floats) -> npt.NDArray[np.float64]:
    """Points (..., n, 2) taken through transforms (..., 2, 3)."""
    moved: npt.NDArray[np.float64] = points @ np.swapaxes(transform[..., :2], -1, -2) + transform[..., None, :, 2]
    return moved


def invert(transform: Floats) -> npt.NDArray[np.float64]:
    """The inverse (..., 2, 3) of transforms (..., 2, 3)."""
    linear = np.linalg.inv(transform[..., :2])
    return np.concatenate([linear, -(linear @ transform[..., 2:])], axis=-1)


def scale(transform: Floats) -> npt.NDArray[np.float64]:
    """By how much similarity transforms (..., 2, 3) lengthen: (...,)."""
    return np.asarray(np.sqrt(np.abs(np.linalg.det(transform[..., :2]))), dtype=np.float64)


def warp(image: npt.NDArray[np.uint8], transform: Floats, size: int) -> npt.NDArray[np.uint8]:
    """The crop (size, size, 3) of an image (H, W, 3) uint8; borders are replicated.

    Shrinking samples too sparsely for bilinear interpolation, so the image is first shrunk by the whole part of the
    factor with area averaging: each output pixel then covers between one and two pixels of what is interpolated.
    """
    factor = int(min(1 / scale(transform), max(image.shape[:2])))
    if factor > 1:
        image, transform = _shrink(image, np.asarray(transform, dtype=np.float64), factor, size)
    return cv2.warpAffine(  # type: ignore[no-any-return]
        image, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _shrink(
    image: npt.NDArray[np.uint8], transform: npt.NDArray[np.float64], factor: int, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of the image that the crop sees, averaged over factor x factor pixels, and the transform from there."""
    corners = apply(invert(transform), np.array([[-1.0, -1.0], [size, -1.0], [-1.0, size], [size, size]]))
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(corners.min(axis=0)) - factor, 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + factor + 1, [x0 + 1, y0 + 1], [width, height]).astype(int)
    seen = image[y0:y1, x0:x1]
    # Pad to whole blocks, so that every block averages exactly factor x factor pixels and the grid stays regular.
    bottom, right = -seen.shape[0] % factor, -seen.shape[1] % factor
    seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    small = cv2.resize(seen, (seen.shape[1] // factor, seen.shape[0] // factor), interpolation=cv2.INTER_AREA)
    # Pixel u of the small image is centred on pixel factor * u + (factor - 1) / 2 of the cut-out.
    from_small = np.array([[factor, 0, x0 + (factor - 1) / 2], [0, factor, y0 + (factor - 1) / 2], [0, 0, 1.0]])
    return small, transform @ from_small
