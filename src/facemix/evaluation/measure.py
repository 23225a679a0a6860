"""From predictions to figures: NME and what is made of it, in the pixels of the original images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme
from facemix.training import certainty
from facemix.training.predictions import Predictions

SETS = {"val": ("validation",), "test": ("test",), "challenging": ("challenging",), "full": ("test", "challenging")}
"""What figures are made for: sets of splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of some faces, in % of the face size."""

    ids: npt.NDArray[np.str_]
    subsets: npt.NDArray[np.str_]
    photos: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_]
    points: npt.NDArray[np.float64]
    """(n, K) per point; NaN where unlabelled."""

    @property
    def nme(self) -> npt.NDArray[np.float64]:
        """(n,) per face; NaN where no point is judged."""
        return metrics.mean_of_labelled(self.points)

    def of(self, *splits: str) -> "Errors":
        """The part that belongs to these splits."""
        return self._chosen(np.isin(self.splits, splits))

    def judged(self) -> "Errors":
        """The faces that have an NME."""
        return self._chosen(~np.isnan(self.nme))

    def _chosen(self, chosen: npt.NDArray[np.bool_]) -> "Errors":
        return Errors(
            ids=self.ids[chosen],
            subsets=self.subsets[chosen],
            photos=self.photos[chosen],
            splits=self.splits[chosen],
            points=self.points[chosen],
        )


def measure(predictions: Predictions, pack: Pack, normalizer: str) -> dict[float, Errors]:
    """Errors of predictions at each level of box jitter, of the faces of the real pack that judge.

    Raises:
        FacemixError: the predictions are of other faces than the pack holds.
    """
    try:
        rows = pack.rows_of(predictions.ids.tolist())
    except KeyError:
        unknown = predictions.ids[~np.isin(predictions.ids, pack.ids)].tolist()
        raise FacemixError(
            f"predictions of {len(unknown)} faces that the real pack does not hold, such as {unknown[0]}; "
            "expected those of its validation and test faces: run `dvc repro`"
        ) from None
    truth = true_points(pack, rows)
    return {
        level: Errors(
            ids=predictions.ids,
            subsets=pack.subsets[rows],
            photos=pack.photos[rows],
            splits=pack.splits[rows],
            points=metrics.point_errors(points, truth, pack.scheme, normalizer),
        )
        for level, points in predictions.points.items()
    }


def true_points(pack: Pack, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The labels (n, K, 2) of some faces, pixels of the original images."""
    return geometry.apply(geometry.invert(pack.transforms[rows]), pack.landmarks[rows])


def reliability(predictions: Predictions, pack: Pack, radius: Mapping[float, float]) -> dict[str, dict[float, float]]:
    """Whether a detector knows how sure it is: set of faces -> level -> share of its points within that radius.

    Args:
        predictions: of a calibrated detector, on faces that the pack holds.
        pack: the real one.
        radius: level -> radius / expected error, as of `training.certainty.Certainty`.

    Returns:
        sets of faces that are there; nothing of a detector that is not calibrated.
    """
    if predictions.expected is None or not radius:
        return {}
    rows = pack.rows_of(predictions.ids.tolist())
    distances = np.linalg.norm(predictions.points[0.0] - true_points(pack, rows), axis=-1)
    found = {}
    for name, splits in SETS.items():
        chosen = np.isin(pack.splits[rows], splits)
        if np.isin(splits, pack.splits[rows]).all():
            found[name] = certainty.coverage(radius, predictions.expected[chosen], distances[chosen])
    return found


def figures(errors: Mapping[float, Errors], pack: Pack, normalizer: str) -> dict[str, Any]:
    """The figures of one detector: `normalizer`, `validation_faces`, and a mapping for each set of faces that is there.

    Args:
        errors: what `measure` gives.
        pack: the real one.
        normalizer: the face size under the errors.
    """
    there = {name: splits for name, splits in SETS.items() if np.isin(splits, errors[0.0].splits).all()}
    return {
        "scheme": pack.scheme.name,
        "normalizer": metrics.resolved(normalizer, pack.scheme),
        "thresholds": list(metrics.thresholds(pack.scheme, normalizer)),
        "validation_faces": which_faces(pack, np.flatnonzero(pack.splits == "validation")),
        **{
            name: summarize(
                errors[0.0].of(*splits),
                {level: one.of(*splits) for level, one in errors.items() if level},
                pack.scheme,
                normalizer,
            )
            for name, splits in there.items()
        },
    }


def which_faces(pack: Pack, rows: npt.NDArray[np.int64]) -> str:
    """A digest of names and landmark boxes: on faces of equal digest NMEs compare, however the faces were cropped."""
    digest = hashlib.sha256("\0".join(pack.ids[rows].tolist()).encode())
    digest.update(pack.boxes[rows].tobytes())
    return digest.hexdigest()[:12]


def summarize(errors: Errors, jittered: Mapping[float, Errors], scheme: Scheme, normalizer: str) -> dict[str, object]:
    """The figures of one set of faces: NME, failure rates, AUC, NME by region, subset and box jitter.

    Args:
        errors: in tight boxes.
        jittered: of the same faces, by level of jitter.
        scheme: of the points.
        normalizer: the face size that the errors are in % of.
    """
    nme = errors.nme
    labelled = ~np.isnan(errors.points)
    there = {name: points for name, points in scheme.regions.items() if labelled[:, list(points)].any()}
    return {
        "faces": len(nme),
        "nme": float(nme.mean()),
        **metrics.rates(nme, metrics.thresholds(scheme, normalizer)),
        "regions": {name: float(np.nanmean(errors.points[:, list(points)])) for name, points in there.items()},
        "subsets": {name: float(nme[errors.subsets == name].mean()) for name in np.unique(errors.subsets).tolist()},
        "box_jitter": {f"{level:.2f}": float(others.nme.mean()) for level, others in jittered.items()},
    }
