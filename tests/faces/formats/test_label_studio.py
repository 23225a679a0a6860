"""Label Studio's JSON: points in per cent, by label, in groups by parentID."""

import json

import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import label_studio
from toy_five import FACE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401

WIDTH, HEIGHT = 200, 160


def regions(places, names=NAMES, parent=None, **more):
    found = [
        {
            "id": f"{name}{x}",
            "type": "keypointlabels",
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "image_rotation": 0,
            "value": {"x": (x + 0.5) / WIDTH * 100, "y": (y + 0.5) / HEIGHT * 100, "keypointlabels": [name]},
            **({"parentID": parent} if parent else {}),
            **more,
        }
        for name, (x, y) in zip(names, places, strict=True)
    ]
    if parent:
        found.insert(2, {"id": parent, "type": "rectanglelabels", "value": {"rectanglelabels": ["face"]}})
    return found


def task(result, image="/data/upload/1/0a1b2c3d-a.png", **more):
    annotation = {"id": 1, "was_cancelled": False, "result": result, **more}
    return {"id": 1, "data": {"image": image}, "annotations": [annotation], "predictions": []}


def export(root, *tasks):
    return write(root / "export.json", json.dumps(tasks))


@pytest.fixture
def root(tmp_path):
    picture(tmp_path / "a.png", WIDTH, HEIGHT)
    return tmp_path


def test_per_cent_become_pixels_and_half_a_pixel_is_taken_off(root):
    export(root, task(regions(FACE)))
    assert_points(read(label_studio.read, root)["a"], FACE)


def test_points_go_by_label_not_by_their_order(root):
    export(root, task(regions(FACE)[::-1]))
    assert_points(read(label_studio.read, root)["a"], FACE)


def test_parent_id_parts_the_faces_of_a_picture(root):
    first, second = regions(FACE, parent="r1"), regions(OTHER, parent="r2")
    export(root, task([region for pair in zip(first, second, strict=True) for region in pair]))
    faces = read(label_studio.read, root)
    assert_points(faces["a/0"], FACE)
    assert_points(faces["a/1"], OTHER)


def test_two_faces_without_parent_id_are_broken(root):
    export(root, task(regions(FACE) + regions(OTHER)))
    (only,) = broken(label_studio.read, root)
    assert "points without a parentID: point 'left_eye' stands there twice" in only


def test_points_without_a_parent_beside_others_are_broken(root):
    export(root, task(regions(FACE, parent="r1") + regions(OTHER[:3], NAMES[:3])))
    (only,) = broken(label_studio.read, root)
    assert "give each point its rectangle" in only


@pytest.mark.parametrize("x", [101.5, -1.5, 4000])
def test_more_than_a_hundred_per_cent_is_broken(root, x):
    result = regions(FACE)
    result[1]["value"]["x"] = x
    export(root, task(result))
    (only,) = broken(label_studio.read, root)
    assert f"point 'right_eye': at ({x:g}, " in only and "per cent of the picture, 0 to 100" in only


def test_a_little_outside_of_the_picture_is_read(root):
    result = regions(FACE)
    result[1]["value"]["x"] = -0.5
    export(root, task(result))
    assert read(label_studio.read, root)["a"].landmarks[1, 0] == pytest.approx(-1.5)


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/1/0a1b2c3d-a.png",
        "/data/local-files/?d=photos/a.png",
        "/data/local-files/?d=photos%5Ca.png",
        "https://host:8080/x/a.png?token=1#b",
        "s3://bucket/faces/a.png",
        "a.png",
        "C:\\photos\\a.png",
        "http://[x/a.png",
    ],
)
def test_the_picture_is_found_by_the_end_of_its_url(root, url):
    export(root, task(regions(FACE), url))
    assert read(label_studio.read, root)["a"].image == root / "a.png"


def test_a_picture_that_kept_its_uploaded_name_and_has_spaces_is_found(root):
    picture(root / "images/0a1b2c3d-my face.png")
    export(root, task(regions(FACE), "/data/upload/1/0a1b2c3d-my%20face.png"))
    assert list(read(label_studio.read, root)) == ["images/0a1b2c3d-my face"]


