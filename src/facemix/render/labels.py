"""Where points are, by three conventions.

- `mesh`: on the true surface, as rendered sets label. It takes any scheme that has a table (`facemix.render.tables`).
- `annotator`: as people label. It is for the 68 points of ibug68: only of them is it known where people set them.
- `steady`: the same without the tremor of their hands.

People cannot see the true contour of a turned jaw: they mark the visible outline, set points along a curve at even
distances, put the points of closed lips on one line, follow the upper edge of a brow, and their hands are not steady.
What such rules leave was measured, point by point and by how far the head is turned (`habits`). The difference between
`mesh` and `annotator` is the label gap, here known exactly.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from facemix.faces.contours import across, curves, tangents
from facemix.faces.schemes import ibug68
from facemix.render.camera import Camera
from facemix.render.eyes import pupil
from facemix.render.head import Head, Pose, Shape
from facemix.render.person import Person
from facemix.render.surfaces import Array, smoothstep, unit
from facemix.render.tables import Table

CONVENTIONS = ("mesh", "annotator", "steady")
"""Of labels; all but the first are known of ibug68 only."""
INNER_LIPS = ((61, 67), (62, 66), (63, 65))
# Where people set the points between two others, shares of the way along the curve that joins them; of the right side.
# Measured, as is all that follows, on photographs by scripts/measure_annotator_habits.py.
SPACING = {
    (17, 18, 19, 20, 21): (0.24, 0.49, 0.745),
    (36, 37, 38, 39): (0.316, 0.647),
    (36, 41, 40, 39): (0.305, 0.66),
    (31, 32, 33): (0.487,),
}
# Along the lips from corner to corner: how far beside the middle the next points are, share of the length; and where
# the point between those and the corner is, share of the way. It is so in the picture, however the head turns.
LIPS = {
    (48, 49, 50, 51, 52, 53, 54): (0.125, 0.52),
    (48, 59, 58, 57, 56, 55, 54): (0.119, 0.557),
    (60, 61, 62, 63, 64): (0.155, None),
    (60, 67, 66, 65, 64): (0.15, None),
}
CLOSED = 0.02  # lips nearer than this share of the outer-eye distance count as closed
# Where people set points elsewhere on the head, decimetres: away from its middle plane, up, forward; of the right side.
MOVED = {
    0: (0.0, 0.036, -0.21),
    1: (0.0, -0.015, -0.16),
    2: (0.0, -0.018, -0.12),
    3: (0.0, -0.018, -0.17),
    4: (0.0, -0.018, -0.07),
    5: (0.0, -0.018, 0.04),
    6: (0.0, -0.022, 0.13),
    7: (0.0, -0.03, 0.18),
    8: (0.0, -0.013, 0.1),
    17: (-0.015, -0.005, 0.05),
    18: (0.0, 0.045, 0.04),
    19: (0.0, 0.034, 0.04),
    20: (0.0, 0.017, 0.04),
    21: (0.0, 0.004, 0.04),
    27: (0.0, 0.027, 0.05),
    28: (0.0, 0.013, 0.04),
    29: (0.0, 0.017, 0.015),
    30: (0.0, 0.015, 0.0),
    31: (0.0, 0.009, 0.05),
    33: (0.0, 0.0, 0.02),
    48: (0.0, 0.0, -0.05),
    51: (0.0, -0.015, -0.03),
    60: (-0.014, 0.0, -0.01),
}
FAR_UP = {0: -0.03, 17: 0.02, 18: 0.005}  # decimetres, on the far side of a turned head; of the right side
TURNED_AWAY = (2.0, 14.0)  # degrees of yaw between which the far side of a face goes out of sight
OUTLINE_REACH = 0.5  # decimetres from the jaw up the cheek
OUTLINE_BAND = 0.08  # decimetres to both sides
CHEEK = np.array([0.0, 6.85, 1.35])  # on the template; where the jaw's bands lead
CHIN = 6.45  # the height of the chin's crease
THROAT = 6.78  # y + z / 2 of the skin below the jaw

# Of human deviations: correlation of neighbours along and across each curve, and how unequal faces are (the standard
# deviation of the logarithm); measured with the table by scripts/measure_annotator_noise.py.
CORRELATION = {
    "jaw": (0.89, 0.49),
    "brows": (0.85, 0.51),
    "nose bridge": (0.69, 0.84),
    "nostrils": (0.61, 0.62),
    "eyes": (0.35, 0.39),
    "outer lip": (0.47, 0.41),
    "inner lip": (0.40, 0.42),
}
FACE_SPREAD = 0.44


class Outline:
    """Which skin can be the visible outline at each point of the jaw: a band across the jaw, from it up the cheek."""

    def __init__(self, head: Head) -> None:
        skin, _ = head.skin_rest
        jaw = head.marks_rest[:17] + _moved()[:17] * [1, 1, 0]
        direction = unit(np.gradient(jaw, axis=0))
        inward: Array = CHEEK - jaw
        inward = unit(inward - direction * (inward * direction).sum(1, keepdims=True))
        away = skin[:, None] - jaw
        up, aside = (away * inward).sum(2), np.abs((away * direction).sum(2))
        # Not the nose and the lips, which stand out of a profile, and not the throat or the inside of the mouth.
        cheek = (np.abs(skin[:, 0]) > 0.3) | (skin[:, 1] < CHIN)
        above_throat = skin @ [0, 1, 0.5] > THROAT
        outside = above_throat & ~head.inside_mouth & cheek
        in_front = away[..., 2] > 0
        candidates = (up >= 0) & (up < OUTLINE_REACH) & (aside < OUTLINE_BAND) & in_front & outside[:, None]
        self._vertices = [np.flatnonzero(column) for column in candidates.T]
        self._rest = skin

    def visible(self, jaw: Array, up: Array, shape: Shape, pose: Pose, camera: Camera) -> Array:
        """The jaw's points (17, 2), pixels, moved out as far as the skin beside them reaches, and evenly spaced.

        `up` (2,) says where the head's own up is in the picture: the ends of the jaw keep their height.
        """
        out: Array = across(unit(np.gradient(jaw, axis=0)))  # the jaw runs left to right below the face
        aside: Array = unit(np.array([-up[1], up[0]]))
        out[[0, 16]] = [-aside, aside]
        seen = jaw.copy()
        for k, vertices in enumerate(self._vertices):
            skin = camera.pixels(pose.applied(shape.skin[0][vertices], self._rest[vertices]))
            reach = (skin - jaw[k]) @ out[k]
            if reach.max(initial=0.0) > 0:
                seen[k] = jaw[k] + reach.max() * out[k] if k in (0, 16) else skin[reach.argmax()]
        return np.concatenate([evenly(seen[:9]), evenly(seen[8:])[1:]])


def posed_points(table: Table, person: Person, shape: Shape, pose: Pose) -> Array:
    """A table's points (K, 3) on the true surface of the posed head, and on its eyes."""
    points, rest = shape.placed(table), table.of(shape.head.vertices)
    for k, side in table.pupils.items():
        points[k], rest[k] = pupil(person, shape, side)
    return pose.applied(points, rest)


