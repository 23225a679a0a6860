"""What every format's points have to pass, whatever file they come from."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces.contours import CURVES
from facemix.faces.face import BrokenFace
from facemix.faces.landmarks import N_POINTS, OUTER_EYE_CORNERS

Array = npt.NDArray[np.float64]

# Of 3968 valid faces (300-W, FaceSynthetics, DGFaces, renders) the largest is half of each of the next three limits.
FAR = 8.0
"""Sizes of a face: no point of one lies that far from its middle."""
LONG = 2.0
"""Sizes of a face: no two neighbours on a curve lie that far apart."""
FOLDED = 2.0
"""Squared sizes of a face: how much straighter the curves are when negated coordinates become positive again."""
SMALL = 15.0
"""Size of a face in pixels below which rounded neighbours may coincide by threes and fours."""

MISSING = ((0.0, 0.0), (-1.0, -1.0))
"""What files state for a point that is hidden or was not labelled."""

_CURVES = [curve for curves in CURVES.values() for curve in curves]
_EDGES = [pair for curve in _CURVES for pair in curve.pairs()]
_LIDS_AND_LIPS = [(37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65), (48, 60), (54, 64)]
_TOUCHING = frozenset(frozenset(pair) for pair in [*_EDGES, *_LIDS_AND_LIPS])
"""Points that may coincide: neighbours, closed lids and lips."""

_ADVICE = "label every point where it is or would be seen, or remove the face"


def read_text(path: Path) -> str:
    """A small text file.

    Raises:
        BrokenFace: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BrokenFace(path, f"cannot be read ({reason}), expected the points of a face; restore the file") from None
    except UnicodeDecodeError:
        raise BrokenFace(path, "not a text file, expected the points of a face; replace the file") from None


def parse_rows(path: Path, lines: Sequence[str]) -> Array:
    """Points (n, 2) from lines `x y`, as far as their meaning is certain.

    Numbers may be divided by commas or semicolons. Empty lines and what follows `#` or `//` do not count, nor does a
    first line that holds the number of points. A third column of one value everywhere says nothing and is dropped, and
    so is one with numbers outside of 0 to 2, which is a depth; any other may say which points are hidden.

    Raises:
        BrokenFace: a line that is not a point, a count that is not that of the points, or an uncertain third column.
    """
    rows: list[tuple[float, ...]] = []
    count = None
    for line in (re.sub(r"(#|//).*", "", line).strip() for line in lines):
        if not line:
            continue
        try:
            row = tuple(map(float, re.split(r"\s*[,;]\s*|\s+", line.rstrip(",; \t"))))
        except ValueError:
            row = ()
        if len(row) == 1 and not rows and count is None and line.isdecimal():
            count = int(line)
        elif len(row) not in (2, 3) or (rows and len(row) != len(rows[0])):
            raise BrokenFace(path, f"found {line[:60]!r}, expected a point 'x y'; correct or remove the face")
        else:
            rows.append(row)
    if count not in (None, len(rows)):
        raise BrokenFace(path, f"the first line says {count} points, found {len(rows)}; correct or remove the face")
    found = np.array(rows, dtype=np.float64).reshape(len(rows), -1) if rows else np.zeros((0, 2))
    if found.shape[1] == 3:
        third = found[:, 2]
        depth = ((third < 0) | (third > 2)).any()
        if not (third == third[0]).all() and not depth:
            raise BrokenFace(
                path,
                f"a third column of numbers from {third.min():g} to {third.max():g}, which may mark hidden points "
                "among "
                "visible ones; expected 'x y': remove the column if all points are where they are seen, or remove "
                "the face",
            )
    return found[:, :2]


