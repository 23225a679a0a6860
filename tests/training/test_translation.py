"""Synthetic faces of one landmark scheme, real ones of another."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facemix.config import Adaptation
from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.schemes import Scheme, ibug68
from facemix.training import adaptation, frame, judging
from facemix.training.frame import Frame
from facemix.training.model import LandmarkNet

FIVE, WFLW, HAND = (schemes.load(name) for name in ("five", "wflw98", "hand21"))
SETTINGS = Adaptation(hidden=8, epochs=3, batch_size=16, learning_rate=1e-3, weight_decay=0.0)


def shapes(scheme: Scheme, n: int, seed: int) -> np.ndarray:
    """Random points (n, K, 2), symmetric in distribution, in box units or so."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 0.3, (len(scheme), 2))
    mean = (mean + scheme.mirrored(mean, 1)) / 2
    return (mean + rng.normal(0, 0.05, (n, len(scheme), 2))).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), [(WFLW, ibug68()), (ibug68(), FIVE), (FIVE, HAND)])
def test_a_linear_relation_is_found(source: Scheme, target: Scheme) -> None:
    rng = np.random.default_rng(0)
    inputs = shapes(source, 600, 1)
    weight = rng.normal(0, 0.1, (2 * len(target), 2 * len(source)))
    targets = (inputs.reshape(600, -1) @ weight.T + 0.1).reshape(600, -1, 2).astype(np.float32)
    targets[:50, 2] = np.nan  # unlabelled in some faces,
    targets[:, 3] = np.nan  # and in all
    found, bias = adaptation.linear_map(inputs[:500], targets[:500], source, target)
    again = (inputs[500:].reshape(100, -1) @ found.T + bias).reshape(100, -1, 2)
    known = np.delete(np.arange(len(target)), 3)
    np.testing.assert_allclose(again[:, known], targets[500:, known], atol=2e-3)


def test_few_pairs_leave_points_of_equal_name_where_they_are() -> None:
    inputs = shapes(WFLW, 4, 2)
    own, theirs = schemes.shared(WFLW, ibug68())
    targets = np.zeros((4, 68, 2), np.float32)
    targets[:, theirs] = inputs[:, own]
    weight, bias = adaptation.linear_map(inputs, targets, WFLW, ibug68())
    other = shapes(WFLW, 5, 3)
    found = (other.reshape(5, -1) @ weight.T + bias).reshape(5, 68, 2)
    np.testing.assert_allclose(found[:, theirs], other[:, own], atol=1e-5)


def test_a_translator_treats_a_face_and_its_mirror_image_alike() -> None:
    inputs, labels = (100 * shapes(scheme, 40, 4) + 200 for scheme in (WFLW, FIVE))
    settings = dataclasses.replace(SETTINGS, epochs=1)
    found = adaptation.fit(inputs, labels, source=WFLW, target=FIVE, settings=settings, seed=0, validate=lambda _: 0.0)
    assert found.best_epoch == 0  # the linear map alone
    one = adaptation.adapt(found.adapter, inputs)
    other = adaptation.adapt(found.adapter, WFLW.mirrored(inputs, 400))
    np.testing.assert_allclose(FIVE.mirrored(other, 400), one, atol=0.01)


def test_a_translated_set_has_the_real_schemes_points_and_no_invented_label() -> None:
    adapter = adaptation.LabelAdapter(WFLW, ibug68(), 4)
    torch.nn.init.normal_(adapter.linear.weight, std=0.01)  # type: ignore[union-attr]
    points = 100 * shapes(WFLW, 3, 5)
    points[1, WFLW.index(ibug68().points[48])] = np.nan
    found = adaptation.adapt(adapter, points)
    assert found.shape == (3, 68, 2)
    assert np.isnan(found).any(axis=2).sum(axis=1).tolist() == [0, 1, 0]


def test_equal_schemes_start_from_the_identity_and_have_no_linear_map() -> None:
    adapter = adaptation.LabelAdapter(FIVE, FIVE, 4)
    assert adapter.linear is None
    points = torch.randn(3, 5, 2)
    assert torch.equal(adapter(points), points)


