"""Hands, and things held, before the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from facemix.render.colour import cast
from facemix.render.head import Shape, rotation
from facemix.render.person import Person
from facemix.render.skin import SKIN_CAST, skin_tone
from facemix.render.solids import ellipsoid, rounded_box, solid, tube, turned
from facemix.render.surfaces import Array, Mesh, smoothstep, unit
from facemix.render.worn import CLOTH, HEAD_TOP

# The template's left hand: its axes to the thumb, along the fingers, and out of the palm.
HAND_AXES = np.array([[-0.5491, 0.4340, 0.7142], [0.3806, -0.6310, 0.6760], [-0.7441, -0.6430, -0.1813]])
PALM_BELOW = 0.45  # how far the palm's middle lies from the middle of all points towards the wrist
KNUCKLES, WRIST = 0.4, -0.62  # where the fingers and the forearm begin, along the fingers
GAP = 0.01  # decimetres between hand and face
FURTHEST = 0.6  # decimetres that a hand may be moved until it only touches the face
PLACES = {"cheek": 0.25, "chin": 0.25, "mouth": 0.2, "forehead": 0.15, "wave": 0.15}  # of a bare hand


@dataclass(frozen=True)
class Grip:
    """Where a left hand is.

    `palm` (3,) is its middle, `fingers` (3,) and `outward` (3,) the directions of its fingers and out of its palm,
    `curl` radians per decimetre of its fingers; one that `touches` is moved backwards until it lies on the face.
    """

    palm: Array
    fingers: Array
    outward: Array
    curl: float
    touches: bool

    @property
    def axes(self) -> Array:
        """Rows: to the thumb, along the fingers, out of the palm."""
        fingers = unit(self.fingers)
        outward = unit(self.outward - (self.outward @ fingers) * fingers)
        return np.stack([np.cross(outward, fingers), fingers, outward])


def occluder(person: Person, shape: Shape, view: Array) -> list[Mesh]:
    """A hand, or a hand with what it holds; nothing for most. `view` (3,) points from the head to the camera."""
    if person.occluder == "none":
        return []
    rng = person.rng("occluder")
    # All is made for the left hand; the right hand's is its mirror image.
    side = 1 if rng.random() < 0.5 else -1
    skin = _Skin(shape, side)
    view = view * [side, 1, 1]
    if person.occluder == "phone":
        held, grip = _phone(rng, skin, view)
    elif person.occluder == "microphone":
        held, grip = _microphone(rng, skin)
    elif person.occluder == "cup":
        held, grip = _cup(rng, skin)
    else:
        held, grip = [], _bare_hand(rng, skin, view)
    meshes = held + _hand(rng, person, shape, grip, skin)
    return [_mirrored(mesh) for mesh in meshes] if side < 0 else meshes


def _mirrored(mesh: Mesh) -> Mesh:
    return Mesh(mesh.points * [-1, 1, 1], mesh.normals * [-1, 1, 1], mesh.triangles[:, ::-1], mesh.rest, mesh.colours)


class _Skin:
    """The face to be touched, mirrored if `side` is -1."""

    def __init__(self, shape: Shape, side: int) -> None:
        rest, _ = shape.head.skin_rest
        face = (rest[:, 1] > 6) & (rest[:, 2] > 0.3)
        points, normals = shape.skin
        self._points, self._normals, self._rest = (values[face] * [side, 1, 1] for values in (points, normals, rest))
        self._tree = cKDTree(self._points)

    def at(self, place: list[float]) -> tuple[Array, Array]:
        """Point and normal where the template has `place` (3,)."""
        row = int(((self._rest - place) ** 2).sum(1).argmin())
        return self._points[row], self._normals[row]

    def depth(self, points: Array, outward: Array) -> float:
        """How far points (n, 3) must move against `outward` until nearly all lie outside, decimetres."""
        total = 0.0
        for _ in range(4):
            here = points - total * outward
            _, near = self._tree.query(here)
            outside = ((here - self._points[near]) * self._normals[near]).sum(1)
            total += max(0.0, float(np.percentile(GAP - outside, 98)))
        return min(total, FURTHEST)


def _hand(rng: np.random.Generator, person: Person, shape: Shape, grip: Grip, skin: _Skin) -> list[Mesh]:
    """A hand and its forearm, which leaves the picture downwards."""
    surface = shape.head.parts["hand"]
    points = surface.shaped(shape.neutral)[0]
    points = (points - points.mean(0)) @ HAND_AXES.T + [0, PALM_BELOW, 0]
    fingertip = smoothstep(points[:, 1], 0.6, 1.1)[:, None]
    tone = skin_tone(person.melanin) * rng.uniform(0.88, 1.1)
    colours = np.clip(tone * np.exp(0.2 * fingertip * [0.4, -1.0, -0.7]) * cast(*rng.normal(0, SKIN_CAST)), 0.004, 0.9)
    points = _curled(points, grip.curl)
    axes = grip.axes
    placed = grip.palm + points @ axes
    if grip.touches:
        placed -= skin.depth(placed[::8], axes[2]) * axes[2]
    palm = placed.mean(0) - points.mean(0) @ axes
    hand = solid(placed, surface.triangles, colours, HEAD_TOP)
    wrist = palm + np.array([-0.07, WRIST, 0.0]) @ axes
    down = unit(np.array([rng.uniform(0.0, 0.6), -1, rng.uniform(0.1, 0.4)]))
    share = np.linspace(0, 1, 10)[:, None]
    path = wrist - 0.9 * share * (1 - 0.5 * share) * axes[1] + 2.6 * share**1.7 * down
    radii = np.array([0.24, 0.2]) + share * [0.2, 0.2]
    meshes = [hand, tube(path, radii, axes[2], np.median(colours, 0), HEAD_TOP, sides=14)]
    if rng.random() < 0.6:
        sleeve = slice(int(rng.integers(1, 4)), None)
        meshes.append(
            tube(path[sleeve], radii[sleeve] + 0.05, axes[2], CLOTH[rng.integers(len(CLOTH))], HEAD_TOP, sides=14)
        )
    return meshes


def _curled(points: Array, curl: float) -> Array:
    """Hand-space points (n, 3) with the fingers bent towards the palm, on a circle of radius 1 / curl."""
    if curl < 1e-3:
        return points
    beyond = np.maximum(points[:, 1] - KNUCKLES, 0)
    angle = curl * beyond
    bent = points.copy()
    bent[:, 1] += np.sin(angle) / curl - beyond - points[:, 2] * np.sin(angle)
    bent[:, 2] = (1 - np.cos(angle)) / curl + points[:, 2] * np.cos(angle)
    return bent


def _bare_hand(rng: np.random.Generator, skin: _Skin, view: Array) -> Grip:
    """A hand on cheek, chin, mouth or forehead, or one that waves."""
    where = str(rng.choice(list(PLACES), p=list(PLACES.values())))
    curl = float(rng.uniform(0.2, 0.7))
    if where == "wave":
        palm = np.array([rng.uniform(0.8, 1.2), rng.uniform(6.5, 7.1), 0.5]) + 1.1 * view
        return Grip(palm, _around(rng, [-0.1, 1, 0.1], 15), _around(rng, view, 20), 0.5 * curl, touches=False)
    if where == "mouth":
        place, fingers, back = [0.1, 6.55, 1.5], [-0.8, rng.uniform(0.3, 0.9), 0.05], 0.5
    elif where == "chin":
        place, fingers, back = [0.3, 6.4, 1.15], [-0.2, 1.0, 0.1], rng.uniform(0.35, 0.6)
    elif where == "cheek":
        place, fingers, back = [0.6, 6.85, 0.9], [-0.05, 1.0, -0.15], rng.uniform(0.0, 0.3)
    else:
        place, fingers, back = [0.2, 7.7, 1.45], [-0.9, rng.uniform(0.1, 0.7), 0.1], rng.uniform(0.4, 0.7)
    contact, normal = skin.at(place)
    normal = unit(normal * [1, 0.3, 1] + [0, 0, 0.3])  # below the chin there is no room for a hand
    direction = _around(rng, fingers, 10)
    direction = unit(direction - 0.9 * (direction @ normal) * normal)
    return Grip(contact + 0.1 * normal - back * direction, direction, _around(rng, -normal, 6), curl, touches=True)


def _around(rng: np.random.Generator, direction: Array | list[float], spread: float) -> Array:
    """A direction turned at random; standard deviation in degrees."""
    return unit(np.asarray(direction, float) @ rotation(*rng.normal(0, spread, 3)).T)


def _phone(rng: np.random.Generator, skin: _Skin, view: Array) -> tuple[list[Mesh], Grip]:
    """A phone at the ear, or held up before the lower face."""
    points, triangles = rounded_box([0.74, 1.52, 0.09], 0.04)
    colour = np.array([[0.01, 0.01, 0.012], [0.5, 0.5, 0.5], [0.03, 0.04, 0.1], [0.45, 0.3, 0.25]])[rng.integers(4)]
    if rng.random() < 0.5:
        ear, _ = skin.at([0.8, 7.1, 0.5])
        centre = ear + np.array([0.14, -0.35, 0.25])
        long, outward = np.array([-0.12, -1, rng.uniform(0.2, 0.6)]), np.array([-1, 0, -0.2])
        fingers = -long + [0, 0, -0.3]
    else:
        mouth, _ = skin.at([0, 6.6, 1.6])
        centre = mouth + [rng.uniform(-0.1, 0.35), rng.uniform(-0.7, -0.25), 0] + rng.uniform(0.5, 1.0) * view
        long, outward, fingers = np.array([rng.uniform(-0.2, 0.2), -1, 0]), -view, np.array([-0.7, 0.7, 0])
    axes = Grip(centre, long, outward, 0, False).axes
    phone = solid(centre + points @ axes, triangles, colour, HEAD_TOP)
    palm = centre - 0.3 * axes[2] + 0.25 * unit(long) - 0.35 * unit(fingers) * (1 - abs(unit(fingers) @ unit(long)))
    return [phone], Grip(palm, fingers, outward, float(rng.uniform(0.5, 1.0)), False)


def _microphone(rng: np.random.Generator, skin: _Skin) -> tuple[list[Mesh], Grip]:
    """A microphone before the chin."""
    mouth, _ = skin.at([0, 6.6, 1.6])
    ball = mouth + np.array([rng.uniform(0.0, 0.2), rng.uniform(-0.42, -0.22), rng.uniform(0.25, 0.5)])
    handle = unit(np.array([rng.uniform(0.1, 0.5), -1, rng.uniform(0.1, 0.6)]))
    grey = np.array([0.05, 0.05, 0.055]) * rng.uniform(0.5, 4)
    path = ball + np.array([0.1, 0.22, 0.24, 0.8, 1.4, 1.7])[:, None] * handle
    radii = np.array([0.12, 0.14, 0.13, 0.12, 0.1, 0.09])[:, None] * [1, 1]
    meshes = [
        ellipsoid(ball, [0.22, 0.22, 0.22], grey, HEAD_TOP, rings=14),
        tube(path, radii, [1, 0, 0], 0.3 * grey, HEAD_TOP, sides=14),
    ]
    outward = unit(np.array([0.3, 0, -1.0]))
    fingers = unit(np.cross(-handle, outward))
    palm = ball + 0.75 * handle - 0.32 * outward - 0.3 * fingers
    return meshes, Grip(palm, fingers, outward, 3.2, False)


def _cup(rng: np.random.Generator, skin: _Skin) -> tuple[list[Mesh], Grip]:
    """A mug or paper cup before the chin."""
    mouth, _ = skin.at([0, 6.6, 1.6])
    wide, tall = rng.uniform(0.34, 0.44), rng.uniform(0.85, 1.15)
    narrow = wide * rng.uniform(0.7, 1.0)
    profile = np.array([[0, 0], [narrow * 0.95, 0], [narrow, 0.04], [wide, tall - 0.03], [wide, tall],
                        [wide - 0.04, tall - 0.02], [narrow - 0.06, 0.06], [0, 0.06]])  # fmt: skip
    points, triangles = turned(profile, 40)
    colour = (
        CLOTH[rng.integers(len(CLOTH))] if rng.random() < 0.5 else np.array([0.7, 0.68, 0.64]) * rng.uniform(0.6, 1.1)
    )
    base = mouth + np.array([rng.uniform(-0.05, 0.2), -tall - rng.uniform(0.0, 0.2), wide + rng.uniform(0.05, 0.2)])
    tilted = points @ rotation(0, float(rng.uniform(-12, 5)), float(rng.normal(0, 6))).T
    cup = solid(base + tilted, triangles, colour, HEAD_TOP)
    outward, fingers = np.array([-1.0, 0, -0.5]), np.array([-0.35, 0.1, 1.0])
    palm = base + np.array([0, 0.45 * tall, 0]) - (wide + 0.16) * unit(outward) - 0.35 * unit(fingers)
    return [cup], Grip(palm, fingers, outward, 1.7, False)
