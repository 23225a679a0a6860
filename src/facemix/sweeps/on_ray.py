"""Trains a sweep's points on a Ray cluster: each is a task, and what it needs are the results of other tasks.

Ray places the tasks, hands their results on and starts those anew whose machine died. Machines get the project's commit
through Ray's object store, and faces and models through the DVC remote; experiments come back as git bundles.
"""

import dataclasses
import os
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix import tracking, workspace
from facemix.clock import CHECKPOINTS
from facemix.errors import FacemixError
from facemix.sweeps import errand, grid, local, repository, storage, worker
from facemix.sweeps.grid import Point
from facemix.sweeps.point import Place, Running
from facemix.sweeps.repository import git
from facemix.sweeps.storage import Remote
from facemix.sweeps.work import Progress, Work, experiments, interrupted_by_sigterm, on_stop

RETRIES = 3  # of a training whose machine died
CONNECT = 10.0  # seconds for a cluster to take a connection
ANSWER = 60.0  # seconds for a machine to say what it has
LARGEST_STORE = 1 << 30  # bytes of a local cluster's object store: little passes through it
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


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
class Node:
    """A machine of the cluster."""

    name: str
    """Ray's."""
    resources: Mapping[str, float]
    host: str = ""
    python: str = ""
    packages: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sees: Sequence[bool] = ()
    """Which of the files it was asked for."""

    def slots(self, gpus: float, cpus: float) -> int:
        """Trainings at a time."""
        shares = [self.resources.get(kind, 0) / wanted for kind, wanted in (("CPU", cpus), ("GPU", gpus)) if wanted > 0]
        return int(min(shares, default=1) + 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that has all that the sweep needs."""

    ray: Any
    nodes: Sequence[Node]
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
def joined(wanted: Wanted, work: Work) -> Iterator[Cluster]:
    """The cluster, once it is known to have what the sweep needs.

    Raises:
        FacemixError: Ray is not installed or of another version, the cluster does not answer, it has fewer GPUs or
            CPUs than a training needs, or machines lack packages, the DVC remote, the checkpoints or MLflow's store.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise FacemixError(
            "--on ray: Ray is not installed; run `pip install -c constraints.txt -e '.[ray]'`, or leave --on out"
        ) from None
    remote = storage.default_remote(work.project.root)
    address = wanted.address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answer(address)
    started = {"include_dashboard": False, "object_store_memory": LARGEST_STORE} if address == "local" else {}
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own in its place
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **started)
    except Exception as error:
        told = " ".join(str(error).split())
        if "mismatch" in told:
            told += "; install the same versions on all machines"
        raise FacemixError(f"Ray at {address}: {told or type(error).__name__}") from None
    signal.signal(signal.SIGTERM, before)
    try:
        yield _checked(ray, wanted, work, remote)
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raises FacemixError where nobody listens: Ray would wait for many minutes."""
    if address.startswith("ray://"):
        raise FacemixError(
            f"{address}: the address of a Ray client, but a sweep runs on one of the cluster's machines; run it "
            "there, with the address HOST:6379"
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return  # local, or auto
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except OSError as error:
        raise FacemixError(
            f"Ray at {address}: no answer ({error.strerror or error}); start it there (`ray start --head`), or name "
            "another cluster with --address or RAY_ADDRESS"
        ) from None


def _checked(ray: Any, wanted: Wanted, work: Work, remote: Remote) -> Cluster:
    nodes = [Node(name=node["NodeID"], resources=node["Resources"]) for node in ray.nodes() if node["Alive"]]
    largest = max(node.resources.get("GPU", 0) for node in nodes)
    gpus = wanted.gpus
    if gpus is None:
        gpus = 0 if work.params.training.device == "cpu" else min(largest, 1)
    jobs = check_resources(nodes, gpus, wanted.cpus)
    nodes = [node for node in nodes if node.slots(gpus, wanted.cpus)]  # those that will train
    root = work.project.root
    shared = [path for path in (os.environ.get(CHECKPOINTS), remote.folder) if path]
    with ExitStack() as stack:  # a file in each folder that machines may or must see
        files = [_token(stack, Path(folder)) for folder in (root / ".dvc/tmp", *shared)]
        nodes = _ask(ray, nodes, files)
    one_machine = len({node.host for node in nodes}) == 1 and all(node.sees[0] for node in nodes)
    check_versions(nodes, workspace.installed_packages())
    check_folders(nodes, [str(folder) for folder in shared])
    check_store(nodes, tracking.store_uri(), one_machine)
    home = str(root) if one_machine else os.environ.get(CHECKPOINTS, "")
    return Cluster(ray=ray, nodes=nodes, gpus=gpus, cpus=wanted.cpus, jobs=jobs, remote=remote, home=home)


def _token(stack: ExitStack, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix=".facemix-")).name


def _ask(ray: Any, nodes: Sequence[Node], files: Sequence[str]) -> list[Node]:
    """The machines with what they say of themselves.

    Raises:
        FacemixError: one does not answer.
    """
    packages = [*workspace.PACKAGES, "dvc", "ray"]
    look = _by_value(ray, errand.look)
    asked = [look.options(**_on(ray, node)).remote(list(files), packages) for node in nodes]
    try:
        answers = ray.get(asked, timeout=ANSWER)
    except ray.exceptions.RayError as error:
        raise FacemixError(f"Ray: a machine of the cluster does not answer ({_line(error)})") from None
    return [dataclasses.replace(node, **answer) for node, answer in zip(nodes, answers, strict=True)]


def _by_value(ray: Any, function: Any) -> Any:
    """A function of `errand` as a Ray task, for machines without this project's code."""
    ray.cloudpickle.register_pickle_by_value(errand)
    return ray.remote(function)


