"""Which strategy wins, from the files that the trainings left; never from the tracking server."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix import metrics
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.strategies import STRATEGIES

BASELINE = "real_only"
CED_THRESHOLDS = np.linspace(0, 20, 101)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One strategy at one seed: what its folder says."""

    strategy: str
    seed: int
    metrics: dict[str, Any]
    errors: dict[str, float]
    """Face -> NME in %, test faces (Common) only."""
    box_jitter: dict[float, float]
    """Level of box jitter -> NME of the test faces in %; 0: in tight boxes."""
    history: list[dict[str, float]]


def read(models: Path, seeds: Sequence[int]) -> list[Trained]:
    """Every trained strategy, in the order of the table.

    Raises:
        ValueError: nothing is there, a file is damaged, a strategy lacks a seed, NMEs of different face sizes, or
            strategies that were judged on different faces.
    """
    found = [
        _read_one(models / name / f"seed-{seed}", name, seed)
        for name in STRATEGIES
        for seed in seeds
        if (models / name).is_dir()
    ]
    if not found:
        raise ValueError(f"{models}: no trained strategy, expected {models}/STRATEGY/seed-K; run `dvc repro`")
    first = found[0]
    for other in found[1:]:
        if other.metrics["normalizer"] != first.metrics["normalizer"]:
            raise ValueError(
                f"{models}: {first.strategy} is measured by {first.metrics['normalizer']}, {other.strategy} by "
                f"{other.metrics['normalizer']}; expected one face size for all: run `dvc repro`"
            )
        if other.errors.keys() != first.errors.keys():
            raise ValueError(
                f"{models}: {first.strategy} seed {first.seed} and {other.strategy} seed {other.seed} were tested on "
                f"different faces ({len(first.errors)} and {len(other.errors)}); run `dvc repro`"
            )
    return found


def faces_shown(trained: Sequence[Trained]) -> str:
    """What the test faces are to be called where results show them; empty for real ones."""
    return STAND_IN_SHOWN if STAND_IN in trained[0].metrics["test"]["subsets"] else ""


def _read_one(folder: Path, strategy: str, seed: int) -> Trained:
    try:
        content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        test = content["test"]
        subsets = set(test["subsets"])
        box_jitter = {0.0: test["nme"]} | {float(level): nme for level, nme in test["box_jitter"].items()}
        with (folder / "errors.csv").open(encoding="utf-8", newline="") as file:
            errors = {row["face"]: float(row["nme"]) for row in csv.DictReader(file) if row["subset"] in subsets}
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise ValueError(f"{folder}: {missing} is missing; expected one for every seed: run `dvc repro`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: damaged results ({error!r}); delete the folder and run `dvc repro`") from error
    if not errors or not np.all(np.isfinite(list(errors.values()))):
        raise ValueError(f"{folder / 'errors.csv'}: expected a finite NME for every test face")
    return Trained(strategy=strategy, seed=seed, metrics=content, errors=errors, box_jitter=box_jitter, history=history)


def rank(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """One row a strategy, the best mean test NME first; NME in % of the face size, means over seeds.

    `difference` is the mean paired difference of NME to `real_only` over the test faces (negative is better).
    """
    rows = []
    baseline = _mean_errors(trained, BASELINE)
    for name in dict.fromkeys(one.strategy for one in trained):
        runs = [one for one in trained if one.strategy == name]
        test = [one.metrics["test"] for one in runs]
        row: dict[str, Any] = {
            "strategy": name,
            "seeds": len(runs),
            "val_nme": _mean(one.metrics["val"]["nme"] for one in runs),
            "test_nme": _mean(one["nme"] for one in test),
            "test_nme_sd": float(np.std([one["nme"] for one in test], ddof=1)) if len(test) > 1 else None,
            "fr8": _mean(one["fr8"] for one in test),
            "fr10": _mean(one["fr10"] for one in test),
            "auc8": _mean(one["auc8"] for one in test),
            "difference": float((_mean_errors(trained, name) - baseline).mean()) if len(baseline) else None,
        }
        row |= {
            f"{split}_nme": _mean(one.metrics[split]["nme"] for one in runs)
            for split in ("challenging", "full")
            if split in runs[0].metrics
        }
        row |= {region: _mean(one["regions"][region] for one in test) for region in test[0]["regions"]}
        rows.append(row)
    rows.sort(key=lambda row: row["test_nme"])
    return [{"rank": place, **row} for place, row in enumerate(rows, start=1)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _mean_errors(trained: Sequence[Trained], strategy: str) -> npt.NDArray[np.float64]:
    """NME of each test face (n,), mean over the seeds of a strategy; empty where it was not trained."""
    faces = sorted(trained[0].errors)
    runs = [[one.errors[face] for face in faces] for one in trained if one.strategy == strategy]
    return np.mean(runs, axis=0) if runs else np.zeros(0)


def ced_table(trained: Sequence[Trained]) -> list[dict[str, float]]:
    """Share of test faces with an NME up to each threshold, a column a strategy: for `dvc plots`."""
    names = dict.fromkeys(one.strategy for one in trained)
    curves = {
        name: np.mean(
            [
                metrics.ced(np.array(list(one.errors.values())), CED_THRESHOLDS)
                for one in trained
                if one.strategy == name
            ],
            axis=0,
        )
        for name in names
    }
    return [
        {"nme": round(float(threshold), 3), **{name: float(curve[i]) for name, curve in curves.items()}}
        for i, threshold in enumerate(CED_THRESHOLDS)
    ]


def box_jitter_table(trained: Sequence[Trained]) -> list[dict[str, float]]:
    """Test NME at each level of box jitter, mean over seeds, a column a strategy: for `dvc plots`."""
    runs: dict[str, list[Trained]] = {}
    for one in trained:
        runs.setdefault(one.strategy, []).append(one)
    return [
        {"jitter": level, **{name: _mean(one.box_jitter[level] for one in own) for name, own in runs.items()}}
        for level in trained[0].box_jitter
    ]


def validation_table(trained: Sequence[Trained]) -> list[dict[str, float | str]]:
    """Validation NME at each evaluation of each training, mean over seeds, a column a strategy: for `dvc plots`."""
    curves: dict[int, dict[str, list[float]]] = {}
    for one in trained:
        for row in one.history:
            if "step" in row:
                curves.setdefault(int(row["step"]), {}).setdefault(one.strategy, []).append(row["val_nme"])
    names = [name for name in STRATEGIES if any(name in at for at in curves.values())]
    return [
        {"step": step, **{name: _mean(curves[step][name]) if name in curves[step] else "" for name in names}}
        for step in sorted(curves)
    ]
