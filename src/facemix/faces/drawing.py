"""Points, lines and boxes drawn into pictures."""

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces.shards import Images

POINT, BOX = (60, 255, 60), (255, 170, 40)  # RGB
RADIUS = 1.25
"""Of a point, pixels: what is still seen in a crop of a hundred pixels."""

_SHIFT = 4  # OpenCV draws at fractions of 1 / 2**4 pixels


def draw_points(
    image: npt.NDArray[np.uint8],
    points: npt.NDArray[np.floating],
    radius: float = RADIUS,
    colour: tuple[int, int, int] = POINT,
) -> npt.NDArray[np.uint8]:
    """A copy of an image (H, W, 3) RGB with points (n, 2) drawn at sub-pixel positions.

    Args:
        radius: of a point in pixels.
        colour: RGB.
    """
    canvas = np.ascontiguousarray(image).copy()
    for x, y in _fixed(points):
        cv2.circle(canvas, (x, y), round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    return canvas


def draw_box(image: npt.NDArray[np.uint8], box: npt.NDArray[np.floating], thickness: int = 1) -> npt.NDArray[np.uint8]:
    """A copy of an image (H, W, 3) RGB with the outline of a box (4,) xyxy.

    Args:
        thickness: of the line in pixels.
    """
    canvas = np.ascontiguousarray(image).copy()
    first, last = _fixed(box.reshape(2, 2))
    cv2.rectangle(canvas, first, last, BOX, thickness, cv2.LINE_AA, _SHIFT)
    return canvas


def draw_number(
    image: npt.NDArray[np.uint8], number: int, corner: npt.NDArray[np.floating], height: float
) -> npt.NDArray[np.uint8]:
    """A copy of an image (H, W, 3) RGB with a number written above a corner (2,), or below where the picture ends.

    Args:
        height: of the digits in pixels.
    """
    canvas = np.ascontiguousarray(image).copy()
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / 8))
    scale = height / cv2.getTextSize("0", font, 1, 1)[0][1]
    x, y = np.round(corner).astype(int).tolist()
    y = y - thick if y - thick > height else y + thick + round(height)
    for colour, width in (((0, 0, 0), 3 * thick), (BOX, thick)):  # an outline, for bright pictures
        cv2.putText(canvas, str(number), (x, y), font, scale, colour, width, cv2.LINE_AA)
    return canvas


def draw_lines(
    image: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.floating],
    ends: npt.NDArray[np.floating],
    colour: tuple[int, int, int],
) -> npt.NDArray[np.uint8]:
    """A copy of an image (H, W, 3) RGB with a line from each point (n, 2) of `starts` to its partner in `ends`.

    Args:
        colour: RGB.
    """
    canvas = np.ascontiguousarray(image).copy()
    both = np.isfinite(starts + ends).all(axis=-1)
    for start, end in zip(_fixed(starts[both]), _fixed(ends[both]), strict=True):
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA, _SHIFT)
    return canvas


def _fixed(points: npt.NDArray[np.floating]) -> list[list[int]]:
    """Points (n, 2) as OpenCV's fixed-point numbers; a point that is NaN is left out."""
    points = points[np.isfinite(points).all(axis=-1)]
    return np.round(points * 2**_SHIFT).astype(int).tolist()  # type: ignore[no-any-return]


def contact_sheet(
    images: Images, landmarks: npt.NDArray[np.floating], columns: int = 12, rows: int = 6
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) of up to columns x rows evenly chosen faces with their points.

    Args:
        images: (N, S, S, 3) RGB.
        landmarks: (N, K, 2) pixels of those images; what is NaN is not drawn.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, columns * rows).round().astype(int))
    size = images.shape[1]
    sheet = np.zeros((-(-len(chosen) // columns) * size, min(columns, len(chosen)) * size, 3), dtype=np.uint8)
    for k, i in enumerate(chosen):
        y, x = k // columns * size, k % columns * size
        sheet[y : y + size, x : x + size] = draw_points(images[i], landmarks[i])
    return sheet
