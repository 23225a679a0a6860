"""A run of MLflow's, as the stages see it. Training does not depend on it, and never waits for it for long."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.tracking.delivery import PARENT_TAG, Courier
from facemix.tracking.journal import Entry, Journal, now
from facemix.tracking.registry import Benchmark, model_digest
from facemix.tracking.store import client, line, shown_uri, workspace

log = logging.getLogger(__name__)

DVC_TAGS = ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
PARENT = "FACEMIX_PARENT_RUN"  # the journal of the run that a process's runs are children of
PATIENCE = 5.0  # seconds that the end of a training waits for MLflow
LONG_PATIENCE = 60.0  # seconds, of a command that computes little itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set that a run reads, as MLflow shows it: `name (digest)` with its context."""

    name: str
    digest: str
    """Fingerprint of the content; MLflow keeps 36 characters."""
    source: str
    """Where it lies: a path or URL."""
    n_faces: int
    context: str
    """training, validation or test."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A run that ended well."""

    params: Mapping[str, str]
    """Flat, with dotted keys."""
    seconds: float


def finished(experiment: str) -> list[Finished]:
    """The runs of an experiment that ended well, the latest first, a thousand at most; none where MLflow is away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            connection = client()
            found = connection.get_experiment_by_name(experiment)
            runs = connection.search_runs([found.experiment_id], "attributes.status = 'FINISHED'") if found else []
        except Exception as error:
            log.warning("MLflow at %s is away: %s", shown_uri(), line(error))
            return []
    return [Finished(params=run.data.params, seconds=(run.info.end_time - run.info.start_time) / 1000) for run in runs]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"model": {"width": 64}}` -> `{"model.width": "64"}`."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


@contextlib.contextmanager
def start(
    *,
    name: str,
    experiment: str,
    identity: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    datasets: Sequence[Dataset] = (),
    patience: float = PATIENCE,
) -> Iterator[Run]:
    """Track the block as one MLflow run, and send what earlier runs left.

    The run ends FINISHED, FAILED when the block raises, or KILLED when it is interrupted (also, once a later stage
    notices, when the process was killed).

    Args:
        name: What MLflow shows, e.g. `mixing seed 0`.
        experiment: The MLflow experiment, made where it is missing.
        identity: Names this very training (its parameters and data). A training that was killed or interrupted and is
            started again under the same identity continues its run; after the run's end it makes a new one.
        params: Parameters, nested as they are.
        tags: Tags beside those of DVC, git, the user and the parent run (under `mlflow run`).
        description: Markdown, as MLflow shows it above the run.
        datasets: What the run reads. One name and digest has one context, so name the split.
        patience: Seconds that the end of the block waits for MLflow, at most.
    """
    if len({(dataset.name, dataset.digest) for dataset in datasets}) < len(datasets):
        raise FacemixError(
            "MLflow keeps one context for data sets with the same name and digest; give the splits different names"
        )
    context = _context_tags()
    run = Run(identity, context, patience)
    run._record(
        lambda _journal: {
            "do": "start",
            "name": name,
            "experiment": experiment,
            "time": now(),
            "params": flatten(params or {}),
            "tags": context | ({"mlflow.note.content": description} if description else {}) | dict(tags or {}),
            "datasets": [asdict(dataset) for dataset in datasets],
        }
    )
    run._send()
    try:
        yield run
    except Exception:
        run._end("FAILED")
        raise
    except BaseException:  # an interrupt, or the exit that a signal asked for
        run._end("KILLED")
        raise
    run._end("FINISHED")


class Run:
    """What happens inside `tracking.start`. Nothing here raises because of MLflow or the disk, or waits for long."""

    def __init__(self, identity: str | None, context: Mapping[str, str], patience: float) -> None:
        self._context = context
        self._patience = patience
        self._courier: Courier | None = None
        self._lost = ""
        """Why something is not even in the journal."""
        self._unsent = ""
        """Why there is no courier."""
        self._journal: Journal | None = None
        try:
            self._journal = Journal.begin(identity)
        except Exception as error:
            self._lost = line(error)
        self._seen = {
            (key, entry["step"])
            for entry in (self._journal.entries if self._journal else [])
            if entry["do"] == "metrics"
            for key in entry["values"]
        }

    @property
    def variables(self) -> dict[str, str]:
        """The environment of processes whose runs are this one's children."""
        return {PARENT: self._journal.folder.name} if self._journal else {}

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log values at a step. What is already logged at that step stays, so a resumed training may repeat itself."""
        new = {key: float(value) for key, value in values.items() if (key, step) not in self._seen}
        if new:
            self._seen |= {(key, step) for key in new}
            self._record(lambda _journal: {"do": "metrics", "values": new, "step": step, "time": now()})

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Log a file or a whole directory, under its own name, into `folder` of the run's artifacts."""
        self._record(lambda journal: {"do": "artifact", "file": journal.keep(Path(path)), "folder": folder})

    def model(self, folder: str | Path) -> None:
        """Log a checkpoint folder as the run's MLflow model: `mlflow.pyfunc.load_model(f"runs:/{run_id}/model")`."""
        self._record(lambda journal: {"do": "model", "file": journal.keep(Path(folder))})

    def register(
        self, folder: str | Path, *, nme: float, benchmark: Benchmark, tags: Mapping[str, str], description: str
    ) -> None:
        """Register a checkpoint folder as a version of the model `facemix`, unless the registry has it already.

        The alias of the benchmark is then on the version with the lowest NME on it, whatever the order of arrival.

        Args:
            folder: Of a trained model. Where its training's run is in the store, the version is that run's model.
            nme: On validation, in % of the face size.
            benchmark: What the NME was measured on.
            tags: Of the version, beside those of git and DVC.
            description: Of the version, Markdown.
        """
        origin = {"git_commit": "mlflow.source.git.commit", "dvc_experiment": "DVC_EXP_NAME"}
        self._record(
            lambda journal: {
                "do": "register",
                "file": journal.keep(Path(folder)),
                "alias": benchmark.alias,
                "nme": nme,
                "tags": {"digest": model_digest(Path(folder))}
                | {name: self._context[tag] for name, tag in origin.items() if tag in self._context}
                | dict(tags),
                "description": description,
            }
        )

    def _record(self, entry: Callable[[Journal], Entry]) -> None:
        """Append to the journal; what cannot be written is lost, and said at the end."""
        if self._journal is None:
            return
        try:
            self._journal.append(entry(self._journal))
        except Exception as error:  # whatever it is, a full disk for one, training goes on
            self._lost = self._lost or line(error)
            if not self._journal.entries:  # not even its start: it cannot be told which run this is
                shutil.rmtree(self._journal.folder, ignore_errors=True)
                self._journal.release()
                self._journal = None

    def _send(self) -> None:
        if self._journal is not None:
            try:
                self._courier = Courier(self._journal.folder)
            except Exception as error:
                self._unsent = line(error)

    def _end(self, status: str) -> None:
        self._record(lambda _journal: {"do": "end", "status": status, "time": now()})
        if self._courier is not None:
            self._courier.finish(self._patience)
        if self._lost:
            log.warning("Some of this run could not be written down and will be missing in MLflow: %s", self._lost)
        if self._journal is None:
            return
        if self._journal.pending():
            log.warning(
                "The run is not completely in MLflow at %s yet (%s). It is kept in %s; the next facemix command "
                "sends it.",
                shown_uri(),
                self._journal.failure() or self._unsent or f"no end within {self._patience:.0f} s",
                self._journal.folder,
            )
        with contextlib.suppress(OSError):
            self._journal.close()


