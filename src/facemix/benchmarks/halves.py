"""Two halves of the validation photographs: what one half chooses is reported on the other.

A training chooses two things, its best step and the best epoch of its label adapter. An error that is reported on the
faces that chose is too low, and the lower the more there was to choose from. Here each face has the errors of what the
other half chose, so the mean over all faces is an honest one, and no face is lost. One training serves both halves.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.faces.order import fraction
from facemix.faces.packs import Pack
from facemix.strategies import STRATEGIES
from facemix.training import judging, tasks
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack
from facemix.training.state import Row, Weights
from facemix.training.tasks import Outcome, Rows, Task

Doubles = npt.NDArray[np.float64]

MEASURES = ("synthetic_only", "label_adaptation")
"""What is measured of a training: its network as it is, and with the label adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """What one training gives on n validation faces."""

    photos: npt.NDArray[np.str_]
    """(n,) the photograph of each face."""
    synthetic_only: Doubles
    """(n,) NME in %; of each face by what the other half of the photographs chose."""
    label_adaptation: Doubles
    """(n,) likewise."""
    steps: tuple[int, int]
    """What the first and the second half chose."""
    epochs: tuple[int, int]
    """Likewise, of the label adapter; 0: the adapter changes nothing."""


def in_second(photos: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Which faces (n,) belong to the second half: by a hash of their photograph, so whatever the seed and the others.

    Raises:
        FacemixError: all photographs fall into one half.
    """
    second = np.array([fraction("halves", photo) >= 0.5 for photo in photos.tolist()], dtype=bool)
    if second.all() or not second.any():
        raise FacemixError(
            f"found {len(np.unique(photos))} validation photographs, all in one half, expected some in each; "
            "let more photographs validate"
        )
    return second


class Choosers:
    """Several judges of one training, each of which keeps the network that it finds best.

    It is called with the network at each evaluation, and returns the mean of what they say.
    """

    def __init__(self, errors: Sequence[Callable[[Landmarker], float]]) -> None:
        """
        Args:
            errors: what each judge finds; less is better.
        """
        self._errors = errors
        self._seen: list[list[float]] = []
        self.weights: list[Weights] = [{} for _ in errors]
        """Of the network that each judge found best."""

    def __call__(self, landmarker: Landmarker) -> float:
        found = [error(landmarker) for error in self._errors]
        self._seen.append(found)
        for judge, best in enumerate(self.best):
            if best == len(self._seen) - 1:
                state = landmarker.network.state_dict()
                self.weights[judge] = {key: value.detach().cpu().clone() for key, value in state.items()}
        return float(np.mean(found))

    @property
    def best(self) -> list[int]:
        """The evaluation that each judge found best, counted from 0; one that is NaN only where all are."""
        return [
            int(np.argmin([math.inf if math.isnan(x) else x for x in own])) for own in zip(*self._seen, strict=True)
        ]


def measure(task: Task, pairs: Rows, checkpoint: Path) -> Errors:
    """Trains a network, fits its label adapter, and measures both on the validation faces.

    Args:
        task: a training of `synthetic_only`.
        pairs: the real training faces that fit the label adapter.
        checkpoint: where the training may keep its checkpoint; it is gone afterwards.

    Raises:
        FacemixError: the validation photographs make no two halves; or see `tasks.train_network`.
    """
    rows = task.split("validation")
    second = in_second(task.real.photos[rows])
    halves = rows[~second], rows[second]
    choosers = Choosers([judging.error_on(task.real, half) for half in halves])
    history: list[Row] = []
    outcome = tasks.train_network(task, checkpoint, history.append, choosers)
    checkpoint.unlink()
    found = {measure: np.empty(len(rows)) for measure in MEASURES}
    epochs = []
    for choosing, weights, reported in zip(halves, choosers.weights, (second, ~second), strict=True):
        trained = _with(outcome, weights)
        adapted = _adapted(task, trained, pairs, choosing)
        for measure, landmarker in zip(MEASURES, (trained, adapted), strict=True):
            found[measure][reported] = _nme(landmarker, task, rows[reported])
        epochs.append(adapted.about["adapter"]["best_epoch"])
    first_step, second_step = (int(history[best]["step"]) for best in choosers.best)
    return Errors(
        photos=task.real.photos[rows],
        synthetic_only=found["synthetic_only"],
        label_adaptation=found["label_adaptation"],
        steps=(first_step, second_step),
        epochs=(epochs[0], epochs[1]),
    )


def _with(outcome: Outcome, weights: Weights) -> Landmarker:
    """The trained detector at other weights."""
    network = copy.deepcopy(outcome.landmarker.network)
    network.load_state_dict(weights)
    return dataclasses.replace(outcome.landmarker, network=network)


def _adapted(task: Task, trained: Landmarker, pairs: Rows, choosing: Rows) -> Landmarker:
    """The detector with the label adapter that is fitted on `pairs`, at the epoch that the rows `choosing` choose."""
    return tasks.fit_adapter(
        dataclasses.replace(
            task,
            strategy=STRATEGIES["label_adaptation"],
            real=validated_by(task.real, choosing),
            synthetic=None,
            real_rows=pairs,
            base=trained,
            behind=trained.about["training"]["faces_seen"],
        )
    ).landmarker


def validated_by(pack: Pack, rows: Rows) -> Pack:
    """The pack with these rows (n,) as its only validation faces; the others are left out."""
    splits = np.where(pack.splits == "validation", "excluded", pack.splits)
    splits[rows] = "validation"
    return dataclasses.replace(pack, splits=splits)


def _nme(landmarker: Landmarker, task: Task, rows: Rows) -> Doubles:
    """NME (n,) in % on rows of the real pack; of another scheme the points that the real one names too."""
    real = task.real
    predicted = schemes.in_scheme(predict_pack(landmarker, real, rows), landmarker.scheme, real.scheme)
    return metrics.nme(predicted, real.landmarks[rows], real.scheme, task.params.evaluation.normalizer)
