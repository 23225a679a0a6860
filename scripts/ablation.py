"""What each choice of the detector is worth: the table of docs/ablation.md.

    facemix preset sweep && dvc repro prepare
    python scripts/ablation.py --steps 600 --seeds 2             # every row; or name some: ... without_ema l1

Trains `real_only` on the packs at hand with one thing changed at a time, and judges it on validation; the test set is
not looked at. What params.yaml can say is changed there; other heads, losses and schedules stand here, as the package
holds the one that was chosen. Each training is one line of reports/ablation.csv and is not repeated.
"""

import argparse
import csv
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemix import config, tasks
from facemix.bench import step_flops
from facemix.faces.landmarks import N_POINTS
from facemix.learning import training
from facemix.learning.model import STRIDE, LandmarkNet
from facemix.strategies import STRATEGIES

RESULTS = Path("reports/ablation.csv")
COLUMNS = ("row", "steps", "seed", "val_nme", "cost")

# --- Other heads ------------------------------------------------------------------------------------------------------


class Regression(LandmarkNet):
    """Coordinates from the mean of the last feature map by one linear layer."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        channels = self.backbone.feature_info.channels()[-1]
        self.points = nn.Linear(channels, 2 * N_POINTS)
        del self.lateral, self.merge, self.heatmaps, self.offsets

    def _seen(self, images: Tensor) -> Tensor:
        features = self.backbone((images - self.mean) / self.deviation)[-1].mean(dim=(2, 3))
        return (self.points(features).reshape(-1, N_POINTS, 2) + 0.5) * self.input_size


class Integral(LandmarkNet):
    """Soft heatmaps without offsets (X. Sun et al., "Integral Human Pose Regression", ECCV 2018)."""

    def _decode(self, heatmaps: Tensor, _offsets: Tensor) -> Tensor:
        return heatmaps.flatten(2).softmax(dim=-1) @ self.cells


class PixelInPixel(LandmarkNet):
    """The cell of each point by classification, the offset in that cell by regression (PIPNet, without neighbours)."""

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> Tensor:
        scores = heatmaps.flatten(2)
        local = offsets.reshape(len(scores), N_POINTS, 2, -1)
        if self.training:
            return torch.cat([scores[:, :, None], local], dim=2)  # for `pixel_in_pixel_loss`
        best = scores.argmax(dim=-1)
        found = local.gather(3, best[..., None, None].expand(-1, -1, 2, 1)).squeeze(-1)
        return self.cells[best] + STRIDE * found


class Spread(LandmarkNet):
    """The chosen head, which in training also says how far its heatmap reaches: the covariance of cell + offset."""

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> Tensor:
        points = super()._decode(heatmaps, offsets)
        if not self.training:
            return points
        weights = heatmaps.flatten(2).softmax(dim=-1)
        apart = self.cells.T + STRIDE * offsets.reshape(len(points), N_POINTS, 2, -1) - points[..., None]
        covariance = (weights[:, :, None] * apart) @ apart.transpose(2, 3)
        return torch.cat([points, covariance.flatten(2)], dim=-1)


# --- Other losses -----------------------------------------------------------------------------------------------------


def l1(predicted: Tensor, targets: Tensor, input_size: int) -> Tensor:
    return F.l1_loss(predicted, targets) * (100 / input_size)


def l2(predicted: Tensor, targets: Tensor, input_size: int) -> Tensor:
    return F.mse_loss(predicted, targets) * (100 / input_size) ** 2


def pixel_in_pixel_loss(predicted: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """Cross-entropy of the cell and absolute error of the offset in it.

    PIPNet takes the squared error of the scores, which so short a training does not bring down.
    """
    scores, local = predicted[:, :, 0], predicted[:, :, 1:]
    side = -(-input_size // STRIDE)
    cell = (targets / STRIDE).floor().clamp(0, side - 1).long()
    true = cell[..., 1] * side + cell[..., 0]
    at = true[..., None, None].expand(-1, -1, 2, 1)
    offset = (targets - cell * STRIDE - (STRIDE - 1) / 2) / STRIDE
    return F.cross_entropy(scores.flatten(0, 1), true.flatten()) + F.l1_loss(local.gather(3, at).squeeze(-1), offset)


def laplace(predicted: Tensor, targets: Tensor, _input_size: int) -> Tensor:
    """Negative log-likelihood of the error if the heatmap's spread is its scale: coordinates with uncertainty."""
    points, covariance = predicted[..., :2], predicted[..., 2:]
    scale = (covariance[..., [0, 3]] + 0.25).sqrt()  # half a pixel at the least
    return ((points - targets).abs() / scale + scale.log()).mean()