def annotator_labels(
    person: Person, shape: Shape, pose: Pose, camera: Camera, outline: Outline, steady: bool = False
) -> Array:
    """Points (68, 2), pixels, as people mark a photograph; `steady` leaves out the tremor of their hands."""
    points = camera.pixels(pose.applied(shape.marks + moved(pose.yaw), shape.head.marks_rest))
    rise = camera.pixels(pose.applied(np.array([[0, 8.0, 0], [0, 7.0, 0]]), np.array([[0, 8.0, 0], [0, 8.0, 0]])))
    points[:17] = outline.visible(points[:17], rise[0] - rise[1], shape, pose, camera)
    points = _closed_lips(_spaced(points) + habits(pose.yaw) @ _upright_axes(points))
    return points if steady else points + tremor(points, person.rng("annotator"))


def moved(yaw: float) -> Array:
    """By how much people set the points (68, 3) elsewhere on the head than the mesh, decimetres.

    They set them forward and back on the side that they see well; when the head turns by `yaw`, degrees, not on the
    far side.
    """
    offsets = _moved().copy()
    sides = np.sign(np.arange(68) - ibug68().mirror)  # -1 on the right, 1 on the left
    far = smoothstep(sides * yaw, *TURNED_AWAY)
    offsets[:, 2] *= 1 - far
    for point, up in FAR_UP.items():
        here = [point, ibug68().mirror[point]]
        offsets[here, 1] += up * far[here]
    return offsets


@cache
def _moved() -> Array:
    offsets, mirror = np.zeros((68, 3)), ibug68().mirror
    for point, (outwards, up, forward) in MOVED.items():
        offsets[point] = -outwards, up, forward
        offsets[mirror[point]] = outwards if mirror[point] != point else 0, up, forward
    return offsets


