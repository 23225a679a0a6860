from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from facemix import config
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry
from facemix.faces.packs import Pack
from facemix.faces.schemes import ibug68
from facemix.training import predictions
from facemix.training.landmarker import Landmarker
from facemix.training.loss import SHARPEST
from facemix.training.model import Located
from facemix.training.predictions import Predictions
from toy_pack import pack

CONTEXT, INPUT = 1.3, 48
BOXES = np.array([[10.0, 20, 110, 90], [-3.5, 7, 20, 50], [0, 0, 1, 1]])
IDS = ["a/1", "a/2", "b/1"]


class MeanShape(torch.nn.Module):
    """Ignores the picture: the points stand where they always stand in a box, spread by as many pixels as is said."""

    def __init__(self, points: npt.NDArray[np.float32], spread: float = 0.0) -> None:
        super().__init__()
        self.n_points, self.spread = len(points), spread
        to_input = geometry.crop_transform(geometry.landmark_box(points), INPUT, CONTEXT)
        self.points = torch.nn.Parameter(torch.from_numpy(geometry.apply(to_input, points)))

    def forward(self, images: torch.Tensor) -> Located:
        points = self.points.expand(len(images), -1, -1)
        return Located(points, torch.full_like(points, self.spread**2), None)


class ReadsThePlace(torch.nn.Module):
    """Reads off the colours where in the crop it looks, so it finds the points whatever the box."""

    def __init__(self, points: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.n_points = len(points)
        self.points = torch.nn.Parameter(torch.from_numpy(points).double())

    def forward(self, images: torch.Tensor) -> Located:
        place = images.double() * 255 / 4
        right, down = place[:, 0].mean(dim=1), place[:, 1].mean(dim=2)  # (n, INPUT): pixels of the crop
        middle = torch.stack([right.mean(dim=1), down.mean(dim=1)], dim=1)[:, None]
        half = INPUT // 2
        step = (right[:, half:].mean(dim=1) - right[:, :half].mean(dim=1)) / half
        points = (self.points - middle) / step[:, None, None] + (INPUT - 1) / 2
        return Located(points, torch.zeros_like(points), None)


def nme(network: torch.nn.Module, faces: Pack, level: float) -> npt.NDArray[np.float64]:
    landmarker = Landmarker(network, CONTEXT, {"network": {"input_size": INPUT}, "scheme": ibug68().as_dict()})  # type: ignore[arg-type]
    rows = np.arange(len(faces))
    predicted = predictions.predict_pack(landmarker, faces, rows, level)
    return metrics.nme(predicted, faces.landmarks, ibug68())


def test_jitter_of_nothing_leaves_every_box_bit_for_bit() -> None:
    np.testing.assert_array_equal(predictions.jitter_boxes(BOXES, IDS, 0.0), BOXES)


def test_jitter_depends_on_the_face_and_the_level_only() -> None:
    all_boxes = predictions.jitter_boxes(BOXES, IDS, 0.1)
    np.testing.assert_array_equal(predictions.jitter_boxes(BOXES[[2, 0]], [IDS[2], IDS[0]], 0.1), all_boxes[[2, 0]])
    assert not np.any(predictions.jitter_boxes(BOXES, IDS, 0.05) == all_boxes)
    assert not np.any(predictions.jitter_boxes(BOXES[[0, 0]], IDS[:2], 0.1)[0] == all_boxes[1])
    assert predictions.jitter_boxes(np.zeros((0, 4)), [], 0.1).shape == (0, 4)


@pytest.mark.parametrize("level", predictions.BOX_JITTER)
def test_jitter_fills_its_bounds_and_keeps_to_them(level: float) -> None:
    n, box = 4000, np.array([10.0, 20, 110, 90])
    boxes = predictions.jitter_boxes(np.tile(box, (n, 1)), [str(i) for i in range(n)], level)
    shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - [60, 55]) / (level * 100)  # of the longer side, on both axes
    growth = np.log((boxes[:, 2:] - boxes[:, :2]) / [100, 70]) / level
    np.testing.assert_allclose(growth[:, 0], growth[:, 1], atol=1e-9)
    for drawn in (*shift.T, growth[:, 0]):
        assert 0.99 < np.abs(drawn).max() <= 1
        assert abs(drawn.mean()) < 4 / np.sqrt(3 * n)
        assert drawn.std() == pytest.approx(1 / np.sqrt(3), rel=0.04)


def test_the_packs_hold_all_that_a_jittered_box_shows(params: config.Params) -> None:
    level = max(predictions.BOX_JITTER)
    assert params.model.context * np.exp(level) + 2 * level <= params.pack.margin


@pytest.mark.parametrize("level", predictions.BOX_JITTER)
def test_a_detector_that_finds_the_points_in_any_box_is_not_disturbed(level: float) -> None:
    faces = pack()
    network = ReadsThePlace(faces.landmarks[0])
    np.testing.assert_allclose(nme(network, faces, level), nme(network, faces, 0.0), atol=0.6)
    assert nme(network, faces, level).max() < 1


