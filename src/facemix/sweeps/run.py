"""`facemix sweep KEY=VALUES ...`: trains a grid of points as DVC experiments and writes `reports/sweep/`.

Each point is a DVC experiment that hangs on the current commit. `dvc exp run --temp` and `--queue` stash, change and
restore the user's workspace at the start of each experiment, and leave it torn where they are killed then; and two of
them at once may take each other's place. So points are trained in clones of the repository under `.dvc/tmp`, which
share DVC's cache, by `dvc repro` and `dvc exp save`; the finished experiment is fetched. A point is there or it is not,
its name says what it depends on, and the workspace stays the user's.
"""

import dataclasses
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from facemix import config, tracking
from facemix.config import PARAMS_FILE, REPORTS, Params
from facemix.errors import FacemixError
from facemix.faces import packs
from facemix.files import file_lock, whole_file
from facemix.strategies import MODELS, STRATEGIES
from facemix.sweeps import devices, grid, repository, results
from facemix.sweeps.grid import Axes, Inputs, Point
from facemix.sweeps.repository import Repository, git
from facemix.training import preflight
from facemix.verdict.results import load

WORK = Path(".dvc/tmp/facemix/sweep")
"""Clones and logs; beside it the lock that keeps two sweeps apart."""


class Stopped(SystemExit):
    """A signal asked the sweep to stop; finished points are kept."""


def run_sweep(arguments: Sequence[str], params: Params, *, jobs: int, yes: bool) -> None:
    """Trains what is missing of a grid and writes the tables and figures of all of it.

    Args:
        arguments: `KEY=VALUES`, see `facemix.sweeps.grid.parse_axes`.
        jobs: points trained at the same time.
        yes: start a grid of thousands without asking.

    Raises:
        FacemixError: a grid that cannot be run, no git commit or DVC repository, changes that are not committed.
        FacemixError: a point failed; the others are kept, and the tables hold them.
    """
    if jobs < 1:
        raise FacemixError(f"--jobs: found {jobs}, expected at least 1")
    axes = grid.parse_axes(arguments, params)
    root = Path.cwd()
    project = repository.examine(root)
    inputs = read_inputs(root, params.seeds[0])
    _check_clean(root)
    points = {point: grid.trained_as(point, inputs) for point in grid.plan(axes, inputs)}
    trainings = [point for point, training in points.items() if point == training]
    names = _names(root, trainings, params, inputs)
    with file_lock(root / WORK):
        missing = [point for point in trainings if names[point] not in _experiments(root)]
        _check_settings(missing, params)
        _announce(trainings, missing, params, jobs, yes)
        failed = _train(project, grid.levels(missing, inputs), names, inputs, axes, jobs, params) if missing else {}
        tracking.deliver()
        found, total = results.read_results(
            project,
            {point: names[point] for point in trainings if point not in failed},
            _experiments(root),
            params.evaluation.normalizer,
        )
    points_found = [
        dataclasses.replace(found[training], point=point) for point, training in points.items() if training in found
    ]
    if points_found:
        grid.check_counts(axes, total)
        results.write_tables(points_found, total)
    if failed:
        raise FacemixError(
            f"{len(failed)} of {len(trainings)} trainings failed; the same command tries them again:\n"
            + "\n".join(f"{names[point]}: {reason}" for point, reason in failed.items())
        )
    results.write_curves(points_found, total)


# --- What is there ----------------------------------------------------------------------------------------------------


def _check_clean(root: Path) -> None:
    """Raises ValueError where what trainings depend on differs from the commit that they are recorded with."""
    files = ("dvc.yaml", "params.yaml", "packages.yaml", "src", "data")
    status = git(root, "status", "--porcelain", "--untracked-files=all", "--", *files)
    different = [line[3:] for line in status.splitlines() if not line.endswith(".gitignore")]
    if different:
        raise FacemixError(
            f"{', '.join(different[:5])}{', ...' if different[5:] else ''}: changed and not committed, but a sweep "
            "trains on a commit; run `git add -A && git commit` (or `git stash`), then the sweep again"
        )


