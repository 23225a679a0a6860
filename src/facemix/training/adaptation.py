"""Label adaptation: from the synthetic labelling convention to the real one, by points alone.

A two-layer perceptron, residual, on points normalised by their own box; it never sees an image. After E. Wood et al.,
"Fake It Till You Make It" (ICCV 2021), section 3. Where the two worlds have different landmark schemes, it is residual
to a linear map from the points of one to those of the other, fitted by ridge regression.
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
from facemix.faces import mapped, schemes
from facemix.faces.geometry import landmark_box, square_side
from facemix.faces.schemes import Scheme

Points = npt.NDArray[np.float32]

_AT_ONCE = 1 << 16  # faces whose points are adapted together

PENALTIES = tuple(10.0**power for power in range(-5, 4))
"""Of the ridge regression between two schemes; each point has the one that is best by generalised cross-validation."""


class LabelAdapter(nn.Module):
    """Points (n, K, 2) of the synthetic scheme in box units in, (n, M, 2) of the real scheme and convention out.

    Between equal schemes it starts as the identity, else as `linear`, which `fit` fills before all else.
    """

    def __init__(self, source: Scheme, target: Scheme, hidden: int) -> None:
        """
        Args:
            source: the scheme of the K points that go in.
            target: the scheme of the M points that come out.
            hidden: units of the hidden layer.
        """
        super().__init__()
        self.source, self.target = source, target
        self.enter = nn.Linear(2 * len(source), hidden)
        self.leave = nn.Linear(hidden, 2 * len(target))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.linear: nn.Linear | None = None
        if source.points != target.points:
            self.linear = nn.Linear(2 * len(source), 2 * len(target)).requires_grad_(False)

    def forward(self, points: Tensor) -> Tensor:
        """Adapted points (n, M, 2), box units."""
        flat = points.flatten(1)
        start = flat if self.linear is None else self.linear(flat)
        shift = self.leave(torch.nn.functional.gelu(self.enter(flat)))
        adapted: Tensor = (start + shift).unflatten(1, (len(self.target), 2))
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


def adapt(adapter: LabelAdapter, points: npt.NDArray[np.floating], out: Points | None = None) -> Points:
    """Points (n, K, 2) of any pixel frame taken to the real scheme and convention, (n, M, 2) in the same frame.

    An unlabelled point, NaN, stays one where the real scheme names it too; for the others' sake the adapter is shown
    the mean of that point in its place.

    Args:
        out: where they go; None: a new array.
    """
    found = np.zeros((len(points), len(adapter.target), 2), np.float32) if out is None else out
    adapter.eval()
    known = _known(points)
    for part in mapped.parts(len(points), _AT_ONCE):
        found[part] = _adapted(adapter, points[part], known)
        mapped.release(points)
        mapped.release(found)
    return found


def _known(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The mean (K, 2) of each point where it is labelled, in units of the boxes; 0 where it never is."""
    total, count = np.zeros(points.shape[1:]), np.zeros(points.shape[1:], np.int64)
    for part in mapped.parts(len(points), _AT_ONCE):
        unit, _, _ = normalize(points[part])
        unlabelled = np.isnan(unit)
        total += np.where(unlabelled, 0, unit).sum(axis=0)
        count += (~unlabelled).sum(axis=0)
        mapped.release(points)
    return total / np.maximum(count, 1)


