"""Skin: colour, relief and gloss of a person's face, painted on the head's texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.canvas import Canvas
from facemix.render.colour import cast, to_linear
from facemix.render.complexions import complexion
from facemix.render.head import Shape
from facemix.render.materials import SkinTexture
from facemix.render.noise import Noise
from facemix.render.person import GROWN, Person
from facemix.render.surfaces import smoothstep

Image = NDArray[np.floating[Any]]

# sRGB of skin from the palest to the darkest, in steps of equal melanin.
TONES = (
    np.array(
        [[241, 205, 186], [228, 182, 156], [211, 158, 128], [184, 130, 97], [146, 97, 68], [108, 68, 47], [72, 45, 33]]
    )
    / 255
)

# What blood, melanin, the shade of folds and that of hollows add to the logarithm of red, green and blue.
PIGMENTS = np.array([[0.5, -1.6, -1.3], [-0.7, -1.1, -1.4], [-0.95, -1.07, -1.02], [-0.8, -1.1, -1.1]], np.float32)

# Hollows, as nostrils, corners of the mouth and the folds of a smile, are darker than three bounces of light show.
HOLLOW_REACH, HOLLOW_DEPTH = 8, 0.02  # neighbours; decimetres
HOLLOW_SHADE, NOSTRIL_SHADE = 0.4, 1.5  # of the logarithm of the colour

# How much blood shows, of the logarithm of the colour; shares of people with freckles and with pimples.
BLOOD = {"cheeks": 0.09, "nose": 0.1, "chin": 0.05, "forehead": -0.04}
FRECKLED, PIMPLED = 0.3, 0.2
LIP_TONE, LIPSTICK, RED = np.array([0.93, 0.56, 0.55]), 0.6, np.array([0.5, 0.07, 0.09])  # share of made-up women
PORE_DEPTH, ROUGHNESS = (0.0003, 0.0012), (0.36, 0.56)  # decimetres
EYE_RINGS = (0.03, 0.3)

# How dark the roots of a beard make the skin, least and most: of a shaved face, of stubble, under a beard.
SHAVED = {"none": (0.0, 0.1), "stubble": (0.1, 0.35)}
GROWN_BEARD = (0.15, 0.4)

# How people of equal melanin differ, and their mean: mired, logarithm of green.
SKIN_CAST, SKIN_TINT = (12.0, 0.015), (0.0, -0.02)
BROW_SHADE = (0.9, 0.8, 0.6, 0.2, 0.4, 0.7)  # of the skin between the hairs, by Person.hair_tone
UPPER_LIP_SHADE, SEAM_SHADE = 0.4, (0.1, 0.8)  # under the nose; between the lips
NECK_SHADE, FOREHEAD_SHADE = (0.12, 0.2), (0.0, 0.2)  # of the logarithm of the colour: mean, deviation; least, most

# No face is as smooth as a mesh: waves of some 3 and 15 cm, and folds: least and most, decimetres.
DIMPLES, FLESH, FOLD_DEPTH = (0.003, 0.012), (0.01, 0.05), (0.02, 0.1)
FURROWED = ((5, 18, 35, 75), (0.1, 0.3, 0.45, 1.2))  # years; how strong the waves are


@dataclass(frozen=True)
class _Painter:
    """Whom to paint, on what, with what noise, and the random numbers of one part of the work."""

    person: Person
    canvas: Canvas
    noise: Noise
    rng: np.random.Generator

    def grain(self, size: float, octaves: int = 1) -> Image:
        """Noise (rows, columns) of mean 0 and deviation 1; `size` of its grain is given for 384 columns."""
        return self.noise.cloud(self.rng, self.canvas.shape, size * self.canvas.shape[1] / 384, octaves)

    def front(self, low: float, high: float) -> Image:
        """1 on what lies further forward than `high` decimetres, 0 behind `low`, (rows, columns)."""
        return smoothstep(self.canvas.rest[..., 2], low, high)

    def dots(self, count: int, least: float, most: float) -> Image:
        """Round dots (rows, columns) of height 1 somewhere on the face; radii in decimetres."""
        dots = np.zeros(self.canvas.shape, np.float32)
        for row, column in self.canvas.face[self.rng.integers(0, len(self.canvas.face), count)]:
            away = self.canvas.rest - self.canvas.rest[row, column]
            squared = np.einsum("rck,rck->rc", away, away)
            dots += np.exp(-squared / self.rng.uniform(least, most) ** 2)
        return dots


def skin(person: Person, shape: Shape, canvas: Canvas, noise: Noise) -> SkinTexture:
    """Paints a person's skin.

    Haemoglobin and melanin vary apart: blood reddens cheeks, nose, ears and lips, melanin makes freckles and blotches.
    """

    def part(room: str) -> _Painter:
        return _Painter(person, canvas, noise, person.rng(room))

    folds = _folds(part("folds"))
    pigments = np.stack([_blood(part("blood")), _melanin(part("melanin")), _shade(part("shade")) + folds,
                         _hollows(part("hollows"), shape)], -1).astype(np.float32)  # fmt: skip
    skin_ = part("skin")
    tone = skin_tone(person.melanin) * skin_.rng.uniform(0.88, 1.1) * cast(*skin_.rng.normal(SKIN_TINT, SKIN_CAST))
    seen = complexion(person, canvas.shape, canvas.cheeks)
    # Photographs say nothing of the neck and the scalp: those are like the jaw.
    seen = seen * canvas.bare + np.median(seen[canvas.jaw], axis=0) * (1 - canvas.bare)
    colour = tone.astype(np.float32) * np.exp(pigments @ PIGMENTS + seen)
    pores = np.clip(skin_.grain(1) * skin_.front(0.7, 1.0), -2, 2)
    colour *= (1 - 0.03 * pores)[..., None]
    colour = _lips(part("lips"), colour, tone)
    if person.makeup:
        colour = _makeup(colour, canvas, person.rng("make-up"))
    if person.male > 0.5 and person.age >= GROWN:
        colour = _beard_shadow(part("beard shadow"), colour)
    return SkinTexture(
        colour=np.clip(colour, 0.003, 0.92).astype(np.float32),
        relief=_relief(part("relief"), pores, folds).astype(np.float32),
        roughness=float(skin_.rng.uniform(*ROUGHNESS)),
    )


def _old(person: Person) -> float:
    """0 up to 35 years, 1 from 75."""
    return float(np.clip((person.age - 35) / 40, 0, 1))


def _blood(painter: _Painter) -> Image:
    """Where blood shows (rows, columns)."""
    canvas, rng = painter.canvas, painter.rng
    blood = sum(amount * canvas.spots[name] for name, amount in BLOOD.items())
    blood = blood + 0.08 * canvas.masks["ears"] + 0.022 * painter.grain(24, 4) + 0.012 * painter.grain(3, 2)
    if rng.random() < PIMPLED:
        blood = blood + rng.uniform(0.05, 0.2) * painter.dots(int(rng.integers(1, 10)), 0.01, 0.03)
    return blood * rng.uniform(0.4, 1.4)


def _melanin(painter: _Painter) -> Image:
    """Where the skin is darker than on the cheeks (rows, columns): blotches, freckles, moles."""
    person, rng = painter.person, painter.rng
    melanin = (0.03 + 0.03 * _old(person)) * painter.grain(32, 4) + 0.02 * painter.grain(2, 2)
    if rng.random() < FRECKLED and person.melanin < 0.45:
        where = (painter.canvas.spots["around the nose"] + 0.2) * painter.front(0.8, 1.1)
        melanin = melanin + rng.uniform(0.1, 0.4) * np.clip(painter.grain(1) - 1.2, 0, 1) * where
    return melanin + rng.uniform(0.4, 1.2) * painter.dots(int(rng.integers(0, 4)), 0.008, 0.018)


def _shade(painter: _Painter) -> Image:
    """Where less light comes than a bare head under a panorama shows (rows, columns).

    Chest, hair and jaw keep it off the neck and the forehead, hairs off the skin between them.
    """
    person, canvas, rng = painter.person, painter.canvas, painter.rng
    hairs = BROW_SHADE[person.hair_tone] * (1 - 0.7 * person.grey_hair) * person.brow_growth
    shade = rng.uniform(*EYE_RINGS) * (0.6 + _old(person)) * canvas.spots["under the eyes"] * painter.front(0.95, 1.1)
    shade += rng.uniform(0, 0.1) * canvas.masks["eyelids"]
    shade += rng.uniform(0, UPPER_LIP_SHADE) * canvas.spots["under the nose"]
    shade += rng.uniform(0.1, 0.6) * hairs * canvas.lines["brows"]
    shade += np.clip(rng.normal(*NECK_SHADE), -0.5, 1.6) * canvas.neck
    shade += rng.uniform(*FOREHEAD_SHADE) * canvas.spots["top of the forehead"] * painter.front(0.7, 1.0)
    return shade


def _hollows(painter: _Painter, shape: Shape) -> Image:
    """How dark nostrils, corners and folds of the mesh are (rows, columns)."""
    points, normals = shape.skin
    hollow = painter.canvas.painted(shape.head.parts["skin"].hollow(points, normals, HOLLOW_REACH)) / HOLLOW_DEPTH
    nostrils = np.clip(painter.canvas.spots["nostrils"] * (hollow > 0.6), 0, 1)
    dark: Image = np.clip(hollow, 0, 2) * painter.rng.uniform(0.5, 1.2) * HOLLOW_SHADE + NOSTRIL_SHADE * nostrils
    return dark


def _folds(painter: _Painter) -> Image:
    """The shade (rows, columns) of folds that are finer than the mesh: beside mouth and nose, around the eyes."""
    person, lines, rng = painter.person, painter.canvas.lines, painter.rng
    old, smile = _old(person), min(1.0, person.expression.get("expression/mouthSmileLeft", 0.0))
    single = 0.8 * person.ancestry[1]  # lids without a crease are most common in East Asia
    closed = max(person.expression.get(f"expression/eyeBlink{side}", 0.0) for side in ("Left", "Right"))
    shade = (0.03 + 0.3 * old + 0.35 * smile) * rng.uniform(0.1, 1.2) * lines["laugh lines"]
    shade += max(0.0, rng.uniform(0.2, 1.1) - single) * max(0.0, 1 - 1.5 * closed) * lines["lid creases"]
    shade += (0.1 + 0.5 * old + 0.3 * smile) * rng.uniform(0, 1) * lines["eye bags"]
    shade += rng.uniform(0.1, 0.6) * lines["nose wings"]
    return shade * np.interp(person.age, [2, 18], [0.35, 1.0])


def _relief(painter: _Painter, pores: Image, folds: Image) -> Image:
    """Heights (rows, columns), decimetres: pores, wrinkles, waves of flesh, folds."""
    person, rng = painter.person, painter.rng
    fine = 0.35 * pores + 0.35 * painter.grain(2) + 0.3 * painter.grain(4, 2)
    fine += _old(person) * _wrinkles(painter)
    waves = rng.uniform(*DIMPLES) * painter.grain(10, 2) + rng.uniform(*FLESH) * painter.grain(32, 2)
    relief = fine * rng.uniform(*PORE_DEPTH) * (0.6 + 0.4 * person.male)
    relief += np.interp(person.age, *FURROWED) * waves - rng.uniform(*FOLD_DEPTH) * folds
    return relief * (1 - 0.7 * painter.canvas.masks["eyelids"])


def _beard_shadow(painter: _Painter, colour: Image) -> Image:
    """Skin (rows, columns, 3) under which the roots of a beard show."""
    person, canvas = painter.person, painter.canvas
    shade = painter.rng.uniform(*SHAVED.get(person.beard, GROWN_BEARD)) * (1 + 0.2 * painter.grain(1))
    shade = shade * beard_area(canvas.rest) * (1 - canvas.masks["lips"])
    return colour * (1 - np.clip(shade, 0, 0.7)[..., None] * np.array([1, 0.95, 0.88]))


def skin_tone(melanin: float) -> NDArray[np.float64]:
    """Linear RGB (3,) of skin with a share of melanin of 0 to 1."""
    at = melanin * (len(TONES) - 1)
    srgb = np.array([np.interp(at, range(len(TONES)), TONES[:, channel]) for channel in range(3)])
    return np.asarray(to_linear(srgb))


def _lips(painter: _Painter, colour: Image, tone: Image) -> Image:
    """Skin (rows, columns, 3) with lips; `tone` (3,) is the skin's own."""
    canvas, rng = painter.canvas, painter.rng
    mask = cv2.GaussianBlur(canvas.masks["lips"], (0, 0), 0.004 * canvas.shape[1])[..., None]
    lips, strength = tone * LIP_TONE * rng.uniform(0.8, 1.15), rng.uniform(0.7, 1.0)
    if painter.person.makeup and rng.random() < LIPSTICK:
        lips = RED * rng.uniform(0.6, 1.4) * np.array([1, rng.uniform(0.4, 3), rng.uniform(0.6, 2.5)])
        strength = rng.uniform(0.6, 0.95)
    seam = np.exp(-rng.uniform(*SEAM_SHADE) * canvas.lines["between the lips"])[..., None]
    wrinkled = (1 + 0.07 * painter.grain(2, 2))[..., None]
    return seam * (colour * (1 - strength * mask) + strength * mask * lips * wrinkled)


