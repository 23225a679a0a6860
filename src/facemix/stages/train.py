"""`facemix train STRATEGY --seed K`: one strategy, one seed, from packs to `models/STRATEGY/seed-K`."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facemix import tracking
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.evaluation import measure
from facemix.evaluation.metrics import by_region
from facemix.faces import packs
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.files import alone, whole_folder, write_table
from facemix.strategies import MODELS, Strategy
from facemix.training import loop, processes, tasks
from facemix.training.checkpoint import read_checkpoint, write_checkpoint
from facemix.training.tasks import Outcome, Rows, Task


def train(strategy: Strategy, seed: int, params: Params, resume: Path | None = None) -> None:
    """Trains a strategy, evaluates it and writes its folder; the folder appears only when it is complete.

    A training that was stopped goes on from the checkpoint that it left at the main workspace's root. Under `torchrun`
    several processes share each batch, and the first one alone evaluates, tracks and writes.

    Args:
        resume: another checkpoint of this very training to go on from.

    Raises:
        FacemixError: a setting or an input that cannot be used, or `resume` is a checkpoint of another configuration.
        OSError: an output cannot be written.
    """
    task = tasks.gather(strategy, seed, params)
    if processes.rank() > 0:
        if strategy.trains:
            tasks.train_network(task, checkpoint_path(task), lambda _row: None)
        return
    identity = task.identity()
    folder = MODELS / strategy.name / f"seed-{seed}"
    tracking.deliver()
    with (
        alone(checkpoint_path(task)) as checkpoint,
        tracking.start(
            name=f"{strategy.name} seed {seed}",
            experiment=params.tracking.experiment,
            identity=checkpoint.stem,
            tags={"strategy": strategy.name} | ({"test_faces": STAND_IN_SHOWN} if _is_stand_in(task) else {}),
            params=identity,
            datasets=_datasets(task),
        ) as run,
    ):
        if resume:
            adopt(resume, checkpoint, identity)
        outcome = tasks.train_network(task, checkpoint, lambda row: _report(row, run)) if strategy.trains else None
        if strategy.adapts_predictions:
            outcome = tasks.fit_adapter(task, outcome)
        assert outcome is not None
        metrics = write_outputs(folder, task, outcome)
        run.metrics(_numbers(metrics))
        for file in sorted(folder.iterdir()):
            if not file.name.startswith("model."):
                run.artifact(file)
        run.model(folder)
    checkpoint.unlink(missing_ok=True)
    val, test = metrics["val"]["nme"], metrics["test"]["nme"]
    faces = f"; faces: {STAND_IN_SHOWN}" if _is_stand_in(task) else ""
    print(f"{folder}: NME {val:.2f} on validation, {test:.2f} on test (% of {params.evaluation.normalizer}{faces})")


def write_outputs(folder: Path, task: Task, outcome: Outcome) -> dict[str, Any]:
    """Evaluates and writes a strategy's folder beside, then renames it; returns what metrics.json holds."""
    rows = task.split("validation", "test", "challenging")
    predicted = measure.predict_pack(outcome.landmarker, task.real, rows)
    normalizer = task.params.evaluation.normalizer
    errors = measure.measure(predicted, task.real, rows, normalizer)
    jittered = measure.measure_jittered(outcome.landmarker, task.real, rows, normalizer)
    sets = {"val": ["validation"], "test": ["test"]}
    if np.any(task.real.splits == "challenging"):
        sets |= {"challenging": ["challenging"], "full": ["test", "challenging"]}
    metrics: dict[str, Any] = {
        "normalizer": normalizer,
        "validation_faces": which_faces(task.real, task.split("validation")),
    }
    metrics |= {
        name: measure.summarize(errors.of(*names), {level: others.of(*names) for level, others in jittered.items()})
        for name, names in sets.items()
    }
    metrics |= outcome.metrics

    with whole_folder(folder) as beside:
        outcome.landmarker.save(beside)
        (beside / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        write_table(beside / "errors.csv", error_rows(errors.of("test", "challenging")))
        write_table(beside / "history.csv", outcome.history)
        if outcome.label_gap:
            write_table(beside / "label_gap.csv", outcome.label_gap)
        if outcome.picture is not None:
            cv2.imwrite(str(beside / "batch.png"), outcome.picture[..., ::-1])
    return metrics


def which_faces(pack: Pack, rows: Rows) -> str:
    """A digest of names and landmark boxes: on faces of equal digest NMEs compare, however the faces were cropped."""
    digest = hashlib.sha256("\0".join(pack.ids[rows].tolist()).encode())
    digest.update(pack.boxes[rows].tobytes())
    return digest.hexdigest()[:12]


def error_rows(errors: measure.Errors) -> list[dict[str, str]]:
    """One row a face: its subset, NME, photograph, and NME by region, all in % of the face size."""
    columns = {"face": errors.ids, "subset": errors.subsets, "nme": _decimals(errors.nme), "photo": errors.photos}
    columns |= {name: _decimals(values) for name, values in by_region(errors.points).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _decimals(values: npt.NDArray[np.float64]) -> list[str]:
    return [f"{value:.6f}" for value in values]


def _datasets(task: Task) -> list[tracking.Dataset]:
    def dataset(name: str, pack: Pack, folder: str, rows: Rows, context: str) -> tracking.Dataset:
        return tracking.Dataset(
            name=name, digest=pack.digest, source=f"{packs.FOLDER}/{folder}", n_faces=len(rows), context=context
        )

    real = STAND_IN if _is_stand_in(task) else "real"
    found = []  # what is trained on first: MLflow's list of runs shows one
    if task.real_rows is not None:
        found.append(dataset(f"{real}-train", task.real, "real", task.real_rows, "training"))
    if task.synthetic is not None and task.synthetic_rows is not None:
        found.append(dataset("synthetic-train", task.synthetic, "synthetic", task.synthetic_rows, "training"))
    return found + [
        dataset(f"{real}-{split}", task.real, "real", task.split(split), context)
        for split, context in (("validation", "validation"), ("test", "test"), ("challenging", "test"))
        if len(task.split(split))
    ]


def _is_stand_in(task: Task) -> bool:
    """Whether rendered faces stand in for the real ones, so that nothing calls them real."""
    return STAND_IN in task.real.subsets


def _report(row: loop.Row, run: tracking.Run) -> None:
    step = int(row["step"])
    run.metrics({key: value for key, value in row.items() if key != "step"}, step=step)
    if not sys.stderr.isatty():  # a log file shows no progress bar: one line an evaluation instead
        print(f"step {step}: training loss {row['train_loss']:.3f}, validation NME {row['val_nme']:.2f}", flush=True)


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """What metrics.json holds of numbers, with dotted keys: `test.regions.jaw`. MLflow draws a section for each `/`."""
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        key = prefix + name.replace("/", "-")
        if isinstance(value, Mapping):
            numbers |= _numbers(value, f"{key}.")
        elif not isinstance(value, str):
            numbers[key] = float(value)
    return numbers


# Checkpoints lie at the main workspace's root: what a temporary experiment's own folder holds is deleted with it.


def checkpoint_path(task: Task) -> Path:
    """Where this very training keeps its checkpoint, by the digest of its identity."""
    digest = hashlib.sha256(json.dumps(task.identity(), sort_keys=True).encode()).hexdigest()[:12]
    return tracking.workspace() / "checkpoints" / f"{task.strategy.name}-seed-{task.seed}-{digest}.pt"


def adopt(resume: Path, checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Makes a given checkpoint the one to go on from, after checking that it is of this very training."""
    if not resume.exists():
        raise FacemixError(f"--resume {resume}: no such file, expected a checkpoint of an earlier run of this training")
    content = read_checkpoint(resume, resume.read_bytes(), identity, torch.device("cpu"))
    if resume.resolve() != checkpoint:
        write_checkpoint(checkpoint, identity, content)
