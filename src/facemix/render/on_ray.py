"""Takes pictures on a Ray cluster: a task is a range of faces, and their files come back as bytes.

This process alone writes them, also where machines share its folder: the lock, the whole files and the way a set goes
on are then those of a set that is rendered here. A face is some hundred kilobytes and takes a core a second, so what
comes back keeps no network busy. A range whose machine dies is rendered anew elsewhere.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol

import cv2

from facemix.cluster import Cluster, check_versions
from facemix.errors import FacemixError
from facemix.render.backends import GPU_PROCESSES, choose_backend
from facemix.render.workers import ONE_THREAD

PACKAGES = ("mitsuba", "drjit", "mitsuba-oidn", "numpy", "opencv-python")
"""Whose versions may decide pixels."""
RANGE = 8
"""Faces of a task at the most: what a machine that dies loses."""

Files = Mapping[str, bytes]
"""All that is written of a face, by name, and last what says that it is complete."""


class Job(Protocol):
    """What is done to each face: one part of it anywhere, one here."""

    def begin_taking(self) -> Callable[[int], Files]:
        """Loads what all faces share; returns what takes the picture of a number."""

    def write(self, files: Files) -> None:
        """Writes a face, here."""


def examined(cluster: Cluster, backend: str) -> tuple[Cluster, str]:
    """The machines that can render alike, and their backend.

    Args:
        backend: as the user asked for it. `auto` is what each machine would choose, where all choose the same.

    Raises:
        FacemixError: a machine has other packages than this one or lacks them, or the backend; they would choose
            different ones; or no machine has a CPU, or a GPU where one is needed.
    """
    check_versions(cluster.nodes, {name: version(name).partition("+")[0] for name in PACKAGES})
    needs_gpu = backend == "cuda"
    nodes = [node for node in cluster.nodes if node.slots(_gpus(backend), 1)]
    if not nodes:
        what = "GPU and a CPU" if needs_gpu else "CPU"
        raise FacemixError(f"no machine of the cluster has a {what} to render on; start Ray there with some, or more")
    cluster = replace(cluster, nodes=nodes)
    choices = cluster.everywhere(_choice, backend, gpus=_gpus("cuda"))
    if len({*choices}) > 1:
        listed = ", ".join(f"{choice} on {node.host}" for node, choice in zip(nodes, choices, strict=True))
        raise FacemixError(f"backend auto: the machines would choose {listed}; name one with --backend")
    return cluster, choices[0]


def _choice(backend: str) -> str:
    return choose_backend(backend)[0]


def _gpus(backend: str) -> float:
    """The share of a GPU that a task has."""
    return 1 / GPU_PROCESSES if backend == "cuda" else 0


def finished(job: Job, indices: Sequence[int], cluster: Cluster, backend: str) -> Generator[int, None, None]:
    """Each face as soon as it is there and written, as `facemix.render.workers.finished` does on this machine."""
    gpus = _gpus(backend)
    slots = sum(node.slots(gpus, 1) for node in cluster.nodes)
    size = max(1, min(RANGE, len(indices) // (4 * slots)))  # so that at the end no machine waits for long
    ranges = [tuple(indices[start : start + size]) for start in range(0, len(indices), size)]
    one_thread = {"env_vars": dict.fromkeys(ONE_THREAD, "1")}
    for taken, faces in cluster.finished(_take, job, ranges, num_cpus=1, num_gpus=gpus, runtime_env=one_thread):
        for index, files in zip(taken, faces, strict=True):
            job.write(files)
            yield index


_at_hand: dict[str, Callable[[int], Files]] = {}
"""What this process on a machine has loaded: the next range needs it too."""


def _take(job: Job, indices: Sequence[int]) -> list[Files]:
    """The faces of a range, on a machine."""
    key = repr(job)
    if key not in _at_hand:
        cv2.setNumThreads(1)
        _at_hand.clear()
        _at_hand[key] = job.begin_taking()
    found = []
    for index in indices:
        try:
            found.append(_at_hand[key](index))
        except Exception:
            raise FacemixError(f"face {index}: could not be rendered\n{traceback.format_exc()}") from None
    return found
