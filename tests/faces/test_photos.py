"""Faces of one photograph are kept together, and others are not."""

import dataclasses

import numpy as np
import pytest
from test_formats import write_300w, write_facesynthetics

from facemix.errors import FacemixError
from facemix.faces.face import VISIBLE, Face
from facemix.faces.formats import photos, read
from facemix.faces.schemes import ibug68


def face(root, name, content=b"", photo=None):
    path = root / f"{name}.jpg"
    path.write_bytes(content or name.encode())
    points = np.random.default_rng(list(name.encode())).uniform(0, 99, (68, 2)).astype(np.float32)
    states = np.full(68, VISIBLE, dtype=np.uint8)
    return Face(
        id=name,
        subset="",
        photo=photo or name,
        image=path,
        landmarks=points,
        states=states,
        scheme=ibug68(),
        files=(path,),
    )


def photos_of(faces):
    return [one.photo for one in faces]


@pytest.mark.parametrize(
    "names, count",
    [
        ([f"IMG_{i:04d}" for i in range(1, 41)], 40),
        ([f"20231104_{i}" for i in range(1, 41)], 40),  # the shots of a day
        ([f"cam{c}_{i:02d}" for c in range(8) for i in range(10)], 80),
        ([f"{c:03d}_{i}" for c in range(8) for i in range(10)], 80),
        ([f"{p:06d}_{i}" for p in range(20) for i in range(3)], 20),
        ([f"1051618{p:03d}_{i}" for p in range(20) for i in (1, 2)], 20),
        ([f"1051618{p:03d}_{2 * p % 3 + 1}" for p in range(20)], 20),
    ],
)
def test_photographs_in_the_layout_of_afw_are_counted_by_what_names_look_like(tmp_path, names, count):
    for name in names:
        write_300w(tmp_path, f"afw/{name}")
    faces, broken = read("300w", tmp_path)
    assert (len(faces), broken, len(set(photos_of(faces)))) == (len(names), [], count)


def test_faces_of_one_photograph_of_ibug(tmp_path):
    for name in [*(f"image_100_0{i}" for i in range(1, 7)), "image_100", "image_101_1"]:
        write_300w(tmp_path, f"ibug/{name}")
    faces, _ = read("300w", tmp_path)
    assert photos_of(faces) == ["ibug/image_100"] * 7 + ["ibug/image_101"]


def test_equal_files_are_one_photograph_and_bring_their_photographs_together(tmp_path):
    faces = [
        face(tmp_path, "a", b"same", photo="A"),
        face(tmp_path, "b", b"same", photo="B"),
        face(tmp_path, "c", b"else", photo="B"),  # equal size, other content
        face(tmp_path, "d", b"alone", photo="D"),
    ]
    assert photos_of(photos.by_content(faces)) == ["A", "A", "A", "D"]


def with_points(one, points, labelled=68):
    states = np.where(np.arange(68) < labelled, VISIBLE, 0).astype(np.uint8)
    return dataclasses.replace(one, landmarks=points, states=states)


def test_equal_points_are_one_photograph(tmp_path):
    faces = [face(tmp_path, name) for name in "abcd"]
    faces[2] = with_points(faces[2], faces[0].landmarks)
    faces[3] = with_points(faces[3], faces[0].landmarks + np.float32(1e-4))
    assert photos_of(photos.by_content(faces)) == ["a", "b", "a", "d"]


@pytest.mark.parametrize("count, labelled, others", [(7, 68, "x"), (2, 9, "x"), (3, 68, "")])
def test_points_that_many_or_all_faces_share_or_that_are_few_say_nothing(tmp_path, count, labelled, others):
    names = "abcdefg"[:count] + others
    points = np.where(np.arange(68)[:, None] < labelled, 3.0, np.nan).astype(np.float32)
    faces = [with_points(face(tmp_path, name), points, labelled) for name in names[:count]]
    faces += [face(tmp_path, name) for name in others]
    assert photos_of(photos.by_content(faces)) == list(names)


def test_the_user_says_what_names_a_photograph(tmp_path):
    for name in ("cam1-day2-0001", "cam1-day2-0002", "cam2-day2-0001"):
        write_facesynthetics(tmp_path, name)
    assert photos_of(read("facesynthetics", tmp_path)[0]) == ["cam1-day2-0001", "cam1-day2-0002", "cam2-day2-0001"]
    assert photos_of(read("facesynthetics", tmp_path, "(cam.)-")[0]) == ["cam1", "cam1", "cam2"]
    assert photos_of(read("facesynthetics", tmp_path, "day[0-9]")[0]) == ["day2"] * 3


def stating(root, *attributes):
    return [dataclasses.replace(face(root, str(i)), attributes=stated) for i, stated in enumerate(attributes)]


def test_a_column_names_the_photograph(tmp_path):
    faces = stating(tmp_path, {"person": "anna", "Camera no": "1"}, {"person": "anna", "Camera no": "2"})
    assert photos_of(photos.say(faces, "column:person")) == ["anna", "anna"]
    assert photos_of(photos.say(faces, "column: camera_No")) == ["1", "2"]


@pytest.mark.parametrize(
    "attributes, reason",
    [
        (
            {"person": "anna", "day": "1"},
            r"'column:persn': .* face '0': expected one of person, day .did you mean",
        ),
        ({"persn": ""}, "expected one of persn; correct it, or add what is missing"),
        ({}, "the files state nothing of faces but their points; use a regular expression"),
    ],
)
def test_a_column_that_is_not_there_is_refused(tmp_path, attributes, reason):
    with pytest.raises(FacemixError, match=reason):
        photos.say(stating(tmp_path, attributes), "column:persn")


def test_the_widest_of_the_usual_columns_counts():
    assert photos.stated({"photo": "1", "person": "anna", "day": "2"}) == "anna"
    assert photos.stated({"day": "2", "group": ""}) == ""


@pytest.mark.parametrize(
    "group, reason", [("(", "not a regular expression"), ("cam[23]", "found no photograph in 'cam1")]
)
def test_a_group_that_does_not_fit_is_refused(tmp_path, group, reason):
    write_facesynthetics(tmp_path, "cam1_0")
    with pytest.raises(FacemixError, match=reason):
        read("facesynthetics", tmp_path, group)


def test_the_count_of_photographs_comes_with_an_example_and_the_way_out(tmp_path):
    alone, both = face(tmp_path, "a"), [face(tmp_path, "b_1", photo="b"), face(tmp_path, "b_2", photo="b")]
    assert photos.described([alone]) == "1 faces of 1 photographs"
    assert "3 faces of 2 photographs: b_1 and b_2 count as one; if that is wrong" in photos.described([alone, *both])
