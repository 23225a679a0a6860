import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.faces import pose
from facemix.faces.schemes import ibug68
from facemix.render.head import Head, rotation
from facemix.render.person import person
from facemix.render.population import Population
from facemix.render.studio import sit

MEAN = np.zeros((68, 3))
MEAN[list(pose.FITTED)] = pose.MEAN_FACE
ANGLES = st.tuples(st.floats(-80, 80), st.floats(-60, 60), st.floats(-179, 179))


def seen(angles: tuple[float, float, float], scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """The mean face (68, 2) turned, in pixels."""
    return scale * (MEAN @ rotation(*angles).T)[:, :2] * [1, -1] + shift


@given(ANGLES, st.floats(0.1, 1000), st.floats(-1000, 1000))
def test_a_turn_of_the_mean_face_is_found_whatever_its_size_and_place(
    angles: tuple[float, float, float], scale: float, shift: float
) -> None:
    assert pose.estimate(seen(angles, scale, shift), ibug68()) == pytest.approx(angles, abs=1e-4)


@given(ANGLES, st.floats(-40, 40))
def test_a_turn_of_the_image_is_roll_alone(angles: tuple[float, float, float], turn: float) -> None:
    yaw, pitch, _ = angles
    turned = seen((yaw, pitch, 0)) @ rotation(0, 0, turn)[:2, :2]  # y points down
    assert pose.estimate(turned, ibug68()) == pytest.approx((yaw, pitch, turn), abs=1e-4)


def test_a_mirrored_face_looks_the_other_way() -> None:
    points = np.random.default_rng(0).normal(0, 0.05, (20, 68, 2)) + seen((25, 10, 5))
    mirrored = pose.estimate(ibug68().mirrored(points, 1), ibug68())
    assert mirrored == pytest.approx(pose.estimate(points, ibug68()) * [-1, 1, -1], abs=1e-6)


def test_each_face_is_measured_by_itself() -> None:
    faces = np.random.default_rng(0).normal(0, 0.05, (2, 3, 68, 2)) + seen((25, 10, 5))
    assert pose.estimate(faces, ibug68())[1, 2] == pytest.approx(pose.estimate(faces[1, 2], ibug68()))


def test_the_yaw_of_other_heads_with_expressions_before_a_near_camera_is_found_to_some_degrees() -> None:
    head, population = Head(), Population(yaw_sd=30.0)
    sittings = [sit(head, person(population, 1, index), 256) for index in range(12)]
    found = pose.estimate(
        np.array([one.camera.pixels(one.pose.applied(one.shape.marks, head.marks_rest)) for one in sittings]),
        ibug68(),
    )
    errors = found[:, 0] - [one.person.yaw for one in sittings]
    assert np.median(np.abs(errors)) < 5
    assert np.ptp([one.person.yaw for one in sittings]) > 40


def test_bins_are_symmetric_and_divide_at_15_and_30_degrees() -> None:
    yaw = np.array([0, 14.9, 15, 29.9, 30, 89])
    bins = ["frontal", "frontal", "half-turned", "half-turned", "turned", "turned"]
    assert pose.yaw_bin(yaw).tolist() == pose.yaw_bin(-yaw).tolist() == bins
