"""The training loop: one loop that reads from top to bottom, the same for every strategy, on one process or on many.

Each step is a pure function of (weights, optimiser state, seed, step). So a run that was stopped at any point and goes
on from its checkpoint ends in the same weights, bit for bit on a CPU, as one that never stopped. On several processes
the weights are equal everywhere, and the same as on one but for rounding.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from facemix.faces.parallel import available_cores
from facemix.files import File
from facemix.training import augment
from facemix.training.batches import Load, loader, prefetch
from facemix.training.checkpoint import restore, write_checkpoint
from facemix.training.failures import explained_failures, explained_shortage, require_finite
from facemix.training.interruption import Stopped, stop_signals
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group
from facemix.training.recipe import Recipe
from facemix.training.state import Row, State, Weights

__all__ = ["Recipe", "Result", "Row", "core_spared", "inputs", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a training leaves behind."""

    weights: Weights
    """The averaged weights of the best evaluation."""
    best_step: int
    history: list[Row]
    """One row an evaluation: step, learning_rate, train_loss, val_error."""


def train(
    network: LandmarkNet,
    recipe: Recipe,
    *,
    validate: Callable[[LandmarkNet], float],
    checkpoint: File,
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
        FacemixError: the processes cannot share the batch equally.
        FacemixError: a loss or a weight is not finite; the checkpoint is as it was before.
        FacemixError: memory did not suffice, or another process was lost.
        Stopped: SIGTERM or SIGINT came to any process; the checkpoint holds the last finished step.
    """
    settings, first = recipe.settings, group.rank == 0
    with explained_shortage(recipe, checkpoint):
        state = State.begin(network, recipe, group)

    def save() -> None:
        require_finite(state, recipe, checkpoint)
        if first:
            write_checkpoint(checkpoint, identity, state.content())

    with (
        core_spared(group.device),
        stop_signals(group) as stopped,
        explained_failures(state, recipe, checkpoint, save, group),
    ):
        if (content := group.read(checkpoint)) is not None:
            restore(state, checkpoint, content, identity, group.device)
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
                    require_finite(state, recipe, checkpoint)
                    row = state.evaluate(group.broadcast_from_first(lambda: validate(state.averaged)))
                    save()
                    if first:
                        report(row)
                    progress.set_postfix(val_error=f"{row['val_error']:.2f}")
                if number := stopped():
                    save()
                    group.wait()  # the first process may still be writing
                    raise Stopped(number, state.step, checkpoint)
    return Result(weights=state.best, best_step=state.best_step, history=state.history)


def inputs(recipe: Recipe, group: Group) -> Load:
    """From a step to what this process shows the network: images (n, 3, S, S) and landmarks (n, K, 2), augmented."""
    start, stop = group.part(recipe.settings.batch_size)
    load = loader(recipe.batches, group.device, start, stop)
    mirror_order = torch.from_numpy(recipe.mirror_order.copy())

    def augmented(step: int) -> tuple[Tensor, Tensor]:
        crops, landmarks = load(step)
        changes = recipe.changes(step, crops.shape[1])
        if group.size > 1:
            changes = changes.part(start, stop)
        return augment.apply(crops, landmarks, changes, recipe.input_size, mirror_order)

    # A GPU augments in no time, and the host is ahead of it anyway.
    return prefetch(augmented) if group.device.type == "cpu" else augmented


@contextmanager
def core_spared(device: torch.device) -> Iterator[None]:
    """Leaves one core of a CPU to the next batch, which is made ready beside the step.

    Threads that wait for each other on cores that are taken cost more than they bring: on two cores a training is a
    tenth to a third faster on one thread than on two. Where OMP_NUM_THREADS is set, that many are used.
    """
    before = torch.get_num_threads()
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(before, available_cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
