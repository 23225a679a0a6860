import dataclasses
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch

import toy
from facemix import cli, config
from facemix.benchmarks import leaks, memory, results, speed, usual_loader
from facemix.config import Augmentation
from facemix.faces import geometry
from facemix.faces.schemes import ibug68
from facemix.training import augment
from toy_project import REPOSITORY

NOTHING = Augmentation(rotation=0, scale=0, shift=0, mirror=0, colour=0, grey=0, blur=0, noise=0, occlusion=0)
STRONG = Augmentation(
    rotation=30, scale=0.2, shift=0.1, mirror=0.5, colour=0.4, grey=0.4, blur=0.5, noise=0.5, occlusion=0.5
)
CROP, SIZE = 64, 32
TO_CROP = geometry.crop_transform(geometry.landmark_box(toy.template()), CROP, 2.0)
LANDMARKS = geometry.apply(TO_CROP, toy.template()).astype(np.float32)
CONTEXT = 1.3
"""Side of the field of view / longer side of the box."""


def one_by_one(
    picture: npt.NDArray[np.uint8], settings: Augmentation, n: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    made = [
        usual_loader.augment_one(picture, LANDMARKS, size=SIZE, context=CONTEXT, settings=settings, rng=rng)
        for _ in range(n)
    ]
    return np.stack([image for image, _ in made]), np.stack([points for _, points in made])


def as_a_batch(
    picture: npt.NDArray[np.uint8], settings: Augmentation, n: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    crops = torch.from_numpy(np.repeat(picture[None], n, axis=0))
    landmarks = torch.from_numpy(np.repeat(LANDMARKS[None], n, axis=0))
    generator = torch.Generator().manual_seed(0)
    boxes = torch.from_numpy(geometry.landmark_box(landmarks.numpy()).astype(np.float32))
    changes = augment.draw(boxes, crops.shape[1], context=CONTEXT, size=SIZE, settings=settings, generator=generator)
    images, points = augment.apply(crops, landmarks, changes, SIZE, torch.from_numpy(ibug68().mirror.copy()))
    return images.numpy(), points.numpy()


def features(images: npt.NDArray[np.float32], points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(n, 12) numbers in which every change of a picture or its points shows."""
    colours = images.mean(axis=(2, 3))
    spread, detail = images.std(axis=(1, 2, 3)), np.abs(np.diff(images, axis=3)).mean(axis=(1, 2, 3))
    cast, left = np.ptp(colours, axis=1), images[..., : SIZE // 2].mean(axis=(1, 2, 3))
    places = points[:, [8, 36]].reshape(-1, 4) / SIZE
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1) / SIZE
    return np.column_stack([colours, spread, detail, cast, left, places, eyes]).astype(np.float64)


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Augmentation)])
def test_augmentation_by_sample_and_by_batch_are_equally_strong(key: str) -> None:
    n, rng = 1500, np.random.default_rng(1)
    brighter_on_the_right = np.linspace(40, 100, CROP)[:, None]
    picture = (brighter_on_the_right + rng.integers(0, 100, (CROP, CROP, 3))).astype(np.uint8)
    picture[..., 2] //= 2  # a colour to lose
    settings = dataclasses.replace(NOTHING, **{key: getattr(STRONG, key)})
    ours, usual = (features(*make(picture, settings, n)) for make in (as_a_batch, one_by_one))
    tolerance = 5 * ours.std(axis=0) / np.sqrt(n / 2)
    assert np.all(np.abs(ours.mean(axis=0) - usual.mean(axis=0)) < tolerance + 0.002)
    np.testing.assert_allclose(ours.std(axis=0), usual.std(axis=0), rtol=0.15, atol=0.002)
    assert ours.std(axis=0).max() > 0.002  # the change shows


def test_points_stay_where_they_are_in_the_photograph() -> None:
    down, right = np.mgrid[:CROP, :CROP] * 4
    picture = np.stack([right, down, down], axis=-1).astype(np.uint8)  # colours tell the place
    settings = dataclasses.replace(NOTHING, rotation=30, scale=0.2, shift=0.1, mirror=0.5)
    images, points = one_by_one(picture, settings, 20)
    kinds = set()
    for image, moved in zip(images, points, strict=True):
        x, y = np.round(moved).astype(int).T
        seen = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
        here = image[:2, y[seen], x[seen]].T * 255 / 4
        plain, mirrored = (np.abs(here - LANDMARKS[order][seen]).max() for order in (np.arange(68), ibug68().mirror))
        assert min(plain, mirrored) < 2  # pixels of the photograph; one of the image is up to 1.6 of them
        assert moved[36, 0] < moved[45, 0]  # the right eye stands on the left, mirrored or not
        kinds.add(bool(plain < mirrored))
    assert kinds == {True, False}


def test_the_loaders_are_compared(params: config.Params, capsys: pytest.CaptureFixture[str]) -> None:
    small = dataclasses.replace(
        params,
        pack=config.Pack(crop_size=32, margin=2.0),
        model=dataclasses.replace(params.model, input_size=32),
        training=dataclasses.replace(params.training, batch_size=4, device="cpu"),
    )
    speed.loader(small, faces=8)
    printed = capsys.readouterr().out
    assert len(re.findall(r" +\d+\.\d images/s$", printed, re.MULTILINE)) == 2
    assert re.search(r"^ratio +\d+\.\d{3}$", printed, re.MULTILINE)
    with pytest.raises(ValueError, match="training.batch_size: found 4, expected at most 3"):
        speed.loader(small, faces=3)


def test_a_step_costs_thrice_the_products_of_forward() -> None:
    assert speed.step_flops(torch.nn.Linear(8, 4), torch.rand(5, 8)) == 3 * 2 * 5 * 8 * 4


def test_the_rate_of_products_is_measured() -> None:
    assert speed.bfloat16_rate(torch.device("cpu"), side=32, times=2) > 0


def test_the_other_benchmarks_print_their_figures(
    params: config.Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FACES", 8), ("ROUNDS", 2)):
        monkeypatch.setattr(speed, name, value)
    small = dataclasses.replace(
        params,
        pack=config.Pack(crop_size=32, margin=2.0),
        model=dataclasses.replace(params.model, input_size=32),
        training=dataclasses.replace(params.training, batch_size=4, device="cpu"),
    )
    speed.step(small)
    speed.prepare(small, faces=20)
    speed.compare()
    printed = capsys.readouterr().out
    assert re.search(r"^ratio +\d\.\d{3}$", printed, re.MULTILINE)
    assert re.search(r"^\d+ faces/s$", printed, re.MULTILINE)
    assert re.search(r"^with one more, 9 of 10 shards taken over$", printed, re.MULTILINE)
    assert re.search(r"^rank, with intervals +\d+\.\d\d s$", printed, re.MULTILINE)


@pytest.mark.parametrize("what", ["step", "loader", "compare"])
def test_each_benchmark_has_its_command(
    what: str, params: config.Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(speed, what, lambda *given: called.append(given))
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    cli.main(["bench", what])
    assert called == [() if what == "compare" else (params,)]


@pytest.mark.parametrize(
    ("module", "what", "expected"),
    [
        (memory, "memory", (512, 40)),
        (leaks, "leaks", (20000,)),
        (results, "results", (500, 1000)),
        (speed, "prepare", (512,)),
    ],
)
def test_benchmarks_at_size_have_their_commands(
    module: ModuleType,
    what: str,
    expected: tuple[int, ...],
    params: config.Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, what, lambda *given: called.append(given))
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    cli.main(["bench", what])
    assert called == [expected if what == "results" else (params, *expected)]
