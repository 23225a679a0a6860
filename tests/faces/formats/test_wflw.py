import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import wflw
from faces.formats import toy_sets
from faces.formats.toy_sets import circle, divided, only

POINTS = circle(98)
TRAIN, TEST = "list_98pt_rect_attr_train.txt", "list_98pt_rect_attr_test.txt"


@pytest.fixture(autouse=True)
def wflw98(monkeypatch):
    """The reader is tested, not the built-in scheme."""
    monkeypatch.setattr("facemix.faces.schemes.load", lambda name: toy_sets.numbered({"wflw98": 98}[name]))


def line(image="0--Parade/a.png", points=POINTS, flags=(0, 1, 0, 0, 1, 0)):
    numbers = [*np.ravel(points).tolist(), 5, 5, 25, 25, *flags]
    return " ".join(map(str, numbers)) + f" {image}"


def write(root, lines, name=TRAIN, end="\n", folder="WFLW_annotations/list_98pt_rect_attr_train_test"):
    toy_sets.text(root / folder / name, end.join(lines) + end)
    for image in {line.split(maxsplit=206)[-1] for line in lines}:
        toy_sets.image(root / "WFLW_images" / image)


def test_points_are_0_based_and_the_list_names_the_split(tmp_path):
    write(tmp_path, [line()])
    write(tmp_path, [line("0--Parade/b c.png")], TEST)
    faces, broken = divided(wflw.read(tmp_path, None))
    assert broken == []
    assert {face.id: face.split for face in faces} == {
        "WFLW_images/0--Parade/a": "train",
        "WFLW_images/0--Parade/b c": "test",
    }
    np.testing.assert_allclose(faces[0].landmarks, POINTS, rtol=1e-6)
    assert (faces[0].states == 2).all()
    assert faces[0].files[1].name == TRAIN


def test_faces_of_a_picture_are_one_photo_also_across_the_lists(tmp_path):
    write(tmp_path, [line(), line(points=POINTS + 1)])
    write(tmp_path, [line(points=POINTS + 2)], TEST)
    faces, _ = divided(wflw.read(tmp_path, None))
    assert [face.id for face in faces] == [f"WFLW_images/0--Parade/a/{k}" for k in range(3)]
    assert {face.photo for face in faces} == {"WFLW_images/0--Parade/a"}


@pytest.mark.parametrize("start, end", [("", "\r\n"), ("\ufeff", "\n"), ("\n", "\n\n")])
def test_line_ends_marks_and_empty_lines_do_not_matter(tmp_path, start, end):
    write(tmp_path, [line(), line("b.png")], end=end)
    path = next(tmp_path.rglob(TRAIN))
    path.write_text(start + path.read_text(), encoding="utf-8")
    assert len(divided(wflw.read(tmp_path, None))[0]) == 2


def test_points_may_coincide(tmp_path):
    points = POINTS.copy()
    points[89] = points[95]
    write(tmp_path, [line(points=points)])
    only(wflw.read(tmp_path, None))


def test_every_broken_line_is_reported_with_its_number(tmp_path):
    words = line().split()
    wrong = [" ".join(words[1:]), " ".join(["x", *words[1:]]), line(flags=(0, 0, 2, 0, 0, 0)), line("gone.png")]
    write(tmp_path, [*wrong, line()])
    (tmp_path / "WFLW_images/gone.png").unlink()
    faces, broken = divided(wflw.read(tmp_path, None))
    assert len(faces) == 1
    starts = [
        "line 1: found 206 fields, expected 207",
        "line 2: found 207",
        "line 3: the six flags",
        "line 4: no image",
    ]
    assert [error.reason[: len(start)] for error, start in zip(broken, starts, strict=True)] == starts


def test_a_missing_point_is_refused_as_the_format_has_none(tmp_path):
    points = POINTS.copy()
    points[3] = 0
    write(tmp_path, [line(points=points)])
    _, (error,) = divided(wflw.read(tmp_path, None))
    assert error.reason.startswith("line 1: point 3 is at (0, 0)")


def test_other_lists_are_left_alone_and_one_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path, [line()])
    toy_sets.text(tmp_path / "WFLW_annotations/list_98pt_test/list_98pt_test_blur.txt", "nothing of use")
    only(wflw.read(tmp_path, None))
    write(tmp_path, [line()], folder="old")
    with pytest.raises(FacemixError, match="the same list as"):
        list(wflw.read(tmp_path, None))


def test_a_scheme_of_another_number_of_points_is_refused(tmp_path):
    with pytest.raises(FacemixError, match="scheme toy5: has 5 points, but the format wflw has 98"):
        list(wflw.read(tmp_path, toy_sets.numbered(5)))
