"""The curves that the 68 points are set along, and the directions along and across them at each point."""

import functools
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from facemix.faces.schemes import Curve, ibug68

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]

_NAMES = ("jaw", "brows", "brows", "nose bridge", "nostrils", "eyes", "eyes", "outer lip", "inner lip")
"""Of the curves in the skeleton of `ibug68`."""


@functools.cache
def curves() -> Mapping[str, tuple[Curve, ...]]:
    """The curves by name; every point is on one, and curves under one name mirror each other, or themselves."""
    named: dict[str, list[Curve]] = defaultdict(list)
    for name, curve in zip(_NAMES, ibug68().skeleton, strict=True):
        named[name].append(curve)
    return {name: tuple(found) for name, found in named.items()}


def tangents(points: Floats) -> Doubles:
    """Unit vectors (..., 68, 2) along the curves, in the order of the points; zero where a curve has no direction.

    A point's tangent is the direction from the neighbour before to the one after (at an open end, the only one). Where
    these coincide, as at the corner of closed lips, it is perpendicular to the direction in which both lie.

    Args:
        points: (..., 68, 2) pixels.
    """
    directions = np.zeros(points.shape)
    for curve in ibug68().skeleton:
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
