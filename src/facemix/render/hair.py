"""Hair on the scalp: hairline, cut, colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from facemix.render.beard import beard
from facemix.render.brows import brows
from facemix.render.cuts import COUNTS, STYLES, Cut
from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.population import WIGS
from facemix.render.skin import skin_tone
from facemix.render.strands import (
    DOWN,
    GREY,
    Groom,
    Points,
    Roots,
    behind_skull,
    cap,
    freed,
    grown,
    hair_colour,
    ribbons,
    strand_colours,
    trimmed,
)
from facemix.render.surfaces import Array, Mesh, dot, smoothstep, unit
from facemix.render.wigs import wig

__all__ = ["Groom", "brows", "hair"]

CROWN = np.array([0.0, 8.5, 0.05], np.float32)
SHOULDERS = 6.3  # hair below may lie on them
HAT_LINE = 7.75  # a hat covers the template above

# Height (decimetres) of the hairline at angles (degrees) around the head's axis, from the front to the nape.
ANGLES = (0, 20, 34, 44, 53, 59, 62, 69, 75, 82, 92, 104, 122, 140, 180)
HAIRLINE = (7.98, 7.94, 7.79, 7.63, 7.42, 7.27, 7.20, 7.20, 7.40, 7.42, 7.42, 7.30, 6.95, 6.75, 6.66)
AXIS_Z = 0.45


def hair(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> list[Mesh]:
    """Scalp hair and beard. `view` (3,) points from the head to the camera; `detail` is the picture's side / 256."""
    return [*_scalp(person, shape, groom, view, detail), *beard(person, shape, groom, view, detail)]


