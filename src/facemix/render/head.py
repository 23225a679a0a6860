"""The head: its template, the shape of an identity, an expression, and the bend of the neck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facemix.render import marks
from facemix.render.surfaces import Array, Surface, smoothstep, unit

if TYPE_CHECKING:
    from facemix.render.tables import Table

NECK = np.array([0.0, 6.1, 0.2])  # where the neck bends
TIP = 30  # of the nose, among the 68 points
BROAD = "macrodetails/"  # targets of age, sex, ancestry and build
LINING_BELOW = 0.15  # the texture of the mouth's inside lies below this v


class Head:
    """The CC0 template head and its morph targets, loaded once.

    `vertices` (v, 3) is the template; `parts` its surfaces by name; `masks` regions of the skin's texture, (rows,
    columns) in 0 to 1.
    """

    def __init__(self) -> None:
        with (files("facemix.render") / "data" / "head.npz").open("rb") as file, np.load(file) as data:
            self.vertices = data["vertices"].astype(np.float64)
            brows = brow_targets(self.vertices)
            self.names = {str(name): row for row, name in enumerate([*data["target_names"], *brows])}
            self._targets = np.concatenate([data["targets"], np.stack([*brows.values()]).astype(np.float16)])
            uv = data["uv"].astype(np.float64)
            quads = {
                key.removeprefix("quads_"): (data[key].astype(int), data[f"uv_{key}"].astype(int))
                for key in data.files
                if key.startswith("quads_")
            }
            self.masks = {
                key.removeprefix("mask_"): data[key].astype(np.float32) / 255
                for key in data.files
                if key.startswith("mask_")
            }
        self.parts = {name: Surface(*part, uv, levels=1) for name, part in quads.items()}

    @cached_property
    def skin_rest(self) -> tuple[Array, Array]:
        """Points and normals of the template's skin."""
        return self.parts["skin"].shaped(self.vertices)

    @cached_property
    def marks_rest(self) -> Array:
        """The 68 marks (68, 3) on the template."""
        return marks.of(self.vertices)

    @cached_property
    def inside_mouth(self) -> NDArray[np.bool_]:
        """Which of the skin's points (n,) line the mouth: they have a place of their own on the texture."""
        inside: NDArray[np.bool_] = self.parts["skin"].uv[:, 1] < LINING_BELOW
        return inside

    def deformed(self, vertices: Array, weights: Mapping[str, float]) -> Array:
        """Vertices (v, 3) moved by morph targets; in double precision, so that every machine agrees.

        Raises:
            KeyError: no such target.
        """
        rows = [self.names[name] for name in weights]
        if not rows:
            return vertices.copy()
        amounts = np.array(list(weights.values()), np.float64)
        moved: Array = vertices + np.tensordot(amounts, self._targets[rows].astype(np.float64), 1)
        return moved

    def skin_mask(self, name: str) -> NDArray[np.float32]:
        """A region of the skin, (n,) in 0 to 1 at the skin's points."""
        mask = self.masks[name]
        column, row = (texture_position(self.parts["skin"].uv) * mask.shape[::-1]).astype(int).T
        return mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]


def brow_targets(vertices: Array) -> dict[str, Array]:
    """Morph targets (v, 3) that the data lacks: brows slid over the skin along their own curve, by 1 dm at weight 1."""
    x, y, z = vertices.T
    side, off = np.sign(x), np.abs(x)
    band = smoothstep(y, 7.36, 7.44) * (1 - smoothstep(y, 7.55, 7.75)) * smoothstep(z, 0.9, 1.1)
    inner = band * np.exp(-(((off - 0.115) / 0.11) ** 2)) * smoothstep(off, 0.0, 0.1)
    outer = band * np.exp(-(((off - 0.56) / 0.16) ** 2))
    return {
        "brows/apart": inner[:, None] * np.column_stack(np.broadcast_arrays(side, 0.2, -0.3)),
        "brows/inner-up": inner[:, None] * np.array([0.0, 1.0, 0.0]),
        "brows/long": outer[:, None] * np.column_stack(np.broadcast_arrays(side, -0.37, -1.0)),
    }


