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
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import nn

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.faces.order import fraction
from facemix.training import adaptation, judging, tasks
from facemix.training.adaptation import LabelAdapter, Points
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack, validation_error
from facemix.training.state import Row, Weights
from facemix.training.tasks import Outcome, Rows, Task

Doubles = npt.NDArray[np.float64]
Judged = TypeVar("Judged")

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


class Choosers(Generic[Judged]):
    """Several judges of what is being learned, each of which keeps the weights that it finds best.

    They are called at each evaluation, and return the mean of what they find.
    """

    def __init__(self, errors: Sequence[Callable[[Judged], float]], module: Callable[[Judged], nn.Module]) -> None:
        """
        Args:
            errors: what each judge finds; less is better.
            module: what holds the weights.
        """
        self._errors, self._module = errors, module
        self._found: list[list[float]] = []
        self.weights: list[Weights] = [{} for _ in errors]
        """What each judge found best."""

    def __call__(self, judged: Judged) -> float:
        found = [error(judged) for error in self._errors]
        self._found.append(found)
        for judge, best in enumerate(self.best):
            if best == len(self._found) - 1:
                state = self._module(judged).state_dict()
                self.weights[judge] = {key: value.detach().cpu().clone() for key, value in state.items()}
        return float(np.mean(found))

    @property
    def best(self) -> list[int]:
        """The evaluation that each judge found best, counted from 0; one that is NaN only where all are."""
        columns = zip(*self._found, strict=True)
        return [int(np.argmin([math.inf if math.isnan(x) else x for x in column])) for column in columns]


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
    halves = (~second, second)
    choosers = Choosers([judging.error_on(task.real, rows[half]) for half in halves], lambda one: one.network)
    history: list[Row] = []
    outcome = tasks.train_network(task, checkpoint, history.append, choosers)
    checkpoint.unlink()
    errors = {measure: np.empty(len(rows)) for measure in MEASURES}
    epochs = [0, 0]
    for best in set(choosers.best):  # both halves may choose one step, and then share a fit
        judges = [judge for judge in (0, 1) if choosers.best[judge] == best]
        trained = _with(outcome, choosers.weights[judges[0]])
        raw, adapted, best_epochs = _predicted(task, trained, pairs, rows, halves)
        for judge in judges:
            reported = halves[1 - judge]
            epochs[judge] = best_epochs[judge]
            for measure, points in zip(MEASURES, (raw, adapted[judge]), strict=True):
                errors[measure][reported] = _nme(points[reported], task, rows[reported])
    first, last = (int(history[best]["step"]) for best in choosers.best)
    return Errors(photos=task.real.photos[rows], **errors, steps=(first, last), epochs=(epochs[0], epochs[1]))


def _with(outcome: Outcome, weights: Weights) -> Landmarker:
    """The trained detector at other weights."""
    network = copy.deepcopy(outcome.landmarker.network)
    network.load_state_dict(weights)
    return dataclasses.replace(outcome.landmarker, network=network)


def _predicted(
    task: Task, trained: Landmarker, pairs: Rows, rows: Rows, halves: Sequence[npt.NDArray[np.bool_]]
) -> tuple[Points, list[Points], list[int]]:
    """What a detector predicts on rows of the real pack, and what the label adapter makes of it that each half chooses.

    The adapter is fitted as `tasks.fit_adapter` does it, once for both halves.

    Returns:
        points (n, M, 2) of the real scheme as they are; as adapted by the choice of each half; and its epoch.
    """
    real, shown = task.real, trained
    if trained.scheme.points != real.scheme.points:
        shown = tasks.reframed(trained, real, pairs)
    unadapted, truth = predict_pack(shown, real, rows), real.landmarks[rows]

    def error_on(half: npt.NDArray[np.bool_]) -> Callable[[LabelAdapter], float]:
        return lambda adapter: validation_error(adaptation.adapt(adapter, unadapted[half]), truth[half])

    choosers = Choosers([error_on(half) for half in halves], lambda adapter: adapter)
    adapter = adaptation.fit(
        predict_pack(shown, real, pairs),
        real.landmarks[pairs],
        source=trained.scheme,
        target=real.scheme,
        settings=task.params.adaptation,
        seed=task.seed,
        validate=choosers,
    ).adapter
    adapted = []
    for weights in choosers.weights:
        adapter.load_state_dict(weights)
        adapted.append(adaptation.adapt(adapter, unadapted))
    raw = unadapted if shown is trained else predict_pack(trained, real, rows)
    return np.asarray(schemes.in_scheme(raw, trained.scheme, real.scheme)), adapted, choosers.best


def _nme(predicted: Points, task: Task, rows: Rows) -> Doubles:
    """NME (n,) in % of points (n, M, 2) on rows of the real pack."""
    real = task.real
    return metrics.nme(predicted, real.landmarks[rows], real.scheme, task.params.evaluation.normalizer)
