"""Trains a sweep's points on a Ray cluster: each is a task, and what it needs are the results of other tasks.

Ray places the tasks, hands their results on and starts those anew whose machine died. Machines get the project's commit
through Ray's object store, and faces and models through the DVC remote; experiments come back as git bundles.
"""

import dataclasses
import hashlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix import cluster, tracking, workspace
from facemix.cluster import RETRIES, Cluster, Node
from facemix.errors import FacemixError
from facemix.sweeps import errand, grid, local, repository, storage, worker
from facemix.sweeps.grid import Point
from facemix.sweeps.point import Place, Running
from facemix.sweeps.repository import git
from facemix.sweeps.storage import Remote
from facemix.sweeps.work import Progress, Work, experiments, interrupted_by_sigterm, on_stop
from facemix.training import checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The cluster that the user asks for."""

    address: str | None = None
    """None: what RAY_ADDRESS names; where it is not set either, one that is started on this machine."""
    gpus: float | None = None
    """Of a training. None: one where the cluster has any and `training.device` is not cpu."""
    cpus: float = 1
    """Of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """A cluster that has all that the sweep needs."""

    cluster: Cluster
    gpus: float
    cpus: float
    jobs: int
    """Trainings at a time."""
    remote: Remote
    home: str
    """Where checkpoints and MLflow's runs lie; empty for a folder of each machine's own."""

    def train(self, work: Work) -> dict[Point, str]:
        """Trains the points; returns those that failed, with the reason."""
        return _train(self, work)


# --- Before anything starts -------------------------------------------------------------------------------------------


@contextmanager
def joined(wanted: Wanted, work: Work) -> Iterator[Machines]:
    """The cluster, once it is known to have what the sweep needs.

    Raises:
        FacemixError: it cannot be joined, it has fewer GPUs or CPUs than a training needs, or machines lack packages,
            the DVC remote, the checkpoints or MLflow's store.
    """
    remote = storage.default_remote(work.project.root)
    with cluster.joined(wanted.address, [*workspace.PACKAGES, "dvc"]) as all_machines:
        yield _checked(all_machines, wanted, work, remote)


def _checked(found: Cluster, wanted: Wanted, work: Work, remote: Remote) -> Machines:
    largest = max(node.resources.get("GPU", 0) for node in found.nodes)
    gpus = wanted.gpus
    if gpus is None:
        gpus = 0 if work.params.training.device == "cpu" else min(largest, 1)
    jobs = check_resources(found.nodes, gpus, wanted.cpus)
    nodes = [node for node in found.nodes if node.slots(gpus, wanted.cpus)]  # those that will train
    found = dataclasses.replace(found, nodes=nodes)
    cluster.check_versions(nodes, workspace.installed_packages(), ["dvc"])
    root = work.project.root
    one_machine = len({node.host for node in nodes}) == 1 and all(found.sees(root / ".dvc/tmp"))
    checkpoints = os.environ.get(checkpoint.SHARED, "")
    in_folder = "" if checkpoint.is_remote(checkpoints) else checkpoints
    for folder in [Path(path) for path in (in_folder, remote.folder) if path]:
        check_folder(nodes, folder, found.sees(folder))
    check_store(nodes, tracking.store_uri(), one_machine)
    home = str(root) if one_machine else in_folder
    return Machines(cluster=found, gpus=gpus, cpus=wanted.cpus, jobs=jobs, remote=remote, home=home)


def check_resources(nodes: Sequence[Node], gpus: float, cpus: float) -> int:
    """How many trainings run at a time.

    Raises:
        FacemixError: no machine has what one of them needs.
    """
    for kind, option, wanted in (("GPU", "--gpus-per-training", gpus), ("CPU", "--cpus-per-training", cpus)):
        if wanted > (largest := max(node.resources.get(kind, 0) for node in nodes)):
            raise FacemixError(
                f"{option}: found {wanted:g}, but no machine of the cluster has more than {largest:g} {kind}s; lower "
                f"it, or start Ray with more (`ray start --num-{kind.lower()}s`)"
            )
    jobs = sum(node.slots(gpus, cpus) for node in nodes)
    if not jobs:
        raise FacemixError(
            f"no machine of the cluster has both {gpus:g} GPUs and {cpus:g} CPUs; lower --gpus-per-training or "
            "--cpus-per-training"
        )
    return jobs


