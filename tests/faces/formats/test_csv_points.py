"""Tables of points, wide and long."""

import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import csv_points
from toy_five import FACE, FIVE, NAMES, OTHER, assert_points, broken, known_five, picture, read, write  # noqa: F401


def wide(*rows, names=NAMES, head=("image",), axes=("{}_x", "{}_y"), delimiter=","):
    header = [*head, *(axis.format(name) for name in names for axis in axes)]
    lines = [header, *([*(str(cell) for cell in first), *map(str, values)] for first, values in rows)]
    return "\n".join(delimiter.join(cells) for cells in lines) + "\n"


def flat(places):
    return [value for place in places for value in place]


def long(*rows, head="image,face,point,x,y"):
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


@pytest.fixture
def root(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    return tmp_path


def test_a_row_is_a_face_in_0_based_pixels(root):
    write(root / "faces.csv", wide((["a.png"], flat(FACE)), (["b.png"], flat(OTHER))))
    faces = read(csv_points.read, root)
    assert_points(faces["a"], FACE)
    assert_points(faces["b"], OTHER)
    assert faces["a"].files == (root / "a.png", root / "faces.csv")


@pytest.mark.parametrize("axes", [("{}_x", "{}_y"), ("x{}", "y{}"), ("X_{}", "Y_{}")])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_run_from_0_or_from_1(root, axes, first):
    names = [str(i + first) for i in range(5)]
    write(root / "faces.csv", wide((["a.png"], flat(FACE)), names=names, axes=axes))
    assert_points(read(csv_points.read, root)["a"], FACE)


def test_columns_may_have_any_order(root):
    order = [4, 2, 0, 1, 3]
    write(root / "faces.csv", wide((["a.png"], flat(FACE[order])), names=[NAMES[i] for i in order]))
    assert_points(read(csv_points.read, root)["a"], FACE)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_says_what_divides_cells_and_a_byte_order_mark_does_not_count(root, delimiter):
    write(root / "faces.csv", "\ufeff" + wide((["a.png"], flat(FACE)), delimiter=delimiter).replace("\n", "\r\n"))
    assert_points(read(csv_points.read, root)["a"], FACE)


def test_decimal_commas_are_refused(root):
    text = wide((["a.png"], flat(FACE)), delimiter=";").replace("30.5", "30,5")
    write(root / "faces.csv", text)
    with pytest.raises(FacemixError, match="faces.csv: line 2: found '30,5', expected a decimal point"):
        read(csv_points.read, root)
    write(root / "faces.csv", text.replace(";", ","))
    with pytest.raises(FacemixError, match="line 2: 12 cells, expected 11 .*no commas"):
        read(csv_points.read, root)


def test_empty_cells_are_unlabelled(root):
    values = flat(FACE)
    values[2:6] = "", "", "NaN", "nan"
    write(root / "faces.csv", wide((["a.png"], values)))
    assert_points(read(csv_points.read, root)["a"], FACE, (2, 0, 0, 2, 2))


def test_v_is_the_state_of_a_point(root):
    values = [value for place, v in zip(FACE, (0, 1, 2, "", "1.0"), strict=True) for value in (*place, v)]
    write(root / "faces.csv", wide((["a.png"], values), axes=("{}_x", "{}_y", "{}_v")))
    assert_points(read(csv_points.read, root)["a"], FACE, (0, 1, 2, 2, 1))


def test_columns_say_id_split_group_and_subset(root):
    head = ("image_path", "id", "split", "person", "subset")
    first, second = ["a.png", "anna", "training", "p1", "day"], ["b.png", "anna2", "test", "p1", "night"]
    write(root / "faces.csv", wide((first, flat(FACE)), (second, flat(OTHER)), head=head))
    faces = read(csv_points.read, root)
    assert {id_: (face.split, face.photo, face.subset) for id_, face in faces.items()} == {
        "anna": ("train", "p1", "day"),
        "anna2": ("test", "p1", "night"),
    }


def test_an_id_twice_and_an_unknown_split_are_broken(root):
    head = ("image", "id", "split")
    rows = [["a.png", "x", "train"], ["b.png", "x", "test"], ["a.png", "y", "holdout"]]
    places = (FACE, FACE, OTHER)
    write(root / "faces.csv", wide(*((row, flat(face)) for row, face in zip(rows, places, strict=True)), head=head))
    texts = sorted(broken(csv_points.read, root))
    assert "line 3: a second face called 'x'" in texts[1]
    assert "image a.png: line 4: split 'holdout', expected train" in texts[0]


def test_columns_yaml_says_what_columns_mean(root):
    text = wide((["a.png"], flat(FACE)), names=["L", *NAMES[1:]], head=("Datei",))
    write(root / "faces.csv", text)
    write(root / "columns.yaml", "Datei: image\nL_x: left_eye_x\nL_y: left_eye_y\n")
    face = read(csv_points.read, root)["a"]
    assert_points(face, FACE)
    assert face.files[-1] == root / "columns.yaml"
    write(root / "columns.yaml", "- Datei\n")
    with pytest.raises(FacemixError, match="columns.yaml: expected"):
        read(csv_points.read, root)


def test_boxes_are_no_points(root):
    text = wide((["a.png"], [1, 2, *flat(FACE)]), names=["box", *NAMES])
    write(root / "faces.csv", text)
    assert_points(read(csv_points.read, root)["a"], FACE)


def test_a_row_for_each_point(root):
    order = [3, 0, 2, 4, 1]
    rows = [["a.png", face, NAMES[i], *places[i]] for i in order for face, places in ((1, FACE), (2, OTHER))]
    write(root / "points.csv", long(*rows))
    faces = read(csv_points.read, root)
    assert_points(faces["a/0"], FACE)
    assert_points(faces["a/1"], OTHER)


def test_a_row_for_each_point_of_numbers_with_states(root):
    rows = [["a.png", i + 1, *FACE[i], state] for i, state in ((0, "hidden"), (1, "2"), (3, "0"), (4, ""))]
    write(root / "points.csv", long(*rows, head="image,point,x,y,state"))
    assert_points(read(csv_points.read, root)["a"], FACE, (1, 2, 0, 0, 2))


@pytest.mark.parametrize(("cell", "state"), [("0", 1), ("1", 2), ("False", 1), ("true", 2)])
def test_visible_says_whether_a_point_is_to_be_seen(root, cell, state):
    rows = [["a.png", name, *place, cell] for name, place in zip(NAMES, FACE, strict=True)]
    write(root / "points.csv", long(*rows, head="image,point,x,y,visible"))
    assert_points(read(csv_points.read, root)["a"], FACE, [state] * 5)


def test_a_point_twice_breaks_its_face_alone(root):
    rows = [["a.png", "", name, *place] for name, place in zip(NAMES, FACE, strict=True)]
    rows += [["b.png", "", name, *place] for name, place in zip(NAMES, OTHER, strict=True)]
    write(root / "points.csv", long(*rows, ["a.png", "", "nose_tip", 1, 2]))
    (only,) = broken(csv_points.read, root)
    assert "points.csv: image a.png: points of a.png: point 'nose_tip' stands there twice" in only


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        (("wide", ""), "line 2: point nose_tip is at (wide, ), expected two numbers"),
        (("", "7"), "line 2: point nose_tip is at (, 7), expected two numbers"),
        (("x", "7"), "line 2: point nose_tip is at (x, 7), expected two numbers"),
        (("inf", "7"), "line 2: point nose_tip is at (inf, 7), expected two numbers"),
    ],
)
def test_cells_that_are_no_numbers_are_named(root, cells, match):
    values = flat(FACE)
    values[4:6] = cells
    write(root / "faces.csv", wide((["a.png"], values), (["b.png"], flat(OTHER))))
    (only,) = broken(csv_points.read, root)
    assert f"faces.csv: image a.png: {match}" in only


