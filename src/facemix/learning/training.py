"""The training loop: one loop that reads from top to bottom, the same for every strategy.

Each step is a pure function of (weights, optimiser state, seed, step). So a run that was stopped at any point and goes
on from its checkpoint ends in the same weights, bit for bit on a CPU, as one that never stopped.
"""

import copy
import math
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from facemix.config import Augmentation, Training
from facemix.files import whole_file
from facemix.learning.augment import augment
from facemix.learning.batches import MixedBatches
from facemix.learning.model import LandmarkNet

State = dict[str, Tensor]
Row = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    weights: State
    """The averaged weights of the best evaluation."""
    best_step: int
    history: list[Row]
    """One row an evaluation: step, learning_rate, train_loss, val_nme."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be continued from."""


def train(
    model: LandmarkNet,
    batches: MixedBatches,
    *,
    input_size: int,
    field: float,
    settings: Training,
    augmentation: Augmentation,
    learning_rate: float,
    seed: int,
    validate: Callable[[LandmarkNet], float],
    checkpoint: Path,
    identity: Mapping[str, Any],
    report: Callable[[Row], None],
) -> Result:
    """Trains a model; goes on from `checkpoint` where that exists.

    Args:
        model: the network at its starting weights.
        batches: the faces of each step.
        input_size: side of the network's input in pixels.
        field: side of the undisturbed field of view in pixels of a crop.
        learning_rate: peak of the schedule.
        seed: of augmentation and everything else that is random in a step.
        validate: NME of a model on the validation faces; the least one is kept.
        checkpoint: file to go on from; written at each evaluation and when the run is asked to stop.
        identity: all that the result depends on; a checkpoint of another identity is refused.
        report: called once for each row of the history, also for those that a continued run had before.

    Raises:
        CheckpointError: the checkpoint is of another configuration, or cannot be read.
        FloatingPointError: the loss is not finite.
        Stopped: SIGTERM or SIGINT came; the checkpoint holds the last finished step.
    """
    device = choose_device(settings.device)
    torch.set_flush_denormal(True)  # denormals slow a CPU down many times over
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model)
    tensors = averageable(averaged), averageable(model)
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=learning_rate, fused=True)
    step, loss_sum, loss_count = 0, torch.zeros((), device=device), 0
    history: list[Row] = []
    best: State = {}
    best_step = 0

    def save() -> None:
        write_checkpoint(
            checkpoint,
            {
                "identity": dict(identity),
                "step": step,
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
                "loss_sum": loss_sum,
                "loss_count": loss_count,
                "history": history,
                "best": best,
                "best_step": best_step,
            },
        )

    if checkpoint.exists():
        saved = read_checkpoint(checkpoint, identity, device)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        step, loss_sum, loss_count = saved["step"], saved["loss_sum"], saved["loss_count"]
        history, best, best_step = saved["history"], saved["best"], saved["best_step"]
        for row in history:
            report(row)

    progress = tqdm(total=settings.steps, initial=step, desc="training", unit="step", disable=None)
    with stop_signals() as stopped, progress:
        while step < settings.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * schedule(step, settings.steps, settings.warmup_steps)
            loss = training_step(
                model, optimizer, batches, step, input_size, field, settings, augmentation, seed, device
            )
            average(*tensors, settings.ema_decay, step)
            loss_sum, loss_count = loss_sum + loss, loss_count + 1
            step += 1
            progress.update()

            if step % settings.evaluate_every == 0 or step == settings.steps:
                train_loss = float(loss_sum) / loss_count
                if not math.isfinite(train_loss):
                    raise FloatingPointError(
                        f"the training loss became {train_loss} between steps {step - loss_count} and {step}; "
                        f"lower training.learning_rate ({learning_rate:g}). The last good state is in {checkpoint}"
                    )
                val_nme = validate(averaged)
                if not history or val_nme < min(row["val_nme"] for row in history):
                    best, best_step = _copy(averaged.state_dict()), step
                row = {
                    "step": float(step),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "train_loss": train_loss,
                    "val_nme": val_nme,
                }
                history.append(row)
                loss_sum, loss_count = torch.zeros((), device=device), 0
                save()
                report(row)
                progress.set_postfix(val_nme=f"{val_nme:.2f}")
            if stopped():
                save()
                raise Stopped(stopped(), step, checkpoint)
    return Result(weights=best, best_step=best_step, history=history)


