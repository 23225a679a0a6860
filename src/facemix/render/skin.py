"""Skin: colour, relief and gloss of a person's face, painted on the head's texture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.complexions import complexion
from facemix.render.head import Head, Shape, texture_position
from facemix.render.materials import SkinTexture
from facemix.render.noise import Noise
from facemix.render.population import Person
from facemix.render.surfaces import Array, smoothstep

Image = NDArray[np.floating[Any]]

# sRGB of skin from the palest to the darkest, in steps of equal melanin.
TONES = (
    np.array(
        [[241, 205, 186], [228, 182, 156], [211, 158, 128], [184, 130, 97], [146, 97, 68], [108, 68, 47], [72, 45, 33]]
    )
    / 255
)

# What blood, melanin, the shade of folds and that of hollows add to the logarithm of red, green and blue.
PIGMENTS = np.array([[0.5, -1.6, -1.3], [-0.7, -1.1, -1.4], [-0.9, -1.1, -1.0], [-0.8, -1.1, -1.1]], np.float32)

# Hollows, as nostrils, corners of the mouth and the folds of a smile, are darker than three bounces of light show.
HOLLOW_REACH, HOLLOW_DEPTH = 8, 0.02  # neighbours; decimetres
HOLLOW_SHADE, NOSTRIL_SHADE = 0.4, 2.8  # of the logarithm of the colour

# How dark the roots of a beard make the skin, least and most: of a shaved face, of stubble, under a beard.
SHAVED = {"none": (0.0, 0.1), "stubble": (0.1, 0.35)}
GROWN = (0.15, 0.4)

BROW_SHADE = (0.9, 0.8, 0.6, 0.2, 0.4, 0.7)  # of the skin between the hairs, by Person.hair_tone
UPPER_LIP_SHADE, SEAM_SHADE = 0.4, (0.2, 1.1)  # under the nose; between the lips
NECK_SHADE, FOREHEAD_SHADE = (0.45, 0.45), (0.0, 0.2)  # of the logarithm of the colour: mean, deviation; least, most

# No face is as smooth as a mesh: waves of some 3 and 15 cm, and folds: least and most, decimetres.
DIMPLES, FLESH, FOLD_DEPTH = (0.003, 0.012), (0.01, 0.05), (0.02, 0.1)
FURROWED = ((5, 18, 35, 75), (0.1, 0.3, 0.45, 1.2))  # years; how strong the waves are

# Folds of the template's skin, decimetres.
LAUGH_LINE = np.array([[0.165, 6.92], [0.23, 6.85], [0.305, 6.73], [0.345, 6.59]])
LID_CREASE = np.array([[0.19, 7.305], [0.25, 7.36], [0.32, 7.378], [0.40, 7.35], [0.455, 7.3]])
NOSE_WING = np.array([[0.11, 6.815], [0.15, 6.83], [0.175, 6.88], [0.155, 6.95]])
EYE_BAG = np.array([[0.19, 7.2], [0.27, 7.165], [0.36, 7.175], [0.42, 7.22]])


class Canvas:
    """The head's texture: where each texel lies on the template, and its regions. Depends on the resolution only."""

    def __init__(self, head: Head, columns: int) -> None:
        rows = columns * 5 // 3
        self.shape = (rows, columns)
        surface = head.parts["skin"]
        points, _ = head.skin_rest
        pixels = texture_position(surface.uv) * [columns, rows]
        self.rest = np.full((rows, columns, 3), -9, np.float32)
        corners = pixels[surface.triangles]
        inside = (
            (corners.min((1, 2)) > -1) & (corners[..., 0].max(1) < columns + 1) & (corners[..., 1].max(1) < rows + 1)
        )
        middles = points[surface.triangles].mean(1)
        for triangle, middle in zip(np.round(corners[inside]).astype(np.int32), middles[inside].tolist(), strict=True):
            cv2.fillConvexPoly(self.rest, triangle, middle)
        self.rest = cv2.blur(self.rest, (3, 3))
        number = np.zeros((rows, columns), np.int32)
        for triangle in np.flatnonzero(inside):
            cv2.fillConvexPoly(number, np.round(corners[triangle]).astype(np.int32), int(triangle))
        self._corners = surface.triangles[number]
        self.masks = {
            name: cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) for name, mask in head.masks.items()
        }
        self.face = np.argwhere(self.rest[..., 2] > 0.9)
        self.neck = self._neck()
        self.cheeks = self.spot(0.38, 7.0, 0.2) * (self.rest[..., 2] > 0.9) > 0.5
        self.bare = self._bare()
        self.laugh_lines = self._stroke(LAUGH_LINE, 0.02) + 0.5 * self._stroke(LAUGH_LINE, 0.05)
        brow = np.abs(head.landmark_rest[22:27, :2])
        brow[0] += 0.4 * (brow[1] - brow[0])  # both ends are thin
        brow[4] += 0.7 * (brow[3] - brow[4])
        self.brows = self._stroke(brow, 0.045)
        self.seam = self._stroke(head.landmark_rest[[62, 63, 64], :2], 0.014)
        self.nose_wings = self._stroke(NOSE_WING, 0.012)
        self.lid_creases, self.eye_bags = self._stroke(LID_CREASE, 0.012), self._stroke(EYE_BAG, 0.014)

    def painted(self, values: Image) -> Image:
        """Values (n,) at the skin's points, on the texture (rows, columns)."""
        return cv2.blur(values[self._corners].mean(2).astype(np.float32), (3, 3))

    def _neck(self) -> Image:
        """Where the neck is, 0 to 1 (rows, columns): what lies off the texture takes its colour from the left edge.

        The neck is all off the texture, and meets it under the jaw: there the seam is made soft.
        """
        rows, columns = self.shape
        covered = (self.rest[..., 1] > 4).astype(np.uint8)
        inward = cv2.distanceTransform(covered, cv2.DIST_L2, 5) / columns
        seam = (1 - smoothstep(inward, 0, 0.06)) * (1 - smoothstep(self.rest[..., 1], 6.75, 7.0))
        off = np.arange(rows)[:, None] < 0.2 * rows  # further down the edge are the insides of the lids
        beside = cv2.dilate((seam * covered).astype(np.float32), np.ones((9, 9)))
        return np.where(covered == 1, seam, np.maximum(off, beside)).astype(np.float32)

    def _bare(self) -> Image:
        """Where skin is photographed bare, 0 to 1 (rows, columns): face and ears, not the scalp and the throat."""
        y, z = self.rest[..., 1], self.rest[..., 2]
        face = smoothstep(z, 0.55, 0.85) * (1 - smoothstep(y, 7.7, 7.95)) * smoothstep(y, 6.3, 6.5)
        return np.maximum(face, self.masks["ears"])[..., None].astype(np.float32)

    def spot(self, x: float, y: float, radius: float) -> Image:
        """A soft spot (rows, columns) of height 1 around the points (+-x, y) of the front, radius in decimetres."""
        return np.exp(-((np.abs(self.rest[..., 0]) - x) ** 2 + (self.rest[..., 1] - y) ** 2) / radius**2)

    def _stroke(self, line: Array, width: float) -> Image:
        """A soft line (rows, columns) of height 1 along the points (+-x, y) of `line` (n, 2), decimetres, n > 1."""
        at = np.stack([np.abs(self.rest[..., 0]), self.rest[..., 1]], -1)
        nearest = np.full(self.shape, np.inf)
        for start, end in pairwise(line):
            along = end - start
            share = np.clip(((at - start) @ along) / (along @ along), 0, 1)
            nearest = np.minimum(nearest, ((at - start - share[..., None] * along) ** 2).sum(-1))
        return np.exp(-nearest / width**2) * smoothstep(self.rest[..., 2], 0.9, 1.1)


