"""YOLO-pose: shares of the picture, in the order and the splits of a YAML file."""

import numpy as np
import pytest
from PIL import Image

from facemix.errors import FacemixError
from facemix.faces.formats import yolo_pose
from toy_five import FACE, FIVE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401

WIDTH, HEIGHT = 200, 160
FLIP = "flip_idx: [1, 0, 2, 4, 3]\n"


def line(places, v=None, width=WIDTH, height=HEIGHT):
    shares = (np.asarray(places) + 0.5) / [width, height]
    points = [[x, y] if v is None else [x, y, v[i]] for i, (x, y) in enumerate(shares)]
    return "0 0.5 0.5 0.4 0.4 " + " ".join(f"{value:.8g}" for point in points for value in point) + "\n"


def describe(root, text=FLIP, shape="[5, 3]", train="images/train", val="images/val"):
    return write(root / "data.yaml", f"path: .\ntrain: {train}\nval: {val}\ntest:\nkpt_shape: {shape}\n{text}")


@pytest.fixture
def root(tmp_path):
    for name in ("train/a", "val/b"):
        picture(tmp_path / f"images/{name}.png")
        write(tmp_path / f"labels/{name}.txt", line(FACE, [2, 2, 2, 2, 2]))
    describe(tmp_path)
    return tmp_path


def test_shares_become_pixels_and_half_a_pixel_is_taken_off(root):
    faces = read(yolo_pose.read, root)
    assert_points(faces["images/train/a"], FACE)
    assert faces["images/train/a"].files == tuple(
        root / name for name in ("images/train/a.png", "labels/train/a.txt", "data.yaml")
    )


def test_the_whole_picture_reaches_from_corner_to_corner(root):
    corners = [[-0.5, -0.5], [WIDTH - 0.5, HEIGHT - 0.5], *FACE[2:]]
    text = write(root / "labels/train/a.txt", line(corners, [2, 2, 2, 2, 2])).read_text()
    assert text.split()[8:10] == ["1", "1"]
    write(root / "labels/train/a.txt", text.replace(" 0 0 2 ", " 0 0 0 "))
    assert read(yolo_pose.read, root)["images/train/a"].landmarks[1].tolist() == [WIDTH - 0.5, HEIGHT - 0.5]


def test_the_yaml_states_the_official_splits(root):
    faces = read(yolo_pose.read, root)
    assert {id_: face.split for id_, face in faces.items()} == {"images/train/a": "train", "images/val/b": "validation"}


def test_a_picture_of_two_splits_is_read_once_and_of_none(root):
    picture(root / "images/test/c.png")
    write(root / "labels/test/c.txt", line(OTHER, [2] * 5))
    describe(root, train="[images/train, images/val]", val="[images/train, images/test]")
    assert {id_: face.split for id_, face in read(yolo_pose.read, root).items()} == {
        "images/train/a": "",
        "images/val/b": "train",
        "images/test/c": "validation",
    }


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("../images/train", "../images/val"),
        ("/home/someone/faces/images/train", "C:\\faces\\images\\val"),
        ("[images/train]", "val.txt"),
    ],
)
def test_paths_of_another_machine_and_lists_are_found(root, train, val):
    write(root / "val.txt", "./images/val/b.png\n")
    describe(root, train=train, val=val)
    assert list(read(yolo_pose.read, root)) == ["images/train/a", "images/val/b"]


def test_nothing_outside_of_the_folder_is_read(root):
    describe(root / "inside", train="../images/train", val="")
    with pytest.raises(FacemixError, match=r"no '../images/train' \(train\) below"):
        read(yolo_pose.read, root / "inside")


def test_labels_may_be_in_folders_of_the_split_or_beside_the_pictures(root):
    picture(root / "train/images/c.png")
    write(root / "train/labels/c.txt", line(FACE, [2] * 5))
    picture(root / "more/d.png")
    write(root / "more/d.txt", line(OTHER, [2] * 5))
    describe(root, train="train/images", val="more")
    assert list(read(yolo_pose.read, root)) == ["train/images/c", "more/d"]


def test_v_is_0_unlabelled_wherever_it_is_1_hidden_2_visible(root):
    places = FACE.copy()
    places[0] = 5 * WIDTH, -3 * HEIGHT
    write(root / "labels/train/a.txt", line(places, [0, 1, 2, 2, 2]))
    assert_points(read(yolo_pose.read, root)["images/train/a"], FACE, (0, 1, 2, 2, 2))


def test_without_v_the_corner_and_negative_shares_are_unlabelled(root):
    describe(root, shape="[5, 2]")
    places = FACE.copy()
    places[:2] = [[-0.5, -0.5], [-20, -20]]
    for name in ("train/a", "val/b"):
        write(root / f"labels/{name}.txt", line(places))
    assert_points(read(yolo_pose.read, root)["images/val/b"], FACE, (0, 0, 2, 2, 2))


def test_several_faces_and_a_line_twice(root):
    write(root / "labels/train/a.txt", line(FACE, [2] * 5) + "\n" + line(OTHER, [2] * 5) + line(FACE, [2] * 5))
    faces = read(yolo_pose.read, root)
    assert_points(faces["images/train/a/1"], OTHER)
    assert len(faces) == 3


