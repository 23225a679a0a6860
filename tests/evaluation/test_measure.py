import numpy as np
import numpy.typing as npt
import pytest
import torch

import toy
from facemix import config
from facemix.evaluation import measure
from facemix.faces import geometry
from facemix.faces.packs import Pack
from facemix.training.landmarker import Landmarker

SIZE, MARGIN, CONTEXT, INPUT = 64, 2.0, 1.3, 48
BOXES = np.array([[10.0, 20, 110, 90], [-3.5, 7, 20, 50], [0, 0, 1, 1]])
IDS = ["a/1", "a/2", "b/1"]


def pack(n: int = 40) -> Pack:
    """Faces of one and the same shape, each where its pixels say: red grows by 4 a pixel to the right, green down."""
    box = geometry.landmark_box(toy.template())
    points = geometry.apply(geometry.crop_transform(box, SIZE, MARGIN), toy.template())
    down, right = np.mgrid[:SIZE, :SIZE] * 4
    image = np.stack([right, down, np.zeros_like(right)], axis=-1).astype(np.uint8)
    return Pack(
        images=np.repeat(image[None], n, axis=0),
        landmarks=np.repeat(points[None], n, axis=0).astype(np.float32),
        ids=np.array([f"toy/{i}" for i in range(n)]),
        subsets=np.full(n, "toy"),
        photos=np.array([f"toy/{i}" for i in range(n)]),
        splits=np.full(n, "test"),
        transforms=np.repeat(np.eye(2, 3)[None], n, axis=0),
        boxes=np.repeat(box[None], n, axis=0),
        digest="",
    )


class MeanShape(torch.nn.Module):
    """Ignores the picture: the points stand where they always stand in a box."""

    def __init__(self, points: npt.NDArray[np.float32]) -> None:
        super().__init__()
        to_input = geometry.crop_transform(geometry.landmark_box(points), INPUT, CONTEXT)
        self.points = torch.nn.Parameter(torch.from_numpy(geometry.apply(to_input, points)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.points.expand(len(images), -1, -1)


class ReadsThePlace(torch.nn.Module):
    """Reads off the colours where in the crop it looks, so it finds the points whatever the box."""

    def __init__(self, points: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.points = torch.nn.Parameter(torch.from_numpy(points).double())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        place = images.double() * 255 / 4
        right, down = place[:, 0].mean(dim=1), place[:, 1].mean(dim=2)  # (n, INPUT): pixels of the crop
        middle = torch.stack([right.mean(dim=1), down.mean(dim=1)], dim=1)[:, None]
        half = INPUT // 2
        step = (right[:, half:].mean(dim=1) - right[:, :half].mean(dim=1)) / half
        return (self.points - middle) / step[:, None, None] + (INPUT - 1) / 2


def nme(network: torch.nn.Module, faces: Pack, level: float) -> npt.NDArray[np.float64]:
    landmarker = Landmarker(network, CONTEXT, {"network": {"input_size": INPUT}})  # type: ignore[arg-type]
    rows = np.arange(len(faces))
    predicted = measure.predict_pack(landmarker, faces, rows, level)
    return measure.measure(predicted, faces, rows, "outer_eye").nme


def test_jitter_of_nothing_leaves_every_box_bit_for_bit() -> None:
    np.testing.assert_array_equal(measure.jitter_boxes(BOXES, IDS, 0.0), BOXES)


def test_jitter_depends_on_the_face_and_the_level_only() -> None:
    all_boxes = measure.jitter_boxes(BOXES, IDS, 0.1)
    np.testing.assert_array_equal(measure.jitter_boxes(BOXES[[2, 0]], [IDS[2], IDS[0]], 0.1), all_boxes[[2, 0]])
    assert not np.any(measure.jitter_boxes(BOXES, IDS, 0.05) == all_boxes)
    assert not np.any(measure.jitter_boxes(BOXES[[0, 0]], IDS[:2], 0.1)[0] == all_boxes[1])
    assert measure.jitter_boxes(np.zeros((0, 4)), [], 0.1).shape == (0, 4)


@pytest.mark.parametrize("level", measure.BOX_JITTER)
def test_jitter_fills_its_bounds_and_keeps_to_them(level: float) -> None:
    n, box = 4000, np.array([10.0, 20, 110, 90])
    boxes = measure.jitter_boxes(np.tile(box, (n, 1)), [str(i) for i in range(n)], level)
    shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - [60, 55]) / (level * 100)  # of the longer side, on both axes
    growth = np.log((boxes[:, 2:] - boxes[:, :2]) / [100, 70]) / level
    np.testing.assert_allclose(growth[:, 0], growth[:, 1], atol=1e-9)
    for drawn in (*shift.T, growth[:, 0]):
        assert 0.99 < np.abs(drawn).max() <= 1
        assert abs(drawn.mean()) < 4 / np.sqrt(3 * n)
        assert drawn.std() == pytest.approx(1 / np.sqrt(3), rel=0.04)


def test_the_packs_hold_all_that_a_jittered_box_shows(params: config.Params) -> None:
    level = max(measure.BOX_JITTER)
    assert params.model.context * np.exp(level) + 2 * level <= params.pack.margin


@pytest.mark.parametrize("level", measure.BOX_JITTER)
def test_a_detector_that_finds_the_points_in_any_box_is_not_disturbed(level: float) -> None:
    faces = pack()
    network = ReadsThePlace(faces.landmarks[0])
    np.testing.assert_allclose(nme(network, faces, level), nme(network, faces, 0.0), atol=0.6)
    assert nme(network, faces, level).max() < 1


def test_a_detector_that_returns_the_mean_shape_gets_worse_with_the_level() -> None:
    faces = pack()
    network = MeanShape(faces.landmarks[0])
    errors = [nme(network, faces, level).mean() for level in (0.0, *measure.BOX_JITTER)]
    assert errors[0] == pytest.approx(0, abs=1e-3)
    assert np.all(np.diff(errors) > 2)


def test_metrics_hold_the_mean_error_at_each_level_beside_the_plain_one() -> None:
    faces, rows = pack(), np.arange(40)
    network = MeanShape(faces.landmarks[0])
    landmarker = Landmarker(network, CONTEXT, {"network": {"input_size": INPUT}})  # type: ignore[arg-type]
    plain = measure.measure(measure.predict_pack(landmarker, faces, rows), faces, rows, "outer_eye")
    jittered = measure.measure_jittered(landmarker, faces, rows, "outer_eye")
    summary = measure.summarize(plain, jittered, "outer_eye")
    assert summary.keys() >= {"fr8", "fr10", "auc8"}
    assert "fr7" in measure.summarize(plain, jittered, "box_side")
    assert summary["nme"] == nme(network, faces, 0.0).mean()
    assert summary["box_jitter"] == {f"{level:.2f}": nme(network, faces, level).mean() for level in jittered}
    assert list(jittered) == list(measure.BOX_JITTER)
