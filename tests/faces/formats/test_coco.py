import shutil

import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.formats import coco
from faces.formats import toy_sets
from faces.formats.toy_sets import circle, divided, json_file, only, only_broken

NAMES = ["left", "right", "nose", "mouth", "chin"]
TOY = toy_sets.scheme(NAMES)
POINTS = circle(5)
OTHER = POINTS[::-1]
V = (2, 2, 1, 2, 2)


def triples(points=POINTS, v=V) -> list[float]:
    return [number for (x, y), state in zip(np.asarray(points).tolist(), v, strict=True) for number in (x, y, state)]


def annotation(number=1, image=1, **more):
    return {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "keypoints": triples(), **more}


def content(*annotations, names=NAMES, images=("a.png",)):
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(images, start=1)],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "face", "keypoints": names}],
    }


def write(root, *annotations, name="faces.json", **more):
    made = content(*annotations, **more)
    for image in made["images"]:
        toy_sets.image(root / image["file_name"])
    return json_file(root / name, made)


def read(root, scheme=TOY):
    return coco.read(root, scheme)


def test_a_face_has_its_points_and_states(tmp_path):
    path = write(tmp_path, annotation())
    face = only(read(tmp_path))
    np.testing.assert_allclose(face.landmarks, POINTS, rtol=1e-6)
    assert face.states.tolist() == list(V)
    assert (face.id, face.photo, face.subset, face.split) == ("a", "a", "", "")
    assert face.files == (tmp_path / "a.png", path)


def test_points_with_v_0_are_unlabelled_whatever_their_place(tmp_path):
    points = POINTS.copy()
    points[0] = 0
    write(tmp_path, annotation(keypoints=triples(points, (0, 0.0, 1, 2, 2.0))))
    face = only(read(tmp_path))
    assert face.states.tolist() == [0, 0, 1, 2, 2]
    assert np.isnan(face.landmarks[:2]).all() and np.isfinite(face.landmarks[2:]).all()


def test_a_labelled_point_in_the_corner_is_refused(tmp_path):
    points = POINTS.copy()
    points[0] = 0
    write(tmp_path, annotation(keypoints=triples(points)))
    assert "annotation 1: point 0 is at (0, 0)" in only_broken(read(tmp_path)).reason


@pytest.mark.parametrize("v", [1, 1.0, 0.37])
def test_v_that_never_reaches_2_says_labelled_not_hidden(tmp_path, v):
    write(tmp_path, annotation(keypoints=triples(v=(v, v, 0, v, v))))
    assert only(read(tmp_path)).states.tolist() == [2, 2, 0, 2, 2]


def test_crowds_and_annotations_without_a_labelled_point_are_left_out_and_counted(tmp_path):
    nothing = triples(np.zeros((5, 2)), (0,) * 5)
    extra = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
    write(
        tmp_path,
        annotation(1, iscrowd=1),
        annotation(2, keypoints=nothing),
        annotation(3),
        annotation(4, keypoints=[]),
        extra,
    )
    assert only(read(tmp_path)).id == "a"
    assert coco.left_out(tmp_path, TOY) == {coco.CROWD: 1, coco.NO_POINTS: 3}


def test_several_faces_of_a_picture_are_numbered_and_one_photo(tmp_path):
    write(
        tmp_path,
        annotation(1),
        annotation(2, keypoints=triples(POINTS + 1)),
        annotation(3, 2),
        images=["a.png", "b.png"],
    )
    faces, _ = divided(read(tmp_path))
    assert [(face.id, face.photo) for face in faces] == [("a/0", "a"), ("a/1", "a"), ("b", "b")]


def test_names_in_another_order_are_put_into_that_of_the_scheme(tmp_path):
    order = [4, 2, 0, 1, 3]
    stated = annotation(keypoints=triples(POINTS[order], np.array(V)[order].tolist()))
    write(tmp_path, stated, names=[NAMES[i].upper() for i in order])
    face = only(read(tmp_path))
    np.testing.assert_allclose(face.landmarks, POINTS, rtol=1e-6)
    assert face.states.tolist() == list(V)


