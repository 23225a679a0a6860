"""Trainings in processes of their own: that share the work, and that are stopped and killed."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facemix.training.processes import Group

SCRIPT = Path(__file__).resolve().parents[1] / "toy_training.py"
SETTINGS = {"learning_rate": 0.002}
STEPS, TERMS, ADAM_EPSILON = 7, 4 * 24 * 24, 1e-8
ROUNDING = STEPS * SETTINGS["learning_rate"] * TERMS**0.5 * float(np.finfo(np.float64).eps) / ADAM_EPSILON
"""How far sums in another order may take a weight in float64: 1.5e-8. Seen was 3e-12.

The largest sums are over the 4 faces of a batch and a map of 24 x 24 cells; their rounding is about the root of the
number of terms x epsilon. Most sensitive is a weight whose gradient is nothing but that: Adam divides it by its epsilon
and moves the weight by that many learning rates, in each step. In float32 an activation may also fall on the other side
of zero, which has no such bound.
"""
DOUBLE = "float64"

Trainer = Callable[..., list[int]]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    """Trains in `size` processes and returns their exit statuses; what they print goes to the file `log`."""
    server = subprocess.Popen([sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None

    def train(folder: Path, size: int = 1, **request: Any) -> list[int]:
        where = {"checkpoint": f"{folder}/checkpoint.pt", "out": f"{folder}/out.pt", "log": f"{folder}/log"}
        how = {"settings": SETTINGS, "size": size}
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
    np.testing.assert_allclose(history, expected_history, rtol=0, atol=ROUNDING)


@pytest.fixture(scope="module")
def undisturbed(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert trainer(folder, dtype=DOUBLE) == [0], (folder / "log").read_text()
    return folder


def test_two_processes_train_the_same_weights_as_one(trainer: Trainer, undisturbed: Path, tmp_path: Path) -> None:
    assert trainer(tmp_path, size=2, dtype=DOUBLE) == [0, 0], (tmp_path / "log").read_text()
    assert_same_but_for_rounding(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("strike", "codes", "message", "kept", "then"),
    [
        ([1, 4, signal.SIGKILL], [1, -9], "another process .* ended in step 5 .* goes on from", 4, 1),
        ([1, 1, signal.SIGKILL], [1, -9], "another process .* ended in step 2 .* goes on from", 1, 2),
        ([0, 4, signal.SIGKILL], [-9, 1], "another process .* ended in step 5", 3, 2),
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
    assert trainer(tmp_path, size=2, strike=strike, dtype=DOUBLE) == codes, (tmp_path / "log").read_text()
    assert re.search(message, (tmp_path / "log").read_text())
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == kept
    assert trainer(tmp_path, size=then, dtype=DOUBLE) == [0] * then, (tmp_path / "log").read_text()
    assert_same_but_for_rounding(tmp_path, undisturbed)


def test_torchrun_starts_lost_processes_anew_and_they_go_on_where_they_were(undisturbed: Path, tmp_path: Path) -> None:
    where = {"checkpoint": f"{tmp_path}/checkpoint.pt", "out": f"{tmp_path}/out.pt", "settings": SETTINGS}
    request = where | {"strike": [1, 4, signal.SIGKILL], "dtype": DOUBLE}
    command = ["torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", str(SCRIPT)]
    done = subprocess.run(
        [sys.executable, "-m", *command, json.dumps(request)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search("another process .* ended in step 5", done.stderr)
    assert torch.load(tmp_path / "out.pt", weights_only=True)["steps"] == [4, 5, 6]
    assert_same_but_for_rounding(tmp_path, undisturbed)


def test_killed_twenty_times_at_random_moments_ends_in_the_same_weights_bit_for_bit(
    trainer: Trainer, tmp_path: Path
) -> None:
    settings = SETTINGS | {"steps": 20, "evaluate_every": 1}
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    assert trainer(calm, settings=settings) == [0], (calm / "log").read_text()
    first, last = torch.load(calm / "out.pt", weights_only=True)["seconds"]
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        moment = first + rng.uniform(-0.2, 3) * (last - first) / 20  # from just before its first step to its fourth
        code = trainer(killed, settings=settings, kill_after=moment)
        if code == [-signal.SIGALRM]:
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
