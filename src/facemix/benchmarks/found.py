"""`facemix bench found`: what a detector loses where no boxes are given and a face finder looks for the faces.

Each test face is predicted from the box of its labels, from the box that is found, and as `facemix predict` does it
without boxes: once more from the box of the points that the found box gave.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from facemix.benchmarks.realism import Folder, of_split
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry
from facemix.faces.face import Face
from facemix.faces.images import read_image
from facemix.finding import finders, fit
from facemix.training.frame import Frame
from facemix.use.detector import Detector

Points = npt.NDArray[np.float64]
Result = TypeVar("Result")

PASSES = ("true boxes", "found boxes", "refined")
"""What a face is predicted from; the last two only where it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of n faces, what `found` prints."""

    nme: Points
    """(3, n) NME in %, a row for each of `PASSES`; NaN where the face is not found."""
    find_ms: float
    """Median time to find the faces of a picture."""
    landmarks_ms: float
    """Median time to find the landmarks of one face in its box."""

    @property
    def is_found(self) -> npt.NDArray[np.bool_]:
        """(n,) which faces are found."""
        return np.asarray(~np.isnan(self.nme[-1]))


def found(real: Folder, model: Path, split: str = "test") -> Measured:
    """Measures a detector on the faces of one split, on one thread, and prints what comes out.

    Args:
        real: the faces; whole pictures are used where the folder has them.
        model: folder of the detector.
        split: which of the faces: test, challenging or validation.

    Raises:
        FacemixError: there are no such faces, some are broken, or the detector has another scheme or no face finder.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    detector = Detector.load(model)
    finder = detector.require_finder()
    faces = of_split(real, split)
    if faces[0].scheme.as_dict() != detector.scheme.as_dict():
        raise FacemixError(
            f"{model}: finds points of the scheme {detector.scheme.name}, expected {faces[0].scheme.name}, that of "
            f"{real.path}; choose another model"
        )
    result = measured(detector, finder, faces)
    print(f"{model}: {len(faces)} {split} faces of {real.name}, one thread\n{said(result, detector)}")
    return result


def measured(detector: Detector, finder: Mapping[str, Any], faces: Sequence[Face]) -> Measured:
    """Predicts each face in each way; the first picture also warms up, untimed."""
    frame = Frame(finder["down"], finder["scale"])
    truth = np.stack([face.landmarks for face in faces]).astype(np.float64)
    predicted = np.full((len(PASSES), *truth.shape), np.nan)
    find_s, landmarks_s = [], []
    for row, (image, box) in enumerate(_pictures(faces)):
        if not row:
            detector.find(image)
        predicted[0, row], seconds = _timed(lambda: detector.predict(image, box).points[0])  # noqa: B023
        landmarks_s.append(seconds)
        boxes, seconds = _timed(lambda: finders.find(finder["name"], image).boxes)  # noqa: B023
        find_s.append(seconds)
        seen = detector.find(image)  # leaves out what then looks like no face
        if not len(seen.boxes):
            continue
        own = fit.nearest(boxes, box[0])
        expected = frame.of(boxes[own : own + 1])
        if fit.fits(expected, box)[0]:
            predicted[1, row] = detector.predict(image, expected).points[0]
            predicted[2, row] = seen.points[fit.nearest(seen.boxes, box[0])]
    nme = np.stack([metrics.nme(points, truth, faces[0].scheme) for points in predicted])
    return Measured(nme=nme, find_ms=1e3 * float(np.median(find_s)), landmarks_ms=1e3 * float(np.median(landmarks_s)))


def _pictures(faces: Sequence[Face]) -> Iterator[tuple[npt.NDArray[np.uint8], Points]]:
    """Of each face its picture and the box (1, 4) of its labels."""
    for face in tqdm(faces, "finding", unit="face", disable=None):
        yield read_image(face.image), geometry.landmark_box(face.landmarks)[None]


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What a piece of work returns, and its seconds of one thread: those of other programs do not count."""
    start = time.thread_time()
    return work(), time.thread_time() - start


def said(result: Measured, detector: Detector) -> str:
    """The table that is printed; all rows are of the faces that are found."""
    found_ = result.is_found
    size = metrics.resolved(metrics.AUTO, detector.scheme)
    limit = metrics.thresholds(detector.scheme, size)[0]
    lines = [f"found {found_.sum()} of {len(found_)} faces ({100 * found_.mean():.1f} %)"]
    if found_.any():
        lines.append(f"{'':12} NME, % of {size}   failures > {limit:g} %   NME to that from true boxes")
        true = result.nme[0, found_].mean()
        for name, errors in zip(PASSES, result.nme[:, found_], strict=True):
            failed = metrics.failure_rate(errors, limit)
            lines.append(f"{name:12} {errors.mean():8.3f} {failed:18.2f} % {100 * (errors.mean() / true - 1):+18.1f} %")
    lines.append(
        f"ms of CPU, median: {result.find_ms:.1f} to find the faces of a picture, {result.landmarks_ms:.1f} a pass"
    )
    return "\n".join(lines)
