"""How near and how steady points are in a clip."""

from pathlib import Path

import numpy as np
import pytest

import toy_video
from facemix.benchmarks import clip, steadiness
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.faces.schemes import ibug68
from facemix.files import write_table
from facemix.use.detector import Detector
from toy_video import CORNERS

RNG = np.random.default_rng(0)
TIMES = np.arange(50) / 30
TRUTH = np.tile(RNG.uniform(0, 100, (68, 2)), (50, 1, 1)) + 20 * TIMES[:, None, None]
SIZE = float(metrics.face_size(TRUTH[:1], ibug68())[0])
SIDE = float(np.ptp(TRUTH[0], axis=0).max())


def test_points_that_are_elsewhere_but_still_are_far_and_steady() -> None:
    found = steadiness.steadiness(TIMES, TRUTH + [3, 4], TRUTH, ibug68())
    assert (found.nme, found.moving, found.jitter) == pytest.approx((500 / SIZE, 0, 0), abs=1e-6)


def test_noise_is_seen_by_all_three() -> None:
    found = steadiness.steadiness(TIMES, TRUTH + RNG.normal(0, 1, TRUTH.shape), TRUTH, ibug68())
    mean = 100 * np.sqrt(np.pi / 2)  # of the length of noise in x and y
    assert found.nme == pytest.approx(mean / SIZE, rel=0.05)
    assert found.moving == pytest.approx(mean / SIZE, rel=0.05)
    assert found.jitter == pytest.approx(100 / SIDE, rel=0.1)


def test_smoothed_points_tremble_less() -> None:
    noisy = TRUTH + RNG.normal(0, 0.3, TRUTH.shape)
    before, after = (
        steadiness.steadiness(TIMES, points, TRUTH, ibug68()) for points in (noisy, steadiness.smoothed(TIMES, noisy))
    )
    assert after.jitter < 0.7 * before.jitter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip of a face that stands still for six frames, and its truth."""
    box = np.array([20.0, 10, 51, 41])
    toy_video.film(tmp_path / clip.VIDEO, [toy_video.picture([tuple(box)])] * 6)
    points = box[:2] + CORNERS * (box[2:] - box[:2])
    rows = [{"frame": f, "time": 0, "point": k, "x": x, "y": y} for f in range(6) for k, (x, y) in enumerate(points)]
    write_table(tmp_path / clip.TRUTH, rows)
    return tmp_path


@pytest.mark.parametrize("finder", [None, {"name": "toy"}])
def test_the_face_is_followed_with_and_without_a_finder(folder: Path, finder: object) -> None:
    truth = clip.read_truth(folder)
    detector = toy_video.Detector(finder=finder, has_finder=finder is not None)
    times, points = steadiness.predicted(detector, folder, truth)
    np.testing.assert_allclose(times, np.arange(6) / 25)
    np.testing.assert_allclose(points, truth, atol=1)


def test_a_face_that_is_lost_is_said(folder: Path) -> None:
    detector = toy_video.Detector(finder={"name": "toy"}, blind=lambda _: True)
    with pytest.raises(FacemixError, match=r"clip\.mp4: the face was lost in frame 0, expected it in each frame"):
        steadiness.predicted(detector, folder, clip.read_truth(folder))


def test_a_model_of_other_points_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        scheme = schemes.load("five")

    monkeypatch.setattr(Detector, "load", lambda _: Other)
    with pytest.raises(FacemixError, match="model: finds the points of five, expected those of the clip, ibug68"):
        steadiness.measure(folder, Path("model"))
