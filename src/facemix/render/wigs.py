"""Wigs: modelled hair of cards with a painted texture, beside the strands that are grown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from facemix.render.colour import to_linear
from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.strands import GREY, Groom, Points, Roots, behind_skull, freed, hair_colour
from facemix.render.surfaces import Array, Mesh, mesh_normals, unit

STEP = 0.03  # decimetres: side of the triangles at 256 pixels
SOFT = (0.25, 0.75)  # how opaque the texture is where triangles begin and where all of them are there
CONTRAST = (0.8, 1.5)  # exponent of the texture's levels
LOWEST = 5.0  # decimetres: what hangs below is not in the picture
LIFT = 0.01  # decimetres between hair and skin, at least
NEAR = 0.2  # decimetres: within it hair moves with the skin beneath


@dataclass(frozen=True)
class Wig:
    """A wig around the template head, in small opaque triangles: where the texture is clear there is none.

    `points`, `normals` (n, 3); `triangles` (m, 3); `levels` (n,) how light the hair is, 1 in the middle; `roots` the
    skin next to the points, `near` (n,) how far they follow it, 0 to 1; `outward` (n, 3) away from the head.
    """

    points: Points
    normals: Points
    triangles: NDArray[np.uint32]
    levels: Points
    roots: Roots
    near: Points
    outward: Points

    def seen(self, view: Array) -> Wig:
        """What the camera sees of it: the head hides the rest. `view` (3,) points from the head to the camera."""
        hidden = behind_skull(self.points, view)
        triangles = self.triangles[~hidden[self.triangles].all(1)]
        used = np.zeros(len(self.points), bool)
        used[triangles] = True
        triangles = (np.cumsum(used) - 1).astype(np.uint32)[triangles]
        values = (self.levels[used], self.roots.picked(used), self.near[used], self.outward[used])
        return Wig(self.points[used], self.normals[used], triangles, *values)


def wig(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> Mesh:
    """A person's wig; arguments as of `hair`."""
    rng = person.rng("wig")
    mirrored = bool(rng.choice([-1, 1]) < 0)  # it may be worn the other way round
    worn = _loaded(person.hair, STEP / min(1.0, detail), mirrored, groom).seen(view)
    shift = groom.drift(worn.points, shape)
    moved = (shape.skin[0] - groom.points).astype(np.float32)
    here = worn.points + shift + worn.near[:, None] * (worn.roots.of(moved) - shift)
    facing = np.sign(worn.normals @ view.astype(np.float32))[:, None] * worn.normals
    own = hair_colour(person) * np.exp(rng.normal(0, 0.15))
    share = np.clip(person.grey_hair * rng.uniform(0.8, 1.1), 0, 1)
    colours = (own + share * (GREY - own)).astype(np.float32) * (worn.levels ** rng.uniform(*CONTRAST))[:, None]
    normals = unit(np.float32(0.6) * facing + np.float32(0.4) * worn.outward)
    return Mesh(here, normals, worn.triangles, worn.points, colours.clip(0.004, 0.9))


@cache
def _loaded(name: str, step: float, mirrored: bool, groom: Groom) -> Wig:
    """A wig in triangles of this size, as it was modelled or as its mirror image."""
    if not mirrored:
        return _cut(name, step, groom)
    wig = _loaded(name, step, False, groom)
    mirror = np.array([-1, 1, 1], np.float32)
    points = wig.points * mirror
    placed = (_rooted(groom, points), wig.near, wig.outward * mirror)
    return Wig(points, wig.normals * mirror, wig.triangles, wig.levels, *placed)


def _rooted(groom: Groom, points: Points) -> Roots:
    """The skin next to points (n, 3), in small numbers: there are many, and they are kept."""
    roots = groom.nearest(points)
    return Roots(roots.corners.astype(np.int32), roots.weights.astype(np.float32))


def _cut(name: str, step: float, groom: Groom) -> Wig:
    folder = files("facemix.render") / "data" / "wigs"
    with (folder / f"{name}.npz").open("rb") as file, np.load(file) as data:
        points, quads, uv = data["points"], data["quads"].astype(np.int64), data["uv"].astype(np.float32)
    quads = quads[points[quads, 1].max(1) > LOWEST]
    picture = cv2.imdecode(np.frombuffer((folder / f"{name}.webp").read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    coarse = mesh_normals(points, np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]]))
    corners, texture, upright = points[quads], uv[quads], coarse[quads]
    longest = np.linalg.norm(np.roll(corners, -1, 1) - corners, axis=2).max(1)
    pieces = [
        _divided(np.concatenate([corners, texture, upright], 2)[parts == count], int(count))
        for parts in [np.clip(np.ceil(longest / step), 1, 24).astype(int)]
        for count in np.unique(parts)
    ]
    starts = np.cumsum([0] + [len(piece[0]) for piece in pieces[:-1]])
    fine, at, normals = np.split(np.concatenate([piece[0] for piece in pieces]), [3, 5], axis=1)
    triangles = np.concatenate([piece[1] + start for piece, start in zip(pieces, starts, strict=True)])
    rows, columns = picture.shape[:2]
    place = np.stack([(1 - at[:, 1]) * (rows - 1), at[:, 0] * (columns - 1)])
    grey, opaque = (
        ndimage.map_coordinates(picture[..., channel].astype(np.float32) / 255, place, order=1, mode="nearest")
        for channel in (0, 3)
    )
    kept = triangles[opaque[triangles].mean(1) > np.random.default_rng(0).uniform(*SOFT, len(triangles))]
    used, kept = np.unique(kept, return_inverse=True)
    linear = to_linear(grey[used] + 0.02)
    points = freed(groom, freed(groom, fine[used], LIFT), LIFT)  # the distance is inexact where hair lies deep
    roots = _rooted(groom, points)
    distance = np.linalg.norm(roots.of(groom.points) - points, axis=1)
    return Wig(
        points,
        normals[used],
        kept.reshape(-1, 3).astype(np.uint32),
        np.clip(linear / np.median(linear), 0.15, 4).astype(np.float32),
        roots,
        np.exp(-((distance / NEAR) ** 2)).astype(np.float32),
        groom.around(points)[1],
    )


def _divided(corners: Points, count: int) -> tuple[Points, NDArray[np.int64]]:
    """Quads with values (n, 4, c) at their corners in count x count pieces: values (p, c) and triangles (m, 3)."""
    t = np.linspace(0, 1, count + 1, dtype=np.float32)
    u, v = (axis.ravel() for axis in np.meshgrid(t, t, indexing="ij"))
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], 1)
    first = (np.arange(count)[:, None] * (count + 1) + np.arange(count)).ravel()
    lower, upper = (first, first + count + 1, first + count + 2), (first, first + count + 2, first + 1)
    pair = np.concatenate([np.stack(lower, 1), np.stack(upper, 1)])
    triangles = (np.arange(len(corners))[:, None, None] * len(weights) + pair).reshape(-1, 3)
    return np.einsum("pk,nkc->npc", weights, corners).reshape(-1, corners.shape[2]), triangles
