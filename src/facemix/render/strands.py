"""Strands: where they may grow on the template head, how they grow, and how they become triangles on a person's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from facemix.render.colour import cast
from facemix.render.head import Head, Shape
from facemix.render.person import Person
from facemix.render.surfaces import Array, Mesh, dot, unit

Points = NDArray[Any]  # of float32: there are many

LOW, HIGH = np.array([-1.5, 4.6, -1.3]), np.array([1.5, 9.0, 2.1])  # the box of both grids, decimetres
FINE, COARSE = 0.075, 0.2  # their steps
DOWN = np.array([0.0, -1, 0], np.float32)
SKULL, SKULL_RADII = np.array([0, 7.5, 0.45], np.float32), np.array([0.66, 0.85, 0.85], np.float32)  # within the head
NEAR = 0.13  # within this distance of the skin its tangent planes tell the distance


# Linear RGB by Person.hair_tone; the last stands for all that is dyed.
TONES = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.030, 0.018, 0.011],
        [0.085, 0.047, 0.024],
        [0.33, 0.21, 0.10],
        [0.19, 0.058, 0.020],
        [0.22, 0.07, 0.05],
    ]
)
DYED = len(TONES) - 1
GREY = np.array([0.42, 0.41, 0.40])


def hair_colour(person: Person) -> Array:
    """Linear RGB (3,) of a person's hair that is not grey."""
    rng = person.rng("hair")
    own = TONES[person.hair_tone] * np.exp(rng.normal(0, 0.22)) * cast(rng.normal(0, 20.0), 0.0)
    if person.hair_tone == DYED:
        own = 0.5 * own + 0.5 * rng.uniform(0.01, 0.4, 3)
    return np.asarray(own)


def strand_colours(colour: Array, grey: float, n: int, k: int, rng: np.random.Generator) -> Points:
    """Linear RGB (n, k, 3): strands differ, a share of them is grey, roots are darker than tips."""
    own = colour * np.exp(rng.normal(0, 0.28, (n, 1)))
    # A strand stands for many hairs, so none is all grey as long as the head is not.
    share = np.clip(grey + 0.5 * min(grey, 1 - grey) * rng.normal(0, 1, (n, 1)), 0, 1)
    own = own + share * (GREY * rng.uniform(0.75, 1.1, (n, 1)) - own)
    along = 0.75 + 0.4 * np.linspace(0, 1, k)[:, None]
    return (own[:, None] * along).astype(np.float32)


class Grid:
    """Values (…, c) at the nodes of a regular grid over the box, read between them by trilinear interpolation."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.shape = tuple((np.ceil((HIGH - LOW) / step) + 1).astype(int).tolist())
        axes = [LOW[axis] + step * np.arange(self.shape[axis]) for axis in range(3)]
        self.nodes = np.stack(np.meshgrid(*axes, indexing="ij"), 3).reshape(-1, 3)

    def read(self, values: Points, points: Points) -> Points:
        """Node values (nodes, c) at points (n, 3); beyond the box, those of its border."""
        at = ((points - LOW.astype(np.float32)) / np.float32(self.step)).astype(np.float32)
        at = np.clip(at, 0, np.array(self.shape, np.float32) - 1.001)
        cell = at.astype(np.int32)
        fx, fy, fz = (at - cell).T[..., None]
        _, rows, columns = self.shape
        first = (cell[:, 0] * rows + cell[:, 1]) * columns + cell[:, 2]
        total = np.zeros((len(points), values.shape[1]), np.float32)
        for i, wx in ((0, 1 - fx), (1, fx)):
            for j, wy in ((0, 1 - fy), (1, fy)):
                low = np.take(values, first + (i * rows + j) * columns, 0)
                high = np.take(values, first + (i * rows + j) * columns + 1, 0)
                total += wx * wy * (low + fz * (high - low))
        return total


@dataclass(frozen=True)
class Roots:
    """Places on the skin: corners (n, 3) of their triangles and the weights (n, 3) of these."""

    corners: NDArray[np.integer[Any]]
    weights: Array

    def __len__(self) -> int:
        return len(self.corners)

    def of(self, values: Array) -> Array:
        """Values at the skin's points (p, c), interpolated: (n, c)."""
        return np.asarray(np.einsum("nk,nkc->nc", self.weights, values[self.corners]))

    def picked(self, chosen: NDArray[Any]) -> Roots:
        return Roots(self.corners[chosen], self.weights[chosen])