def test_a_state_that_is_none_is_named(root):
    rows = [["a.png", name, *place, "maybe"] for name, place in zip(NAMES, FACE, strict=True)]
    write(root / "points.csv", long(*rows, head="image,point,x,y,state"))
    assert "line 2: point left_eye has the state 'maybe', expected 0 or 1" in broken(csv_points.read, root)[0]


def test_missing_pictures_are_all_named(root):
    write(root / "faces.csv", wide((["x.png"], flat(FACE)), ([""], flat(FACE)), (["a.png"], flat(FACE))))
    first, second = broken(csv_points.read, root)
    assert "image x.png: no image 'x.png' below" in first
    assert "none stated (line 3)" in second


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("image,age\na.png,3\n", "no columns of points among image, age"),
        ("image,left_eye_x\na.png,3\n", "left_eye_x without left_eye_y"),
        ("image,image\na.png,3\n", "column 'image' stands there twice"),
        ("image,left_eye_x,left_eye_y\na.png,3\n", "line 2: 2 cells, expected 3"),
        ('image,left_eye_x,left_eye_y\n"a.png,3,4\n', "not a table"),
        ("image,ear_x,ear_y\na.png,3,4\n", "no point of the scheme toy_five is called 'ear'"),
    ],
)
def test_unusable_tables_are_refused(root, text, match):
    write(root / "faces.csv", text)
    with pytest.raises(FacemixError, match=f"faces.csv: .*{match}"):
        read(csv_points.read, root)


def test_a_table_in_another_encoding_is_refused(root):
    (root / "faces.csv").write_bytes(wide((["ä.png"], flat(FACE))).encode("latin-1"))
    with pytest.raises(FacemixError, match="faces.csv: not a text file in UTF-8"):
        read(csv_points.read, root)


def test_other_tables_are_left_alone(root):
    write(root / "ages.csv", "name,age\nanna,3\n")
    write(root / "empty.csv", "")
    assert list(csv_points.read(root, FIVE)) == []


@pytest.mark.parametrize("text", [wide(([], flat(FACE)), head=()), "face,point,x,y\n1,2,3,4\n"])
def test_a_table_of_points_without_images_is_refused(root, text):
    write(root / "faces.csv", text)
    with pytest.raises(FacemixError, match="faces.csv: no column of images among .*; expected 'image'"):
        list(csv_points.read(root, FIVE))


def test_the_scheme_is_told_from_the_columns(root, known_five):
    write(root / "faces.csv", wide((["a.png"], flat(FACE))))
    assert csv_points.detect(root) == ["toy_five"]
    write(root / "faces.csv", wide((["a.png"], flat(FACE)), names="12345"))
    assert csv_points.detect(root) == ["toy_five"]


@pytest.mark.parametrize("column", ["group", "person", "sequence", "video_id", "photo"])
def test_a_usual_column_says_what_faces_share_and_all_others_are_kept(root, column):
    head = ("image", column, "Camera No")
    write(root / "f.csv", wide((["a.png", "anna", "7"], flat(FACE)), (["b.png", "", ""], flat(OTHER)), head=head))
    faces = read(csv_points.read, root)
    assert (faces["a"].photo, faces["b"].photo) == ("anna", "b")
    assert faces["a"].attributes == {"image": "a.png", column: "anna", "camera_no": "7"}


def test_a_long_table_keeps_its_other_columns(root):
    rows = [("a.png", name, x, y, "anna") for name, (x, y) in zip(NAMES, FACE, strict=True)]
    write(root / "f.csv", long(*rows, head="image,point,x,y,who"))
    assert read(csv_points.read, root)["a"].attributes == {"image": "a.png", "who": "anna"}
