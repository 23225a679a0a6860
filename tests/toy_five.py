"""A scheme of five points, a face in it, and pictures, for the tests of annotation files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facemix.faces import schemes
from facemix.faces.face import BrokenFace, Face

NAMES = ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth")
CONTENT = {
    "name": "toy_five",
    "source": "made for tests",
    "points": list(NAMES),
    "mirror": [["left_eye", "right_eye"], ["left_mouth", "right_mouth"]],
    "regions": {"eyes": ["left_eye", "right_eye"]},
    "skeleton": [["left_eye", "nose_tip", "right_eye"]],
    "outline": [],
    "face_sizes": {"eyes": {"between": [["left_eye"], ["right_eye"]], "thresholds": [8, 10]}},
    "normalizer": "eyes",
}
FIVE = schemes.parse(CONTENT, "toy_five")
FACE = np.array([[70, 40], [30.5, 41], [50, 60.25], [65, 80], [36, 81]])
OTHER = FACE + [100, 20]


def picture(path: Path, width: int = 200, height: int = 160) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), dtype=np.uint8))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(reader, root: Path, scheme=FIVE) -> dict[str, Face]:
    """The faces by id, where none is broken."""
    items = list(reader(root, scheme))
    assert not [str(item) for item in items if isinstance(item, BrokenFace)]
    assert len({face.id for face in items}) == len(items)
    for face in items:
        assert face.scheme is scheme
        np.testing.assert_array_equal(face.states == 0, np.isnan(face.landmarks).any(axis=1))
        assert all(path.is_relative_to(root) and path.is_file() for path in face.files)
        assert face.files[0] == face.image
    return {face.id: face for face in items}


def broken(reader, root: Path, scheme=FIVE) -> list[str]:
    """What is said of the broken faces."""
    return [str(item) for item in reader(root, scheme) if isinstance(item, BrokenFace)]


def assert_points(face: Face, expected, states=(2, 2, 2, 2, 2)) -> None:
    np.testing.assert_array_equal(face.states, states)
    expected = np.where(np.array(states)[:, None] == 0, np.nan, expected)
    np.testing.assert_allclose(face.landmarks, expected, atol=1e-4)


@pytest.fixture
def known_five(tmp_path_factory, monkeypatch):
    """A project whose own scheme is that of five points, as the only one with so many."""
    project = tmp_path_factory.mktemp("project")
    lines = [f"{key}: {value!r}" for key, value in CONTENT.items()]
    write(project / "data/schemes/toy_five.yaml", "\n".join(lines).replace("'", '"') + "\n")
    monkeypatch.chdir(project)
    monkeypatch.setattr(schemes, "names", lambda *_: ["ibug68", "toy_five"])
