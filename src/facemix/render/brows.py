"""Brows and lashes: short hair that moves with the skin it grows on."""

from __future__ import annotations

import numpy as np

from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.skin import skin_tone
from facemix.render.strands import Groom, hair_colour, lying, on_skin, ribbons, strand_colours
from facemix.render.surfaces import Array, Mesh, unit

BROW_BROWN = np.array([0.05, 0.035, 0.025])


def brows(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> list[Mesh]:
    """Brows and lashes."""
    return [_brows(person, shape, groom, view, detail), *_lashes(person, shape, groom, view, detail)]


def _brows(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> Mesh:
    rng = person.rng("brows")
    grown = person.brow_growth
    thickness = grown * (rng.uniform(0.036, 0.066) + 0.018 * person.male - 0.008 * person.makeup)
    fewer = min(1.0, detail) ** 0.7
    count = int(rng.uniform(130, 320) * grown * (0.8 + 0.3 * person.male) * fewer)
    spread = 0.32 if person.makeup else 0.45  # of the hairs within the band: painted brows have sharper edges
    sides = [_sown_brow(groom, side, count, thickness, spread, rng) for side in (-1, 1)]
    at, heading, along = (np.concatenate(both) for both in zip(*sides, strict=True))
    roots = groom.nearest(at)
    n, k = len(at), 4
    length = rng.uniform(0.045, 0.08, n) * np.interp(along, [0, 0.3, 1], [0.7, 1, 0.85])
    strands = lying(roots, heading, length, k, shape, lift=0.18)
    t = np.linspace(0, 1, k)
    widths = 0.0065 / fewer * (1 - 0.6 * t**2) * rng.uniform(0.7, 1.2, (n, 1))
    colour = np.clip(0.65 * hair_colour(person) + 0.25 * BROW_BROWN, 0.012, 0.15)
    own = strand_colours(colour, 0.7 * person.grey_hair, n, k, rng)
    sheer = (rng.uniform(0.15, 0.65) + 0.3 * t**2)[:, None]  # thin hairs let the skin shine through
    colours = own * (1 - sheer) + sheer * 0.6 * skin_tone(person.melanin)
    return on_skin(strands, widths, colours, roots, shape, groom, view, roundness=0.3)


def _sown_brow(
    groom: Groom, side: int, count: int, thickness: float, spread: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Roots (count, 3) of a brow on the template, where its hairs point, their place along it: 0 tail, 1 inner end."""
    curve = groom.brow_marks[:5] if side < 0 else groom.brow_marks[9:4:-1]
    along = rng.beta(1.7, 1.35, count)
    band = thickness * np.interp(along, [0, 0.35, 0.75, 1], [0.3, 0.85, 1.05, 0.85])
    across = np.clip(rng.normal(0, spread, count), -1, 1)
    at = np.stack([np.interp(along * 4, range(5), curve[:, axis]) for axis in range(3)], 1)
    at[:, 1] += across * band * 0.5
    up = np.interp(along, [0, 0.5, 0.85, 1], [-0.35, 0.12, 0.5, 0.9])
    up -= 0.35 * across  # upper hairs sink, lower ones rise
    heading = np.stack([np.full(count, float(side)), up, np.zeros(count)], 1) + rng.normal(0, 0.12, (count, 3))
    at -= 0.025 * unit(heading)  # the hairs' middles lie on the curve
    return at, heading, along


def _lashes(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> list[Mesh]:
    """Lashes along the edges of the template's strips of lashes, which follow the lids."""
    rng = person.rng("lashes")
    length = rng.uniform(0.5, 0.8) * (1.3 if person.makeup else 1.0 - 0.3 * person.male)
    width = 0.0042 if person.makeup else 0.0032
    sheer = 0.0 if person.makeup else 0.2
    colour = (1 - sheer) * np.clip(0.4 * hair_colour(person), 0.006, 0.04) + sheer * 0.6 * skin_tone(person.melanin)
    fewer = min(1.0, detail) ** 0.7
    t = np.linspace(0, 1, 4)
    meshes = []
    for name in groom.lash_edges:
        upper = name.startswith("upper")
        count = int((70 if upper else 32) * fewer)
        low, high, rest, outer = _sown_lashes(shape, groom, name, count, rng)
        size = length * (0.75 + 0.5 * outer if upper else 0.55) * rng.uniform(0.75, 1.1, count)
        out = (high - low) * size[:, None] + rng.normal(0, 0.005, (count, 3))
        out[:, 0] += np.sign(low[:, 0]) * 0.022 * (outer - 0.3)  # a fan
        curl = np.linalg.norm(out, axis=1)[:, None] * (0.28 if upper else -0.12) * t**2
        strands = low[:, None] + t[:, None] * out[:, None]
        strands[..., 1] += curl
        widths = width / fewer * (1 - 0.8 * t) * rng.uniform(0.8, 1.2, (count, 1))
        colours = np.broadcast_to(colour, strands.shape)
        meshes.append(ribbons(strands, widths, colours, unit(out)[:, None], view, rest[:, None]))
    return meshes


def _sown_lashes(
    shape: Shape, groom: Groom, name: str, count: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Roots, tips and the template's roots (count, 3) of lashes, and how far outwards on the lid they are, 0 to 1."""
    root, tip = groom.lash_edges[name]
    points, _ = shape.head.parts[name].shaped(shape.now)
    rest, _ = shape.head.parts[name].shaped(shape.head.vertices)
    at = rng.uniform(0.5, len(root) - 1.5, count)
    first, part = at.astype(int), (at % 1)[:, None]
    low = points[root[first]] * (1 - part) + points[root[first + 1]] * part
    high = points[tip[first]] * (1 - part) + points[tip[first + 1]] * part
    return low, high, rest[root[first]], at / (len(root) - 1)