def _adapted(adapter: LabelAdapter, points: npt.NDArray[np.floating], known: npt.NDArray[np.float64]) -> Points:
    unit, centre, side = normalize(points)
    unlabelled = np.isnan(unit)
    with torch.inference_mode():
        shown = np.where(unlabelled, known, unit).astype(np.float32)
        adapted = adapter(torch.from_numpy(shown)).double().numpy()
    found: Points = (centre + side * adapted).astype(np.float32)
    own, theirs = schemes.shared(adapter.source, adapter.target)
    found[:, theirs] = np.where(unlabelled[:, own], np.float32(np.nan), found[:, theirs])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted adapter and how it came about."""

    adapter: LabelAdapter
    best_epoch: int
    """0: the start was best, the identity or the linear map between two schemes."""
    history: list[dict[str, float]]
    """One row an epoch: epoch, train_loss, val_error."""


def fit(
    predicted: Points,
    labelled: Points,
    *,
    source: Scheme,
    target: Scheme,
    settings: Adaptation,
    seed: int,
    validate: Callable[[LabelAdapter], float],
) -> Fitted:
    """Fits an adapter on pairs; the epoch with the least validation NME is kept, epoch 0 (the start) included.

    Args:
        predicted: (n, K, 2) what the synthetic-trained network predicts on real training faces, pixels.
        labelled: (n, M, 2) their human labels, the same pixels; NaN where unlabelled.
        source: the scheme of the predictions.
        target: the scheme of the labels.
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
    inputs = torch.cat([inputs, mirrored(inputs, source)])
    targets = torch.cat([targets, mirrored(targets, target)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = LabelAdapter(source, target, settings.hidden)
    if adapter.linear is not None:
        weight, bias = linear_map(inputs.numpy(), targets.numpy(), source, target)
        adapter.linear.weight.copy_(torch.from_numpy(weight))
        adapter.linear.bias.copy_(torch.from_numpy(bias))
    learned = [parameter for parameter in adapter.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    best, best_epoch, best_error = copy.deepcopy(adapter), 0, validate(adapter)
    with torch.no_grad():
        start = float(_distance(adapter(inputs), targets))
    history = [{"epoch": 0.0, "train_loss": start, "val_error": best_error}]
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


def linear_map(inputs: Points, targets: Points, source: Scheme, target: Scheme) -> tuple[Points, Points]:
    """The linear map from the points of one scheme to those of another that fits pairs best, by ridge regression.

    The penalty draws points that both schemes name to where they are in the input, others to their mean place.

    Args:
        inputs: (n, K, 2) in box units.
        targets: (n, M, 2) in the same units; NaN where unlabelled. A point that no face has stays in the middle.
        source: the scheme of the inputs.
        target: the scheme of the targets.

    Returns:
        weight (2 M, 2 K) and bias (2 M,): targets = weight @ inputs + bias, flattened.
    """
    from sklearn.linear_model import RidgeCV

    weight, bias = np.zeros((len(target), 2, 2 * len(source))), np.zeros((len(target), 2))
    own, theirs = schemes.shared(source, target)
    for axis in range(2):
        weight[theirs, axis, 2 * own + axis] = 1
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    rest = targets - np.einsum("mak,nk->nma", weight, flat)
    labelled = ~np.isnan(targets).any(axis=-1)
    patterns, pattern_of = np.unique(labelled.T, axis=0, return_inverse=True)
    for number, rows in enumerate(patterns):
        if not rows.any():
            continue
        points = np.flatnonzero(pattern_of == number)
        ridge = RidgeCV(alphas=PENALTIES, alpha_per_target=True)
        ridge.fit(flat[rows], rest[rows][:, points].reshape(rows.sum(), -1))
        weight[points] += ridge.coef_.reshape(len(points), 2, -1)
        bias[points] += ridge.intercept_.reshape(len(points), 2)
    return weight.reshape(-1, flat.shape[1]).astype(np.float32), bias.ravel().astype(np.float32)


def _distance(points: Tensor, targets: Tensor) -> Tensor:
    """The mean distance along x and y; targets that are NaN add nothing."""
    labelled = targets.isfinite()
    return (points - torch.where(labelled, targets, points.detach())).abs().mean()


def mirrored(points: Tensor, scheme: Scheme) -> Tensor:
    """Box-normalised points (n, K, 2) of the mirrored faces."""
    return points[:, torch.from_numpy(scheme.mirror.copy())] * torch.tensor([-1.0, 1.0])


def label_gap(adapter: LabelAdapter, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The mean shift (M, 2) per point from the synthetic to the real convention, in % of the box's longer side.

    Args:
        points: (n, K, 2) synthetic-convention points to average over; a real point that they do not name has no shift,
            NaN.
    """
    _, _, side = normalize(points)
    named = schemes.in_scheme(points, adapter.source, adapter.target)
    shift: npt.NDArray[np.float64] = (100 * (adapt(adapter, points) - named) / side).mean(axis=0)
    return shift
