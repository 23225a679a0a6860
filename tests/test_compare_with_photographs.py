"""What is measured on photographs and renders, on faces for which it is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

import toy
import toy_script
from facemix.faces import pose
from facemix.faces.schemes import ibug68

RNG = np.random.default_rng(0)


compare = toy_script.loaded("scripts/compare_with_photographs.py")


@pytest.mark.parametrize(("colour", "hue", "chroma"), [((255, 0, 0), 40.0, 104.5), ((255, 255, 0), 102.9, 96.9)])
def test_cheeks_have_the_hue_and_chroma_of_their_colour(
    colour: tuple[int, int, int], hue: float, chroma: float
) -> None:
    image = np.full((100, 100, 3), colour, np.uint8)
    found = compare.cheek_colour(image, toy.template() * 25 + 50)
    assert list(found.values()) == pytest.approx([hue, chroma], abs=0.5)


def test_a_grey_picture_has_no_hue() -> None:
    found = compare.cheek_colour(np.full((100, 100, 3), 128, np.uint8), toy.template() * 25 + 50)
    assert np.isnan(list(found.values())).all()


@given(aside=st.floats(-0.2, 0.2), angle=st.floats(-40, 40))
def test_an_iris_is_found_where_it_is_drawn(aside: float, angle: float) -> None:
    turn = np.radians(angle)
    along, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    corners = [(-0.5, 0), (-0.2, -0.2), (0.2, -0.2), (0.5, 0), (0.2, 0.2), (-0.2, 0.2)]
    outline = np.array([60 + 40 * (x * along + y * down) for x, y in corners])
    image = np.full((120, 120, 3), 240, np.uint8)
    cv2.circle(image, np.round(16 * (60 + 40 * aside * along)).astype(int).tolist(), 5 * 16, (30, 30, 30), -1, 8, 4)
    assert compare.iris(image, outline) == pytest.approx([aside, 0], abs=0.03)


def test_shut_eyes_have_no_iris() -> None:
    outline = np.array([[40, 60], [50, 60.1], [60, 60.1], [80, 60], [60, 60], [50, 60]])
    assert np.isnan(compare.iris(np.full((120, 120, 3), 240, np.uint8), outline)).all()


def heads(yaws: np.ndarray, closeness: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Mean faces (n, 68, 2), turned by degrees, before a camera that is 1 / closeness outer-eye distances away."""
    turns = np.array([
        Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix() for yaw in yaws
    ])  # fmt: skip
    turned = np.einsum("nij,kj->nki", turns, pose.MEAN_FACE)
    points = np.zeros((len(yaws), 68, 2))
    points[:, list(pose.FITTED)] = turned[..., :2] / (1 - closeness * turned[..., 2:]) * [1, -1]
    return points


YAWS = np.concatenate([np.linspace(-30, -10, 20), np.linspace(10, 30, 20)])


def test_the_nearer_the_camera_the_more_the_lines_run_apart() -> None:
    found = [compare.closeness(heads(YAWS, true))[0] for true in (0.0, 0.05, 0.1, 0.2)]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(found) > 0)
    assert found[1:] == pytest.approx([0.05, 0.1, 0.2], rel=0.4)


@given(pitch=st.floats(-20, 20), roll=st.floats(-30, 30))
def test_without_perspective_no_way_of_holding_the_head_looks_like_a_near_camera(pitch: float, roll: float) -> None:
    angle, _ = compare.apart(heads(YAWS, 0.0, pitch, roll))
    assert np.nanmax(np.abs(angle)) < 1e-9


def test_labels_that_are_set_elsewhere_on_both_sides_move_no_camera() -> None:
    far = heads(YAWS, 0.0)
    far[:, [48, 54], 1] += 0.05
    assert compare.closeness(far)[0] == pytest.approx(0, abs=1e-9)


def test_a_head_that_is_straight_or_turned_far_says_nothing_of_the_camera() -> None:
    angle, _ = compare.apart(heads(np.array([0.0, 20.0, 60.0]), 0.1))
    assert np.isnan(angle).tolist() == [True, False, True]


def test_who_looks_at_the_camera_does_so_however_the_head_is_turned() -> None:
    points = heads(np.array([-20.0, 0.0, 20.0, 45.0]), 0.0)
    points[:, 37:39, 1] -= 0.05  # wide open
    points[:, 43:45, 1] -= 0.05
    aside, head, _ = compare.SIDEWAYS
    yaw = np.radians(pose.estimate(points, ibug68())[:, 0])
    irises = np.stack([-head / aside * np.sin(yaw), np.zeros(4)], axis=1)
    found = compare.gaze(irises, points)["gaze: to the person's left"]
    assert found[:3] == pytest.approx(np.zeros(3), abs=1e-6)
    assert np.isnan(found[3])


def faces(n: int) -> np.ndarray:
    return toy.template() + RNG.normal(0, 0.05, (n, 68, 2))


def test_the_nearest_face_is_that_of_procrustes_analysis() -> None:
    some, others = faces(4), faces(6)
    size = np.linalg.norm(some - some.mean(axis=1, keepdims=True), axis=(1, 2)) / np.sqrt(68)
    unit = np.linalg.norm(some[:, 36] - some[:, 45], axis=1)
    least = [min(procrustes(one, other)[2] for other in others) for one in some]
    assert compare.nearest(some, others) == pytest.approx(100 * size / unit * np.sqrt(least))


def test_a_face_is_near_to_itself_however_it_is_turned_and_scaled() -> None:
    some, (c, s) = faces(4), (np.cos(1), np.sin(1))
    assert compare.nearest(some, 3 * some @ np.array([[c, s], [-s, c]]) + 7) == pytest.approx(np.zeros(4), abs=1e-5)


def test_labels_set_elsewhere_count_only_as_long_as_the_means_are_apart() -> None:
    photographs = faces(60)
    renders = photographs[:30].copy()
    renders[:, :17] += [0.0, 0.2]
    found = compare.coverage(photographs, renders)
    assert found["photograph to nearest render"] > 2 * found["photograph to nearest render, equal means"]
    assert found["photograph to nearest render, equal means"] < 0.3 * found["photograph to nearest photograph"]
