"""From journals to MLflow.

While a run lives, a *courier* does it, a process of its own: whatever MLflow does there, training neither waits for it
nor fails of it, and what is not sent when the patience ends is kept. A later command sends it.

Delivery may stop anywhere and be repeated: a run is found again by its journal's tag, MLflow keeps equal parameters,
tags, dataset inputs and metric points (equal key, step, time and value: the journal fixes the time) once, and files
overwrite themselves. So nothing needs to be noted in the same instant in which it is sent.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import select
import shutil
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from facemix.tracking import registry
from facemix.tracking.journal import Entry, Journal, now
from facemix.tracking.store import (
    StoreAwayError,
    artifact_location,
    artifacts,
    client,
    file_lock,
    line,
    outbox,
    shown_uri,
)

log = logging.getLogger(__name__)

JOURNAL_TAG = "facemix.journal"
PARENT_TAG = "facemix.parent"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else MLflow's pages guess it
    "mlflow.note.content": "A run for each strategy and seed, by the strategy's name; `compare` holds their ranking.",
}
INTERVAL = 10.0  # seconds between deliveries while training
LONGEST_INTERVAL = 600.0  # seconds: a store that stays away is asked ever more rarely, up to this


# --- The courier ------------------------------------------------------------------------------------------------------


class Courier:
    """A process that sends what is appended to a journal."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: The journal's.

        Raises:
            OSError: there are no more processes to be had.
        """
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "facemix.tracking", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path},  # what sends a run is what wrote it
            start_new_session=True,  # Ctrl-C is for the training: what it came to is sent, too
        )

    def finish(self, patience: float) -> None:
        """Let it send the rest, and end it.

        Args:
            patience: Seconds for that.
        """
        assert self._process.stdin is not None
        try:
            with contextlib.suppress(OSError):  # it may have died
                self._process.stdin.write(b"\n")  # a process forked meanwhile may keep the pipe open
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # a network file system may not let it go
                    self._process.wait(1)


def run_courier(folder: Path) -> None:
    """What the courier's process does."""
    warnings.simplefilter("ignore")  # what MLflow and the libraries under it say of each other is not ours to fix
    follow(folder, lambda seconds: bool(select.select([sys.stdin], [], [], seconds)[0]))


def follow(folder: Path, over: Callable[[float], bool]) -> None:
    """Send a journal while it grows, and what other runs left; once more when its run is over.

    Args:
        folder: The journal's.
        over: Waits up to so many seconds for the end of the run, and says whether it has come.
    """
    journal = Journal(folder)
    wait, ending = INTERVAL, False

    def ends() -> bool:
        return not ending and over(0.0)

    while True:
        try:
            journal.refresh()
            send(journal)
            wait = INTERVAL
            _send_left(over=ends)
        except Exception as error:
            journal.note_failure(line(error))
            wait = min(max(60.0, 2 * wait), LONGEST_INTERVAL)
        if ending:
            break
        ending = over(wait)
    journal.release()


