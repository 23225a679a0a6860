"""SIGTERM and SIGINT: a training ends its step, saves, and says how to go on."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from facemix.files import RemoteFile
from facemix.training.processes import Group


class Stopped(SystemExit):
    """A signal asked the training to stop, and it did so cleanly."""

    def __init__(self, number: int, step: int, checkpoint: Path | RemoteFile) -> None:
        super().__init__(128 + number)
        self.message = (
            f"stopped by {signal.Signals(number).name} after step {step}; the same command goes on from {checkpoint}"
        )


@contextmanager
def stop_signals(group: Group) -> Iterator[Callable[[], int]]:
    """Holds SIGTERM and SIGINT back until the step is done.

    Yields:
        A function to be called after each step, which tells which signal came to any process of the group (0: none),
        to all of them after the same step.
    """
    received = 0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = number

    exchange = group.largest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: exchange(0)
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: exchange(received)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