@pytest.mark.parametrize("names", [[], None, ["0", "1", "2", "3", "4"], ["kp_1", "kp_2", "kp_3", "kp_4", "kp_5"]])
def test_without_telling_names_the_order_is_that_of_the_scheme(tmp_path, names):
    write(tmp_path, annotation(), names=names)
    np.testing.assert_allclose(only(read(tmp_path)).landmarks, POINTS, rtol=1e-6)


def test_without_categories_the_order_is_that_of_the_scheme(tmp_path):
    made = content(annotation())
    del made["categories"]
    toy_sets.image(tmp_path / "a.png")
    json_file(tmp_path / "faces.json", made)
    np.testing.assert_allclose(only(read(tmp_path)).landmarks, POINTS, rtol=1e-6)


@pytest.mark.parametrize(
    "names, reason",
    [
        (["left", "right", "nise", "mouth", "chin"], "called 'nise' .did you mean 'nose'"),
        (["left", "left", "nose", "mouth", "chin"], "'left' stands there twice"),
        (["left", "right", "nose", "mouth"], "4 points, expected 5 of the scheme toy .'chin' missing"),
    ],
)
def test_names_that_are_not_the_schemes_are_refused(tmp_path, names, reason):
    write(tmp_path, annotation(), names=names)
    with pytest.raises(FacemixError, match=f"faces.json: categories: face: .*{reason}"):
        list(read(tmp_path))


def test_annotations_of_other_categories_are_left_alone(tmp_path):
    made = content(annotation(1), annotation(2, category_id=2, keypoints=triples(circle(3), (2, 2, 2))))
    made["categories"].append({"id": 2, "name": "hand", "keypoints": ["a", "b", "c"]})
    toy_sets.image(tmp_path / "a.png")
    json_file(tmp_path / "faces.json", made)
    assert only(read(tmp_path)).id == "a"


def test_every_broken_annotation_is_reported_with_its_id_and_the_rest_is_read(tmp_path):
    path = write(
        tmp_path,
        annotation(1),
        annotation(1),
        annotation(2, 99),
        annotation(3, keypoints=triples()[:-1]),
        annotation(4, keypoints=triples()[:-3]),
        annotation(5, keypoints=triples(v=(2, 2, 3, 2, 2))),
        annotation(6, keypoints=["x"] * 15),
        annotation(7, keypoints=triples(v=(0,) * 5), bbox=[3, 3, 0, 0]),
        annotation(8, 2),
        annotation(9, bbox=[3, 3, -2, 5]),
        annotation(10, bbox=[40, 3, 5, 5]),
        annotation(11, category_id=[1], keypoints=triples(OTHER)),
        annotation(12),
        annotation(13, category_id=7, keypoints=triples(OTHER)),
        "nothing",
        images=["a.png", "gone.png"],
    )
    (tmp_path / "gone.png").unlink()
    faces, broken = divided(read(tmp_path))
    assert [face.id for face in faces] == ["a"]
    assert {error.path for error in broken} == {path}
    expected = [
        "annotation 1: an annotation of this id",
        "annotation 2: image_id 99 is not among the images",
        "annotation 3: keypoints: 14 numbers, expected 15",
        "annotation 4: keypoints: 4 points, expected 5 of the scheme toy",
        "annotation 5: keypoints: point 2 has v = 3",
        "annotation 6: keypoints: expected a list of numbers",
        "annotation 7: no labelled point, and bbox: found [3, 3, 0, 0], which has no size",
        "annotation 8: no image 'gone.png'",
        "annotation 9: bbox: found [3, 3, -2, 5], which has no size",
        "annotation 10: bbox: found [40, 3, 5, 5], which lies outside the picture of 32 x 32",
        "annotation 11: category_id [1] is not among the categories (1)",
        "annotation 13: category_id 7 is not among the categories (1)",
        "annotations[14]: expected an object",
        "annotation 12: the same points as annotation 1; remove one",
    ]
    assert [error.reason[: len(start)] for error, start in zip(broken, expected, strict=True)] == expected


