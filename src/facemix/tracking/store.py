"""The store that runs go to: which one, how it is opened, and where its artifacts lie."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import socket
import sqlite3
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

QUIET = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's own 120, seven times over, would be an hour's silence
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what goes wrong is said in our words, in one line
}
DATABASE_WAIT = 2.0  # seconds for a database that another process writes to
SERVER_WAIT = 2.0  # seconds for a server to take a connection
LOCK_WAIT = 60.0  # seconds for another process that makes the database, which takes MLflow several
_SQLITE = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]+)")
_PROXIED = "mlflow-artifacts:"


class StoreAwayError(Exception):
    """The store does not answer at all."""


def workspace() -> Path:
    """The main workspace's root.

    That is `DVC_ROOT`, which DVC sets also in the temporary workspaces of its experiments, else the nearest folder
    upwards that has a `.dvc`, else the working directory.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def outbox() -> Path:
    """Where journals lie: under `.dvc/tmp`, which DVC keeps out of git; without DVC in a folder of our own."""
    root = workspace()
    return (root / ".dvc" / "tmp" / "facemix" if (root / ".dvc").is_dir() else root / ".facemix") / "outbox"


def store_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file that a plain `mlflow ui` shows at the main workspace's root.

    A relative SQLite path means that root too: what lies in an experiment's temporary workspace is deleted with it.
    The path of a SQLite file stands here as it is, not quoted.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    file = _sqlite_file(uri)
    return f"sqlite:///{workspace() / file}" if file else uri  # an absolute path stays as it is


def shown_uri() -> str:
    """The store's address without a password."""
    return re.sub(r"//[^/]*@", "//", store_uri())


def _sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store, and for one in memory."""
    found = _SQLITE.match(uri)
    path = urllib.parse.unquote(found["path"]) if found else ""
    return None if not path or path.startswith((":memory:", "file:")) else Path(path)


def _database() -> Path | None:
    """The absolute path of the SQLite file that `store_uri` names."""
    file = _sqlite_file(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db")
    return workspace() / file if file else None


def client_uri() -> str:
    """The store's address as MLflow and SQLAlchemy want it: `?` and `%` in the path of a SQLite file are quoted.

    The driver is named, since of a plain `sqlite:///` MLflow would make the folder whose name is the quoted one.
    """
    file = _database()
    if file is None:
        return store_uri()
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)


def client() -> Any:
    """MLflow's client of the store, once it answers.

    Raises:
        StoreAwayError: it does not, or its database cannot be opened.
    """
    _probe()
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        return _client(client_uri())
    except Exception as error:
        raise StoreAwayError(line(error)) from error


def _probe() -> None:
    """Raises where a SQLite file cannot be opened for writing or nobody listens: MLflow would try that for minutes."""
    file, server = _database(), urllib.parse.urlparse(store_uri())
    try:
        if file is None:
            if server.scheme in ("http", "https") and not urllib.request.getproxies():
                port = server.port or (443 if server.scheme == "https" else 80)
                socket.create_connection((server.hostname or "", port), timeout=SERVER_WAIT).close()
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(file, timeout=DATABASE_WAIT, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StoreAwayError(f"{file or server.hostname}: {line(error)}") from error


@cache
def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    with file_lock("initialising"):
        if (file := _database()) and not (file.exists() and file.stat().st_size):
            _make_database(file.resolve())
        client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    client.search_experiments(max_results=1)
    return client


def _make_database(file: Path) -> None:
    """Make MLflow's tables beside, then rename: MLflow cannot open what a process killed meanwhile leaves half made."""
    from mlflow import MlflowClient
    from sqlalchemy import URL

    for left in file.parent.glob(f"{file.name}.new*"):
        left.unlink()
    beside = file.with_name(f"{file.name}.new")
    uri = URL.create("sqlite+pysqlite", database=str(beside)).render_as_string(hide_password=False)
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
    beside.replace(file)


@contextlib.contextmanager
def file_lock(doing: str) -> Iterator[None]:
    """One process at a time makes the database's tables and the experiment, or registers a model.

    Raises:
        StoreAwayError: another process holds the lock for too long.
        OSError: the lock's file cannot be written.
    """
    outbox().mkdir(parents=True, exist_ok=True)
    lock = outbox() / f"{doing}.lock"
    with lock.open("wb") as file:
        try:
            free = locked(file, LOCK_WAIT)
        except OSError:  # a file system without locks: better sometimes two at once than nothing ever
            free = True
        if not free:
            raise StoreAwayError(f"another process holds {lock} for more than {LOCK_WAIT:.0f} s")
        yield


def locked(file: IO[Any], wait: float) -> bool:
    """Lock an open file until it is closed, however the process ends; False where another process keeps its lock.

    Args:
        file: Any open file.
        wait: Seconds to wait for another process's lock.

    Raises:
        OSError: the file system has no locks.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


# --- Artifacts --------------------------------------------------------------------------------------------------------
#
# The database holds no place of an artifact, only `mlflow-artifacts:/...`. A server finds that in its `mlartifacts`, so
# a project may be moved, copied or mounted elsewhere. Without a server MLflow cannot read it: hence the plugin.


def artifact_location(experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None: a server knows that itself."""
    if _database() is None:
        return None
    folder = re.sub(r"[^\w.-]", "-", experiment, flags=re.ASCII)
    if folder != experiment or folder.startswith("."):  # servers disagree on what is to be quoted
        folder = f"{folder.lstrip('.')}-{experiment.encode().hex()[-8:]}"
    return f"{_PROXIED}/{folder}"


def artifacts(location: str) -> Any:
    """MLflow's repository of the artifacts at a location of the store, whether a server runs or not."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get = proxied_artifacts if location.startswith(_PROXIED) else get_artifact_repository
    return get(location, tracking_uri=client_uri())


def proxied_artifacts(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """MLflow's plugin for `mlflow-artifacts:`, see pyproject.toml: beside a SQLite file they lie in `mlartifacts`.

    That is where a plain `mlflow ui` in that folder keeps them, so `mlflow models serve` and `mlflow.pyfunc.load_model`
    need no server. For every other store MLflow's own repository asks the server.
    """
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    file = _sqlite_file(tracking_uri or mlflow.get_tracking_uri())
    if file is None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri, registry_uri)
    place = urllib.parse.urlparse(artifact_uri).path.lstrip("/")
    folder = (Path.cwd() / file).parent / "mlartifacts" / place
    return LocalArtifactRepository(folder.as_uri(), tracking_uri, registry_uri)


def line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
