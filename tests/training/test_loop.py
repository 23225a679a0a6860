import dataclasses
import errno
import os
import signal
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from facemix.errors import FacemixError
from facemix.training import loop, state
from facemix.training.checkpoint import CheckpointError, write_checkpoint
from facemix.training.interruption import Stopped
from facemix.training.loop import Result
from facemix.training.loss import SHARPEST, landmark_loss
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group, choose_device
from facemix.training.state import Weights
from toy_training import SETTINGS, run


class Killed(BaseException):
    """Stands for SIGKILL: nothing may be cleaned up on the way."""


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("undisturbed") / "checkpoint.pt")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path, undisturbed: Result) -> None:
    assert same(run(tmp_path / "a.pt").weights, undisturbed.weights)
    assert not same(run(tmp_path / "b.pt", seed=1).weights, undisturbed.weights)


@pytest.mark.parametrize(
    ("cores", "asked", "threads"), [(1, None, 1), (2, None, 1), (4, None, 3), (64, None, 4), (2, "4", 4)]
)
def test_a_training_leaves_a_core_to_the_next_batch_unless_threads_are_asked_for(
    cores: int, asked: str | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "available_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        run(tmp_path / "checkpoint.pt", before_step=lambda _: seen.append(torch.get_num_threads()))
        assert set(seen) == {threads}
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", range(7))
def test_killed_before_any_step_and_started_again_ends_in_the_same_weights(
    step: int, tmp_path: Path, undisturbed: Result
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def kill(before: int) -> None:
        if before == step:
            raise Killed

    with pytest.raises(Killed):
        run(checkpoint, before_step=kill)
    rows: list[loop.Row] = []
    result = run(checkpoint, rows=rows)
    assert same(result.weights, undisturbed.weights)
    assert result.history == undisturbed.history == rows  # the history is reported whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_signal_finishes_the_step_and_leaves_a_checkpoint_even_where_it_was_ignored(
    number: signal.Signals, handler: signal.Handlers, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    settings = dataclasses.replace(SETTINGS, evaluate_every=2)

    def stop(_: LandmarkNet) -> float:
        os.kill(os.getpid(), number)
        return 1.0

    before = signal.signal(number, handler)  # tests may run where signals are ignored
    try:
        with pytest.raises(Stopped) as stopped:
            run(checkpoint, settings=settings, validate=stop)
        assert signal.getsignal(number) == handler
    finally:
        signal.signal(number, before)
    assert stopped.value.code == 128 + number
    assert f"{number.name} after step 2; the same command goes on from" in stopped.value.message
    assert torch.load(checkpoint, weights_only=True)["step"] == 2


def test_compiling_changes_neither_weights_nor_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Result
) -> None:
    # The backend that runs what was traced as it is: the others need a compiler and a minute.
    monkeypatch.setattr(LandmarkNet, "compile", partialmethod(LandmarkNet.compile, backend="eager"))
    checkpoint = tmp_path / "checkpoint.pt"
    result = run(checkpoint, settings=dataclasses.replace(SETTINGS, compile=True))
    assert same(result.weights, undisturbed.weights)
    assert torch.load(checkpoint, weights_only=True)["model"].keys() == undisturbed.weights.keys()


def test_an_unlabelled_point_adds_nothing_to_loss_or_gradient() -> None:
    points, variance = torch.rand(2, 5, 2, requires_grad=True), torch.rand(2, 5, 2, requires_grad=True)
    targets = torch.rand(2, 5, 2)
    plain = landmark_loss(points, variance, targets, 32)
    partly = targets.clone()
    partly[0, 1] = torch.nan
    loss = landmark_loss(points, variance, partly, 32)
    own = landmark_loss(points[:1, 1:2], variance[:1, 1:2], targets[:1, 1:2], 32)
    torch.testing.assert_close(loss, plain - own / 10)  # its share of the mean over ten points
    loss.backward()
    for gradient in (points.grad, variance.grad):
        assert gradient is not None and gradient.isfinite().all() and not gradient[0, 1].any()


def test_the_best_evaluation_is_kept(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0])
    result = run(tmp_path / "checkpoint.pt", validate=lambda _: next(values))
    assert result.best_step == 6
    assert [row["step"] for row in result.history] == [3, 6, 7]


def test_training_reduces_the_loss(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=60, evaluate_every=10, warmup_steps=5, learning_rate=0.02)
    history = run(tmp_path / "checkpoint.pt", settings=settings).history
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]


