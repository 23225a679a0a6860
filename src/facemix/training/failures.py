"""What goes wrong in a training, said so that one can do something about it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from facemix.errors import FacemixError
from facemix.files import RemoteFile
from facemix.training import processes
from facemix.training.processes import Group
from facemix.training.recipe import Recipe
from facemix.training.state import State


@contextmanager
def explained_failures(
    state: State, recipe: Recipe, checkpoint: Path | RemoteFile, save: Callable[[], None], group: Group
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
            f"another process of this training ended in step {state.step + 1} ({reason}); {_way_on(checkpoint)}"
        ) from error


@contextmanager
def explained_shortage(recipe: Recipe, checkpoint: Path | RemoteFile) -> Iterator[None]:
    """Turns what torch says when memory does not even suffice to begin into what to do about it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise _shortage("before the first step", recipe, checkpoint) from error


def require_finite(state: State, recipe: Recipe, checkpoint: Path | RemoteFile) -> None:
    """Raises a FacemixError that names step and faces if a loss or a weight is not finite."""
    if step := int(state.not_finite):
        what = f"the training loss was not finite in step {step}"
    elif not bool(torch.stack([tensor.isfinite().all() for tensor in state.pairs[1]]).all()):
        # Every loss so far was finite, so the weights before the last step were good.
        step = state.step
        what = f"the weights were not finite after step {step}"
    else:
        return
    kept = f"the last good state is in {checkpoint}" if checkpoint.exists() else "there was no checkpoint yet"
    raise FacemixError(
        f"{what}; lower training.learning_rate ({recipe.learning_rate:g}), or look at the faces of that step: "
        f"{', '.join(recipe.batches.names(step - 1))}. That step was not saved: {kept}"
    )


def _shortage(when: str, recipe: Recipe, checkpoint: Path | RemoteFile) -> FacemixError:
    return FacemixError(
        f"out of memory {when}: lower training.batch_size ({recipe.settings.batch_size}) or model.input_size "
        f"({recipe.input_size}), or free memory; {_way_on(checkpoint)}"
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Only the allocator of GPUs has an error class for it; the CPU's, CUDA's own and its libraries' have words."""
    words = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)


def _way_on(checkpoint: Path | RemoteFile) -> str:
    if not checkpoint.exists():
        return "there was no checkpoint yet, the same command starts anew"
    return f"the same command goes on from {checkpoint}"