def check_folder(nodes: Sequence[Node], folder: Path, sees: Sequence[bool]) -> None:
    """Raises FacemixError where a machine does not see a folder that all share."""
    if without := [node.host for node, seen in zip(nodes, sees, strict=True) if not seen]:
        raise FacemixError(
            f"{folder}: not seen by {', '.join(without)}, but all machines share it; mount it there, or use a DVC "
            f"remote on a server (s3://) and a folder for {checkpoint.SHARED} that all of them see"
        )


def check_store(nodes: Sequence[Node], store: str, one_machine: bool) -> None:
    """Raises FacemixError where MLflow's store is a file that other machines cannot write to."""
    is_file = store.startswith(("sqlite", "file:")) or "://" not in store
    if is_file and not one_machine:
        hosts = ", ".join(sorted({node.host for node in nodes}))
        raise FacemixError(
            f"MLflow's store is {tracking.shown_uri()}, a file of this machine, but {hosts} train; start a server "
            "(`mlflow server --host 0.0.0.0`) and set MLFLOW_TRACKING_URI to its address"
        )


# --- Training ---------------------------------------------------------------------------------------------------------


def _train(machines: Machines, work: Work) -> dict[Point, str]:
    ray, logs = machines.cluster.ray, local.begin(work)
    progress, running = Progress(work=work), Running()
    sweep = uuid.uuid4().hex[:8]
    tasks: dict[Point, Any] = {}
    with interrupted_by_sigterm():
        try:
            place = local.clone(work, "0", running, {}, machines.remote)
            common, project = _make_ready(machines, work, place, sweep)
            carry_out = machines.cluster.task(
                errand.carry_out, num_cpus=machines.cpus, num_gpus=machines.gpus, max_retries=RETRIES
            )
            before = _pushed_before(work, place, logs / "prepare.log")

            def begin(one: Point, needs: list[Any]) -> Any:
                there = {need.stage: before[need] for need in grid.needed(one, work.inputs) if need in before}
                job = common | _job(work, one) | {"lock": common["lock"] | there}
                return carry_out.remote(job, "", project, *needs)

            schedule(machines, work, progress, sweep, begin, tasks)
        except BaseException as error:
            on_stop(lambda *_: None)  # as in a local sweep
            running.stop()
            for task in tasks.values():
                ray.cancel(task)
            if tasks:
                ray.wait([*tasks.values()], num_returns=len(tasks), timeout=errand.PATIENCE)
            on_stop(signal.SIG_IGN)
            if isinstance(error, KeyboardInterrupt):
                raise progress.stopped() from None
            raise
        finally:
            _clean(machines.cluster, sweep)
    if not progress.failed:
        shutil.rmtree(work.folder, ignore_errors=True)
    return progress.failed


def schedule(
    machines: Machines,
    work: Work,
    progress: Progress,
    sweep: str,
    begin: Callable[[Point, list[Any]], Any],
    tasks: dict[Point, Any],
) -> None:
    """Begins the tasks of all points, and brings home what each comes to as soon as it is there.

    Args:
        begin: begins the task of a point, which waits for those of the points that it needs.
        tasks: for those that have begun.
    """
    graph = work.graph()
    for one in _own_order(work, graph, sweep):
        tasks[one] = begin(one, [tasks[need] for need in graph[one]])
    points = {task: one for one, task in tasks.items()}
    waiting = dict.fromkeys(work.missing)
    while waiting:
        done, _ = machines.cluster.ray.wait([tasks[one] for one in waiting])
        for one in _in_order([points[task] for task in done], graph, waiting):
            _end(machines, work, progress, one, tasks[one])


