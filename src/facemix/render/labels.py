"""Where points are, by three conventions.

- `mesh`: on the true surface, as rendered sets label. It takes any scheme that has a table (`facemix.render.tables`).
- `annotator`: as people label. It is for the 68 points of ibug68: only of them is it known where people set them.
- `steady`: the same without the tremor of their hands.

People cannot see the true contour of a turned jaw: they mark the visible outline, set points along a curve at even
distances, put the points of closed lips on one line, follow the upper edge of a brow, and their hands are not steady.
The difference between `mesh` and `annotator` is the label gap, here known exactly.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from facemix.faces.contours import across, curves, tangents
from facemix.faces.schemes import ibug68
from facemix.render import tables
from facemix.render.camera import Camera
from facemix.render.eyes import pupil
from facemix.render.head import Head, Pose, Shape
from facemix.render.population import Person
from facemix.render.surfaces import Array, unit
from facemix.render.tables import Table

CONVENTIONS = ("mesh", "annotator", "steady")
"""Of labels; all but the first are known of ibug68 only."""
BROWS = (range(17, 22), range(22, 27))
INNER_LIPS = ((61, 67), (62, 66), (63, 65))
# Points of the lips on the right side that people set elsewhere along the curve: towards which point, and how far.
LIPS = {49: (48, 0.12), 50: (49, 0.17), 59: (58, 0.23), 60: (61, 0.19), 61: (62, 0.42), 67: (66, 0.42)}
CLOSED = 0.02  # lips nearer than this share of the outer-eye distance count as closed
JAW_END = 0.06  # decimetres: people begin the jaw higher, at the height of the eyes
BROW_EDGE = 0.01  # decimetres from the middle of a brow towards its upper edge, where people mark it
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
        jaw = head.landmark_rest[:17] + JAW_END * np.array([0, 1, 0]) * (np.arange(17) % 16 == 0)[:, None]
        along = unit(np.gradient(jaw, axis=0))
        inward = CHEEK - jaw
        inward = unit(inward - along * (inward * along).sum(1, keepdims=True))
        away = skin[:, None] - jaw
        up, aside = (away * inward).sum(2), np.abs((away * along).sum(2))
        # Not the nose and the lips, which stand out of a profile, and not the throat or the inside of the mouth.
        cheek = (np.abs(skin[:, 0]) > 0.3) | (skin[:, 1] < CHIN)
        above_throat = skin @ [0, 1, 0.5] > THROAT
        outside = above_throat & ~head.inside_mouth & cheek
        in_front = away[..., 2] > 0
        candidates = (up >= 0) & (up < OUTLINE_REACH) & (aside < OUTLINE_BAND) & in_front & outside[:, None]
        self._vertices = [np.flatnonzero(column) for column in candidates.T]
        self._rest = skin

    def visible(self, jaw: Array, shape: Shape, pose: Pose, camera: Camera) -> Array:
        """The jaw's points (17, 2), pixels, moved out as far as the skin beside them reaches, and evenly spaced."""
        out = across(unit(np.gradient(jaw, axis=0)))  # the jaw runs left to right below the face
        moved = jaw.copy()
        for k, vertices in enumerate(self._vertices):
            seen = camera.pixels(pose.applied(shape.skin[0][vertices], self._rest[vertices]))
            reach = (seen - jaw[k]) @ out[k]
            if reach.max(initial=0.0) > 0:  # the ends keep their height
                moved[k] = jaw[k] + reach.max() * out[k] if k in (0, 16) else seen[reach.argmax()]
        return np.concatenate([evenly(moved[:9]), evenly(moved[8:])[1:]])


def posed_points(table: Table, person: Person, shape: Shape, pose: Pose) -> Array:
    """A table's points (K, 3) on the true surface of the posed head, and on its eyes."""
    points, rest = shape.placed(table), table.of(shape.head.vertices)
    for k, side in table.pupils.items():
        points[k], rest[k] = pupil(person, shape, side)
    return pose.applied(points, rest)


def mesh_labels(shape: Shape, pose: Pose, camera: Camera) -> Array:
    """Points (68, 2), pixels, of the true surface."""
    table = tables.ibug68()
    return camera.pixels(pose.applied(shape.placed(table), table.of(shape.head.vertices)))


def annotator_labels(
    person: Person, shape: Shape, pose: Pose, camera: Camera, outline: Outline, steady: bool = False
) -> Array:
    """Points (68, 2), pixels, as people mark a photograph; `steady` leaves out the tremor of their hands."""
    points = mesh_labels(shape, pose, camera)
    rise = camera.pixels(pose.applied(np.array([[0, 8.0, 0], [0, 7.0, 0]]), np.array([[0, 8.0, 0], [0, 8.0, 0]])))
    decimetre_up = rise[0] - rise[1]
    points[[0, 16]] += decimetre_up * JAW_END
    points[:17] = outline.visible(points[:17], shape, pose, camera)
    for brow in BROWS:
        points[list(brow)] = evenly(points[list(brow)] + decimetre_up * BROW_EDGE)
    points = _closed_lips(_spread_lips(points))
    return points if steady else points + tremor(points, person.rng("annotator"))


def evenly(points: Array) -> Array:
    """Points (n, 2) moved along the line through them to even distances; the ends stay."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.linspace(0, length[-1], len(points))
    return np.stack([np.interp(even, length, points[:, axis]) for axis in (0, 1)], 1)


def _spread_lips(points: Array) -> Array:
    """Points (68, 2) with those of the lips where people set them along the same curves."""
    spread, mirror = points.copy(), ibug68().mirror
    for at, (towards, share) in LIPS.items():
        for here, there in ((at, towards), (mirror[at], mirror[towards])):
            spread[here] += share * (points[there] - points[here])
    return spread


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
