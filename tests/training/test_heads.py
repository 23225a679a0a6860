"""Two heads on one network: their joint scheme, and what is left without the head of synthetic faces."""

import numpy as np
import pytest
import torch

from facemix.faces import schemes
from facemix.training import heads
from facemix.training.loss import landmark_loss
from facemix.training.model import LandmarkNet

ARCHITECTURE = {"backbone": "mobilenetv3_small_050.lamb_in1k", "input_size": 64, "width": 8, "mirror": True}


@pytest.mark.parametrize("synthetic", ["ibug68", "wflw98"])
def test_a_joint_scheme_holds_the_points_of_both_and_mirrors_each_in_itself(synthetic: str) -> None:
    real, other = schemes.ibug68(), schemes.load(synthetic)
    both = heads.joint(real, other)
    assert len(set(both.points)) == len(real) + len(other)
    np.testing.assert_array_equal(both.mirror[:68], real.mirror)
    np.testing.assert_array_equal(both.mirror[68:] - 68, other.mirror)


@pytest.mark.parametrize("visibility", [False, True])
def test_the_head_of_real_faces_sees_alone_what_it_saw_beside_the_other(visibility: bool) -> None:
    torch.manual_seed(0)
    real, both = schemes.ibug68(), heads.joint(schemes.ibug68(), schemes.load("wflw98"))
    whole = LandmarkNet(both, "mobilenetv3_small_050.lamb_in1k", 64, 8, mirror=True, visibility=visibility).eval()
    for part in whole.parameters():  # some start at 0
        part.data += 0.05 * torch.randn_like(part)
    alone = heads.real_head(whole, real, ARCHITECTURE).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = whole(images), alone(images)
    torch.testing.assert_close(found.points, expected.points[:, :68], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.variance, expected.variance[:, :68], rtol=1e-4, atol=1e-2)
    assert (found.visible is None) == (not visibility)
    if visibility:
        torch.testing.assert_close(found.visible, expected.visible[:, :68], rtol=1e-4, atol=1e-3)


def test_a_face_counts_as_much_whether_its_scheme_has_many_points_or_few() -> None:
    real, synthetic = schemes.load("five"), schemes.load("wflw98")
    points, variance = torch.zeros(2, 103, 2), torch.ones(2, 103, 2)
    targets = torch.full((2, 103, 2), torch.nan)
    targets[0, :5], targets[1, 5:] = 3.0, 3.0  # equal errors of a real face and of a synthetic one
    of_face = [
        landmark_loss(
            points[i : i + 1], variance[:1], targets[i : i + 1], 64, torch.from_numpy(heads.weights(real, synthetic))
        )
        for i in (0, 1)
    ]
    assert of_face[0] > 0
    torch.testing.assert_close(*of_face)
    assert (heads.weights(real, real) == 1).all()


def test_a_synthetic_face_teaches_its_own_head_and_the_shared_network_but_not_the_head_of_real_faces() -> None:
    torch.manual_seed(0)
    both = heads.joint(schemes.ibug68(), schemes.ibug68())
    network = LandmarkNet(both, "mobilenetv3_small_050.lamb_in1k", 64, 8).train()
    targets = torch.full((2, 136, 2), torch.nan)
    targets[:, 68:] = 64 * torch.rand(2, 68, 2)
    points, variance, _ = network(torch.rand(2, 3, 64, 64))
    landmark_loss(points, variance, targets, 64).backward()  # type: ignore[no-untyped-call]
    for head, rows in ((network.heatmaps, 1), (network.offsets, 2)):
        gradient = head.weight.grad
        assert not gradient[: 68 * rows].any() and gradient[68 * rows :].any(dim=1).all()
    assert all(part.grad.any() for part in network.lateral.parameters())