UV_LOW, UV_HIGH = np.array([0.60, 0.16]), np.array([1.0, 0.84])


def texture_position(uv: Array) -> Array:
    """Where texture coordinates (n, 2) lie in the head's own texture: column and row from the top left, 0 to 1."""
    inside = (uv - UV_LOW) / (UV_HIGH - UV_LOW)
    return np.stack([inside[:, 0], 1 - inside[:, 1]], 1)


@dataclass(frozen=True)
class Pose:
    """Rotations, degrees: yaw turns to the person's left, pitch nods down, roll tilts to the person's right."""

    yaw: float
    pitch: float
    roll: float
    torso_yaw: float

    def applied(self, points: Array, rest: Array) -> Array:
        """Head-space points (n, 3) turned; `rest` (n, 3), on the template, says how far each follows the head."""
        return NECK + self._rotated(points - NECK, rest)

    def turned(self, normals: Array, rest: Array) -> Array:
        """Unit normals (n, 3) of the points that `applied` turns."""
        return unit(self._rotated(normals, rest))

    def _rotated(self, vectors: Array, rest: Array) -> Array:
        share = smoothstep(rest @ [0, 1, 0.45], 6.0, 6.62)[:, None]
        torso = vectors @ rotation(self.torso_yaw, self.pitch * 0.25, self.roll * 0.2).T
        rotated: Array = torso + share * (vectors @ rotation(self.yaw, self.pitch, self.roll).T - torso)
        return rotated


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """The matrix (3, 3) of a rotation by yaw (about y), then pitch (about x), then roll (about z), degrees."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Array = about_z @ about_x @ about_y
    return turned


@dataclass(frozen=True)
class Shape:
    """One person's head before posing: base vertices without (`neutral`) and with the expression (`now`)."""

    head: Head
    neutral: Array
    now: Array

    @cached_property
    def skin(self) -> tuple[Array, Array]:
        """Points and normals of the skin, with the expression."""
        return self.head.parts["skin"].shaped(self.now)

    @cached_property
    def marks(self) -> Array:
        """The 68 marks (68, 3) on the smooth skin."""
        return marks.of(self.smooth)

    def placed(self, table: Table) -> Array:
        """A table's points (K, 3) on the smooth skin; a pupil's are 0."""
        return table.of(self.smooth)

    @cached_property
    def smooth(self) -> Array:
        """The base vertices (v, 3), those of the skin moved onto the smooth skin."""
        surface = self.head.parts["skin"]
        smooth = self.now.copy()
        smooth[surface.ids] = surface.smooth(self.now)[: len(surface.ids)]
        return smooth

    def eye(self, side: str) -> tuple[Array, float]:
        """Centre (3,) and radius of an eyeball: of the neutral face, for it does not follow the lids."""
        ball = self.neutral[self.head.parts[f"eye_{side}"].ids]
        low, high = ball.min(0), ball.max(0)
        radius = float(high[1] - low[1]) / 2
        centre = (low + high) / 2
        centre[2] = high[2] - 1.07 * radius
        return centre, radius


def _width(points: Array) -> float:
    """Between the outer corners of the eyes of the 68 points (68, 3)."""
    return float(np.linalg.norm(points[36] - points[45]))


def shaped(head: Head, identity: Mapping[str, float], expression: Mapping[str, float]) -> Shape:
    """A person's head, moved so that the tip of the nose stands where the template's does."""
    broad = {name: weight for name, weight in identity.items() if name.startswith(BROAD)}
    grown = head.deformed(head.vertices, broad)
    # The other targets move points by lengths of a grown head: on the head of a child as much less.
    size = _width(marks.of(grown)) / _width(head.marks_rest)
    neutral = head.deformed(grown, {name: size * weight for name, weight in identity.items() if name not in broad})
    now = head.deformed(neutral, {name: size * weight for name, weight in expression.items()})
    shift = marks.of(neutral)[TIP] - head.marks_rest[TIP]
    return Shape(head, neutral - shift, now - shift)


def posed_marks(shape: Shape, pose: Pose) -> Array:
    """The 68 marks (68, 3) of the posed head."""
    return pose.applied(shape.marks, shape.head.marks_rest)
