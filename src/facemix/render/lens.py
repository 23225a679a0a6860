"""Light at lenses and wet eyes: what passes them and what they mirror, laid over a finished picture.

The path tracer would spend its few bounces, and the denoiser its guides, on panes that are all but invisible, and too
few samples on the small bright spots in eyes, which the denoiser takes for noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.camera import Camera
from facemix.render.eyes import cornea
from facemix.render.surfaces import Array, Mesh, unit

Image = NDArray[np.floating[Any]]
FINE = 4  # subpixels along a pixel's side, for smooth edges
RIM = 0.004  # decimetres: what lies further before a lens than that hides it
WET = 0.025  # share of light that a wet eye throws back when it is looked at straight
MOST_AT_ONCE = 30_000  # OpenCV maps no picture of more rows
SUBPIXELS = 3  # along a pixel's side: lamps are small in an eye
BLUR = 0.012  # of the picture's side: hides the triangles' edges in the mirror image


@dataclass(frozen=True)
class Panes:
    """Lenses as the camera sees them.

    `normals` and `passing`, the share of light that passes, are (S, S, 3); `thrown` the share thrown back, `distance`
    decimetres from the camera, `share` how much of the pixel is a lens with nothing before it, all (S, S).
    """

    normals: Image
    passing: Image
    thrown: Image
    distance: Image
    share: Image

    @property
    def dark(self) -> NDArray[np.bool_]:
        """Where lenses hide what is behind them, (S, S)."""
        dark: NDArray[np.bool_] = (self.share > 0.5) & (self.passing.mean(2) < 0.5)
        return dark


def panes(lenses: Mesh, camera: Camera, depth: Image) -> Panes:
    """Paints posed lenses, whose colours are (n, 4), into the picture.

    Args:
        lenses: in the camera's space.
        camera: where they are seen from.
        depth: of all else, (S, S), decimetres, 0 for nothing.
    """
    assert lenses.colours is not None
    if lenses.colours.shape[1] == 3:  # the speck that stands for no mesh
        return Panes(
            *(np.zeros((camera.size, camera.size, *channels), np.float32) for channels in ((3,), (3,), (), (), ()))
        )
    pixels, distance = camera.pixels(lenses.points), camera.depth(lenses.points)
    values = np.column_stack([lenses.normals, lenses.colours, distance])[lenses.triangles].mean(1).astype(np.float32)
    corners = np.round((pixels[lenses.triangles] + 0.5) * FINE * 16).astype(np.int32)  # sixteenths of a subpixel
    number = np.zeros((camera.size * FINE, camera.size * FINE), np.int32)
    for triangle in np.argsort(-values[:, -1]):  # far ones first
        cv2.fillConvexPoly(number, corners[triangle], int(triangle) + 1, shift=4)
    share = cv2.resize((number > 0).astype(np.float32), (camera.size, camera.size), interpolation=cv2.INTER_AREA)
    number = number[FINE // 2 :: FINE, FINE // 2 :: FINE]
    inside = (number > 0).astype(np.float32)
    painted = values[np.maximum(number - 1, 0)] * inside[..., None]
    sigma = BLUR * camera.size
    weight = cv2.GaussianBlur(inside, (0, 0), sigma)[..., None] + 1e-6
    halves = [
        cv2.GaussianBlur(np.ascontiguousarray(half), (0, 0), sigma) for half in (painted[..., :4], painted[..., 4:])
    ]
    smooth = np.dstack(halves) / weight
    share *= (depth == 0) | (depth > smooth[..., 7] - RIM)
    return Panes(smooth[..., :3], smooth[..., 3:6], smooth[..., 6], smooth[..., 7], share)


def glazed(radiance: Image, glass: Panes, camera: Camera, light: Image) -> Image:
    """The picture (S, S, 3), linear, seen through lenses that mirror a panorama of light (rows, columns, 3)."""
    here = np.nonzero(glass.share)
    rows, columns = here
    if not len(rows):
        return radiance
    middle, focal = (camera.size - 1) / 2, camera.focal_length
    ray = unit(np.stack([(columns - middle) / focal, (middle - rows) / focal, -np.ones(len(rows))], 1))
    normal = unit(glass.normals[here].astype(np.float64))
    facing = (ray * normal).sum(1, keepdims=True)
    thrown = glass.thrown[here][:, None]
    share = thrown + (1 - thrown) * (1 - np.abs(facing)) ** 5  # Schlick's approximation of Fresnel's law
    seen = radiance[here] * glass.passing[here] * (1 - share) + share * _looked_up(light, ray - 2 * facing * normal)
    covered = glass.share[here][:, None]
    result = radiance.copy()
    result[here] = radiance[here] * (1 - covered) + seen * covered
    return result


@dataclass(frozen=True)
class Eyeball:
    """An eyeball in the camera's space: centre (3,), where it looks (3,), and radius, decimetres."""

    centre: Array
    axis: Array
    radius: float


