"""The curves that the 68 points are set along, and the directions along and across them at each point."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Neighbouring points in the order of the curve."""

    points: range
    closed: bool
    """The last point is a neighbour of the first."""

    def pairs(self, lag: int = 1) -> list[tuple[int, int]]:
        """Points that are `lag` places apart on the curve."""
        n = len(self.points)
        return [(self.points[i], self.points[(i + lag) % n]) for i in range(n if self.closed else n - lag)]


CURVES: dict[str, tuple[Curve, ...]] = {
    "jaw": (Curve(points=range(0, 17), closed=False),),
    "brows": (Curve(points=range(17, 22), closed=False), Curve(points=range(22, 27), closed=False)),
    "nose bridge": (Curve(points=range(27, 31), closed=False),),
    "nostrils": (Curve(points=range(31, 36), closed=False),),
    "eyes": (Curve(points=range(36, 42), closed=True), Curve(points=range(42, 48), closed=True)),
    "outer lip": (Curve(points=range(48, 60), closed=True),),
    "inner lip": (Curve(points=range(60, 68), closed=True),),
}
"""Every point is on one curve; curves under one name mirror each other, or themselves."""


def tangents(points: Floats) -> Doubles:
    """Unit vectors (..., 68, 2) along the curves, in the order of the points; zero where a curve has no direction.

    A point's tangent is the direction from the neighbour before to the one after (at an open end, the only one). Where
    these coincide, as at the corner of closed lips, it is perpendicular to the direction in which both lie.

    Args:
        points: (..., 68, 2) pixels.
    """
    directions = np.zeros(points.shape)
    for curve in (curve for curves in CURVES.values() for curve in curves):
        own = points[..., list(curve.points), :].astype(np.float64)
        before, after = np.roll(own, 1, axis=-2), np.roll(own, -1, axis=-2)
        if not curve.closed:
            before[..., 0, :], after[..., -1, :] = own[..., 0, :], own[..., -1, :]
        coincide = (before == after).all(axis=-1, keepdims=True)
        directions[..., list(curve.points), :] = np.where(coincide, across(after - own), after - before)
    length = np.linalg.norm(directions, axis=-1, keepdims=True)
    unit: Doubles = np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)
    return unit


def across(along: Floats) -> Doubles:
    """Vectors (..., 2) turned by a quarter: from x to y, clockwise as seen in an image."""
    turned: Doubles = np.stack([-along[..., 1], along[..., 0]], axis=-1).astype(np.float64)
    return turned
