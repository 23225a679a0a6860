"""What one half of the validation photographs chooses is reported on the other."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toy
from facemix import config
from facemix.benchmarks import halves
from facemix.faces import formats, packing, packs
from facemix.faces.packs import Pack
from facemix.strategies import STRATEGIES
from facemix.training.landmarker import Landmarker
from facemix.training.tasks import Task

PHOTOS = np.array([f"300w/photo-{i}" for i in range(40)])


@given(st.permutations(range(40)), st.integers(20, 40))
def test_a_photograph_is_always_in_the_same_half(order: list[int], kept: int) -> None:
    second = dict(zip(PHOTOS, halves.in_second(PHOTOS), strict=True))
    chosen = PHOTOS[order][:kept]
    assert halves.in_second(chosen).tolist() == [second[photo] for photo in chosen]


def test_the_faces_of_a_photograph_are_in_one_half_and_the_halves_are_about_equal() -> None:
    photos = np.repeat([f"photo-{i}" for i in range(1000)], 3)
    second = halves.in_second(photos).reshape(-1, 3)
    assert (second == second[:, :1]).all()
    assert 0.45 < second.mean() < 0.55


def test_photographs_in_one_half_only_are_refused() -> None:
    with pytest.raises(ValueError, match="found 1 validation photographs, all in one half, expected some in each"):
        halves.in_second(np.array(["a", "a"]))


def network(value: float) -> Any:
    """A stand-in for a detector whose only weight is `value`."""
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, value)
    return SimpleNamespace(network=layer)


NAN = float("nan")


def chosen(first: list[float], second: list[float]) -> list[tuple[int, float]]:
    """The evaluation and the weight that each of two judges keeps, who find these errors one after the other."""
    scripts = [iter(first), iter(second)]
    choosers = halves.Choosers([lambda _, script=script: next(script) for script in scripts])
    for number in range(len(first)):
        error = choosers(network(number))
        assert error == pytest.approx((first[number] + second[number]) / 2, nan_ok=True)
    weights = [float(own["weight"]) for own in choosers.weights]
    return list(zip(choosers.best, weights, strict=True))


def test_each_judge_keeps_the_network_that_it_finds_best() -> None:
    assert chosen([3, 1, 2, 4], [5, 5, 4, 4]) == [(1, 1.0), (2, 2.0)]
    assert chosen([NAN, 2, NAN], [NAN, NAN, NAN]) == [(1, 1.0), (0, 0.0)]


@given(st.lists(st.floats(0, 9), min_size=4, max_size=4), st.lists(st.floats(0, 9), min_size=4, max_size=4))
def test_what_one_judge_finds_changes_nothing_for_the_other(one: list[float], other: list[float]) -> None:
    assert chosen(one, [3, 1, 2, 4])[1] == chosen(other, [3, 1, 2, 4])[1] == (1, 1.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A pack of drawn faces: twelve train, eight validate, four in each half."""
    folder = tmp_path_factory.mktemp("real")
    faces, _ = formats.read("facesynthetics", toy.write_facesynthetics(folder / "faces", n=24))
    second = halves.in_second(np.array([f"toy/{face.photo}" for face in faces]))
    validating = {*np.flatnonzero(second)[:4], *np.flatnonzero(~second)[:4]}
    entries = [
        packing.Entry(face=face, source="toy", split="validation" if place in validating else "train")
        for place, face in enumerate(faces)
    ]
    packing.write(folder / "pack", entries, size=48, margin=2.0)
    return packs.read(folder / "pack")


@pytest.fixture
def task(params: config.Params, real: Pack) -> Task:
    short = dataclasses.replace(
        params.training, steps=4, batch_size=4, warmup_steps=1, evaluate_every=1, ema_decay=0.5, device="cpu"
    )
    small = dataclasses.replace(
        params,
        model=dataclasses.replace(params.model, input_size=32, width=8),
        training=short,
        adaptation=dataclasses.replace(params.adaptation, epochs=3),
    )
    return Task(
        strategy=STRATEGIES["synthetic_only"],
        seed=0,
        params=small,
        alpha=1.0,
        real=real,
        synthetic=real,
        real_rows=None,
        synthetic_rows=np.flatnonzero(real.splits == "train"),
        held_out=None,
        base=None,
        adapter=None,
        behind={},
        inputs={},
    )


def measured(
    task: Task, real: Pack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[halves.Errors, list[tuple[Landmarker, np.ndarray]]]:
    """The errors, and which detector was measured on which rows."""
    seen: list[tuple[Landmarker, np.ndarray]] = []
    nme = halves._nme

    def noted(landmarker: Landmarker, task: Task, rows: np.ndarray) -> np.ndarray:
        seen.append((landmarker, rows))
        return nme(landmarker, task, rows)

    monkeypatch.setattr(halves, "_nme", noted)
    pairs = np.flatnonzero(real.splits == "train")
    errors = halves.measure(dataclasses.replace(task, real=real), pairs, folder / "checkpoint.pt")
    monkeypatch.setattr(halves, "_nme", nme)
    return errors, seen


def state(landmarker: Landmarker) -> list[torch.Tensor]:
    adapter = [] if landmarker.adapter is None else list(landmarker.adapter.state_dict().values())
    return [*landmarker.network.state_dict().values(), *adapter]


def test_the_labels_of_a_half_have_no_say_in_what_it_is_judged_by(
    task: Task, real: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, judged_before = measured(task, real, tmp_path, monkeypatch)
    rows = np.flatnonzero(real.splits == "validation")
    second = halves.in_second(real.photos[rows])
    poisoned = real.landmarks.copy()
    poisoned[rows[second]] = np.random.default_rng(0).uniform(5, 43, poisoned[rows[second]].shape)
    after, judged_after = measured(task, dataclasses.replace(real, landmarks=poisoned), tmp_path, monkeypatch)
    assert [place.tolist() for _, place in judged_before] == [rows[second].tolist()] * 2 + [rows[~second].tolist()] * 2
    for (one, _), (other, _) in zip(judged_before[:2], judged_after[:2], strict=True):
        assert all(map(torch.equal, state(one), state(other)))
    assert (before.steps[0], before.epochs[0]) == (after.steps[0], after.epochs[0])
    assert (after.steps[1], after.epochs[1]) != (before.steps[1], before.epochs[1])  # the poison works where it may
    assert (after.synthetic_only[second] != before.synthetic_only[second]).all()


def test_every_face_is_measured_by_one_training(
    task: Task, real: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors, judged = measured(task, real, tmp_path, monkeypatch)
    rows = np.flatnonzero(real.splits == "validation")
    assert errors.photos.tolist() == real.photos[rows].tolist()
    for measure, (first, second) in zip(halves.MEASURES, (judged[::2], judged[1::2]), strict=True):
        expected = dict.fromkeys(rows.tolist(), np.nan)
        for landmarker, own in (first, second):
            expected |= dict(zip(own.tolist(), halves._nme(landmarker, task, own).tolist(), strict=True))
        assert getattr(errors, measure) == pytest.approx(list(expected.values()), rel=1e-5)
    assert not list(tmp_path.iterdir())
