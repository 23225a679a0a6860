"""Faces as a report shows them: with ground truth and prediction, as a sheet, and as the mean of many."""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay

from facemix.faces import geometry
from facemix.faces.drawing import contact_sheet, draw_lines, draw_points
from facemix.faces.mapped import take
from facemix.faces.shards import Images

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]

TRUTH, PREDICTION, ERROR = (60, 255, 60), (255, 60, 255), (255, 255, 255)  # RGB
SIDE = 224
"""Of a face, pixels."""
FRAME = 1.3
"""Side of the picture / longer side of the landmark box."""
CELL = 96
"""Of a face on a sheet of many, pixels."""
AVERAGED = 200
"""Faces that the mean face is made of, at most."""


def best_median_worst(nme: Floats) -> tuple[int, int, int]:
    """The faces with the least, the middle (of an even number the lower) and the greatest error (n,)."""
    order = np.argsort(nme, kind="stable")
    return int(order[0]), int(order[(len(order) - 1) // 2]), int(order[-1])


def most_different(nme: Floats, count: int) -> list[int]:
    """The faces on which strategies differ most, by the range of their errors (strategies, n); at most `count`."""
    order: list[int] = np.argsort(-np.ptp(nme, axis=0), kind="stable").tolist()
    return order[:count]


def judged(image: Image, truth: Floats, predicted: Floats | None) -> Image:
    """A face (SIDE, SIDE, 3) RGB with its points, those of the ground truth green, predicted ones magenta.

    Args:
        image: (S, S, 3) RGB crop of a pack.
        truth: (K, 2) pixels of the crop.
        predicted: likewise; None: the ground truth alone is shown.
    """
    transform = geometry.crop_transform(geometry.landmark_box(truth), SIDE, FRAME)
    shown = geometry.warp(image, transform, SIDE)
    true = geometry.apply(transform, truth)
    if predicted is None:
        return draw_points(shown, true, 1.7, TRUTH)
    found = geometry.apply(transform, predicted)
    shown = draw_lines(shown, true, found, ERROR)
    return draw_points(draw_points(shown, true, 1.7, TRUTH), found, 1.7, PREDICTION)


def sheet(images: Images, landmarks: Floats, rows: Rows, columns: int = 10, lines: int = 2) -> Image:
    """A picture (H, W, 3) RGB of evenly chosen faces of a set, CELL pixels each, with their points.

    Args:
        images: (N, S, S, 3) RGB crops of a pack.
        landmarks: (N, K, 2) pixels of those crops.
        rows: (n,) the set.
    """
    chosen = _evenly(rows, columns * lines)
    scale = CELL / images.shape[1]
    cells = [cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA) for image in images[chosen]]
    return contact_sheet(np.array(cells), (take(landmarks, chosen) + 0.5) * scale - 0.5, columns, lines)


def filled(points: Floats) -> npt.NDArray[np.float64]:
    """Points (n, K, 2) with the unlabelled ones where the mean face would have them.

    What no face has labelled lies in the middle of the face.
    """
    unknown = np.asarray(np.isnan(points).any(axis=-1))
    if not unknown.any():
        return points.astype(np.float64)
    to_box = geometry.crop_transform(geometry.landmark_box(points), 2, 1.0)
    upright = geometry.apply(to_box, points) - 0.5
    mean = np.where(unknown[..., None], 0, upright).sum(axis=0) / np.maximum((~unknown).sum(axis=0), 1)[:, None]
    found = points.astype(np.float64)
    for own, lacking, there in zip(found, unknown, geometry.invert(to_box), strict=True):
        own[lacking] = geometry.apply(there, mean + 0.5)[lacking]
    return found


def mean_face(images: Images, landmarks: Floats, rows: Rows, size: int = 420) -> tuple[Image, npt.NDArray[np.float64]]:
    """The mean of evenly chosen faces, each warped triangle by triangle to the mean shape: (size, size, 3) RGB.

    Args:
        images: (N, S, S, 3) RGB crops of a pack.
        landmarks: (N, K, 2) pixels of those crops.
        rows: (n,) the set.

    Returns:
        the picture, and the mean points (K, 2) in its pixels, as they are labelled.
    """
    chosen = _evenly(rows, AVERAGED)
    points = filled(take(landmarks, chosen).astype(np.float64))
    shape = points.mean(axis=0)
    shape = geometry.apply(geometry.crop_transform(geometry.landmark_box(shape), size, FRAME), shape)
    edge = np.array([[x, y] for x in (-1, size / 2, size) for y in (-1, size / 2, size) if (x, y) != (size / 2,) * 2])
    mesh = Delaunay(np.concatenate([shape, edge]))
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2).astype(np.float64)
    triangle = mesh.find_simplex(pixels)
    two = np.einsum("pij,pj->pi", mesh.transform[triangle, :2], pixels - mesh.transform[triangle, 2])
    weights = np.concatenate([two, 1 - two.sum(axis=1, keepdims=True)], axis=1)  # barycentric
    corners = mesh.simplices[triangle]
    total = np.zeros((size, size, 3))
    for row, own in zip(chosen, points, strict=True):
        around = geometry.apply(similarity(shape, own), edge)
        seen = np.einsum("pk,pkd->pd", weights, np.concatenate([own, around])[corners]).reshape(size, size, 2)
        total += cv2.remap(
            images[row], seen.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return (total / len(chosen)).round().astype(np.uint8), shape


def _evenly(rows: Rows, count: int) -> Rows:
    """At most `count` of the rows."""
    chosen: Rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
    return chosen


def similarity(points: Floats, target: Floats) -> npt.NDArray[np.float64]:
    """The transform (2, 3), of rotation, scale and shift, that takes points (n, 2) nearest to others by least squares.

    As complex numbers: target = a points + b.
    """
    start, goal = (np.ascontiguousarray(p, dtype=np.float64).view(np.complex128)[:, 0] for p in (points, target))
    away = start - start.mean()
    a = np.vdot(away, goal) / np.vdot(away, away)
    b = goal.mean() - a * start.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