@given(st.floats(0.2, 5), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_names_tell_where_a_network_of_another_scheme_expects_the_face(scale: float, down: float, seed: int) -> None:
    # Real and synthetic faces alike: the frame is what leads from one box to the other.
    faces = 100 * shapes(WFLW, 9, seed) * scale
    own, theirs = schemes.shared(WFLW, ibug68())
    real = np.repeat(faces[:, own[:1]], 68, axis=1)  # what is not shared lies on a point that is
    real[:, theirs] = faces[:, own]
    real += [0, 100 * down]
    found = frame.by_names(real, ibug68(), faces, WFLW)
    expected = frame.between(geometry.landmark_box(real), geometry.landmark_box(faces + [0, 100 * down]))
    assert (found.down, found.scale) == pytest.approx((expected.down, expected.scale), abs=0.1)


def test_a_frame_moves_and_scales_boxes() -> None:
    box = np.array([[10.0, 20, 30, 60]])  # 20 x 40 around (20, 40)
    np.testing.assert_allclose(Frame(0.25, 1.5).of(box), [[5, 20, 35, 80]])
    assert frame.between(box, Frame(0.25, 1.5).of(box)) == Frame(0.25, 1.5)
    np.testing.assert_array_equal(Frame().of(box), box)


def test_schemes_without_a_common_name_have_no_frame() -> None:
    assert frame.by_names(shapes(HAND, 3, 0), HAND, shapes(FIVE, 3, 0), FIVE) == Frame()


def test_fine_tuning_takes_over_the_heads_of_points_of_equal_name() -> None:
    def network(scheme: Scheme, seed: int) -> LandmarkNet:
        torch.manual_seed(seed)
        made = LandmarkNet(scheme, "lcnet_050", 32, 8)
        torch.nn.init.normal_(made.offsets.weight, std=0.1)
        return made.eval()

    base, new = network(WFLW, 0), network(ibug68(), 1)
    own, theirs = schemes.shared(ibug68(), WFLW)
    lone = np.setdiff1d(np.arange(68), own)
    kept = new.offsets.weight.unflatten(0, (68, 2))[lone].clone()
    new.take_over(base, own.tolist(), theirs.tolist())
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(new(images).points[:, own], base(images).points[:, theirs])
    assert len(lone) and torch.equal(new.offsets.weight.unflatten(0, (68, 2))[lone], kept)


def test_points_are_told_by_their_names() -> None:
    points = np.arange(98 * 2.0).reshape(1, 98, 2)
    found = schemes.in_scheme(points, WFLW, ibug68())
    named = [name in WFLW.points for name in ibug68().points]
    assert np.array_equal(~np.isnan(found).any(axis=(0, 2)), named)
    for place, name in enumerate(ibug68().points):
        if name in WFLW.points:
            np.testing.assert_array_equal(found[0, place], points[0, WFLW.index(name)])
    assert schemes.in_scheme(points, WFLW, WFLW) is points
    one_each = schemes.in_scheme(points[..., :1], WFLW, ibug68())  # whether a point is seen, say
    np.testing.assert_array_equal(one_each, found[..., :1])


def test_faces_of_a_photograph_are_held_out_together() -> None:
    class Faces:
        photos = np.array([f"photo {i // 3}" for i in range(60)])

    rows = np.arange(60)
    train, held = judging.hold_out(Faces(), rows, 0)  # type: ignore[arg-type]
    assert sorted([*train, *held]) == list(rows)
    assert len(held) == 6
    assert not set(Faces.photos[train]) & set(Faces.photos[held])
    assert not np.array_equal(held, judging.hold_out(Faces(), rows, 1)[1])  # type: ignore[arg-type]
    with pytest.raises(FacemixError, match="n_synthetic: found 3 synthetic faces of 1 photographs"):
        judging.hold_out(Faces(), rows[:3], 0)  # type: ignore[arg-type]
