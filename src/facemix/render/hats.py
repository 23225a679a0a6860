"""Hats: caps, beanies and hats with a brim, fitted to the skull; hoods and headscarves around the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.solids import ellipsoid, lattice, solid
from facemix.render.surfaces import Array, Mesh, mesh_normals, smoothstep
from facemix.render.worn import CLOTH, HEAD_TOP, rows_at

EAR_TOP = (0.78, 7.34, 0.45)  # on the template
OVER_HAIR = 0.07  # decimetres of flattened hair under a hat
SKULL = 2.3  # exponent of the superellipsoid that a skull fills
COLUMNS = 96  # around a hat
DOME_ROWS = 20
STRAW = np.array([[0.5, 0.38, 0.2], [0.6, 0.52, 0.38], [0.22, 0.13, 0.06], [0.02, 0.018, 0.018], [0.1, 0.09, 0.08]])


@dataclass(frozen=True)
class Fit:
    """Where a hat sits.

    `origin` (3,) lies in the plane of its edge; the rows of `axes` (3, 3) point right, up and forward; `extents` (3,)
    are half those of the superellipsoid that holds the skull.
    """

    origin: Array
    axes: Array
    extents: Array

    def placed(self, points: Array) -> Array:
        """Head-space points of hat-space points (..., 3): right, up and forward of the origin, decimetres."""
        placed: Array = self.origin + points @ self.axes
        return placed


def hat(person: Person, shape: Shape) -> list[Mesh]:
    """A hat, or nothing."""
    if person.hat == "none":
        return []
    rng = person.rng("hat")
    return {"cap": _cap, "beanie": _beanie, "brim": _brim, "hood": _hood}[person.hat](rng, shape)


def fitted(shape: Shape, above_brows: float, back: float) -> Fit:
    """The plane of a hat's edge and the skull above it.

    Args:
        shape: whose head.
        above_brows: where the edge crosses the forehead, decimetres above the higher brow.
        back: how much lower it lies behind, if the ears let it.
    """
    still = Shape(shape.head, shape.neutral, shape.neutral)
    points = shape.head.parts["skin"].smooth(shape.neutral)
    brow = max(still.marks[17:27, 1].max(), shape.marks[17:27, 1].max() - 0.04)
    ears = points[rows_at(shape.head, 1, EAR_TOP) + rows_at(shape.head, -1, EAR_TOP)]
    upper = points[points[:, 1] > brow]
    front, behind = upper[:, 2].max(), upper[:, 2].min()
    height, ear = brow + above_brows, ears[:, 1].max() + 0.03
    slope = min(back, (height - ear) / (front - ears[0, 2]) * (front - behind)) / (front - behind)
    forward = np.array([0, slope, 1]) / np.hypot(slope, 1)
    up = np.array([0, 1, -slope]) / np.hypot(slope, 1)
    axes = np.stack([[1.0, 0, 0], up, forward])
    origin = np.array([upper[:, 0].mean(), 0, (front + behind) / 2])
    origin[1] = height - slope * (front - origin[2])
    auricle = (np.abs(points[:, 0] - origin[0]) > np.abs(ears[:, 0] - origin[0]).min() - 0.05) & (points[:, 1] < ear)
    skull = ((points - origin) @ axes.T)[~auricle]
    skull = skull[skull[:, 1] > -0.02]
    extents = np.array([np.abs(skull[:, 0]).max(), skull[:, 1].max(), np.abs(skull[:, 2]).max()])
    needed = (np.abs(skull / extents) ** SKULL).sum(1).max() ** (1 / SKULL)
    return Fit(origin, axes, extents * needed + OVER_HAIR)


def _dome(extents: Array, power: float, rows: int = DOME_ROWS, columns: int = COLUMNS) -> Array:
    """Points (rows, columns, 3) of a superellipsoid's upper half in hat space, from its edge up."""
    polar = np.linspace(0, 1, rows)[:, None] * np.pi / 2
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    flat, tall = np.cos(polar) ** (2 / power), np.sin(polar) ** (2 / power)
    around = _ring(angle, 2.2)
    return np.stack(
        [extents[0] * flat * around[..., 0], extents[1] * tall + 0 * angle, extents[2] * flat * around[..., 1]], 2
    )


