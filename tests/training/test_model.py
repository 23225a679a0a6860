import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import facemix
from facemix.errors import FacemixError
from facemix.faces import geometry
from facemix.faces.schemes import ibug68
from facemix.training import backbones
from facemix.training.adaptation import LabelAdapter, adapt
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet

SMALL = "mobilenetv3_small_050"


def network(seed: int = 0) -> LandmarkNet:
    torch.manual_seed(seed)
    return LandmarkNet(ibug68(), SMALL, 48, 16)


def landmarker(adapter: LabelAdapter | None = None) -> Landmarker:
    about = {
        "scheme": ibug68().as_dict(),
        "network": {"backbone": SMALL, "input_size": 48, "width": 16, "context": 1.3, "mirror": False},
        "adapter": {"hidden": 8} if adapter else None,
    }
    return Landmarker(network().eval(), 1.3, about, adapter)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_images_in_points_out(n: int) -> None:
    points = network().eval()(torch.rand(n, 3, 48, 48)).points
    assert points.shape == (n, 68, 2)


def test_with_the_mirror_image_a_mirrored_face_has_mirrored_points() -> None:
    net = LandmarkNet(ibug68(), SMALL, 48, 16, mirror=True).eval()
    images = torch.rand(2, 3, 48, 48)
    order = torch.from_numpy(ibug68().mirror.copy())
    found, mirrored = net(images), net(images.flip(-1))
    flipped = mirrored.points[:, order]
    flipped[..., 0] = 47 - flipped[..., 0]
    torch.testing.assert_close(flipped, found.points)
    torch.testing.assert_close(mirrored.variance[:, order], found.variance)
    plain = network().eval()
    plain.load_state_dict(net.state_dict())
    assert not torch.allclose(plain(images).points, net(images).points)


@pytest.mark.parametrize("training", [False, True])
def test_the_backbone_sees_colours_as_it_was_made_for(training: bool) -> None:
    net, seen = network().train(training), []
    net.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in backbones.normalization(net.backbone))
    assert 0.2 < float(deviation.min()) < float(mean.max()) < 0.6  # those of ImageNet
    wanted = torch.randn(2, 3, 48, 48)
    net(mean + deviation * wanted)
    torch.testing.assert_close(seen, [wanted])


def test_training_sees_each_image_once() -> None:
    net = LandmarkNet(ibug68(), SMALL, 48, 16, mirror=True)
    seen: list[int] = []
    net.heatmaps.register_forward_hook(lambda *_: seen.append(1))
    net.train()(torch.rand(2, 3, 48, 48))
    assert len(seen) == 1


def test_a_peaked_heatmap_gives_its_cell_plus_the_offset() -> None:
    net = network()
    heatmaps, offsets = torch.zeros(1, 68, 6, 6), torch.zeros(1, 136, 6, 6)
    heatmaps[0, :, 2, 4] = 100
    offsets[0, 0::2], offsets[0, 1::2] = 0.25, -1.0  # cells
    heatmaps, seen = net._decode(heatmaps, offsets)
    points = (heatmaps[:, :, None] * seen).sum(dim=-1) + net.centre
    x, y = 4 * 8 + 3.5 + 0.25 * 8, 2 * 8 + 3.5 - 8
    torch.testing.assert_close(points[0, 10], torch.tensor([x, y]))


@pytest.mark.parametrize("training", [False, True])
def test_what_the_cells_see_is_averaged_and_its_variance_told(training: bool) -> None:
    net, images = network().train(training), torch.rand(2, 3, 48, 48)
    features = net._features(images)
    heatmaps, cell_points = (part.double() for part in net._decode(net.heatmaps(features), net.offsets(features)))
    mean = (heatmaps[:, :, None] * cell_points).sum(-1)
    variance = (heatmaps[:, :, None] * (cell_points - mean[..., None]) ** 2).sum(-1)
    mean += net.centre
    found = net(images)  # batch normalisation sees the same batch
    assert found.visible is None
    torch.testing.assert_close([part.double() for part in found[:2]], [mean, variance], rtol=1e-4, atol=1e-4)


def test_coordinates_keep_their_digits_under_autocast() -> None:
    net = network().eval()
    for change in (net.eval, net.train):
        change()
        with torch.autocast("cpu", torch.bfloat16):
            found = net(torch.rand(2, 3, 48, 48))
        assert all(part.dtype == torch.float32 for part in found[:2])


def test_an_unknown_backbone_is_answered_with_near_matches() -> None:
    with pytest.raises(ValueError, match=r"model.backbone: timm has no model 'resnet81'; did you mean resnet18"):
        LandmarkNet(ibug68(), "resnet81", 48, 16)


def test_a_backbone_of_other_strides_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"mixer_s16_224 has feature maps of strides \[16, 16, 16\], expected one of 8"
    ):
        LandmarkNet(ibug68(), "mixer_s16_224", 48, 16)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("dla34", 48, r"dla34 does not take model.input_size: 48 \(.+\); model.input_size: 64 would do"),
        ("hrnet_w18_small", 48, r"does not take model.input_size: 48 \(.+\); model.input_size: 64 would do"),
        ("inception_v3", 96, r"\(its feature map of stride 8 has 9 x 9 cells, expected 12 x 12\); choose another"),
        ("gmixer_24_224", 96, r"gmixer_24_224 (has feature maps of strides|cannot return feature maps)"),
    ],
)
def test_a_backbone_that_does_not_take_the_size_is_refused_with_one_that_does(
    name: str, size: int, message: str
) -> None:
    with pytest.raises(FacemixError, match=message) as refused:
        LandmarkNet(ibug68(), name, size, 16)
    if advised := re.search(r"(\d+) would do", str(refused.value)):
        backbones.check(name, int(advised[1]), 8)


