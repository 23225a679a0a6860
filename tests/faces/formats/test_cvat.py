"""CVAT for images 1.1: skeletons and points, with what of them is occluded or outside."""

import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import cvat
from toy_five import FACE, FIVE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401


def point(label, place, attributes='outside="0" occluded="0"'):
    return f'<points label="{label}" {attributes} points="{place[0] + 0.5:.2f},{place[1] + 0.5:.2f}"/>'


def skeleton(names, places, label="face", states=None):
    flags = {0: 'outside="1" occluded="0"', 1: 'outside="0" occluded="1"', 2: 'outside="0" occluded="0"'}
    states = states or [2] * len(names)
    inner = "".join(point(*values, flags[state]) for *values, state in zip(names, places, states, strict=True))
    return f'<skeleton label="{label}" z_order="0">{inner}</skeleton>'


def image(content, name="a.png", more=""):
    return f'<image id="0" name="{name}" {more} width="200" height="160">{content}</image>'


def export(root, *images):
    text = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>' + "".join(images)
    return write(root / "annotations.xml", text + "</annotations>")


@pytest.fixture
def root(tmp_path):
    picture(tmp_path / "images/a.png")
    return tmp_path


def test_a_skeleton_is_matched_by_label_and_half_a_pixel_is_taken_off(root):
    order = [3, 0, 4, 2, 1]
    export(root, image(skeleton([NAMES[i] for i in order], FACE[order])))
    face = read(cvat.read, root)["images/a"]
    assert_points(face, FACE)
    assert face.photo == "images/a"
    assert face.files == (root / "images/a.png", root / "annotations.xml")


def test_cvats_own_numbers_run_from_1(root):
    export(root, image(skeleton("54321", FACE[::-1])))
    assert_points(read(cvat.read, root)["images/a"], FACE)


def test_cvats_own_numbers_run_from_1_where_the_first_and_the_last_point_are_missing(root):
    export(root, image(skeleton("234", FACE[1:4])))
    assert_points(read(cvat.read, root)["images/a"], FACE, (0, 2, 2, 2, 0))


def test_outside_is_unlabelled_and_occluded_is_hidden(root):
    places = FACE.copy()
    places[0] = -700, 900
    export(root, image(skeleton(NAMES, places, states=[0, 1, 2, 2, 2])))
    assert_points(read(cvat.read, root)["images/a"], FACE, (0, 1, 2, 2, 2))


def test_a_skeleton_that_is_all_outside_and_an_image_without_any_are_no_faces(root):
    export(root, image(skeleton(NAMES, FACE, states=[0] * 5)), image("", "never_copied.png"))
    assert read(cvat.read, root) == {}


def test_several_points_in_one_element_are_in_the_order_of_the_scheme(root):
    places = ";".join(f"{x + 0.5},{y + 0.5}" for x, y in FACE)
    export(root, image(f'<points label="face" occluded="0" points="{places}"/>'))
    assert_points(read(cvat.read, root)["images/a"], FACE)
    export(root, image(f'<points label="face" occluded="0" points="{places};9,9"/>'))
    assert "image a.png: points 1: 6 points, expected 5" in broken(cvat.read, root)[0]


def test_single_points_are_grouped_by_group_id(root):
    marks = [
        point(name, place, f'group_id="{group}" occluded="0"')
        for name, *places in zip(NAMES, FACE, OTHER, strict=True)
        for group, place in enumerate(places, start=1)
    ]
    export(root, image("".join(marks)))
    faces = read(cvat.read, root)
    assert_points(faces["images/a/0"], FACE)
    assert_points(faces["images/a/1"], OTHER)
    assert {face.photo for face in faces.values()} == {"images/a"}


def test_skeletons_of_another_kind_are_left_out(root):
    export(root, image(skeleton(["1", "2"], FACE[:2], label="hand") + skeleton("12345", OTHER)))
    assert_points(read(cvat.read, root)["images/a"], OTHER)


def test_labels_that_the_scheme_lacks_are_listed_with_what_is_near(root):
    export(root, image(skeleton(["left_eye", "right_eye", "nose_tipp", "chin", "left_mouth"], FACE)))
    with pytest.raises(FacemixError, match="annotations.xml: face: no point .* toy_five is called 'chin'.*'nose_tipp'"):
        read(cvat.read, root)


