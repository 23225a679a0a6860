"""A courier without a process of its own, so that tests need not wait for MLflow's import in each."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from facemix.tracking import delivery, run


class InProcess:
    """Sends when it is made, and at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.finish(0.0)

    def finish(self, patience: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            delivery.follow(self.folder, lambda seconds: True)


def install() -> None:
    run.Courier = InProcess


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """Runs that begin in the block are sent by this process."""
    with mock.patch.object(run, "Courier", InProcess):
        yield
