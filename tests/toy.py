"""Drawn faces with exact points, in the on-disk formats: tiny sets for tests, made in a moment."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix import config
from facemix.faces.schemes import ibug68

NO_RENDERS = config.Render(
    synthetic=config.RenderedSet(n=0, seed=0, image_size=64, population={}),
    stand_in=config.RenderedSet(n=0, seed=1, image_size=64, population={}),
)
"""For projects with imported faces only."""


def _arc(
    n: int, centre: tuple[float, float], radii: tuple[float, float], start: float, stop: float
) -> list[list[float]]:
    """n points on an ellipse from one angle to another, degrees clockwise from the right (y points down)."""
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1).tolist()


def template() -> npt.NDArray[np.float64]:
    """The 68 points of a frontal face, in units of about half a face."""
    lids = (180, 240, 300, 360, 60, 120)
    eyes = [
        [[x + 0.2 * np.cos(np.radians(a)), -0.35 + 0.08 * np.sin(np.radians(a))] for a in lids] for x in (-0.42, 0.42)
    ]
    return np.array(
        [[-p[0], p[1]] for p in _arc(17, (0, -0.25), (0.95, 1.35), 0, 180)]
        + _arc(5, (-0.45, -0.5), (0.32, 0.16), 190, 350)
        + _arc(5, (0.45, -0.5), (0.32, 0.16), 190, 350)
        + [[0, y] for y in (-0.35, -0.2, -0.05, 0.1)]
        + [[x, 0.2] for x in (-0.16, -0.08, 0, 0.08, 0.16)]
        + eyes[0]
        + eyes[1]
        + _arc(7, (0, 0.55), (0.36, 0.12), 180, 360)
        + _arc(7, (0, 0.55), (0.36, 0.16), 0, 180)[1:-1]
        + _arc(5, (0, 0.55), (0.26, 0.04), 180, 360)
        + _arc(5, (0, 0.55), (0.26, 0.06), 0, 180)[1:-1]
    )


def face(
    rng: np.random.Generator, size: int = 96, jaw: float = 1.0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """A drawn face (size, size, 3) BGR and its points (68, 2), whose jaw is labelled `jaw` x as far out as drawn."""
    shape = template() * (1 + 0.08 * rng.standard_normal(2))
    angle, scale = rng.normal(0, 0.15), size * rng.uniform(0.2, 0.25)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    place = size / 2 + rng.uniform(-0.05, 0.05, 2) * size
    points = shape @ turn * scale + place
    skin, dark, lips = (rng.integers(120, 220, 3), rng.integers(0, 60, 3), rng.integers(40, 120, 3))
    image = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), (0, 0), 4)

    def fill(chosen: list[int], colour: npt.NDArray[np.int64], closed: bool = True) -> None:
        outline = np.round(points[chosen] * 16).astype(np.int32)
        if closed:
            cv2.fillPoly(image, [outline], colour.tolist(), cv2.LINE_AA, 4)
        else:
            cv2.polylines(image, [outline], False, colour.tolist(), 2, cv2.LINE_AA, 4)

    top = 2 * points[[19, 24]].mean(axis=0) - points[30]
    hull = cv2.convexHull(np.concatenate([points, top[None]]).astype(np.float32))
    cv2.fillPoly(image, [np.round(hull * 16).astype(np.int32)], skin.tolist(), cv2.LINE_AA, 4)
    for brow in (range(17, 22), range(22, 27)):
        fill(list(brow), dark, closed=False)
    for eye in (range(36, 42), range(42, 48)):
        fill(list(eye), np.array([250, 250, 250]))
        cv2.circle(
            image, np.round(points[list(eye)].mean(axis=0) * 16).astype(int).tolist(), 24, dark.tolist(), -1, 8, 4
        )
    fill([27, 31, 35], skin - 25)
    fill(list(range(48, 60)), lips)
    fill(list(range(60, 68)), dark)
    grain = cv2.GaussianBlur(np.random.default_rng(round(1e6 * points[0, 0])).standard_normal((size, size)), (0, 0), 2)
    image = np.clip(image + 20 * grain[..., None] / grain.std(), 0, 255).astype(np.uint8)  # no two look alike
    labelled = points.copy()
    outline = list(ibug68().regions["jaw"])
    labelled[outline] = points[30] + jaw * (points[outline] - points[30])
    return image, labelled.astype(np.float32)


def write_pts(path: Path, points: npt.NDArray[np.floating]) -> None:
    """A .pts file: text, 1-based."""
    lines = "\n".join(f"{x + 1:.6f} {y + 1:.6f}" for x, y in points)
    path.write_text(f"version: 1\nn_points:  68\n{{\n{lines}\n}}\n")


def write_300w(root: Path, n: int = 60, seed: int = 0) -> Path:
    """A folder in the layout of 300-W with n faces, a third of them in the test subsets."""
    rng = np.random.default_rng(seed)
    subsets = ("helen/trainset", "lfpw/trainset", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset")
    for i in range(n):
        folder = root / subsets[i % len(subsets)]
        folder.mkdir(parents=True, exist_ok=True)
        image, points = face(rng)
        name = f"{i:05d}_1"
        cv2.imwrite(str(folder / f"{name}.jpg"), image)
        write_pts(folder / f"{name}.pts", points)
    return root


def write_facesynthetics(root: Path, n: int = 40, seed: int = 1) -> Path:
    """A folder in the layout of FaceSynthetics with n faces, whose jaws are labelled a little further out."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        image, points = face(rng, jaw=1.06)
        cv2.imwrite(str(root / f"{i:06d}.png"), image)
        np.savetxt(root / f"{i:06d}_ldmks.txt", points, fmt="%.3f")
    return root
