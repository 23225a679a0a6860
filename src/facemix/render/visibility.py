"""Which parts of a head a picture shows.

It is kept for each face, vertex by vertex: then it can be told of the points of any label table, without depth and
without rendering again (`Table.visible`).
"""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.camera import Camera
from facemix.render.eyes import pupil
from facemix.render.head import Pose, Shape
from facemix.render.marks import vertex_rows
from facemix.render.materials import SHAPES
from facemix.render.person import Person
from facemix.render.scene import Rendering

HIDDEN_BY = 0.08  # decimetres that may lie before a visible point: hairs, and the roundness of the skin
PUPILS = ("left", "right")
"""What follows the vertices, in this order."""


def seen(rendering: Rendering, person: Person, shape: Shape, pose: Pose, camera: Camera) -> NDArray[np.bool_]:
    """Whether each vertex of the head (v) and each pupil can be seen, (v + 2,); those outside the picture cannot.

    A place is seen where nothing stands more than `HIDDEN_BY` before it: not the head itself, hair, a hat, frames or
    dark glass, or a hand. Clear glass hides nothing. A pupil lies so close behind its lids that depth cannot tell: its
    pixel, or one beside it, must show an eye too.
    """
    pupils, centres = zip(*(pupil(person, shape, side) for side in PUPILS), strict=True)
    points = pose.applied(np.concatenate([shape.smooth, pupils]), np.concatenate([shape.head.vertices, centres]))
    pixels = np.round(camera.pixels(points)).astype(int)
    inside = ((pixels >= 0) & (pixels < camera.size)).all(1)
    column, row = np.clip(pixels, 0, camera.size - 1).T
    depth = rendering.depth[row, column]
    free: NDArray[np.bool_] = inside & ((depth == 0) | (depth > camera.depth(points) - HIDDEN_BY))
    eye = (rendering.shape == 1 + SHAPES.index("eyes")).astype(np.uint8)
    free[-len(PUPILS) :] &= cv2.dilate(eye, np.ones((3, 3), np.uint8))[row, column][-len(PUPILS) :] > 0
    return free


def packed(seen: NDArray[np.bool_]) -> str:
    """As text for faces.parquet: a bit for each place, in base64."""
    return base64.b64encode(np.packbits(seen).tobytes()).decode()


def unpacked(text: str) -> NDArray[np.bool_]:
    """What was packed, (v + 2,).

    Raises:
        ValueError: it is none of that.
    """
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    count = len(vertex_rows()) + len(PUPILS)
    if len(bits) != -(-count // 8):
        raise ValueError(f"found {len(bits)} bytes, expected {-(-count // 8)}")
    return np.unpackbits(bits, count=count).astype(bool)