def habits(yaw: float) -> Array:
    """How far beside what the rules above say people set the points (68, 2) of a head that is turned by `yaw`, degrees.

    In outer-eye distances, to the left of the person and down, along the line of the eyes and across it.
    """
    turned, offsets = habit_table()
    left = np.array([[np.interp(abs(yaw), turned, column) for column in point.T] for point in offsets])
    return left if yaw >= 0 else left[ibug68().mirror] * [-1, 1]


@cache
def habit_table() -> tuple[Array, Array]:
    """Yaws (k,) of heads that are turned to their left, degrees, and what `habits` says of the points, (68, k, 2)."""
    text = (files("facemix.render") / "data" / "annotator_habits.csv").read_text(encoding="utf-8")
    rows = np.array([[float(value) for value in line.split(",")] for line in text.split()[1:]])
    turned = np.unique(rows[:, 1])
    return turned, rows[:, 2:].reshape(68, len(turned), 2)


def _upright_axes(points: Array) -> Array:
    """From the outer corner of the right eye to that of the left, and as far across, downwards: (2, 2), pixels."""
    x = points[45] - points[36]
    return np.array([x, [-x[1], x[0]]])


def along(points: Array, shares: Array) -> Array:
    """Places (k, 2) on the line through points (n, 2), at shares (k,) of its length."""
    way = shares_of(points)
    return np.stack([np.interp(shares, way, points[:, axis]) for axis in (0, 1)], 1)


def shares_of(points: Array) -> Array:
    """How far along the line through them points (n, 2) are, (n,) from 0 to 1."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return length / max(length[-1], 1e-9)


def evenly(points: Array) -> Array:
    """Points (n, 2) moved along the line through them to even distances; the ends stay."""
    return along(points, np.linspace(0, 1, len(points)))


def _spaced(points: Array) -> Array:
    """Points (68, 2) moved along their curves to where people set them."""
    marks, mirror = points.copy(), ibug68().mirror
    for curve, shares in SPACING.items():
        for here in (list(curve), mirror[list(curve)]):
            marks[here[1:-1]] = along(points[here], np.array(shares))
    for lip, (beside, between) in LIPS.items():
        here = list(lip)
        middle = shares_of(points[here])[len(here) // 2]
        near = [middle - beside, middle, middle + beside]
        if between is not None:
            near = [between * near[0], *near, 1 - between * (1 - near[2])]
        marks[here[1:-1]] = along(points[here], np.clip(near, 0, 1))
    return marks


def _closed_lips(points: Array) -> Array:
    """Inner lips that all but touch are marked on one line."""
    closed = points.copy()
    width = np.linalg.norm(points[45] - points[36])
    for upper, lower in INNER_LIPS:
        if np.linalg.norm(points[upper] - points[lower]) < CLOSED * width:
            closed[[upper, lower]] = (points[upper] + points[lower]) / 2
    return closed


@cache
def noise_table() -> Array:
    """Standard deviations (68, 2) of one annotator along and across the curves, as shares of the outer-eye distance."""
    lines = (files("facemix.render") / "data" / "annotator_noise.csv").read_text(encoding="utf-8").split()[1:]
    return np.array([[float(value) for value in line.split(",")[1:]] for line in lines])


def tremor(points: Array, rng: np.random.Generator) -> Array:
    """What a person's marks (68, 2) deviate by, pixels: as much as two people disagree, over sqrt(2)."""
    deviation = np.zeros((68, 2))
    for name, named in curves().items():
        for curve in named:
            lags = np.abs(np.subtract.outer(range(len(curve.points)), range(len(curve.points))))
            lags = np.minimum(lags, len(curve.points) - lags) if curve.closed else lags
            for axis, correlation in enumerate(CORRELATION[name]):
                mixed = np.linalg.cholesky(correlation ** lags.astype(float) + 1e-9 * np.eye(len(lags)))
                deviation[list(curve.points), axis] = mixed @ rng.normal(size=len(lags))
    along = tangents(points)
    deviation *= noise_table()
    scale = np.linalg.norm(points[45] - points[36]) * np.exp(rng.normal(-(FACE_SPREAD**2) / 2, FACE_SPREAD))
    marks: Array = (deviation[:, :1] * along + deviation[:, 1:] * across(along)) * scale
    return marks