def deliver() -> int:
    """Send what other runs left in the outbox; the journals of living processes are theirs.

    Returns:
        Number of runs that are still unsent. They are kept, and one line says where.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left, failure = _send_left(over=lambda: False)
    if left:
        log.warning(
            "%d run(s) are not completely in MLflow at %s yet (%s). The rest is kept in %s; the next facemix command "
            "sends it.",
            left,
            shown_uri(),
            failure,
            outbox(),
        )
    return left


def take_unsent() -> bytes:
    """Take runs that are over and unsent out of the outbox, as a tar file: of a machine whose folder is deleted."""
    with io.BytesIO() as content:
        with tarfile.open(fileobj=content, mode="w") as archive:
            for folder in sorted(outbox().glob("*/")):
                if (journal := Journal.open(folder)) is None:  # a living process's
                    continue
                if journal.pending():
                    archive.add(folder, arcname=folder.name)
                    shutil.rmtree(folder)
                journal.release()
            empty = not archive.getmembers()
        return b"" if empty else content.getvalue()


def put_unsent(content: bytes) -> None:
    """Put into the outbox what `take_unsent` took out of another."""
    outbox().mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(outbox(), filter="data")


def _send_left(over: Callable[[], bool]) -> tuple[int, str]:
    """Send what other runs left, until it is over; the number of runs that are still unsent, and why."""
    left, failure, away = 0, "", False
    for folder in sorted(outbox().glob("*/")):
        if over():
            break
        try:
            journal = Journal.open(folder)
        except OSError as error:
            left, failure = left + 1, line(error)
            continue
        if journal is None:
            continue
        try:
            if journal.status() == "RUNNING":  # its process is dead
                journal.append({"do": "end", "status": "KILLED", "time": now()})
            if journal.pending() and not away:
                send(journal)
        except Exception as error:
            failure, away = line(error), isinstance(error, StoreAwayError)
        left += journal.pending()
        journal.close()
    return left, failure


# --- Sending ----------------------------------------------------------------------------------------------------------


def send(journal: Journal) -> None:
    """Bring the store up to a journal. Raises where it cannot; what was sent until then is noted."""
    if not journal.entries:
        return
    connection = client()
    run_id = _find_run(connection, journal.folder.name, journal.entries[0])
    sent = journal.sent(run_id)
    while sent < len(journal.entries):
        do = journal.entries[sent]["do"]
        batch = list(takewhile(lambda entry: entry["do"] == do, journal.entries[sent : sent + 200]))  # noqa: B023
        try:
            if do in _SENDERS:  # else an entry of another version of this project
                _SENDERS[do](connection, run_id, journal.folder, batch)
        except Exception as error:
            code = getattr(error, "error_code", "")
            old_server = code == "ENDPOINT_NOT_FOUND" and do in ("model", "register")  # MLflow 2 has no logged models
            if code != "INVALID_PARAMETER_VALUE" and not old_server:
                raise
            # Asking again would not help, and everything behind it would wait forever.
            log.warning("MLflow refuses the %s of a run; it is left out: %s", do, line(error))
        sent += len(batch)
        journal.note(run_id, sent)


def _find_run(client: Any, journal: str, first: Entry) -> str:
    """A journal's run in the store, made where it is missing (also where the store was exchanged or emptied).

    Args:
        journal: its name.
        first: the entry that says the experiment, the run's name and its start.
    """
    with file_lock("initialising"):
        experiment = client.get_experiment_by_name(first["experiment"])
        experiment_id = experiment.experiment_id if experiment else _create_experiment(client, first["experiment"])
        if experiment and experiment.lifecycle_stage == "deleted":  # it takes no runs, and its name stays taken
            client.restore_experiment(experiment_id)
            log.warning(
                "MLflow's experiment %s was deleted; it is restored, because a new run belongs to it",
                first["experiment"],
            )
        tag = f"tags.`{JOURNAL_TAG}` = '{journal}'"
        if runs := client.search_runs([experiment_id], tag, max_results=1):
            return str(runs[0].info.run_id)
        run = client.create_run(
            experiment_id, start_time=first["time"], run_name=first["name"], tags={JOURNAL_TAG: journal}
        )
        return str(run.info.run_id)


def _create_experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, artifact_location=artifact_location(name), tags=EXPERIMENT_TAGS))
    except MlflowException:
        if experiment := client.get_experiment_by_name(name):  # another machine was faster
            return str(experiment.experiment_id)
        raise


def _send_start(client: Any, run_id: str, _folder: Path, entries: Sequence[Entry]) -> None:
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    for entry in entries:
        client.update_run(run_id, status="RUNNING", name=entry["name"])
        tags = [RunTag(key, value) for key, value in entry["tags"].items()]
        if parent := entry["tags"].get(PARENT_TAG):  # which itself may not have been sent yet
            tags.append(RunTag("mlflow.parentRunId", _find_run(client, parent, entry)))
        params = [Param(key, value) for key, value in entry["params"].items()]
        client.log_batch(run_id, tags=tags)
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
            client.log_inputs(run_id, inputs)
        for first in range(0, len(params), 100):  # MLflow's limit
            client.log_batch(run_id, params=params[first : first + 100])


def _send_metrics(client: Any, run_id: str, _folder: Path, entries: Sequence[Entry]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, entry["time"], entry["step"]) for entry in entries for key, value in entry["values"].items()
    ]
    for first in range(0, len(metrics), 1000):  # MLflow's limit
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


def _send_artifact(client: Any, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
    repository = artifacts(client.get_run(run_id).info.artifact_uri)
    for entry in entries:
        path = folder / entry["file"]
        if path.is_dir():
            repository.log_artifacts(str(path), str(Path(entry["folder"], path.name)))
        else:
            repository.log_artifact(str(path), entry["folder"] or None)


def _send_model(client: Any, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
    registry.log_model(client, run_id, folder / entries[-1]["file"])


def _send_register(client: Any, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
    for entry in entries:
        registry.register(client, run_id, folder / entry["file"], entry)


def _send_end(client: Any, run_id: str, _folder: Path, entries: Sequence[Entry]) -> None:
    client.set_terminated(run_id, status=entries[-1]["status"], end_time=entries[-1]["time"])


_SENDERS: dict[str, Callable[[Any, str, Path, Sequence[Entry]], None]] = {
    "start": _send_start,
    "metrics": _send_metrics,
    "artifact": _send_artifact,
    "model": _send_model,
    "register": _send_register,
    "end": _send_end,
}
