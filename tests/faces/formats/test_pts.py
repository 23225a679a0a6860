import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.errors import FacemixError
from facemix.faces.formats import pts
from faces.formats import toy_sets
from faces.formats.toy_sets import circle, divided, face68, only, only_broken

FIVE = toy_sets.numbered(5)
POINTS = circle(5)


def rows(points, divider=" ", end="\n", more=""):
    return end.join(f"{x}{divider}{y}{more}" for x, y in points) + end


def write(root, name="a", content=None, points=POINTS, suffix=".png"):
    toy_sets.image(root / f"{name}{suffix}")
    toy_sets.text(root / f"{name}.pts", rows(points + 1) if content is None else content)


@pytest.mark.parametrize(
    "content",
    [
        rows(POINTS + 1),
        rows(POINTS + 1, ", "),
        rows(POINTS + 1, end="\r\n"),
        rows(POINTS + 1, more=" 1"),
        rows(POINTS + 1, more=" # seen"),
        "\ufeff5\n" + rows(POINTS + 1),
        "version: 1\nn_points:  5\n{\n" + rows(POINTS + 1) + "}\n",
        "version: 1\r\nn_points: 5 // of a face\r\n{\r\n" + rows(POINTS + 1, end="\r\n") + "}",
    ],
)
def test_every_dialect_states_1_based_points(tmp_path, content):
    write(tmp_path, content=content)
    face = only(pts.read(tmp_path, FIVE))
    np.testing.assert_allclose(face.landmarks, POINTS, rtol=1e-6)
    assert (face.states == 2).all()


def test_folders_at_any_depth_are_read(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "deep/er/a", suffix=".JPG")
    toy_sets.image(tmp_path / "other/overview.png")
    faces, broken = divided(pts.read(tmp_path, FIVE))
    assert broken == []
    assert [(face.id, face.photo) for face in faces] == [("a", "a"), ("deep/er/a", "deep/er/a")]


@pytest.mark.parametrize(
    "content, reason",
    [
        (rows(POINTS[:4]), "4 points, expected 5"),
        ("4\n" + rows(POINTS), "the first line says 4 points, found 5"),
        ("n_points: 6\n" + rows(POINTS), "its header says 6 points, found 5"),
        (rows(POINTS) + "eye corner\n", "found 'eye corner'"),
        (rows(np.where(np.arange(5)[:, None] == 2, 0, POINTS)), "point 2 is at (0, 0)"),
        (rows(np.where(np.arange(5)[:, None] == 2, -1, POINTS)), "point 2 is at (-1, -1)"),
        ("", "0 points"),
        (b"\xff\xd8\xff", "not a text file"),
    ],
)
def test_points_that_are_none_are_refused(tmp_path, content, reason):
    write(tmp_path, content=content)
    assert reason in only_broken(pts.read(tmp_path, FIVE)).reason


def test_images_and_points_alone_and_twice_are_reported(tmp_path):
    for name in ("whole", "no_image", "no_points", "twice"):
        write(tmp_path, name)
    (tmp_path / "no_image.png").unlink()
    (tmp_path / "no_points.pts").unlink()
    toy_sets.image(tmp_path / "twice.jpg")
    faces, broken = divided(pts.read(tmp_path, FIVE))
    assert [face.id for face in faces] == ["whole"]
    assert [error.path.name for error in broken] == ["no_image.pts", "no_points.png", "twice.png"]


def test_mirrored_copies_are_left_out_but_not_a_mirror(tmp_path):
    for name in ("a", "a_mirror", "hall_mirror"):
        write(tmp_path, name)
    assert [face.id for face in divided(pts.read(tmp_path, FIVE))[0]] == ["a", "hall_mirror"]


def test_the_number_of_points_tells_the_scheme(tmp_path):
    write(tmp_path / "faces", points=face68())
    assert "ibug68" in pts.detect(tmp_path / "faces")
    write(tmp_path / "other", points=circle(61))
    assert pts.detect(tmp_path / "other") == []
    with pytest.raises(FacemixError, match="other: .*say it with --scheme"):
        list(pts.read(tmp_path / "other", None))


def test_a_folder_without_pts_holds_nothing(tmp_path):
    toy_sets.image(tmp_path / "a.png")
    assert list(pts.read(tmp_path, None)) == []


# MERL-RAV


def test_negative_points_of_merl_rav_are_hidden_and_minus_one_has_no_place(tmp_path):
    stated = face68() + 1
    stated[3] *= -1
    stated[7] = -1
    write(tmp_path, "frontal/trainset/image00019", rows(stated))
    face = only(pts.read_merl_rav(tmp_path, None))
    assert face.states.tolist() == [{3: 1, 7: 0}.get(i, 2) for i in range(68)]
    rest = np.delete(np.arange(68), 7)
    np.testing.assert_allclose(face.landmarks[rest], face68()[rest], rtol=1e-5)
    assert np.isnan(face.landmarks[7]).all()
    assert (face.split, face.scheme.name) == ("train", "ibug68")


def test_any_other_set_does_not_get_that_meaning(tmp_path):
    stated = POINTS + 1
    stated[3] = -1
    write(tmp_path, content=rows(stated))
    assert "point 3 is at (-1, -1)" in only_broken(pts.read(tmp_path, FIVE)).reason


def test_faces_of_a_photograph_of_merl_rav_stand_together(tmp_path):
    for name in ("frontal/trainset/image20991_1", "left/testset/image20991_2", "left/testset/image20992"):
        write(tmp_path, name, points=face68())
    faces, _ = divided(pts.read_merl_rav(tmp_path, None))
    assert [face.photo for face in faces] == ["image20991", "image20991", "image20992"]
    assert [face.split for face in faces] == ["train", "test", "test"]


@given(st.lists(st.tuples(st.floats(2, 1e4), st.floats(2, 1e4), st.sampled_from([0, 1, 2])), min_size=1, max_size=9))
def test_signs_and_states_are_the_same_statement(points):
    places = np.array([[x, y] for x, y, _ in points])
    states = np.array([state for *_, state in points])
    stated = np.where(states[:, None] == 0, -1, np.where(states[:, None] == 1, -places, places))
    found, found_states = pts.unsigned(stated)
    assert (found_states == states).all()
    np.testing.assert_array_equal(found[states > 0], places[states > 0])
    assert np.isnan(found[states == 0]).all()


def test_one_negative_coordinate_is_a_visible_point_beyond_the_border():
    found, states = pts.unsigned(np.array([[-3.0, 12.0]]))
    assert (found.tolist(), states.tolist()) == ([[-3.0, 12.0]], [2])


def test_where_all_are_broken_each_is_named_though_no_scheme_is_known(tmp_path):
    for name in "ab":
        toy_sets.image(tmp_path / f"{name}.png")
        toy_sets.text(tmp_path / f"{name}.pts", "nothing")
    faces, broken = toy_sets.divided(pts.read(tmp_path, None))
    assert (faces, [error.path.name for error in broken]) == ([], ["a.pts", "b.pts"])


def test_a_number_of_points_that_no_scheme_has_is_said(tmp_path):
    toy_sets.image(tmp_path / "a.png")
    toy_sets.text(tmp_path / "a.pts", "1 2\n3 4\n5 7\n")
    with pytest.raises(FacemixError, match="found faces of 3 points, none that is known fits; say it with --scheme"):
        list(pts.read(tmp_path, None))