def test_numbers_of_another_scheme_are_refused(root):
    export(root, image(skeleton("1234", FACE[:4]) + skeleton("1236", FACE[:4])))
    with pytest.raises(FacemixError, match="numbers from 1 to 6, expected 0 to 4 or 1 to 5"):
        read(cvat.read, root)


def test_subset_is_the_official_split(root):
    picture(root / "images/Train/b.png")
    picture(root / "images/Test/b.png")
    more = 'subset="{}"'.format
    export(
        root,
        image(skeleton(NAMES, FACE), "b.png", more("Test")),
        image(skeleton(NAMES, OTHER), "b.png", more("Train")),
    )
    faces = read(cvat.read, root)
    assert {id_: (face.split, face.subset) for id_, face in faces.items()} == {
        "images/Test/b": ("test", "Test"),
        "images/Train/b": ("train", "Train"),
    }


def test_broken_faces_are_all_named_and_the_others_read(root):
    twice = skeleton([*NAMES, "nose_tip"], [*FACE, FACE[0]])
    no_number = skeleton(NAMES, FACE).replace("31.00,41.50", "31.00")
    export(root, image(twice + no_number + skeleton(NAMES, OTHER)), image(skeleton(NAMES, FACE), "gone.png"))
    gone, second, third = broken(cvat.read, root)
    assert "annotations.xml: image gone.png: no image 'gone.png' below" in gone
    assert "image a.png: skeleton 1: point 'nose_tip' stands there twice" in second
    assert "image a.png: skeleton 2: point right_eye is at (31.00, ), expected two numbers" in third
    whole = [item for item in cvat.read(root, FIVE) if hasattr(item, "id")]
    assert [face.id for face in whole] == ["images/a/2"]


def test_the_same_face_twice_is_broken(root):
    export(root, image(2 * skeleton(NAMES, FACE)))
    assert "skeleton 2: the same points as skeleton 1" in broken(cvat.read, root)[0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("<annotations><track id='0'/></annotations>", "tracks of a video.*'CVAT for images 1.1'"),
        ("<annotations><image>", "not well-formed XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>&b;</annotations>", "document type"),
    ],
)
def test_unusable_files_are_refused(root, text, match):
    write(root / "annotations.xml", text)
    with pytest.raises(FacemixError, match=f"annotations.xml: .*{match}"):
        read(cvat.read, root)


def test_other_xml_files_are_left_alone(root):
    write(root / "voc/a.xml", "<annotation><object/></annotation>")
    write(root / "broken.xml", "<dataset")
    export(root, image(skeleton(NAMES, FACE)))
    assert list(read(cvat.read, root)) == ["images/a"]


def test_the_scheme_is_told_from_the_labels(root, known_five):
    export(root, image(skeleton(NAMES, FACE)))
    assert cvat.detect(root) == ["toy_five"]
    assert next(iter(cvat.read(root, None))).scheme.points == NAMES
    export(root, image(skeleton("12345", FACE)))
    assert cvat.detect(root) == ["toy_five"]
    export(root, image(skeleton("1234", FACE[:4])))
    assert cvat.detect(root) == []
    with pytest.raises(FacemixError, match="found 4 points called '1', '2', '3', '4', none that is known fits; say"):
        list(cvat.read(root, None))


def test_two_images_of_one_name_but_another_suffix_have_ids_of_their_own(root):
    picture(root / "images/a.jpg")
    export(root, image(skeleton(NAMES, FACE)), image(skeleton(NAMES, OTHER), "a.jpg"))
    faces = read(cvat.read, root)
    assert_points(faces["images/a.png"], FACE)
    assert_points(faces["images/a.jpg"], OTHER)


def test_a_copy_of_the_files_gives_the_same_faces(root, tmp_path_factory):
    export(root, image(skeleton(NAMES, FACE)))
    copy = tmp_path_factory.mktemp("copy")
    for path in read(cvat.read, root)["images/a"].files:
        target = copy / path.relative_to(root)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    np.testing.assert_array_equal(read(cvat.read, copy)["images/a"].landmarks, FACE.astype(np.float32))


def test_attributes_of_an_image_and_a_skeleton_are_kept(root):
    stated = '<attribute name="{}">{}</attribute>'.format
    face = skeleton(NAMES, FACE).replace("</skeleton>", stated("person", " anna ") + "</skeleton>")
    export(root, image(face + stated("day", 2) + stated("empty", "")))
    assert read(cvat.read, root)["images/a"].attributes == {"day": "2", "person": "anna"}
