"""Points in pictures of faces: by colour left, right and hidden ones, and with the numbers and names of the scheme."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from facemix.faces.drawing import RADIUS, draw_lines, draw_points
from facemix.faces.face import HIDDEN
from facemix.faces.schemes import Curve

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

COLOURS = {"left": (110, 190, 255), "right": (255, 110, 110), "middle": (110, 255, 110)}
"""RGB of the points of the person's sides."""
HIDDEN_COLOUR = (255, 230, 60)
BONE = (150, 150, 150)
"""RGB of lines between neighbours of the skeleton."""

DENSE = 120
"""Points from which on numbers stand only where there is room beside their point: lines to all would cover the face."""
_FAR, _NEAR = (12, 18, 26, 36, 48, 62), (12, 16)  # pixels from a point to the middle of its number
_DIRECTIONS = 16
_FONT = cv2.FONT_HERSHEY_SIMPLEX
NAMED = 21
"""Points up to which their names stand beside their numbers."""
_SIZES = ((NAMED, 0.7), (30, 0.6), (DENSE, 0.45))
"""Points up to which numbers have a size; those of more are smaller."""
_SMALLEST = 0.4
_GAP, _WIDE_GAP = 1, 7  # pixels around a number; around those of many points
_POINT = 2.5
_HALO = tuple((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1))


def coloured(image: Image, points: Points, states: npt.NDArray[np.uint8], sides: Sequence[str]) -> Image:
    """A copy of a picture (S, S, 3) RGB with its points (K, 2), those of `sides` (K) each in their colour."""
    return _dots(image, points, states, sides, RADIUS)


def numbered(
    image: Image,
    points: Points,
    states: npt.NDArray[np.uint8],
    sides: Sequence[str],
    skeleton: Sequence[Curve],
    names: Sequence[str],
) -> Image:
    """As `coloured`, with the label of each point beside it, as far as there is room, and neighbours joined."""
    words = labels(names)
    places, size = placed(points, image.shape[0], words), _size(len(points))
    for curve in skeleton:
        first, second = (list(ends) for ends in zip(*curve.pairs(), strict=True))
        image = draw_lines(image, points[first], points[second], BONE)
    chosen = list(places)
    middles = np.array([places[i] for i in chosen]).reshape(-1, 2)
    image = draw_lines(image, points[chosen], middles, (230, 230, 230))
    image = _dots(image, points, states, sides, _POINT)
    for i, (x, y) in places.items():
        width, height, below = _extent(words[i], size)
        origin = (round(x - width / 2), round(y - height / 2) + height - below)
        colour = HIDDEN_COLOUR if states[i] == HIDDEN else COLOURS[sides[i]]
        for dx, dy in _HALO:  # bolder text would be wider, too
            cv2.putText(image, words[i], (origin[0] + dx, origin[1] + dy), _FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
        cv2.putText(image, words[i], origin, _FONT, size, colour, 1, cv2.LINE_AA)
    return image


def labels(names: Sequence[str]) -> list[str]:
    """What stands beside each point: its number, and where there are few points its name."""
    return [f"{i} {name}" if len(names) <= NAMED else str(i) for i, name in enumerate(names)]


def placed(points: Points, side: int, words: Sequence[str]) -> dict[int, tuple[float, float]]:
    """Where the labels of points (K, 2) have room in a picture: the middle of each; none covers another, or a point.

    Points that are far from each other come first, so that where not all have room the labels are spread.
    """
    known = np.isfinite(points).all(axis=1)
    taken = np.zeros((side, side), dtype=np.uint8)
    for x, y in points[known].round().astype(int).tolist():
        cv2.circle(taken, (x, y), 3, 1, -1)
    middle = points[known].mean(axis=0)
    distances, gap, size = (_NEAR, _WIDE_GAP, _SMALLEST) if len(points) > DENSE else (_FAR, _GAP, _size(len(points)))
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = {}
    for i in _far_first(points, np.flatnonzero(known)):
        outward = np.argsort(-rays @ (points[i] - middle), kind="stable")
        for x, y in (points[i] + distance * ray for distance in distances for ray in rays[outward]):
            width, height, _ = _extent(words[i], size)
            x0, y0 = round(x - width / 2), round(y - height / 2)
            x1, y1 = x0 + width, y0 + height
            if x0 >= 0 and y0 >= 0 and x1 <= side and y1 <= side and not taken[y0:y1, x0:x1].any():
                taken[max(0, y0 - gap) : y1 + gap, max(0, x0 - gap) : x1 + gap] = 1
                found[i] = (float(x), float(y))
                break
    return found


def _far_first(points: Points, known: npt.NDArray[np.int64]) -> list[int]:
    """The known points, each next the one that is farthest from all before it."""
    if not len(known):
        return []
    order, nearest = [0], np.full(len(known), np.inf)
    for _ in range(len(known) - 1):
        nearest = np.minimum(nearest, np.linalg.norm(points[known] - points[known[order[-1]]], axis=1))
        nearest[order] = -1
        order.append(int(nearest.argmax()))
    return known[order].tolist()  # type: ignore[no-any-return]


def _size(count: int) -> float:
    """Of the numbers of so many points, as OpenCV scales its font."""
    return next((size for most, size in _SIZES if count <= most), _SMALLEST)


def _extent(text: str, size: float) -> tuple[int, int, int]:
    """Width and height of a text, and how much of the height is below the line that it stands on: `g` reaches there."""
    (width, above), below = cv2.getTextSize(text, _FONT, size, 1)
    return width, above + below, below


def _dots(image: Image, points: Points, states: npt.NDArray[np.uint8], sides: Sequence[str], radius: float) -> Image:
    for side, colour in COLOURS.items():
        own = np.array([one == side for one in sides]) & (states != HIDDEN)
        image = draw_points(image, points[own], radius, colour)
    return draw_points(image, points[states == HIDDEN], radius, HIDDEN_COLOUR)
