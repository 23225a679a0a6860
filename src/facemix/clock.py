"""How long a training took by its own clock, kept beside its checkpoint.

No output of a stage holds it: outputs are equal bit for bit, whatever the machine, and time is not.
"""

import math
import time
from dataclasses import dataclass

from facemix.files import File, write_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time of one training; a training that goes on from its checkpoint adds to it."""

    file: File
    before: float
    """Seconds until the checkpoint was written; NaN where that is not known."""
    began: float
    """By the monotonic clock."""

    @classmethod
    def start(cls, checkpoint: File) -> "Clock":
        """Starts where the checkpoint left it, or at zero where there is no checkpoint."""
        so_far = read(checkpoint) if checkpoint.exists() else 0.0
        file = _file(checkpoint)
        file.unlink(missing_ok=True)
        return cls(file=file, before=math.nan if so_far is None else so_far, began=time.monotonic())

    @property
    def seconds(self) -> float:
        """So far; NaN where a part is not known."""
        return self.before + time.monotonic() - self.began

    def keep(self) -> None:
        """Writes the seconds so far, if they are known."""
        if math.isfinite(self.seconds):
            write_bytes(self.file, f"{self.seconds:.3f}\n".encode())


def read(checkpoint: File) -> float | None:
    """Seconds of the training that had this checkpoint; None where they are not known."""
    try:
        seconds = float(_file(checkpoint).read_bytes())
    except (OSError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None


def _file(checkpoint: File) -> File:
    return checkpoint.with_suffix(".seconds")