def test_nan_is_refused(tmp_path):
    points = POINTS.copy()
    points[1, 0] = np.nan
    write(tmp_path, annotation(keypoints=triples(points)))
    assert "finite" in only_broken(read(tmp_path)).reason


def test_a_picture_of_another_size_than_stated_is_refused(tmp_path):
    made = content(annotation(1), annotation(2, 2), images=["a.png", "b.png"])
    made["images"][0] |= {"width": 64, "height": 64}
    made["images"][1] |= {"width": 16, "height": 32}  # turned by EXIF
    toy_sets.image(tmp_path / "a.png")
    toy_sets.image(tmp_path / "b.png", 32, 16)
    json_file(tmp_path / "faces.json", made)
    faces, (error,) = divided(read(tmp_path))
    assert [face.id for face in faces] == ["b"]
    assert "a.png has 32 x 32 pixels, expected 64 x 64" in error.reason


@pytest.mark.parametrize(
    "made, reason",
    [
        ({"annotations": []}, "images: missing"),
        ({"images": []}, "annotations: missing"),
        ({"images": {}, "annotations": []}, "images: found dict"),
        ([], "expected 'images' and 'annotations'"),
        ({"images": [{"id": 1}], "annotations": []}, r"images\[0\]: expected an object with id and file_name"),
        (content(annotation(keypoints=[]), names=[]), "no annotation has keypoints"),
        (content(annotation(keypoints=triples()[:9]), names=[]), "faces of 3 points, expected 5 as in the scheme toy"),
        (content(annotation(keypoints=POINTS.ravel().tolist()), names=[]), "keypoints of 10 numbers, expected 15: .*v"),
    ],
)
def test_a_file_that_is_of_no_use_is_refused_as_a_whole(tmp_path, made, reason):
    json_file(tmp_path / "faces.json", made)
    with pytest.raises(FacemixError, match=f"faces.json: .*{reason}"):
        list(read(tmp_path))


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    toy_sets.text(tmp_path / "faces.json", '{"images": [')
    with pytest.raises(FacemixError, match="faces.json: not JSON that can be read"):
        list(read(tmp_path))


def test_a_folder_without_json_holds_nothing(tmp_path):
    toy_sets.image(tmp_path / "a.png")
    assert list(read(tmp_path)) == []


def test_other_json_beside_a_coco_file_is_left_alone(tmp_path):
    write(tmp_path, annotation())
    json_file(tmp_path / "settings.json", {"a": 1})
    json_file(tmp_path / "image_info_test2017.json", {"images": [], "categories": []})
    json_file(tmp_path / "captions.json", {"images": [], "annotations": [{"id": 1, "caption": "a face"}]})
    assert only(read(tmp_path)).id == "a"


# Where the pictures are


@pytest.mark.parametrize(
    "place", ["a.png", "images/a.png", "annotations/a.png", "annotations/images/a.png", "x/y/a.png"]
)
@pytest.mark.parametrize("stated", ["a.png", "./a.png", "/home/anna/a.png", "C:\\pictures\\a.png"])
def test_the_picture_is_found_below_the_root(tmp_path, place, stated):
    made = content(annotation())
    made["images"][0]["file_name"] = stated
    json_file(tmp_path / "annotations/faces.json", made)
    toy_sets.image(tmp_path / place)
    assert only(read(tmp_path)).image == tmp_path / place


def test_no_picture_outside_of_the_root_is_taken(tmp_path):
    toy_sets.image(tmp_path / "a.png")
    made = content(annotation())
    made["images"][0]["file_name"] = "../a.png"
    json_file(tmp_path / "set/faces.json", made)
    assert "no image '../a.png'" in only_broken(read(tmp_path / "set")).reason


