"""`facemix sweep KEY=VALUES ...`: trains a grid of points as DVC experiments and writes `reports/sweep/`.

Each point is a DVC experiment that hangs on the current commit. `dvc exp run --temp` and `--queue` stash, change and
restore the user's workspace at the start of each experiment, and leave it torn where they are killed then; and two of
them at once may take each other's place. So points are trained in clones of the repository under `.dvc/tmp`, which
share DVC's cache, by `dvc repro` and `dvc exp save`; the finished experiment is fetched. A point is there or it is not,
its name says what it depends on, and the workspace stays the user's.
"""

import dataclasses
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from facemix import config, tracking
from facemix.config import PARAMS_FILE, Params
from facemix.errors import FacemixError
from facemix.files import file_lock
from facemix.strategies import STRATEGIES
from facemix.sweeps import grid, known, local, on_ray, repository, results
from facemix.sweeps.grid import Axes, Inputs, Point, Result
from facemix.sweeps.on_ray import Wanted
from facemix.sweeps.repository import git
from facemix.sweeps.results import Unranked
from facemix.sweeps.work import FOLDER, Stopped, Work, experiments
from facemix.training import checkpoint, preflight

NAME_LENGTH = 250
"""Characters of a run's name that MLflow's database has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How missing points are trained."""

    jobs: int = 1
    """Points at the same time on this machine."""
    yes: bool = False
    """Start a grid of thousands without asking."""
    ray: Wanted | None = None
    """The cluster that trains instead."""
    known: Path | None = None
    """A points.csv of points that were trained elsewhere."""
    needs_errors: bool = False
    """Whether these must have their errors on single faces."""
    name: str = "sweep"
    """What MLflow calls the parent of their runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A grid whose points were trained where they were missing."""

    results: Sequence[Result]
    """Of each point that did not fail, and is ranked."""
    total: int
    """Number of real training faces; 0 where no point says."""
    failed: Mapping[str, str]
    """Experiments that failed, with the reason."""
    trainings: int
    """Points that are no twins of others."""
    unranked: Sequence[str] = ()
    """Strategies that no table holds, and why, in words: their detectors find points of another scheme."""

    def check(self) -> None:
        """Raises FacemixError where a point failed."""
        if self.failed:
            raise FacemixError(
                f"{len(self.failed)} of {self.trainings} trainings failed; the same command tries them again:\n"
                + "\n".join(f"{name}: {reason}" for name, reason in self.failed.items())
            )


def run_sweep(arguments: Sequence[str], params: Params, how: How) -> None:
    """Trains what is missing of a grid and writes the tables and figures of all of it.

    Args:
        arguments: `KEY=VALUES`, see `facemix.sweeps.grid.parse_axes`.

    Raises:
        FacemixError: as `bring` does.
        FacemixError: a point failed; the others are kept, and the tables hold them.
    """
    name = textwrap.shorten(" ".join(("sweep", *arguments)), NAME_LENGTH, placeholder=" ...")
    how = dataclasses.replace(how, name=name)
    brought = bring(grid.parse_axes(arguments, params), params, how)
    for line in brought.unranked:
        print(line)
    if brought.results:
        results.write_tables(brought.results, brought.total)
    brought.check()
    if brought.results:
        results.write_curves(brought.results, brought.total)


def bring(axes: Axes, params: Params, how: How) -> Brought:
    """Trains what is missing of a grid, and measures all of it.

    Args:
        axes: the grid, as `facemix.sweeps.grid.parse_axes` gives it.

    Raises:
        FacemixError: a grid that cannot be run, no git commit or DVC repository, changes that are not committed.
        FacemixError: a cluster that cannot train it, checkpoints that cannot be kept where they shall be, or a file of
            known points that cannot be used, or lacks errors that are needed.
    """
    if how.jobs < 1:
        raise FacemixError(f"--jobs: found {how.jobs}, expected at least 1")
    root = Path.cwd()
    project = repository.examine(root)
    inputs = read_inputs(root, params)
    _check_clean(root)
    there = known.read(how.known) if how.known else {}
    points = {point: grid.trained_as(point, inputs) for point in grid.plan(axes, inputs)}
    if unused := grid.unused(axes, points, config.plain(params)):
        print(f"{', '.join(unused)}: none of these strategies uses it, so it changes nothing", flush=True)
    trainings = [point for point, training in points.items() if point == training]
    digests = digests_of(root, trainings, params, inputs)
    names = {point: grid.experiment_name(point, digest) for point, digest in digests.items()}
    with file_lock(root / FOLDER):
        trained = {point for point in trainings if names[point] in experiments(root)}
        told = {point for point in trainings if point not in trained and digests[point] in there}
        needed = needed_all_the_same(set(trainings) - trained - told, told, inputs)
        foreign = told - needed
        if how.needs_errors:
            asked = {training for point, training in points.items() if point.strategy in axes["strategies"]}
            check_errors([there[digests[point]].result for point in trainings if point in foreign & asked])
        missing = [point for point in trainings if point not in trained | foreign]
        _check_settings(missing, params)
        checkpoint.check_shared()
        if how.known:
            _say_known(how.known, len(there), len(foreign), [names[point] for point in trainings if point in needed])
        failed: Mapping[Point, str] = {}
        counts = (len(trained), len(foreign))
        if missing:
            work = Work(project=project, params=params, axes=axes, inputs=inputs, names=names, missing=missing)
            try:
                with on_ray.joined(how.ray, work) if how.ray else nullcontext(local.Machine(jobs=how.jobs)) as machines:
                    _announce(counts, missing, params, machines.jobs, how.yes)
                    failed = _train(machines, work, how.name)
            except Stopped as stopped:
                print(stopped.message, flush=True)
                raise
        else:
            _announce(counts, missing, params, how.jobs, how.yes)
        tracking.deliver()
        found, total = results.read_results(
            project,
            {point: digests[point] for point in trainings if point not in foreign and point not in failed},
            experiments(root),
            params.evaluation.normalizer,
        )
    own = {point: there[digests[point]] for point in foreign}
    found |= {point: one.as_point(point) for point, one in own.items()}
    counted = results.count_behind(found, inputs)
    ranked = {point: one for point, one in counted.items() if isinstance(one, Result)}
    results.check_alike(list(ranked.values()), params.evaluation.normalizer)
    total = total or next((one.n_real or 0 for point, one in own.items() if ("n_real", "all") in point.settings), 0)
    synthetic = next((one.n_synthetic for point, one in counted.items() if ("n_synthetic", "all") in point.settings), 0)
    if total:
        grid.check_counts("n_real", axes["n_real"], total)
    if synthetic in axes.get("n_synthetic", ()):
        grid.check_counts("n_synthetic", axes["n_synthetic"], synthetic)
    return Brought(
        results=[
            dataclasses.replace(ranked[training], point=point)
            for point, training in points.items()
            if training in ranked
        ],
        total=total,
        failed={names[point]: reason for point, reason in failed.items()},
        trainings=len(trainings),
        unranked=[*dict.fromkeys(one.reason for one in counted.values() if isinstance(one, Unranked))],
    )


