"""MLflow, and nothing else knows it.

Training does not depend on tracking. A run writes everything first to a *journal*, a folder of its own in the outbox
under the main workspace, and from there it is delivered to MLflow: now and then while training, at the end, and by
whatever stage comes later for what was left behind (a server that was away, a process that was killed).

Delivery may stop anywhere and be repeated: a run is found again by its journal's tag, MLflow keeps equal parameters,
tags, dataset inputs and metric points (equal key, step, time and value: the journal fixes the time) once, and files
overwrite themselves. So nothing needs to be noted in the same instant in which it is sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError

__all__ = [
    "Dataset",
    "Finished",
    "Run",
    "deliver",
    "finished",
    "flatten",
    "shown_uri",
    "start",
    "store_uri",
    "workspace",
]

log = logging.getLogger(__name__)

JOURNAL_TAG = "facemix.journal"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else MLflow's pages guess it
    "mlflow.note.content": "A run for each strategy and seed, by the strategy's name; `compare` holds their ranking.",
}
DVC_TAGS = ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
DIGEST_TAG = "facemix.digest"
REGISTERED = "facemix"  # the model's name in the registry
REGISTERED_ABOUT = "68 facial landmarks. The alias `champion` is on the best version by validation."
CHAMPION = "champion"  # the alias of its best version
PLACES = (  # where MLflow's database keeps places of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
DELIVERY_INTERVAL = 10.0  # seconds between deliveries while training
LONGEST_WAIT = 600.0  # seconds: a store that stays away is asked ever more rarely, up to this
MODEL_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python", "safetensors")
QUIET = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's own 120, seven times over, would hold up training
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}

Entry = dict[str, Any]


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
            client = _client(store_uri())
            found = client.get_experiment_by_name(experiment)
            runs = client.search_runs([found.experiment_id], "attributes.status = 'FINISHED'") if found else []
        except Exception as error:
            log.warning("MLflow at %s is away: %s", shown_uri(), _line(error))
            return []
    return [Finished(params=run.data.params, seconds=(run.info.end_time - run.info.start_time) / 1000) for run in runs]


def workspace() -> Path:
    """The main workspace's root.

    That is `DVC_ROOT`, which DVC sets also in the temporary workspaces of its experiments, else the nearest folder
    upwards that has a `.dvc`, else the working directory.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def store_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file that a plain `mlflow ui` shows at the main workspace's root.

    A relative SQLite path means that root too: what lies in an experiment's temporary workspace is deleted with it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = uri.removeprefix("sqlite:///")
    if path == uri or not path or path.startswith((":memory:", "file:")):
        return uri
    return f"sqlite:///{workspace() / path}"  # an absolute path stays as it is


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
) -> Iterator[Run]:
    """Track the block as one MLflow run.

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
    """
    if len({(dataset.name, dataset.digest) for dataset in datasets}) < len(datasets):
        raise FacemixError(
            "MLflow keeps one context for a data set of equal name and digest: name the splits differently"
        )
    journal = _open_journal(identity)
    journal.append(
        {
            "do": "start",
            "name": name,
            "experiment": experiment,
            "time": _now(),
            "params": flatten(params or {}),
            "tags": _context_tags() | ({"mlflow.note.content": description} if description else {}) | dict(tags or {}),
            "datasets": [asdict(dataset) for dataset in datasets],
        }
    )
    run = Run(journal)
    run._deliver()
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
    """What happens inside `tracking.start`. Nothing here raises because MLflow is away, or waits for it for long."""

    def __init__(self, journal: _Journal) -> None:
        self._journal = journal
        self._seen = {
            (key, entry["step"]) for entry in journal.entries if entry["do"] == "metrics" for key in entry["values"]
        }
        self._wait = DELIVERY_INTERVAL
        self._next = 0.0
        self._warned = False

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log values at a step. What is already logged at that step stays, so a resumed training may repeat itself."""
        new = {key: float(value) for key, value in values.items() if (key, step) not in self._seen}
        if new:
            self._seen |= {(key, step) for key in new}
            self._journal.append({"do": "metrics", "values": new, "step": step, "time": _now()})
        if time.monotonic() >= self._next:
            self._deliver()

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Log a file or a whole directory, under its own name, into `folder` of the run's artifacts."""
        self._journal.append({"do": "artifact", "file": self._journal.keep(Path(path)), "folder": folder})

    def model(self, folder: str | Path) -> None:
        """Log a checkpoint folder as the run's MLflow model: `mlflow.pyfunc.load_model(f"runs:/{run_id}/model")`."""
        self._journal.append({"do": "model", "file": self._journal.keep(Path(folder))})

    def register(
        self, folder: str | Path, *, nme: float, measured_on: str, tags: Mapping[str, str], description: str
    ) -> None:
        """Register a checkpoint folder as a version of the model `facemix`, unless the registry has it already.

        The alias `champion` moves to it when its NME is lower than that of the present champion, or when that one was
        measured earlier and on something else. So the order in which versions arrive does not matter.

        Args:
            folder: Of a trained model. Where its training's run is in the store, the version is that run's model.
            nme: On validation, in % of the face size.
            measured_on: Names the faces and the face size: equal where two NMEs may be compared.
            tags: Of the version, beside those of git and DVC.
            description: Of the version, Markdown.
        """
        run_tags = next(entry["tags"] for entry in self._journal.entries if entry["do"] == "start")
        origin = {"git_commit": "mlflow.source.git.commit", "dvc_experiment": "DVC_EXP_NAME"}
        self._journal.append(
            {
                "do": "register",
                "file": self._journal.keep(Path(folder)),
                "tags": {
                    "val_nme": f"{nme:.4f}",
                    "measured_on": measured_on,
                    "measured_at": str(_now()),
                    "digest": _digest(Path(folder)),
                }
                | {name: run_tags[tag] for name, tag in origin.items() if tag in run_tags}
                | dict(tags),
                "description": description,
            }
        )

    def _deliver(self) -> None:
        try:
            _send(self._journal)
            self._wait = DELIVERY_INTERVAL
        except Exception as error:  # whatever it is, training goes on
            self._wait = min(max(60.0, 2 * self._wait), LONGEST_WAIT)
            if not self._warned:
                self._warned = True
                log.warning("MLflow at %s is away, work goes on and is sent later: %s", shown_uri(), _line(error))
        self._next = time.monotonic() + self._wait

    def _end(self, status: str) -> None:
        self._journal.append({"do": "end", "status": status, "time": _now()})
        self._deliver()
        if self._journal.pending():
            log.warning(
                "The run is not wholly in MLflow at %s yet. It is kept in %s; the next facemix command sends it.",
                shown_uri(),
                self._journal.folder,
            )
        self._journal.close()


