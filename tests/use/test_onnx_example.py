"""The example of the documentation: a face by an exported file, ONNX Runtime, numpy and Pillow alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import toy_exported
import toy_script
from facemix.use import runtime
from facemix.use.detector import Detector

FILE = Path(__file__).resolve().parents[2] / "docs/onnx_example.py"
WIDTH, HEIGHT = 300, 200


@pytest.fixture(scope="module")
def example() -> Any:
    return toy_script.loaded("docs/onnx_example.py")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_exported.write(tmp_path_factory.mktemp("model") / "model.onnx")


def picture() -> np.ndarray:
    """Smooth: however it is scaled, nearly the same comes out."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


BOXES = [(100, 60, 180, 150), (101.3, 60.7, 125.1, 84.9), (-30, -20, 60, 80), (240, 150, 330, 210), (0, 0, 299, 199)]


@pytest.mark.parametrize("box", BOXES)
def test_it_gives_what_the_detector_gives(example: Any, model: Path, box: tuple[float, ...]) -> None:
    points, errors = example.find_points(runtime.session_of(str(model)), picture(), box)
    faces = Detector.load(model).predict(picture(), np.array([box]))
    pixel = 1.5 * max(box[2] - box[0], box[3] - box[1]) / toy_exported.SIZE  # of the crop, in pixels of the picture
    assert np.abs(points - faces.points[0]).max() < 0.05 * pixel
    assert np.allclose(errors, faces.errors[0], rtol=0.03)


def test_it_runs_as_it_is_typed(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "face.png"
    cv2.imwrite(str(file), picture()[..., ::-1])
    said = subprocess.check_output([sys.executable, FILE, model, file, "100", "60", "180", "150"], encoding="utf-8")
    lines = said.splitlines()
    (faces,) = Detector.load(model).predict(picture(), np.array([[100.0, 60, 180, 150]])).points
    assert len(lines) == 5 and "expected error" in lines[0]
    assert np.allclose([float(number) for number in lines[0].split(",")[0].split()], faces[0], atol=0.5)


def test_it_needs_nothing_of_this_project() -> None:
    assert "facemix." not in FILE.read_text(encoding="utf-8")
    assert len(FILE.read_text(encoding="utf-8").splitlines()) < 40