def test_of_pictures_with_one_name_the_nearest_in_name_is_taken_and_else_none(tmp_path):
    for folder in ("x/day", "y/day", "y/night"):
        toy_sets.image(tmp_path / folder / "a.png")
    made = content(annotation(1), annotation(2, 2), images=["far/night/a.png", "far/day/a.png"])
    json_file(tmp_path / "annotations/faces.json", made)
    faces, (error,) = divided(read(tmp_path))
    assert [face.id for face in faces] == ["y/night/a"]
    assert "may be x/day/a.png and y/day/a.png, expected one" in error.reason


# Official splits


def test_files_of_splits_name_them_and_the_folder_of_their_pictures(tmp_path):
    for split in ("train2017", "val2017", "test2017"):
        toy_sets.image(tmp_path / split / "a.png")
        json_file(tmp_path / f"annotations/person_keypoints_{split}.json", content(annotation()))
    faces, broken = divided(read(tmp_path))
    assert broken == []
    assert {face.id: face.split for face in faces} == {
        "train2017/a": "train",
        "val2017/a": "validation",
        "test2017/a": "test",
    }


def test_a_folder_may_name_the_split(tmp_path):
    for folder in ("train", "valid"):
        write(tmp_path / folder, annotation(), name="_annotations.coco.json")
    assert {face.split for face in divided(read(tmp_path))[0]} == {"train", "validation"}


def test_one_split_alone_is_none(tmp_path):
    write(tmp_path / "test", annotation(), name="test.json")
    assert only(read(tmp_path / "test")).split == ""
    assert only(read(tmp_path)).split == ""


def test_a_face_that_two_files_state_is_read_once_with_its_split(tmp_path):
    write(tmp_path, annotation(1), name="train.json")
    write(tmp_path, annotation(1, keypoints=triples(POINTS + 1)), name="val.json", images=["b.png"])
    both = [annotation(7), annotation(8, 2, keypoints=triples(POINTS + 1))]
    write(tmp_path, *both, name="all.json", images=["a.png", "b.png"])
    faces, _ = divided(read(tmp_path))
    assert {face.id: face.split for face in faces} == {"a": "train", "b": "validation"}
    assert coco.left_out(tmp_path, TOY) == {coco.TWICE: 2}


def test_a_copy_of_the_files_that_faces_name_gives_the_same_faces(tmp_path):
    write(tmp_path / "set/annotations", annotation(1), annotation(2, keypoints=triples(POINTS + 1)), name="train.json")
    write(tmp_path / "set/annotations", annotation(1), name="val.json", images=["b.png"])
    faces, _ = divided(read(tmp_path / "set"))
    for path in {path for face in faces for path in face.files}:
        place = tmp_path / "copy" / path.relative_to(tmp_path / "set")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    copied, broken = divided(read(tmp_path / "copy"))
    assert broken == []
    assert [(face.id, face.split) for face in copied] == [(face.id, face.split) for face in faces]


# Whole bodies


def whole_body(number, **more):
    hand = toy_sets.circle(21)
    parts = {
        "face_kpts": triples(toy_sets.face68(), [1.0] * 68),
        "lefthand_kpts": triples(hand, [1] * 21),
        "righthand_kpts": triples(hand + 1, [1] * 21),
    }
    valid = {"face_valid": True, "lefthand_valid": True, "righthand_valid": True}
    return annotation(number, **parts, **valid) | more


def test_the_number_of_points_says_which_part_of_a_whole_body_is_read(tmp_path):
    write(tmp_path, whole_body(1))
    np.testing.assert_allclose(only(read(tmp_path)).landmarks, POINTS, rtol=1e-6)
    face = only(read(tmp_path, toy_sets.numbered(68)))
    np.testing.assert_allclose(face.landmarks, toy_sets.face68(), rtol=1e-6)
    hands, _ = divided(read(tmp_path, toy_sets.numbered(21)))
    assert [hand.id for hand in hands] == ["a/left_hand", "a/right_hand"]
    assert {hand.photo for hand in hands} == {"a"}