def deliver() -> int:
    """Send what other runs left in the outbox; the journals of living processes are theirs.

    Returns:
        Number of runs that are still unsent. They are kept, and one line says where.
    """
    left, failure, away = 0, "", False
    for folder in sorted(_outbox().glob("*/")):
        journal = _Journal.open(folder)
        if journal is None:
            continue
        if journal.status() == "RUNNING":  # its process is dead
            journal.append({"do": "end", "status": "KILLED", "time": _now()})
        if journal.pending():
            try:
                if not away:
                    _send(journal)
            except Exception as error:
                failure, away = _line(error), isinstance(error, _StoreAwayError)
            left += journal.pending()
        journal.close()
    if left:
        log.warning(
            "Not wholly in MLflow at %s yet: %d run(s) (%s). They are kept in %s; the next facemix command sends them.",
            shown_uri(),
            left,
            failure,
            _outbox(),
        )
    return left


# --- The journal ------------------------------------------------------------------------------------------------------


class _Journal:
    """One run on disk: `journal.jsonl`, locked while its process lives, and copies of the files to send.

    Entries are only ever appended. Their `do` is start, metrics, artifact, model, register, end, or sent: up to which
    entry which store has which run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self.run_id = ""
        self._file = (folder / "journal.jsonl").open("a+b")

    @classmethod
    def open(cls, folder: Path, wait: float = 0.0) -> _Journal | None:
        """Lock and read a journal; None where it is another process's, or gone."""
        try:
            journal = cls(folder)
        except FileNotFoundError:
            return None
        if not _lock(journal._file.fileno(), wait) or not os.fstat(journal._file.fileno()).st_nlink:
            journal._file.close()
            return None
        journal._file.seek(0)
        whole, content = b"", journal._file.read()
        for line in content.splitlines(keepends=True):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if not isinstance(entry, dict):  # torn by a kill, or lost in a power cut: what follows hangs in the air
                break
            journal.entries.append(entry)
            whole += line
        journal._file.truncate(len(whole))
        if lost := content[len(whole) :].count(b"\n"):
            log.warning("%s: a line is damaged; it and what follows, %d lines, are left out", folder, lost)
        return journal

    def append(self, entry: Entry) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        self.entries.append(entry)

    def keep(self, path: Path) -> str:
        """Copy a file or directory, which may soon be overwritten or vanish with a temporary workspace."""
        target = self.folder / "files" / str(len(self.entries)) / path.name
        shutil.rmtree(target.parent, ignore_errors=True)  # half a copy, if the process was killed here before
        target.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy2(path, target)
        return str(target.relative_to(self.folder))

    def status(self) -> str:
        """RUNNING, or how the run ended; empty for a journal whose first line never got written."""
        last = next((entry for entry in reversed(self.entries) if entry["do"] in ("start", "end")), {"status": ""})
        return str(last.get("status", "RUNNING"))

    def sent(self, run_id: str = "") -> int:
        """Number of entries that the store has, in that run."""
        for entry in reversed(self.entries):
            if entry["do"] == "sent" and entry["store"] == store_uri() and run_id in ("", entry["run"]):
                return int(entry["upto"])
        return 0

    def pending(self) -> bool:
        return any(entry["do"] != "sent" for entry in self.entries[self.sent(self.run_id) :])

    def close(self) -> None:
        """Unlock; delete what is over and delivered. An interrupted run stays: it may be continued."""
        if self.status() in ("FINISHED", "FAILED") and not self.pending():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._file.close()


