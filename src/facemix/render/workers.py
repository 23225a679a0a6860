"""The processes that make the faces of a set: one a core, each on one thread, and all of them end with their parent."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import wait
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

import cv2

from facemix.errors import FacemixError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

GOES_ON = "the same command goes on where it stopped"

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OIDN_NUM_THREADS")


class Job(Protocol):
    """What is done to each face; it is pickled, and sent to the processes."""

    @property
    def done(self) -> str:
        """What has happened to a face then, such as `rendered`."""

    def begin(self) -> Callable[[int], None]:
        """Loads what all faces share; returns what is done to the face of a number."""


def finished(job: Job, indices: Sequence[int], processes: int) -> Generator[int, None, None]:
    """Each face as soon as the job is done with it, in as many processes; however this ends, they end with it.

    Raises:
        FacemixError: a face could not be made, or a process died.
        OSError: the disk is full or read-only.
    """
    context = multiprocessing.get_context("spawn")  # a renderer's threads do not survive a fork
    waiting = iter(indices)
    workers: dict[Connection[Any, Any], SpawnProcess] = {}
    working: dict[Connection[Any, Any], int] = {}
    try:
        for index in itertools.islice(waiting, processes):
            connection, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, job), daemon=True)
            with _child_environment():
                worker.start()
            theirs.close()
            workers[connection] = worker
            working[connection] = index
            connection.send(index)
        while working:
            for ready in wait(list(working)):
                connection = cast("Connection[Any, Any]", ready)
                index = working.pop(connection)
                try:
                    failure = connection.recv()
                    following = None if failure else next(waiting, None)
                    connection.send(following)  # None: there is nothing more to do
                except (EOFError, ConnectionError):
                    failure, following = _death(workers[connection], job), None
                if failure:
                    raise failure if isinstance(failure, OSError) else FacemixError(f"face {index}: {failure}")
                if following is not None:
                    working[connection] = following
                yield index
    finally:
        for worker in workers.values():
            worker.terminate()  # whole files only: nothing is lost
        for worker in workers.values():
            worker.join()


def _death(worker: SpawnProcess, job: Job) -> str:
    worker.join()
    return (
        f"the process that {job.done} it ended with exit code {worker.exitcode}"
        + (", killed, perhaps for want of memory: try fewer --processes" if worker.exitcode == -signal.SIGKILL else "")
        + f"; {GOES_ON}"
    )


def _work(connection: Connection[Any, Any], job: Job) -> None:
    """Makes the faces that the parent names until it names None; answers each with what failed, or None."""
    cv2.setNumThreads(1)
    make: Callable[[int], None] | None = None
    with contextlib.suppress(EOFError, ConnectionError):  # the parent was killed
        for index in iter(connection.recv, None):
            failure: OSError | str | None = None
            try:
                make = make or job.begin()
                make(index)
            except OSError as error:
                failure = error
            except Exception:
                failure = f"could not be {job.done}\n{traceback.format_exc()}"
            connection.send(failure)


@contextlib.contextmanager
def _child_environment() -> Iterator[None]:
    """What a process started in the block inherits: one thread for each library, and Ctrl-C is the parent's to handle.

    Both must hold before the child's first line runs, so they cannot be set there.
    """
    former = {name: os.environ.get(name) for name in ONE_THREAD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: everything is put away, workers too, then the process exits."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
