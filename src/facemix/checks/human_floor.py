"""The human floor: how far two people's annotations of one photograph lie apart.

Where a benchmark holds a photograph twice, it was often annotated twice. No detector can be shown to be better than
people agree: against another annotator of the same faces, a perfect one would measure about 1 / sqrt(2) of this NME.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facemix.checks import duplicates
from facemix.checks.duplicates import Pair
from facemix.config import REPORTS
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry
from facemix.faces.schemes import Scheme

FILE = REPORTS / "human_floor.json"
"""Where `facemix leaks` writes it."""
COPIED = 0.5
"""NME in % below which the annotation was copied with the photograph: what is left is the registration's error.

Of 300-W's 158 pairs none has less than 1.3.
"""


def annotations(pairs: Sequence[Pair], landmarks: npt.NDArray[np.floating], scheme: Scheme) -> npt.NDArray[np.float64]:
    """Both annotations of each pair in pixels of its first image: (2, n, K, 2).

    There the face stands as it does in the photograph. In the upright patches that pairs were found in, its box would
    have other sides.

    Args:
        landmarks: (m, K, 2) pixels of the images, which `duplicates.cut` made patches of.
    """
    frames = duplicates.frames(landmarks, scheme)
    first = [landmarks[pair.first] for pair in pairs]
    second = []
    for pair in pairs:
        points = landmarks[pair.second][scheme.mirror] if pair.mirrored else landmarks[pair.second]
        in_first_patch = geometry.apply(pair.transform, geometry.apply(frames[pair.second], points))
        second.append(geometry.apply(geometry.invert(frames[pair.first]), in_first_patch))
    return np.array([first, second], dtype=np.float64).reshape(2, -1, *landmarks.shape[1:])


def measure(
    pairs: Sequence[Pair], landmarks: npt.NDArray[np.floating], scheme: Scheme, normalizer: str
) -> dict[str, Any]:
    """NME between two annotators in %: mean and median over photographs, and the mean by region.

    A photograph counts once, however many copies of it there are: as the mean over their pairs. Without photographs
    that were annotated twice there is no NME among the keys.

    Args:
        landmarks: as for `annotations`.
        normalizer: the face size, of the scheme; measured on the first of each pair.
    """
    first, second = annotations(pairs, landmarks, scheme)
    errors = metrics.point_errors(second, first, scheme, normalizer)
    twice = metrics.mean_of_labelled(errors) >= COPIED
    about: dict[str, Any] = {
        "normalizer": metrics.resolved(normalizer, scheme),
        "photographs": 0,
        "pairs": int(twice.sum()),
    }
    if not twice.any():
        return about
    by_photo = _mean_by_photo([pair for pair, kept in zip(pairs, twice, strict=True) if kept], errors[twice])
    nme, regions = metrics.mean_of_labelled(by_photo), metrics.by_region(by_photo, scheme)
    return about | {
        "photographs": len(nme),
        "nme": round(float(nme.mean()), 4),
        "median": round(float(np.median(nme)), 4),
        "regions": {name: round(float(values.mean()), 4) for name, values in regions.items()},
    }


def _mean_by_photo(pairs: Sequence[Pair], errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean (k, K) of errors (n, K) over the pairs of each photograph; what pairs link is one photograph."""
    first, second = np.array([(pair.first, pair.second) for pair in pairs]).T
    size = second.max() + 1
    _, photo = connected_components(
        coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size)), directed=False
    )
    return np.array([errors[photo[first] == one].mean(axis=0) for one in np.unique(photo[first])])


def read(normalizer: str) -> float | None:
    """NME between two annotators in %; None where no photograph was annotated twice, or the stage has not run.

    Raises:
        FacemixError: it was measured by another face size.
    """
    if not FILE.exists():
        return None
    try:
        floor = dict(json.loads(FILE.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise FacemixError(f"{FILE}: damaged ({error}); run `dvc repro --force --single-item leaks`") from None
    if floor.get("normalizer") != normalizer:
        raise FacemixError(
            f"{FILE}: found NME by {floor.get('normalizer')}, expected {normalizer} as in models; run `dvc repro`"
        )
    nme: float | None = floor.get("nme")
    return nme
