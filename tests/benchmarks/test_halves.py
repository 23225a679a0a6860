"""What one half of the validation photographs chooses is reported on the other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toy
from facemix import config
from facemix.benchmarks import halves
from facemix.evaluation import metrics
from facemix.faces import formats, packing, packs
from facemix.faces.geometry import landmark_box
from facemix.faces.packs import Pack
from facemix.strategies import STRATEGIES
from facemix.training import tasks
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack
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


def layer(value: float) -> torch.nn.Module:
    """A network whose only weight is `value`."""
    one = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(one.weight, value)
    return one


NAN = float("nan")


def chosen(first: list[float], second: list[float]) -> list[tuple[int, float]]:
    """The evaluation and the weight that each of two judges keeps, who find these errors one after the other."""
    scripts = [iter(first), iter(second)]
    errors = [lambda _, script=script: next(script) for script in scripts]
    choosers = halves.Choosers(errors, lambda layer: layer)
    for number in range(len(first)):
        error = choosers(layer(number))
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
    """A pack of drawn faces: two and ten validate in the two halves, the others train."""
    folder = tmp_path_factory.mktemp("real")
    faces, _ = formats.read("facesynthetics", toy.write_facesynthetics(folder / "faces", n=32))
    second = halves.in_second(np.array([f"toy/{face.photo}" for face in faces]))
    validating = {*np.flatnonzero(~second)[:2], *np.flatnonzero(second)[:10]}
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


def measured(task: Task, real: Pack, folder: Path) -> halves.Errors:
    pairs = np.flatnonzero(real.splits == "train")
    return halves.measure(dataclasses.replace(task, real=real), pairs, folder / "checkpoint.pt")


def relabelled(real: Pack, rows: np.ndarray, points: np.ndarray) -> Pack:
    """The pack with these eyes, noses and mouths (n, 68, 2), within the box that says where a detector looks."""
    labels = real.landmarks.copy()
    box = landmark_box(labels[rows, :27])[:, None]
    labels[rows, 27:] = np.clip(points[:, 27:], box[..., :2], box[..., 2:])
    return dataclasses.replace(real, landmarks=labels)


def test_the_labels_of_a_half_have_no_say_in_the_network_that_it_is_judged_by(
    task: Task, real: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[list[int], np.ndarray]] = []

    def noted(points: np.ndarray, _: Task, rows: np.ndarray) -> np.ndarray:
        judged.append((rows.tolist(), points))
        return np.zeros(len(rows))

    monkeypatch.setattr(halves, "_nme", noted)
    rows = np.flatnonzero(real.splits == "validation")
    rows = rows[halves.in_second(real.photos[rows])]
    found: list[np.ndarray] = []

    def judge(landmarker: Landmarker) -> float:
        found.append(predict_pack(landmarker, real, rows))
        return 0.0

    tasks.train_network(task, tmp_path / "other.pt", lambda _: None, judge)
    before = measured(task, real, tmp_path)
    after = measured(task, relabelled(real, rows, found[0]), tmp_path)  # as the first step finds them
    assert (before.steps[1], after.steps[1]) == (4, 1)  # the poison works where it may
    assert (before.steps[0], before.epochs[0]) == (after.steps[0], after.epochs[0])
    raw, adapted, poisoned, poisoned_adapted = (points for place, points in judged if place == rows.tolist())
    assert np.array_equal(raw, poisoned) and np.array_equal(adapted, poisoned_adapted)


def test_the_labels_of_a_half_have_no_say_in_the_adapter_that_it_is_judged_by(
    task: Task, real: Pack, tmp_path: Path
) -> None:
    trained = tasks.train_network(task, tmp_path / "other.pt", lambda _: None).landmarker
    rows = np.flatnonzero(real.splits == "validation")
    second = halves.in_second(real.photos[rows])
    pairs = np.flatnonzero(real.splits == "train")

    def predicted(pack: Pack) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
        return halves._predicted(dataclasses.replace(task, real=pack), trained, pairs, rows, (~second, second))

    raw, (by_first, _), epochs = predicted(real)
    assert epochs[0] > 0 and epochs[1] > 0
    poisoned = relabelled(real, rows[second], raw[second])  # as they are found without an adapter
    _, (by_first_poisoned, by_second_poisoned), epochs_poisoned = predicted(poisoned)
    assert epochs_poisoned == [epochs[0], 0]  # the poison works where it may
    assert np.array_equal(by_first, by_first_poisoned)
    assert by_second_poisoned == pytest.approx(raw, abs=1e-4)


def test_a_half_is_judged_by_what_a_training_gives_that_the_other_half_alone_validates(
    task: Task, real: Pack, tmp_path: Path
) -> None:
    errors = measured(task, real, tmp_path)
    assert not list(tmp_path.iterdir())
    rows = np.flatnonzero(real.splits == "validation")
    assert errors.photos.tolist() == real.photos[rows].tolist()
    second = halves.in_second(real.photos[rows])
    for choosing, reported, step, epoch in zip(
        (~second, second), (second, ~second), errors.steps, errors.epochs, strict=True
    ):
        splits = real.splits.copy()
        splits[rows[reported]] = "excluded"
        own = dataclasses.replace(task, real=dataclasses.replace(real, splits=splits))
        assert own.split("validation").tolist() == rows[choosing].tolist()
        trained = tasks.train_network(own, tmp_path / "other.pt", lambda _: None).landmarker
        (tmp_path / "other.pt").unlink()
        adapted = tasks.fit_adapter(
            dataclasses.replace(
                own,
                strategy=STRATEGIES["label_adaptation"],
                synthetic=None,
                real_rows=np.flatnonzero(splits == "train"),
                base=trained,
            )
        ).landmarker
        assert (step, epoch) == (trained.about["training"]["best_step"], adapted.about["adapter"]["best_epoch"])
        for measure, landmarker in zip(halves.MEASURES, (trained, adapted), strict=True):
            predicted = predict_pack(landmarker, real, rows[reported])
            nme = metrics.nme(predicted, real.landmarks[rows[reported]], real.scheme)
            assert getattr(errors, measure)[reported] == pytest.approx(nme, rel=1e-4)
