"""What every runner of a sweep is given, and what it says while it trains."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from facemix import tracking
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.sweeps import grid
from facemix.sweeps.grid import Axes, Inputs, Point
from facemix.sweeps.repository import Repository, git

FOLDER = Path(".dvc/tmp/facemix/sweep")
"""Clones and logs; beside it the lock that keeps two sweeps apart."""


class Stopped(SystemExit):
    """A signal asked the sweep to stop; finished points are kept."""

    def __init__(self, message: str) -> None:
        super().__init__(130)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is missing of a sweep."""

    project: Repository
    params: Params
    axes: Axes
    inputs: Mapping[str, Inputs]
    names: Mapping[Point, str]
    """The experiment of each point of the sweep."""
    missing: Sequence[Point]
    """What is to be trained: what a point needs stands before it."""
    run: tracking.Run | None = None
    """The sweep's own in MLflow: the parent of those of its points."""

    @property
    def folder(self) -> Path:
        return self.project.root / FOLDER

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of all trainings, whoever runs them."""
        return self.run.variables if self.run else {}

    @property
    def trains_on_synthetic(self) -> bool:
        """Whether any point needs the synthetic faces."""
        return any("n_synthetic" in self.inputs[point.strategy].params for point in self.missing)

    def graph(self) -> dict[Point, list[Point]]:
        """What each missing point waits for: those of the others whose models it reads."""
        missing = set(self.missing)
        return {point: [need for need in grid.needed(point, self.inputs) if need in missing] for point in self.missing}


@dataclass(slots=True, kw_only=True)
class Progress:
    """A line for each point that ends; of figures, it shows those of validation only."""

    work: Work
    failed: dict[Point, str] = field(default_factory=dict)
    """The points that failed, with the reason."""
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def check_needs(self, point: Point) -> None:
        """Raises FacemixError where what a point needs has failed."""
        lacking = [need for need in grid.needed(point, self.work.inputs) if need in self.failed]
        if lacking:
            raise FacemixError(f"was not trained: it needs {self.work.names[lacking[0]]}, which failed")

    def ended(self, point: Point, outcome: Callable[[], float], where: str = "") -> None:
        """Says how a point ended, and how long the others will take.

        Args:
            outcome: its validation NME (see `point.train`), or raises what it failed of.
            where: the machine, where there are several.
        """
        self.done += 1
        try:
            nme = outcome()
            said = "it finds no point of the real faces" if math.isnan(nme) else f"validation NME {nme:.2f}"
            if self.work.run and not math.isnan(nme):
                self.work.run.metrics({"val_nme": nme}, step=self.done)
        except (FacemixError, OSError) as error:
            self.failed[point], said = str(error), "failed"
        total = len(self.work.missing)
        left = (time.monotonic() - self.started) / self.done * (total - self.done)
        more = f"; about {grid.shown_time(left)} left" if self.done < total else ""
        print(f"{self.done}/{total} {self.work.names[point]}: {said}{where}{more}", flush=True)

    def stopped(self) -> Stopped:
        """What is kept when a signal ends the sweep."""
        names = {self.work.names[point] for point in self.work.missing}
        kept = len(names & experiments(self.work.project.root).keys())
        return Stopped(f"stopped; {kept} of {len(names)} new points are kept; the same command continues")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A DVC experiment as git has it."""

    revision: str
    commit: str
    """That it hangs on."""


def experiments(root: Path) -> dict[str, Experiment]:
    """Each DVC experiment by its name, whatever commit it hangs on: what `dvc exp list -A` lists."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    references = [(revision, name.split("/")) for revision, name in (line.split(" ") for line in listed.splitlines())]
    return {
        parts[4]: Experiment(revision=revision, commit=parts[2] + parts[3])
        for revision, parts in references
        if len(parts) == 5 and len(parts[2]) == 2
    }


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does. Nothing is put back where it fails or is stopped: the process ends.

    A shell starts what runs in the background with SIGINT ignored. That stays so here, but commands do not inherit it:
    they are stopped by SIGINT, which a training would not hear until its first step.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def on_stop(handler: Callable[..., None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
