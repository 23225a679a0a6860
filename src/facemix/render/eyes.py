"""Eyes."""

from __future__ import annotations

import cv2
import numpy as np

from facemix.render.head import Shape, rotation
from facemix.render.person import Person
from facemix.render.solids import lattice
from facemix.render.surfaces import Array, Mesh, smoothstep, unit

# Linear RGB of irises: dark brown, brown, hazel, green, blue, grey.
IRISES = np.array(
    [
        [0.045, 0.02, 0.011],
        [0.11, 0.05, 0.022],
        [0.16, 0.10, 0.04],
        [0.11, 0.13, 0.06],
        [0.12, 0.2, 0.3],
        [0.18, 0.21, 0.24],
    ]
)
RINGS, SPOKES = 40, 40
CORNEA = 0.06  # by which it stands out of the eyeball, of its radius
LASH_SHADE = 0.55
CORNER_SHADE = 0.45


def eyes(person: Person, shape: Shape) -> list[Mesh]:
    """Both eyeballs with cornea, iris and pupil, turned by the gaze."""
    rng = person.rng("eyes")
    points, colours, triangles = _eyeball(person, rng)
    meshes = []
    for side, outward in (("l", 1), ("r", -1)):
        centre, radius = shape.eye(side)
        turn = _gaze(person, outward)
        here = centre + radius * points @ turn
        away = (here - centre) / radius
        # Lashes and the lid's own thickness keep light from the upper part of the eye, lids from its corners.
        shade = 1 - LASH_SHADE * smoothstep(away[:, 1:2], 0.05, 0.5)
        shade *= 1 - CORNER_SHADE * smoothstep(np.abs(away[:, :1]), 0.35, 0.8)
        meshes.append(Mesh(here, unit(points @ turn), triangles, np.tile(centre, (len(here), 1)), colours * shade))
    return meshes


def cornea(angle: Array) -> Array:
    """How far the eyeball's surface stands out at an angle from where it looks, of its radius."""
    return CORNEA * (1 - smoothstep(angle, 0.26, 0.5))


def pupil(person: Person, shape: Shape, side: str) -> tuple[Array, Array]:
    """The middle of a pupil (3,), on the cornea, and of its eyeball (3,); `side` is the person's own, left or right."""
    centre, radius = shape.eye(side[0])
    outward = 1 if side == "left" else -1
    return centre + radius * np.array([0, 0, 1 + CORNEA]) @ _gaze(person, outward), centre


def _gaze(person: Person, outward: int) -> Array:
    """Turns rows (n, 3) of an eyeball that looks along +z to where its person looks."""
    return rotation(person.gaze_yaw + 1.5 * outward, -person.gaze_pitch, 0).T


def _eyeball(person: Person, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A unit eyeball that looks along +z: points, linear colours (n, 3) and triangles."""
    angles = np.concatenate([np.linspace(0, 0.72, 28), np.linspace(0.8, np.pi, RINGS - 28)])
    around = np.linspace(0, 2 * np.pi, SPOKES, endpoint=False)
    a, b = np.meshgrid(angles, around, indexing="ij")
    radius = 1 + cornea(a)
    points = np.stack([radius * np.sin(a) * np.cos(b), radius * np.sin(a) * np.sin(b), radius * np.cos(a)], 2)
    iris_edge, pupil = rng.uniform(0.37, 0.42), rng.uniform(0.10, 0.17)
    fibres = cv2.GaussianBlur(rng.normal(size=(RINGS, SPOKES)), (0, 0), sigmaX=0.6, sigmaY=5) * 3
    white = np.array([0.5, 0.45, 0.42]) * rng.uniform(0.8, 1.1) * np.exp(rng.normal(0, 0.02, 3))
    veins = 0.3 * smoothstep(a, 0.6, 1.3) * (1 + 0.6 * cv2.GaussianBlur(rng.normal(size=a.shape), (0, 0), 1.5))
    colours = white * (1 - veins[..., None] * np.array([0.15, 0.8, 0.75]))
    iris = 1.2 * IRISES[person.eye_tone] * np.exp(rng.normal(0, 0.2)) * (1 + 0.45 * fibres[..., None]).clip(0.3, 2)
    iris *= (1.25 - 0.5 * smoothstep(a, pupil, iris_edge))[..., None]
    inside = (1 - smoothstep(a, iris_edge - 0.03, iris_edge + 0.04))[..., None]
    colours = colours * (1 - inside) + iris * inside
    colours *= (1 - 0.6 * np.exp(-(((a - iris_edge) / 0.05) ** 2)))[..., None]
    colours *= 0.02 + 0.98 * smoothstep(a, pupil, pupil + 0.04)[..., None]
    triangles = lattice(RINGS, SPOKES, wrapped=True)[:, ::-1]
    return points.reshape(-1, 3), colours.reshape(-1, 3).clip(0.003, 0.9), triangles
