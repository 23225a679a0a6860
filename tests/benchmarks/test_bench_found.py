"""What a detector loses where faces are found, on drawn faces and a detector and finder of known errors."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import toy
from facemix.benchmarks import found as bench
from facemix.benchmarks.found import Measured, measured
from facemix.benchmarks.realism import Folder
from facemix.errors import FacemixError
from facemix.faces import formats, geometry, schemes
from facemix.faces.face import Face
from facemix.finding import finders
from facemix.finding.found import Found
from facemix.use.detector import Detector

FINDER = {"name": "drawn", "down": 0.0, "scale": 1.0}


@pytest.fixture
def faces(tmp_path: Path) -> list[Face]:
    return formats.read("facesynthetics", toy.write_facesynthetics(tmp_path / "set", n=3))[0]


def fake(faces: list[Face]) -> Detector:
    """A detector that is off by half as much as its box is."""
    boxes = np.stack([geometry.landmark_box(face.landmarks) for face in faces])

    def predict(image: np.ndarray, given: np.ndarray) -> SimpleNamespace:
        (own,) = [k for k, face in enumerate(faces) if np.array_equal(image, bench.read_image(face.image))]
        off = (given[:, :2] + given[:, 2:] - boxes[own, :2] - boxes[own, 2:]) / 2
        return SimpleNamespace(boxes=given, points=faces[own].landmarks + off[:, None] / 2)

    def find(image: np.ndarray) -> SimpleNamespace:
        first = predict(image, finders.find("drawn", image).boxes)
        return predict(image, geometry.landmark_box(first.points))

    detector = SimpleNamespace(predict=predict, find=find, require_finder=lambda: FINDER, scheme=faces[0].scheme)
    return cast(Detector, detector)


def off_by(faces: list[Face], right: float, monkeypatch: pytest.MonkeyPatch, lost: int | None = None) -> None:
    """A finder whose boxes lie to the right; one face it does not find."""

    def find(image: np.ndarray) -> Found:
        (own,) = [k for k, face in enumerate(faces) if np.array_equal(image, bench.read_image(face.image))]
        box = geometry.landmark_box(faces[own].landmarks)[None] + [right, 0, right, 0]
        boxes = np.concatenate([box + 500, box] if own != lost else [box + 500])
        return Found(boxes=boxes, scores=np.ones(len(boxes)))

    monkeypatch.setitem(finders.FINDERS, "drawn", find)


def test_a_face_is_measured_from_its_own_box_from_the_found_one_and_as_without_boxes(
    faces: list[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    off_by(faces, 4, monkeypatch)
    result = measured(fake(faces), FINDER, faces)
    eyes = np.array([np.linalg.norm(face.landmarks[36] - face.landmarks[45]) for face in faces])
    np.testing.assert_allclose(result.nme, np.array([[0.0], [2.0], [1.0]]) / eyes * 100, atol=1e-4)
    assert result.is_found.all() and result.find_ms > 0 and result.landmarks_ms > 0


def test_a_face_that_is_not_found_is_counted_and_left_out_of_all_rows(
    faces: list[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    off_by(faces, 4, monkeypatch, lost=1)
    assert measured(fake(faces), FINDER, faces).is_found.tolist() == [True, False, True]
    nme = np.array([[1.0, 9.0, 2.0], [2.0, np.nan, 4.0], [1.0, np.nan, 3.5]])
    said = bench.said(Measured(nme=nme, find_ms=1.5, landmarks_ms=0.5), fake(faces)).splitlines()
    assert said[0] == "found 2 of 3 faces (66.7 %)"
    assert [line.split()[2] for line in said[2:4]] == ["1.500", "3.000"]
    assert said[2].endswith("+0.0 %") and said[3].endswith("+100.0 %") and said[4].endswith("+50.0 %")
    assert said[5].startswith("ms of CPU, median: 1.5")


def test_nobody_found_is_said_without_a_table(faces: list[Face]) -> None:
    nme = np.array([[1.0], [np.nan], [np.nan]])
    said = bench.said(Measured(nme=nme, find_ms=1.5, landmarks_ms=0.5), fake(faces))
    assert said.splitlines()[0] == "found 0 of 1 faces (0.0 %)" and "true boxes" not in said


def test_what_cannot_be_measured_is_said(tmp_path: Path, faces: list[Face], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toy.write_300w(tmp_path / "photos", n=9)
    real = Folder(name="300w", format="300w", path=Path("photos"))
    detectors = {"other": fake(faces), "fits": fake(faces)}
    detectors["other"].scheme = schemes.load("wflw98")  # type: ignore[misc]
    monkeypatch.setattr(Detector, "load", lambda path: detectors[path.name])
    with pytest.raises(FacemixError, match="other: finds points of the scheme wflw98, expected ibug68, that of photos"):
        bench.found(real, Path("other"))
    with pytest.raises(FacemixError, match="--real: photos: found no challenging faces among 9, expected some"):
        bench.found(real, Path("fits"), "challenging")
