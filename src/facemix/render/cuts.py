"""Haircuts: how long hair is, where it is combed to and how it holds together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facemix.render.person import Person
from facemix.render.surfaces import Array, smoothstep

COUNTS = {  # of strands at 256 pixels
    "bald": 1500,
    "buzz": 9000,
    "short": 6500,
    "side": 6000,
    "fringe": 4200,
    "curly": 4200,
    "bob": 4000,
    "long": 4000,
    "tied": 3800,
}


@dataclass(frozen=True)
class Cut:
    """How hair is cut and lies. Arrays have a row per strand; lengths in decimetres.

    `comb` (n, 3), and `radial` (n,) away from the crown, make the direction it is combed to; between the two lengths of
    `fall` gravity takes over.
    """

    length: Array
    comb: Array
    radial: Array
    fall: tuple[float, float] = (0.5, 1.2)
    steps: int = 8
    width: float = 0.018
    volume: float = 0.08
    lift: float = 0.4
    stiffness: float = 0.6
    clump: float = 0.5
    frizz: float = 0.03
    curl: float = 0.0  # radius of the curls
    wave: float = 0.6  # their length
    floor: Array | float = -9.0  # no hair below
    face: Array | float = 0.0  # half the width of the face that long hair leaves free
    tie: Array | None = None  # where all hair is tied


def _bald(_: Person, p: Array, rng: np.random.Generator) -> Cut:
    n = len(p)
    return Cut(
        np.full(n, rng.uniform(0.06, 0.25)), _sideward(p, -0.8, -0.5), np.zeros(n), steps=4, volume=0.02, width=0.016
    )


def _buzz(_: Person, p: Array, rng: np.random.Generator) -> Cut:
    n = len(p)
    return Cut(
        np.full(n, rng.uniform(0.025, 0.07)),
        rng.normal(0, 0.4, (n, 3)),
        np.full(n, 0.7),
        steps=2,
        width=0.011,
        volume=0.0,
        lift=0.9,
        clump=0.0,
        frizz=0.008,
    )


def _short(_: Person, p: Array, rng: np.random.Generator) -> Cut:
    top = smoothstep(p[:, 1] + 0.12 * p[:, 2], 7.75, 8.15)
    sides = rng.uniform(0.06, 0.25)
    length = sides + top * (rng.uniform(0.2, 0.55) - min(sides, 0.15))
    swept = rng.normal(0, 0.5)
    forward = rng.choice([-0.5, 0.4, 0.9])
    comb = top[:, None] * [swept, 0.5 if forward < 0 else 0.1, forward] + (1 - top[:, None]) * _sideward(p, -0.9, -0.35)
    return Cut(
        length,
        comb,
        0.7 * top,
        fall=(0.4, 1.2),
        steps=5,
        width=0.017,
        volume=rng.uniform(0.04, 0.13),
        lift=rng.uniform(0.4, 1.0),
        clump=rng.uniform(0.25, 0.6),
        frizz=rng.uniform(0.015, 0.05),
        curl=rng.choice([0, rng.uniform(0.01, 0.03)]),
        wave=0.4,
    )


def _side(_: Person, p: Array, rng: np.random.Generator) -> Cut:
    top = smoothstep(p[:, 1] + 0.12 * p[:, 2], 7.75, 8.1)
    part = rng.choice([-1, 1]) * rng.uniform(0.22, 0.42)
    over = -np.sign(part) * np.where(p[:, 0] * np.sign(part) < abs(part), 1.0, -1.0)
    length = rng.uniform(0.12, 0.3) + top * rng.uniform(0.4, 0.75)
    comb = top[:, None] * np.stack([over, 0.1 + 0 * over, np.full(len(p), rng.uniform(-0.7, 0.1))], 1)
    comb += (1 - top[:, None]) * _sideward(p, -0.9, -0.4)
    return Cut(
        length,
        comb,
        0.25 * top,
        fall=(0.35, 0.9),
        steps=6,
        width=0.017,
        volume=rng.uniform(0.05, 0.12),
        lift=rng.uniform(0.3, 0.7),
        clump=rng.uniform(0.4, 0.75),
        frizz=rng.uniform(0.01, 0.03),
    )


def _fringe(person: Person, p: Array, rng: np.random.Generator) -> Cut:
    behind = _short if person.male > 0.5 else _bob if rng.random() < 0.5 else _long
    base = behind(person, p, rng)
    front = smoothstep(p[:, 2] + 0.6 * (p[:, 1] - 8), 0.62, 0.8) * (np.abs(p[:, 0]) < 0.52)
    end = rng.uniform(7.4, 7.7)
    swept = rng.normal(0, 0.45)
    comb = np.where(front[:, None] > 0.5, [swept, 0.0, 1.0], base.comb) + 0.25 * front[:, None] * p * [1, 0, 0]
    floor = np.where(front > 0.5, end + 0.25 * np.maximum(0, 0.2 - np.abs(p[:, 0])) * rng.uniform(-1, 1), base.floor)
    length = np.where(front > 0.5, 1.5 * np.hypot(p[:, 1] - end, 1.5 - p[:, 2]) + 0.1, base.length)
    return replace(
        base,
        comb=comb,
        length=length,
        floor=floor,
        radial=np.where(front > 0.5, 0.0, base.radial),
        steps=max(base.steps, 9),
        face=np.where(front > 0.5, 0.0, base.face),
    )


def _curly(person: Person, p: Array, rng: np.random.Generator) -> Cut:
    n = len(p)
    coiled = rng.random() < np.clip(1.5 * person.melanin - 0.2, 0.05, 0.9)
    long = rng.uniform(0.2, 0.6) if person.male > 0.5 else rng.uniform(0.35, 0.9)
    top = smoothstep(p[:, 1], 7.3, 8.0)
    return Cut(
        long * (0.65 + 0.35 * top),
        _sideward(p, -0.2, -0.1),
        np.full(n, 0.4),
        fall=(9, 10) if coiled else (0.3, 1.3),
        steps=11,
        width=0.021,
        volume=0.75 * long if coiled else 0.3 * long,
        lift=2.0 if coiled else 1.0,
        stiffness=0.85,
        clump=0.75,
        frizz=0.05,
        curl=0.03 if coiled else rng.uniform(0.03, 0.055),
        wave=0.2 if coiled else rng.uniform(0.3, 0.55),
        face=0.66,
    )


def _falling(_: Person, p: Array, rng: np.random.Generator, floor: float) -> Cut:
    part = float(np.clip(rng.normal(0, 0.17), -0.4, 0.4))
    crown = smoothstep(-p[:, 2], -0.35, 0.0)
    side = np.sign(p[:, 0] - part * (1 - crown) + rng.normal(0, 0.012, len(p)))
    back = rng.uniform(0.2, 0.9)
    low = 1 - smoothstep(p[:, 1], 7.5, 7.9)
    comb = np.stack([side * (1 - 0.6 * low), 0.1 - 0.7 * low, -back * (0.6 + 0.4 * low)], 1)
    edge = smoothstep(p[:, 2], 0.85, 1.25)[:, None]  # from the face, hair is first combed back
    comb = comb + edge * [0.0, 0.6, -0.8]
    comb = comb * (1 - crown[:, None]) + crown[:, None] * _sideward(p, -0.5, -0.2)
    wavy = rng.random() < 0.5
    return Cut(
        1.12 * (p[:, 1] - floor) + 0.55,
        comb,
        crown,
        fall=(0.3, 0.9),
        steps=16,
        width=0.021,
        volume=rng.uniform(0.05, 0.16),
        lift=0.25,
        stiffness=0.55,
        clump=rng.uniform(0.2, 0.5),
        frizz=rng.uniform(0.015, 0.05),
        curl=rng.uniform(0.02, 0.05) * wavy,
        wave=rng.uniform(0.7, 1.3),
        floor=floor + rng.normal(0, 0.035, len(p)),
        face=np.where(p[:, 0] < 0, rng.uniform(0.34, 0.68), rng.uniform(0.34, 0.68)),
    )


def _bob(person: Person, p: Array, rng: np.random.Generator) -> Cut:
    return _falling(person, p, rng, rng.uniform(6.1, 6.75))


def _long(person: Person, p: Array, rng: np.random.Generator) -> Cut:
    return replace(_falling(person, p, rng, rng.uniform(4.7, 5.8)), width=0.021)


def _tied(person: Person, p: Array, rng: np.random.Generator) -> Cut:
    height = rng.uniform(7.3, 8.2)
    if person.hat != "none":
        height = min(height, 7.4)
    tie = np.array([0, height, -0.42 + 0.35 * max(0.0, height - 7.6)])
    n = len(p)
    before_ear = (p[:, 1] < 7.46) & (p[:, 2] > 0.5)
    length = np.where(before_ear, 0.1, np.linalg.norm(p - tie, axis=1) * 1.3 + 0.1)
    return Cut(
        length,
        np.zeros((n, 3)),
        np.zeros(n),
        fall=(9, 10),
        steps=10,
        width=0.016,
        volume=rng.uniform(0.02, 0.05),
        lift=0.15,
        stiffness=0.3,
        clump=rng.uniform(0.15, 0.4),
        frizz=0.012,
        tie=tie,
    )


STYLES = {
    "bald": _bald,
    "buzz": _buzz,
    "short": _short,
    "side": _side,
    "fringe": _fringe,
    "curly": _curly,
    "bob": _bob,
    "long": _long,
    "tied": _tied,
}


def _sideward(p: Array, down: float, back: float) -> Array:
    """Directions (n, 3) down and back, a little away from the head's middle."""
    return np.stack([0.2 * np.sign(p[:, 0]), np.full(len(p), down), np.full(len(p), back)], 1)
