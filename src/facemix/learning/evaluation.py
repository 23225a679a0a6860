"""NME of a detector on the faces of a pack, in the pixels of the original images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix import metrics
from facemix.faces import geometry
from facemix.faces.landmarks import REGIONS
from facemix.faces.packs import Pack
from facemix.learning.predict import Landmarker


def predict_pack(landmarker: Landmarker, pack: Pack, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Predictions (n, 68, 2) in pixels of the crops, for the chosen rows (n,); each face in its tight landmark box."""
    boxes = geometry.landmark_box(pack.landmarks[rows])
    return landmarker.predict_each((pack.images[row] for row in rows), boxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of some faces, in % of the face size."""

    ids: npt.NDArray[np.str_]
    subsets: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_]
    points: npt.NDArray[np.float64]
    """(n, 68) per point."""

    @property
    def nme(self) -> npt.NDArray[np.float64]:
        """(n,) per face."""
        return np.asarray(self.points.mean(axis=-1))

    def of(self, *splits: str) -> "Errors":
        """The part that belongs to these splits."""
        chosen = np.isin(self.splits, splits)
        return Errors(
            ids=self.ids[chosen], subsets=self.subsets[chosen], splits=self.splits[chosen], points=self.points[chosen]
        )


def measure(predicted: npt.NDArray[np.float32], pack: Pack, rows: npt.NDArray[np.int64], normalizer: str) -> Errors:
    """Errors of predictions (n, 68, 2) in pixels of the crops, taken back to the original images first."""
    back = geometry.invert(pack.transforms[rows])
    truth = geometry.apply(back, pack.landmarks[rows])
    return Errors(
        ids=pack.ids[rows],
        subsets=pack.subsets[rows],
        splits=pack.splits[rows],
        points=metrics.point_errors(geometry.apply(back, predicted), truth, normalizer),
    )


def summarize(errors: Errors) -> dict[str, object]:
    """NME, failure rates, AUC, and NME by region and by subset: what metrics.json holds for one set of faces."""
    nme = errors.nme
    return {
        "faces": len(nme),
        "nme": float(nme.mean()),
        "fr8": metrics.failure_rate(nme, 8),
        "fr10": metrics.failure_rate(nme, 10),
        "auc8": metrics.auc(nme, 8),
        "regions": {name: float(errors.points[:, list(points)].mean()) for name, points in REGIONS.items()},
        "subsets": {name: float(nme[errors.subsets == name].mean()) for name in np.unique(errors.subsets).tolist()},
    }
