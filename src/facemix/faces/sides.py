"""Left and right: whether the points of the person's left lie where a left side is seen from the front."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme

Array = npt.NDArray[np.float64]

FEWEST = 5
"""Faces from the front below which nothing is said."""
FRONT = 0.5
"""Distance of mirror partners across a face / the typical one: less is a turned face, which says nothing."""
CLEAR = 0.9
"""Share of faces in which partners have to have changed places."""

_NARROW = 0.1  # of the layout: partners that lie nearer say little
_LEVEL = 0.05  # of the layout: points that are all level do not tell what is down
_FLAT = 0.3  # height / longer side of a face below which it is not clear what is down


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What the points of a set say."""

    faces: int
    """Those that are seen from the front, or as from behind."""
    swapped: float
    """Share of them in which most pairs have changed places."""
    pairs: tuple[tuple[str, str], ...]
    """Pairs, left and right, that have changed places where the others have not."""


def partners(scheme: Scheme, layout: Array | None) -> npt.NDArray[np.int64]:
    """Mirror partners (m, 2), that of the person's left first, as far as names or layout tell.

    Args:
        layout: (K, 2) as `schemes.layout` returns it.
    """
    found = []
    for i, j in enumerate(scheme.mirror.tolist()):
        if i < j and (left := _left(scheme, i, j, layout)) is not None:
            found.append((left, i + j - left))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def of_points(scheme: Scheme, layout: Array | None) -> list[str]:
    """`left`, `right` or `middle` for each point, of the person."""
    found = ["middle"] * len(scheme)
    for left, right in partners(scheme, layout).tolist():
        found[left], found[right] = "left", "right"
    return found


def _left(scheme: Scheme, i: int, j: int, layout: Array | None) -> int | None:
    for k in (i, j):
        if "left" in scheme.points[k].split("_"):
            return k
    if layout is None:
        return None
    return i if layout[i, 0] > layout[j, 0] else j


def measure(landmarks: npt.NDArray[np.floating], scheme: Scheme, layout: Array | None) -> Sides | None:
    """What the faces of a set say; None without layout or mirror pairs, or with too few faces from the front.

    Partners are of one height in the layout, so what is down in a face, however it is rotated in the picture, is told
    by all points alike, whether sides are swapped or not. Seen from the front, left partners then lie to the viewer's
    right. Where the layout is level, faces are taken to be upright.

    Args:
        landmarks: (n, K, 2) x, y in pixels, y down; NaN where unlabelled.
        scheme: of the points.
        layout: (K, 2) as `schemes.layout` returns it.
    """
    pairs = partners(scheme, layout)
    if layout is None or not len(pairs):
        return None
    points = landmarks.astype(np.float64)
    down, clear = _down(points, layout)
    across = np.stack([down[:, 1], -down[:, 0]], axis=-1)  # of the length of `down`: pixels for a unit of the layout
    typical = np.abs(layout[pairs[:, 0], 0] - layout[pairs[:, 1], 0])
    pairs, typical = pairs[typical >= _NARROW], typical[typical >= _NARROW]
    apart = np.einsum("nmd,nd->nm", points[:, pairs[:, 0]] - points[:, pairs[:, 1]], across)
    ratio = apart / (typical * np.square(down).sum(axis=-1, keepdims=True))
    middle = _medians(np.where(clear[:, None], ratio, np.nan))
    front = np.abs(middle) >= FRONT
    if front.sum() < FEWEST:
        return None
    return Sides(
        faces=int(front.sum()),
        swapped=float((middle[front] < 0).mean()),
        pairs=_changed(ratio[middle >= FRONT], pairs, scheme),
    )


def _down(points: Array, layout: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """For each face the direction down (n, 2), in pixels for a unit of the layout, and whether it is clear."""
    heights = layout[:, 1]
    known = np.asarray(np.isfinite(points).all(axis=-1))
    weight = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = heights - (weight * heights).sum(axis=1, keepdims=True)
    spread = (weight * centred**2).sum(axis=1)
    side = square_side(landmark_box(points))
    if np.ptp(heights) < _LEVEL:
        upright = side / np.ptp(layout, axis=0).max()
        return np.stack([np.zeros_like(upright), upright], axis=-1), np.asarray(side > 0)
    down = np.einsum("nk,nkd->nd", weight * centred, np.where(known[..., None], points, 0))
    down /= np.maximum(spread, 1e-9)[:, None]
    height = np.hypot(*down.T) * np.ptp(heights)
    clear = np.asarray((height > _FLAT * side) & (spread > 1e-9))
    return np.where(clear[:, None], down, 1), clear


def _medians(rows: Array) -> Array:
    """Of each row (n, m) the median of what is known, NaN where nothing is."""
    known = [row[np.isfinite(row)] for row in rows]
    return np.array([np.median(row) if len(row) else np.nan for row in known])


def _changed(ratio: Array, pairs: npt.NDArray[np.int64], scheme: Scheme) -> tuple[tuple[str, str], ...]:
    """Pairs that have changed places in nearly all of the faces (n, m) that are right as a whole."""
    known = np.asarray(np.isfinite(ratio).sum(axis=0))
    crossed = np.asarray((ratio <= -FRONT).sum(axis=0))
    changed = np.flatnonzero((known >= FEWEST) & (crossed >= CLEAR * known))
    return tuple((scheme.points[i], scheme.points[j]) for i, j in pairs[changed].tolist())


def remarks(found: Sides | None) -> list[str]:
    """What to tell the user: nothing where all is well or nothing can be told."""
    if found is None:
        return []
    if found.swapped >= CLEAR:
        return [
            f"left and right are swapped: in {found.swapped:.0%} of {found.faces} faces from the front, points of the "
            "person's left lie to the viewer's left. Either the pictures are mirrored, or the files name sides as the "
            "viewer sees them. Look at the sheet; mirror the pictures and points back, or rename the points"
        ]
    if found.pairs:
        shown = ", ".join(f"{left} and {right}" for left, right in found.pairs[:4])
        more = f" and {len(found.pairs) - 4} more pairs" if len(found.pairs) > 4 else ""
        return [
            f"left and right are swapped in some points: {shown}{more}. Others are right, so the order of the points "
            "is not that of the scheme; look at the sheet, and use a scheme in the order of the files"
        ]
    return []