def _make_ready(machines: Machines, work: Work, place: Place, sweep: str) -> tuple[dict[str, Any], Any]:
    """Makes the packs, brings them to all machines, and returns what all jobs have in common, and the project for Ray.

    Raises:
        FacemixError: a machine cannot bring them.
    """
    ray, project = machines.cluster.ray, work.project
    log = work.folder / "logs/prepare.log"
    stages = local.prepare(work, place)
    place.dvc("push", *stages, log=log)
    forwarded = (checkpoint.SHARED, "MLFLOW_TRACKING_URI")
    common = {
        "sweep": sweep,
        "inside": str(project.inside),
        "commit": project.commit,
        "signer": project.name,
        "email": project.email,
        "remote": {"name": machines.remote.name, "settings": dict(machines.remote.settings)},
        "home": machines.home,
        "private": not machines.home,
        "variables": {**work.variables, **{name: os.environ[name] for name in forwarded if os.environ.get(name)}},
        "normalizer": work.params.evaluation.normalizer,
        "lock": worker.read_lock(place.clone),
        "stages": stages,
        "log": str(log),
        "point": None,
        "name": "",
    }
    packed = ray.put(repository.packed(project))
    nodes = machines.cluster.nodes
    ready = [machines.cluster.task(errand.carry_out, node=node).remote(common, node.name, packed) for node in nodes]
    for node, task in zip(nodes, ready, strict=True):
        try:
            result = ray.get(task)
        except ray.exceptions.RayError as error:
            result = {"failed": cluster.line(error)}
        if "failed" in result:
            with log.open("a", encoding="utf-8") as file:
                file.write(result.get("log", ""))
            raise FacemixError(f"{node.host} cannot train: {result['failed']}")
    return common, packed


def _pushed_before(work: Work, place: Place, log: Path) -> dict[Point, Any]:
    """What earlier sweeps trained and points of this one read, pushed; their entries of dvc.lock."""
    missing, found = {*work.missing}, experiments(work.project.root)
    needs = {need for one in work.missing for need in grid.needed(one, work.inputs)} - missing
    entries = {}
    for need in sorted(needs, key=lambda need: work.names[need]):
        revision = found[work.names[need]].revision
        git(place.clone, "checkout", "--quiet", "--force", "--detach", revision)
        place.dvc("push", need.stage, log=log)
        entries[need] = worker.read_lock(place.clone)[need.stage]
    return entries


def _job(work: Work, one: Point) -> dict[str, Any]:
    """What is said of one point alone."""
    name = work.names[one]
    return {"point": dataclasses.asdict(one), "name": name, "log": str(work.folder / "logs" / f"{name}.log")}


def _own_order(work: Work, graph: Mapping[Point, Sequence[Point]], sweep: str) -> list[Point]:
    """The points, each after what it needs, else in an order of this sweep's own.

    So of two sweeps of one grid, in two clones, each seldom trains what the other one trains at that time.
    """

    def place(one: Point) -> bytes:
        return hashlib.sha256(f"{sweep} {work.names[one]}".encode()).digest()

    return list(_in_order(sorted(work.missing, key=place), graph, dict.fromkeys(work.missing)))


def _in_order(
    done: Sequence[Point], graph: Mapping[Point, Sequence[Point]], waiting: dict[Point, None]
) -> Iterator[Point]:
    """Points whose tasks ended, after what they needed; `waiting` is left with the others."""
    for one in done:
        if one in waiting:
            yield from _in_order(graph[one], graph, waiting)
            del waiting[one]
            yield one


def _end(machines: Machines, work: Work, progress: Progress, one: Point, task: Any) -> None:
    """Brings home what a task came to, and says so."""
    where = ""
    try:
        result = machines.cluster.ray.get(task)
        where = f" on {result['host']}" if len(machines.cluster.nodes) > 1 and "host" in result else ""
    except machines.cluster.ray.exceptions.RayError as error:
        result = {"failed": f"its machine died, {1 + RETRIES} times: {cluster.line(error)}"}

    def outcome() -> float:
        progress.check_needs(one)
        name = work.names[one]
        if "log" in result:
            (work.folder / "logs" / f"{name}.log").write_text(result["log"], encoding="utf-8")
        if "failed" in result:
            raise FacemixError(result["failed"])
        if "runs" in result:
            tracking.put_unsent(result["runs"])
        with tempfile.NamedTemporaryFile() as file:
            file.write(result["bundle"])
            file.flush()
            repository.bring_home(work.project, Path(file.name), name)
        return float(result["val_nme"])

    progress.ended(one, outcome, where)


def _clean(found: Cluster, sweep: str) -> None:
    """Deletes the sweep's folders on the machines that are still there."""
    ray = found.ray
    try:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        left = [node for node in found.nodes if node.name in alive]
        cleaned = [found.task(errand.clean, node=node).remote(sweep, node.name) for node in left]
        ray.get(cleaned, timeout=cluster.ANSWER)
    except ray.exceptions.RayError:
        return  # the next sweep there does it
