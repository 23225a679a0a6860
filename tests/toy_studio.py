"""A studio that draws instead of rendering: what `facemix.render.studio` offers, in a moment."""

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import toy
from facemix.render import marks, tables, visibility, workers

JAWS = {"mesh": 1.06, "annotator": 1.0, "steady": 1.03}
SENTENCE = "no LLVM here: rendering takes longer"


@dataclass(frozen=True)
class Population:
    """Who is drawn, and what goes wrong meanwhile."""

    glasses: float = 0.1
    lights: dict[str, float] = field(default_factory=lambda: {"sun": 1.0})
    seconds: float = 0
    """What a face takes."""
    dies_at: int = -1
    """The face at which a process is killed."""
    fails_at: int = -1
    """The face that cannot be rendered."""


@dataclass(frozen=True)
class RenderedFace:
    image: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float64]
    segmentation: npt.NDArray[np.uint8]
    record: dict[str, Any]


def choose_backend(backend: str) -> tuple[str, str | None]:
    return ("scalar", SENTENCE) if backend in ("auto", "scalar") else ("llvm", None)


def backend(asked: str) -> str:
    return choose_backend(asked)[0]


class Studio:
    def __init__(self, size: int, backend: str = "auto", table: Any = None) -> None:
        assert backend in ("llvm", "scalar"), "the choice was made before"
        self.size, self.table = size, table or tables.ibug68()

    def shoot(self, population: Any, seed: int, index: int, labels: str) -> RenderedFace:
        if not isinstance(population, Population):  # the generator's own
            population = Population(glasses=population.glasses)
        time.sleep(population.seconds)
        if index == population.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == population.fails_at:
            raise KeyError("no such hair")
        rng = np.random.default_rng([seed, index])
        image, points = toy.face(rng, self.size, jaw=JAWS[labels])
        seen = rng.random(len(marks.vertex_rows()) + len(visibility.PUPILS)) < 0.9
        record = {
            "age": float(rng.uniform(5, 90)),
            "glasses": bool(rng.random() < population.glasses),
            "hair": str(rng.choice(["bald", "long"])),
            "visible": self.table.visible(seen),
            "seen": visibility.packed(seen),
            "light": np.float32(0.5),
        }
        segmentation = (image[..., 0] > 128).astype(np.uint8)
        return RenderedFace(image, _of(self.table, points), segmentation, record)


def labeller(size: int, table: tables.Table) -> Callable[[Any, int, int, str], npt.NDArray[np.float64]]:
    def points(_population: Any, seed: int, index: int, labels: str) -> npt.NDArray[np.float64]:
        return _of(table, toy.face(np.random.default_rng([seed, index]), size, jaw=JAWS[labels])[1])

    return points


def _of(table: tables.Table, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """As many of the face's points as the table has, or has them again."""
    return np.resize(points, (len(table.scheme), 2)).astype(np.float64)


def one_by_one(job: workers.Job, indices: Sequence[int], _processes: int) -> Generator[int, None, None]:
    """Does the work of `workers.finished` in this process."""
    make = job.begin()
    for index in indices:
        make(index)
        yield index
