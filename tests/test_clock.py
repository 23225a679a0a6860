import math
import time
from pathlib import Path

import pytest

from facemix import clock
from facemix.clock import Clock
from facemix.files import RemoteFile


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests change."""
    told = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: told[0])
    return told


@pytest.mark.parametrize("remote", [False, True])
def test_a_training_that_goes_on_adds_to_the_time_of_its_checkpoint(
    tmp_path: Path, now: list[float], remote: bool
) -> None:
    checkpoint = RemoteFile(f"memory://{tmp_path.name}/mixing.pt") if remote else tmp_path / "mixing.pt"
    first = Clock.start(checkpoint)
    now[0] += 20
    checkpoint.write_bytes(b"")
    first.keep()
    now[0] += 500  # lost: no checkpoint holds it
    again = Clock.start(checkpoint)
    assert clock.read(checkpoint) is None  # killed now, nothing would be known
    now[0] += 5
    again.keep()
    assert clock.read(checkpoint) == pytest.approx(25)
    assert again.seconds == pytest.approx(25)


def test_a_training_that_starts_anew_starts_at_zero(tmp_path: Path, now: list[float]) -> None:
    checkpoint = tmp_path / "mixing.pt"
    for _ in range(2):  # its checkpoint is deleted at its end
        timer = Clock.start(checkpoint)
        now[0] += 7
        timer.keep()
    assert clock.read(checkpoint) == pytest.approx(7)


def test_a_checkpoint_without_a_time_leaves_none(tmp_path: Path, now: list[float]) -> None:
    checkpoint = tmp_path / "mixing.pt"
    checkpoint.touch()
    timer = Clock.start(checkpoint)
    now[0] += 7
    timer.keep()
    assert math.isnan(timer.seconds) and clock.read(checkpoint) is None
    (tmp_path / "mixing.seconds").write_text("soon", encoding="utf-8")
    assert clock.read(checkpoint) is None


def test_the_time_of_a_checkpoint_on_a_server_lies_beside_it(now: list[float]) -> None:
    checkpoint = RemoteFile("memory://facemix-clock/mixing.pt")
    timer = Clock.start(checkpoint)
    now[0] += 7
    timer.keep()
    assert RemoteFile("memory://facemix-clock/mixing.seconds").read_bytes() == b"7.000\n"
    checkpoint.write_bytes(b"")
    timer = Clock.start(checkpoint)
    now[0] += 5
    assert timer.seconds == pytest.approx(12)