def test_parts_that_are_not_valid_are_left_out(tmp_path):
    invalid = {"face_valid": False, "lefthand_valid": False, "lefthand_box": [0.0] * 4}
    nothing = {"righthand_kpts": [0.0] * 63, "righthand_box": [0.0] * 4}
    write(tmp_path, whole_body(1), whole_body(2, **invalid, **nothing))
    assert only(read(tmp_path, toy_sets.numbered(68))).id == "a"
    assert len(divided(read(tmp_path, toy_sets.numbered(21)))[0]) == 2
    assert coco.left_out(tmp_path, toy_sets.numbered(21)) == {coco.NO_POINTS: 2}


# Which schemes fit


def test_names_and_numbers_of_points_tell_the_scheme(tmp_path):
    ibug = schemes.load("ibug68")
    keypoints = triples(toy_sets.face68(), [2] * 68)
    write(tmp_path / "unnamed", annotation(keypoints=keypoints), names=[])
    write(tmp_path / "named", annotation(keypoints=keypoints), names=list(ibug.points))
    write(tmp_path / "other", annotation(keypoints=keypoints), names=[f"{name}_own" for name in ibug.points])
    assert "ibug68" in coco.detect(tmp_path / "unnamed")
    assert coco.detect(tmp_path / "named") == ["ibug68"]
    assert coco.detect(tmp_path / "other") == []
    assert only(coco.read(tmp_path / "named", None)).scheme.name == "ibug68"
    with pytest.raises(FacemixError, match="none that is known fits; say it with --scheme"):
        list(coco.read(tmp_path / "other", None))


@pytest.mark.real_data
@pytest.mark.parametrize(
    "folder, points, count",
    [("300w", 68, 2), ("aflw", 19, 2), ("wflw", 98, 4), ("coco", 68, 4), ("coco", 21, 10)],
)
def test_real_samples_are_read_with_every_point(shared_data, folder, points, count):
    faces, broken = divided(coco.read(shared_data / "formats" / folder, toy_sets.numbered(points)))
    assert [str(error) for error in broken] == []
    assert len(faces) == count
    assert all(np.isfinite(face.landmarks).all() for face in faces)


@pytest.mark.real_data
@pytest.mark.parametrize("folder, scheme, count", [("coco", "coco17", 12), ("freihand", "hand21", 8)])
def test_real_samples_with_names_fit_the_scheme(shared_data, folder, scheme, count):
    if scheme not in schemes.names():
        pytest.skip(f"no scheme {scheme}")
    faces, broken = divided(coco.read(shared_data / "formats" / folder, schemes.load(scheme)))
    assert [str(error) for error in broken] == []
    assert len(faces) == count


def test_fields_of_images_and_annotations_say_what_faces_share(tmp_path):
    made = content(annotation(1, 1, person="anna", score=0.5), annotation(2, 2), images=("a.png", "b.png"))
    for image in made["images"]:
        toy_sets.image(tmp_path / image["file_name"])
        image |= {"video_id": 7, "license": 1, "camera": "left"}
    json_file(tmp_path / "faces.json", made)
    a, b = divided(read(tmp_path))[0]
    assert a.attributes == {"person": "anna", "video_id": "7", "camera": "left"}
    assert (a.photo, b.photo) == ("anna", "7")


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [], None, "x", [-5, -5, 6, 6], [31.5, 0, 99, 99]])
def test_no_box_and_one_that_reaches_into_the_picture_will_do(tmp_path, box):
    write(tmp_path, annotation(bbox=box))
    assert only(read(tmp_path)).id == "a"


def test_a_file_without_any_points_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(FacemixError, match="faces.json: no annotation has keypoints"):
        list(coco.read(tmp_path, None))


def test_an_annotation_without_a_category_is_of_the_only_one(tmp_path):
    order = [3, 1, 4, 0, 2]
    stated = annotation(keypoints=triples(POINTS[order], [V[i] for i in order]))
    del stated["category_id"]
    write(tmp_path, stated, names=[NAMES[i] for i in order])
    np.testing.assert_allclose(only(read(tmp_path)).landmarks, POINTS, rtol=1e-6)