def spoil(monkeypatch: pytest.MonkeyPatch, step: int, change: Callable[[Tensor], Tensor]) -> None:
    """Changes the loss of one step, counted from 1."""
    calls, real = iter(range(1, 100)), landmark_loss
    monkeypatch.setattr(state, "landmark_loss", lambda *a: (change if next(calls) == step else torch.clone)(real(*a)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_the_next_evaluation_and_keeps_the_checkpoint(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    spoil(monkeypatch, 5, lambda loss: loss * value)
    with pytest.raises(FacemixError, match="loss was not finite in step 5; lower training.learning_rate") as stop:
        run(checkpoint)
    assert "faces of that step: face-8, face-1, face-2, face-5." in str(stop.value)
    assert str(stop.value).endswith(f"the last good state is in {checkpoint}")
    assert torch.load(checkpoint, weights_only=True)["step"] == 3


def test_a_signal_does_not_save_what_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    spoil(monkeypatch, 4, lambda loss: loss * float("nan"))
    with pytest.raises(FacemixError, match="in step 4"):
        run(checkpoint, before_step=lambda step: step == 4 and os.kill(os.getpid(), signal.SIGTERM))
    assert torch.load(checkpoint, weights_only=True)["step"] == 3


def test_no_checkpoint_is_named_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 2, lambda loss: loss * float("nan"))
    with pytest.raises(FacemixError, match="in step 2.*there was no checkpoint yet$"):
        run(tmp_path / "checkpoint.pt")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def endless_gradient(loss: Tensor) -> Tensor:
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    spoil(monkeypatch, 6, endless_gradient)
    with pytest.raises(FacemixError, match="the weights were not finite after step 6;"):
        run(checkpoint)
    assert torch.load(checkpoint, weights_only=True)["step"] == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_lower_and_can_be_resumed(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Result
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def fail(_: Tensor) -> Tensor:
        raise error

    with monkeypatch.context() as patch:
        spoil(patch, 5, fail)
        lower = (
            r"out of memory in step 5: lower training.batch_size \(4\) or model.input_size \(48\).*goes on from .*\.pt$"
        )
        with pytest.raises(FacemixError, match=lower):
            run(checkpoint)
    assert same(run(checkpoint).weights, undisturbed.weights)


def test_too_little_memory_to_begin_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Group, "wrap_ddp", fail)
    with pytest.raises(FacemixError, match="out of memory before the first step: lower training.batch_size"):
        run(tmp_path / "checkpoint.pt")


def test_another_runtime_error_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("gloo is not to blame")

    spoil(monkeypatch, 1, fail)
    with pytest.raises(RuntimeError, match="^gloo is not to blame$"):
        run(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_another_configuration_is_refused_by_key(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(checkpoint)
    with pytest.raises(CheckpointError, match=r"of another configuration: alpha: found 0\.5, expected 0\.3"):
        run(checkpoint, identity={"alpha": 0.3})


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(checkpoint)
    with pytest.raises(CheckpointError, match="not the state of this model .*size mismatch.* delete it to start again"):
        run(checkpoint, width=24)


def tampered(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [tampered, lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"not a checkpoint"]
)
def test_a_torn_or_tampered_checkpoint_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(checkpoint)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match="not a readable checkpoint .* delete it to start again"):
        run(checkpoint)


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"seed": 0}, {"step": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="checkpoint.pt: could not be written .*No space left.*; nothing was changed"):
        write_checkpoint(path, {"seed": 0}, {"step": 2})
    assert torch.load(path, weights_only=True) == {"step": 1, "identity": {"seed": 0}}
    assert list(tmp_path.iterdir()) == [path]


def test_the_schedule_warms_up_and_falls_to_nothing() -> None:
    rates = [state.schedule(step, 100, 10) for step in range(100)]
    assert np.argmax(rates) in (9, 10)
    assert max(rates) == 1
    assert np.all(np.diff(rates[10:]) < 0)
    assert 0 <= rates[-1] < 1e-3


def test_the_loss_is_least_where_the_network_is_as_sure_as_it_is_right() -> None:
    def loss(error: float, spread: float) -> float:
        points, variance = torch.full((1, 68, 2), error), torch.full((1, 68, 2), spread**2)
        return float(landmark_loss(points, variance, torch.zeros(1, 68, 2), 100))

    spreads = np.linspace(0, 10, 1001)
    for error in (1.0, 2.0, 5.0):
        best = spreads[np.argmin([loss(error, spread) for spread in spreads])]
        assert np.hypot(best, SHARPEST) == pytest.approx(error, rel=0.01)  # of a Laplace distribution
    assert loss(2, 1) < loss(3, 1) < loss(4, 1)
    assert loss(0, 0) == pytest.approx(np.log(SHARPEST))


def test_the_loss_knows_no_pixels() -> None:
    points, variance, targets = torch.rand(2, 68, 2) * 96, torch.rand(2, 68, 2) * 9, torch.rand(2, 68, 2) * 96
    larger = landmark_loss(2 * points, 4 * variance, 2 * targets, 192)
    torch.testing.assert_close(larger, landmark_loss(points, variance, targets, 96))


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="training.device: found cuda, but torch sees no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
