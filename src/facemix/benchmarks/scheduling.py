"""`facemix bench scheduling`: what a sweep on Ray loses between its points.

The driver is the project's own: it begins the tasks, and brings each point's experiment home, a git bundle. In place of
a training, a task sleeps.
"""

import contextlib
import io
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facemix import cluster, config
from facemix.errors import FacemixError
from facemix.sweeps import grid, on_ray, repository
from facemix.sweeps.grid import Point
from facemix.sweeps.on_ray import Machines
from facemix.sweeps.repository import Repository, git
from facemix.sweeps.storage import Remote
from facemix.sweeps.work import Progress, Work

_STRATEGY = "real_only"
_LOCK = "".join(f"  stage@{i}:\n    deps:\n" + "    - path: x\n      md5: 0\n" * 20 for i in range(20))
"""As long as the project's own `dvc.lock`."""


def scheduling(points: int, seconds: float, nodes: int, cpus: int) -> None:
    """Prints the share of the time of all CPUs in which points slept.

    Args:
        points: of the sweep.
        seconds: that each of them sleeps.
        nodes: of the cluster, all on this machine.
        cpus: of each node, for one point each; there need not be as many.

    Raises:
        FacemixError: less than one point, node or CPU; Ray is not installed.
    """
    for name, value in (("points", points), ("nodes", nodes), ("cpus", cpus), ("seconds", seconds)):
        if value < (0 if name == "seconds" else 1):
            raise FacemixError(f"--{name}: found {value}, expected at least {0 if name == 'seconds' else 1}")
    with tempfile.TemporaryDirectory() as folder, _started(nodes, cpus) as address, cluster.joined(address) as joined:
        work, bundles = _made_up(Path(folder), points)
        jobs = nodes * cpus
        remote = Remote(name="none", settings={"url": folder})
        machines = Machines(cluster=joined, gpus=0, cpus=1, jobs=jobs, remote=remote, home=folder)
        task, progress = joined.task(sleep, num_cpus=1, max_retries=cluster.RETRIES), Progress(work=work)

        def begin(one: Point, needs: list[Any]) -> Any:
            return task.remote(seconds, bundles[one], *needs)

        began = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):  # a line for each point
            on_ray.schedule(machines, work, progress, "bench", begin, {})
        took = time.monotonic() - began
        home = len(git(work.project.root, "for-each-ref", "refs/exps").splitlines())
    if progress.failed or home != points:
        raise FacemixError(f"{home} of {points} points came home: {next(iter(progress.failed.values()), '')}")
    print(f"{points} points of {seconds:g} s on {nodes} nodes of {cpus} CPUs: {took:.1f} s")
    waves = -(-points // jobs)
    print(f"efficiency {points * seconds / (took * jobs):.3f} (at best {points / (waves * jobs):.3f}: {waves} rounds)")


def sleep(seconds: float, bundle: bytes, *_needs: Any) -> dict[str, Any]:
    """What a training gives back, after as much time."""
    time.sleep(seconds)
    return {"bundle": bundle, "val_nme": 4.0, "host": "here"}


@contextlib.contextmanager
def _started(nodes: int, cpus: int) -> Iterator[str | None]:
    """The address of a cluster on this machine; None without Ray: `joined` says what to install."""
    cluster.be_quiet()
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        yield None
        return
    each = {"num_cpus": cpus, "object_store_memory": 1 << 28}
    made = Cluster(initialize_head=True, head_node_args=each | {"include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            made.add_node(**each)
        made.wait_for_nodes()
        yield made.address
    finally:
        made.shutdown()


def _made_up(folder: Path, points: int) -> tuple[Work, dict[Point, bytes]]:
    """A repository that a sweep is run in, and what comes home of each point."""
    home, machine = folder / "home", folder / "machine"
    for command in (["init", "--quiet"], ["config", "user.name", "bench"], ["config", "user.email", "bench@localhost"]):
        home.mkdir(exist_ok=True)
        git(home, *command)
    git(home, "commit", "--quiet", "--allow-empty", "-m", "bench")
    commit = git(home, "rev-parse", "HEAD").strip()
    project = Repository(top=home, inside=Path(), commit=commit, name="bench", email="bench@localhost")
    repository.clone(project, machine)
    names = {Point(strategy=_STRATEGY, seed=seed, settings=()): f"point-{seed}" for seed in range(points)}
    lines = [
        f"commit {repository.reference(project, name)}\ncommitter bench <bench@localhost> 0 +0000\ndata 0\n"
        f"from {commit}\nM 100644 inline dvc.lock\ndata {len(content := f'{name}: {_LOCK}')}\n{content}\n"
        for name in names.values()
    ]
    imported = ["git", "-C", str(machine), "fast-import", "--quiet"]
    subprocess.run(imported, input="".join(lines).encode(), env=repository.environment(), check=True)
    bundles = {}
    for point, name in names.items():
        repository.bundle(project, machine, name, folder / "bundle")
        bundles[point] = (folder / "bundle").read_bytes()
    inputs = {_STRATEGY: grid.Inputs(params=(), paths=(), needs=())}
    work = Work(project=project, params=config.load(), axes={}, inputs=inputs, names=names, missing=[*names])
    (work.folder / "logs").mkdir(parents=True)
    return work, bundles
