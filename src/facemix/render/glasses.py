"""Glasses: a frame fitted to eyes, nose and ears, and its lenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.solids import ellipsoid, lattice, solid, tube
from facemix.render.surfaces import Array, Mesh, smoothstep
from facemix.render.worn import HEAD_TOP, rows_at

EAR_ROOT = (0.69, 7.33, 0.56)  # on the template: where the arm of a frame lies on the left ear
BEHIND_EAR = (0.66, 7.1, 0.40)
TEMPLE = (0.69, 7.33, 0.87)
VERTEX_DISTANCE = 0.09  # decimetres from the eyeball to the lens, at least
CLEARANCE = 0.012  # between frame and skin
WRAP, TILT = 0.12, 0.1  # of the front: how fast it recedes to the sides and downwards
OUTLINE = 56  # points of a rim
BULGE = 0.015  # of a lens, decimetres
CLEAR = np.array([0.96, 0.97, 0.96])

# Form of the lenses: width and height (shares of the room for a lens), squareness, how much wider above than below, how
# much longer below than above, and the share of plastic among its frames.
FORMS = {
    "round": (0.84, 0.86, 2.0, 0.0, 0.0, 0.4),
    "oval": (0.95, 0.66, 2.2, 0.02, 0.0, 0.3),
    "rectangle": (1.0, 0.62, 4.0, 0.03, 0.0, 0.6),
    "wayfarer": (1.0, 0.78, 3.4, 0.12, 0.05, 1.0),
    "aviator": (1.02, 0.92, 2.5, 0.1, 0.35, 0.05),
    "panto": (0.92, 0.84, 2.4, 0.1, 0.0, 0.6),
}
PLASTIC = np.array(
    [[0.01, 0.01, 0.011], [0.012, 0.012, 0.014], [0.05, 0.02, 0.008], [0.09, 0.04, 0.015], [0.015, 0.025, 0.07],
     [0.22, 0.02, 0.025], [0.35, 0.32, 0.28], [0.6, 0.58, 0.55], [0.02, 0.07, 0.05]]
)  # fmt: skip
METAL = np.array([[0.36, 0.25, 0.09], [0.3, 0.3, 0.31], [0.08, 0.08, 0.09], [0.02, 0.02, 0.02], [0.3, 0.18, 0.13]])
SUN_TINTS = np.array([[0.05, 0.05, 0.055], [0.09, 0.055, 0.03], [0.04, 0.06, 0.045], [0.03, 0.03, 0.06]])


@dataclass(frozen=True)
class Frame:
    """One pair of glasses on one head; outlines (OUTLINE, 3) run round each lens from the temple over the top.

    `radii` (2,): half width of the rim in the plane of the lens, and across it.
    """

    outlines: dict[int, Array]  # by side: 1 left, -1 right
    middles: dict[int, Array]
    radii: Array
    plastic: bool
    half: bool  # no rim below
    colour: Array
    bridge: Array
    hinge: dict[int, Array]
    arms: dict[int, Array]
    passing: Array  # (4,): share of light that passes the lenses, linear RGB, and share thrown back
    fading: float  # how much more passes at the lenses' lower edge


def frame(person: Person, shape: Shape) -> Frame:
    """Chooses a frame and fits it: as close as brows, cheeks and lashes allow."""
    rng = person.rng("glasses")
    form = str(rng.choice(list(FORMS), p=[0.14, 0.12, 0.26, 0.22, 0.12, 0.14]))
    width, height, squareness, taper, droop, plastic_share = FORMS[form]
    plastic = bool(rng.random() < plastic_share)
    half = bool(form in ("rectangle", "oval") and rng.random() < 0.3)
    thick = rng.uniform(0.015, 0.027) if plastic else rng.uniform(0.006, 0.010)
    radii = np.array([thick, thick * (0.85 if plastic else 1.0)])
    colour = (PLASTIC if plastic else METAL)[rng.integers(len(PLASTIC if plastic else METAL))] * rng.uniform(0.7, 1.3)
    (left, radius), (right, _) = shape.eye("l"), shape.eye("r")
    apart = float(left[0] - right[0]) / 2
    x0, y0 = float(left[0] + right[0]) / 2, float(left[1] + right[1]) / 2 - 0.035 - 0.06 * droop
    scale = rng.uniform(0.92, 1.08) * (1.12 if person.glasses == "sun" else 1.0)
    inner = 0.085 + thick
    half_width = (apart - inner + 0.035) * width * min(scale, 1.04)
    half_height = 0.235 * height * scale
    flat = _outline(half_width, half_height, squareness, taper, droop)
    flat[:, 0] += inner + half_width
    skin_front = _Front(shape)
    eye_front = max(left[2], right[2]) + 1.06 * radius
    whole = np.concatenate([flat * share + [(1 - share) * (inner + half_width), 0] for share in (1.0, 0.8, 0.5)])
    both = np.concatenate([whole * [side, 1] for side in (1, -1)]) + np.array([x0, y0])
    need = skin_front(both) + CLEARANCE + radii[1] - _bow(both, x0, y0)
    z0 = max(float(need.max()), eye_front + VERTEX_DISTANCE)
    outlines, middles = {}, {}
    for side in (1, -1):
        here = flat * [side, 1] + [x0, y0]
        outlines[side] = np.column_stack([here, z0 + _bow(here, x0, y0)])
        middle = np.array([[x0 + side * (inner + half_width), y0]])
        middles[side] = np.append(middle[0], z0 + _bow(middle, x0, y0)[0])
    hinge, arms = _arms(shape, outlines, radii)
    passing, fading = np.append(CLEAR, rng.uniform(0.03, 0.09)), 0.0
    if person.glasses == "sun":
        passing[:3] = SUN_TINTS[rng.integers(len(SUN_TINTS))] * rng.uniform(0.2, 1.2)
        fading = rng.uniform(0, 4) if rng.random() < 0.4 else 0.0
    bridge = _bridge(outlines, radii, skin_front)
    return Frame(outlines, middles, radii, plastic, half, colour, bridge, hinge, arms, passing, fading)


def _outline(width: float, height: float, squareness: float, taper: float, droop: float) -> Array:
    """A lens' outline (OUTLINE, 2) around 0, x away from the nose."""
    angle = 2 * np.pi * np.arange(OUTLINE) / OUTLINE
    x, y = (np.sign(c) * np.abs(c) ** (2 / squareness) for c in (np.cos(angle), np.sin(angle)))
    long = 1 + droop * smoothstep(-y, 0, 1)
    return np.stack([width * x * (1 + taper * (y - 1)) + 0.1 * width * droop * np.maximum(-y, 0), height * y * long], 1)


