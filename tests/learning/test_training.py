import dataclasses
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import toy
from facemix import config
from facemix.learning import training
from facemix.learning.batches import MixedBatches, TrainingSet
from facemix.learning.model import LandmarkNet
from facemix.learning.training import CheckpointError, Result, State, Stopped

PARAMS = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
SETTINGS = dataclasses.replace(
    PARAMS.training, steps=7, batch_size=4, warmup_steps=2, evaluate_every=3, ema_decay=0.8, device="cpu"
)
RNG = np.random.default_rng(0)
FACES = TrainingSet(
    images=RNG.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8),
    landmarks=(toy.template() * 14 + 32 + RNG.normal(0, 0.5, (10, 68, 2))).astype(np.float32),
    rows=np.arange(10),
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing may be cleaned up on the way."""


def run(
    checkpoint: Path,
    *,
    settings: config.Training = SETTINGS,
    seed: int = 0,
    identity: dict[str, Any] | None = None,
    kill_before: int | None = None,
    validate: Callable[[LandmarkNet], float] | None = None,
    rows: list[training.Row] | None = None,
) -> Result:
    torch.manual_seed(seed)
    model = LandmarkNet("mobilenetv3_small_050", 48, 16)
    batches = MixedBatches(FACES, FACES, alpha=0.5, batch_size=settings.batch_size, seed=seed)
    load = batches.load

    def load_unless_killed(step: int) -> Any:
        if step == kill_before:
            raise Killed
        return load(step)

    batches.load = load_unless_killed  # type: ignore[method-assign]
    return training.train(
        model,
        batches,
        input_size=48,
        field=42.0,
        settings=settings,
        augmentation=PARAMS.augmentation,
        learning_rate=settings.learning_rate,
        seed=seed,
        validate=validate or (lambda net: float(next(net.parameters()).detach().abs().mean())),
        checkpoint=checkpoint,
        identity=identity or {"alpha": 0.5},
        report=(rows if rows is not None else []).append,
    )


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("undisturbed") / "checkpoint.pt")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path, undisturbed: Result) -> None:
    assert same(run(tmp_path / "a.pt").weights, undisturbed.weights)
    assert not same(run(tmp_path / "b.pt", seed=1).weights, undisturbed.weights)


@pytest.mark.parametrize("step", range(7))
def test_killed_before_any_step_and_started_again_ends_in_the_same_weights(
    step: int, tmp_path: Path, undisturbed: Result
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run(checkpoint, kill_before=step)
    rows: list[training.Row] = []
    result = run(checkpoint, rows=rows)
    assert same(result.weights, undisturbed.weights)
    assert result.history == undisturbed.history == rows  # the history is reported whole


def test_a_signal_finishes_the_step_and_leaves_a_checkpoint(tmp_path: Path, undisturbed: Result) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    settings = dataclasses.replace(SETTINGS, evaluate_every=2)

    def stop(_: LandmarkNet) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    with pytest.raises(Stopped) as stopped:
        run(checkpoint, settings=settings, validate=stop)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "SIGTERM after step 2; the same command goes on from" in stopped.value.message
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_best_evaluation_is_kept(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0])
    result = run(tmp_path / "checkpoint.pt", validate=lambda _: next(values))
    assert result.best_step == 6
    assert [row["step"] for row in result.history] == [3, 6, 7]


def test_training_reduces_the_loss(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=60, evaluate_every=10, warmup_steps=5, learning_rate=0.02)
    history = run(tmp_path / "checkpoint.pt", settings=settings).history
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    calls = iter(range(100))
    real = training.landmark_loss
    monkeypatch.setattr(training, "landmark_loss", lambda *a: real(*a) * (float("nan") if next(calls) == 4 else 1))
    with pytest.raises(FloatingPointError, match="became nan between steps 3 and 6; lower training.learning_rate"):
        run(checkpoint)
    assert torch.load(checkpoint, weights_only=True)["step"] == 3


def test_a_checkpoint_of_another_configuration_is_refused_by_key(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(checkpoint)
    with pytest.raises(CheckpointError, match=r"of another configuration: alpha: found 0\.5, expected 0\.3"):
        run(checkpoint, identity={"alpha": 0.3})


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"not a checkpoint"])
def test_a_torn_checkpoint_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(checkpoint)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match="not a readable checkpoint .* delete it to start anew"):
        run(checkpoint)


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    training.write_checkpoint(path, {"step": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="checkpoint.pt: could not be written .*No space left.*; nothing was changed"):
        training.write_checkpoint(path, {"step": 2})
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_schedule_warms_up_and_falls_to_nothing() -> None:
    rates = [training.schedule(step, 100, 10) for step in range(100)]
    assert np.argmax(rates) in (9, 10)
    assert max(rates) == 1
    assert np.all(np.diff(rates[10:]) < 0)
    assert 0 <= rates[-1] < 1e-3


def test_the_wing_loss_is_continuous_and_linear_far_out() -> None:
    def loss(pixels: float) -> float:
        predicted = torch.full((1, 68, 2), pixels)
        return float(training.landmark_loss(predicted, torch.zeros(1, 68, 2), 100))

    assert loss(0) == 0
    assert loss(4 - 1e-4) == pytest.approx(loss(4 + 1e-4), abs=1e-3)
    assert loss(30) - loss(20) == pytest.approx(10, rel=1e-4)


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="training.device: found cuda, but torch sees no CUDA device"):
        training.choose_device("cuda")
    assert training.choose_device("auto").type == "cpu"
