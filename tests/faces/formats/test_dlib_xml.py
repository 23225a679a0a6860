"""dlib and imglab: boxes with parts, whose names sort as numbers."""

import re

import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import dlib_xml
from toy_five import FACE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401

FACE, OTHER = np.round(FACE), np.round(OTHER)


def box(names, places, more=""):
    parts = "".join(
        f"<part name='{name}' x='{x:.0f}' y='{y:.0f}'/>" for name, (x, y) in zip(names, places, strict=True)
    )
    return f"<box top='20' left='20' width='80' height='80' {more}>{parts}</box>"


def dataset(path, **images):
    content = "".join(f"<image file='{name.replace('__', '/')}.png'>{boxes}</image>" for name, boxes in images.items())
    head = "<?xml version='1.0' encoding='ISO-8859-1'?><?xml-stylesheet type='text/xsl' href='style.xsl'?>"
    return write(path, f"{head}<dataset><name>faces</name><images>{content}</images></dataset>")


@pytest.fixture
def root(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    return tmp_path


def test_parts_are_numbers_in_any_order_and_writing(root):
    dataset(root / "faces.xml", a=box(["00", "10", "2", "03", "4"][::-1], FACE[::-1]).replace("10", "1", 1))
    assert_points(read(dlib_xml.read, root)["a"], FACE)


def test_more_than_ten_parts_do_not_sort_as_strings(tmp_path):
    from facemix.faces.schemes import ibug68

    scheme, places = ibug68(), np.arange(136.0).reshape(68, 2) * [1, 0.5]
    picture(tmp_path / "a.png")
    parts = "".join(f"<part name='{i}' x='{x}' y='{y}'/>" for i, (x, y) in enumerate(places))
    dataset(tmp_path / "faces.xml", a=f"<box>{parts}</box>")
    objects = dlib_xml._pictures(tmp_path)[0].objects
    from facemix.faces.formats import fitting

    assert list(fitting.indices(objects[0].names, scheme, "").values()) == list(range(68))


def test_names_of_the_scheme_are_read_too(root):
    dataset(root / "faces.xml", a=box(NAMES[::-1], FACE[::-1]))
    assert_points(read(dlib_xml.read, root)["a"], FACE)


def test_a_missing_part_is_unlabelled(root):
    dataset(root / "faces.xml", a=box(["0", "1", "3", "4"], FACE[[0, 1, 3, 4]]), b=box("01234", OTHER))
    faces = read(dlib_xml.read, root)
    assert_points(faces["a"], FACE, (2, 2, 0, 2, 2))
    assert_points(faces["b"], OTHER)


def test_numbers_run_from_0_where_the_first_and_the_last_part_are_missing(root):
    dataset(root / "faces.xml", a=box("123", FACE[1:4]))
    assert_points(read(dlib_xml.read, root)["a"], FACE, (0, 2, 2, 2, 0))


def test_boxes_to_ignore_and_boxes_without_parts_are_left_out(root):
    ignored = box("01234", FACE + 9, "ignore='1'")
    dataset(root / "faces.xml", a=ignored + box("", FACE[:0]) + box("01234", FACE, "ignore='0'"))
    assert_points(read(dlib_xml.read, root)["a"], FACE)


def test_several_faces_of_a_picture_share_it(root):
    dataset(root / "faces.xml", a=box("01234", FACE) + box("01234", OTHER))
    faces = read(dlib_xml.read, root)
    assert {id_: face.photo for id_, face in faces.items()} == {"a/0": "a", "a/1": "a"}


def test_a_part_twice_is_broken_however_it_is_written(root):
    dataset(root / "faces.xml", a=box(["0", "1", "2", "3", "4", "00"], [*FACE, FACE[1]]), b=box("01234", FACE))
    (only,) = broken(dlib_xml.read, root)
    assert "faces.xml: image a.png: box 1: point '0' stands there twice" in only


def test_file_names_are_the_official_splits_and_the_file_of_all_repeats_them(root):
    picture(root / "c.png")
    a, b, c = (box("01234", FACE + shift) for shift in (0, 1, 2))
    dataset(root / "labels.xml", a=a, b=b, c=c)
    dataset(root / "testing_with_face_landmarks.xml", b=b)
    dataset(root / "training_with_face_landmarks.xml", a=a)
    faces = read(dlib_xml.read, root)
    assert {id_: face.split for id_, face in faces.items()} == {"a": "train", "b": "test", "c": ""}


def test_one_file_alone_is_no_official_split(root):
    dataset(root / "training.xml", a=box("01234", FACE))
    assert read(dlib_xml.read, root)["a"].split == ""


def test_a_face_of_two_splits_is_broken(root):
    dataset(root / "test.xml", a=box("01234", FACE))
    dataset(root / "train.xml", a=box("01234", FACE))
    assert "train.xml: image a.png: box 1: the same points as box 1 of test.xml" in broken(dlib_xml.read, root)[0]


def test_mirrored_copies_are_left_out(root):
    picture(root / "a_mirror.png")
    picture(root / "only_mirror.png")
    boxes = box("01234", FACE)
    dataset(root / "faces.xml", a=boxes, a_mirror=boxes, only_mirror=boxes)
    assert list(read(dlib_xml.read, root)) == ["a", "only_mirror"]


def test_an_image_without_a_name_is_broken(root):
    write(root / "faces.xml", f"<dataset><images><image>{box('01234', FACE)}</image></images></dataset>")
    assert "an image without a name: no image is named" in broken(dlib_xml.read, root)[0]


@pytest.mark.parametrize("sides", [(3, 3, 0, 9), (3, 3, 9, -1), (0, 0, 0, 9)])
def test_a_box_without_a_size_is_broken(root, sides):
    def boxed(*sides):
        stated = "left='{}' top='{}' width='{}' height='{}'".format(*sides)
        return re.sub("<box[^>]*>", f"<box {stated}>", box("01234", FACE))

    dataset(root / "faces.xml", a=boxed(*sides))
    assert f"box 1: a box of width {sides[2]} and height {sides[3]}" in broken(dlib_xml.read, root)[0]
    dataset(root / "faces.xml", a=boxed(0, 0, 0, 0))  # none
    assert_points(read(dlib_xml.read, root)["a"], FACE)


def test_missing_pictures_are_all_named(root):
    dataset(root / "faces.xml", x=box("01234", FACE), sub__y=box("01234", FACE))
    assert [name for text in broken(dlib_xml.read, root) for name in ("x.png", "sub/y.png") if name in text] == [
        "x.png",
        "sub/y.png",
    ]


def test_parts_of_another_scheme_are_refused(root):
    dataset(root / "faces.xml", a=box(map(str, range(7)), np.vstack([FACE, FACE[:2] + 1])))
    with pytest.raises(FacemixError, match="faces.xml: points with numbers from 0 to 6, expected 0 to 4"):
        read(dlib_xml.read, root)


def test_the_scheme_is_told_from_the_parts(root, known_five):
    dataset(root / "faces.xml", a=box("01234", FACE))
    assert dlib_xml.detect(root) == ["toy_five"]
    assert dlib_xml.detect(root / "nothing") == []
