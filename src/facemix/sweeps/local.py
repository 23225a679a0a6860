"""Trains a sweep's points on this machine, in clones of the project that share DVC's cache.

A point is trained as soon as what it needs is there and a clone is free.
"""

import os
import queue
import shutil
import signal
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np

from facemix.config import Params
from facemix.faces import packs
from facemix.sweeps import devices, grid, point, repository, storage
from facemix.sweeps.grid import Point
from facemix.sweeps.point import Place, Running
from facemix.sweeps.storage import Remote
from facemix.sweeps.work import Progress, Work, interrupted_by_sigterm, on_stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine."""

    jobs: int
    """Trainings at a time."""

    def train(self, work: Work) -> dict[Point, str]:
        """Trains the points; returns those that failed, with the reason."""
        return train(work, self.jobs)


def train(work: Work, jobs: int) -> dict[Point, str]:
    logs = begin(work)
    progress, running = Progress(work=work), Running()
    places: queue.SimpleQueue[Place] = queue.SimpleQueue()

    def train_point(one: Point) -> float:
        progress.check_needs(one)
        place = places.get()
        try:
            return _train_point(work, place, one, logs)
        finally:
            places.put(place)

    with interrupted_by_sigterm(), ThreadPoolExecutor(jobs) as pool:
        try:
            variables = gpus(min(jobs, len(work.missing)), work.params)
            made = [clone(work, str(number), running, one) for number, one in enumerate(variables)]
            prepare(work, made[0])
            for place in made:
                places.put(place)
            order = TopologicalSorter(work.graph())
            order.prepare()
            futures: dict[Future[float], Point] = {}
            while order.is_active():
                futures |= {pool.submit(train_point, one): one for one in order.get_ready()}
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    one = futures.pop(future)
                    progress.ended(one, future.result)
                    order.done(one)
        except BaseException as error:
            on_stop(lambda *_: None)  # a second Ctrl-C cuts nothing short; children do not inherit a handler
            running.stop()
            pool.shutdown(cancel_futures=True)
            on_stop(signal.SIG_IGN)  # git inherits this, and it holds until Python's very end
            if isinstance(error, KeyboardInterrupt):
                raise progress.stopped() from None
            raise
    if not progress.failed:
        shutil.rmtree(work.folder, ignore_errors=True)
    return progress.failed


def begin(work: Work) -> Path:
    """Deletes what a killed sweep left; returns an empty folder for logs."""
    shutil.rmtree(work.folder, ignore_errors=True)
    logs = work.folder / "logs"
    logs.mkdir(parents=True)
    return logs


def gpus(jobs: int, params: Params) -> list[dict[str, str]]:
    """The variables by which each of several trainings at once sees another GPU."""
    if params.training.device == "cpu" or jobs == 1:
        return devices.share_out([], jobs)
    import torch

    visible = devices.visible(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    return devices.share_out(visible, jobs)


def clone(work: Work, name: str, running: Running, variables: Mapping[str, str], remote: Remote | None = None) -> Place:
    """A clone of the project at the commit, with its sources and DVC's cache: files are linked, not copied."""
    root, folder = work.project.root, repository.clone(work.project, work.folder / name)
    if (own := root / ".dvc/config.local").exists():
        shutil.copy(own, folder / ".dvc")
    storage.configure(folder, storage.cache(root), remote)
    place = Place(clone=folder, home=root, running=running, environment={**work.variables, **variables})
    if sources := [str(path.relative_to(folder)) for path in sorted((folder / "data").rglob("*.dvc"))]:
        place.dvc("checkout", *sources, log=work.folder / "logs/clone.log")
    return place


def prepare(work: Work, place: Place) -> list[str]:
    """Makes the packs once, or takes them from DVC's cache, and checks the numbers of faces against them.

    Returns:
        Their stages.
    """
    roles = ["real", *(["synthetic"] if work.trains_on_synthetic else [])]
    stages = [f"prepare@{role}" for role in roles]
    place.dvc("repro", *stages, log=work.folder / "logs/prepare.log")
    for role in roles:
        pack = packs.read(place.clone / packs.FOLDER / role, images=False)
        grid.check_counts(f"n_{role}", work.axes.get(f"n_{role}", ()), int(np.sum(pack.splits == "train")))
    return stages


def _train_point(work: Work, place: Place, one: Point, logs: Path) -> float:
    """Trains a point in a clone and brings its experiment home; returns its validation NME."""
    name, commit = work.names[one], work.project.commit
    point.set_out(place.clone, commit, one)
    nme = point.train(place, commit, one, name, logs / f"{name}.log", work.params.evaluation.normalizer)
    repository.bring_home(work.project, place.clone, name)
    return nme
