"""NME of a detector on the faces of a pack, in the pixels of the original images.

A face is shown in the tight box of its true landmarks. No face detector's box is that good, so evaluation also says
what the NME becomes when boxes are moved and scaled at random.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix.evaluation import metrics
from facemix.faces import geometry, packs
from facemix.faces.landmarks import REGIONS
from facemix.faces.packs import Pack
from facemix.training.landmarker import Landmarker

BOX_JITTER = (0.05, 0.10, 0.15)
"""Levels at which boxes are disturbed, beside 0."""


def predict_pack(
    landmarker: Landmarker, pack: Pack, rows: npt.NDArray[np.int64], jitter: float = 0.0
) -> npt.NDArray[np.float32]:
    """Predictions (n, 68, 2) in pixels of the crops, for the chosen rows (n,).

    Each face in its tight landmark box, disturbed at the level `jitter`. A detector that looks further than the pack's
    crops reach sees their borders replicated: with `context` c, crops of `margin` m hold all that it looks at while
    c * exp(jitter) + 2 * jitter <= m (1.69 <= 2 for the settings of params.yaml at 0.15).
    """
    boxes = jitter_boxes(geometry.landmark_box(pack.landmarks[rows]), pack.ids[rows], jitter)

    def crops() -> Iterator[npt.NDArray[np.uint8]]:
        for row in rows:
            yield pack.images[row]
            packs.release(pack.images)

    return landmarker.predict_each(crops(), boxes)


def jitter_boxes(
    boxes: npt.NDArray[np.float64], ids: Sequence[str] | npt.NDArray[np.str_], level: float
) -> npt.NDArray[np.float64]:
    """Boxes (n, 4) xyxy disturbed by a pure function of each face's id and the level, the same for every detector.

    With u, v, w uniform in (-1, 1) and s the longer side of the box: the centre moves by (level u s, level v s), and
    both sides are scaled by exp(level w), so that growing and shrinking by a factor are equally likely. A face has the
    same u, v, w at every level: results differ by the level alone, not by luck.
    """
    drawn = np.array([np.random.default_rng(_seed(id_)).uniform(-1, 1, 3) for id_ in ids]).reshape(-1, 3)
    shift = level * drawn[:, :2] * geometry.square_side(boxes)[:, None]
    growth = np.expm1(level * drawn[:, 2:]) / 2 * (boxes[:, 2:] - boxes[:, :2])
    jittered: npt.NDArray[np.float64] = boxes + np.concatenate([shift - growth, shift + growth], axis=1)
    return jittered


def _seed(id_: str) -> int:
    return int.from_bytes(hashlib.sha256(f"box jitter {id_}".encode()).digest()[:8])


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of some faces, in % of the face size."""

    ids: npt.NDArray[np.str_]
    subsets: npt.NDArray[np.str_]
    photos: npt.NDArray[np.str_]
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
            ids=self.ids[chosen],
            subsets=self.subsets[chosen],
            photos=self.photos[chosen],
            splits=self.splits[chosen],
            points=self.points[chosen],
        )


def measure(predicted: npt.NDArray[np.float32], pack: Pack, rows: npt.NDArray[np.int64], normalizer: str) -> Errors:
    """Errors of predictions (n, 68, 2) in pixels of the crops, taken back to the original images first."""
    back = geometry.invert(pack.transforms[rows])
    truth = geometry.apply(back, pack.landmarks[rows])
    return Errors(
        ids=pack.ids[rows],
        subsets=pack.subsets[rows],
        photos=pack.photos[rows],
        splits=pack.splits[rows],
        points=metrics.point_errors(geometry.apply(back, predicted), truth, normalizer),
    )


def measure_jittered(
    landmarker: Landmarker, pack: Pack, rows: npt.NDArray[np.int64], normalizer: str
) -> dict[float, Errors]:
    """Errors of a detector in boxes disturbed at each level of BOX_JITTER."""
    return {level: measure(predict_pack(landmarker, pack, rows, level), pack, rows, normalizer) for level in BOX_JITTER}


def summarize(errors: Errors, jittered: Mapping[float, Errors], normalizer: str) -> dict[str, object]:
    """What metrics.json holds for one set of faces: NME, failure rates, AUC, NME by region, subset and box jitter.

    Args:
        errors: in tight boxes.
        jittered: of the same faces, by level of jitter.
        normalizer: the face size that the errors are in % of.
    """
    nme = errors.nme
    return {
        "faces": len(nme),
        "nme": float(nme.mean()),
        **metrics.rates(nme, normalizer),
        "regions": {name: float(errors.points[:, list(points)].mean()) for name, points in REGIONS.items()},
        "subsets": {name: float(nme[errors.subsets == name].mean()) for name in np.unique(errors.subsets).tolist()},
        "box_jitter": {f"{level:.2f}": float(others.nme.mean()) for level, others in jittered.items()},
    }