def _outbox() -> Path:
    """Under `.dvc/tmp`, which DVC keeps out of git and leaves alone; without DVC in a folder of our own."""
    root = workspace()
    home = root / ".dvc" / "tmp" / "facemix" if (root / ".dvc").is_dir() else root / ".facemix"
    return home / "outbox"


def _open_journal(identity: str | None) -> _Journal:
    key = hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else "run"
    if identity:
        for folder in _outbox().glob(f"{key}-*"):
            journal = _Journal.open(folder, wait=10.0)  # another process may just be delivering it
            if journal and journal.status() in ("RUNNING", "KILLED"):
                return journal
            if journal:
                journal.close()
    folder = _outbox() / f"{key}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    journal = _Journal.open(folder, wait=10.0)
    assert journal is not None, "a fresh journal is nobody else's"
    return journal


def _lock(descriptor: int, wait: float) -> bool:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the kernel, however the process ends
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


# --- Delivery ---------------------------------------------------------------------------------------------------------


class _StoreAwayError(Exception):
    """The store does not answer at all."""


def _send(journal: _Journal) -> None:
    """Bring the store up to the journal. Raises where it cannot; what was sent until then is noted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow and the libraries under it say of each other is not ours to fix
        _send_pending(journal)


def _send_pending(journal: _Journal) -> None:
    client = _client(store_uri())
    if not journal.run_id:
        journal.run_id = _find_run(client, journal)
    before = sent = journal.sent(journal.run_id)
    try:
        while sent < len(journal.entries):
            do = journal.entries[sent]["do"]
            batch = list(takewhile(lambda entry: entry["do"] == do, journal.entries[sent : sent + 200]))  # noqa: B023
            try:
                _SENDERS[do](client, journal, batch)
            except Exception as error:
                code = getattr(error, "error_code", "")
                # MLflow 2 has no logged models.
                old_server = code == "ENDPOINT_NOT_FOUND" and do in ("model", "register")
                if code != "INVALID_PARAMETER_VALUE" and not old_server:
                    raise
                # Asking again would not help, and everything behind it would wait forever.
                log.warning("MLflow refuses the %s of a run, which is left out: %s", do, _line(error))
            sent += len(batch)
    finally:
        if sent > before:
            # The note itself is sent, too: it has nothing to deliver.
            upto = sent + 1 if sent == len(journal.entries) else sent
            journal.append({"do": "sent", "store": store_uri(), "run": journal.run_id, "upto": upto})


@cache
def _client(uri: str) -> Any:
    """The store's client, once it answers; it is made under a lock, since it may create the database."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        with _alone("initialising"):
            client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
        client.search_experiments(max_results=1)
    except Exception as error:
        raise _StoreAwayError(_line(error)) from error
    return client