def star(predicted: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """STAR (Z. Zhou et al., CVPR 2023): errors along the heatmap's own axes count less where it is wide."""
    points, covariance = predicted[..., :2], predicted[..., 2:].reshape(*predicted.shape[:-1], 2, 2)
    unit = 2 / input_size  # the paper's coordinates go from -1 to 1
    covariance = covariance * unit**2
    a, b, d = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    root = (((a - d) / 2) ** 2 + b**2 + 1e-12).sqrt()
    values = torch.stack([(a + d) / 2 + root, (a + d) / 2 - root], dim=-1).clamp(min=1e-5)
    angle = 0.5 * torch.atan2(2 * b, a - d).detach()
    axes = torch.stack([torch.stack([angle.cos(), angle.sin()], -1), torch.stack([-angle.sin(), angle.cos()], -1)], -2)
    along = (axes @ (points - targets)[..., None]).squeeze(-1) * unit
    error = F.smooth_l1_loss(along, torch.zeros_like(along), beta=0.01, reduction="none")
    return (error / values.sqrt().detach()).mean() + values.mean()


# --- Other schedules --------------------------------------------------------------------------------------------------


def constant(step: int, _steps: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps)


def stepped(step: int, steps: int, warmup_steps: int) -> float:
    """A tenth after 60 % and a hundredth after 85 % of the steps."""
    return constant(step, steps, warmup_steps) * 0.1 ** ((step >= 0.6 * steps) + (step >= 0.85 * steps))


# --- The table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One change."""

    what: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of params.yaml."""
    network: type[LandmarkNet] = LandmarkNet
    loss: Callable[[Tensor, Tensor, int], Tensor] = training.landmark_loss
    schedule: Callable[[int, int, int], float] = training.schedule


AUGMENTATION = {
    "geometry": {"augmentation.rotation": 0.0, "augmentation.scale": 0.0, "augmentation.shift": 0.0},
    "mirror": {"augmentation.mirror": 0.0},
    "colour": {"augmentation.colour": 0.0, "augmentation.grey": 0.0},
    "blur_and_noise": {"augmentation.blur": 0.0, "augmentation.noise": 0.0},
    "occlusion": {"augmentation.occlusion": 0.0},
}

ROWS = {
    "default": Row(what="as chosen"),
    "regression": Row(what="head: coordinates from pooled features", network=Regression),
    "integral": Row(what="head: soft heatmaps without offsets", network=Integral),
    "pixel_in_pixel": Row(
        what="head: cell by classification, offset in it (PIPNet)", network=PixelInPixel, loss=pixel_in_pixel_loss
    ),
    "l1": Row(what="loss: L1", loss=l1),
    "l2": Row(what="loss: L2", loss=l2),
    "laplace": Row(what="loss: Laplace likelihood, scale by the heatmap's spread", network=Spread, loss=laplace),
    "star": Row(what="loss: STAR", network=Spread, loss=star),
    "without_ema": Row(what="no moving average of weights", changes={"training.ema_decay": 0.0}),
    "constant": Row(what="schedule: constant", schedule=constant),
    "stepped": Row(what="schedule: steps", schedule=stepped),
    "half_rate": Row(what="half the learning rate", changes={"training.learning_rate": 1e-2}),
    "double_rate": Row(what="twice the learning rate", changes={"training.learning_rate": 4e-2}),
    **{
        f"without_{name}": Row(what=f"augmentation: no {name.replace('_', ' ')}", changes=changes)
        for name, changes in AUGMENTATION.items()
    },
    "without_augmentation": Row(
        what="augmentation: none", changes={key: value for c in AUGMENTATION.values() for key, value in c.items()}
    ),
    "input_64": Row(what="input: 64 px", changes={"model.input_size": 64}),
    "input_80": Row(what="input: 80 px", changes={"model.input_size": 80}),
    "context_1.1": Row(what="field of view 1.1 x the box", changes={"model.context": 1.1}),
    "context_1.6": Row(what="field of view 1.6 x the box", changes={"model.context": 1.6}),
    "width_32": Row(what="decoder of 32 channels", changes={"model.width": 32}),
    "width_128": Row(what="decoder of 128 channels", changes={"model.width": 128}),
    "twice_as_wide": Row(what="backbone: twice as wide", changes={"model.backbone": "mobilenetv3_small_100.lamb_in1k"}),
    "mirror_at_test": Row(what="mean with the mirror image at test time", changes={"model.mirror": True}),
}


def train(name: str, steps: int, seed: int) -> dict[str, Any]:
    """One row at one seed: the least validation NME in %, and millions of multiplications a face."""
    torch.set_num_threads(1)
    row = ROWS[name]
    changes = {"training.steps": steps, "seeds": [seed], **row.changes}
    params = config.parse(config.changed(config.plain(config.load()), changes))
    # The package has no switch for what it did not choose.
    tasks.LandmarkNet = row.network
    training.landmark_loss, training.schedule = row.loss, row.schedule
    task = tasks.gather(STRATEGIES["real_only"], seed, params)
    checkpoint = Path("checkpoints/ablation") / f"{name}-{steps}-{seed}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    outcome = tasks.train_network(task, checkpoint, lambda _row: None)
    checkpoint.unlink(missing_ok=True)
    network, size = outcome.landmarker.network.eval(), params.model.input_size
    best = min(float(one["val_nme"]) for one in outcome.history)
    cost = step_flops(network, torch.zeros(1, 3, size, size)) / 3 / 2 / 1e6
    return {"row": name, "steps": steps, "seed": seed, "val_nme": f"{best:.4f}", "cost": f"{cost:.1f}"}


def read() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(steps: int) -> str:
    """The results as Markdown, best first; differences are to the default at the same seeds."""
    found: dict[str, dict[int, float]] = {}
    cost: dict[str, str] = {}
    for line in read():
        if int(line["steps"]) == steps:
            found.setdefault(line["row"], {})[int(line["seed"])] = float(line["val_nme"])
            cost[line["row"]] = line["cost"]
    default = found.get("default", {})
    lines = ["| row | what is changed | val NME | to the default | million multiplications |", "|---|---|---|---|---|"]
    for name in sorted(found, key=lambda name: float(np.mean(list(found[name].values())))):
        apart = [nme - default[seed] for seed, nme in found[name].items() if seed in default]
        said = f"{np.mean(apart):+.2f} ({min(apart):+.2f} to {max(apart):+.2f})" if apart and name != "default" else ""
        mean = np.mean(list(found[name].values()))
        lines.append(f"| `{name}` | {ROWS[name].what} | {mean:.2f} | {said} | {cost[name]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    there = {(line["row"], int(line["steps"]), int(line["seed"])) for line in read()}
    wanted = [(name, options.steps, seed) for seed in range(options.seeds) for name in options.rows or ROWS]
    RESULTS.parent.mkdir(exist_ok=True)
    spawn = multiprocessing.get_context("spawn")  # each training patches its own copy of the package
    with ProcessPoolExecutor(options.processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        futures = [pool.submit(train, *one) for one in wanted if one not in there]
        for future in as_completed(futures):
            new = not RESULTS.exists()
            with RESULTS.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(future.result())
            print(*future.result().values(), flush=True)
    print(table(options.steps))


if __name__ == "__main__":
    main()
