import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facemix.faces.shards import Shards
from facemix.training.batches import (
    SYNTHETIC,
    Load,
    MixedBatches,
    TrainingSet,
    loader,
    prefetch,
    resident,
    streamed,
    upload,
)


def faces(n: int, brightness: int) -> TrainingSet:
    return TrainingSet(
        images=np.full((n, 4, 4, 3), brightness, dtype=np.uint8),
        landmarks=np.full((n, 68, 2), brightness, dtype=np.float32),
        ids=np.array([f"{brightness}/{i}" for i in range(n)]),
        rows=np.arange(n),
    )


def mixed(alpha: float, batch_size: int = 16, seed: int = 0, n: int = 37) -> MixedBatches:
    return MixedBatches(faces(n, 1), faces(n + 6, 2), alpha=alpha, batch_size=batch_size, seed=seed)


@given(st.floats(0, 1), st.integers(1, 64), st.integers(0, 100))
def test_the_realised_share_of_synthetic_faces_is_alpha(alpha: float, batch_size: int, seed: int) -> None:
    batches, steps = mixed(alpha, batch_size, seed), 60
    counts = [int((batches.draw(step)[0] == SYNTHETIC).sum()) for step in range(steps)]
    assert abs(sum(counts) - alpha * steps * batch_size) <= 1
    assert all(abs(count - alpha * batch_size) <= 1 for count in counts)


def test_the_expected_share_is_alpha_in_the_first_batch_too() -> None:
    counts = [int((mixed(0.3, 1, seed).draw(0)[0] == SYNTHETIC).sum()) for seed in range(4000)]
    assert np.mean(counts) == pytest.approx(0.3, abs=0.03)  # four standard errors


