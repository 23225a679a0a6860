import numpy as np

import toy
from facemix.faces import contours
from facemix.faces.schemes import ibug68


def test_every_point_is_on_one_curve_and_curves_of_a_name_mirror_into_themselves() -> None:
    points = [i for curves in contours.curves().values() for curve in curves for i in curve.points]
    assert sorted(points) == list(range(68))
    for curves in contours.curves().values():
        own = {i for curve in curves for i in curve.points}
        assert set(ibug68().mirror[list(own)].tolist()) == own


def test_tangents_are_unit_vectors_along_the_curve_and_turn_with_the_face() -> None:
    face = toy.template()
    tangents = contours.tangents(face)
    np.testing.assert_allclose(np.linalg.norm(tangents, axis=-1), 1)
    np.testing.assert_allclose(tangents[8], [1, 0], atol=1e-9)  # the chin, from image left to right
    np.testing.assert_allclose(tangents[27:31], [[0, 1]] * 4, atol=1e-9)  # down the bridge of the nose
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    np.testing.assert_allclose(contours.tangents(face @ turn), tangents @ turn, atol=1e-9)


def test_across_is_perpendicular_to_along() -> None:
    np.testing.assert_allclose(contours.across(np.array([1.0, 0.0])), [0, 1])  # right, then down


def test_the_corner_of_closed_lips_has_a_tangent_across_them() -> None:
    face = toy.template()
    face[[67, 66, 65]] = face[[61, 62, 63]] = (face[[61, 62, 63]] + face[[67, 66, 65]]) / 2
    face[60:68, 1] = 0.5
    tangents = contours.tangents(face)
    np.testing.assert_allclose(np.abs(tangents[[60, 64]]), [[0, 1], [0, 1]], atol=1e-9)


def test_coinciding_points_have_no_tangent() -> None:
    np.testing.assert_array_equal(contours.tangents(np.ones((2, 68, 2))), np.zeros((2, 68, 2)))