class Groom:
    """What all hair needs of the template head; made once.

    `points`, `normals` (p, 3) are the template's skin, `triangles` (t, 3) its outside; `ears`, `lips` (p,) masks.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.points, self.normals = head.skin_rest
        surface = head.parts["skin"]
        outside = ~head.inside_mouth[surface.triangles].all(1)
        self.triangles = surface.triangles[outside].astype(np.int64)
        corners = self.points[self.triangles]
        self.areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        self.ears, self.lips = head.skin_mask("ears"), head.skin_mask("lips")
        self.brow_marks = head.marks_rest[17:27]
        used = np.unique(self.triangles)
        self._tree, self._used = cKDTree(self.points[used]), used
        self._fine, self._coarse = Grid(FINE), Grid(COARSE)
        self._distance = self._measured()
        self._carry = self._carrier(used[::9])
        self.lash_edges = {name: _lash_edges(head, name) for name in head.parts if "lash" in name}

    def _measured(self) -> Points:
        """Signed distance to the skin and its gradient at the fine grid's nodes, (nodes, 4)."""
        nodes = self._fine.nodes
        rough = self._used[::12]
        far, near = cKDTree(self.points[rough]).query(nodes, 4)
        near = rough[near]
        close = far[:, 0] < 4 * NEAR
        far[close], near[close] = self._tree.query(nodes[close], 4)
        near[close] = self._used[near[close]]
        height = ((nodes[:, None] - self.points[near]) * self.normals[near]).sum(2)
        share = 1 / (far**2 + 1e-4)
        plane = (height * share).sum(1) / share.sum(1)
        distance = np.where(far[:, 0] < NEAR, plane, np.sign(plane) * far[:, 0]).reshape(self._fine.shape)
        distance = ndimage.gaussian_filter(distance, 0.6)
        slope = np.stack(np.gradient(distance, self._fine.step), 3)
        return np.concatenate([distance[..., None], slope], 3).reshape(-1, 4).astype(np.float32)

    def _carrier(self, samples: NDArray[np.int64]) -> sparse.csr_matrix:
        """Takes what happens to the skin's points to the coarse grid's nodes (nodes, p): the nearest count most."""
        far, near = cKDTree(self.points[samples]).query(self._coarse.nodes, 8)
        weights = 1 / (far**2 + 0.06**2)
        weights /= weights.sum(1, keepdims=True)
        rows = np.repeat(np.arange(len(far)), far.shape[1])
        shape = (len(far), len(self.points))
        return sparse.coo_matrix((weights.ravel(), (rows, samples[near].ravel())), shape).tocsr()

    def around(self, points: Points) -> tuple[Points, Points]:
        """Signed distance (n,) of template points (n, 3) to the skin, negative inside, and its unit gradient (n, 3)."""
        read = self._fine.read(self._distance, points)
        return read[:, 0], unit(read[:, 1:])

    def carried(self, strands: Points, roots: Roots, shape: Shape) -> Points:
        """Template strands (n, k, 3) on the person's head: their roots exactly, the rest with the head around them."""
        shift = self.drift(strands.reshape(-1, 3), shape).reshape(strands.shape)
        miss = roots.of(shape.skin[0] - self.points).astype(np.float32) - shift[:, 0]
        fade = np.linspace(1, 0, strands.shape[1], dtype=np.float32)[:, None]
        return np.asarray(strands + shift + miss[:, None] * fade)

    def drift(self, points: Points, shape: Shape) -> Points:
        """How far template points (n, 3) move with the head around them, (n, 3)."""
        field = np.asarray(self._carry @ (shape.skin[0] - self.points), np.float32)
        return self._coarse.read(field, points)

    def sown(self, rng: np.random.Generator, density: Array, count: int) -> Roots:
        """`count` places, as evenly spread as the density (p,) at the skin's points allows."""
        weight = np.cumsum(density[self.triangles].mean(1) * self.areas)
        if weight[-1] <= 0 or count <= 0:
            return Roots(np.zeros((0, 3), np.int64), np.zeros((0, 3)))
        at = (np.arange(count) + rng.random(count)) / count * weight[-1]
        triangle = np.minimum(np.searchsorted(weight, at), len(weight) - 1)
        a, b = rng.random((2, count))
        a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
        return Roots(self.triangles[triangle], np.stack([a, b, 1 - a - b], 1))

    def nearest(self, points: Array) -> Roots:
        """The places of the skin next to template points (n, 3), from the three nearest points of the skin."""
        far, near = self._tree.query(points, 3)
        weights = 1 / (far**2 + 1e-5)
        return Roots(self._used[near], weights / weights.sum(1, keepdims=True))