@given(st.integers(0, 100), st.floats(0, 1))
def test_every_face_is_seen_once_an_epoch(seed: int, alpha: float) -> None:
    batches = mixed(alpha, 16, seed)
    domains, rows = zip(*(batches.draw(step) for step in range(30)), strict=True)
    for d, n in ((0, 37), (1, 43)):
        stream = np.concatenate(rows)[np.concatenate(domains) == d]
        for first in range(0, len(stream) - n, n):
            assert sorted(stream[first : first + n].tolist()) == list(range(n))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    ahead = mixed(0.4)
    for step in range(20):
        ahead.draw(step)
    for one, other in zip(ahead.draw(20), mixed(0.4).draw(20), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_real_faces_of_a_mixture_are_those_of_real_only_in_the_same_order() -> None:
    def real(batches: MixedBatches, steps: int) -> np.ndarray:
        drawn = [batches.draw(step) for step in range(steps)]
        return np.concatenate([rows[domain == 0] for domain, rows in drawn])

    half = real(mixed(0.5), 20)
    np.testing.assert_array_equal(half, real(mixed(0.0), 20)[: len(half)])


def test_a_loaded_batch_holds_the_drawn_faces() -> None:
    batches = mixed(0.25)
    domain, _ = batches.draw(3)
    images, landmarks = batches.load(3)
    np.testing.assert_array_equal(images[:, 0, 0, 0], domain + 1)
    np.testing.assert_array_equal(landmarks[:, 0, 0], domain + 1)


def test_a_batch_knows_the_names_of_its_faces() -> None:
    batches = mixed(0.25)
    names = [f"{domain + 1}/{row}" for domain, row in zip(*batches.draw(3), strict=True)]
    assert batches.names(3) == names


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_parts_of_processes_make_up_the_batch(n: int) -> None:
    batches, share = mixed(0.4), 16 // n
    parts = [batches.load(5, rank * share, (rank + 1) * share) for rank in range(n)]
    for joined, whole in zip(map(np.concatenate, zip(*parts, strict=True)), batches.load(5), strict=True):
        np.testing.assert_array_equal(joined, whole)


@pytest.mark.parametrize("way", [loader, streamed, partial(resident, chunk=5)])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_every_way_to_the_device_brings_the_same_faces(way: Callable[..., Load], alpha: float) -> None:
    rng = np.random.default_rng(0)
    real, synthetic = (
        TrainingSet(
            images=rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8),
            landmarks=rng.random((n, 68, 2)).astype(np.float32),
            ids=np.arange(n).astype(str),
            rows=rng.permutation(n)[: n - 4],  # in any order, and not all of them
        )
        for n in (17, 23)
    )
    batches = MixedBatches(real, synthetic, alpha=alpha, batch_size=12, seed=0)
    load = way(batches, torch.device("cpu"), 3, 9)
    for step in (0, 1, 2, 7, 8, 0):  # in order, with a jump, and again
        for found, expected in zip(load(step), batches.load(step, 3, 9), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_next_batch_is_made_while_the_last_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(3)]

    def of_step(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        made[step].set()
        return torch.tensor(step), torch.tensor(-step)

    load = prefetch(of_step)
    assert load(0) == (torch.tensor(0), torch.tensor(0))
    assert made[1].wait(timeout=10)  # nobody has asked for it
    assert load(1) == (torch.tensor(1), torch.tensor(-1))


def test_a_batch_that_fails_ahead_fails_in_its_own_step() -> None:
    def of_step(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 1:
            raise MemoryError("no room")
        return torch.tensor(step), torch.tensor(step)

    load = prefetch(of_step)
    load(0)
    with pytest.raises(MemoryError, match="no room"):
        load(1)


@pytest.mark.parametrize(
    ("real", "synthetic", "alpha", "message"),
    [
        (None, faces(3, 2), 0.5, "no real faces to train on, expected some, because their share of a batch is 0.5"),
        (faces(3, 1), faces(0, 2), 1.0, "no synthetic faces to train on"),
        (faces(3, 1), faces(3, 2), 1.5, "alpha: found 1.5"),
    ],
)
def test_a_set_that_is_needed_must_have_faces(
    real: TrainingSet | None, synthetic: TrainingSet | None, alpha: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MixedBatches(real, synthetic, alpha=alpha, batch_size=4, seed=0)


def test_faces_are_shuffled_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = []
    shuffle = MixedBatches._shuffled
    monkeypatch.setattr(
        MixedBatches,
        "_shuffled",
        lambda self, *which: shuffled.append(which) or shuffle(self, *which),  # type: ignore[func-returns-value]
    )
    batches = mixed(0.5, 8)
    for step in range(9):  # 36 of each set
        batches.draw(step)
        batches.boxes(step)
    assert sorted(shuffled) == [(0, 0, 37), (1, 0, 43)]


def test_a_set_of_share_zero_is_not_needed() -> None:
    domain, _ = MixedBatches(faces(3, 1), None, alpha=0.0, batch_size=8, seed=0).draw(0)
    assert not domain.any()


def test_memory_in_use_does_not_grow_with_the_faces_that_were_read(tmp_path: Path) -> None:
    files = [tmp_path / "1.npy", tmp_path / "2.npy"]
    for file in files:
        np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(2000, 64, 64, 3))  # holes: no disk
    images = Shards(files, [2000, 2000], 64)
    rows = np.arange(len(images))
    points = np.zeros((len(images), 68, 2), np.float32)
    large = TrainingSet(images=images, landmarks=points, ids=rows.astype(np.str_), rows=rows)
    batches = MixedBatches(large, None, alpha=0, batch_size=100, seed=0)
    batches.load(0)
    before = _mapped()
    for step in range(1, 40):
        batches.load(step)
    assert _mapped() - before < np.prod(images.shape) / 10


def _mapped() -> int:
    """Memory of files that this process has mapped and read, bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", status)[1])  # type: ignore[index]


def test_a_tensor_whose_elements_share_memory_reaches_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # As torch fills pinned memory; without a GPU there is none.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: torch.empty_strided(t.shape, t.stride()).copy_(t))
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *_, **__: t)
    spread = torch.arange(2.0)[:, None, None].expand(2, 3, 1)
    assert torch.equal(upload(spread, torch.device("cuda")), spread)
