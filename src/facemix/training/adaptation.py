"""Label adaptation: from the synthetic labelling convention to the real one, by points alone.

A two-layer perceptron, residual, on points normalised by their own box; it never sees an image. After E. Wood et al.,
"Fake It Till You Make It" (ICCV 2021), section 3.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facemix.config import Adaptation
from facemix.errors import FacemixError
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme

Points = npt.NDArray[np.float32]


class LabelAdapter(nn.Module):
    """Points (n, K, 2) in box units in, the same with the real convention's shift added out. Starts as identity."""

    def __init__(self, scheme: Scheme, hidden: int) -> None:
        """
        Args:
            scheme: of the K points.
            hidden: units of the hidden layer.
        """
        super().__init__()
        self.enter = nn.Linear(2 * len(scheme), hidden)
        self.leave = nn.Linear(hidden, 2 * len(scheme))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, points: Tensor) -> Tensor:
        """Adapted points (n, K, 2), box units."""
        shift = self.leave(torch.nn.functional.gelu(self.enter(points.flatten(1))))
        adapted: Tensor = points + shift.view_as(points)
        return adapted


def normalize(
    points: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Points (n, K, 2) relative to their own tight box.

    Returns:
        points (n, K, 2) with the box's centre at 0 and its longer side 1; centres (n, 1, 2); sides (n, 1, 1).
    """
    box = landmark_box(points)
    centre = (box[:, None, :2] + box[:, None, 2:]) / 2
    side = square_side(box)[:, None, None]
    return (points - centre) / side, centre, side


def adapt(adapter: LabelAdapter, points: npt.NDArray[np.floating]) -> Points:
    """Points (n, K, 2) of any pixel frame taken to the real labelling convention, in the same frame.

    An unlabelled point, NaN, stays one; for the others' sake the adapter is shown the mean of that point in its place.
    """
    if len(points) == 0:
        return points.astype(np.float32)
    unit, centre, side = normalize(points)
    if (unlabelled := np.isnan(unit)).any():
        known = np.where(unlabelled, 0, unit).sum(axis=0) / np.maximum((~unlabelled).sum(axis=0), 1)
        unit = np.where(unlabelled, known, unit)
    adapter.eval()
    with torch.inference_mode():
        adapted = adapter(torch.from_numpy(unit.astype(np.float32))).double().numpy()
    found: Points = (centre + side * adapted).astype(np.float32)
    found[unlabelled] = np.nan
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted adapter and how it came about."""

    adapter: LabelAdapter
    best_epoch: int
    """0: the identity was best, nothing is adapted."""
    history: list[dict[str, float]]
    """One row an epoch: epoch, train_loss, val_error."""


def fit(
    predicted: Points,
    labelled: Points,
    *,
    scheme: Scheme,
    settings: Adaptation,
    seed: int,
    validate: Callable[[LabelAdapter], float],
) -> Fitted:
    """Fits an adapter on pairs; the epoch with the least validation NME is kept, epoch 0 (identity) included.

    Args:
        predicted: (n, K, 2) what the synthetic-trained network predicts on real training faces, pixels.
        labelled: (n, K, 2) their human labels, the same pixels; NaN where unlabelled.
        scheme: of the points.
        seed: of the initial weights and the batches.
        validate: NME after adapting the predictions on real validation faces.

    Raises:
        FacemixError: no pairs.
    """
    if len(predicted) == 0:
        raise FacemixError("the label adapter needs real training faces, found none; raise n_real")
    generator = torch.Generator().manual_seed(seed)
    unit, centre, side = normalize(predicted)
    inputs = torch.from_numpy(unit.astype(np.float32))
    targets = torch.from_numpy(((labelled - centre) / side).astype(np.float32))
    # A face and its mirror image are both true: double the pairs.
    inputs, targets = (torch.cat([points, mirrored(points, scheme)]) for points in (inputs, targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = LabelAdapter(scheme, settings.hidden)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    best, best_epoch, best_error = copy.deepcopy(adapter), 0, validate(adapter)
    history = [{"epoch": 0.0, "train_loss": float(_distance(inputs, targets)), "val_error": best_error}]
    for epoch in range(1, settings.epochs + 1):
        adapter.train()
        losses = []
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            loss = _distance(adapter(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        schedule.step()
        val_error = validate(adapter)
        history.append({"epoch": float(epoch), "train_loss": float(np.mean(losses)), "val_error": val_error})
        if val_error < best_error or (math.isnan(best_error) and math.isfinite(val_error)):
            best, best_epoch, best_error = copy.deepcopy(adapter), epoch, val_error
    return Fitted(adapter=best, best_epoch=best_epoch, history=history)


def _distance(points: Tensor, targets: Tensor) -> Tensor:
    """The mean distance along x and y; targets that are NaN add nothing."""
    labelled = targets.isfinite()
    return (points - torch.where(labelled, targets, points.detach())).abs().mean()


def mirrored(points: Tensor, scheme: Scheme) -> Tensor:
    """Box-normalised points (n, K, 2) of the mirrored faces."""
    return points[:, torch.from_numpy(scheme.mirror.copy())] * torch.tensor([-1.0, 1.0])


def label_gap(adapter: LabelAdapter, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The mean shift (K, 2) per point from the synthetic to the real convention, in % of the box's longer side.

    Args:
        points: (n, K, 2) synthetic-convention points to average over.
    """
    _, _, side = normalize(points)
    shift: npt.NDArray[np.float64] = (100 * (adapt(adapter, points) - points) / side).mean(axis=0)
    return shift
