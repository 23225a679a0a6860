"""What every format's points have to pass, whatever file they come from."""

import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from facemix.faces.face import UNLABELLED, VISIBLE, BrokenFace, File
from facemix.faces.schemes import BOX_SIZES, Scheme

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

AWAY, CLOSE = 1.5, 0.25
"""Sides of the box of the other points: in a scheme of few points, a negated one lies farther from it than the first,
and without the sign nearer than the second. Of 300-W reduced to 5 and 19 points, shifted across the border in eight
ways, 1 face of 41056 is refused; of a face with one negated point, 96 % and 81 %."""
HEAP = 4
"""Points of a scheme of few points that are not in one place on a face of three times `SMALL`."""

DENSE = 60
"""Points of a scheme from which on neighbours lie near each other; what follows from that is asked of no other."""

_ADVICE = "label every point where it is or would be seen, or remove the face"


def read_text(path: File) -> str:
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


def parse_rows(path: File, lines: Sequence[str]) -> Array:
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


def checked(
    path: File, stated: Array, scheme: Scheme, states: npt.NDArray[np.uint8] | None = None, origin: float = 0.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Points and states of a face that can be cropped, in pixels from 0.

    Points may coincide (closed lips) and lie outside of the picture, but each must be where it is on the face: what
    stands for a hidden or missing point, such as (0, 0), (-1, -1) or a negated coordinate, is refused. A format that
    has such a meaning says so by `states`.

    Args:
        stated: (K, 2) as in the file; what it says of an unlabelled point does not count.
        states: (K,) of the points; None: all are visible.
        origin: what the file calls the first pixel.

    Returns:
        landmarks (K, 2), NaN where unlabelled; states (K,).

    Raises:
        BrokenFace: another number of points than the scheme has, none or one that is labelled, one that is not finite
            or no place on this face, no extent, or a face size of zero.
    """
    if stated.shape != (len(scheme), 2):
        found = f"{len(stated)} points, expected {len(scheme)} of the scheme {scheme.name}"
        raise BrokenFace(path, f"{found}; correct or remove the face, or use another scheme")
    states = np.full(len(scheme), VISIBLE, dtype=np.uint8) if states is None else states
    labelled = states != UNLABELLED
    if labelled.sum() < 2:
        raise BrokenFace(path, f"{labelled.sum()} labelled points, expected two or more; remove the face")
    if not (finite := np.isfinite(stated).all(axis=1) | ~labelled).all():
        worst = int(np.argmin(finite))
        found = stated[worst].tolist()
        raise BrokenFace(path, f"point {worst} is {found}, expected finite numbers; correct or remove the face")
    known = np.where(labelled[:, None], stated, np.nan)
    size = _size(known)
    for reason in (_missing(known, origin), _in_one_place(known, size, scheme), _negated(known, size, scheme)):
        if reason:
            raise BrokenFace(path, f"{reason}; {_ADVICE}")
    if reason := _apart(known, size, scheme) or _without_extent(known, scheme):
        raise BrokenFace(path, f"{reason}; correct or remove the face")
    return (known - origin).astype(np.float32), states


def _size(points: Array) -> float:
    """The median distance of the points from their median: a few that are elsewhere do not change it.

    It is a third of the longer side of the tight box, more or less.
    """
    points = points[np.isfinite(points).all(axis=1)]
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))


def _without_extent(points: Array, scheme: Scheme) -> str | None:
    """Labelled points whose box has no area, or that give the scheme's own face size no length."""
    extent = np.nanmax(points, axis=0) - np.nanmin(points, axis=0)
    if not extent.any():
        return "all labelled points lie in one place, expected different places"
    if not extent.all() and np.isfinite(points).all():
        return "all points lie on one line, expected the points of a face"
    if scheme.normalizer in BOX_SIZES:
        return None
    first, second = (list(group) for group in scheme.face_sizes[scheme.normalizer].between)
    if (points[first].mean(axis=0) == points[second].mean(axis=0)).all():
        return f"the points of its {scheme.normalizer} size coincide ({_numbers(first)} and {_numbers(second)})"
    return None


@functools.cache
def _edges(scheme: Scheme) -> npt.NDArray[np.int64]:
    """Pairs of neighbours (m, 2) of the skeleton."""
    return np.array([pair for curve in scheme.skeleton for pair in curve.pairs()], dtype=np.int64).reshape(-1, 2)


@functools.cache
def _touching(scheme: Scheme) -> frozenset[frozenset[int]]:
    """Points that may coincide: neighbours, and those that the scheme states, or else any two of a region."""
    regions = [frozenset((a, b)) for region in scheme.regions.values() for a in region for b in region if a != b]
    stated = [frozenset(pair) for pair in scheme.touching] or regions
    return frozenset([frozenset(pair) for pair in _edges(scheme).tolist()] + stated)


def _missing(stated: Array, origin: float) -> str | None:
    """What stands for a missing point; also where a tool moved it to `origin` with all others."""
    for place in dict.fromkeys([*MISSING, *((x + origin, y + origin) for x, y in MISSING)]):
        if rows := np.flatnonzero((stated == place).all(axis=1)).tolist():
            return f"{_named(rows)} at {_place(place)}, which stands for a hidden or missing point"
    return None


def _in_one_place(stated: Array, size: float, scheme: Scheme) -> str | None:
    """Points in one place that cannot touch each other on a face, or too many of them."""
    places, group, counts = np.unique(stated, axis=0, return_inverse=True, return_counts=True)
    few = len(scheme) < DENSE
    if few and np.nanmax(np.nanmax(stated, axis=0) - np.nanmin(stated, axis=0)) < 3 * SMALL:
        return None
    for i in np.flatnonzero(counts >= (HEAP if few else 2)).tolist():
        rows = np.flatnonzero(group.ravel() == i).tolist()
        if np.isnan(places[i]).any():
            continue
        if few or len(rows) > (2 if size >= SMALL else 4) or not _touch(rows, _touching(scheme)):
            return f"{_named(rows)} all at {_place(places[i])}, expected different places"
    return None


def _touch(rows: Sequence[int], touching: frozenset[frozenset[int]]) -> bool:
    """Whether points are connected by neighbours among themselves."""
    reached, rest = {rows[0]}, set(rows[1:])
    while near := {b for b in rest if any(frozenset((a, b)) in touching for a in reached)}:
        reached, rest = reached | near, rest - near
    return not rest


def _negated(stated: Array, size: float, scheme: Scheme) -> str | None:
    """Negative coordinates that make sense without their sign: some sets mark hidden points so."""
    rows = np.flatnonzero((stated < 0).any(axis=1)).tolist()
    if not rows:
        return None
    if len(scheme) < DENSE:
        rows = _fit_without_sign(stated, rows)
    elif _bending(stated, scheme) - _bending(np.abs(stated), scheme) <= FOLDED * size**2:
        rows = []
    if not rows:
        return None
    if len(rows) == 1:
        return (
            f"point {rows[0]} is at {_place(stated[rows[0]])}, which fits the face without the negative sign and "
            "probably marks a hidden point"
        )
    return (
        f"{_named(rows)} at negative coordinates, the first at {_place(stated[rows[0]])}, which fit the face without "
        "the sign and probably mark hidden points"
    )


def _fit_without_sign(stated: Array, rows: Sequence[int]) -> list[int]:
    """Which of the points `rows` lie far from the box of all others, and close to it without their sign.

    None does where others are the fewer ones: the border of the picture then goes through the face.
    """
    others = np.delete(stated, rows, axis=0)
    others = others[np.isfinite(others).all(axis=1)]
    if len(others) <= len(rows):
        return []
    low, high = others.min(axis=0), others.max(axis=0)
    side = (high - low).max()

    def outside(points: Array) -> Array:
        distance: Array = np.maximum(low - points, points - high).max(axis=1)
        return distance

    found = stated[list(rows)]
    fit = (outside(found) > AWAY * side) & (outside(np.abs(found)) < CLOSE * side)
    return [row for row, one in zip(rows, fit.tolist(), strict=True) if one]


def _bending(points: Array, scheme: Scheme) -> float:
    """The sum of squared second differences along the curves: small where points follow each other smoothly."""
    total = 0.0
    for curve in scheme.skeleton:
        own = points[list(curve.points)]
        second = np.roll(own, 1, axis=0) + np.roll(own, -1, axis=0) - 2 * own
        total += float(np.nansum(np.square(second if curve.closed else second[1:-1])))
    return total


def _apart(stated: Array, size: float, scheme: Scheme) -> str | None:
    """A point that is far from all others, or from its neighbours."""
    if len(scheme) < DENSE:
        return None
    middle = np.nanmedian(stated, axis=0)
    away = np.linalg.norm(stated - middle, axis=1)
    if np.nanmax(away) > FAR * size:
        worst = int(np.nanargmax(away))
        return f"point {worst}, {stated[worst].tolist()}, lies far from all other points"
    a, b = _edges(scheme).T
    if not len(a):
        return None
    length = np.nan_to_num(np.linalg.norm(stated[a] - stated[b], axis=1))
    if length.max() > LONG * size:
        longest = int(length.argmax())
        worst, neighbour = sorted((int(a[longest]), int(b[longest])), key=lambda i: -away[i])
        return (
            f"point {worst}, {stated[worst].tolist()}, lies {length.max():.0f} px from its neighbour {neighbour}, "
            f"expected at most {LONG * size:.0f} px on this face"
        )
    return None


def _numbers(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows))


def _named(rows: Sequence[int]) -> str:
    if len(rows) == 1:
        return f"point {rows[0]} is"
    shown = ", ".join(map(str, rows[:8])) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
    return f"points {shown} are"


def _place(point: Sequence[float] | Array) -> str:
    return f"({point[0]:g}, {point[1]:g})"