def _on(ray: Any, node: Node) -> dict[str, Any]:
    """The options of a task that runs on one machine, beside what it does."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.name, soft=False)
    return {"num_cpus": 0, "scheduling_strategy": strategy}


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


def check_versions(nodes: Sequence[Node], here: Mapping[str, str]) -> None:
    """Raises FacemixError where a machine would train by other packages than this one.

    Args:
        here: the versions of the packages that decide weights.
    """
    for node in nodes:
        lacking = [name for name in (*here, "dvc") if name not in node.packages]
        if lacking:
            raise FacemixError(f"{node.host}: {', '.join(lacking)} not installed; install facemix there as here")
        if different := [name for name in here if node.packages[name] != here[name]]:
            listed = ", ".join(f"{name} {node.packages[name]} (here: {here[name]})" for name in different)
            raise FacemixError(f"{node.host}: found {listed}; install what packages.yaml says on all machines")
    for name, found in (("Python", [node.python for node in nodes]), ("Ray", [n.packages.get("ray") for n in nodes])):
        if len({*found}) > 1:
            listed = ", ".join(f"{version} on {node.host}" for node, version in zip(nodes, found, strict=True))
            raise FacemixError(f"{name}: found {listed}; install the same version on all machines")


def check_folders(nodes: Sequence[Node], folders: Sequence[str]) -> None:
    """Raises FacemixError where a machine does not see a folder that all share: they are the second of `sees` on."""
    for node in nodes:
        for folder, seen in zip(folders, node.sees[1:], strict=True):
            if not seen:
                raise FacemixError(
                    f"{folder}: not seen by {node.host}, but all machines share it; mount it there, or use a DVC "
                    f"remote on a server (s3://) and a folder for {CHECKPOINTS} that all of them see"
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


def _train(cluster: Cluster, work: Work) -> dict[Point, str]:
    ray, logs = cluster.ray, local.begin(work)
    progress, running = Progress(work=work), Running()
    sweep = uuid.uuid4().hex[:8]
    tasks: dict[Point, Any] = {}
    with interrupted_by_sigterm():
        try:
            place = local.clone(work, "0", running, {}, cluster.remote)
            common, project = _make_ready(cluster, work, place, sweep)
            carry_out = _by_value(ray, errand.carry_out).options(
                num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES
            )
            graph, before = work.graph(), _pushed_before(work, place, logs / "prepare.log")
            for one in work.missing:
                there = {need.stage: before[need] for need in grid.needed(one, work.inputs) if need in before}
                job = common | _job(work, one) | {"lock": common["lock"] | there}
                tasks[one] = carry_out.remote(job, "", project, *(tasks[need] for need in graph[one]))
            points = {task: one for one, task in tasks.items()}
            waiting = dict.fromkeys(work.missing)
            while waiting:
                done, _ = ray.wait([tasks[one] for one in waiting])
                for one in _in_order([points[task] for task in done], graph, waiting):
                    _end(cluster, work, progress, one, tasks[one], logs)
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
            _clean(cluster, sweep)
    if not progress.failed:
        shutil.rmtree(work.folder, ignore_errors=True)
    return progress.failed


def _make_ready(cluster: Cluster, work: Work, place: Place, sweep: str) -> tuple[dict[str, Any], Any]:
    """Makes the packs, brings them to all machines, and returns what all jobs have in common, and the project for Ray.

    Raises:
        FacemixError: a machine cannot bring them.
    """
    ray, project = cluster.ray, work.project
    log = work.folder / "logs/prepare.log"
    stages = local.prepare(work, place)
    place.dvc("push", "--quiet", *stages, log=log)
    forwarded = (CHECKPOINTS, "MLFLOW_TRACKING_URI")
    common = {
        "sweep": sweep,
        "inside": str(project.inside),
        "commit": project.commit,
        "signer": project.name,
        "email": project.email,
        "remote": {"name": cluster.remote.name, "settings": dict(cluster.remote.settings)},
        "home": cluster.home,
        "private": not cluster.home,
        "variables": {**work.variables, **{name: os.environ[name] for name in forwarded if os.environ.get(name)}},
        "normalizer": work.params.evaluation.normalizer,
        "lock": worker.read_lock(place.clone),
        "stages": stages,
        "log": str(log),
        "point": None,
        "name": "",
    }
    packed = ray.put(repository.packed(project))
    carry_out = _by_value(ray, errand.carry_out)
    ready = [carry_out.options(**_on(ray, node)).remote(common, node.name, packed) for node in cluster.nodes]
    for node, task in zip(cluster.nodes, ready, strict=True):
        try:
            result = ray.get(task)
        except ray.exceptions.RayError as error:
            result = {"failed": _line(error)}
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
        place.dvc("push", "--quiet", need.stage, log=log)
        entries[need] = worker.read_lock(place.clone)[need.stage]
    return entries


def _job(work: Work, one: Point) -> dict[str, Any]:
    """What is said of one point alone."""
    name = work.names[one]
    return {"point": dataclasses.asdict(one), "name": name, "log": str(work.folder / "logs" / f"{name}.log")}


def _in_order(
    done: Sequence[Point], graph: Mapping[Point, Sequence[Point]], waiting: dict[Point, None]
) -> Iterator[Point]:
    """Points whose tasks ended, after what they needed; `waiting` is left with the others."""
    for one in done:
        if one in waiting:
            yield from _in_order(graph[one], graph, waiting)
            del waiting[one]
            yield one


def _end(cluster: Cluster, work: Work, progress: Progress, one: Point, task: Any, logs: Path) -> None:
    """Brings home what a task came to, and says so."""
    where = ""
    try:
        result = cluster.ray.get(task)
        where = f" on {result['host']}" if len(cluster.nodes) > 1 and "host" in result else ""
    except cluster.ray.exceptions.RayError as error:
        result = {"failed": f"its machine died, {1 + RETRIES} times: {_line(error)}"}

    def outcome() -> float:
        progress.check_needs(one)
        name = work.names[one]
        if "log" in result:
            (logs / f"{name}.log").write_text(result["log"], encoding="utf-8")
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


def _clean(cluster: Cluster, sweep: str) -> None:
    """Deletes the sweep's folders on the machines that are still there."""
    ray = cluster.ray
    clean = _by_value(ray, errand.clean)
    try:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        nodes = [node for node in cluster.nodes if node.name in alive]
        ray.get([clean.options(**_on(ray, node)).remote(sweep, node.name) for node in nodes], timeout=ANSWER)
    except ray.exceptions.RayError:
        return  # the next sweep there does it


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