def test_a_picture_that_is_displayed_turned_is_as_wide_as_it_is_displayed(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(root / "images/train/a.jpg", exif=exif)
    (root / "images/train/a.png").unlink()
    assert_points(read(yolo_pose.read, root)["images/train/a"], FACE)


def test_a_picture_without_labels_has_no_face(root):
    picture(root / "images/train/empty.png")
    picture(root / "images/train/background.png")
    write(root / "labels/train/empty.txt", "\n")
    assert len(read(yolo_pose.read, root)) == 2


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ("0 0.5 0.5 0.1 0.1 0.2 0.2 2", "line 1: 8 values, expected 20 numbers"),
        (line(FACE, [2, 2, 2, 2, 2]).replace("0.5", "x", 1), "line 1: 20 values, expected 20 numbers"),
        (line(FACE, [2, 2, 0.87, 2, 2]), "line 1: point 2 has v = 0.87, expected 0"),
        (line(FACE * 200, [2, 2, 2, 2, 2]), "line 1: point 0 at (70.0025, 50.0031), expected shares"),
    ],
)
def test_broken_lines_are_named(root, changed, match):
    write(root / "labels/train/a.txt", changed)
    (only,) = broken(yolo_pose.read, root)
    assert f"a.txt: image images/train/a.png: {match}" in only


def test_a_picture_whose_size_cannot_be_read_is_broken(root):
    (root / "images/train/a.png").write_bytes(b"no picture")
    (only,) = broken(yolo_pose.read, root)
    assert "images/train/a.png" in only and "size" in only


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("flip_idx: [1, 0, 3, 2, 4]\n", r"flip_idx: point 2 \(nose_tip\) mirrors to 3 \(left_mouth\), but .* to 2"),
        ("flip_idx: [1, 0]\n", "flip_idx: found .* expected each of 0 to 4 once"),
        ("kpt_names: {0: [a, b, c, d, e]}\n", "kpt_names: no point of the scheme toy_five is called 'a'"),
        ("kpt_names: [left_eye]\n", "kpt_names: .* expected a list of 5"),
    ],
)
def test_another_order_of_points_is_refused(root, text, match):
    describe(root, text)
    with pytest.raises(FacemixError, match=f"data.yaml: {match}"):
        read(yolo_pose.read, root)


def test_kpt_names_say_the_order_and_flip_idx_follows_it(root):
    order = [2, 0, 1, 3, 4]
    describe(root, f"flip_idx: [0, 2, 1, 4, 3]\nkpt_names: {{0: [{', '.join(NAMES[i] for i in order)}]}}\n")
    write(root / "labels/train/a.txt", line(FACE[order], [2, 1, 2, 2, 2]))
    assert_points(read(yolo_pose.read, root)["images/train/a"], FACE, (1, 2, 2, 2, 2))


@pytest.mark.parametrize("shape", ["[5, 4]", "5", "[five, 3]", "[0, 3]"])
def test_a_wrong_kpt_shape_is_refused(root, shape):
    describe(root, shape=shape)
    with pytest.raises(FacemixError, match=r"kpt_shape: found .*, expected \[K, 2\] or \[K, 3\]"):
        read(yolo_pose.read, root)


def test_another_number_of_points_and_missing_folders_are_refused(root):
    describe(root, "", shape="[68, 3]")
    with pytest.raises(FacemixError, match="kpt_shape: faces of 68 points, expected 5 .* use the scheme .*ibug68"):
        read(yolo_pose.read, root)
    describe(root, val="images/valid")
    with pytest.raises(FacemixError, match=r"data.yaml: no 'images/valid' \(validation\) below"):
        read(yolo_pose.read, root)
    write(root / "second.yaml", "kpt_shape: [5, 3]")
    with pytest.raises(FacemixError, match="data.yaml and .*second.yaml, expected one"):
        read(yolo_pose.read, root)


def test_a_list_that_is_no_text_is_refused(root):
    (root / "val.txt").write_bytes(b"\xff\xfe\xff")
    describe(root, val="val.txt")
    with pytest.raises(FacemixError, match="data.yaml: validation: not a text file, expected the list of images"):
        read(yolo_pose.read, root)


def test_a_folder_without_such_a_yaml_holds_nothing(root):
    write(root / "other.yaml", "a: [")
    write(root / "data.yaml", "names: [face]")
    assert list(yolo_pose.read(root, FIVE)) == []
    assert yolo_pose.detect(root) == []


def test_the_scheme_is_told_from_the_yaml(root, known_five):
    assert yolo_pose.detect(root) == ["toy_five"]
    describe(root, f"kpt_names: [{', '.join(NAMES)}]\n")
    assert yolo_pose.detect(root) == ["toy_five"]


@pytest.mark.parametrize("stated", ["0.5 0.5 0 0.4", "0.5 0.5 0.4 -0.1", "1.3 0.5 0.4 0.4", "0.5 -0.2 0.4 0.4"])
def test_a_box_without_a_size_or_outside_of_the_picture_is_broken(root, stated):
    describe(root)
    write(root / "labels/train/a.txt", line(FACE, [2] * 5).replace("0.5 0.5 0.4 0.4", stated))
    assert "a.txt: image images/train/a.png: line 1: a box " in broken(yolo_pose.read, root)[0]