def test_a_detector_that_returns_the_mean_shape_gets_worse_with_the_level() -> None:
    faces = pack()
    network = MeanShape(faces.landmarks[0])
    errors = [nme(network, faces, level).mean() for level in (0.0, *predictions.BOX_JITTER)]
    assert errors[0] == pytest.approx(0, abs=1e-3)
    assert np.all(np.diff(errors) > 2)


def test_predictions_are_of_the_judging_faces_in_pixels_of_their_images(tmp_path: Path) -> None:
    faces = pack(5)
    faces.splits[:] = ["train", "validation", "test", "excluded", "challenging"]
    faces.transforms[:] = [[0.5, 0, 3], [0, 0.5, -2]]
    landmarker = Landmarker(
        MeanShape(faces.landmarks[0]), CONTEXT, {"network": {"input_size": INPUT}, "scheme": ibug68().as_dict()}
    )  # type: ignore[arg-type]
    found = predictions.of_judging_faces(landmarker, faces)
    assert found.ids.tolist() == ["toy/1", "toy/2", "toy/4"]
    assert list(found.points) == [0.0, *predictions.BOX_JITTER]
    expected = (faces.landmarks[0] - [3, -2]) / 0.5
    np.testing.assert_allclose(found.points[0.0], np.repeat(expected[None], 3, axis=0), atol=1e-2)
    predictions.write(tmp_path, found)
    again = predictions.read(tmp_path)
    assert again.ids.tolist() == found.ids.tolist()
    assert all(np.array_equal(again.points[level], found.points[level]) for level in found.points)
    np.testing.assert_array_equal(again.expected, found.expected)
    assert np.isnan(again.visible).all()


def detector(network: torch.nn.Module) -> Landmarker:
    return Landmarker(network, CONTEXT, {"network": {"input_size": INPUT}, "scheme": ibug68().as_dict()})  # type: ignore[arg-type]


def test_a_spread_is_told_in_pixels_of_the_image() -> None:
    faces = pack(2)
    faces.splits[:] = "test"
    faces.transforms[:] = [[0.5, 0, 3], [0, 0.5, -2]]
    found = predictions.of_judging_faces(detector(MeanShape(faces.landmarks[0], spread=3)), faces)
    least = SHARPEST / 100 * INPUT
    side = geometry.square_side(geometry.landmark_box(faces.landmarks[0])) / 0.5  # pixels of the image
    np.testing.assert_allclose(found.expected, np.hypot(3, least) / INPUT * CONTEXT * side, rtol=1e-4)


def test_a_detector_is_calibrated_by_validation_faces_alone() -> None:
    faces = pack(6)
    faces.splits[:] = ["train", "validation", "test", "validation", "challenging", "excluded"]
    network = MeanShape(faces.landmarks[0], spread=2)
    inner = ibug68().index("nose_tip")  # moving it leaves the box as it is
    faces.landmarks[[1, 3], inner] += np.array([[3, 4], [0, 1]], np.float32)
    faces.landmarks[[0, 2, 4, 5], inner] += np.float32(9)
    told = predictions.calibrated(detector(network), faces)
    errors = predictions.look_at_pack(told, faces, np.array([1, 2, 3])).errors
    np.testing.assert_allclose(errors[:, inner], (5 + 1) / 2, rtol=1e-3)
    nothing = pack(3)
    nothing.splits[:] = "train"
    plain = detector(network)
    assert predictions.calibrated(plain, nothing) is plain


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn"])
def test_damaged_predictions_are_refused_by_name(damage: bytes, tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match=r"predictions.npz: not found, expected .*run `dvc repro`"):
        predictions.read(tmp_path)
    points = {0.0: np.zeros((1, 68, 2), np.float32)}
    predictions.write(tmp_path, Predictions(ids=np.array(["a"]), points=points))
    assert predictions.read(tmp_path).expected is None
    (tmp_path / predictions.FILE).write_bytes(damage)
    with pytest.raises(FacemixError, match=r"predictions.npz: damaged .*delete the folder and run `dvc repro`"):
        predictions.read(tmp_path)


def test_the_error_that_chooses_is_in_per_cent_of_the_longer_side_of_the_box() -> None:
    truth = np.zeros((2, 68, 2))
    truth[:, 0], truth[0, 1], truth[1, 1] = [10, 10], [60, 30], [20, 210]
    moved = truth + [3, 4]
    assert predictions.validation_error(moved, truth) == pytest.approx(100 * (5 / 60 + 5 / 210) / 2)
    assert predictions.validation_error(7 * moved + 1, 7 * truth + 1) == pytest.approx(100 * (5 / 60 + 5 / 210) / 2)
