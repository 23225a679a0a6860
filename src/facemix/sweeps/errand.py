"""What a machine of a Ray cluster does for a sweep: it unpacks the project's commit.

The commit's own code (`facemix.sweeps.worker`) does the work, in a process that waits for the next task when it has
done one, and ends when this one does.
"""

import contextlib
import fcntl
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LOG_END = 20_000  # bytes of a log that come home
PATIENCE = 60.0  # seconds for a training that is stopped to write its checkpoint


def carry_out(job: dict[str, Any], node: str, project: bytes, *needs: dict[str, Any]) -> dict[str, Any]:
    """Makes a machine ready, or trains a point there; what came of it, `failed` where something went wrong.

    Args:
        job: see `facemix.sweeps.worker`.
        node: Ray's name of the machine; empty where it is to be asked for.
        project: a git repository of the commit as a tar file.
        needs: what came of the points whose models this one reads.
    """
    for need in needs:
        if need.get("failed"):
            return {"failed": f"was not trained: it needs {need['name']}, which failed", "name": job["name"]}
        job["lock"] |= need["lock"]
    if not node:
        import ray

        node = ray.get_runtime_context().get_node_id()
    folder = _held_folder(job["sweep"], node)
    code = _unpacked(project, job["commit"], folder)
    return _done(job | {"top": str(code), "cache": str(folder / "cache")}, folder)


def clean(sweep: str, node: str) -> None:
    """Deletes what a sweep left on a machine."""
    shutil.rmtree(_place(sweep, node), ignore_errors=True)


def _place(sweep: str, node: str) -> Path:
    return Path(tempfile.gettempdir()) / f"facemix-sweep-{sweep}-{node[:12]}"


_locks: dict[Path, IO[bytes]] = {}
"""What this process holds: as long as it lives, no other sweep deletes the folder."""


def _held_folder(sweep: str, node: str) -> Path:
    """The sweep's folder on this machine; what other sweeps left there and nobody uses is deleted."""
    folder = _place(sweep, node)
    for other in folder.parent.glob("facemix-sweep-*/lock"):
        if other.parent != folder:
            with contextlib.suppress(OSError), other.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other.parent, ignore_errors=True)
    while folder not in _locks:
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            held = (folder / "lock").open("ab")
            fcntl.flock(held, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(held.fileno()), (folder / "lock").stat()):
                _locks[folder] = held
            else:
                held.close()
    return folder


def _unpacked(project: bytes, commit: str, folder: Path) -> Path:
    """The commit as a working tree that clones are made of; the first task on a machine unpacks it."""
    code = folder / "project"
    with (folder / "project.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "unpacked").exists():
            shutil.rmtree(code, ignore_errors=True)
            with tarfile.open(fileobj=io.BytesIO(project)) as archive:
                archive.extractall(code, filter="data")
            subprocess.run(["git", "-C", str(code), "reset", "--quiet", "--hard", commit], check=True)
            (folder / "unpacked").touch()
    return code


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process of the commit's own code that does jobs one after the other."""

    process: subprocess.Popen[bytes]
    folder: Path
    """Where it works."""
    environment: dict[str, str]
    """Its own."""


_workers: list[_Worker] = []
"""The one of this process, once it is there."""


def _worker(folder: Path, environment: dict[str, str]) -> _Worker:
    if not _workers or _workers[0].process.poll() is not None or _workers[0].folder.parent != folder:
        _dismiss()
        task = Path(tempfile.mkdtemp(prefix="task-", dir=folder))
        with (task / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "facemix.sweeps.worker"],
                cwd=task,
                env=environment,
                stdin=subprocess.PIPE,  # it lives as long as this end is open
                stdout=subprocess.PIPE,  # a line for each job that is done
                stderr=log,
                start_new_session=True,
            )
        _workers.append(_Worker(process, task, environment))
    return _workers[0]


def _dismiss() -> None:
    """Ends the worker of this process."""
    for worker in _workers:
        with worker.process:  # closes what it lives by, and waits
            pass
        shutil.rmtree(worker.folder, ignore_errors=True)
    _workers.clear()


def _done(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Has the worker of this process do a job."""
    paths = {
        "PATH": [str(Path(sys.executable).parent), os.environ.get("PATH")],
        "PYTHONPATH": [str(Path(job["top"], job["inside"], "src")), os.environ.get("PYTHONPATH")],
    }
    environment = {
        **os.environ,
        **{name: os.pathsep.join(filter(None, path)) for name, path in paths.items()},
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        **job["variables"],
    }
    worker = _worker(folder, environment)
    # Ray may have given another GPU to this task. What is secret in an environment is not written to a file.
    other = {name: value for name, value in environment.items() if worker.environment.get(name) != value}
    job |= {"home": job["home"] or str(folder / "home"), "environment": other}
    process, task = worker.process, worker.folder
    assert process.stdin is not None and process.stdout is not None
    for left in (task / "result.json", task / "log"):
        left.write_bytes(b"")
    shutil.rmtree(task / "home", ignore_errors=True)
    (task / "job.json").write_text(json.dumps(job), encoding="utf-8")
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
            process.stdin.flush()
        while not select.select([process.stdout], [], [], 0.2)[0]:
            pass  # a wait without an end would hear no cancellation
        said = process.stdout.readline()
    except BaseException:
        process.send_signal(signal.SIGINT)
        select.select([process.stdout], [], [], PATIENCE)
        _dismiss()
        raise
    log = (task / "log").read_bytes()[-LOG_END:].decode(errors="replace")
    result = {"name": job["name"], "host": socket.gethostname(), "log": log}
    if not said:
        status = process.wait()
        _dismiss()
        return result | {"failed": f"the training's process ended with status {status}"}
    result |= json.loads((task / "result.json").read_text(encoding="utf-8"))
    return result | {file.stem: file.read_bytes() for file in (task / "home").glob("*") if file.is_file()}
