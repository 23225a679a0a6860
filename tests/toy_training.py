"""A training of a tiny network on noise: for tests, and as a program that tests start, stop and kill.

torchrun --nproc-per-node 2 toy_training.py '{"checkpoint": "a.pt", "out": "weights.safetensors"}'
"""

import dataclasses
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import toy
from facemix import config
from facemix.faces.schemes import ibug68
from facemix.faces.shards import Shards
from facemix.training import loop, processes
from facemix.training.batches import MixedBatches, TrainingSet
from facemix.training.checkpoint import File
from facemix.training.loop import Result
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group
from facemix.training.state import State

PARAMS = config.load(Path(__file__).resolve().parents[1] / "params.yaml")
SETTINGS = dataclasses.replace(
    PARAMS.training, steps=7, batch_size=4, warmup_steps=2, evaluate_every=3, ema_decay=0.8, device="cpu"
)
RNG = np.random.default_rng(0)
FACES = TrainingSet(
    images=RNG.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8),
    landmarks=(toy.template() * 14 + 32 + RNG.normal(0, 0.5, (10, 68, 2))).astype(np.float32),
    ids=np.array([f"face-{i}" for i in range(10)]),
    rows=np.arange(10),
)


def run(
    checkpoint: File,
    *,
    settings: config.Training = SETTINGS,
    seed: int = 0,
    identity: dict[str, Any] | None = None,
    before_step: Callable[[int], object] = lambda _: None,
    validate: Callable[[LandmarkNet], float] | None = None,
    rows: list[loop.Row] | None = None,
    faces: TrainingSet = FACES,
    width: int = 16,
    group: Group | None = None,
    dtype: torch.dtype = torch.float32,
) -> Result:
    torch.manual_seed(seed)
    model = LandmarkNet(ibug68(), "mobilenetv3_small_050", 48, width).to(dtype)
    batches = MixedBatches(faces, faces, alpha=0.5, batch_size=settings.batch_size, seed=seed)
    advance = State.advance

    def disturbed_advance(state: State, *arguments: Any) -> None:
        before_step(state.step)
        advance(state, *arguments)

    recipe = loop.Recipe(
        mirror_order=ibug68().mirror,
        batches=batches,
        context=1.2,
        input_size=48,
        settings=settings,
        augmentation=PARAMS.augmentation,
        learning_rate=settings.learning_rate,
        seed=seed,
    )
    with mock.patch.object(State, "advance", disturbed_advance):
        return loop.train(
            model,
            recipe,
            validate=validate or (lambda net: float(next(net.parameters()).detach().abs().mean())),
            checkpoint=checkpoint,
            identity=identity or {"alpha": 0.5},
            report=(rows if rows is not None else []).append,
            group=group or Group(torch.device("cpu")),
        )


def train(
    checkpoint: str,
    out: str,
    settings: dict[str, Any],
    strike: list[int] | None = None,
    kill_after: float | None = None,
    images: str | None = None,
    dtype: str = "float32",
) -> None:
    """Trains as one of the processes that the environment tells of.

    Leaves in `out` the weights, the history, the peak of memory, the steps that it did, and its seconds until the first
    of them and until the end.

    Args:
        strike: a rank, a step, and the signal that this rank sends itself before this step; not again when torchrun has
            started the processes anew.
        kill_after: seconds until the kernel ends this process, whatever it is at.
        images: a .npy file of crops (N, 64, 64, 3) to train on, instead of the ten faces here.
        dtype: of the weights.
    """
    if kill_after is not None:
        signal.setitimer(signal.ITIMER_REAL, kill_after)  # nobody handles SIGALRM: it ends the process like SIGKILL
    start = time.monotonic()
    memory, steps, begun = [], [], []
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

    def before_step(step: int) -> None:
        memory.append(anonymous_memory())
        steps.append(step)
        begun.append(time.monotonic() - start)
        if strike and not restarted and strike[:2] == [processes.rank(), step]:
            os.kill(os.getpid(), strike[2])

    torch.set_num_threads(1)
    with processes.joined("cpu") as group:
        changed = dataclasses.replace(SETTINGS, **settings)
        faces = FACES if images is None else mapped(Path(images))
        result = run(
            Path(checkpoint),
            settings=changed,
            before_step=before_step,
            faces=faces,
            group=group,
            dtype=getattr(torch, dtype),
        )
    if group.rank == 0:
        left = {"weights": result.weights, "history": result.history, "memory": max(memory, default=0), "steps": steps}
        torch.save(left | {"seconds": [begun[0], time.monotonic() - start] if begun else []}, out)


def mapped(images: Path) -> TrainingSet:
    n = len(np.load(images, mmap_mode="r"))
    crops = Shards([images], [n], 64)
    rows = np.arange(len(crops))
    landmarks = np.repeat(FACES.landmarks[:1], len(crops), axis=0)
    return TrainingSet(images=crops, landmarks=landmarks, ids=rows.astype(np.str_), rows=rows)


def anonymous_memory() -> int:
    """Of this process in kB: what the page cache holds of mapped files does not count."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")))


def serve() -> None:
    """Forks and waits for the trainings that come as lines of JSON: torch is imported once for all of them."""
    LandmarkNet(ibug68(), "mobilenetv3_small_050", 48, 16)  # what the first one reads and checks, all of them know
    for line in sys.stdin:
        request = json.loads(line)
        size, log = (request.pop(key) for key in ("size", "log"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for rank in range(size):
            if (child := os.fork()) == 0:
                place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ.update({key: str(value) for key, value in place.items()})
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
                code = 0
                try:
                    train(**request)
                except SystemExit as exit_:
                    code = int(str(exit_.code))
                except BaseException:
                    traceback.print_exc()
                    code = 1
                os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(**json.loads(sys.argv[1]))
    else:
        serve()