def needed_all_the_same(
    missing: AbstractSet[Point], told: AbstractSet[Point], inputs: Mapping[str, Inputs]
) -> set[Point]:
    """The points that are known from elsewhere, but whose models missing ones read."""
    return {need for point in missing for need in grid.needed(point, inputs)} & told


def check_errors(told: Sequence[Result]) -> None:
    """Raises FacemixError where what is known from elsewhere is known by its means alone."""
    if means := [one.experiment for one in told if one.errors is None]:
        raise FacemixError(
            f"{means[0]}: known by its means alone, expected the error on each face; have errors.parquet beside the "
            "file that --known names, as its sweep wrote it, or leave --known out"
        )


def _say_known(path: Path, n: int, used: int, needed: Sequence[str]) -> None:
    """Says how many points of a file count."""
    print(f"{path}: {n} points are known; {used} of them take the place of a training", flush=True)
    if needed:
        print(f"trained though known, because others start from their models: {', '.join(needed)}", flush=True)


def _train(machines: local.Machine | on_ray.Machines, work: Work, name: str) -> dict[Point, str]:
    """Trains the points as children of a run of MLflow's; returns those that failed, with the reason."""
    grid_asked = {key: ",".join(map(str, values)) for key, values in work.axes.items()}
    experiment = work.params.tracking.experiment
    with tracking.start(name=name, experiment=experiment, params={"grid": grid_asked}) as run:
        return machines.train(dataclasses.replace(work, run=run))


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


def read_inputs(root: Path, params: Params) -> dict[str, Inputs]:
    """What each strategy depends on, as DVC reads it from dvc.yaml.

    A stage that renders no faces decides nothing: what is trained on photographs stays the same by another generator.
    """
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo
    from networkx import descendants

    found, seed = {}, params.seeds[0]
    idle = {f"render@{name}" for name in ("synthetic", "stand_in") if not getattr(params.render, name).n}
    with Repo(str(root)) as repo:
        graph = repo.index.graph
        stages = {getattr(stage, "name", None): stage for stage in graph}
        for name in STRATEGIES:
            if (stage := stages.get(f"{name}@{seed}")) is None:
                continue
            upstream = {stage, *descendants(graph, stage)}
            made = {out.fs_path for one in upstream if one.cmd for out in one.outs}
            deciding = [one for one in upstream if getattr(one, "name", None) not in idle]
            dependencies = [dependency for one in deciding for dependency in one.deps]
            of_params = [one for one in dependencies if isinstance(one, ParamsDependency)]
            ours = root / PARAMS_FILE
            found[name] = Inputs(
                params=tuple(sorted({key for one in of_params if Path(one.fs_path) == ours for key in one.params})),
                other_params={
                    f"{os.path.relpath(one.fs_path, root)}:{key}": value
                    for one in of_params
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


def digests_of(root: Path, points: Sequence[Point], params: Params, inputs: Mapping[str, Inputs]) -> dict[Point, str]:
    """The digest of each point: it changes with what the point depends on."""
    # All of it: asked for a folder and for a file in it, git lists the folder's files in the place of the folder.
    listed = [line.split("\t", 1) for line in git(root, "ls-tree", "-r", "-t", "-z", "HEAD").split("\0") if line]
    content = {path: about.split()[-1] for about, path in listed}
    plain = config.plain(params)
    return {point: grid.digest(point, plain, inputs[point.strategy], content) for point in points}


def _check_settings(points: Sequence[Point], params: Params) -> None:
    """Refuses now what the trainings of some points would refuse when their turn comes."""
    for settings in {point.settings for point in points}:
        preflight.check(config.parse(config.changed(config.plain(params), dict(settings))))


def _announce(there: tuple[int, int], missing: Sequence[Point], params: Params, jobs: int, yes: bool) -> None:
    """Says what is to be done and how long it takes; asks where that is much.

    Args:
        there: how many points are trained, and how many are known from elsewhere.
    """
    trained, foreign = there
    known_too = f"{foreign} {'is' if foreign == 1 else 'are'} known, " if foreign else ""
    total = trained + foreign + len(missing)
    said = f"{total} training{'s' * (total != 1)}: {trained} {'is' if trained == 1 else 'are'} there, "
    said += f"{known_too}{len(missing)} to run"
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