@contextlib.contextmanager
def _alone(doing: str) -> Iterator[None]:
    """One process at a time makes the database's tables and the experiment, or registers a model."""
    _outbox().mkdir(parents=True, exist_ok=True)
    with (_outbox() / f"{doing}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_run(client: Any, journal: _Journal) -> str:
    """The journal's run in the store, made where it is missing (also where the store was exchanged or emptied)."""
    first = journal.entries[0]
    with _alone("initialising"):
        experiment = client.get_experiment_by_name(first["experiment"])
        experiment_id = experiment.experiment_id if experiment else _create_experiment(client, first["experiment"])
        if experiment:
            _follow_a_move(experiment.name, experiment.artifact_location)
        if experiment and experiment.lifecycle_stage == "deleted":  # it takes no runs, and its name stays taken
            client.restore_experiment(experiment_id)
            log.warning("MLflow's experiment %s was deleted; it is restored, for a new run", first["experiment"])
    if runs := client.search_runs([experiment_id], f"tags.`{JOURNAL_TAG}` = '{journal.folder.name}'", max_results=1):
        return str(runs[0].info.run_id)
    run = client.create_run(
        experiment_id, start_time=first["time"], run_name=first["name"], tags={JOURNAL_TAG: journal.folder.name}
    )
    return str(run.info.run_id)


def _create_experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    folder = _local_artifacts()  # a server knows itself where its artifacts go
    # Some servers call experiments by paths, such as /Users/me/facemix.
    location = (folder / urllib.parse.quote(name, safe="")).as_uri() if folder else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:
        if experiment := client.get_experiment_by_name(name):  # another machine was faster
            return str(experiment.experiment_id)
        raise


def _follow_a_move(experiment: str, location: str) -> None:
    """Where a project was moved or copied, its database says where the artifacts lie now.

    MLflow keeps absolute places and has no command for it: it would write to the old one, or fail.
    """
    artifacts = _local_artifacts()
    if artifacts is None:
        return
    new = artifacts.as_uri()
    old = location.removesuffix((artifacts / experiment).as_uri().removeprefix(new))
    if old in (new, location) or not (old.startswith("file:") and old.endswith(f"/{artifacts.name}")):
        return
    log.info("the artifacts of MLflow's experiment %s were at %s, they are at %s now", experiment, old, new)
    with contextlib.closing(sqlite3.connect(store_uri().removeprefix("sqlite:///"), timeout=60)) as database, database:
        for table, column in PLACES:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )


def _local_artifacts() -> Path | None:
    """For a SQLite store the folder beside it from which a plain `mlflow ui` there serves artifacts."""
    path = store_uri().removeprefix("sqlite:///")
    return Path(path).parent / "mlartifacts" if Path(path).is_absolute() else None


