"""The parts that scripts/try_ideas.py changes in a training."""

from types import ModuleType

import numpy as np
import pytest
import torch

import toy_script
from facemix.faces.schemes import ibug68
from facemix.training.batches import SYNTHETIC
from facemix.training.model import LandmarkNet
from toy_training import FACES

BACKBONE = "mobilenetv3_small_050.lamb_in1k"


@pytest.fixture(scope="module")
def ideas() -> ModuleType:
    return toy_script.loaded("scripts/try_ideas.py")


def network() -> LandmarkNet:
    torch.manual_seed(0)
    return LandmarkNet(ibug68(), BACKBONE, 64, 16)


def images(seed: int, n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_what_is_kept_for_real_faces_is_a_usual_network(ideas: ModuleType) -> None:
    changed = ideas.own_statistics(network())
    changed.train()
    changed(torch.cat([images(0), images(1)]))
    expected = changed.eval()(images(2)).points
    kept = ideas.for_real_faces(changed)
    usual = network().eval()
    usual.load_state_dict(kept.state_dict())
    assert torch.equal(usual(images(2)).points, expected)


def test_statistics_of_real_faces_know_nothing_of_synthetic_ones(ideas: ModuleType) -> None:
    def shown(synthetic: int) -> dict[str, torch.Tensor]:
        changed = ideas.own_statistics(network()).train()
        changed(torch.cat([images(0), images(synthetic)]))
        kept: dict[str, torch.Tensor] = ideas.for_real_faces(changed).state_dict()
        return kept

    one, other = shown(1), shown(2)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["merge.0.0.running_mean"], network().state_dict()["merge.0.0.running_mean"])


def test_the_share_of_synthetic_faces_stays_and_then_falls_to_nothing(ideas: ModuleType) -> None:
    steps = 300
    batches = ideas.late_fall(steps)(FACES, FACES, alpha=0.5, batch_size=32, seed=0)
    shares = np.array([(batches.draw(step)[0] == SYNTHETIC).mean() for step in range(steps)])
    expected = 0.5 * np.minimum(1, 3 * (1 - (np.arange(steps) + 0.5) / steps))
    assert np.abs(shares - expected).max() < 1 / 32 + 1e-9
    assert abs(shares.sum() - expected.sum()) < 1 / 32 + 1e-9
