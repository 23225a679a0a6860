"""Which points are hidden: learned where labels say so, and never at the cost of the points."""

import dataclasses

import numpy as np
import pytest
import torch

import toy_pack
import toy_training
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE
from facemix.faces.schemes import ibug68
from facemix.training import augment, tasks
from facemix.training.loss import visibility_loss
from facemix.training.model import LandmarkNet, VisibilityProbe
from facemix.training.processes import Group
from facemix.training.state import optimize, parameter_groups

SMALL = "mobilenetv3_small_050"


def network(visibility: bool) -> LandmarkNet:
    torch.manual_seed(0)
    return LandmarkNet(ibug68(), SMALL, 48, 16, visibility=visibility)


def test_learning_what_is_hidden_changes_no_point_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 48, 48, generator=generator)
    targets = torch.cat([torch.rand(4, 68, 2, generator=generator) * 48, torch.ones(4, 68, 1)], dim=-1)
    targets[:, ::2, 2] = 0
    trained = []
    for visibility in (False, True):
        net = network(visibility)
        optimizer = torch.optim.AdamW(parameter_groups(net, 0.1), lr=1e-2, fused=True)
        for _ in range(3):
            optimize(net, optimizer, images, targets, "float32", 48, Group(torch.device("cpu")))
        trained.append(net)
    without, with_probe = trained
    state = with_probe.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in without.state_dict().items())
    assert with_probe.probe is not None and float(with_probe.probe.weight.detach().abs().max()) > 0
    torch.testing.assert_close(without.eval()(images).points, with_probe.eval()(images).points, rtol=0, atol=0)


def test_what_is_under_the_heatmap_tells() -> None:
    probe = VisibilityProbe(2, 3)
    torch.nn.init.ones_(probe.weight)
    features = torch.zeros(1, 3, 2, 2)
    features[0, :, 0, 1], features[0, :, 1, 0] = torch.tensor([1.0, 2, 3]), 10
    heatmaps = torch.tensor([[[0.0, 1, 0, 0], [0, 0.5, 0.5, 0]]])
    variance = torch.tensor([[[0.0, 0], [1, 0]]])
    spread = torch.log(torch.tensor(2.0))
    torch.testing.assert_close(probe(features, heatmaps, variance), torch.tensor([[6, 3 + 15 + spread]]))


def test_labels_that_do_not_say_add_nothing() -> None:
    logits = torch.tensor([[2.0, -1.0, 5.0]], requires_grad=True)
    loss = visibility_loss(logits, torch.tensor([[1.0, 0.0, float("nan")]]))
    expected = (torch.log1p(torch.exp(torch.tensor(-2.0))) + torch.log1p(torch.exp(torch.tensor(-1.0)))) / 3
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and logits.grad[0, 2] == 0 and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("told", [HIDDEN, VISIBLE])
def test_labels_on_disk_are_those_of_the_pack_and_say_who_is_seen(told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AT_ONCE", 3)
    states = np.random.default_rng(0).choice([UNLABELLED, told, VISIBLE], (7, 68)).astype(np.uint8)
    faces = dataclasses.replace(toy_pack.pack(7), states=states)
    labels = np.zeros((7, 68, 3), np.float32)
    tasks._fill(labels, faces.scheme, faces, None)
    np.testing.assert_array_equal(labels[..., :2], faces.landmarks)
    seen = np.where(states == UNLABELLED, np.nan, states == VISIBLE) if told == HIDDEN else np.full((7, 68), np.nan)
    np.testing.assert_array_equal(labels[..., 2], seen)


def test_points_under_a_cover_are_hidden_where_it_is_known_whether_points_are_seen() -> None:
    mask = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    mask[:, :, 2:5, 6:9] = True  # rows 2 to 4, columns 6 to 8
    covers = augment._Some(torch.tensor([1]), (mask, torch.zeros(1, 3, 1, 1)))
    points = torch.tensor([[[7.0, 3], [7, 3]], [[7.4, 3], [3.0, 7]], [[7, 3], [7, 3]]])
    visible = torch.ones(3, 2, 1)
    found = augment._hide_covered(points, visible, covers)
    assert found.squeeze(-1).tolist() == [[1, 1], [0, 1], [1, 1]]
    assert augment._hide_covered(points, torch.full((3, 2, 1), torch.nan), covers).isnan().all()
    far = torch.tensor([[[-50.0, 3], [7, 90]]]).repeat(3, 1, 1)
    assert torch.equal(augment._hide_covered(far, visible, covers), visible)


def test_a_mirrored_face_has_the_states_of_its_points_renamed() -> None:
    settings = dataclasses.replace(toy_training.PARAMS.augmentation, mirror=1.0, occlusion=0.0)
    crops = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    landmarks = torch.rand(1, 68, 3) * 40 + 10
    landmarks[..., 2] = torch.arange(68)
    changes = augment.draw(
        torch.tensor([[10.0, 10, 50, 50]]),
        64,
        context=1.2,
        size=48,
        settings=settings,
        generator=torch.Generator().manual_seed(0),
    )
    order = torch.from_numpy(ibug68().mirror.copy())
    _, found = augment.apply(crops, landmarks, changes, 48, order)
    np.testing.assert_array_equal(found[0, :, 2].numpy(), ibug68().mirror)


def test_a_network_that_starts_from_another_keeps_a_probe_of_its_own() -> None:
    places = list(range(68))
    knows, does_not = network(True), network(False)
    assert knows.probe is not None
    torch.nn.init.ones_(knows.probe.weight)
    does_not.take_over(knows, places, places)
    fresh = network(True)
    fresh.take_over(knows, places, places)
    assert fresh.probe is not None and not fresh.probe.weight.any()
