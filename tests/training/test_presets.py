import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from facemix import config
from facemix.faces.schemes import ibug68
from facemix.stages.preset import preset
from facemix.training import failures, loop
from facemix.training.batches import MixedBatches, TrainingSet
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group
from facemix.training.state import State

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_paper_preset_trains_its_backbone_down_to_the_stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(REPOSITORY)
    preset("paper", tmp_path / "params.yaml")
    params = config.load(tmp_path / "params.yaml")
    settings = dataclasses.replace(params.training, batch_size=2, device="cpu", compile=False)
    model, size = params.model, params.pack.crop_size
    field = model.context / params.pack.margin * size
    assert field >= model.input_size  # nothing is enlarged
    rng = np.random.default_rng(0)
    faces = TrainingSet(
        images=rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8),
        landmarks=rng.uniform(size / 4, size * 3 / 4, (2, 68, 2)).astype(np.float32),
        ids=np.array(["a", "b"]),
        rows=np.arange(2),
    )
    recipe = loop.Recipe(
        mirror_order=ibug68().mirror,
        batches=MixedBatches(faces, None, alpha=0, batch_size=2, seed=0),
        context=model.context,
        input_size=model.input_size,
        settings=settings,
        augmentation=params.augmentation,
        learning_rate=settings.learning_rate,
        seed=0,
    )
    group = Group(torch.device("cpu"))
    torch.manual_seed(0)
    state = State.begin(LandmarkNet(ibug68(), model.backbone, model.input_size, model.width), recipe, group)
    state.advance(recipe, loop.inputs(recipe, group), group)
    failures.require_finite(state, recipe, tmp_path / "none.pt")
    stem = next(state.model.parameters())
    assert stem.shape[1] == 3
    assert stem.grad is not None
    assert stem.grad.abs().sum() > 0