def _ring(angle: Array, power: float) -> Array:
    """Right and forward (..., 2) of a unit superellipse; the angle is 0 in front."""
    sine, cosine = np.sin(angle), np.cos(angle)
    radius = (np.abs(sine) ** power + np.abs(cosine) ** power) ** (-1 / power)
    return np.stack([radius * sine, radius * cosine], -1)


def _closed(fit: Fit, points: Array, colours: Array) -> Mesh:
    """A surface from rings (rows, columns, 3) in hat space; colours (rows, columns, 3) or (3,)."""
    colours = np.broadcast_to(colours, points.shape).reshape(-1, 3)
    return solid(
        fit.placed(points.reshape(-1, 3)), lattice(len(points), points.shape[1], wrapped=True), colours, HEAD_TOP
    )


def _cloth(rng: np.random.Generator) -> Array:
    colour: Array = CLOTH[rng.integers(len(CLOTH))] * np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.1, 3))
    return colour.clip(0.005, 0.8)


def _cap(rng: np.random.Generator, shape: Shape) -> list[Mesh]:
    """A baseball cap: six panels, a button, and a visor before or behind."""
    fit = fitted(shape, rng.uniform(0.2, 0.34), 0.42)
    backwards = rng.random() < 0.2
    colour, visor_colour = _cloth(rng), _cloth(rng)
    if rng.random() < 0.55:
        visor_colour = colour
    turn = np.pi if backwards else 0.0
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    extents = fit.extents * [1, rng.uniform(1.0, 1.15), 1]
    dome = _dome(extents, rng.uniform(SKULL, 2.8))
    colours = np.tile(colour, (*dome.shape[:2], 1))
    seams = np.exp(-(((np.mod(angle / (np.pi / 3) + 0.5, 1) - 0.5) / 0.035) ** 2))
    colours *= 1 - 0.35 * seams[None, :, None]
    around = (angle - turn + np.pi) % (2 * np.pi) - np.pi
    if rng.random() < 0.35:  # the two front panels in another colour
        colours[:, np.abs(around) < np.pi / 3] = _cloth(rng)
    if rng.random() < 0.5:
        _print_on(rng, colours, around)
    dome *= 1 - 0.008 * seams[None, :, None]
    button = ellipsoid(fit.placed(np.array([0, extents[1], 0])), [0.05, 0.03, 0.05], visor_colour, HEAD_TOP, rings=6)
    return [_closed(fit, dome, colours), _visor(rng, fit, turn, visor_colour), button]


def _print_on(rng: np.random.Generator, colours: Array, around: Array) -> None:
    """Sews a patch on the front of a dome's colours (rows, columns, 3), in place."""
    row = np.arange(len(colours))[:, None] / len(colours)
    patch = (np.abs(around)[None] / rng.uniform(0.2, 0.4)) ** 2 + ((row - 0.36) / rng.uniform(0.1, 0.2)) ** 2 < 1
    colours[patch] = _cloth(rng)
    inner = (np.abs(around)[None] / 0.15) ** 2 + ((row - 0.36) / 0.08) ** 2 < 1
    if rng.random() < 0.5:
        colours[inner] = _cloth(rng)


def _visor(rng: np.random.Generator, fit: Fit, turn: float, colour: Array) -> Mesh:
    """The visor of a cap: two curved sheets with an edge between."""
    length, droop, curl = rng.uniform(0.55, 0.72), rng.uniform(0.0, 0.14), rng.uniform(0.06, 0.2)
    angle = np.linspace(-1.2, 1.2, 33)
    out = np.array([0, 0.25, 0.5, 0.75, 0.95, 1.0, 1.0, 0.95, 0.75, 0.5, 0.25, 0])
    thick = np.array([1, 1, 1, 1, 0.9, 0.4, -0.4, -0.9, -1, -1, -1, -1]) * 0.014
    reach = length * np.cos(angle / 1.2 * np.pi / 2) ** 0.6
    base = _ring(angle + turn, 2.2) * fit.extents[[0, 2]]
    ahead = np.array([np.sin(turn), np.cos(turn)])
    direction = base / np.linalg.norm(base, axis=1, keepdims=True) * 0.35 + ahead * 0.65
    flat = base[None] * 0.985 + out[:, None, None] * (reach[:, None] * direction)[None]
    height = 0.02 + thick[:, None] - out[:, None] * droop - curl * (np.abs(angle) / 1.2)[None] ** 2 * out[:, None]
    points = np.stack([flat[..., 0], np.broadcast_to(height, flat.shape[:2]), flat[..., 1]], 2)
    placed = fit.placed(points.reshape(-1, 3))
    return solid(placed, lattice(len(points), points.shape[1], wrapped=False), colour, HEAD_TOP)


