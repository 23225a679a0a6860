"""The training loop: one loop that reads from top to bottom, the same for every strategy, on one process or on many.

Each step is a pure function of (weights, optimiser state, seed, step). So a run that was stopped at any point and goes
on from its checkpoint ends in the same weights, bit for bit on a CPU, as one that never stopped. On several processes
the weights are equal everywhere, and the same as on one but for rounding.
"""

import copy
import io
import math
import os
import signal
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from facemix.config import Augmentation, Training
from facemix.errors import FacemixError
from facemix.files import whole_file
from facemix.training import augment, processes
from facemix.training.batches import Load, MixedBatches, ahead, loader
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group

SHARPEST = 0.5
"""Scale of the errors of a point that the network is perfectly sure of, per cent of the input's side."""

Weights = dict[str, Tensor]
Row = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is trained on, and how: with the starting weights all that the result depends on."""

    batches: MixedBatches
    """The faces of each step."""
    context: float
    """Side of the undisturbed field of view / longer side of a face's box."""
    input_size: int
    """Side of the network's input in pixels."""
    settings: Training
    augmentation: Augmentation
    learning_rate: float
    """Peak of the schedule."""
    seed: int
    """Of augmentation and everything else that is random in a step."""

    def changes(self, step: int, crop_size: int) -> augment.Changes:
        """How the faces of a step are augmented."""
        return augment.draw(
            torch.from_numpy(self.batches.boxes(step)),
            crop_size,
            context=self.context,
            size=self.input_size,
            settings=self.augmentation,
            generator=torch.Generator().manual_seed(step_seed(self.seed, step)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    weights: Weights
    """The averaged weights of the best evaluation."""
    best_step: int
    history: list[Row]
    """One row an evaluation: step, learning_rate, train_loss, val_nme."""


class CheckpointError(FacemixError):
    """A checkpoint that cannot be continued from."""


def train(
    network: LandmarkNet,
    recipe: Recipe,
    *,
    validate: Callable[[LandmarkNet], float],
    checkpoint: Path,
    identity: Mapping[str, Any],
    report: Callable[[Row], None],
    group: Group,
) -> Result:
    """Trains a network; goes on from `checkpoint` where that exists. All processes of the group call it alike.

    Args:
        network: at its starting weights; holds the averaged weights of the last step afterwards.
        recipe: what to train on, and how.
        validate: NME of a network on the validation faces, asked of the first process; the least one is kept.
        checkpoint: file to go on from; the first process writes it at each evaluation and when the run ends early.
        identity: all that the result depends on; a checkpoint of another identity is refused.
        report: called by the first process once for each row of the history, also for those that a continued run had.
        group: the processes that share each batch.

    Raises:
        CheckpointError: the checkpoint is of another configuration, or cannot be read.
        FacemixError: the batch cannot be shared out among the processes.
        FacemixError: a loss or a weight is not finite; the checkpoint is as it was before.
        FacemixError: memory did not suffice, or another process was lost.
        Stopped: SIGTERM or SIGINT came to any process; the checkpoint holds the last finished step.
    """
    settings, first = recipe.settings, group.rank == 0
    with explained_shortage(recipe, checkpoint):
        state = State.begin(network, recipe, group)

    def save() -> None:
        state.check(recipe, checkpoint)
        if first:
            write_checkpoint(checkpoint, {"identity": dict(identity), **state.content()})

    with (
        core_spared(group.device),
        stop_signals(group) as stopped,
        explained_failures(state, recipe, checkpoint, save, group),
    ):
        if (content := group.read(checkpoint)) is not None:
            state.restore(read_checkpoint(checkpoint, content, identity, group.device), checkpoint)
        for row in state.history if first else []:
            report(row)
        load = inputs(recipe, group)
        progress = tqdm(
            total=settings.steps, initial=state.step, desc="training", unit="step", disable=None if first else True
        )
        with progress:
            while state.step < settings.steps or state.is_evaluation_due(settings):
                if not state.is_evaluation_due(settings):
                    state.advance(recipe, load, group)
                    progress.update()
                if state.is_evaluation_due(settings):
                    state.check(recipe, checkpoint)
                    row = state.evaluate(group.of_first(lambda: validate(state.averaged)))
                    save()
                    if first:
                        report(row)
                    progress.set_postfix(val_nme=f"{row['val_nme']:.2f}")
                if number := stopped():
                    save()
                    group.wait()  # the first process may still be writing
                    raise Stopped(number, state.step, checkpoint)
    return Result(weights=state.best, best_step=state.best_step, history=state.history)


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
        model, forward = group.share_out(copy.deepcopy(averaged))
        if recipe.settings.compile:
            model.compile()  # in place: the names in its state stay as they are
        groups = _parameter_groups(model, recipe.settings.weight_decay)
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
        if group.size > 1 and device.type == "cpu":  # see `explained_failures`
            self.before = [buffer.clone() for buffer in self.model.buffers()]
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = recipe.learning_rate * schedule(self.step, settings.steps, settings.warmup_steps)
        images, targets = load(self.step)
        seed_backbone(step_seed(recipe.seed, self.step) + group.rank, device)
        loss = optimize(self.forward, self.optimizer, images, targets, settings.precision, recipe.input_size, group)
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

    def evaluate(self, val_nme: float) -> Row:
        """Adds a row to the history and keeps the weights if they are the best so far."""
        # A NaN is never the best, but the first evaluation is kept until there is a better one.
        so_far = [row["val_nme"] for row in self.history if math.isfinite(row["val_nme"])]
        if not self.best or (math.isfinite(val_nme) and val_nme < min(so_far, default=math.inf)):
            self.best, self.best_step = _copy(self.averaged.state_dict()), self.step
        row = {
            "step": float(self.step),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": float(self.loss_sum) / self.loss_count,
            "val_nme": val_nme,
        }
        self.history.append(row)
        self.loss_sum, self.loss_count = torch.zeros_like(self.loss_sum), 0
        return row

    def check(self, recipe: Recipe, checkpoint: Path) -> None:
        """Raises a FloatingPointError that names step and faces if a loss or a weight is not finite."""
        if step := int(self.not_finite):
            what = f"the training loss was not finite in step {step}"
        elif not bool(torch.stack([tensor.isfinite().all() for tensor in self.pairs[1]]).all()):
            # Every loss so far was finite, so the weights before the last step were good.
            step = self.step
            what = f"the weights were not finite after step {step}"
        else:
            return
        kept = f"the last good state is in {checkpoint}" if checkpoint.exists() else "there was no checkpoint yet"
        raise FacemixError(
            f"{what}; lower training.learning_rate ({recipe.learning_rate:g}), or look at the faces of that step: "
            f"{', '.join(recipe.batches.names(step - 1))}. Nothing of it was saved: {kept}"
        )

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

    def restore(self, content: Mapping[str, Any], checkpoint: Path) -> None:
        """Takes over what a checkpoint holds.

        Raises:
            CheckpointError: it does not hold the state of such a model.
        """
        try:
            self.model.load_state_dict(content["model"])
            self.averaged.load_state_dict(content["averaged"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.step, self.loss_sum, self.loss_count = content["step"], content["loss_sum"], content["loss_count"]
            self.history, self.best, self.best_step = content["history"], content["best"], content["best_step"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{checkpoint}: not the state of this model ({reason}); delete it to start anew"
            ) from error

    def undo_broken_step(self) -> None:
        """Back to the last finished step: the optimiser comes last, so of a broken one only buffers have moved."""
        for buffer, before in zip(self.model.buffers(), self.before, strict=False):
            buffer.copy_(before)


def inputs(recipe: Recipe, group: Group) -> Load:
    """From a step to what this process shows the network: images (n, 3, S, S) and landmarks (n, 68, 2), augmented."""
    start, stop = group.part(recipe.settings.batch_size)
    load = loader(recipe.batches, group.device, start, stop)

    def augmented(step: int) -> tuple[Tensor, Tensor]:
        crops, landmarks = load(step)
        changes = recipe.changes(step, crops.shape[1])
        if group.size > 1:
            changes = changes.part(start, stop)
        return augment.apply(crops, landmarks, changes, recipe.input_size)

    # A GPU augments in no time, and the host runs ahead of it anyway.
    return ahead(augmented) if group.device.type == "cpu" else augmented


@contextmanager
def core_spared(device: torch.device) -> Iterator[None]:
    """Leaves one core of a CPU to the next batch, which is made ready beside the step.

    Threads that wait for each other on cores that are taken cost more than they bring: on two cores a training is a
    tenth to a third faster on one thread than on two. Where OMP_NUM_THREADS is set, that many are used.
    """
    before = torch.get_num_threads()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def explained_failures(
    state: State, recipe: Recipe, checkpoint: Path, save: Callable[[], None], group: Group
) -> Iterator[None]:
    """Turns what torch says when memory runs out, or when a process is lost, into what to do about it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            raise _shortage(f"in step {state.step + 1}", recipe, checkpoint) from error
        if not processes.is_loss_of_a_process(error):
            raise
        # Behind a broken exchange a GPU may have computed anything: there the last evaluation's checkpoint stands.
        if group.rank == 0 and group.device.type == "cpu":
            state.undo_broken_step()
            save()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it now; this process ends as it is
        reason = str(error).split(". ")[0]  # gloo goes on at length
        raise FacemixError(
            f"another process of this training was lost in step {state.step + 1} ({reason}); {_way_on(checkpoint)}"
        ) from error


@contextmanager
def explained_shortage(recipe: Recipe, checkpoint: Path) -> Iterator[None]:
    """Turns what torch says when memory does not even suffice to begin into what to do about it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise _shortage("before the first step", recipe, checkpoint) from error


def _shortage(when: str, recipe: Recipe, checkpoint: Path) -> RuntimeError:
    return RuntimeError(
        f"out of memory {when}: lower training.batch_size ({recipe.settings.batch_size}) or model.input_size "
        f"({recipe.input_size}), or free memory; {_way_on(checkpoint)}"
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Only the allocator of GPUs has an error class for it; the CPU's, CUDA's own and its libraries' have words."""
    words = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)


def _way_on(checkpoint: Path) -> str:
    if not checkpoint.exists():
        return "there was no checkpoint yet, the same command starts anew"
    return f"the same command goes on from {checkpoint}"


def seed_backbone(seed: int, device: torch.device) -> None:
    """Seeds what is random inside a backbone (stochastic depth, dropout).

    `torch.manual_seed` would do the same, and ask every other backend too, at half a millisecond a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def optimize(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    precision: str,
    input_size: int,
    group: Group,
) -> Tensor:
    """Forward, backward and optimiser on one batch: what every training pays for at the least.

    Returns:
        The loss over the parts of all processes, still on the device.
    """
    model.train()
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        points, variance = model(images)
    loss = landmark_loss(points, variance, targets, input_size)
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


def landmark_loss(points: Tensor, variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """How unlikely the true points are if errors follow a Laplace distribution as wide as the network is unsure.

    Lengths are in per cent of the input's side. To be sure pays where it is right and costs where it is wrong, so easy
    points get sharp heatmaps and the last fraction of a pixel, and hard ones do not drown them. Of the losses in
    docs/ablation.md the best. After A. Kumar et al., "LUVLi Face Alignment" (CVPR 2020), with the spread of the heatmap
    itself as the scale.

    Args:
        points: (n, 68, 2) pixels of the input, as predicted.
        variance: (n, 68, 2) square pixels, of what they are the mean of.
        targets: (n, 68, 2) true points.
        input_size: side of the input in pixels.
    """
    per_cent = 100 / input_size
    scale = (variance * per_cent**2 + SHARPEST**2).sqrt()
    return ((points - targets).abs() * per_cent / scale + scale.log()).mean()


def schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Learning rate as a share of its peak: linear warm-up, then half a cosine down to nothing."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; neighbouring steps and seeds share nothing."""
    return zlib.crc32(f"{seed}/{step}".encode())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _copy(state: Mapping[str, Tensor]) -> Weights:
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


def read_checkpoint(path: Path, content: bytes, identity: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What a checkpoint of this very training holds.

    Args:
        path: of the file, for messages.
        content: of the file.
        identity: what the checkpoint must be of.
        device: where its tensors go.

    Raises:
        CheckpointError: it is torn, not a checkpoint, or of another configuration (the keys that differ are named).
    """
    try:
        if damaged := zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch does not look at the sums
            raise FacemixError(f"{damaged} is damaged")
        saved: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
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
def stop_signals(group: Group) -> Iterator[Callable[[], int]]:
    """Holds SIGTERM and SIGINT back until the step is done.

    Yields:
        A function to be called after each step, which tells which signal came to any process of the group (0: none),
        to all of them after the same step.
    """
    received = 0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = number

    exchange = group.largest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: exchange(0)
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: exchange(received)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