def training_step(
    model: LandmarkNet,
    optimizer: torch.optim.Optimizer,
    batches: MixedBatches,
    step: int,
    input_size: int,
    field: float,
    settings: Training,
    augmentation: Augmentation,
    seed: int,
    device: torch.device,
) -> Tensor:
    """One step of training: load, augment, forward, backward, optimiser; the loss, still on the device."""
    crops, landmarks = batches.load(step)
    generator = torch.Generator().manual_seed(step_seed(seed, step))
    images, targets = augment(
        torch.from_numpy(crops).to(device),
        torch.from_numpy(landmarks).to(device),
        field=field,
        size=input_size,
        settings=augmentation,
        generator=generator,
    )
    seed_backbone(step_seed(seed, step), device)
    return optimize(model, optimizer, images, targets, settings.precision, input_size)


def seed_backbone(seed: int, device: torch.device) -> None:
    """Seeds what is random inside a backbone (stochastic depth, dropout).

    `torch.manual_seed` would do the same, and ask every other backend too, at half a millisecond a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def optimize(
    model: LandmarkNet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    precision: str,
    input_size: int,
) -> Tensor:
    """Forward, backward and optimiser on one batch: what every training pays for at the least."""
    model.train()
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = model(images)
    loss = landmark_loss(predicted, targets, input_size)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


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


def landmark_loss(predicted: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """Wing loss of points (n, 68, 2) in pixels, measured in per cent of the input's side.

    Z.-H. Feng et al., "Wing Loss for Robust Facial Landmark Localisation with CNNs" (CVPR 2018): logarithmic for small
    errors, which are most and still matter, linear for large ones. Width and curvature are the paper's 10 and 2 pixels
    of 256, in per cent.
    """
    width, curvature = 4.0, 0.8
    error = (predicted - targets).abs() * (100 / input_size)
    joint = width * math.log(1 + width / curvature) - width  # where the two pieces meet
    return torch.where(error < width, width * torch.log1p(error / curvature), error + joint).mean()


def schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Learning rate as a share of its peak: linear warm-up, then half a cosine down to nothing."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; neighbouring steps and seeds share nothing."""
    return zlib.crc32(f"{seed}/{step}".encode())


def choose_device(name: str) -> torch.device:
    """The device of `training.device`.

    Raises:
        ValueError: CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device: found cuda, but torch sees no CUDA device; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _copy(state: Mapping[str, Tensor]) -> State:
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint; a crash in the middle leaves the former one as it was."""
    with whole_file(path) as beside, beside.open("wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(f"{error}") from error
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: Path, identity: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The content of a checkpoint of this very training.

    Raises:
        CheckpointError: it is torn, not a checkpoint, or of another configuration (the keys that differ are named).
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found, expected = _leaves(saved["identity"]), _leaves(identity)
    except Exception as error:
        reason = str(error).split(". ")[0]  # torch goes on to advise unsafe loading
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); delete it to start anew") from error
    different = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    if different:
        listed = "; ".join(f"{key}: found {found.get(key)!r}, expected {expected.get(key)!r}" for key in different)
        raise CheckpointError(f"{path}: a checkpoint of another configuration: {listed}")
    return saved


def _leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


class Stopped(SystemExit):
    """A signal asked the training to stop, and it did so cleanly."""

    def __init__(self, number: int, step: int, checkpoint: Path) -> None:
        super().__init__(128 + number)
        self.message = (
            f"stopped by {signal.Signals(number).name} after step {step}; the same command goes on from {checkpoint}"
        )


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Holds SIGTERM and SIGINT back until the step is done; the function tells which one came (0: none)."""
    received = 0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = number

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