def _makeup(colour: Image, canvas: Canvas, rng: np.random.Generator) -> Image:
    lids = canvas.masks["eyelids"][..., None] * rng.uniform(0.1, 0.6)
    blush = canvas.spots["cheekbones"][..., None] * rng.uniform(0, 0.25)
    colour = colour * (1 - lids) + lids * rng.uniform(0.02, 0.3, 3)
    return colour * np.exp(blush * np.array([0.2, -0.6, -0.4]))


def _wrinkles(painter: _Painter) -> Image:
    """Creases across the forehead and a rougher skin everywhere else."""
    rows, columns = painter.canvas.shape
    y, z = painter.canvas.rest[..., 1], painter.canvas.rest[..., 2]
    drawn = painter.noise.grain(painter.rng, (rows, columns // 8), 4 * columns / 384)
    across = cv2.resize(drawn, (columns, rows))
    forehead = smoothstep(y, 7.45, 7.6) * (1 - smoothstep(y, 7.9, 8.1)) * smoothstep(z, 0.9, 1.2)
    rough: Image = 2.5 * forehead * across + 1.2 * painter.grain(10, 3)
    return rough


def beard_area(rest: Image) -> Image:
    """Where a full beard grows, 0 to 1, for points (..., 3) of the template's skin."""
    x, y, z = np.abs(rest[..., 0]), rest[..., 1], rest[..., 2]
    below_cheek = 1 - smoothstep(y - 0.35 * (x / 0.55) ** 2, 6.50, 6.74)
    moustache = (
        smoothstep(y, 6.76, 6.80)
        * (1 - smoothstep(y, 6.86, 6.90))
        * (1 - smoothstep(x, 0.24, 0.3))
        * smoothstep(z, 1.1, 1.2)
    )
    neck = smoothstep(y + 0.35 * z, 6.45, 6.65)
    area: Image = np.maximum(below_cheek * neck * smoothstep(z, 0.45, 0.7), moustache)
    return area
