"""How far a training has come, and the step that takes it further."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from facemix.config import Training
from facemix.training.batches import Load
from facemix.training.loss import landmark_loss, visibility_loss
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group
from facemix.training.recipe import Recipe, step_seed

Weights = dict[str, Tensor]
Row = dict[str, float]
"""Of the history, one an evaluation: step, learning_rate, train_loss, val_error."""


@dataclass(slots=True, kw_only=True)
class State:
    """How far a training has come."""

    model: nn.Module
    averaged: LandmarkNet
    """The moving average of the model: what is evaluated and kept."""
    forward: nn.Module
    """What a training step calls: the model, or what shares its work out among processes."""
    optimizer: torch.optim.Optimizer
    pairs: tuple[list[Tensor], list[Tensor]]
    """The tensors of the average, and those of the model that they follow."""
    step: int = 0
    """Steps that are done."""
    loss_sum: Tensor
    """Over the steps since the last evaluation; on the device, as nothing of a step waits for the device."""
    loss_count: int = 0
    not_finite: Tensor
    """The first step whose loss was not finite, counted from 1; 0: none was."""
    history: list[Row] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    best_step: int = 0
    before: list[Tensor] = field(default_factory=list)
    """The model's buffers before a step that is under way, which another process may break off."""

    @classmethod
    def begin(cls, network: LandmarkNet, recipe: Recipe, group: Group) -> "State":
        """A training that has not begun; `network` becomes the average."""
        device = group.device
        torch.set_flush_denormal(True)  # denormals slow a CPU down many times over
        averaged = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model, forward = group.wrap_ddp(copy.deepcopy(averaged))
        if recipe.settings.compile:
            model.compile()  # in place: the names in its state stay as they are
        groups = parameter_groups(model, recipe.settings.weight_decay)
        return cls(
            model=model,
            averaged=averaged,
            forward=forward,
            optimizer=torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True),
            pairs=(averageable(averaged), averageable(model)),
            loss_sum=torch.zeros((), device=device),
            not_finite=torch.zeros((), dtype=torch.int64, device=device),
        )

    def advance(self, recipe: Recipe, load: Load, group: Group) -> None:
        """One step of training: load, augment, forward, backward, optimiser, average."""
        settings, device = recipe.settings, group.device
        if group.size > 1 and device.type == "cpu":  # see `failures.explained_failures`
            self.before = [buffer.clone() for buffer in self.model.buffers()]
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = recipe.learning_rate * schedule(self.step, settings.steps, settings.warmup_steps)
        images, targets = load(self.step)
        seed_backbone(step_seed(recipe.seed, self.step) + group.rank, device)
        weights = None if recipe.weights is None else torch.from_numpy(recipe.weights).to(device, non_blocking=True)
        loss = optimize(
            self.forward, self.optimizer, images, targets, settings.precision, recipe.input_size, group, weights
        )
        average(*self.pairs, settings.ema_decay, self.step)
        self.step += 1
        self.before = []
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
        known = loss.isfinite() | (self.not_finite > 0)
        self.not_finite = torch.where(known, self.not_finite, self.step)

    def is_evaluation_due(self, settings: Training) -> bool:
        """Whether this step is to be evaluated and has not been yet."""
        evaluated = int(self.history[-1]["step"]) if self.history else 0
        return self.step > evaluated and (self.step % settings.evaluate_every == 0 or self.step == settings.steps)

    def evaluate(self, val_error: float) -> Row:
        """Adds a row to the history and keeps the weights if they are the best so far."""
        # A NaN is never the best, but the first evaluation is kept until there is a better one.
        so_far = [row["val_error"] for row in self.history if math.isfinite(row["val_error"])]
        if not self.best or (math.isfinite(val_error) and val_error < min(so_far, default=math.inf)):
            self.best, self.best_step = _copy(self.averaged.state_dict()), self.step
        row = {
            "step": float(self.step),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": float(self.loss_sum) / self.loss_count,
            "val_error": val_error,
        }
        self.history.append(row)
        self.loss_sum, self.loss_count = torch.zeros_like(self.loss_sum), 0
        return row

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "history": self.history,
            "best": self.best,
            "best_step": self.best_step,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Takes over what a checkpoint holds; raises what torch raises if that is of another model."""
        self.model.load_state_dict(content["model"])
        self.averaged.load_state_dict(content["averaged"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.loss_sum, self.loss_count = content["step"], content["loss_sum"], content["loss_count"]
        self.history, self.best, self.best_step = content["history"], content["best"], content["best_step"]

    def undo_broken_step(self) -> None:
        """Back to the last finished step: the optimiser comes last, so of a broken one only buffers have moved."""
        for buffer, before in zip(self.model.buffers(), self.before, strict=False):
            buffer.copy_(before)


def optimize(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    precision: str,
    input_size: int,
    group: Group,
    weights: Tensor | None = None,
) -> Tensor:
    """Forward, backward and optimiser on one batch: what every training pays for at the least.

    Returns:
        The loss over the parts of all processes, still on the device.
    """
    model.train()
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        points, variance, visible = model(images)
    loss = landmark_loss(points, variance, targets[..., :2], input_size, weights)
    if visible is not None:
        loss = loss + visibility_loss(visible, targets[..., 2])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    loss = group.mean(loss.detach())
    optimizer.step()
    return loss


def averageable(model: nn.Module) -> list[Tensor]:
    """The tensors that are averaged: weights, and the statistics of batch normalisation."""
    return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]


@torch.no_grad()
def average(averaged: list[Tensor], current: list[Tensor], decay: float, step: int) -> None:
    """Moves averaged tensors towards the current ones, in place.

    The average follows faster in the first steps, so that it forgets the random start.
    """
    update = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
    update(averaged, current, step)


def schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Learning rate as a share of its peak: linear warm-up, then half a cosine down to nothing."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def seed_backbone(seed: int, device: torch.device) -> None:
    """Seeds what is random inside a backbone (stochastic depth, dropout).

    `torch.manual_seed` would do the same, and ask every other backend too, at half a millisecond a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _copy(state: Mapping[str, Tensor]) -> Weights:
    return {key: value.detach().cpu().clone() for key, value in state.items()}
