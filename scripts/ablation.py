"""What each choice of the detector is worth: the table of docs/ablation.md.

    facemix preset sweep && dvc repro prepare
    python scripts/ablation.py --steps 600 --seeds 2             # every row; or name some: ... without_ema l1

Trains `real_only` on the packs at hand with one thing changed at a time, and judges it on validation; the test set is
not looked at. What params.yaml can say is changed there; other heads, losses and schedules stand here, as the package
holds the one that was chosen. Each training is one line of reports/ablation.csv and is not repeated.
"""

import argparse
import csv
import math
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

from facemix import config
from facemix.benchmarks.speed import step_flops
from facemix.faces.schemes import ibug68
from facemix.strategies import STRATEGIES
from facemix.training import loss, state, tasks
from facemix.training.model import STRIDE, LandmarkNet, Located

RESULTS = Path("reports/ablation.csv")
COLUMNS = ("row", "steps", "seed", "val_nme", "cost")

# --- Other heads ------------------------------------------------------------------------------------------------------


class Regression(LandmarkNet):
    """Coordinates from the mean of the last feature map by one linear layer."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.points = nn.Linear(self.backbone.feature_info.channels()[-1], 2 * len(ibug68()))
        del self.lateral, self.merge, self.heatmaps, self.offsets

    def forward(self, images: Tensor) -> Any:
        features = self.backbone((images - self.mean) / self.deviation)[-1].mean(dim=(2, 3))
        points = (self.points(features).reshape(-1, len(ibug68()), 2) + 0.5) * self.input_size
        return Located(points, torch.zeros_like(points), None)


class Integral(LandmarkNet):
    """Soft heatmaps without offsets (X. Sun et al., "Integral Human Pose Regression", ECCV 2018)."""

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        return super()._decode(heatmaps, 0 * offsets)


class PixelInPixel(LandmarkNet):
    """The cell of each point by classification, the offset in that cell by regression (PIPNet, without neighbours)."""

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        return heatmaps.flatten(2), super()._decode(heatmaps, offsets)[1]

    def forward(self, images: Tensor) -> Any:
        features = self._features(images)
        scores, centred = self._decode(self.heatmaps(features), self.offsets(features))
        cell_points = centred + self.centre
        if self.training:
            return torch.cat([scores[:, :, None], cell_points], dim=2), None, None  # for `pixel_in_pixel`
        best = scores.argmax(dim=-1)
        points = cell_points.gather(3, best[..., None, None].expand(-1, -1, 2, 1)).squeeze(-1)
        return Located(points, torch.zeros_like(points), None)


# --- Other losses -----------------------------------------------------------------------------------------------------


def l1(points: Tensor, _variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    return F.l1_loss(points, targets) * (100 / input_size)


def l2(points: Tensor, _variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    return F.mse_loss(points, targets) * (100 / input_size) ** 2


def wing(points: Tensor, _variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """Wing loss (Z.-H. Feng et al., CVPR 2018); the paper's 10 and 2 pixels of 256, in per cent of the side."""
    width, curvature = 4.0, 0.8
    error = (points - targets).abs() * (100 / input_size)
    joint = width * math.log(1 + width / curvature) - width
    return torch.where(error < width, width * torch.log1p(error / curvature), error + joint).mean()


def gaussian(points: Tensor, variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """The likelihood of a normal distribution as wide as the heatmap."""
    per_cent = 100 / input_size
    variance = variance * per_cent**2 + loss.SHARPEST**2
    return (((points - targets) * per_cent).square() / variance + variance.log()).mean() / 2


def radial(points: Tensor, variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """The likelihood of the distance to the point, one scale for both directions."""
    per_cent = 100 / input_size
    scale = (variance.mean(dim=-1) * per_cent**2 + loss.SHARPEST**2).sqrt()
    distance = (((points - targets) * per_cent).square().sum(dim=-1) + 1e-6).sqrt()
    return (distance / scale + 2 * scale.log()).mean()


def pixel_in_pixel(seen: Tensor, _variance: Tensor, targets: Tensor, input_size: int) -> Tensor:
    """Cross-entropy of the cell and absolute error of the offset in it.

    PIPNet takes the squared error of the scores, which so short a training does not bring down.
    """
    scores, cell_points = seen[:, :, 0], seen[:, :, 1:]
    side = -(-input_size // STRIDE)
    cell = (targets / STRIDE).floor().clamp(0, side - 1).long()
    true = cell[..., 1] * side + cell[..., 0]
    found = cell_points.gather(3, true[..., None, None].expand(-1, -1, 2, 1)).squeeze(-1)
    return F.cross_entropy(scores.flatten(0, 1), true.flatten()) + F.l1_loss(found, targets) / STRIDE


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
    loss: Callable[[Tensor, Tensor, Tensor, int], Tensor] = loss.landmark_loss
    schedule: Callable[[int, int, int], float] = state.schedule


AUGMENTATION = {
    "geometry": {"augmentation.rotation": 0.0, "augmentation.scale": 0.0, "augmentation.shift": 0.0},
    "mirror": {"augmentation.mirror": 0.0},
    "colour": {"augmentation.colour": 0.0, "augmentation.grey": 0.0},
    "blur_and_noise": {"augmentation.blur": 0.0, "augmentation.noise": 0.0},
    "occlusion": {"augmentation.occlusion": 0.0},
}

ROWS = {
    "default": Row(what="as chosen"),
    "regression": Row(what="head: coordinates from pooled features, loss: L1", network=Regression, loss=l1),
    "integral": Row(what="head: soft heatmaps without offsets", network=Integral),
    "pixel_in_pixel": Row(
        what="head: cell by classification, offset in it (PIPNet)", network=PixelInPixel, loss=pixel_in_pixel
    ),
    "l1": Row(what="loss: L1", loss=l1),
    "l2": Row(what="loss: L2", loss=l2),
    "wing": Row(what="loss: Wing", loss=wing),
    "gaussian": Row(what="loss: normal likelihood", loss=gaussian),
    "radial": Row(what="loss: likelihood of the distance", loss=radial),
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
    "context_1.3": Row(what="field of view 1.3 x the box", changes={"model.context": 1.3}),
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
    state.landmark_loss, state.schedule = row.loss, row.schedule
    task = tasks.gather(STRATEGIES["real_only"], seed, params)
    checkpoint = Path("checkpoints/ablation") / f"{name}-{steps}-{seed}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    outcome = tasks.train_network(task, checkpoint, lambda _row: None)
    checkpoint.unlink(missing_ok=True)
    network, size = outcome.landmarker.network.eval(), params.model.input_size
    best = min(float(one["val_nme"]) for one in outcome.history)
    forward = step_flops(network, torch.zeros(1, 3, size, size)) / 3  # the way back costs two ways there
    cost = forward / 2 / 1e6  # an addition with each multiplication
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
        said = f"{np.mean(apart):+.2f}" if apart and name != "default" else ""
        if said and len(apart) > 1:
            said += f" ({min(apart):+.2f} to {max(apart):+.2f})"
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
            if future.exception():
                continue  # raised below: what the other rows found is kept
            new = not RESULTS.exists()
            with RESULTS.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(future.result())
            print(*future.result().values(), flush=True)
    for future in futures:
        future.result()
    print(table(options.steps))


if __name__ == "__main__":
    main()
