"""Wigs: modelled hair of cards with a painted texture, beside the strands that are grown."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
class Anchors:
    """The points (m, 3) by which a wig was modelled: they carry the finer ones along.

    `roots` is the skin next to them, `near` (m, 1) how far they follow it, 0 to 1: the rest moves with the head.
    """

    points: Points
    roots: Roots
    near: Points

    def carried(self, shape: Shape, groom: Groom) -> Points:
        """How far they move on a person's head, (m, 3)."""
        drift = groom.drift(self.points, shape)
        return np.asarray(drift + self.near * (self.roots.of(shape.skin[0] - groom.points) - drift), np.float32)


@dataclass(frozen=True)
class Wig:
    """A wig around the template head, in small opaque triangles: where the texture is clear there is none.

    `points`, `normals` (n, 3); `outward` (n, 3) away from the head; `levels` (n,) how light the hair is, 1 in the
    middle; `triangles` (m, 3). Each point lies between four anchors, `corners` (n, 4), by `weights` (n, 4).
    """

    points: Points
    normals: Points
    outward: Points
    levels: Points
    corners: NDArray[np.int32]
    weights: Points
    triangles: NDArray[np.uint32]
    anchors: Anchors

    def seen(self, view: Array) -> Wig:
        """What the camera sees of it: the head hides the rest. `view` (3,) points from the head to the camera."""
        hidden = behind_skull(self.points, view)
        triangles = self.triangles[~hidden[self.triangles].all(1)]
        used = np.zeros(len(self.points), bool)
        used[triangles] = True
        triangles = (np.cumsum(used) - 1).astype(np.uint32)[triangles]
        return Wig(
            self.points[used],
            self.normals[used],
            self.outward[used],
            self.levels[used],
            self.corners[used],
            self.weights[used],
            triangles,
            self.anchors,
        )

    def mirrored(self, groom: Groom) -> Wig:
        """The wig worn the other way round."""
        mirror = np.array([-1, 1, 1], np.float32)
        points, normals, outward = (values * mirror for values in (self.points, self.normals, self.outward))
        anchors = _anchored(self.anchors.points * mirror, groom)
        return replace(self, points=points, normals=normals, outward=outward, anchors=anchors)


def wig(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> Mesh:
    """A person's wig; arguments as of `hair`."""
    rng = person.rng("wig")
    mirrored = bool(rng.choice([-1, 1]) < 0)
    worn = _loaded(person.hair, STEP / min(1.0, detail), mirrored, groom).seen(view)
    moved = worn.anchors.carried(shape, groom)
    here = worn.points + np.einsum("nk,nkc->nc", worn.weights, moved[worn.corners])
    facing = np.sign(worn.normals @ view.astype(np.float32))[:, None] * worn.normals
    own = hair_colour(person) * np.exp(rng.normal(0, 0.15))
    share = np.clip(person.grey_hair * rng.uniform(0.8, 1.1), 0, 1)
    colours = (own + share * (GREY - own)).astype(np.float32) * (worn.levels ** rng.uniform(*CONTRAST))[:, None]
    normals = unit(np.float32(0.6) * facing + np.float32(0.4) * worn.outward)
    return Mesh(here, normals, worn.triangles, worn.points, colours.clip(0.004, 0.9))


@cache
def _loaded(name: str, step: float, mirrored: bool, groom: Groom) -> Wig:
    """A wig in triangles of this size."""
    return _loaded(name, step, False, groom).mirrored(groom) if mirrored else _cut(name, step, groom)


def _cut(name: str, step: float, groom: Groom) -> Wig:
    folder = files("facemix.render") / "data" / "wigs"
    with (folder / f"{name}.npz").open("rb") as file, np.load(file) as data:
        points, quads, uv = data["points"], data["quads"].astype(np.int32), data["uv"].astype(np.float32)
    quads = quads[points[quads, 1].max(1) > LOWEST]
    picture = cv2.imdecode(np.frombuffer((folder / f"{name}.webp").read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    corners, weights, triangles = _divided(points, quads, step)
    upright = mesh_normals(points, np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]]))
    modelled = np.column_stack([points, uv, upright]).astype(np.float32)
    fine, at, normals = np.split(np.einsum("nk,nkc->nc", weights, modelled[corners]), [3, 5], axis=1)
    rows, columns = picture.shape[:2]
    place = np.stack([(1 - at[:, 1]) * (rows - 1), at[:, 0] * (columns - 1)])
    grey, opaque = (
        ndimage.map_coordinates(picture[..., channel].astype(np.float32) / 255, place, order=1, mode="nearest")
        for channel in (0, 3)
    )
    kept = triangles[opaque[triangles].mean(1) > np.random.default_rng(0).uniform(*SOFT, len(triangles))]
    used = np.zeros(len(fine), bool)
    used[kept] = True
    linear = to_linear(grey[used] + 0.02)
    out = freed(groom, freed(groom, fine[used], LIFT), LIFT)  # the distance is inexact where hair lies deep
    return Wig(
        points=out,
        normals=normals[used],
        outward=groom.around(out)[1],
        levels=np.clip(linear / np.median(linear), 0.15, 4).astype(np.float32),
        corners=corners[used],
        weights=weights[used],
        triangles=(np.cumsum(used) - 1)[kept].astype(np.uint32),
        anchors=_anchored(points, groom),
    )


def _anchored(points: Points, groom: Groom) -> Anchors:
    roots = groom.nearest(points)
    distance = np.linalg.norm(roots.of(groom.points) - points, axis=1)
    return Anchors(points, roots, np.exp(-((distance / NEAR) ** 2))[:, None].astype(np.float32))


def _divided(
    points: Points, quads: NDArray[np.int32], step: float
) -> tuple[NDArray[np.int32], Points, NDArray[np.int64]]:
    """Quads (q, 4) over points cut into pieces no longer than a step.

    Returns:
        The four points (n, 4) around each new one, their weights (n, 4), and triangles (m, 3) of new points.
    """
    longest = np.linalg.norm(np.roll(points[quads], -1, 1) - points[quads], axis=2).max(1)
    parts = np.clip(np.ceil(longest / step), 1, 24).astype(int)
    corners, weights, triangles, start = [], [], [], 0
    for count in np.unique(parts):
        own = quads[parts == count]
        t = np.linspace(0, 1, count + 1, dtype=np.float32)
        u, v = (axis.ravel() for axis in np.meshgrid(t, t, indexing="ij"))
        share = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], 1)
        first = (np.arange(count)[:, None] * (count + 1) + np.arange(count)).ravel()
        lower, upper = (first, first + count + 1, first + count + 2), (first, first + count + 2, first + 1)
        pair = np.concatenate([np.stack(lower, 1), np.stack(upper, 1)])
        triangles.append(start + (np.arange(len(own))[:, None, None] * len(share) + pair).reshape(-1, 3))
        corners.append(np.repeat(own, len(share), 0))
        weights.append(np.tile(share, (len(own), 1)))
        start += len(own) * len(share)
    return np.concatenate(corners), np.concatenate(weights), np.concatenate(triangles)
