"""The canvas: the head's texture on which skin is painted, and the places on it by name."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.head import Head, texture_position
from facemix.render.surfaces import Array, smoothstep

Image = NDArray[np.floating[Any]]
Place = Mapping[int, float]
"""A place of the left side of the face: shares of the 68 points, that add up to 1."""

WIDE_LAUGH_LINE = 0.05
JAW_TOP = 6.9  # decimetres: the jaw below the ears
FRONT = 0.9  # decimetres: what lies further forward is the face

# Round places, and how far they reach, decimetres.
SPOTS: dict[str, tuple[Place, float]] = {
    "cheeks": ({45: 0.67, 54: 0.33}, 0.2),
    "cheekbones": ({13: 0.33, 45: 0.33, 54: 0.34}, 0.2),
    "nose": ({29: 0.5, 30: 0.5}, 0.13),
    "chin": ({8: 0.33, 57: 0.67}, 0.15),
    "forehead": ({27: 1.8, 30: -0.8}, 0.35),
    "top of the forehead": ({27: 2.2, 30: -1.2}, 0.45),
    "around the nose": ({30: 0.5, 45: 0.5}, 0.35),
    "under the eyes": ({46: 0.44, 47: 0.44, 54: 0.12}, 0.1),
    "under the nose": ({35: 0.3, 52: 0.5, 53: 0.2}, 0.09),
    "nostrils": ({30: 0.18, 34: 0.5, 35: 0.32}, 0.055),
}

# Lines of places, and how wide they are, decimetres.
LINES: dict[str, tuple[tuple[Place, ...], float]] = {
    "laugh lines": (
        ({35: 0.85, 45: 0.15}, {35: 0.6, 45: 0.2, 54: 0.2}, {45: 0.2, 54: 0.8}, {12: 0.3, 54: 0.7}),
        0.02,
    ),
    "lid creases": (
        (
            {22: 0.15, 42: 0.65, 43: 0.2},
            {23: 0.25, 43: 0.75},
            {24: 0.3, 43: 0.25, 44: 0.45},
            {25: 0.2, 44: 0.4, 45: 0.4},
            {26: 0.15, 45: 0.85},
        ),
        0.012,
    ),
    "nose wings": (
        ({34: 0.4, 35: 0.6}, {34: -0.1, 35: 1.1}, {35: 0.9, 45: 0.1}, {29: 0.25, 35: 0.65, 45: 0.1}),
        0.012,
    ),
    "eye bags": (
        (
            {35: 0.2, 42: 0.6, 47: 0.2},
            {47: 0.85, 54: 0.15},
            {46: 0.88, 54: 0.12},
            {45: 0.5, 46: 0.4, 54: 0.1},
        ),
        0.014,
    ),
    # Both ends are thin.
    "brows": (({22: 0.6, 23: 0.4}, {23: 1.0}, {24: 1.0}, {25: 1.0}, {25: 0.7, 26: 0.3}), 0.045),
    "between the lips": (({62: 1.0}, {63: 1.0}, {64: 1.0}), 0.014),
}


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
        self.face = np.argwhere(self.rest[..., 2] > FRONT)
        self.neck = self._neck()
        self.bare = self._bare()
        self.jaw = (self.bare[..., 0] > 0.5) & (self.rest[..., 1] < JAW_TOP) & (self.rest[..., 2] < FRONT)
        points = head.marks_rest

        def at(place: Place) -> Array:
            return np.asarray(sum(share * points[point, :2] for point, share in place.items()))

        self.spots = {name: self._spot(at(place), radius) for name, (place, radius) in SPOTS.items()}
        self.lines = {name: self._line(np.array([at(p) for p in line]), wide) for name, (line, wide) in LINES.items()}
        laugh = np.array([at(place) for place in LINES["laugh lines"][0]])
        self.lines["laugh lines"] += 0.5 * self._line(laugh, WIDE_LAUGH_LINE)
        self.cheeks = self.spots["cheeks"] * (self.rest[..., 2] > FRONT) > 0.5

    def painted(self, values: Image) -> Image:
        """Values (n,) at the skin's points, on the texture (rows, columns)."""
        corners = values[self._corners]
        return cv2.blur(
            (np.einsum("rck->rc", corners) / 3).astype(np.float32), (3, 3)
        )  # `mean(2)` takes four times as long

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

    def _spot(self, at: Array, radius: float) -> Image:
        """A soft spot (rows, columns) of height 1 around the points (+-x, y) of the front, radius in decimetres."""
        return np.exp(-((np.abs(self.rest[..., 0]) - at[0]) ** 2 + (self.rest[..., 1] - at[1]) ** 2) / radius**2)

    def _line(self, line: Array, width: float) -> Image:
        """A soft line (rows, columns) of height 1 along the points (+-x, y) of `line` (n, 2), decimetres, n > 1."""
        at = np.stack([np.abs(self.rest[..., 0]), self.rest[..., 1]], -1)
        nearest = np.full(self.shape, np.inf)
        for start, end in pairwise(line):
            along = end - start
            share = np.clip(((at - start) @ along) / (along @ along), 0, 1)
            nearest = np.minimum(nearest, ((at - start - share[..., None] * along) ** 2).sum(-1))
        return np.exp(-nearest / width**2) * smoothstep(self.rest[..., 2], 0.9, 1.1)
