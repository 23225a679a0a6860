"""Ideas that could make real and synthetic faces together win: `mixing` or `fine_tuning` with one thing changed.

    python scripts/try_ideas.py late_fall --seed 0 --out ideas
    python scripts/compare_trainings.py models/mixing ideas/late_fall

as_rendered      mixing with the labels as rendered, no label adapter; twice the steps, as no other network is behind it
own_statistics   mixing with batch statistics of its own for each of the two kinds of faces; real ones are kept
late_fall        mixing whose share of synthetic faces stays at alpha for two thirds of the steps and then falls to 0
keeps_a_tenth    fine_tuning in which a tenth of each batch is synthetic, with adapted labels

All but the first need the trained `synthetic_only` and `label_adaptation` of the seed in models/. All of them see
as many faces as `mixing` and `control` do. docs/ideas.md says what came out.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from facemix import config
from facemix.files import whole_folder
from facemix.strategies import STRATEGIES, Strategy
from facemix.training import tasks
from facemix.training.batches import MixedBatches
from facemix.training.model import LandmarkNet

FALLS_FROM = 2 / 3
"""Share of the steps after which `late_fall` shows fewer and fewer synthetic faces."""


class Apart(nn.Module):
    """Two copies of a module in training: one for the first half of a batch, the real faces, one for the other half."""

    def __init__(self, own: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.own, self.other = own, other

    def forward(self, values: Tensor) -> Tensor:
        """Values (n, C, H, W) of a batch, real faces first; when not training, all count as real."""
        if not self.training:
            return self.own(values)  # type: ignore[no-any-return]
        half = len(values) // 2
        return torch.cat([self.own(values[:half]), self.other(values[half:])])


def own_statistics(network: LandmarkNet) -> LandmarkNet:
    """The network whose batch normalisation has two sets of statistics; what is learned of it is shared."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                other = copy.deepcopy(child)
                other.weight, other.bias = child.weight, child.bias
                setattr(parent, name, Apart(child, other))
    return network


def for_real_faces(network: nn.Module) -> nn.Module:
    """The same network without what was for synthetic faces only."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Apart):
                setattr(parent, name, child.own)
    return network


def late_fall(steps: int) -> type[MixedBatches]:
    """Batches of a training of so many steps whose share of synthetic faces falls to 0 in the last third."""

    class LateFall(MixedBatches):
        def _synthetic_before(self, step: int) -> int:
            late = max(0.0, step / steps - FALLS_FROM)
            shown = step / steps - late**2 / (2 * (1 - FALLS_FROM))  # the integral of the share, of alpha
            return int(np.floor(self.batch_size * steps * self.alpha * shown + self._start))

    return LateFall


@dataclasses.dataclass(frozen=True)
class Idea:
    """A strategy with one part of its training changed."""

    strategy: Strategy
    network: Callable[[LandmarkNet], LandmarkNet] = lambda network: network
    batches: Callable[[int], type[MixedBatches]] = lambda _steps: MixedBatches


MIXING, FINE_TUNING = STRATEGIES["mixing"], STRATEGIES["fine_tuning"]
RAW = dataclasses.replace(MIXING, adapts_labels=False, budgets=2)
IDEAS = {
    "as_rendered": Idea(RAW),
    "own_statistics": Idea(MIXING, network=own_statistics),
    "late_fall": Idea(MIXING, batches=late_fall),
    "keeps_a_tenth": Idea(dataclasses.replace(FINE_TUNING, synthetic_share=0.1, adapts_labels=True)),
}


def train(name: str, seed: int, out: Path) -> None:
    """Trains one idea and writes `out/NAME/seed-K`; a training that was stopped goes on."""
    params, idea = config.load(Path("params.yaml")), IDEAS[name]
    task = tasks.gather(idea.strategy, seed, params)
    if idea.strategy.synthetic_share == "alpha" and (task.alpha != 0.5 or params.training.batch_size % 2):
        sys.exit(
            f"params.yaml: found alpha {task.alpha} and training.batch_size {params.training.batch_size}, expected 0.5 "
            "and an even number, so that each batch has as many faces of both kinds"
        )
    folder, new_network = out / name / f"seed-{seed}", tasks.new_network
    checkpoint = folder.with_suffix(".checkpoint")
    with (
        mock.patch.object(tasks, "new_network", lambda task: idea.network(new_network(task))),
        mock.patch.object(tasks, "MixedBatches", idea.batches(idea.strategy.training(params).steps)),
    ):
        outcome = tasks.train_network(task, checkpoint, lambda row: print(row, flush=True))
    for_real_faces(outcome.landmarker.network)
    with whole_folder(folder) as beside:
        tasks.write(beside, task, outcome)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("idea", choices=tuple(IDEAS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("ideas"))
    options = parser.parse_args()
    train(options.idea, options.seed, options.out)