def read_inputs(root: Path, seed: int) -> dict[str, Inputs]:
    """What each strategy depends on, as DVC reads it from dvc.yaml.

    Args:
        seed: any one of params.yaml.
    """
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo
    from networkx import descendants

    found = {}
    with Repo(str(root)) as repo:
        graph = repo.index.graph
        stages = {getattr(stage, "name", None): stage for stage in graph}
        for name in STRATEGIES:
            if (stage := stages.get(f"{name}@{seed}")) is None:
                continue
            upstream = {stage, *descendants(graph, stage)}
            made = {out.fs_path for one in upstream if one.cmd for out in one.outs}
            dependencies = [dependency for one in upstream for dependency in one.deps]
            params = [one for one in dependencies if isinstance(one, ParamsDependency)]
            ours = root / PARAMS_FILE
            found[name] = Inputs(
                params=tuple(sorted({key for one in params if Path(one.fs_path) == ours for key in one.params})),
                other_params={
                    f"{os.path.relpath(one.fs_path, root)}:{key}": value
                    for one in params
                    if Path(one.fs_path) != ours
                    for key, value in one.read_params(flatten=True).items()
                },
                paths=tuple(
                    sorted(
                        {
                            os.path.relpath(one.fs_path, root)
                            for one in dependencies
                            if not isinstance(one, ParamsDependency) and one.fs_path not in made
                        }
                    )
                ),
                needs=tuple(
                    other for other in STRATEGIES if other != name and stages.get(f"{other}@{seed}") in upstream
                ),
            )
    return found


def _names(root: Path, points: Sequence[Point], params: Params, inputs: Mapping[str, Inputs]) -> dict[Point, str]:
    """The experiment of each point: its name changes with what the point depends on."""
    paths = sorted({path for one in inputs.values() for path in one.paths})
    listed = [line.split("\t") for line in git(root, "ls-tree", "HEAD", "--", *paths).splitlines()]
    content = {path: about.split()[-1] for about, path in listed}
    plain = config.plain(params)
    return {point: grid.experiment_name(point, plain, inputs[point.strategy], content) for point in points}


