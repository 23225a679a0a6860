"""Solids that things are made of: tubes, balls, boxes, sheets and turned forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from facemix.render.surfaces import Array, Mesh, mesh_normals, unit


def solid(points: Array, triangles: NDArray[np.uint32], colours: ArrayLike, rest: ArrayLike) -> Mesh:
    """A mesh with smooth normals; one colour (3,) or rest position (3,) may stand for all its points."""
    every = (len(points), 3)
    normals = mesh_normals(points, triangles)
    flat = np.linalg.norm(normals, axis=1) < 0.5  # points at a pole, whose own triangles have no area
    if flat.any():
        normals[flat] = normals[~flat][cKDTree(points[~flat]).query(points[flat])[1]]
    return Mesh(
        points,
        normals,
        triangles,
        np.broadcast_to(np.asarray(rest, float), every),
        np.broadcast_to(np.asarray(colours, float), every),
    )


def lattice(rows: int, columns: int, wrapped: bool) -> NDArray[np.uint32]:
    """Triangles between the points of a grid, row by row; `wrapped` joins the last column to the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if wrapped else columns - 1), indexing="ij")
    here, beside = (i * columns + j).ravel(), (i * columns + (j + 1) % columns).ravel()
    below, across = here + columns, beside + columns
    return np.concatenate([np.stack([here, beside, across], 1), np.stack([here, across, below], 1)]).astype(np.uint32)


def tube(
    path: Array,
    radii: ArrayLike,
    up: ArrayLike,
    colour: ArrayLike,
    rest: ArrayLike,
    *,
    closed: bool = False,
    squareness: float = 2.0,
    sides: int = 8,
) -> Mesh:
    """A tube along a path.

    Args:
        path: points (n, 3); of a closed one the first follows the last.
        radii: (2,) or (n, 2), decimetres: across `up`, and along it.
        up: (3,) or (n, 3), nowhere along the path.
        colour: (3,), or (n, 3) along the path.
        rest: (3,) on the template, or (n, 3) along the path.
        closed: a ring; else the ends are capped.
        squareness: exponent of the superellipse of its section: 2 is round, 4 nearly a rectangle.
        sides: points around the section.
    """
    along = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    across = unit(np.cross(along, np.broadcast_to(np.asarray(up, float), path.shape)))
    over = unit(np.cross(across, along))
    sizes = np.broadcast_to(np.asarray(radii, float), (len(path), 2))
    colours, rests = (np.broadcast_to(np.asarray(values, float), path.shape) for values in (colour, rest))
    if not closed:  # the ends shrink to a point
        first_last = np.r_[0, np.arange(len(path)), len(path) - 1]
        path, across, over, sizes, colours, rests = (a[first_last] for a in (path, across, over, sizes, colours, rests))
        sizes = sizes * np.r_[1e-3, np.ones(len(path) - 2), 1e-3][:, None]
    angle = -2 * np.pi * (np.arange(sides) + 0.5) / sides  # against the clock, so that the normals point outwards
    section = np.stack([np.cos(angle), np.sin(angle)], 1)
    section = np.sign(section) * np.abs(section) ** (2 / squareness)
    offsets = (
        sizes[:, None, :1] * section[None, :, :1] * across[:, None]
        + sizes[:, None, 1:] * section[None, :, 1:] * over[:, None]
    )
    points = (path[:, None] + offsets).reshape(-1, 3)
    triangles = lattice(len(path), sides, wrapped=True)
    if closed:
        last = (len(path) - 1) * sides
        seam = lattice(2, sides, wrapped=True)
        triangles = np.concatenate([triangles, np.where(seam < sides, seam + last, seam - sides).astype(np.uint32)])
    return solid(points, triangles, np.repeat(colours, sides, 0), np.repeat(rests, sides, 0))


def turned(profile: Array, sides: int) -> tuple[Array, NDArray[np.uint32]]:
    """Points (n * sides, 3) and triangles of a profile (n, 2), radius and height, turned about the y axis."""
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.sin(angle), np.zeros(sides), np.cos(angle)], 1)
    points = profile[:, :1, None] * ring + profile[:, 1:, None] * np.array([0, 1, 0])
    return points.reshape(-1, 3), lattice(len(profile), sides, wrapped=True)


def ellipsoid(centre: Array, radii: ArrayLike, colour: ArrayLike, rest: ArrayLike, rings: int = 10) -> Mesh:
    """An ellipsoid with radii (3,) along the axes."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, rings)
    points, triangles = turned(np.stack([np.cos(polar), np.sin(polar)], 1), 2 * rings)
    return solid(centre + points * np.asarray(radii), triangles, colour, rest)


def rounded_box(sides: ArrayLike, radius: float, steps: int = 4) -> tuple[Array, NDArray[np.uint32]]:
    """Points (n, 3) and triangles of a box with rounded edges, centred on 0: sides (3,) and radius in decimetres."""
    half = np.asarray(sides, float) / 2
    polar = np.linspace(-np.pi / 2, np.pi / 2, 2 * steps)
    angle = np.concatenate([np.linspace(0, np.pi / 2, steps) + quarter * np.pi / 2 for quarter in range(4)])
    p, a = np.meshgrid(polar, angle, indexing="ij")
    ball = np.stack([np.cos(p) * np.cos(a), np.cos(p) * np.sin(a), np.sin(p)], 2).reshape(-1, 3)
    # Steps end at angles where a cosine is 0 up to rounding: which corner they belong to follows from their number.
    quarter = np.tile(np.repeat(np.arange(4), steps), len(polar))
    signs = np.stack(
        [np.where((quarter == 0) | (quarter == 3), 1, -1), np.where(quarter < 2, 1, -1), np.sign(ball[:, 2])], 1
    )
    points = signs * (half - radius) + radius * ball
    ends = np.tile([0, 0, half[2]], (len(angle), 1))  # close the box below and above
    return np.concatenate([-ends, points, ends]), lattice(len(polar) + 2, len(angle), wrapped=True)