def _context_tags() -> dict[str, str]:
    """Where this run comes from: DVC, git, the user, and the `mlflow run` around it."""
    tags = {name: os.environ[name] for name in DVC_TAGS if name in os.environ}
    tags |= {"mlflow.source.type": "LOCAL", "mlflow.source.name": shlex.join(["facemix", *sys.argv[1:]])}
    # Under `mlflow run` every stage would write into that one run, and the second would fail ("Changing param values is
    # not allowed"). Under another name it still tells our child processes of their parent, and MLflow does not see it.
    if parent := os.environ.pop("MLFLOW_RUN_ID", None):
        os.environ["FACEMIX_PARENT_RUN_ID"] = parent
    if parent := os.environ.get("FACEMIX_PARENT_RUN_ID"):
        tags["mlflow.parentRunId"] = parent
    if parent := os.environ.get(PARENT):
        tags[PARENT_TAG] = parent
    if commit := os.environ.get("DVC_EXP_BASELINE_REV"):  # where the workspace is no repository: a machine of Ray's
        tags["mlflow.source.git.commit"] = commit
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(workspace()), "rev-parse", "HEAD"]
        git = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=2)
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    with contextlib.suppress(OSError, KeyError):  # a container may have no user name
        tags["mlflow.user"] = getpass.getuser()
    return tags
