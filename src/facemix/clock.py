"""How long a training took by its own clock, kept beside its checkpoint.

No output of a stage holds it: outputs are equal bit for bit, whatever the machine, and time is not.
"""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from facemix.files import whole_file

CHECKPOINTS = "FACEMIX_CHECKPOINTS"
"""The variable that names a folder of checkpoints which machines share."""


def checkpoints(root: Path) -> Path:
    """Where trainings keep their checkpoints and times: in the folder that machines share, or else below a root."""
    return Path(os.environ.get(CHECKPOINTS) or root / "checkpoints")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time of one training; a training that goes on from its checkpoint adds to it."""

    file: Path
    before: float
    """Seconds until the checkpoint was written; NaN where that is not known."""
    began: float
    """By the monotonic clock."""

    @classmethod
    def start(cls, checkpoint: Path) -> "Clock":
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
            with whole_file(self.file) as beside:
                beside.write_text(f"{self.seconds:.3f}\n", encoding="utf-8")


def read(checkpoint: Path) -> float | None:
    """Seconds of the training that had this checkpoint; None where they are not known."""
    try:
        seconds = float(_file(checkpoint).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None


def _file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".seconds")