def skin(person: Person, shape: Shape, canvas: Canvas, noise: Noise) -> SkinTexture:
    """Paints a person's skin.

    Haemoglobin and melanin vary apart: blood reddens cheeks, nose, ears and lips, melanin makes freckles and blotches.
    """
    rng = person.rng("skin")
    texel = canvas.shape[1] / 384  # grains below are given for 384 columns
    z = canvas.rest[..., 2]

    def grain(size: float, octaves: int = 1) -> Image:
        return noise.cloud(rng, canvas.shape, size * texel, octaves)

    tone = skin_tone(person.melanin) * rng.uniform(0.88, 1.1) * np.exp(rng.normal(0, 0.03, 3))
    old = float(np.clip((person.age - 35) / 40, 0, 1))
    blood = 0.09 * canvas.spot(0.38, 7.0, 0.2) + 0.10 * canvas.spot(0, 6.97, 0.13) + 0.05 * canvas.spot(0, 6.4, 0.15)
    blood += 0.08 * canvas.masks["ears"] + 0.022 * grain(24, 4) + 0.012 * grain(3, 2)
    blood -= 0.04 * canvas.spot(0.0, 7.6, 0.35)
    melanin = (0.03 + 0.03 * old) * grain(32, 4) + 0.02 * grain(2, 2)
    if rng.random() < 0.3 and person.melanin < 0.45:
        freckles = np.clip(grain(1) - 1.2, 0, 1) * (canvas.spot(0.2, 7.0, 0.35) + 0.2) * rng.uniform(0.1, 0.4)
        melanin += freckles * smoothstep(z, 0.8, 1.1)
    shadow = rng.uniform(0.03, 0.3) * (0.6 + old) * canvas.spot(0.3, 7.16, 0.1) * smoothstep(z, 0.95, 1.1)
    shadow += 0.1 * canvas.masks["eyelids"] * rng.uniform(0, 1)
    folds = _folds(person, canvas, rng, old)
    shadow += folds
    shadow += rng.uniform(0, UPPER_LIP_SHADE) * canvas.spot(0.08, 6.755, 0.09)
    hairs = BROW_SHADE[person.hair_tone] * (1 - 0.7 * person.grey_hair) * person.brow_growth
    shadow += rng.uniform(0.1, 0.6) * hairs * canvas.brows
    # Chest, hair and jaw keep more light off the neck and the forehead than a bare head under a panorama shows.
    shadow += np.clip(rng.normal(*NECK_SHADE), -0.5, 1.6) * canvas.neck
    shadow += rng.uniform(*FOREHEAD_SHADE) * canvas.spot(0.0, 7.75, 0.45) * smoothstep(z, 0.7, 1.0)
    for row, column in canvas.face[rng.integers(0, len(canvas.face), rng.integers(0, 4))]:
        distance = ((canvas.rest - canvas.rest[row, column]) ** 2).sum(2)
        melanin += rng.uniform(0.4, 1.2) * np.exp(-distance / rng.uniform(0.008, 0.018) ** 2)
    for row, column in canvas.face[rng.integers(0, len(canvas.face), rng.integers(0, 10) * (rng.random() < 0.2))]:
        blood += rng.uniform(0.05, 0.2) * np.exp(
            -((canvas.rest - canvas.rest[row, column]) ** 2).sum(2) / rng.uniform(0.01, 0.03) ** 2
        )
    blood *= rng.uniform(0.4, 1.4)
    points, normals = shape.skin
    hollow = canvas.painted(shape.head.parts["skin"].hollow(points, normals, HOLLOW_REACH)) / HOLLOW_DEPTH
    nostrils = np.clip(canvas.spot(0.075, 6.85, 0.055) * (hollow > 0.6), 0, 1)
    dark = np.clip(hollow, 0, 2) * rng.uniform(0.5, 1.2) * HOLLOW_SHADE + NOSTRIL_SHADE * nostrils
    pigments = np.stack([blood, melanin, shadow, dark], -1).astype(np.float32)
    seen = complexion(person, canvas.shape, canvas.cheeks) * canvas.bare
    colour = tone.astype(np.float32) * np.exp(pigments @ PIGMENTS + seen)
    pores = np.clip(grain(1) * smoothstep(z, 0.7, 1.0), -2, 2)
    colour *= (1 - 0.03 * pores)[..., None]
    colour = _lips(colour, tone, person, canvas, rng, grain(2, 2))
    if person.makeup:
        colour = _makeup(colour, canvas, rng)
    if person.male > 0.5 and person.age > 16:
        shade = (
            rng.uniform(*SHAVED.get(person.beard, GROWN))
            * (1 + 0.2 * grain(1))
            * beard_area(canvas.rest)
            * (1 - canvas.masks["lips"])
        )
        colour *= 1 - np.clip(shade, 0, 0.7)[..., None] * np.array([1, 0.95, 0.88])
    relief = 0.35 * pores + 0.35 * grain(2) + 0.3 * grain(4, 2)
    if old > 0:
        relief += old * _wrinkles(canvas, noise, rng)
    relief *= rng.uniform(0.0003, 0.0012) * (0.6 + 0.4 * person.male)
    furrowed = np.interp(person.age, *FURROWED)
    relief += furrowed * (rng.uniform(*DIMPLES) * grain(10, 2) + rng.uniform(*FLESH) * grain(32, 2))
    relief -= rng.uniform(*FOLD_DEPTH) * folds
    relief *= 1 - 0.7 * canvas.masks["eyelids"]
    return SkinTexture(
        colour=np.clip(colour, 0.003, 0.92).astype(np.float32),
        relief=relief.astype(np.float32),
        roughness=float(rng.uniform(0.36, 0.56)),
    )


