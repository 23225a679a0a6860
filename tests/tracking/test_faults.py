"""Training goes on, at once, whatever happens to the store, the disk, the locks or the courier."""

import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_tracking import checkpoint, history, outbox, stored_runs, track

from facemix import tracking
from facemix.tracking import delivery, journal, run, store

SLOW = 15.0  # seconds that nothing here may take; MLflow itself would try for longer, minutes for a database


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SLOW


def train(root: Path, **options: Any) -> None:
    """A training with all that it may log."""
    with track("one", params={"alpha": 0.5}, **options) as training:
        training.metrics({"loss": 1.0}, step=1)
        training.artifact(checkpoint(root))
        training.metrics({"loss": 0.5}, step=2)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("facemix")]


def unusable(root: Path, how: str) -> None:
    if how == "a folder":
        (root / "mlflow.db").unlink()
        (root / "mlflow.db").mkdir()
    elif how == "no database":
        (root / "mlflow.db").write_bytes(b"text" * 1000)
    else:
        (root / "mlflow.db").unlink()
        (root / "mlflow.db").symlink_to("/proc/nowhere/mlflow.db")


@pytest.mark.parametrize("how", ["a folder", "no database", "nowhere"])
def test_a_database_that_cannot_be_opened_is_given_up_at_once(
    how: str, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "_client", lambda uri: pytest.fail("MLflow would try this for minutes"))
    unusable(root, how)
    train(root)
    (line,) = said(caplog)
    assert "not completely in MLflow" in line and "mlflow.db" in line and str(outbox(root)[0]) in line
    assert not list(outbox(root)[0].parent.glob("*.lock"))  # and nobody else waits


def test_a_database_that_another_process_writes_to_is_not_waited_for_long(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "DATABASE_WAIT", 0.1)
    other = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    train(root)
    other.close()
    (line,) = said(caplog)
    assert "locked" in line
    assert tracking.deliver() == 0 and len(history(stored_runs()[0])) == 2


def test_a_lock_that_another_process_keeps_is_not_waited_for_forever(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "LOCK_WAIT", 0.1)
    with store.file_lock("initialising"):
        train(root)
    assert "another process holds" in said(caplog)[0]


@pytest.mark.parametrize("room", [0, 700, 1500])
def test_a_full_disk_under_the_journal_loses_what_it_must_and_no_more(
    room: int, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Disk:
        """A file that takes `room` bytes, and half of the line that is too much."""

        def __init__(self, file: Any) -> None:
            self.file, self.left = file, room

        def write(self, content: bytes) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.file.write(content[: self.left])
            self.left -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    begin = journal.Journal.begin.__func__

    def begin_on_it(cls: Any, identity: str | None) -> journal.Journal:
        begun: journal.Journal = begin(cls, identity)
        begun._file = Disk(begun._file)
        return begun

    monkeypatch.setattr(journal.Journal, "begin", classmethod(begin_on_it))
    with track("one", params={"alpha": 0.5}) as training:
        training.metrics({"loss": 1.0}, step=1)
        training.metrics({"much": 1.0, **{f"loss of part {number}": 1.0 for number in range(50)}}, step=2)
        if training._journal:
            training._journal._file.left = 10_000  # somebody has made room
        training.metrics({"loss": 0.5}, step=3)
    (line,) = said(caplog)
    assert "Some of this run" in line and "No space left" in line
    if room == 0:
        assert outbox(root) == []
    else:
        (stored,) = stored_runs()
        assert stored.info.status == "FINISHED" and history(stored) == [(1, 1.0), (3, 0.5)]


def test_an_artifact_that_cannot_be_copied_is_lost_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    train(root)
    assert "No space left" in said(caplog)[0]
    assert history(stored_runs()[0]) == [(1, 1.0), (2, 0.5)]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_holds_nothing_up(
    code: int, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: Any, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    train(root)
    assert said(caplog) == []
    assert history(stored_runs()[0]) == [(1, 1.0), (2, 0.5)]


def test_where_nothing_can_be_written_training_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_only(self: Path, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    models = checkpoint(root)
    monkeypatch.setattr(Path, "mkdir", read_only)
    with track("one") as training:
        training.metrics({"loss": 1.0}, step=1)
        training.model(models)
    (line,) = said(caplog)
    assert "Read-only file system" in line


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError("odd"), AttributeError("odd"), ImportError("odd")])
def test_whatever_mlflow_raises_is_kept_from_training(
    error: Exception, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_find_run", fail)
        train(root)
    (line,) = said(caplog)
    assert "odd" in line
    assert tracking.deliver() == 0 and stored_runs()[0].info.status == "FINISHED"


# --- The courier's own process ----------------------------------------------------------------------------------------


@pytest.fixture
def courier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Courier", delivery.Courier)


def test_a_server_that_takes_a_connection_and_never_answers_is_left_when_patience_ends(
    root: Path, courier: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        train(root, patience=0.5)
    (line,) = said(caplog)
    assert "no end within" in line
    assert len(outbox(root)) == 1


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_a_courier_that_dies_or_cannot_start_is_no_fault_of_the_training(
    program: str, root: Path, courier: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    train(root)
    (line,) = said(caplog)
    assert "is kept in" in line


def test_a_courier_that_cannot_be_killed_is_not_waited_for() -> None:
    class Stuck:
        stdin = open(os.devnull, "wb")  # noqa: SIM115, PTH123
        killed = False

        def wait(self, timeout: float) -> None:
            raise subprocess.TimeoutExpired("courier", timeout)

        def poll(self) -> None: ...

        def kill(self) -> None:
            self.killed = True

    stuck = delivery.Courier.__new__(delivery.Courier)
    stuck._process = Stuck()  # type: ignore[assignment]
    stuck.finish(0.0)
    assert Stuck.stdin.closed and stuck._process.killed  # type: ignore[attr-defined]


def test_what_is_logged_reaches_the_store_by_the_courier_while_the_run_lives(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of the courier, in a thread: it needs no word from the run but that of its end."""
    ended = threading.Event()
    follower: list[threading.Thread] = []

    class Thread:
        def __init__(self, folder: Path) -> None:
            follower.append(threading.Thread(target=delivery.follow, args=(folder, lambda _seconds: ended.wait(0.05))))
            follower[0].start()

        def finish(self, patience: float) -> None:
            ended.set()
            follower[0].join(30)

    monkeypatch.setattr(run, "Courier", Thread)
    with track() as training:
        training.metrics({"loss": 1.0}, step=1)
        note = outbox(root)[0] / "sent.json"
        while not note.exists() or '"upto": 2' not in note.read_text():
            time.sleep(0.05)
        training.metrics({"loss": 0.5}, step=2)
    assert history(stored_runs()[0]) == [(1, 1.0), (2, 0.5)] and outbox(root) == []


def test_a_stuck_store_is_asked_ever_more_rarely(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_journal: Any) -> None:
        raise store.StoreAwayError("away")

    waits: list[float] = []
    monkeypatch.setattr(delivery, "send", away)
    folder = root / "journal"
    folder.mkdir()
    delivery.follow(folder, lambda seconds: waits.append(seconds) or len(waits) == 6)  # type: ignore[func-returns-value]
    assert waits == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
