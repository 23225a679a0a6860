"""Beards."""

from __future__ import annotations

import numpy as np

from facemix.render.head import Shape
from facemix.render.person import Person
from facemix.render.skin import beard_area, skin_tone
from facemix.render.strands import GREY, Groom, cap, hair_colour, lying, on_skin, strand_colours
from facemix.render.surfaces import Array, Mesh, smoothstep


def beard(person: Person, shape: Shape, groom: Groom, view: Array, detail: float) -> list[Mesh]:
    """Stubble, moustache, goatee or full beard."""
    if person.beard == "none":
        return []
    rng = person.rng("beard")
    area = _beard_density(person.beard, groom, rng)
    length, count, width = {
        "stubble": (rng.uniform(0.012, 0.03), 4400, 0.0036),
        "moustache": (rng.uniform(0.04, 0.11), int(rng.uniform(600, 1100)), 0.008),
        "goatee": (rng.uniform(0.04, 0.14), 2200, 0.009),
        "full": (rng.choice([rng.uniform(0.04, 0.1), rng.uniform(0.1, 0.3)]), 5200, 0.010),
    }[person.beard]
    fewer = float(np.clip(detail, 0.3, 1.2)) ** 1.4
    roots = groom.sown(rng, area**1.3, int(count * fewer))
    n, k = len(roots), 2 if person.beard == "stubble" else 5
    at = roots.of(groom.points)
    thick = roots.of(area[:, None])[:, 0]
    lengths = length * (0.4 + 0.6 * thick) * rng.uniform(0.6, 1.1, n)
    on_lip = (at[:, 1] > 6.68) & (np.abs(at[:, 0]) < 0.3) & (at[:, 2] > 1.1)
    lengths = np.where(on_lip, np.minimum(lengths, 0.09), lengths)
    sideways = np.sign(at[:, 0]) * np.where(on_lip, 0.3 + 2.5 * np.abs(at[:, 0]), 0.15)
    heading = np.stack([sideways, np.full(n, -1.0), np.zeros(n)], 1) + rng.normal(0, 0.22, (n, 3))
    strands = lying(roots, heading, lengths, k, shape, lift=0.3, droop=0.5)
    strands += (0.06 * lengths[:, None] * np.linspace(0, 1, k) ** 1.5)[..., None] * rng.normal(0, 1, (n, 1, 3))
    t = np.linspace(0, 1, k)
    widths = width / fewer**0.8 * (0.5 + 0.5 * thick)[:, None] * (1 - 0.6 * t**2) * rng.uniform(0.7, 1.2, (n, 1))
    colour = hair_colour(person) * [1.2, 0.97, 0.9]
    grey = min(1.0, 1.15 * person.grey_hair)
    own = strand_colours(colour, grey, n, k, rng)
    sheer = (0.35 if person.beard == "stubble" else rng.uniform(0.1, 0.45)) + 0.3 * (1 - thick)[:, None, None]
    sheer = np.minimum(sheer + 0.2 * on_lip[:, None, None], 0.7)
    colours = own * (1 - sheer) + sheer * 0.7 * skin_tone(person.melanin)
    meshes = [on_skin(strands.astype(np.float32), widths, colours, roots, shape, groom, view, roundness=0.9)]
    if person.beard == "full":
        share = 0.7 * smoothstep(area, 0.45, 1.0)[:, None]
        under = share * 0.6 * (colour + grey * (GREY - colour)) + (1 - share) * 0.8 * skin_tone(person.melanin)
        meshes.append(cap(groom, shape, smoothstep(area, 0.6, 1.0), 0.005, under))
    return meshes


def _beard_density(kind: str, groom: Groom, rng: np.random.Generator) -> Array:
    """Of beard hair at the skin's points, (p,), 0 to 1."""
    points = groom.points
    x, y = np.abs(points[:, 0]), points[:, 1]
    phase = rng.uniform(0, 6.28, 3)
    ragged = 0.012 * np.sin(points * [21, 33, 27] + phase).sum(1)
    area: Array = np.asarray(beard_area(points + ragged[:, None]), np.float64)
    lip = smoothstep(y, 6.70, 6.73) * (1 - smoothstep(y, 6.86, 6.90)) * (1 - smoothstep(x, 0.2, 0.27))
    area = np.maximum(area, lip * smoothstep(points[:, 2], 1.2, 1.3))
    upper = smoothstep(y, 6.70, 6.74) * (1 - smoothstep(x, 0.26, 0.34))
    chin = (1 - smoothstep(x, rng.uniform(0.14, 0.24), 0.3)) * (1 - smoothstep(y, 6.5, 6.62))
    if kind == "moustache":
        area = area * upper
    elif kind == "goatee":
        link = rng.random() < 0.5
        around = (1 - smoothstep(np.abs(x + ragged - 0.28), 0.02, 0.07)) * (y < 6.8) * (y > 6.4) * link
        area = area * np.maximum(np.maximum(upper, chin), around)
    beside_lips = smoothstep(np.hypot(x / 0.30, (y - 6.605) / 0.12), 0.85, 1.05)  # lips and the bare skin around them
    below_ears = (1 - smoothstep(y, 7.12, 7.28)) * (groom.ears < 0.3)
    return np.asarray(area * np.maximum(beside_lips, upper) * (groom.lips < 0.3) * below_ears)
