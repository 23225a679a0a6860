"""`facemix train STRATEGY --seed K`: one strategy, one seed, from packs to `models/STRATEGY/seed-K`."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facemix import clock, tracking
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import packs
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.files import File, file_lock, whole_folder
from facemix.strategies import ADAPTER_FROM, MODELS, Strategy
from facemix.training import loop, processes, tasks
from facemix.training.checkpoint import adopt_checkpoint, check_shared, checkpoint_path, checkpoints
from facemix.training.interruption import Stopped
from facemix.training.tasks import Rows, Task
from facemix.verdict import results


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
    check_shared()
    task = tasks.gather(strategy, seed, params)
    _check_sizes(task.real, params.evaluation.normalizer)
    if processes.rank() > 0:
        if strategy.trains:
            tasks.train_network(task, checkpoint_of(task), lambda _row: None)
        return
    identity, checkpoint = task.identity(), checkpoint_of(task)
    folder = MODELS / strategy.name / f"seed-{seed}"
    # On a server nothing can be locked: there only this machine's processes are kept apart.
    own = checkpoint if isinstance(checkpoint, Path) else tracking.workspace() / "checkpoints" / checkpoint.name
    with (
        file_lock(own),
        tracking.start(
            name=f"{strategy.name} seed {seed}",
            experiment=params.tracking.experiment,
            identity=own.stem,
            tags={"strategy": strategy.name} | ({"test_faces": STAND_IN_SHOWN} if _is_stand_in(task) else {}),
            params=identity,
            datasets=_datasets(task),
        ) as run,
    ):
        if resume:
            adopt_checkpoint(resume, checkpoint, identity)
        outcome, seconds = _timed(task, checkpoint, run)
        with whole_folder(folder) as beside:
            tasks.write(beside, task, outcome)
        figures = results.load(folder, task.real, params.evaluation.normalizer).figures  # as `facemix compare`
        run.metrics(_numbers(figures) | ({"seconds": seconds} if math.isfinite(seconds) else {}))
        for file in sorted(folder.iterdir()):
            if not file.name.startswith("model."):
                run.artifact(file)
        run.model(folder)
    checkpoint.unlink(missing_ok=True)
    print(f"{folder}: {_said(figures, task)}")


def _timed(task: Task, checkpoint: File, run: tracking.Run) -> tuple[tasks.Outcome, float]:
    """Carries a task out; says how many seconds that took, with those of former processes."""
    timer = clock.Clock.start(checkpoint)
    if checkpoint.exists():
        print(f"going on from {checkpoint}: first what was said so far", flush=True)

    def report(row: loop.Row) -> None:
        _report(row, run)
        timer.keep()  # as of the checkpoint, which was written just before

    try:
        outcome = tasks.carry_out(task, checkpoint, report)
    except Stopped:
        timer.keep()
        raise
    timer.keep()
    return outcome, timer.seconds


def _check_sizes(real: Pack, normalizer: str) -> None:
    """Raises FacemixError where errors could not be measured, before hours go into a training."""
    judging = np.flatnonzero(real.splits != "train")
    sizes = metrics.face_size(real.landmarks[judging], real.scheme, normalizer)
    without = real.ids[judging[~(sizes > 0)]].tolist()
    if without:
        shown = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
        raise FacemixError(
            f"{len(without)} of {len(judging)} faces that validate or test have no "
            f"{metrics.resolved(normalizer, real.scheme)}, as points that it is measured between are unlabelled or "
            f"coincide: {shown}. Set evaluation.normalizer to box_side in params.yaml, or list these faces under "
            "`excluded` in data/splits/real/NAME.yaml"
        )


def _said(figures: Mapping[str, Any], task: Task) -> str:
    """What became of a training, in a line."""
    judged, scheme = figures.get("judged_points"), task.real.scheme
    if judged == 0:
        return (
            f"trained, but not judged: it finds the points of {task.scheme.name}, and {scheme.name} names none of "
            f"them; {ADAPTER_FROM} translates"
        )
    val, test = figures["val"]["nme"], figures["test"]["nme"]
    points = f", {judged} of the {len(scheme)} points of {scheme.name}" if judged else ""
    faces = f"; faces: {STAND_IN_SHOWN}" if _is_stand_in(task) else ""
    size = f"% of {figures['normalizer']}{faces}"
    return f"NME {val:.2f} on validation, {test:.2f} on test ({size}){points}"


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
        said = f"training loss {row['train_loss']:.3f}, error on validation {row['val_error']:.2f} % of the face box"
        print(f"step {step}: {said}", flush=True)


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among figures, with dotted keys: `test.regions.jaw`. MLflow draws a section for each `/`."""
    numbers: dict[str, float] = {}
    for name, value in figures.items():
        key = prefix + name.replace("/", "-")
        if isinstance(value, Mapping):
            numbers |= _numbers(value, f"{key}.")
        elif not isinstance(value, str | list):
            numbers[key] = float(value)
    return numbers


# Checkpoints lie at the main workspace's root: what a temporary experiment's own folder holds is deleted with it.


def checkpoint_of(task: Task) -> File:
    """Where this very training keeps its checkpoint."""
    name = f"{task.strategy.name}-seed-{task.seed}"
    return checkpoint_path(checkpoints(tracking.workspace()), name, task.identity())
