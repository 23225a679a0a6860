"""What is inside the mouth: two rows of teeth in their gums, and the tongue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.solids import lattice
from facemix.render.surfaces import Array, Mesh, mesh_normals, smoothstep

FIRST_TEETH = 0.9  # years
LIP = 0.04  # decimetres: how thick lips are
AROUND_MOUTH = (0.6, 0.6, 0.8)  # decimetres
GUM, TONGUE = np.array([0.42, 0.15, 0.13]), np.array([0.36, 0.12, 0.11])  # linear RGB
ENAMEL = np.array([1.0, 0.9, 0.75])  # brighter than it is: few bounces of light leave the mouth too dark
ACROSS = np.array([-1, -0.85, -0.5, 0, 0.5, 0.85, 1.0])  # columns of a tooth
# Rows from the gums to behind the edge: how far down the crown, how far back (decimetres), how much of it is gum.
DOWN = np.array([-0.7, -0.2, 0.0, 0.12, 0.5, 0.85, 1.0, 0.97, 0.6])
BACK = np.array([0.03, 0.0, 0.004, 0.0, -0.002, 0.006, 0.014, 0.03, 0.04])
IN_GUM = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0.0])
GROOVE = 0.02  # decimetres: between two teeth
REACH = 15  # columns: over so many the teeth that lips press back take others along


@dataclass(frozen=True)
class Arch:
    """A row of teeth on the template, where a smile shows it: nearer to the lips than the template's own.

    `front` is the height of its middle's edge and how far it stands out; `bend`, decimetres by which it recedes where
    x is 0.3, and `power` say how. `widths` of the teeth of a side and the `heights` of their crowns, from the middle;
    `towards` -1 for teeth that point down, 1 for up. `rise` is how much higher the edge lies where x is 0.3.
    """

    front: tuple[float, float]
    bend: float
    power: float
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    towards: float
    rise: float


ARCHES = {
    "upper_teeth": Arch(
        front=(6.568, 1.56),
        bend=0.312,
        power=3.07,
        widths=(0.085, 0.066, 0.076, 0.07, 0.068, 0.1),
        heights=(0.1, 0.088, 0.1, 0.085, 0.08, 0.07),
        towards=-1,
        rise=0.067,
    ),
    "lower_teeth": Arch(
        front=(6.602, 1.466),
        bend=0.284,
        power=3.34,
        widths=(0.053, 0.058, 0.069, 0.071, 0.073, 0.11),
        heights=(0.085, 0.085, 0.095, 0.085, 0.08, 0.07),
        towards=1,
        rise=0.08,
    ),
}


def mouth(person: Person, shape: Shape) -> list[Mesh]:
    """Teeth and tongue, behind the lips."""
    rng = person.rng("mouth")
    enamel = ENAMEL * rng.uniform(0.9, 1.15) * np.array([1, 1, rng.uniform(0.8, 1.1)])
    lips, meshes = _Lips(shape), []
    if person.age >= FIRST_TEETH:
        rows = (("upper_teeth", enamel), ("lower_teeth", 0.9 * enamel))
        meshes = [_teeth(name, colour, shape, lips, rng) for name, colour in rows]
    surface = shape.head.parts["tongue"]
    points, normals = surface.shaped(shape.now)
    rest, _ = surface.shaped(shape.head.vertices)
    if "expression/tongueOut" not in person.expression:
        points[:, 2] -= lips.pressed(points)
    return [*meshes, Mesh(points, normals, surface.triangles, rest, np.tile(TONGUE, (len(points), 1)))]


def _teeth(name: str, enamel: Array, shape: Shape, lips: _Lips, rng: np.random.Generator) -> Mesh:
    """A row of teeth, moved with the template's own, which hang on the skull and the jaw."""
    rest, colours = _row(ARCHES[name], enamel, rng)
    ids = shape.head.parts[name].ids
    own = np.column_stack([shape.head.vertices[ids], np.ones(len(ids))])
    move = np.linalg.lstsq(own, shape.now[ids], rcond=None)[0]
    columns = rest.shape[1]
    points = rest.reshape(-1, 3) @ move[:3] + move[3]
    # Whole columns move back, and their neighbours with them: teeth stay in their row.
    pressed = lips.pressed(points).reshape(-1, columns)[IN_GUM == 0].mean(0)
    pressed = ndimage.uniform_filter1d(ndimage.maximum_filter1d(pressed, REACH, mode="nearest"), REACH, mode="nearest")
    points[:, 2] -= np.tile(pressed, len(DOWN))
    points[:, 2] -= lips.pressed(points)  # what is still before the lips
    triangles = lattice(len(DOWN), columns, wrapped=False)
    normals = mesh_normals(points, triangles)
    return Mesh(points, normals, triangles, rest.reshape(-1, 3), colours.reshape(-1, 3))


