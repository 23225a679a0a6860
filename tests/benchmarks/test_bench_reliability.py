"""`facemix bench reliability`, with a detector whose errors are known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import toy
from facemix.benchmarks import reliability as bench
from facemix.benchmarks.realism import Folder
from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.images import read_image
from facemix.faces.looking import Seen
from facemix.training.frame import Frame
from facemix.use.detector import Detector

RADIUS = {0.5: 1.0, 0.8: 2.0, 0.9: 3.0, 0.95: 4.0}


def detector(radius: dict[float, float], off: np.ndarray) -> Detector:
    """Says that it errs by a tenth of a pixel of its input, and errs by `off` times that."""
    shape = geometry.apply(geometry.crop_transform(geometry.landmark_box(toy.template()), 40, 1.25), toy.template())

    def look(crops: np.ndarray) -> Seen:
        points = np.repeat(shape[None], len(crops), axis=0)
        points[..., 0] += 0.1 * off
        return Seen(points, np.full(points.shape[:2], 0.1), np.full(points.shape[:2], np.nan))

    return Detector(
        look=look,
        scheme=schemes.ibug68(),
        input_size=40,
        context=1.25,
        frame=Frame(),
        finder=None,
        radius=radius,
        usual=0.01,
        where=Path("model"),
    )


@pytest.fixture
def faces(tmp_path: Path) -> Folder:
    """Pictures of one size, in each the same face at another place and scale."""
    root = tmp_path / "faces"
    root.mkdir()
    for number, scale in enumerate((20, 30)):
        cv2.imwrite(str(root / f"{number:06d}.png"), np.full((128, 128, 3), 90, np.uint8))
        np.savetxt(root / f"{number:06d}_ldmks.txt", toy.template() * scale + 64, fmt="%.6f")
    return Folder(name="drawn", format="facesynthetics", path=root)


def test_points_within_the_radius_are_counted(
    faces: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    off = np.repeat([0.5, 1.5, 2.5, 9.0], 17)
    monkeypatch.setattr(Detector, "load", lambda _: detector(RADIUS, off))
    found = bench.reliability(Path("model"), None, [faces], tmp_path / "new/curves.png")
    assert found["drawn"] == pytest.approx({0.5: 0.25, 0.8: 0.5, 0.9: 0.75, 0.95: 0.75})
    said, drawn = capsys.readouterr().out.splitlines()
    assert said.split()[-8:] == ["50.0", "%", "80.0", "%", "90.0", "%", "95.0", "%"]
    assert drawn.split() == ["drawn", "25.0", "%", "50.0", "%", "75.0", "%", "75.0", "%"]
    assert read_image(tmp_path / "new/curves.png").ndim == 3


def test_a_model_that_is_not_calibrated_is_refused(faces: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "load", lambda _: detector({}, np.zeros(68)))
    with pytest.raises(FacemixError, match="model: is not calibrated; train it again"):
        bench.reliability(Path("model"), None, [faces])
