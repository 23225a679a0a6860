"""What a detector predicts on the faces that judge it: written once by its training, read by whatever measures it."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.looking import Seen
from facemix.faces.packs import Pack
from facemix.files import whole_file
from facemix.training import certainty

if TYPE_CHECKING:  # what only reads predictions, such as `facemix compare`, does not wait for torch
    from facemix.training.landmarker import Landmarker

BOX_JITTER = (0.05, 0.10, 0.15)
"""Levels at which boxes are disturbed, beside 0. No face detector's box is as good as the tight box of true points."""
FILE = "predictions.npz"
JUDGING = ("validation", "test", "challenging")
"""The splits whose faces judge a detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Predicted points of n faces."""

    ids: npt.NDArray[np.str_]
    """(n,) `source/id`."""
    points: Mapping[float, npt.NDArray[np.float32]]
    """Level of box jitter -> (n, K, 2) pixels of the original images; 0: in tight boxes."""
    expected: npt.NDArray[np.float32] | None = None
    """(n, K) expected distance from the truth in tight boxes, pixels of the original images."""
    visible: npt.NDArray[np.float32] | None = None
    """(n, K) probability that a point is seen; NaN where the detector has not learned it."""


def of_judging_faces(landmarker: "Landmarker", pack: Pack) -> Predictions:
    """Predictions on all validation and test faces of the real pack, in tight and in disturbed boxes.

    Of a detector of another scheme, the points that the real scheme names too; the others are NaN.
    """
    rows = np.flatnonzero(np.isin(pack.splits, JUDGING))
    back = geometry.invert(pack.transforms[rows])

    def in_images(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        return schemes.in_scheme(geometry.apply(back, points).astype(np.float32), landmarker.scheme, pack.scheme)

    def named(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        return schemes.in_scheme(values[..., None], landmarker.scheme, pack.scheme)[..., 0].astype(np.float32)

    seen = look_at_pack(landmarker, pack, rows)
    return Predictions(
        ids=pack.ids[rows],
        points={0.0: in_images(seen.points)}
        | {level: in_images(predict_pack(landmarker, pack, rows, level)) for level in BOX_JITTER},
        expected=named(seen.errors / geometry.scale(pack.transforms[rows])[:, None]),
        visible=named(seen.visible),
    )


def calibrated(landmarker: "Landmarker", pack: Pack) -> "Landmarker":
    """The same detector, told how its spreads compare with its errors on the real validation faces.

    Where these label no point that it finds, it stays as it is.
    """
    rows = np.flatnonzero(pack.splits == "validation")
    seen = look_at_pack(landmarker, pack, rows)
    truth = schemes.in_scheme(pack.landmarks[rows], pack.scheme, landmarker.scheme)
    side = np.maximum(geometry.square_side(geometry.landmark_box(seen.points)), 1.0)[:, None]
    found = certainty.fit(seen.errors / side, np.linalg.norm(seen.points - truth, axis=-1) / side)
    if found is None:
        return landmarker
    return dataclasses.replace(landmarker, about=landmarker.about | {"certainty": found.as_dict()})


def write(folder: Path, predictions: Predictions) -> None:
    """Writes `predictions.npz`: ids (n,), levels (l,), points (l, n, K, 2), expected (n, K), visible (n, K)."""
    with whole_file(folder / FILE) as beside, beside.open("wb") as file:
        levels = list(predictions.points)
        arrays: dict[str, Any] = {
            "ids": predictions.ids,
            "levels": np.array(levels),
            "points": np.stack([predictions.points[level] for level in levels]),
            "expected": predictions.expected,
            "visible": predictions.visible,
        }
        np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})


def read(folder: Path) -> Predictions:
    """Reads `predictions.npz`.

    Raises:
        FacemixError: it is missing or damaged.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            ids, levels, points = content["ids"], content["levels"], content["points"]
            certain = {name: content[name] for name in ("expected", "visible") if name in content}
        shapes = {array.shape for array in certain.values()} - {points.shape[1:3]}
        if points.shape[:2] != (len(levels), len(ids)) or ids.dtype.kind != "U" or shapes:
            raise ValueError(f"levels {levels.shape}, ids {ids.shape}, points {points.shape}")
    except FileNotFoundError:
        raise FacemixError(f"{path}: not found, expected the predictions of a training; run `dvc repro`") from None
    except Exception as error:  # numpy and zipfile have many words for a damaged file
        raise FacemixError(f"{path}: damaged ({error}); delete the folder and run `dvc repro`") from error
    by_level = dict(zip(levels.tolist(), points, strict=True))
    return Predictions(ids=ids, points=by_level, **certain)


def predict_pack(
    landmarker: "Landmarker", pack: Pack, rows: npt.NDArray[np.int64], jitter: float = 0.0
) -> npt.NDArray[np.float32]:
    """Predictions (n, K, 2) in pixels of the crops, for the chosen rows (n,): the points of `look_at_pack`."""
    return look_at_pack(landmarker, pack, rows, jitter).points.astype(np.float32)


def look_at_pack(landmarker: "Landmarker", pack: Pack, rows: npt.NDArray[np.int64], jitter: float = 0.0) -> Seen:
    """What a detector sees in the chosen rows (n,), in pixels of the crops.

    Each face in its tight landmark box, disturbed at the level `jitter`. A detector that looks further than the pack's
    crops reach sees their borders replicated: with `context` c, crops of `margin` m hold all that it looks at while
    c * exp(jitter) + 2 * jitter <= m (1.69 <= 2 for the settings of params.yaml at 0.15).
    """
    boxes = jitter_boxes(geometry.landmark_box(pack.landmarks[rows]), pack.ids[rows], jitter)
    return landmarker.look_each((pack.images[row] for row in rows), boxes)


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


def validation_error(
    predicted: npt.NDArray[np.floating],
    truth: npt.NDArray[np.floating],
    points: npt.NDArray[np.int64] | slice = slice(None),
) -> float:
    """What steps and epochs are chosen by: the mean distance in % of the longer side of a face's tight box.

    It is no normaliser that a user chooses, so that another one makes no training stale.

    Args:
        predicted: (n, K, 2) pixels of any similar copy of each image, such as its crop.
        truth: (n, K, 2) the same pixels; points that are NaN do not count.
        points: those that are looked at, by default all; a face that has none of them does not count.
    """
    side = geometry.square_side(geometry.landmark_box(truth))
    predicted, truth = predicted[:, points], truth[:, points]
    labelled = ~np.isnan(truth).any(axis=-1)
    there = labelled.any(axis=-1)
    distance = np.where(labelled, np.linalg.norm(predicted.astype(np.float64) - truth, axis=-1), 0)[there]
    return float(np.mean(100 * distance.sum(axis=-1) / labelled[there].sum(axis=-1) / side[there]))