def _experiments(root: Path) -> dict[str, str]:
    """The name and git revision of each DVC experiment, whatever commit it hangs on: what `dvc exp list -A` lists."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    references = [(revision, name.split("/")) for revision, name in (line.split(" ") for line in listed.splitlines())]
    return {parts[4]: revision for revision, parts in references if len(parts) == 5 and len(parts[2]) == 2}


def _check_settings(points: Sequence[Point], params: Params) -> None:
    """Refuses now what the trainings of some points would refuse when their turn comes."""
    for settings in {point.settings for point in points}:
        preflight.check(config.parse(config.changed(config.plain(params), dict(settings))))


def _announce(points: Sequence[Point], missing: Sequence[Point], params: Params, jobs: int, yes: bool) -> None:
    """Says what is to be done and how long it takes; asks where that is much."""
    said = f"{len(points)} trainings: {len(points) - len(missing)} are there, {len(missing)} to run"
    if missing:
        seconds = grid.estimate(missing, _measured(params, missing), jobs)
        said += f", about {grid.shown_time(seconds)}" if seconds else "; how long is known after the first"
        said += f" ({jobs} at a time)" if jobs > 1 else ""
    print(said, flush=True)
    if len(missing) > grid.LARGE and not yes:
        if not sys.stdin.isatty():
            raise FacemixError(f"more than {grid.LARGE} trainings need your consent; add --yes, or narrow the grid")
        if input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
            raise FacemixError("not started")


def _measured(params: Params, missing: Sequence[Point]) -> dict[str, list[float]]:
    """Seconds that finished trainings of each strategy took under the same settings, from MLflow."""
    wanted = [
        tracking.flatten(
            {
                key: value
                for key, value in config.changed(config.plain(params), dict(point.settings)).items()
                if key in ("model", "training", "adaptation")
            }
        )
        for point in {point.strategy: point for point in missing}.values()
    ]
    found: dict[str, list[float]] = {}
    for run in tracking.finished(params.tracking.experiment):
        own = {
            key: value for key, value in run.params.items() if key.split(".")[0] in ("model", "training", "adaptation")
        }
        if own and any(own.items() <= settings.items() for settings in wanted):
            found.setdefault(run.params["strategy"], []).append(run.seconds)
    return found


# --- Training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """Where one training at a time runs."""

    clone: Path
    """The project's root in a clone."""
    environment: Mapping[str, str]
    """Variables of its own: the GPU that it sees."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """The commands that run now, so that a signal to the sweep reaches them."""

    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopping: bool = False

    def command(self, command: Sequence[str], folder: Path, log: IO[bytes], environment: Mapping[str, str]) -> bool:
        """Runs a command to its end; whether it ended well.

        It inherits the sweep's lock. So where the sweep alone was killed, the next one waits for what is left of it.
        """
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            close_fds=False,
            start_new_session=True,
        ) as process:
            self.processes.add(process)
            if self.stopping:
                self.stop()
            code = process.wait()
            self.processes.discard(process)
        return code == 0

    def stop(self) -> None:
        self.stopping = True
        for process in list(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # DVC waits for its stage, and that writes its checkpoint


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does. Nothing is put back where it fails or is stopped: the process ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def _on_stop(handler: Callable[..., None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _train(
    project: Repository,
    levels: Sequence[Sequence[Point]],
    names: Mapping[Point, str],
    inputs: Mapping[str, Inputs],
    axes: Axes,
    jobs: int,
    params: Params,
) -> dict[Point, str]:
    """Trains the points group by group; returns those that failed, with the reason."""
    root = project.root
    shutil.rmtree(root / WORK, ignore_errors=True)  # what a killed sweep left
    logs = root / WORK / "logs"
    logs.mkdir(parents=True)
    slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
    running = _Running()
    failed: dict[Point, str] = {}
    total, done, started = sum(map(len, levels)), 0, time.monotonic()

    def work(point: Point) -> float:
        lacking = [need for need in grid.needed(point, inputs) if need in failed]
        if lacking:
            raise FacemixError(f"was not trained: it needs {names[lacking[0]]}, which failed")
        slot = slots.get()
        try:
            log = logs / f"{names[point]}.log"
            return _train_point(project, slot, point, names[point], running, log, params.evaluation.normalizer)
        finally:
            slots.put(slot)

    with _interrupted_by_sigterm(), ThreadPoolExecutor(jobs) as pool:
        try:
            made = []
            for number, variables in enumerate(_gpus(min(jobs, max(map(len, levels))), params)):
                clone = _clone(project, root / WORK / str(number), running, logs / "clone.log")
                made.append(_Slot(clone=clone, environment=variables))
            synthetic = any("n_synthetic" in inputs[point.strategy].params for level in levels for point in level)
            _prepare(root, made[0].clone, running, logs / "prepare.log", axes, synthetic)
            for slot in made:
                slots.put(slot)
            for level in levels:
                futures = {pool.submit(work, point): point for point in level}
                for future in as_completed(futures):
                    point, done = futures[future], done + 1
                    try:
                        said = f"validation NME {future.result():.2f}"
                    except (FacemixError, OSError) as error:
                        failed[point], said = str(error), "failed"
                    left = (time.monotonic() - started) / done * (total - done)
                    more = f"; about {grid.shown_time(left)} left" if done < total else ""
                    print(f"{done}/{total} {names[point]}: {said}{more}", flush=True)
        except BaseException as error:
            _on_stop(lambda *_: None)  # a second Ctrl-C cuts nothing short; children do not inherit a handler
            running.stop()
            pool.shutdown(cancel_futures=True)
            _on_stop(signal.SIG_IGN)  # git inherits this, and it holds until Python's very end
            if isinstance(error, KeyboardInterrupt):
                kept = len({names[point] for level in levels for point in level} & _experiments(root).keys())
                print(f"stopped; {kept} of {total} new points are kept; the same command continues", flush=True)
                raise Stopped(130) from None
            raise
    if not failed:
        shutil.rmtree(root / WORK, ignore_errors=True)
    return failed


def _gpus(jobs: int, params: Params) -> list[dict[str, str]]:
    """The variables by which each of several trainings at once sees another GPU."""
    if params.training.device == "cpu" or jobs == 1:
        return devices.share_out([], jobs)
    import torch

    gpus = devices.visible(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    return devices.share_out(gpus, jobs)


def _clone(project: Repository, top: Path, running: _Running, log: Path) -> Path:
    """A clone of the project at the commit, with its sources and DVC's cache: files are linked, not copied."""
    from dvc.config import Config
    from dvc.repo import Repo

    root, folder = project.root, repository.clone(project, top)
    if (local := root / ".dvc/config.local").exists():
        shutil.copy(local, folder / ".dvc")
    with Repo(str(root)) as repo:
        cache = repo.cache.local_cache_dir
    with Config(str(folder / ".dvc")).edit("local") as settings:
        settings.setdefault("cache", {}).update({"dir": cache, "type": ["reflink", "hardlink", "symlink", "copy"]})
    if sources := [str(path.relative_to(folder)) for path in sorted((folder / "data").rglob("*.dvc"))]:
        _dvc("checkout", *sources, root=root, clone=folder, running=running, log=log)
    return folder