def _lash_edges(head: Head, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The two long edges of a strip of lashes, roots and tips, from the eye's inner corner outwards, as its points."""
    surface = head.parts[name]
    points, _ = surface.shaped(head.vertices)
    half = len(surface.triangles) // 2
    quads = np.concatenate([surface.triangles[:half], surface.triangles[half:, 2:]], 1)
    edges = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), 1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    loop = _loop(edges[uses == 1])
    corners = np.flatnonzero(np.bincount(quads.ravel(), minlength=len(points))[loop] == 1)
    loop = np.roll(loop, -corners[0])
    first, second, third = (corners - corners[0])[1:]
    around = np.append(loop, loop[0])
    sides = [around[a : b + 1] for a, b in ((0, first), (first, second), (second, third), (third, len(loop)))]
    long = sorted(sides, key=len)[2:]
    long = [side if abs(points[side[0], 0]) < abs(points[side[-1], 0]) else side[::-1] for side in long]
    root, tip = sorted(long, key=lambda side: points[side, 2].mean())
    return root, tip


def _loop(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The vertices of a closed line of edges (n, 2), in order."""
    beside: dict[int, list[int]] = {}
    for a, b in edges.tolist():
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    loop = [int(edges[0, 0])]
    before = -1
    while len(loop) < len(beside):
        following = next(vertex for vertex in beside[loop[-1]] if vertex != before)
        before = loop[-1]
        loop.append(following)
    return np.array(loop)


def grown(
    groom: Groom,
    roots: Points,
    start: Points,
    steps: Points,
    layers: Points,
    flow: Callable[[Points, Points, int], Points],
    stiffness: float,
    bound: Callable[[Points], Points] | None = None,
) -> Points:
    """Lets strands grow along a flow, each in a layer of its own above the skin.

    Args:
        groom: the template head.
        roots: (n, 3).
        start: unit directions (n, 3) at the roots.
        steps: length of a step, (n,).
        layers: least distance to the skin after each step, (n, k).
        flow: takes points (n, 3), the direction away from the skin (n, 3) and the step; returns directions (n, 3).
        stiffness: share of its direction that a strand keeps at each step, 0 to 1.
        bound: moves points (n, 3) out of where no strand may be.

    Returns:
        (n, k + 1, 3).
    """
    count = layers.shape[1]
    strands = np.empty((len(roots), count + 1, 3), np.float32)
    strands[:, 0] = roots
    here, heading = roots, start
    distance, away = groom.around(here)
    for step in range(count):
        heading = unit(stiffness * heading + (1 - stiffness) * flow(here, away, step))
        there = here + heading * steps[:, None]
        if bound is not None:
            there = bound(there)
        distance, away = groom.around(there)
        there = there + away * np.maximum(layers[:, step] - distance, 0)[:, None]
        heading = unit(there - here)
        here = there
        strands[:, step + 1] = here
    return strands


def freed(groom: Groom, points: Points, height: float) -> Points:
    """Template points (n, 3) moved out to this height above the skin where they lie deeper."""
    distance, away = groom.around(points)
    return points + np.maximum(height - distance, 0)[:, None] * away


def trimmed(strands: Points, share: Points) -> Points:
    """Strands (n, k, 3) cut to a share (n,) of their length, with as many points as before."""
    last = strands.shape[1] - 1
    at = share[:, None] * np.arange(last + 1, dtype=np.float32)
    low = np.minimum(at.astype(np.int64), last - 1)
    part = (at - low)[..., None].astype(np.float32)
    rows = np.arange(len(strands))[:, None]
    return np.asarray(strands[rows, low] * (1 - part) + strands[rows, low + 1] * part)


def behind_skull(points: Points, view: Array) -> NDArray[np.bool_]:
    """Which points (..., 3) of the template the camera cannot see for the head: many triangles, which cost time."""
    at, towards = (points - SKULL) / SKULL_RADII, unit(view / SKULL_RADII).astype(np.float32)
    along = at @ towards
    return np.asarray((along < 0) & (dot(at, at) - along**2 < 1))


def ribbons(
    strands: Points,
    widths: Points,
    colours: Points,
    outward: Points,
    view: Array,
    rest: Points,
    roundness: float = 0.7,
    curled: bool = False,
) -> Mesh:
    """Strands as ribbons that face the viewer, with the normals of round hairs.

    Args:
        strands: (n, k, 3).
        widths: (n, k), decimetres.
        colours: (n, k, 3), linear RGB.
        outward: away from the head, (n, 1 or k, 3): shades the hair as the body that it forms.
        view: towards the camera, (3,).
        rest: on the template, (n, 1 or k, 3).
        roundness: how far the normals lean apart at a ribbon's edges.
        curled: strands turn so much that both edges must follow each point; else they take turns, with half the
            triangles.
    """
    n, k = strands.shape[:2]
    if n == 0:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.uint32), np.zeros((0, 3)), np.zeros((0, 3)))
    towards = view.astype(np.float32)
    along = np.empty_like(strands)
    along[:, 1:-1] = strands[:, 2:] - strands[:, :-2]
    along[:, 0], along[:, -1] = strands[:, 1] - strands[:, 0], strands[:, -1] - strands[:, -2]
    along = unit(along)
    across = unit(np.cross(along, towards))
    front: Array = 0.55 * towards + 0.75 * outward.astype(np.float32)
    front = front - dot(front, along)[..., None] * along
    at, side = _edges(k, curled)
    sideways = side[:, None] * across[:, at]
    points = strands[:, at] + (0.5 * widths.astype(np.float32)[:, at, None]) * sideways
    normals = unit(unit(front)[:, at] + roundness * sideways)
    corner = (np.arange(n)[:, None] * len(at) + np.arange(len(at) - 2)).reshape(-1, 1)

    def picked(values: Points) -> Array:
        return np.broadcast_to(values, strands.shape)[:, at].reshape(-1, 3)

    triangles = (corner + np.arange(3)).astype(np.uint32)
    return Mesh(points.reshape(-1, 3), normals.reshape(-1, 3), triangles, picked(rest), picked(colours))


def _edges(k: int, curled: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of a strand's k points the corners of its ribbon belong to, and on which side they lie, -1 or 1."""
    if curled:
        at = np.repeat(np.arange(k), 2)
        return at, np.resize(np.array([-1, 1], np.float32), len(at))
    at = np.append(0, np.arange(k))
    return at, np.resize(np.array([-1, 1], np.float32), len(at))


def cap(groom: Groom, shape: Shape, density: Array, height: float, colour: Array) -> Mesh:
    """A copy of the skin in the colour of its hair, that comes out of the skin where hair is dense: none shows between.

    Args:
        groom: the template head.
        shape: the person's.
        density: of hair at the skin's points, (p,), 0 to 1.
        height: above the skin where the density is 1, decimetres.
        colour: linear RGB, (3,) or (p, 3).
    """
    triangles = groom.triangles[(density[groom.triangles] > 0).any(1)]
    used, triangles = np.unique(triangles, return_inverse=True)
    points, normals = shape.skin
    raised = (1.5 * density[used] - 0.5) * height
    points = points[used] + normals[used] * raised[:, None]
    colours = np.broadcast_to(colour, groom.points.shape)[used]
    return Mesh(points, normals[used], triangles.reshape(-1, 3).astype(np.uint32), groom.points[used], colours)


def lying(
    roots: Roots, heading: Array, length: Array, points: int, shape: Shape, lift: float, droop: float = 0.0
) -> Points:
    """Short strands (n, points, 3) on the person's skin: along it, a little off it, and `droop` of them falls."""
    skin, normals = shape.skin
    at, out = roots.of(skin), unit(roots.of(normals))
    along = unit(heading - dot(heading, out)[:, None] * out)
    t = np.linspace(0, 1, points)[:, None]
    size = length[:, None, None]
    rise = 0.003 + lift * size * t * (1 - 0.6 * t * (1 - droop))
    strands = at[:, None] + size * t * along[:, None] + rise * out[:, None]
    # What points into the head when it falls would grow through the skin.
    fall = DOWN - np.minimum(out @ DOWN, 0)[:, None] * out
    return np.asarray(strands + 0.5 * droop * size * t**2 * (fall - along)[:, None], np.float32)


def on_skin(
    strands: Points,
    widths: Array,
    colours: Array,
    roots: Roots,
    shape: Shape,
    groom: Groom,
    view: Array,
    roundness: float,
) -> Mesh:
    """Ribbons of short strands that follow the skin at their roots; arguments as of `ribbons`."""
    normals = unit(roots.of(shape.skin[1])).astype(np.float32)[:, None]
    rest = roots.of(groom.points).astype(np.float32)[:, None]
    return ribbons(strands, widths.astype(np.float32), colours.astype(np.float32), normals, view, rest, roundness)
