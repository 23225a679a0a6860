"""Work on many faces at once, on as many cores as this process may use."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 64
"""Items that wait for a thread, or for their turn among the results."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Which control groups this process is in."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where the kernel shows them."""


def on_all_cores(work: Callable[[Item], Result], items: Sequence[Item], title: str, unit: str = "face") -> list[Result]:
    """`work` applied to every item, in order, with a progress bar (none where there is no terminal).

    Threads suffice for images and files: reading, copying, hashing, decoding and warping happen outside of Python's
    lock. The first exception is raised, and what has not begun by then is never done. Only some items wait for their
    turn at a time, so that a million of them take no memory.
    """
    return list(tqdm(in_turn(work, items), title, total=len(items), unit=unit, disable=None))


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `on_all_cores` returns, one by one and without a bar."""
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) == AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for waiting in begun:
                waiting.cancel()


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Lets OpenCV work on one core while the threads of this process share them: its own would stand in their way."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def available_cores() -> int:
    """Cores that this process may use: those that it may run on, but no more than its control groups pay for."""
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([cores, *_quotas()])))


def _quotas() -> Iterator[float]:
    """CPU quotas, in cores, of this process's control groups and of all groups around them; of versions 1 and 2."""
    lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines() if MEMBERSHIP.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = CONTROL_GROUPS / "cpu" if controllers else CONTROL_GROUPS
        names = [name for name in path.split("/") if name not in ("", "..")]
        for depth in range(len(names) + 1):  # a container shows its own group at the top, whatever its name outside
            quota = _quota(top.joinpath(*names[:depth]))
            if quota is not None:
                yield quota


def _quota(group: Path) -> float | None:
    """The quota of one control group in cores; None where there is none."""
    try:
        if (both := group / "cpu.max").exists():
            quota, period = both.read_text(encoding="utf-8").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    except OSError:
        return None
    return None if quota == "max" or float(quota) <= 0 else float(quota) / float(period)