def _upload(path: Path, location: str, folder: str = "") -> None:
    """Copy a file, or what is in a directory, to a run's or model's artifacts."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    server = "mlflow-artifacts:/"
    if location.startswith(server) and (local := _local_artifacts()):
        # The experiment was made by `mlflow ui`, which may not run now: write where it looks.
        location = (local / location.removeprefix(server).lstrip("/")).as_uri()
    repository = get_artifact_repository(location, tracking_uri=store_uri())
    if path.is_dir():
        repository.log_artifacts(str(path), folder or None)
    else:
        repository.log_artifact(str(path), folder or None)


def _send_start(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    for entry in entries:
        client.update_run(journal.run_id, status="RUNNING", name=entry["name"])
        tags = [RunTag(key, value) for key, value in entry["tags"].items()]
        params = [Param(key, value) for key, value in entry["params"].items()]
        client.log_batch(journal.run_id, tags=tags)
        inputs = [
            DatasetInput(
                MlflowDataset(
                    name=dataset["name"],
                    digest=dataset["digest"][:36],
                    source_type="local",
                    source=json.dumps({"uri": dataset["source"]}),
                    profile=json.dumps({"n_faces": dataset["n_faces"]}),
                ),
                [InputTag("mlflow.data.context", dataset["context"])],
            )
            for dataset in entry["datasets"]
        ]
        if inputs:
            client.log_inputs(journal.run_id, inputs)
        for first in range(0, len(params), 100):  # MLflow's limit
            client.log_batch(journal.run_id, params=params[first : first + 100])


def _send_metrics(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, entry["time"], entry["step"]) for entry in entries for key, value in entry["values"].items()
    ]
    for first in range(0, len(metrics), 1000):  # MLflow's limit
        client.log_batch(journal.run_id, metrics=metrics[first : first + 1000])


def _send_artifact(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    location = client.get_run(journal.run_id).info.artifact_uri
    for entry in entries:
        path = journal.folder / entry["file"]
        _upload(path, location, str(Path(entry["folder"], path.name)) if path.is_dir() else entry["folder"])


def _send_model(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    _log_model(client, journal, journal.folder / entries[-1]["file"])


def _log_model(client: Any, journal: _Journal, checkpoint: Path) -> Any:
    """Log a checkpoint folder as the run's model, and return what MLflow knows of it."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run = client.get_run(journal.run_id)
    experiments = [run.info.experiment_id]
    found = client.search_logged_models(experiments, f"source_run_id = '{journal.run_id}' AND name = 'model'")
    tags = {DIGEST_TAG: _digest(checkpoint)}
    model = (
        found[0]
        if found
        else client.create_logged_model(*experiments, name="model", source_run_id=journal.run_id, tags=tags)
    )
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary, "model")
        record = Model(
            artifact_path=model.artifact_location,
            run_id=journal.run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        )
        _save_model(checkpoint, saved, record)
        _upload(saved, model.artifact_location)
    if model.model_id not in [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]:
        client.log_outputs(journal.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def _digest(checkpoint: Path) -> str:
    """Fingerprint of a trained model: the same weights of the same making have the same."""
    content = b"".join((checkpoint / name).read_bytes() for name in ("model.json", "model.safetensors"))
    return hashlib.sha256(content).hexdigest()[:16]


def _send_register(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    for entry in entries:
        tags = entry["tags"]
        with _alone("registering"):
            same = f"name = '{REGISTERED}' AND tags.digest = '{tags['digest']}'"
            if found := client.search_model_versions(same):
                version = found[0]
                if int(tags["measured_at"]) > int(version.tags.get("measured_at", 0)):  # those weights, measured anew
                    client.update_model_version(REGISTERED, version.version, entry["description"])
                    for key, value in tags.items():
                        client.set_model_version_tag(REGISTERED, version.version, key, value)
            else:
                if not client.search_registered_models(f"name = '{REGISTERED}'"):
                    client.create_registered_model(REGISTERED, description=REGISTERED_ABOUT)
                model = _logged_model(client, journal, tags["digest"]) or _log_model(
                    client, journal, journal.folder / entry["file"]
                )
                version = client.create_model_version(
                    REGISTERED,
                    model.artifact_location,
                    run_id=model.source_run_id,
                    model_id=model.model_id,
                    tags=tags,
                    description=entry["description"],
                )
            if _takes_over(tags, _champion(client)):
                client.set_registered_model_alias(REGISTERED, CHAMPION, version.version)


def _logged_model(client: Any, journal: _Journal, digest: str) -> Any | None:
    """That very model as a run of its training has logged it; none where DVC took it from its cache."""
    experiment = client.get_run(journal.run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'")
    return next((model for model in found if str(model.status) == "READY"), None)  # no filter finds a status


def _champion(client: Any) -> Mapping[str, str] | None:
    """The tags of the champion; None where there is none yet."""
    (registered,) = client.search_registered_models(f"name = '{REGISTERED}'")
    if CHAMPION not in registered.aliases:
        return None
    tags: Mapping[str, str] = client.get_model_version(REGISTERED, registered.aliases[CHAMPION]).tags
    return tags


def _takes_over(new: Mapping[str, str], champion: Mapping[str, str] | None) -> bool:
    """Whether a version becomes the champion: a lower NME of the same faces, or a later one of others."""
    if champion is None:
        return True
    if new["measured_on"] == champion.get("measured_on"):
        return float(new["val_nme"]) < float(champion["val_nme"])
    return int(new["measured_at"]) > int(champion.get("measured_at", 0))


def _save_model(checkpoint: Path, target: Path, record: Any) -> None:
    """Write a checkpoint as an MLflow model: code, not a pickle, and this package with it, so that it runs anywhere."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array

    points = Array(Array(Array(DataType.double)))
    package = Path(__file__).parents[1]
    save_model(
        target,
        python_model=str(package / "evaluation" / "served.py"),
        artifacts={"model": str(checkpoint)},
        code_paths=[str(package)],
        mlflow_model=record,
        signature=ModelSignature(
            # An array of doubles would refuse whole numbers in JSON: the model checks the boxes itself.
            inputs=Schema([ColSpec(DataType.binary, "image"), ColSpec(AnyType(), "boxes", required=False)]),
            outputs=Schema([ColSpec(points, "landmarks")]),
        ),
        input_example=pd.DataFrame({"image": [_example_image()], "boxes": [[[16.0, 16.0, 47.0, 47.0]]]}),
        # Said, so that MLflow does not load the model in another process to find out.
        pip_requirements=[requirement for name in MODEL_PACKAGES for requirement in _requirement(name)],
    )


def _example_image() -> bytes:
    """A grey PNG of 64 x 64 pixels: it shows the form of a request, and is nobody's photograph."""
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1])


def _requirement(package: str) -> list[str]:
    try:
        return [f"{package}=={version(package).partition('+')[0]}"]  # 2.13.0+cpu is no release of any index
    except PackageNotFoundError:
        return []


def _send_end(client: Any, journal: _Journal, entries: Sequence[Entry]) -> None:
    client.set_terminated(journal.run_id, status=entries[-1]["status"], end_time=entries[-1]["time"])


_SENDERS: dict[str, Callable[[Any, _Journal, Sequence[Entry]], None]] = {
    "start": _send_start,
    "metrics": _send_metrics,
    "artifact": _send_artifact,
    "model": _send_model,
    "register": _send_register,
    "end": _send_end,
    "sent": lambda _client, _journal, _entries: None,
}


# --- Small things -----------------------------------------------------------------------------------------------------


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
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(workspace()), "rev-parse", "HEAD"]
        git = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    with contextlib.suppress(OSError, KeyError):  # a container may have no user name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _now() -> int:
    return time.time_ns() // 1_000_000


def shown_uri() -> str:
    """The store's address without a password."""
    return re.sub(r"//[^/]*@", "//", store_uri())


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
