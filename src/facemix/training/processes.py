"""The processes that share one training: one alone, or several that `torchrun` started on one or more machines.

They share each batch. What a batch is made of, how it is augmented, its loss and the statistics of its normalisation
are those of the whole batch, so the number of processes changes nothing but rounding.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from facemix.errors import FacemixError
from facemix.files import RemoteFile

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: the first one validates alone."""


def rank() -> int:
    """This process's number; the first, 0, is the one that writes, logs and reports."""
    return int(os.environ.get("RANK", "0")) if _world_size() > 1 else 0


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one training; by default there is one."""

    device: torch.device
    """Of this process."""
    rank: int = 0
    size: int = 1

    def part(self, batch_size: int) -> tuple[int, int]:
        """The first face of a batch that is this process's, and the one after its last.

        Raises:
            FacemixError: the processes cannot share the batch equally.
        """
        if batch_size % self.size:
            raise FacemixError(
                f"training.batch_size: found {batch_size}, expected a multiple of the {self.size} processes that "
                "share each batch"
            )
        share = batch_size // self.size
        return self.rank * share, (self.rank + 1) * share

    def wrap_ddp(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """A model of which each process sees its part of the batch only: with normalisation over the whole batch.

        Returns:
            The model, whose parameters and buffers keep their names and order, and what to call in training: it also
            averages the gradients. On one process both are the model as it is.
        """
        if self.size == 1:
            return model, model
        normalise_together(model)
        # static_graph: a backbone may have layers that no landmark depends on. Buffers are equal everywhere as it is.
        return model, nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False, static_graph=True)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.size > 1:
            value = value / self.size
            dist.all_reduce(value)
        return value

    def broadcast_from_first(self, make: Callable[[], float]) -> float:
        """A number that the first process alone makes, on all of them."""
        number = torch.tensor(make() if self.rank == 0 else 0.0, dtype=torch.float64)
        if self.size > 1:
            dist.broadcast(number, 0)
        return float(number)

    def read(self, path: Path | RemoteFile) -> bytes | None:
        """What a file of the first process's machine holds; None where there is none."""
        content = path.read_bytes() if self.rank == 0 and path.exists() else None
        if self.size == 1:
            return content
        length = torch.tensor(-1 if content is None else len(content))
        dist.broadcast(length, 0)
        if length < 0:
            return None
        data = torch.zeros(int(length), dtype=torch.uint8)
        if content:
            data[:] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(data, 0)
        return data.numpy().tobytes()

    def largest(self) -> Callable[[int], int]:
        """A function to be called by every process at every step, with a number that it wants the others to know.

        It gives the largest number of the step before: the exchange runs beside a step's work on the CPU, and neither
        the host nor a GPU waits for it. On one process it gives the number itself.
        """
        pending: list[tuple[Any, Tensor]] = []

        def exchange(number: int) -> int:
            if self.size == 1:
                return number
            shared = torch.tensor(number)
            pending.append((dist.all_reduce(shared, dist.ReduceOp.MAX, async_op=True), shared))
            if len(pending) == 1:
                return 0
            work, found = pending.pop(0)
            work.wait()
            return int(found)

        return exchange

    def wait(self) -> None:
        """Until all processes have come here."""
        self.mean(torch.zeros(()))


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group of this process, as `torchrun` tells it in the environment.

    Args:
        device: `training.device`.

    Raises:
        FacemixError: the device is not there.
    """
    size = _world_size()
    group = Group(choose_device(device), rank(), size)
    if size == 1:
        yield group
        return
    cuda = group.device.type == "cuda"
    if cuda:
        torch.cuda.set_device(group.device)
    # Also beside NCCL there is gloo: what is on the CPU is exchanged without a GPU's taking part.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    # Processes that torchrun starts anew are given the store of those before them, with addresses that nobody listens
    # at any more (https://github.com/pytorch/pytorch/issues/135712): each start has names of its own.
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=group.rank, world_size=size, timeout=PATIENCE)
    yield group
    dist.destroy_process_group()  # not after an error: those it would wait for may be gone, and the process ends


def choose_device(name: str) -> torch.device:
    """The device of `training.device`; of several processes on a machine each has a GPU of its own.

    Raises:
        FacemixError: CUDA is asked for and not there, or there are fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise FacemixError("training.device: found cuda, but torch sees no CUDA device; use auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    number, n = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= n:
        raise FacemixError(
            f"torchrun: found process {number + 1} on a machine with {n} CUDA devices, expected at most one "
            "process for each device; lower --nproc-per-node"
        )
    return torch.device("cuda", number)


def is_loss_of_a_process(error: BaseException) -> bool:
    """Whether an error says that another process is no longer there. gloo has no error class of its own."""
    return dist.is_initialized() and (isinstance(error, dist.DistError) or "gloo" in str(error))


class GlobalBatchNorm(nn.Module):
    """Batch normalisation by the statistics of the whole batch, of which each process holds an equal part.

    `nn.SyncBatchNorm` does this on GPUs alone: torch has no kernels of it for CPUs. One way for both is one to test,
    and with equal parts the host need not wait for a GPU in each layer, as it does there. Takes the place of a
    `BatchNorm2d` (or timm's, which has a dropout and an activation in it) and keeps its parameters, its buffers and
    their names.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, local: nn.BatchNorm2d) -> None:
        super().__init__()
        for name, parameter in local.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in local.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.eps, self.momentum = local.eps, local.momentum
        self.after = nn.Sequential(*(getattr(local, name) for name in ("drop", "act") if hasattr(local, name)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to the same shape; while training, all processes must call it together."""
        after: Tensor = self.after(self._normalise_together(x) if self.training else self._normalise_as_learned(x))
        return after

    def _normalise_as_learned(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _normalise_together(self, x: Tensor) -> Tensor:
        exact = x.to(self.weight.dtype)  # under autocast x has too few digits
        variance, mean = torch.var_mean(exact, dim=(0, 2, 3), correction=0)
        variances, means = _Gather.apply(torch.stack([variance, mean])).unbind(1)  # type: ignore[no-untyped-call]
        mean = means.mean(0)
        variance = variances.mean(0) + means.var(0, correction=0)  # within and between the equal parts
        n = x.numel() / x.shape[1] * len(means)
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], exact, scale[:, None, None]).to(x.dtype)


class _Gather(torch.autograd.Function):
    """The tensors of all processes, one below the other; gradients go back to where they belong."""

    @staticmethod
    def forward(_ctx: Any, own: Tensor) -> Tensor:
        each = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(each, own)
        return torch.stack(each)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def normalise_together(module: nn.Module) -> None:
    """Replaces the batch normalisations within a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, GlobalBatchNorm(child))
        else:
            normalise_together(child)
