"""Trainings in processes of their own: that share the work, and that are stopped and killed."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facemix.training.processes import Group

SCRIPT = Path(__file__).resolve().parents[1] / "toy_training.py"
SETTINGS = {"learning_rate": 0.002}
ROUNDING = 2e-5
"""What sums in another order came to after seven steps was 3e-6 at most, on weights of about 1 that move by 1e-2."""

Trainer = Callable[..., list[int]]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    """Trains in `size` processes and returns their exit statuses; what they print goes to the file `log`."""
    server = subprocess.Popen([sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None

    def train(folder: Path, size: int = 1, kill_after: float | None = None, **request: Any) -> list[int]:
        where = {"checkpoint": f"{folder}/checkpoint.pt", "out": f"{folder}/out.pt", "log": f"{folder}/log"}
        how = {"settings": SETTINGS, "size": size, "kill_after": kill_after}
        print(json.dumps(where | how | request), file=server.stdin, flush=True)
        codes: list[int] = json.loads(server.stdout.readline())
        return codes

    yield train
    server.stdin.close()
    assert server.wait(60) == 0
    server.stdout.close()


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    """Weights, and the rows of the history."""
    left = torch.load(folder / "out.pt", weights_only=True)
    return left["weights"], [list(row.values()) for row in left["history"]]


def assert_same_but_for_rounding(one: Path, other: Path) -> None:
    (weights, history), (expected, expected_history) = outcome(one), outcome(other)
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(history, expected_history, rtol=1e-5)


@pytest.fixture(scope="module")
def undisturbed(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert trainer(folder) == [0], (folder / "log").read_text()
    return folder


def test_two_processes_train_the_same_weights_as_one(trainer: Trainer, undisturbed: Path, tmp_path: Path) -> None:
    assert trainer(tmp_path, size=2) == [0, 0], (tmp_path / "log").read_text()
    assert_same_but_for_rounding(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("strike", "codes", "message", "kept", "then"),
    [
        ([1, 4, signal.SIGKILL], [1, -9], "another process .* was lost in step 5 .* goes on from", 4, 1),
        ([1, 1, signal.SIGKILL], [1, -9], "another process .* was lost in step 2 .* goes on from", 1, 2),
        ([0, 4, signal.SIGKILL], [-9, 1], "another process .* was lost in step 5", 3, 2),
        # What one process hears in a step all know a step later.
        ([1, 2, signal.SIGTERM], [143, 143], "", 4, 1),
    ],
)
def test_a_lost_or_stopped_process_ends_all_and_leaves_a_checkpoint_for_any_number_of_them(
    strike: list[int],
    codes: list[int],
    message: str,
    kept: int,
    then: int,
    trainer: Trainer,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    assert trainer(tmp_path, size=2, strike=strike) == codes, (tmp_path / "log").read_text()
    assert re.search(message, (tmp_path / "log").read_text())
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == kept
    assert trainer(tmp_path, size=then) == [0] * then, (tmp_path / "log").read_text()
    assert_same_but_for_rounding(tmp_path, undisturbed)


def test_torchrun_ends_with_a_checkpoint_when_a_process_is_lost(tmp_path: Path) -> None:
    request = {"checkpoint": f"{tmp_path}/checkpoint.pt", "out": f"{tmp_path}/out.pt", "settings": SETTINGS}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", SCRIPT]
    strike = {"strike": [1, 4, signal.SIGKILL]}
    done = subprocess.run([*command, json.dumps(request | strike)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search("another process .* was lost in step 5", done.stderr)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4
    assert not (tmp_path / "out.pt").exists()


def test_torchrun_may_start_lost_processes_anew(undisturbed: Path, tmp_path: Path) -> None:
    request = {"checkpoint": f"{tmp_path}/checkpoint.pt", "out": f"{tmp_path}/out.pt", "settings": SETTINGS}
    options = ["--nproc-per-node", "2", "--max-restarts", "1"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, SCRIPT]
    strike = {"strike": [1, 4, signal.SIGKILL]}
    done = subprocess.run([*command, json.dumps(request | strike)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_but_for_rounding(tmp_path, undisturbed)


def test_killed_twenty_times_at_random_moments_ends_in_the_same_weights_bit_for_bit(
    trainer: Trainer, tmp_path: Path
) -> None:
    settings = SETTINGS | {"steps": 20, "evaluate_every": 1}
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    start = time.monotonic()
    assert trainer(calm, settings=settings) == [0], (calm / "log").read_text()
    whole = time.monotonic() - start
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        code = trainer(killed, settings=settings, kill_after=whole * rng.uniform(0.05, 0.4))
        if code == [-9]:
            kills += 1
        else:  # it came to its end: once more from the start
            assert_bit_identical(killed, calm)
            (killed / "checkpoint.pt").unlink()
    assert trainer(killed, settings=settings) == [0]
    assert_bit_identical(killed, calm)


def assert_bit_identical(one: Path, other: Path) -> None:
    (weights, history), (expected, expected_history) = outcome(one), outcome(other)
    assert all(torch.equal(weights[key], value) for key, value in expected.items())
    assert history == expected_history


def test_memory_does_not_grow_with_the_pack(trainer: Trainer, tmp_path: Path) -> None:
    peaks = []
    for n in (1500, 15000):
        folder = tmp_path / str(n)
        folder.mkdir()
        images = folder / "images.npy"
        np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=(n, 64, 64, 3)).flush()
        settings = SETTINGS | {"steps": 30, "evaluate_every": 15, "batch_size": 8}
        assert trainer(folder, settings=settings, images=str(images)) == [0], (folder / "log").read_text()
        peaks.append(torch.load(folder / "out.pt", weights_only=True)["memory"])
    assert peaks[1] < 1.1 * peaks[0]


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    groups = [Group(torch.device("cpu"), rank, 3) for rank in range(3)]
    assert [group.part(12) for group in groups] == [(0, 4), (4, 8), (8, 12)]
    with pytest.raises(ValueError, match="training.batch_size: found 16, expected a multiple of the 3 processes"):
        groups[0].part(16)