def _folds(person: Person, canvas: Canvas, rng: np.random.Generator, old: float) -> Image:
    """The shade (rows, columns) of folds that are finer than the mesh: beside mouth and nose, around the eyes."""
    smile = min(1.0, person.expression.get("expression/mouthSmileLeft", 0.0))
    shade = (0.03 + 0.3 * old + 0.35 * smile) * rng.uniform(0.1, 1.2) * canvas.laugh_lines
    single = 0.8 * person.ancestry[1]  # lids without a crease are most common in East Asia
    closed = max(person.expression.get(f"expression/eyeBlink{side}", 0.0) for side in ("Left", "Right"))
    shade += max(0.0, rng.uniform(0.2, 1.1) - single) * max(0.0, 1 - 1.5 * closed) * canvas.lid_creases
    shade += (0.1 + 0.5 * old + 0.3 * smile) * rng.uniform(0, 1) * canvas.eye_bags
    shade += rng.uniform(0.1, 0.6) * canvas.nose_wings
    return shade * np.interp(person.age, [2, 18], [0.35, 1.0])


def skin_tone(melanin: float) -> NDArray[np.float64]:
    """Linear RGB (3,) of skin with a share of melanin of 0 to 1."""
    at = melanin * (len(TONES) - 1)
    srgb = np.array([np.interp(at, range(len(TONES)), TONES[:, channel]) for channel in range(3)])
    linear: NDArray[np.float64] = srgb**2.2
    return linear