def _beanie(rng: np.random.Generator, shape: Shape) -> list[Mesh]:
    """A knitted hat with ribs, often with a folded edge, sometimes with a bobble."""
    fit = fitted(shape, rng.uniform(0.1, 0.3), 0.5)
    ribs = int(rng.integers(26, 44))
    columns = 4 * ribs
    colour, other = _cloth(rng), _cloth(rng)
    slouch = rng.uniform(0, 0.3) * (rng.random() < 0.5)
    extents = fit.extents * [1.0, 1.04 + 0.6 * slouch, 1.0] + [0.02, 0.03, 0.02]
    dome = _dome(extents, 2.2, rows=24, columns=columns)
    rise = np.linspace(0, 1, 24)[:, None]
    dome[..., 2] -= slouch * 1.2 * rise**2 * np.cos(rise * np.pi / 2) ** 0.5
    knit = np.cos(np.arange(columns) * np.pi / 2)[None]  # one rib is four columns
    dome *= 1 + (0.011 * knit * (1 - rise**3))[..., None]
    colours = np.tile(colour, (*dome.shape[:2], 1))
    if rng.random() < 0.35:
        colours[(np.arange(24) // int(rng.integers(2, 5))) % 2 == 1] = other
    colours = colours * (1 + 0.25 * knit[..., None])
    meshes = [_closed(fit, dome, colours)]
    if rng.random() < 0.75:
        width = rng.uniform(0.25, 0.4)
        meshes.append(_band(fit, extents, 2.2, width, 0.055, knit, colour if rng.random() < 0.7 else other))
    if rng.random() < 0.25:
        meshes.append(_bobble(rng, fit.placed(np.array([0, extents[1] + 0.12, 0])), other))
    return meshes


def _band(fit: Fit, extents: Array, power: float, width: float, thickness: float, knit: Array, colour: Array) -> Mesh:
    """A band around a dome: a folded edge or a ribbon; `knit` (1, columns), -1 to 1, are its ribs."""
    height = np.array([-0.01, -0.02, 0.0, 0.25, 0.5, 0.75, 0.97, 1.0, 0.98]) * width
    out = np.array([0.0, 0.55, 0.9, 1, 1, 1, 0.9, 0.45, 0]) * thickness
    ring = _ring(np.linspace(0, 2 * np.pi, knit.shape[1], endpoint=False), 2.2)
    lean = np.maximum(1 - np.maximum(height / extents[1], 0) ** power, 0) ** (1 / power)
    radial = ring[None] * (extents[[0, 2]] * lean[:, None] + out[:, None])[:, None]
    radial *= 1 + 0.012 * knit[..., None]
    points = np.stack([radial[..., 0], np.broadcast_to(height[:, None], radial.shape[:2]), radial[..., 1]], 2)
    return _closed(fit, points, colour * (1 + 0.25 * np.broadcast_to(knit[..., None], (*points.shape[:2], 1))))


def _bobble(rng: np.random.Generator, centre: Array, colour: Array) -> Mesh:
    ball = ellipsoid(np.zeros(3), [0.19, 0.17, 0.19], colour, HEAD_TOP, rings=14)
    points = centre + ball.points * (1 + 0.1 * rng.normal(size=(len(ball.points), 1)))
    return Mesh(points, mesh_normals(points, ball.triangles), ball.triangles, ball.rest, ball.colours)


def _brim(rng: np.random.Generator, shape: Shape) -> list[Mesh]:
    """A hat with a brim all round: felt with a dent, or straw."""
    fit = fitted(shape, rng.uniform(0.22, 0.36), 0.3)
    colour = STRAW[rng.integers(len(STRAW))] * np.exp(rng.normal(0, 0.2)) if rng.random() < 0.7 else _cloth(rng)
    extents = fit.extents * [1, rng.uniform(1.05, 1.25), 1]
    power = rng.uniform(2.8, 4.0)
    dome = _dome(extents, power, rows=28)
    top = smoothstep(dome[..., 1], 0.7 * extents[1], extents[1])
    if rng.random() < 0.6:  # the dent of a felt hat, from front to back
        dome[..., 1] -= 0.16 * top * np.exp(-((dome[..., 0] / 0.2) ** 2))
        dome[..., 0] *= 1 - 0.22 * top * smoothstep(dome[..., 2], 0, extents[2])
    ribbon = _band(fit, extents, power, rng.uniform(0.14, 0.3), 0.02, np.zeros((1, COLUMNS)), _cloth(rng))
    return [_closed(fit, dome, colour), ribbon, _rim(rng, fit, colour)]


def _rim(rng: np.random.Generator, fit: Fit, colour: Array) -> Mesh:
    """The brim: two sheets around the head that rise or fall outwards."""
    width, fall, curl = rng.uniform(0.4, 0.85), rng.uniform(-0.05, 0.18), rng.uniform(0.0, 0.2)
    out = np.array([-0.05, 0.25, 0.5, 0.75, 0.96, 1.0, 1.0, 0.96, 0.75, 0.5, 0.25, -0.05])
    thick = np.array([1, 1, 1, 1, 0.9, 0.4, -0.4, -0.9, -1, -1, -1, -1]) * 0.012
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    ring = _ring(angle, 2.2)
    flat = (
        ring[None] * fit.extents[[0, 2]]
        + out[:, None, None] * width * np.stack([np.sin(angle), np.cos(angle)], 1)[None]
    )
    height = 0.02 + thick[:, None] - fall * out[:, None] + curl * out[:, None] ** 2 * np.sin(angle)[None] ** 2
    points = np.stack([flat[..., 0], height, flat[..., 1]], 2)
    return _closed(fit, points, colour)


def _hood(rng: np.random.Generator, shape: Shape) -> list[Mesh]:
    """A hood, or a headscarf that lies closer: a bag over head and neck, open before the face."""
    scarf = rng.random() < 0.4
    face = shape.marks
    brow, chin, middle = face[17:27, 1].max(), face[8, 1], face[27, 0]
    points = shape.head.parts["skin"].smooth(shape.now) - [middle, 0, 0]
    head = points[points[:, 1] > chin]
    room = rng.uniform(0.06, 0.1) if scarf else rng.uniform(0.1, 0.25)
    top, bottom = brow + rng.uniform(0.15, 0.45), chin - rng.uniform(-0.02, 0.06 if scarf else 0.25)
    half_width = np.abs(face[:17, 0] - middle).max() + rng.uniform(-0.06, 0.04 if scarf else 0.2)
    low, high = bottom - 0.2, head[:, 1].max() + room
    opening, hole = np.array([half_width, (top - bottom) / 2]), np.array([0, (top + bottom) / 2])
    bag, axis = np.array([np.abs(head[:, 0]).max() + room, (high - low) / 2]), np.array([0, (high + low) / 2])
    # The opening leans: below it lies beside the jaw, above it comes forward over the forehead.
    forehead = head[np.abs(head[:, 1] - top) < 0.1, 2].max() + rng.uniform(0.02, 0.06 if scarf else 0.2)
    jaw = face[[0, 16], 2].mean() + rng.uniform(0.0, 0.2 if scarf else 0.3)
    back = head[:, 2].min() - room
    # A hem, the way out to the full width, and what lies behind it.
    out = np.r_[0.0, 0.0, 0.1, np.linspace(0.15, 1, 12) ** 0.5, np.ones(12)][:, None, None]
    behind = np.r_[0.05, 0.0, 0.0, np.linspace(0.0, 0.4, 12), np.linspace(0.43, 1, 12)][:, None]
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    folds = 1 + 0.02 * np.sin(rng.integers(5, 14) * angle + rng.uniform(0, 6))[:, None]
    close = np.sqrt(1 - 0.9999 * smoothstep(behind, 0.45, 1.0) ** 2)[..., None]
    flat = (opening + out * (bag - opening)) * close * _ring(angle, SKULL) * folds + hole + out * (axis - hole)
    front = jaw + (forehead - jaw) * np.clip((flat[..., 1] - bottom) / (top - bottom), 0, 1)
    placed = np.concatenate([flat + [middle, 0], (front - behind * (front - back))[..., None]], 2)
    return [solid(placed.reshape(-1, 3), lattice(len(placed), COLUMNS, wrapped=True), _cloth(rng), HEAD_TOP)]
