import os
import threading
from pathlib import Path

import pytest

from facemix.faces import parallel


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores whose control groups are what a test writes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    monkeypatch.setattr(parallel, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(parallel, "CONTROL_GROUPS", tmp_path / "groups")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_the_affinity_counts(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parallel.available_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {3, 5})
    assert parallel.available_cores() == 2


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),  # a third thread would wait half of the time, and the others for it
        ("50000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_a_quota_of_version_2_limits_the_cores(limit: str, cores: int, system: Path) -> None:
    write(system / "membership", "0::/user/job\n")
    write(system / "groups/user/job/cpu.max", limit + "\n")
    assert parallel.available_cores() == cores


def test_the_groups_around_ours_limit_us_too(system: Path) -> None:
    write(system / "membership", "0::/user/job\n")
    write(system / "groups/user/job/cpu.max", "max 100000\n")
    write(system / "groups/user/cpu.max", "300000 100000\n")
    assert parallel.available_cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("400000", 4)])
def test_a_quota_of_version_1_limits_the_cores(quota: str, cores: int, system: Path) -> None:
    # As in a container: its group has another name outside, and stands at the top inside.
    write(system / "membership", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n")
    write(system / "groups/cpu/cpu.cfs_quota_us", quota + "\n")
    write(system / "groups/cpu/cpu.cfs_period_us", "100000\n")
    assert parallel.available_cores() == cores


def test_faces_are_worked_on_by_as_many_threads_and_stay_in_order(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    pool = parallel.ThreadPoolExecutor
    monkeypatch.setattr(parallel, "ThreadPoolExecutor", lambda workers: (asked.append(workers), pool(workers))[1])
    assert parallel.on_all_cores(lambda x: 2 * x, range(20), "doubling") == list(range(0, 40, 2))
    assert asked == [8]


def test_after_an_error_nothing_more_begins(system: Path) -> None:
    begun = []

    def work(i: int) -> None:
        begun.append(i)
        if i == 0:
            raise OSError("full")
        go_on.wait(10)

    go_on = threading.Event()
    threading.Timer(0.05, go_on.set).start()
    with pytest.raises(OSError, match="full"):
        parallel.on_all_cores(work, range(1000), "copying", "file")
    assert len(begun) < 100


def test_few_items_wait_at_a_time(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "AHEAD", 5)
    begun: list[int] = []
    when_first_ended: list[int] = []

    def work(i: int) -> int:
        begun.append(i)
        if i == 0:
            go_on.wait(10)
            when_first_ended.append(len(begun))
        return i

    go_on = threading.Event()
    threading.Timer(0.05, go_on.set).start()
    assert parallel.on_all_cores(work, range(200), "waiting") == list(range(200))
    assert when_first_ended[0] <= 5