def _lips(
    colour: Image, tone: NDArray, person: Person, canvas: Canvas, rng: np.random.Generator, lines: Image
) -> Image:
    mask = cv2.GaussianBlur(canvas.masks["lips"], (0, 0), 0.004 * canvas.shape[1])[..., None]
    natural = tone * np.array([0.9, 0.5, 0.5]) * rng.uniform(0.8, 1.15)
    strength = rng.uniform(0.7, 1.0)
    if person.makeup and rng.random() < 0.6:
        natural = (
            np.array([0.5, 0.07, 0.09])
            * rng.uniform(0.6, 1.4)
            * np.array([1, rng.uniform(0.4, 3), rng.uniform(0.6, 2.5)])
        )
        strength = rng.uniform(0.6, 0.95)
    seam = np.exp(-rng.uniform(*SEAM_SHADE) * canvas.seam)[..., None]
    return seam * (colour * (1 - strength * mask) + strength * mask * natural * (1 + 0.07 * lines)[..., None])


def _makeup(colour: Image, canvas: Canvas, rng: np.random.Generator) -> Image:
    lids = canvas.masks["eyelids"][..., None] * rng.uniform(0.1, 0.6)
    blush = canvas.spot(0.42, 6.95, 0.2)[..., None] * rng.uniform(0, 0.25)
    colour = colour * (1 - lids) + lids * rng.uniform(0.02, 0.3, 3)
    return colour * np.exp(blush * np.array([0.2, -0.6, -0.4]))


def _wrinkles(canvas: Canvas, noise: Noise, rng: np.random.Generator) -> Image:
    """Creases across the forehead and a rougher skin everywhere else."""
    rows, columns = canvas.shape
    y, z = canvas.rest[..., 1], canvas.rest[..., 2]
    across = cv2.resize(noise.grain(rng, (rows, columns // 8), 4 * columns / 384), (columns, rows))
    forehead = smoothstep(y, 7.45, 7.6) * (1 - smoothstep(y, 7.9, 8.1)) * smoothstep(z, 0.9, 1.2)
    rough: Image = 2.5 * forehead * across + 1.2 * noise.cloud(rng, canvas.shape, 10 * columns / 384, 3)
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
