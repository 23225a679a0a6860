"""The offsets that scripts/measure_annotator_habits.py prints."""

from types import ModuleType

import numpy as np
import pytest

import toy_script
from facemix.faces.schemes import ibug68
from facemix.render.head import Head, Pose


@pytest.fixture(scope="module")
def habits() -> ModuleType:
    return toy_script.loaded("scripts/measure_annotator_habits.py")


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """The template's points (n, 68, 2) in pictures, y down: looking ahead, and turned to either side."""
    head = Head()
    poses = [Pose(yaw, 0.0, 0.0, yaw) for yaw in (-26.0, -22.0, -11.0, 0.0, 0.0, 11.0, 22.0, 26.0)]
    points = np.array([pose.applied(head.marks_rest, head.marks_rest) for pose in poses])
    return 100 * points[..., :2] * [1, -1]


def test_equal_points_are_off_by_nothing(habits: ModuleType, faces: np.ndarray) -> None:
    for place in (0, 2):
        np.testing.assert_allclose(habits.off_the_detector(faces, faces)[place], 0, atol=1e-9)


def test_an_offset_of_one_side_is_found_on_the_side_that_is_seen_better(habits: ModuleType, faces: np.ndarray) -> None:
    """A mark that lies lower on the near side of turned heads is found on the right side, as if all looked left."""
    marks = faces.copy()
    unit = np.linalg.norm(faces[:, 36] - faces[:, 45], axis=1)
    marks[6:, 3, 1] += 0.05 * unit[6:]  # these look to their left: the right side is near
    marks[:2, 13, 1] += 0.05 * unit[:2]  # these to their right
    off = habits.off_the_detector(marks, faces)[2]
    assert off[3] == pytest.approx([0, 0.05], abs=1e-6)
    np.testing.assert_allclose(off[[13, 8, 30]], 0, atol=1e-9)


def test_faces_that_look_ahead_count_with_their_mirror_images(habits: ModuleType, faces: np.ndarray) -> None:
    marks = faces.copy()
    marks[:, 48, 0] -= 0.04 * np.linalg.norm(faces[:, 36] - faces[:, 45], axis=1)
    marks[:, 54, 0] += 0.04 * np.linalg.norm(faces[:, 36] - faces[:, 45], axis=1)
    off = habits.off_the_detector(marks, faces)[0]
    assert off[48] == pytest.approx([-0.04, 0], abs=1e-6)
    np.testing.assert_allclose(off[ibug68().mirror] * [-1, 1], off, atol=1e-9)
