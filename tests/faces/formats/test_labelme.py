"""LabelMe: a JSON file for each picture, with labelled points in groups."""

import json

import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import labelme
from toy_five import FACE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401


def shapes(places, names=NAMES, **more):
    return [
        {"label": name, "points": [[x + 0.5, y + 0.5]], "shape_type": "point", "group_id": None, "flags": {}, **more}
        for name, (x, y) in zip(names, places, strict=True)
    ]


def save(path, content, image="a.png", **more):
    return write(path, json.dumps({"version": "5.0", "imagePath": image, "imageData": None, "shapes": content, **more}))


@pytest.fixture
def root(tmp_path):
    picture(tmp_path / "a.png")
    return tmp_path


def test_points_go_by_label_and_half_a_pixel_is_taken_off(root):
    save(root / "a.json", shapes(FACE)[::-1])
    face = read(labelme.read, root)["a"]
    assert_points(face, FACE)
    assert face.files == (root / "a.png", root / "a.json")


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_run_from_0_or_from_1(root, first):
    save(root / "a.json", shapes(FACE, [str(i + first) for i in range(5)]))
    assert_points(read(labelme.read, root)["a"], FACE)


def test_group_id_parts_the_faces_of_a_picture(root):
    mixed = [shape for pair in zip(shapes(FACE, group_id=7), shapes(OTHER), strict=True) for shape in pair]
    save(root / "a.json", mixed)
    faces = read(labelme.read, root)
    assert_points(faces["a/0"], FACE)
    assert_points(faces["a/1"], OTHER)


def test_faces_without_groups_are_broken_and_the_message_says_why(root):
    save(root / "a.json", shapes(FACE) + shapes(OTHER))
    (only,) = broken(labelme.read, root)
    assert "points without a group_id: point 'left_eye' stands there twice" in only
    assert "say which points belong to which face" in only


def test_other_shapes_and_the_embedded_picture_are_left_alone(root):
    box = {"label": "face", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    line = {"label": "hair", "points": [[1, 1], [9, 9], [5, 5]], "shape_type": "polygon", "group_id": 1}
    save(root / "a.json", [box, *shapes(FACE), line], imageData="AAAA")
    assert_points(read(labelme.read, root)["a"], FACE)


def test_flags_mark_hidden_points_and_missing_points_are_unlabelled(root):
    content = shapes(FACE)
    content[0]["flags"] = {"occluded": True}
    content[1]["occluded"] = True
    content[2]["flags"] = {"occluded": False}
    save(root / "a.json", content[:4])
    assert_points(read(labelme.read, root)["a"], FACE, (1, 1, 2, 2, 0))


def test_old_files_without_shape_type_are_read(root):
    save(root / "a.json", [{key: shape[key] for key in ("label", "points")} for shape in shapes(FACE)])
    assert_points(read(labelme.read, root)["a"], FACE)


def test_paths_with_backslashes_lead_to_other_folders(root):
    picture(root / "images/day 1/b.png")
    save(root / "labels/b.json", shapes(FACE), "..\\images\\day 1\\b.png")
    assert read(labelme.read, root)["images/day 1/b"].image == root / "images/day 1/b.png"


def test_a_missing_picture_is_named_and_that_the_file_embeds_it(root):
    save(root / "a.json", shapes(FACE), "gone.png")
    save(root / "b.json", shapes(FACE), "gone_too.png", imageData="AAAA")
    first, second = broken(labelme.read, root)
    assert "a.json: image gone.png: no image 'gone.png' below" in first and "embeds" not in first
    assert "b.json: image gone_too.png: " in second and "embeds the picture" in second


@pytest.mark.parametrize("places", [[[1]], [[1, 2], [3, 4]], [], None, "x", [["x", 2]], [[float("nan"), 1]]])
def test_a_point_without_a_place_breaks_its_face_alone(root, places):
    picture(root / "b.png")
    content = shapes(FACE)
    content[2]["points"] = places
    save(root / "a.json", content)
    save(root / "b.json", shapes(OTHER), "b.png")
    (only,) = broken(labelme.read, root)
    assert "a.json: image a.png" in only


def test_a_file_that_is_no_json_is_broken_where_a_picture_is_beside_it(root):
    picture(root / "b.png")
    write(root / "b.json", "{")
    write(root / "settings.json", "{")
    save(root / "a.json", shapes(FACE))
    (only,) = broken(labelme.read, root)
    assert "b.json: not JSON" in only


def test_other_json_files_are_left_alone(root):
    write(root / "coco.json", '{"images": [], "annotations": []}')
    write(root / "list.json", "[1]")
    assert list(labelme.read(root, None)) == []


def test_labels_of_no_scheme_are_refused(root):
    save(root / "a.json", shapes(FACE, ["a", "b", "c", "d", "left eyes"]))
    with pytest.raises(FacemixError, match=r"a.json: no point of the scheme toy_five is called 'a', nor 'b'"):
        read(labelme.read, root)


def test_the_scheme_is_told_from_the_labels(root, known_five):
    save(root / "a.json", shapes(FACE, [name.replace("_", " ").title() for name in NAMES]))
    assert labelme.detect(root) == ["toy_five"]
