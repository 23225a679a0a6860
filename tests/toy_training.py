"""A training of a tiny network on noise: for tests, and as a program that tests start, stop and kill.

torchrun --nproc-per-node 2 toy_training.py '{"checkpoint": "a.pt", "out": "weights.safetensors"}'
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import toy
from facemix import config
from facemix.learning import processes, training
from facemix.learning.batches import MixedBatches, TrainingSet
from facemix.learning.model import LandmarkNet
from facemix.learning.processes import Group
from facemix.learning.training import Result

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
    checkpoint: Path,
    *,
    settings: config.Training = SETTINGS,
    seed: int = 0,
    identity: dict[str, Any] | None = None,
    before_step: Callable[[int], object] = lambda _: None,
    validate: Callable[[LandmarkNet], float] | None = None,
    rows: list[training.Row] | None = None,
    faces: TrainingSet = FACES,
    width: int = 16,
    group: Group | None = None,
) -> Result:
    torch.manual_seed(seed)
    model = LandmarkNet("mobilenetv3_small_050", 48, width)
    batches = MixedBatches(faces, faces, alpha=0.5, batch_size=settings.batch_size, seed=seed)
    load = batches.load

    def disturbed_load(step: int, *part: int) -> Any:
        before_step(step)
        return load(step, *part)

    batches.load = disturbed_load  # type: ignore[method-assign]
    recipe = training.Recipe(
        batches=batches,
        field=42.0,
        input_size=48,
        settings=settings,
        augmentation=PARAMS.augmentation,
        learning_rate=settings.learning_rate,
        seed=seed,
    )
    return training.train(
        model,
        recipe,
        validate=validate or (lambda net: float(next(net.parameters()).detach().abs().mean())),
        checkpoint=checkpoint,
        identity=identity or {"alpha": 0.5},
        report=(rows if rows is not None else []).append,
        group=group or Group(torch.device("cpu")),
    )


def main(checkpoint: str, out: str, settings: dict[str, Any], strike: tuple[int, int, int] | None) -> None:
    """Trains under torchrun. `strike` is a rank, a step and the signal that this rank sends itself before it."""

    def before_step(step: int) -> None:
        if strike and strike[:2] == (processes.rank(), step):
            os.kill(os.getpid(), strike[2])

    torch.set_num_threads(1)
    with processes.joined("cpu") as group:
        changed = dataclasses.replace(SETTINGS, **settings)
        result = run(Path(checkpoint), settings=changed, before_step=before_step, group=group)
    if group.rank == 0:
        save_file(result.weights, out)
        print(json.dumps(result.history))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(given["checkpoint"], given["out"], given.get("settings", {}), tuple(given.get("strike", ())) or None)