def checked(path: Path, stated: Array, origin: float = 0.0) -> npt.NDArray[np.float32]:
    """The points (68, 2) of a face that can be cropped and measured, in pixels from 0.

    Points may coincide (closed lips) and lie outside of the picture, but each must be where it is on the face: what
    stands for a hidden or missing point, such as (0, 0), (-1, -1) or a negated coordinate, is refused.

    Args:
        stated: (68, 2) as in the file.
        origin: what the file calls the first pixel.

    Raises:
        BrokenFace: not 68 points, one that is not finite or no place on this face, no extent, or outer eye corners in
            one place.
    """
    if stated.shape != (N_POINTS, 2):
        raise BrokenFace(path, f"{len(stated)} points, expected {N_POINTS}; correct or remove the face")
    if not np.isfinite(stated).all():
        worst = int(np.argmin(np.isfinite(stated).all(axis=1)))
        found = stated[worst].tolist()
        raise BrokenFace(path, f"point {worst} is {found}, expected finite numbers; correct or remove the face")
    size = _size(stated)
    for reason in (_missing(stated, origin), _in_one_place(stated, size), _negated(stated, size)):
        if reason:
            raise BrokenFace(path, f"{reason}; {_ADVICE}")
    if reason := _apart(stated, size):
        raise BrokenFace(path, f"{reason}; correct or remove the face")
    if not (np.ptp(stated, axis=0) > 0).all():
        raise BrokenFace(
            path, "all points lie on one line, expected the points of a face; correct them or remove the face"
        )
    left, right = OUTER_EYE_CORNERS
    if (stated[left] == stated[right]).all():
        raise BrokenFace(path, f"the outer eye corners ({left}, {right}) coincide; correct or remove the face")
    return (stated - origin).astype(np.float32)


def _size(points: Array) -> float:
    """The median distance of the points from their median: a few that are elsewhere do not change it.

    It is a third of the longer side of the tight box, more or less.
    """
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))


def _missing(stated: Array, origin: float) -> str | None:
    """What stands for a missing point; also where a tool moved it to `origin` with all others."""
    for place in dict.fromkeys([*MISSING, *((x + origin, y + origin) for x, y in MISSING)]):
        if rows := np.flatnonzero((stated == place).all(axis=1)).tolist():
            return f"{_named(rows)} at {_place(place)}, which stands for a hidden or missing point"
    return None


def _in_one_place(stated: Array, size: float) -> str | None:
    """Points in one place that cannot touch each other on a face, or too many of them."""
    places, group, counts = np.unique(stated, axis=0, return_inverse=True, return_counts=True)
    for i in np.flatnonzero(counts > 1).tolist():
        rows = np.flatnonzero(group.ravel() == i).tolist()
        if len(rows) > (2 if size >= SMALL else 4) or not _touch(rows):
            return f"{_named(rows)} all at {_place(places[i])}, expected different places"
    return None


def _touch(rows: Sequence[int]) -> bool:
    """Whether points are connected by neighbours among themselves."""
    reached, rest = {rows[0]}, set(rows[1:])
    while near := {b for b in rest if any(frozenset((a, b)) in _TOUCHING for a in reached)}:
        reached, rest = reached | near, rest - near
    return not rest


def _negated(stated: Array, size: float) -> str | None:
    """Negative coordinates that make sense without their sign: some sets mark hidden points so."""
    rows = np.flatnonzero((stated < 0).any(axis=1)).tolist()
    if rows and _bending(stated) - _bending(np.abs(stated)) > FOLDED * size**2:
        first = f"the first at {_place(stated[rows[0]])}"
        return (
            f"{_named(rows)} at negative coordinates, {first}, which fit the face without the sign and probably mark "
            "hidden points"
        )
    return None


def _bending(points: Array) -> float:
    """The sum of squared second differences along the curves: small where points follow each other smoothly."""
    total = 0.0
    for curve in _CURVES:
        own = points[list(curve.points)]
        second = np.roll(own, 1, axis=0) + np.roll(own, -1, axis=0) - 2 * own
        total += float(np.square(second if curve.closed else second[1:-1]).sum())
    return total


def _apart(stated: Array, size: float) -> str | None:
    """A point that is far from all others, or from its neighbours."""
    middle = np.median(stated, axis=0)
    away = np.linalg.norm(stated - middle, axis=1)
    if away.max() > FAR * size:
        worst = int(away.argmax())
        return f"point {worst}, {stated[worst].tolist()}, lies far from all other points"
    a, b = np.array(_EDGES).T
    length = np.linalg.norm(stated[a] - stated[b], axis=1)
    if length.max() > LONG * size:
        longest = int(length.argmax())
        worst, neighbour = sorted((int(a[longest]), int(b[longest])), key=lambda i: -away[i])
        return (
            f"point {worst}, {stated[worst].tolist()}, lies {length.max():.0f} px from its neighbour {neighbour}, "
            f"expected at most {LONG * size:.0f} px on this face"
        )
    return None


def _named(rows: Sequence[int]) -> str:
    if len(rows) == 1:
        return f"point {rows[0]} is"
    shown = ", ".join(map(str, rows[:8])) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
    return f"points {shown} are"


def _place(point: Sequence[float] | Array) -> str:
    return f"({point[0]:g}, {point[1]:g})"
