"""What a machine of a Ray cluster does for a sweep: it unpacks the project's commit.

The commit's own code (`facemix.sweeps.worker`) does the work, in a process that ends when this one does.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    with _folder(job["sweep"], node) as folder:
        code = _unpacked(project, job["commit"], folder)
        task = Path(tempfile.mkdtemp(prefix="task-", dir=folder))
        try:
            return _run(job | {"top": str(code), "cache": str(folder / "cache")}, folder, task)
        finally:
            shutil.rmtree(task, ignore_errors=True)


def clean(sweep: str, node: str) -> None:
    """Deletes what a sweep left on a machine."""
    shutil.rmtree(_place(sweep, node), ignore_errors=True)


def _place(sweep: str, node: str) -> Path:
    return Path(tempfile.gettempdir()) / f"facemix-sweep-{sweep}-{node[:12]}"


@contextlib.contextmanager
def _folder(sweep: str, node: str) -> Iterator[Path]:
    """The sweep's folder on this machine; what other sweeps left there and nobody uses is deleted."""
    folder = _place(sweep, node)
    for other in folder.parent.glob("facemix-sweep-*/lock"):
        if other.parent != folder:
            with contextlib.suppress(OSError), other.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other.parent, ignore_errors=True)
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), (folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(file.fileno()), (folder / "lock").stat()):
                yield folder
                return


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


def _run(job: dict[str, Any], folder: Path, task: Path) -> dict[str, Any]:
    """Has a process of the commit's own code do a job in a folder."""
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
    home = job["home"] or str(folder / "home")
    (task / "job.json").write_text(json.dumps(job | {"home": home}), encoding="utf-8")
    with (task / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "facemix.sweeps.worker"],
            cwd=task,
            env=environment,
            stdin=subprocess.PIPE,  # it lives as long as this end is open
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while True:  # a wait without an end would hear no cancellation
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                    break
        except BaseException:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            raise
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    said = (task / "log").read_bytes()[-LOG_END:].decode(errors="replace")
    result = {"name": job["name"], "host": socket.gethostname(), "log": said}
    if not (task / "result.json").exists():
        return result | {"failed": f"the training's process ended with status {process.returncode}"}
    result |= json.loads((task / "result.json").read_text(encoding="utf-8"))
    return result | {file.stem: file.read_bytes() for file in (task / "home").glob("*") if file.is_file()}
