"""Ray clusters: starting or joining one, what its machines have, and one function for many items on all of them.

Sweeps, rendering and packing stand on it. Machines need Ray and the packages, but no facemix: Ray hands them the code
of this process. So a function that they run may be any of this package's.
"""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from facemix.errors import FacemixError

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3  # of a task whose machine died
CONNECT = 10.0  # seconds for a cluster to take a connection
ANSWER = 60.0  # seconds for a machine to say what it has
LARGEST_STORE = 1 << 30  # bytes of a local cluster's object store: little passes through it
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Of Ray, in the environment. Its workers have niceness 15 otherwise: beside anything else they hardly run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of the cluster."""

    name: str
    """Ray's."""
    resources: Mapping[str, float]
    host: str
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of those that it was asked for and has."""

    def slots(self, gpus: float, cpus: float) -> int:
        """Tasks at a time."""
        shares = [self.resources.get(kind, 0) / wanted for kind, wanted in (("CPU", cpus), ("GPU", gpus)) if wanted > 0]
        return int(min(shares, default=1) + 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that this process has joined."""

    ray: Any
    nodes: Sequence[Node]
    """Those that work is for."""

    def task(self, function: Callable[..., Any], *, node: Node | None = None, **options: Any) -> Any:
        """A function as a Ray task: `task(f).remote(x)` begins `f(x)` somewhere, `ray.get` of that waits for it.

        Args:
            node: the machine to run on, beside what it does; by default Ray chooses one that is free.
            options: Ray's, such as `num_cpus`.
        """
        if node:
            placed = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.name, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": placed} | options
        return self.ray.remote(function).options(**options)

    def everywhere(self, function: Callable[..., Result], *arguments: object, gpus: float = 0) -> list[Result]:
        """What a quick function gives on each machine.

        Args:
            gpus: that it sees where there are some: Ray hides all others.

        Raises:
            FacemixError: one does not answer, or the function raised it there; names the machine.
        """
        shares = [min(gpus, node.resources.get("GPU", 0)) for node in self.nodes]
        tasks = [self.task(function, node=node, num_gpus=share) for node, share in zip(self.nodes, shares, strict=True)]
        asked = [task.remote(*arguments) for task in tasks]
        return [self._answer(node, task) for node, task in zip(self.nodes, asked, strict=True)]

    def _answer(self, node: Node, task: Any) -> Any:
        try:
            return self.ray.get(task, timeout=ANSWER)
        except self.ray.exceptions.RayError as error:
            if isinstance(cause := getattr(error, "cause", None), FacemixError):
                raise FacemixError(f"{node.host}: {cause}") from None
            raise FacemixError(f"Ray: {node.host} does not answer ({line(error)})") from None

    def sees(self, folder: Path) -> list[bool]:
        """Whether each machine sees this very folder of this machine; it is made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".facemix-") as token:
            return self.everywhere(os.path.exists, token.name)

    def finished(
        self, function: Callable[[Any, Item], Result], shared: object, items: Iterable[Item], **options: Any
    ) -> Iterator[tuple[Item, Result]]:
        """Each item with what `function(shared, item)` gives, as soon as it is there, in any order.

        A task whose machine dies is started anew elsewhere. However this ends, no task goes on.

        Args:
            function: of this package; a pure one, as some items may be done twice.
            shared: what all items have in common: it travels to each machine once.
            items: taken as machines become free.
            options: Ray's, of each task: `num_cpus` (1), `num_gpus` (0), `runtime_env`.

        Raises:
            FacemixError, OSError: as the function raised it.
            FacemixError: the machines of a task died each time, or the function failed otherwise.
        """
        task = self.task(function, **{"num_cpus": 1, "max_retries": RETRIES} | options)
        slots = sum(node.slots(options.get("num_gpus", 0), options.get("num_cpus", 1)) for node in self.nodes)
        common, waiting, running = self.ray.put(shared), iter(items), dict[Any, Item]()
        try:
            while True:
                # One more for each, so that none waits for this process; a machine that joins later gets some too.
                running |= {task.remote(common, item): item for item in islice(waiting, 2 * slots + 2 - len(running))}
                if not running:
                    return
                for done in self.ray.wait(list(running))[0]:
                    yield running.pop(done), self._result(done)
        finally:
            for left in running:
                self.ray.cancel(left)

    def _result(self, task: Any) -> Any:
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FacemixError | OSError):
                raise error.cause from None
            raise FacemixError(str(error)) from None
        except self.ray.exceptions.RayError as error:
            raise FacemixError(f"Ray: the machine of a task died, {1 + RETRIES} times: {line(error)}") from None


def asked_for(on: str | None, address: str | None, packages: Iterable[str]) -> AbstractContextManager[Cluster | None]:
    """The cluster that a command's options ask for, to be joined by the block; None where they ask for none.

    Args:
        on: `ray`, or None.
        address, packages: as of `joined`.

    Raises:
        FacemixError: an address without `ray`, or as `joined` does.
    """
    if address and not on:
        raise FacemixError("--address is Ray's; add --on ray")
    return joined(address, packages) if on else nullcontext()


@contextmanager
def joined(address: str | None = None, packages: Iterable[str] = ()) -> Iterator[Cluster]:
    """The cluster of an address, or one that is started on this machine for the block; quiet, without a dashboard.

    Args:
        address: HOST:PORT; by default what RAY_ADDRESS names; where it is not set either, one is started.
        packages: whose versions are asked for.

    Raises:
        FacemixError: Ray is not installed or of another version, or the cluster does not answer.
    """
    be_quiet()
    try:
        import ray
    except ImportError:
        raise FacemixError(
            "--on ray: Ray is not installed; run `pip install -c constraints.txt -e '.[ray]'`, or leave --on out"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    check_answer(address)
    started = {"include_dashboard": False, "object_store_memory": LARGEST_STORE} if address == "local" else {}
    code = {"py_modules": [str(Path(__file__).parent)], "excludes": ["__pycache__"]}
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own in its place
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=code, **started)
    except Exception as error:
        told = " ".join(str(error).split())
        if "mismatch" in told:
            told += "; install the same versions on all machines"
        raise FacemixError(f"Ray at {address}: {told or type(error).__name__}") from None
    signal.signal(signal.SIGTERM, before)
    try:
        yield Cluster(ray=ray, nodes=_looked_at(ray, sorted({*packages, "ray"})))
    finally:
        ray.shutdown()


def _looked_at(ray: Any, packages: Sequence[str]) -> list[Node]:
    """The machines that are there, with what they have; one that dies meanwhile is left out."""
    nodes = _alive(ray)
    while True:
        try:
            looks = Cluster(ray=ray, nodes=nodes).everywhere(look, packages)
        except FacemixError:
            if len(left := _alive(ray)) == len(nodes):
                raise
            nodes = left
            continue
        return [replace(node, **seen) for node, seen in zip(nodes, looks, strict=True)]


def _alive(ray: Any) -> list[Node]:
    return [
        Node(name=node["NodeID"], resources=node["Resources"], host=node["NodeManagerHostname"])
        for node in ray.nodes()
        if node["Alive"]
    ]


def be_quiet() -> None:
    """Sets what a Ray of this machine shall do from its start on; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def check_answer(address: str) -> None:
    """Raises FacemixError where nobody listens: Ray would wait for many minutes."""
    if address.startswith("ray://"):
        raise FacemixError(
            f"{address}: the address of a Ray client, but this command runs on one of the cluster's machines; run it "
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


def look(packages: Sequence[str]) -> dict[str, Any]:
    """What the machine that this runs on has."""
    versions = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name).partition("+")[0]
    python = ".".join(map(str, sys.version_info[:2]))
    return {"host": socket.gethostname(), "python": python, "packages": versions}


def check_versions(nodes: Sequence[Node], here: Mapping[str, str], others: Sequence[str] = ()) -> None:
    """Raises FacemixError where a machine would compute by other packages than this one.

    Args:
        here: the versions of the packages that decide what comes out.
        others: packages that must be there, whatever their version.
    """
    for node in nodes:
        lacking = [name for name in (*here, *others) if name not in node.packages]
        if lacking:
            raise FacemixError(f"{node.host}: {', '.join(lacking)} not installed; install facemix there as here")
        if different := [name for name in here if node.packages[name] != here[name]]:
            listed = ", ".join(f"{name} {node.packages[name]} (here: {here[name]})" for name in different)
            raise FacemixError(
                f"{node.host}: found {listed}; install the same versions there (`pip install -c constraints.txt -e .`)"
            )
    for name, found in (("Python", [node.python for node in nodes]), ("Ray", [n.packages.get("ray") for n in nodes])):
        if len({*found}) > 1:
            listed = ", ".join(f"{version} on {node.host}" for node, version in zip(nodes, found, strict=True))
            raise FacemixError(f"{name}: found {listed}; install the same version on all machines")


def line(error: BaseException) -> str:
    """The last line of what an error says: Ray's are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