def _row(arch: Arch, enamel: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points and linear colours (rows, columns, 3) of a row of teeth on the template, from its right to its left."""
    x = np.linspace(0, 0.36, 400)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(arch.bend * (x / 0.3) ** arch.power)))])
    middles = np.cumsum(arch.widths) - np.array(arch.widths) / 2
    order = [*range(len(middles) - 1, -1, -1), *range(len(middles))]
    side = np.repeat([-1.0, 1.0], len(middles))
    width, height = np.array(arch.widths)[order], np.array(arch.heights)[order]
    along = (side * middles[order])[:, None] + ACROSS * width[:, None] / 2
    x = np.sign(along) * np.interp(np.abs(along), length, x)
    out = np.abs(x / 0.3)
    depth = arch.bend * out**arch.power
    slope = np.gradient(depth.ravel(), x.ravel() + 1e-6 * np.arange(x.size)).reshape(x.shape)
    inward = np.stack([-slope, np.full_like(x, -1.0)], -1) / np.hypot(slope, 1)[..., None]
    # Teeth are round at their sides, and stand a little differently.
    back = GROOVE * np.abs(ACROSS) ** 4 + rng.normal(0, 0.003, (len(order), 1))
    round_off = 0.1 * np.abs(ACROSS) ** 6 + rng.normal(0, 0.015, (len(order), 1))
    crown = np.minimum(DOWN, 1)[:, None, None] * (1 - round_off * (DOWN > 0.9)[:, None, None])
    set_back = BACK[:, None, None] + back * (1 - 0.7 * IN_GUM[:, None, None])
    scallop = 0.15 * np.abs(ACROSS) ** 2 * np.isin(DOWN, (0.0, 0.12))[:, None, None]  # gums reach down between teeth
    y = arch.front[0] + arch.rise * out**2 - arch.towards * height[:, None] * (1 - crown - scallop)
    flat = np.stack([x, arch.front[1] - depth], -1) + set_back[..., None] * inward
    points = np.stack([flat[..., 0], np.broadcast_to(y, flat.shape[:-1]), flat[..., 1]], -1)
    shade = (1 - 0.35 * smoothstep(np.abs(x), 0.1, 0.3)) * np.exp(rng.normal(0, 0.03, (len(order), 1)))
    shade = shade * (1 - 0.45 * np.abs(ACROSS) ** 8)
    root = np.array([1.0, 0.93, 0.8]) ** np.clip(1 - DOWN, 0, 1)[:, None]  # darker and yellower towards the gums
    gum = IN_GUM[:, None, None, None]
    colours = shade[..., None] * (gum * GUM + (1 - gum) * enamel * root[:, None, None])
    rows = len(DOWN)
    return points.reshape(rows, -1, 3), colours.reshape(rows, -1, 3)


class _Lips:
    """Lips and chin, which a broad laugh draws over the teeth."""

    def __init__(self, shape: Shape) -> None:
        near = (np.abs(shape.skin[0] - shape.marks[60:68].mean(0)) < AROUND_MOUTH).all(1)
        skin = shape.skin[0][near & ~shape.head.inside_mouth]
        self._z, self._tree = skin[:, 2], cKDTree(skin[:, :2])

    def pressed(self, points: Array) -> Array:
        """How far points (n, 3) must move back to lie behind them, (n,)."""
        distance, near = self._tree.query(points[:, :2], k=4)
        deepest = self._z[near].max(1) - LIP
        return np.where(distance[:, 0] < LIP, np.maximum(points[:, 2] - deepest, 0), 0)