def glistening(radiance: Image, eyes: NDArray[np.bool_], balls: list[Eyeball], camera: Camera, light: Image) -> Image:
    """The picture (S, S, 3), linear, in which wet eyes mirror a panorama of light (rows, columns, 3).

    Args:
        radiance: the picture.
        eyes: the pixels (S, S) that show an eyeball.
        balls: both eyeballs.
        camera: where they are seen from.
        light: what they mirror.
    """
    rows, columns = np.nonzero(eyes)
    if not len(rows):
        return radiance
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    down, right = np.meshgrid(offsets, offsets, indexing="ij")
    y, x = (rows[:, None] + down.ravel()).ravel(), (columns[:, None] + right.ravel()).ravel()
    middle, focal = (camera.size - 1) / 2, camera.focal_length
    ray = unit(np.stack([(x - middle) / focal, (middle - y) / focal, -np.ones(len(x))], 1))
    mirrored = np.zeros((len(x), 3))
    for ball in balls:
        towards = ball.centre - camera.position
        along = ray @ towards
        reach = ball.radius**2 - (towards @ towards - along**2)
        hit = np.flatnonzero(reach > 0)
        if not len(hit):
            continue
        at = (along[hit] - np.sqrt(reach[hit]))[:, None] * ray[hit] - towards
        normal = _cornea_normal(at / ball.radius, ball.axis)
        facing = (ray[hit] * normal).sum(1, keepdims=True)
        share = WET + (1 - WET) * (1 - np.abs(facing)) ** 5  # Schlick's approximation of Fresnel's law
        mirrored[hit] = share * _looked_up(light, ray[hit] - 2 * facing * normal)
    result = radiance.copy()
    result[rows, columns] += mirrored.reshape(len(rows), -1, 3).mean(1)
    return result


def _cornea_normal(outward: Array, axis: Array) -> Array:
    """Normals (n, 3) of an eyeball at directions (n, 3) from its centre: the cornea stands out of it.

    The radius is 1 + h(a) at an angle a from the axis, so the normal leans away from the axis by -h'(a).
    """
    cosine = np.clip(outward @ axis, -1, 1)
    angle = np.arccos(cosine)
    away = unit(outward * cosine[:, None] - axis)  # along the surface, away from the axis
    step = 1e-3
    slope = (cornea(angle + step) - cornea(angle - step)) / (2 * step)
    return unit(outward - slope[:, None] * away)


def _looked_up(panorama: Image, directions: NDArray[np.float64]) -> Image:
    """Radiance (n, 3) of a panorama in directions (n, 3); the camera looks from the side of its middle column."""
    rows, columns = panorama.shape[:2]
    right = np.arctan2(directions[:, 0], -directions[:, 2]) / (2 * np.pi) % 1 * columns - 0.5
    down = np.arccos(np.clip(directions[:, 1], -1, 1)) / np.pi * rows - 0.5
    padded = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], 1)
    at = np.stack([right + 1, np.maximum(down, 0)], 1).astype(np.float32)
    found = [
        cv2.remap(padded, part[:, None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in np.split(at, range(MOST_AT_ONCE, len(at), MOST_AT_ONCE))
    ]
    return np.asarray(np.concatenate(found)[:, 0, :3], np.float32)