def test_another_key_than_image_is_found(root):
    changed = task(regions(FACE))
    changed["data"] = {"text": "a face", "photo": "/data/a.png"}
    export(root, changed)
    assert list(read(label_studio.read, root)) == ["a"]


def test_cancelled_annotations_and_predictions_are_left_out(root):
    changed = task(regions(FACE), was_cancelled=True)
    changed["predictions"] = [{"result": regions(FACE)}]
    export(root, changed)
    assert read(label_studio.read, root) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"updated_at": "2024-01-02T00:00:00Z"}, {"updated_at": "2024-01-01T00:00:00Z"}),
        ({"ground_truth": True, "updated_at": "2023"}, {"updated_at": "2024"}),
        ({}, {"was_cancelled": True}),
    ],
)
def test_of_several_annotations_one_counts(root, first, second):
    both = task(regions(FACE), **first)
    both["annotations"] += task(regions(OTHER), **second)["annotations"]
    export(root, both)
    assert_points(read(label_studio.read, root)["a"], FACE)


def test_of_annotations_without_a_date_the_last_counts(root):
    both = task(regions(OTHER))
    both["annotations"] += task(regions(FACE))["annotations"]
    export(root, both)
    assert_points(read(label_studio.read, root)["a"], FACE)


def test_missing_points_are_unlabelled_and_a_choice_hides_one(root):
    result = regions(FACE)[:4]
    result.append({"id": result[0]["id"], "type": "choices", "value": {"choices": ["Occluded"]}})
    export(root, task(result))
    assert_points(read(label_studio.read, root)["a"], FACE, (1, 2, 2, 2, 0))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"original_width": None}, "no original_width"),
        ({"image_rotation": 90}, "turned by 90 degrees"),
        ({"value": {"x": 1, "y": 2, "keypointlabels": ["left_eye", "nose_tip"]}}, "expected one"),
        ({"value": None}, "expected one"),
        ({"id": [1], "parentID": {"a": 1}}, "give each point its rectangle"),
        ({"value": {"x": "?", "y": 2, "keypointlabels": ["left_eye"]}}, "expected per cent"),
    ],
)
def test_a_broken_point_breaks_its_face_alone(root, change, match):
    picture(root / "b.png")
    result = regions(FACE)
    result[0].update(change)
    export(root, task(result), task(regions(OTHER), "b.png"))
    only = broken(label_studio.read, root)[-1]
    assert match in only and "export.json: image /data/upload/1/0a1b2c3d-a.png" in only


def test_missing_pictures_are_named(root):
    export(root, task(regions(FACE), "/data/upload/1/ffffffff-b.png"), task(regions(FACE), ""))
    first, second = broken(label_studio.read, root)
    assert "no image '/data/upload/1/ffffffff-b.png' below" in first
    assert "image of task 1: its data names no image" in second


def test_json_min_is_refused(root):
    region = {"x": 1, "y": 2, "keypointlabels": ["left_eye"], "original_width": 9, "original_height": 9}
    write(root / "min.json", json.dumps([{"image": "a.png", "id": 1, "kp": [region]}]))
    with pytest.raises(FacemixError, match="min.json: found an export as JSON-MIN.*export it as JSON"):
        read(label_studio.read, root)


def test_other_json_files_are_left_alone(root):
    write(root / "coco.json", '{"images": [], "annotations": []}')
    write(root / "broken.json", "[")
    assert list(label_studio.read(root, None)) == []


def test_the_scheme_is_told_from_the_labels(root, known_five):
    export(root, task(regions(FACE)))
    assert label_studio.detect(root) == ["toy_five"]


def test_data_of_a_task_are_kept(root):
    made = task(regions(FACE))
    made["data"] |= {"person": 3, "scores": [1], "checked": True}
    export(root, made)
    assert read(label_studio.read, root)["a"].attributes == {"image": "/data/upload/1/0a1b2c3d-a.png", "person": "3"}


def test_where_all_faces_are_faulty_their_scheme_is_known_and_all_are_named(root, known_five):
    export(root, task(regions(FACE, original_width=0)), task(regions(OTHER, original_width=None)))
    reasons = broken(lambda path, _: label_studio.read(path, None), root)
    assert len(reasons) == 2 and all("no original_width" in reason for reason in reasons)