def _scalp(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> list[Mesh]:
    if person.hat == "hood":  # all of it is inside
        return []
    rng = person.rng("hair")
    colour = hair_colour(person)
    depth = _inside_hairline(person, groom, rng)
    density = smoothstep(depth, -0.05, 0.1) * (groom.ears < 0.3)
    if person.hair == "fringe":
        density = density * (1 + 1.5 * smoothstep(groom.points[:, 2], 0.6, 1.0))
    thickness = 1.0
    if person.hair == "bald":
        fringe = person.male > 0.5 and person.age > 40 and rng.random() < 0.5
        if not fringe:
            return []
        density *= 1 - smoothstep(groom.points[:, 1] + 0.25 * groom.points[:, 2], 7.6, 7.8)
        thickness = rng.uniform(0.35, 0.8)
    if person.hat != "none":
        density = density * (groom.points[:, 1] < HAT_LINE)
    if person.hair in WIGS:
        under = _under(person, shape, groom, smoothstep(depth, 0.05, 0.3) * (groom.ears < 0.3), colour)
        return [under, wig(person, shape, groom, view, detail)]
    fewer = float(np.clip(detail, 0.3, 1.2)) ** 1.5
    roots = groom.sown(rng, density, int(COUNTS[person.hair] * fewer))
    if len(roots) == 0:
        return []
    cut = STYLES[person.hair](person, roots.of(groom.points), rng)
    depths = roots.of(depth[:, None])[:, 0]
    short = 0.3 + 0.7 * smoothstep(depths, -0.02, 0.14)  # fine short hairs at the edge
    # Where hair is long, that at the edge is either as long or short, never between.
    long = (np.ndim(cut.floor) > 0) & (rng.random(len(roots)) < smoothstep(depths, 0.03, 0.1))
    length = cut.length * np.where(long, 1.0, short) * rng.uniform(0.8, 1.08, len(roots))
    length = np.where((np.ndim(cut.floor) > 0) & ~long, np.minimum(length, 0.3), length)
    cut = replace(cut, length=length, width=cut.width * thickness)
    strands = _styled(cut, roots, groom, rng)
    if person.hat != "none":
        strands = _flattened(groom, strands)

    def meshed(strands: Points, roots: Roots, short: Array) -> Mesh:
        if detail < 0.75 and cut.curl == 0:
            strands = strands[:, ::2]
        n, k = strands.shape[:2]
        t = np.linspace(0, 1, k)
        # At the hairline even the roots are fine.
        rooted = 1 - 0.6 * (1 - short)[:, None] * (1 - smoothstep(t, 0.0, 0.3))
        thick = rng.uniform(0.7, 1.3, (n, 1)) * (0.45 + 0.55 * short)[:, None]
        widths = cut.width * fewer**-0.8 * thick * rooted * (1 - 0.75 * t**3)
        colours = strand_colours(colour, person.grey_hair, n, k, rng)
        seen = np.flatnonzero(~behind_skull(strands, view).all(1))
        strands, roots, widths, colours = strands[seen], roots.picked(seen), widths[seen], colours[seen]
        _, outward = groom.around(strands[:, k // 2])
        carried = groom.carried(strands, roots, shape)
        mesh = ribbons(carried, widths, colours, outward[:, None], view, strands, curled=cut.curl > 0)
        return replace(mesh, triangles=mesh.triangles[~behind_skull(mesh.rest, view)[mesh.triangles].all(1)])

    meshes = [meshed(strands, roots, short)]
    if cut.tie is not None:
        knot = _knot(cut.tie, int(500 * fewer), rng)
        at = groom.nearest(np.broadcast_to(cut.tie, (len(knot), 3)))
        meshes.append(meshed(knot, at, np.ones(len(knot))))
    if person.hat == "none" and person.hair != "bald":
        meshes.append(_under(person, shape, groom, smoothstep(depth, -0.02, 0.16) * (groom.ears < 0.3), colour))
    return meshes


def _inside_hairline(person: Person, groom: Groom, rng: np.random.Generator) -> Array:
    """How far above the hairline the skin's points lie, (p,), decimetres."""
    x, y, z = groom.points.T
    angle = np.degrees(np.arctan2(np.abs(x), z - AXIS_Z))
    line = np.array(HAIRLINE)
    old = np.clip((person.age - 22) / 45, 0, 1) * (person.male > 0.5) * rng.uniform(0, 1)
    temples = np.exp(-(((np.array(ANGLES) - 30) / 13) ** 2))
    front = 1 - smoothstep(np.array(ANGLES, float), 25, 50)
    line += (0.03 + 0.22 * old) * temples * (person.male > 0.5) + 0.12 * old * front
    line += rng.normal(-0.03, 0.05) * front - 0.02 * (person.age < 14) * front
    sideburns = np.exp(-(((np.array(ANGLES) - 65) / 5) ** 2))
    line += sideburns * (rng.uniform(-0.08, 0.1) if person.male > 0.5 else rng.uniform(0.05, 0.15))
    height = np.interp(angle, ANGLES, line)
    phase = rng.uniform(0, 6.28, 4)
    ragged = np.sin(angle / 3.1 * np.sign(x) + phase[0]) + np.sin(angle / 1.3 + 9 * x + phase[1])
    ragged += np.sin(14 * y + phase[2]) + np.sin(angle / 7 * np.sign(x) + phase[3])
    return np.asarray(y - height + 0.012 * ragged)


def _styled(cut: Cut, roots: Roots, groom: Groom, rng: np.random.Generator) -> Points:
    """Strands (n, k, 3) on the template."""
    n = len(roots)
    start: Points = roots.of(groom.points).astype(np.float32)
    away = unit(roots.of(groom.normals)).astype(np.float32)
    comb, radial = cut.comb.astype(np.float32), cut.radial.astype(np.float32)[:, None]
    step = (cut.length / cut.steps).astype(np.float32)
    arcs: Points = step[:, None] * np.arange(1, cut.steps + 1, dtype=np.float32)
    rank = rng.random(n).astype(np.float32)[:, None]
    flatter = 1 - 0.6 * smoothstep(start[:, 2], 0.75, 1.1)[:, None] * (np.ndim(cut.floor) > 0)
    layers = (0.012 + cut.volume * flatter * rank * smoothstep(arcs, 0.0, 0.3)).astype(np.float32)
    falls = smoothstep(arcs, *cut.fall).astype(np.float32)
    tie = None if cut.tie is None else cut.tie.astype(np.float32)

    def flow(here: Points, out: Points, at: int) -> Points:
        want = comb + radial * unit(here - CROWN) if tie is None else _tieward(here, tie)
        want = unit(want - dot(want, out)[:, None] * out)
        if cut.lift > 1:  # stands off the head all along
            want = unit(want + (cut.lift - 1) * out)
        fall = falls[:, at, None]
        return np.asarray(unit((1 - fall) * want + fall * DOWN))

    combed = unit(flow(start, away, 0) + cut.lift * away)
    side = np.sign(comb[:, 0])
    width = (cut.face * rng.normal(1, 0.05, n)).astype(np.float32)
    bound = (lambda points: _beside_face(points, width, side)) if width.any() else None
    strands = grown(groom, start, combed, step, layers, flow, cut.stiffness, bound)
    share = _kept(strands, cut.floor)
    strands = _textured(cut, trimmed(strands, share), arcs * share[:, None], start, rng)
    if bound is not None:
        k = cut.steps
        flat = _beside_face(strands[:, 1:].reshape(-1, 3), np.repeat(width, k), np.repeat(side, k))
        strands[:, 1:] = flat.reshape(n, k, 3)
    strands[:, 1:] = freed(groom, strands[:, 1:].reshape(-1, 3), 0.01).reshape(n, cut.steps, 3)  # roots stay
    return strands


def _tieward(points: Points, tie: Points) -> Points:
    """Directions (n, 3) to where the hair is tied, that pass above the ears."""
    want = unit(tie - points)
    beside = (1 - smoothstep(points[:, 1], 7.45, 7.6)) * smoothstep(points[:, 2], 0.0, 0.3)
    want[:, 1] += (0.8 * beside).astype(np.float32)
    return want


def _knot(tie: Array, count: int, rng: np.random.Generator) -> Points:
    """A bun or a ponytail (count, 10, 3) where the hair is tied."""
    out = unit(tie - np.array([0, 7.5, 0.45]))
    t = np.linspace(0, 1, 10)[:, None]
    if rng.random() < 0.5:
        radius = rng.uniform(0.2, 0.32)
        axes = unit(rng.normal(0, 1, (count, 1, 3)) * 0.45 + out)
        a = unit(np.cross(axes, rng.normal(0, 1, (count, 1, 3))))
        b = np.cross(axes, a)
        angle = rng.uniform(0, 6.28, (count, 1, 1)) + 2.6 * t
        size = radius * rng.uniform(0.75, 1.0, (count, 1, 1))
        ball = size * (np.cos(angle) * a + np.sin(angle) * b) + size * axes * rng.uniform(-0.6, 0.6, (count, 1, 1))
        return np.asarray(tie + 0.75 * radius * out + ball, np.float32)
    length = rng.uniform(1.0, 2.6)
    spread = rng.normal(0, 1, (count, 1, 3)) * (0.04 + 0.1 * np.sqrt(t) * (1 - 0.4 * t))
    lengths = length * rng.uniform(0.8, 1.0, (count, 1, 1))
    return np.asarray(tie + out * 0.45 * np.sqrt(t) * (1 - 0.4 * t) + DOWN * lengths * t**1.6 + spread, np.float32)


def _beside_face(points: Points, width: Points, side: Points) -> Points:
    """Points (n, 3) moved sideways and back out of the front of the face, an ellipse of half this width (n,)."""
    x, y, z = points.T
    up = np.clip((y - 6.95) / np.where(y > 6.95, 0.98, 1.5), -1, 1)
    edge = width * np.sqrt(1 - up**2) * smoothstep(z, 0.5, 0.9)
    inside = np.where(edge > 0.01, np.maximum(edge - x * side, 0), 0)
    moved = points.copy()
    moved[:, 0] += side * inside
    moved[:, 2] -= 0.3 * inside
    return moved


def _kept(strands: Points, floor: Array | float) -> Points:
    """The share (n,) of each strand before it falls below the floor or comes to lie on a shoulder."""
    low = np.broadcast_to(np.asarray(floor, np.float32), (len(strands),))[:, None]
    y = strands[..., 1]
    last = y.shape[1] - 1
    length = np.linalg.norm(np.diff(strands, axis=1), axis=2)
    lies = (y[:, 1:] < SHOULDERS) & (y[:, :-1] - y[:, 1:] < 0.5 * length)
    ends = (y[:, 1:] < low) | lies
    first = ends.argmax(1)
    rows = np.arange(len(y))
    part = np.clip((y[rows, first] - low[:, 0]) / np.maximum(y[rows, first] - y[rows, first + 1], 1e-4), 0.05, 1)
    part = np.where(lies[rows, first], 0.0, part)
    return np.where(ends.any(1), np.maximum(first + part, 0.3) / last, 1.0).astype(np.float32)


def _textured(cut: Cut, strands: Points, arcs: Points, roots: Points, rng: np.random.Generator) -> Points:
    """Strands drawn together in clumps, curled and frizzed."""
    n, k = len(strands), strands.shape[1]
    leaders = rng.choice(n, max(1, n // 22), replace=False)
    leader = leaders[cKDTree(roots[leaders]).query(roots)[1]]
    t = np.linspace(0, 1, k, dtype=np.float32)[:, None]
    if cut.clump > 0:
        apart = strands[leader, k // 2] - strands[:, k // 2]
        near = np.exp(-dot(apart, apart) / np.float32(0.15**2))[:, None, None]
        strands = strands + cut.clump * t**1.3 * near * (strands[leader] - strands)
    arc = np.concatenate([np.zeros((n, 1), np.float32), arcs], 1)[..., None]
    grow = smoothstep(arc, 0.02, 0.3).astype(np.float32)
    if cut.curl > 0:
        along = unit(np.asarray(np.gradient(strands, axis=1)))
        a = unit(np.cross(along, np.array([0.3, 0.2, 1], np.float32)))
        b = np.cross(along, a)
        phase: Points = rng.uniform(0, 6.28, n)[leader] + 0.5 * rng.normal(0, 1, n)
        pitch: Points = cut.wave * (1 + 0.1 * rng.normal(0, 1, n)[leader])
        turn = phase[:, None, None] + 6.28 * arc / pitch[:, None, None]
        strands = strands + cut.curl * grow * (np.cos(turn) * a + np.sin(turn) * b)
    wild = rng.normal(0, 1, (2, n, 1, 3)).astype(np.float32)
    wild = wild * np.exp(np.minimum(rng.normal(-0.4, 0.5, (n, 1, 1)), 0.5))
    strands = strands + cut.frizz * grow * (t * wild[0] + 0.5 * np.sin(7 * t + 3 * wild[0, ..., :1]) * wild[1])
    return np.asarray(strands, np.float32)


def _flattened(groom: Groom, strands: Points) -> Points:
    """Strands pressed to the head where a hat sits."""
    flat = strands.reshape(-1, 3)
    distance, away = groom.around(flat)
    press = smoothstep(flat[:, 1], HAT_LINE - 0.2, HAT_LINE - 0.05) * np.maximum(distance - 0.015, 0)
    return (flat - away * press[:, None]).reshape(strands.shape).astype(np.float32)


def _under(person: Person, shape: Shape, groom: Groom, density: Array, colour: Array) -> Mesh:
    """The scalp, darkened by its hair."""
    hair_tone = 0.6 * (colour + person.grey_hair * (GREY - colour))
    if person.hair == "buzz":
        hair_tone = 0.75 * hair_tone + 0.25 * 0.5 * skin_tone(person.melanin)
    share = smoothstep(density, 0.25, 0.9)[:, None]
    return cap(groom, shape, density, 0.01, share * hair_tone + (1 - share) * 0.85 * skin_tone(person.melanin))
