"""One point trained in a clone of the project: the same commands for every runner."""

import json
import math
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from facemix import clock, config
from facemix.config import PARAMS_FILE, REPORTS
from facemix.errors import FacemixError
from facemix.faces import packs
from facemix.files import whole_file
from facemix.strategies import MODELS
from facemix.sweeps import repository
from facemix.sweeps.grid import Point
from facemix.sweeps.repository import git
from facemix.training.checkpoint import checkpoint_path, checkpoints
from facemix.verdict.results import load

SUMMARY = REPORTS / "metrics.json"


@dataclass(slots=True, kw_only=True)
class Running:
    """The commands that run now, so that a signal to the sweep reaches them."""

    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopping: bool = False

    def command(self, command: Sequence[str], folder: Path, log: IO[bytes], environment: Mapping[str, str]) -> bool:
        """Runs a command to its end; whether it ended well.

        It inherits the sweep's lock. So where the sweep alone was killed, the next one waits for what is left of it.
        """
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            close_fds=False,
            start_new_session=True,
        ) as process:
            self.processes.add(process)
            if self.stopping:
                self.stop()
            code = process.wait()
            self.processes.discard(process)
        return code == 0

    def stop(self, number: int = signal.SIGINT) -> None:
        """Sends a signal to all of them; DVC waits for its stage on SIGINT, and that writes its checkpoint."""
        self.stopping = True
        for process in list(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one training at a time runs."""

    clone: Path
    """The project's root in a clone."""
    home: Path
    """Where checkpoints and MLflow's runs lie: for a local sweep, the user's workspace."""
    running: Running
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its own, such as the GPU that it sees."""

    def dvc(self, *arguments: str, log: Path, **variables: str) -> None:
        """Runs a DVC command in the clone, with the code of the commit.

        Raises:
            FacemixError: it failed; the message is the stage's own, or its last.
        """
        path = os.pathsep.join(filter(None, (str(self.clone / "src"), os.environ.get("PYTHONPATH"))))
        environment = {
            **repository.environment(),
            "DVC_ROOT": str(self.home),
            "PYTHONPATH": path,
            "DVC_NO_ANALYTICS": "1",
            **self.environment,
            **variables,
        }
        with log.open("ab") as file:
            begin = file.tell()
            if self.running.command(["dvc", *arguments], self.clone, file, environment):
                return
        said = reason(log.read_bytes()[begin:].decode(errors="replace"))
        raise FacemixError(f"dvc {arguments[0]}: {said} (the whole log: {log})")


def reason(output: str) -> str:
    """Why a command failed: what its stage said, or else DVC's or git's own words, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for mark in ("facemix ", "ERROR:", "fatal:") for line in lines if line.startswith(mark)] or lines[-1:]
    return told[0] if told else "no output"


def set_out(clone: Path, commit: str, point: Point) -> None:
    """Takes a clone to the commit, with the parameters of a point."""
    git(clone, "reset", "--quiet", "--hard", commit)
    seeds = {"seeds": [point.seed], "control_seeds": [point.seed]}
    config.update_params(clone / PARAMS_FILE, {**dict(point.settings), **seeds})


def train(place: Place, commit: str, point: Point, name: str, log: Path, normalizer: str, *options: str) -> float:
    """Trains the point that a clone is set out for, and saves its experiment there.

    Args:
        options: of `dvc repro`.

    Returns:
        Its validation NME; NaN where it finds no point of the real faces.
    """
    about = {"DVC_EXP_NAME": name, "DVC_EXP_BASELINE_REV": commit}
    place.dvc("repro", *options, point.stage, log=log, **about)
    pack = packs.read(place.clone / packs.FOLDER / "real", images=False)
    folder = MODELS / point.strategy / f"seed-{point.seed}"
    trained = load(place.clone / folder, pack, normalizer)
    figures = trained.figures
    kept = checkpoint_path(checkpoints(place.home), f"{point.strategy}-seed-{point.seed}", trained.about["made_of"])
    summary = summarize(point.strategy, figures, clock.read(kept))
    with whole_file(place.clone / SUMMARY) as beside:
        beside.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    saved = ("--name", name, "--include-untracked", str(SUMMARY), point.stage)
    place.dvc("exp", "save", "--quiet", "--force", *saved, log=log, **about)
    return float(figures["val"]["nme"]) if "val" in figures else math.nan


def summarize(strategy: str, figures: Mapping[str, Any], seconds: float | None) -> dict[str, Any]:
    """What `dvc exp show` shows of a point, in the form of the pipeline's own metrics: of this strategy only.

    Validation comes first: it is what points are compared by while a sweep runs.

    Args:
        seconds: of its training, by its own clock; None: not known, as where DVC's cache had the model already.
    """
    return {
        **{
            f"{name}_nme": {strategy: round(figures[name]["nme"], 4)}
            for name in ("val", "test")
            if name in figures  # none of a detector that finds no point of the real faces
        },
        "normalizer": figures["normalizer"],
        **({} if seconds is None else {"seconds": {strategy: round(seconds, 1)}}),
    }