@pytest.mark.parametrize(
    ("name", "size"), [("swin_tiny_patch4_window7_224", 64), ("coatnet_nano_rw_224", 64), ("maxvit_nano_rw_256", 48)]
)
def test_families_with_windows_or_channels_last_are_built_for_the_size(name: str, size: int) -> None:
    net = LandmarkNet(ibug68(), name, size, 16)
    points = net(torch.zeros(2, 3, size, size)).points
    assert points.shape == (2, 68, 2)


def test_trying_a_backbone_draws_nothing_random() -> None:
    backbones.check.cache_clear()
    torch.manual_seed(0)
    tried = LandmarkNet(ibug68(), SMALL, 48, 16)
    torch.manual_seed(0)
    for one, other in zip(tried.parameters(), LandmarkNet(ibug68(), SMALL, 48, 16).parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_that_the_hub_does_not_give_are_no_fault_of_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    create = backbones._create

    def offline(name: str, pretrained: bool = False, **options: int) -> object:
        if pretrained:
            raise OSError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(backbones, "_create", offline)
    with pytest.raises(FacemixError, match=rf"model.weights: timm could not get the weights of {SMALL} \(no route"):
        LandmarkNet(ibug68(), SMALL, 48, 16, weights="timm")


def test_a_backbone_without_packaged_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no packaged weights for mobilenetv3_small_050; there are some for"):
        backbones.create(SMALL, "packaged", 48, 8)


def test_a_missing_package_of_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones.PACKAGED_WEIGHTS, SMALL, ("no_such_package", "x.pth"))
    with pytest.raises(ValueError, match="the package no_such_package is not installed; docs/experiments.md"):
        backbones.create(SMALL, "packaged", 48, 8)


@pytest.mark.parametrize("name", sorted(backbones.PACKAGED_WEIGHTS))
def test_packaged_imagenet_weights_are_loaded(name: str) -> None:
    pytest.importorskip(backbones.PACKAGED_WEIGHTS[name][0], reason="ImageNet weights are not installed")
    scratch, loaded = (backbones.create(name, weights, 64, 8) for weights in ("scratch", "packaged"))
    first = next(key for key in loaded.state_dict() if key.endswith("conv_stem.weight"))
    assert not torch.equal(scratch.state_dict()[first], loaded.state_dict()[first])


def test_a_saved_detector_predicts_the_same_when_loaded(tmp_path: Path) -> None:
    adapter = LabelAdapter(ibug68(), ibug68(), 8)
    torch.nn.init.normal_(adapter.leave.weight, std=0.01)
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    boxes = np.array([[50.0, 40, 150, 150], [120.0, 20, 280, 190]])
    for saved in (landmarker(), landmarker(adapter)):
        saved.save(tmp_path / "model")
        loaded = facemix.Landmarker.load(tmp_path / "model")
        np.testing.assert_allclose(loaded.predict(image, boxes), saved.predict(image, boxes), atol=1e-3)
        assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_the_adapter_is_applied_to_what_the_network_predicts() -> None:
    adapter = LabelAdapter(ibug68(), ibug68(), 8)
    torch.nn.init.normal_(adapter.leave.weight, std=0.01)
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    boxes = np.array([[20.0, 20, 80, 80]])
    expected = adapt(adapter, landmarker().predict(image, boxes))
    np.testing.assert_allclose(landmarker(adapter).predict(image, boxes), expected, rtol=0, atol=1e-4)


def test_predictions_move_with_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    padded = np.pad(image, ((30, 0), (50, 0), (0, 0)), mode="edge")
    box = np.array([[30.0, 30, 70, 70]])
    moved = landmarker().predict(padded, box + [50, 30, 50, 30])
    np.testing.assert_allclose(moved, landmarker().predict(image, box) + [50, 30], atol=0.05)


def test_no_boxes_no_points() -> None:
    points = landmarker().predict(np.zeros((50, 50, 3), dtype=np.uint8), np.zeros((0, 4)))
    assert points.shape == (0, 68, 2)
    assert points.dtype == np.float32


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (np.zeros((5, 5)), np.zeros((1, 4)), r"image: found float64 of shape \(5, 5\), expected uint8"),
        (np.zeros((5, 5, 3), np.uint8), np.zeros(4), r"boxes: found shape \(4,\), expected \(n, 4\)"),
        (np.zeros((5, 5, 3), np.uint8), np.zeros((1, 4)), "expected x0 < x1 and y0 < y1"),
    ],
)
def test_bad_input_is_refused(image: np.ndarray, boxes: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        landmarker().predict(image, boxes)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    landmarker().save(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="not a readable model"):
        facemix.Landmarker.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    about = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(about | {"network": about["network"] | {"width": 32}}))
    with pytest.raises(ValueError, match="not a readable model"):
        facemix.Landmarker.load(tmp_path)


def test_boxes_are_measured_from_their_own_centre() -> None:
    transform = geometry.crop_transform(np.array([10.0, 10, 30, 50]), 48, 1.3)
    np.testing.assert_allclose(geometry.apply(transform, np.array([[20.0, 30.0]])), [[23.5, 23.5]])