def _dvc(*arguments: str, root: Path, clone: Path, running: _Running, log: Path, **environment: str) -> None:
    """Runs a DVC command in a clone, with the code of the commit.

    DVC_ROOT is the user's workspace: there MLflow's store and the checkpoints lie.

    Raises:
        FacemixError: it failed; the message is the stage's own, or its last.
    """
    path = os.pathsep.join(filter(None, (str(clone / "src"), os.environ.get("PYTHONPATH"))))
    environment = {
        **repository.environment(),
        "DVC_ROOT": str(root),
        "PYTHONPATH": path,
        "DVC_NO_ANALYTICS": "1",
        **environment,
    }
    with log.open("ab") as file:
        begin = file.tell()
        if running.command(["dvc", *arguments], clone, file, environment):
            return
    said = reason(log.read_bytes()[begin:].decode(errors="replace"))
    raise FacemixError(f"dvc {arguments[0]}: {said} (the whole log: {log})")


def reason(output: str) -> str:
    """Why a command failed: what its stage said, or else DVC's or git's own words, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for mark in ("facemix ", "ERROR:", "fatal:") for line in lines if line.startswith(mark)] or lines[-1:]
    return told[0] if told else "no output"


def _prepare(root: Path, clone: Path, running: _Running, log: Path, axes: Axes, synthetic: bool) -> None:
    """Makes the packs once, or takes them from DVC's cache, and checks `n_real` against them."""
    stages = ["prepare@real", *(["prepare@synthetic"] if synthetic else [])]
    _dvc("repro", *stages, root=root, clone=clone, running=running, log=log)
    grid.check_counts(axes, int(np.sum(packs.read(clone / packs.FOLDER / "real").splits == "train")))


def _train_point(
    project: Repository, slot: _Slot, point: Point, name: str, running: _Running, log: Path, normalizer: str
) -> float:
    """Trains a point in a clone and brings its experiment home; returns its validation NME."""
    clone = slot.clone
    git(clone, "reset", "--quiet", "--hard", project.commit)
    seeds = {"seeds": [point.seed], "control_seeds": [point.seed]}
    config.update_params(clone / PARAMS_FILE, {**dict(point.settings), **seeds})

    def dvc(*arguments: str) -> None:
        about = {"DVC_EXP_NAME": name, "DVC_EXP_BASELINE_REV": project.commit}
        _dvc(*arguments, root=project.root, clone=clone, running=running, log=log, **slot.environment, **about)

    dvc("repro", point.stage)
    pack = packs.read(clone / packs.FOLDER / "real", images=False)
    folder = MODELS / point.strategy / f"seed-{point.seed}"
    figures = load(clone / folder, pack, normalizer).figures
    summary = REPORTS / "metrics.json"
    with whole_file(clone / summary) as beside:
        beside.write_text(json.dumps(summarize(point.strategy, figures), indent=2) + "\n", encoding="utf-8")
    dvc("exp", "save", "--quiet", "--force", "--name", name, "--include-untracked", str(summary), point.stage)
    repository.bring_home(project, clone, name)
    return float(figures["val"]["nme"])


def summarize(strategy: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What `dvc exp show` shows of a point, in the form of the pipeline's own metrics: of this strategy only.

    Validation comes first: it is what points are compared by while a sweep runs.
    """
    return {
        "val_nme": {strategy: round(figures["val"]["nme"], 4)},
        "test_nme": {strategy: round(figures["test"]["nme"], 4)},
        "normalizer": figures["normalizer"],
    }
