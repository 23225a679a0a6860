"""How near and how steady a detector's points are in a rendered clip, as predicted and smoothed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.benchmarks import clip
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme
from facemix.use import film
from facemix.use.credible import overlaps
from facemix.use.detector import Detector
from facemix.use.jitter import jitter
from facemix.use.smoothing import OneEuro
from facemix.use.video import followed

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """Of the points of one face in a clip."""

    nme: float
    """Mean distance from the truth, % of the scheme's face size."""
    moving: float
    """The same without each point's mean distance in x and y: what another meaning of the labels does not cause."""
    jitter: float
    """% of the longer side of the box around the points."""


def measure(folder: Path, model: Path) -> Mapping[str, Steadiness]:
    """Follows the face of a clip and compares its points with the truth.

    Args:
        folder: as `clip.render_clip` writes it.
        model: of points of the clip's scheme.

    Returns:
        `truth` and, where the face was followed to the end, `predicted` and `smoothed`.

    Raises:
        FacemixError: the model finds other points, or the face was lost.
    """
    detector, truth = Detector.load(model), clip.read_truth(folder)
    if detector.scheme.name != clip.SCHEME:
        raise FacemixError(
            f"{model}: finds the points of {detector.scheme.name}, expected those of the clip, {clip.SCHEME}; give "
            "another model"
        )
    times, points = predicted(detector, folder, truth)
    return {
        "truth": steadiness(times, truth, truth, detector.scheme),
        "predicted": steadiness(times, points, truth, detector.scheme),
        "smoothed": steadiness(times, smoothed(times, points), truth, detector.scheme),
    }


def predicted(detector: Detector, folder: Path, truth: Doubles) -> tuple[Doubles, Doubles]:
    """The times (T,) of a clip's frames and the points (T, K, 2) of its face.

    A detector without a finder gets the true box of the first frame.
    """
    path = folder / clip.VIDEO
    boxes = landmark_box(truth[:1]) if detector.finder is None else None
    times: list[float] = []
    points: list[Doubles] = []
    with film.opened(path) as video:
        for frame, faces in followed(detector, path, video, boxes):
            true_box = landmark_box(truth[frame.number : frame.number + 1])
            near = [float(overlaps(landmark_box(face.points[None]), true_box)[0, 0]) for face in faces]
            if not any(near):
                raise FacemixError(f"{path}: the face was lost in frame {frame.number}, expected it in each frame")
            times.append(frame.time)
            points.append(faces[int(np.argmax(near))].points)
    return np.array(times), np.array(points)


def smoothed(times: Doubles, points: Doubles) -> Doubles:
    """The points (T, K, 2) of one face as `facemix predict --smooth` writes them."""
    one_euro = OneEuro()
    sizes = square_side(landmark_box(points))
    return np.array([one_euro(float(t), face, float(s)) for t, face, s in zip(times, points, sizes, strict=True)])


def steadiness(times: Doubles, points: Doubles, truth: Doubles, scheme: Scheme) -> Steadiness:
    """Of points (T, K, 2) at times (T,), with the truth (T, K, 2)."""
    size = metrics.face_size(truth, scheme)[:, None, None]
    off = (points - truth) / size
    return Steadiness(
        nme=float(100 * np.linalg.norm(off, axis=-1).mean()),
        moving=float(100 * np.linalg.norm(off - off.mean(axis=0), axis=-1).mean()),
        jitter=jitter(times, points, square_side(landmark_box(points))),
    )


def table(found: Mapping[str, Steadiness]) -> str:
    """The results as text."""
    lines = [f"{'points':<10} {'NME %':>7} {'without mean offset %':>22} {'jitter %':>9}"]
    lines += [f"{name:<10} {a.nme:7.2f} {a.moving:22.2f} {a.jitter:9.3f}" for name, a in found.items()]
    return "\n".join(lines)