def _bow(points: Array, x0: float, y0: float) -> Array:
    """How far the front lies before its middle, (n,), at points (n, 2)."""
    bow: Array = TILT * (points[:, 1] - y0) - WRAP * (points[:, 0] - x0) ** 2
    return bow


class _Front:
    """The front of the face as a height: z (n,) at points (n, 2)."""

    def __init__(self, shape: Shape) -> None:
        points, _ = shape.skin
        eyes = (shape.eye("l")[0] + shape.eye("r")[0]) / 2
        face = points[(np.abs(points - eyes) < [0.8, 0.45, 0.7]).all(1)]
        self._z, self._tree = face[:, 2], cKDTree(face[:, :2])

    def __call__(self, points: Array) -> Array:
        _, near = self._tree.query(points, k=5)
        highest: Array = self._z[near].max(1)
        return highest


def _bridge(outlines: dict[int, Array], radii: Array, front: _Front) -> Array:
    """The arch over the nose, (9, 3)."""
    ends = []
    for side in (1, -1):
        inner = outlines[side][OUTLINE // 2 - 6]  # a little above the middle
        ends.append(inner)
    share = np.linspace(0, 1, 9)[:, None]
    arch = ends[0] * (1 - share) + ends[1] * share
    lift = 1 - (2 * share[:, 0] - 1) ** 2
    arch[:, 1] += 0.03 * lift
    arch[:, 2] = np.maximum(arch[:, 2], front(arch[:, :2]) + 0.8 * radii[1])
    return arch


def _arms(shape: Shape, outlines: dict[int, Array], radii: Array) -> tuple[dict[int, Array], dict[int, Array]]:
    """Paths from each rim to its hinge, and from there along the temple over the ear."""
    points = shape.head.parts["skin"].smooth(shape.neutral)
    hinges, arms = {}, {}
    for side in (1, -1):
        ear, behind, temple = points[rows_at(shape.head, side, EAR_ROOT, BEHIND_EAR, TEMPLE)]
        outer = outlines[side][5]
        wide = max(side * outer[0] + 0.02, side * temple[0] - 0.03)
        hinge = np.array([side * wide, outer[1] + 0.01, outer[2] - 0.05])
        over = ear + np.array([side * 0.025, 0.02, 0])
        down = behind + np.array([side * 0.03, 0, 0])
        hinges[side] = np.array([outer, (outer + hinge) / 2 + [0, 0.004, 0.015], hinge])
        share = np.linspace(0, 1, 12)[:, None]
        straight = hinge * (1 - share) + over * share
        skull = points[(side * points[:, 0] > 0.4) & (np.abs(points[:, 1] - hinge[1]) < 0.15) & (points[:, 2] > 0.6)]
        _, near = cKDTree(skull[:, 1:]).query(straight[:, 1:], k=4)
        beside = (side * skull[near, 0]).max(1) + 0.008 + radii[1]
        straight[:, 0] = side * np.where(
            straight[:, 2] > 0.7, np.maximum(side * straight[:, 0], beside), side * straight[:, 0]
        )
        bend = np.linspace(0.25, 1, 5)[:, None]
        arms[side] = np.concatenate(
            [straight, over + (down - over) * bend * [1, 1, 1] + (1 - bend) * bend * [0, 0.1, -0.1]]
        )
    return hinges, arms


def glasses(person: Person, shape: Shape) -> tuple[list[Mesh], list[Mesh]]:
    """The frame and the lenses of glasses, or nothing."""
    if person.glasses == "none":
        return [], []
    fit = frame(person, shape)
    return _rims(fit), _lenses(fit)


def _rims(fit: Frame) -> list[Mesh]:
    """Rims, bridge, arms and, of metal ones, the pads on the nose."""
    thick, deep = fit.radii
    square = 3.5 if fit.plastic else 2.0
    forward, sideways = [0, 0, 1], [1, 0, 0]

    def bar(path: Array, radii: list[float], up: list[int], closed: bool = False) -> Mesh:
        return tube(path, radii, up, fit.colour, HEAD_TOP, closed=closed, squareness=square)

    meshes = [bar(fit.bridge, [1.1 * thick, deep], forward)]
    tall = 0.045 if fit.plastic else 0.012
    for side in (1, -1):
        rim = fit.outlines[side]
        if fit.half:
            rim = np.roll(rim, 2, 0)[: OUTLINE // 2 + 5]
        meshes.append(bar(rim, [thick, deep], forward, closed=not fit.half))
        meshes.append(bar(fit.hinge[side], [max(thick, 0.7 * tall), deep], forward))
        meshes.append(bar(fit.arms[side], [tall * 0.7, 0.7 * deep], sideways))
        if not fit.plastic:
            pad = fit.outlines[side][OUTLINE // 2 + 3] - [side * 0.012, 0.01, 0.03]
            meshes.append(ellipsoid(pad, [0.012, 0.035, 0.022], [0.5, 0.48, 0.45], HEAD_TOP, rings=6))
    return meshes


def _lenses(fit: Frame) -> list[Mesh]:
    """Left and right lens; their colours are (n, 4): the share of light that passes, RGB, and the share thrown back."""
    meshes = []
    for side in (1, -1):
        outline, middle = fit.outlines[side], fit.middles[side]
        inward = np.linspace(0, 0.98, 6)[:, None, None]
        points = outline * (1 - inward) + middle * inward
        points[..., 2:] += BULGE * (1 - (1 - inward) ** 2)
        points = points.reshape(-1, 3)
        low, high = outline[:, 1].min(), outline[:, 1].max()
        colours = np.tile(fit.passing, (len(points), 1))
        colours[:, :3] *= 1 + fit.fading * ((high - points[:, 1]) / (high - low))[:, None]
        mesh = solid(points, lattice(6, OUTLINE, wrapped=True), np.zeros(3), HEAD_TOP)
        normals = np.where(mesh.normals[:, 2:] < 0, -mesh.normals, mesh.normals)
        meshes.append(Mesh(points, normals, mesh.triangles, mesh.rest, np.clip(colours, 0, 1)))
    return meshes
