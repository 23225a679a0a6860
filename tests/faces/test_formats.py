import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import toy
from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, VISIBLE, BrokenFace, Face
from facemix.faces.formats import ARCHIVES, FORMATS, OFFICIAL_300W, check, read
from facemix.faces.splits import assign
from toy_five import FIVE

# 68 distinct points of a face of 47 px within a 64 px image, exact in both file formats.
POINTS = np.round(4 * (24.75 * (toy.template() - [0, 0.22]) + 31.5)) / 4
READERS = ("300w", "dgfaces_v1", "dgfaces_v2", "facesynthetics")


def write_image(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((64, 64, 3), colour, np.uint8))
    return path


def write_rows(path: Path, points, header: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x} {y}" for x, y in points)
    path.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n" if header else rows + "\n")
    return path


def write_300w(
    root: Path, name: str, points=POINTS, suffix: str = ".jpg", header: bool = True, colour: int = 0
) -> None:
    """A face as in 300-W: `points` are 0-based, the file 1-based."""
    write_image(root / (name + suffix), colour)
    write_rows(root / f"{name}.pts", np.asarray(points) + 1, header)


def write_facesynthetics(root: Path, name: str, points=POINTS, suffix: str = ".png") -> None:
    write_image(root / (name + suffix))
    write_rows(root / f"{name}_ldmks.txt", points)


def only(kind: str, root: Path) -> Face:
    faces, broken = read(kind, root)
    assert not broken
    (face,) = faces
    return face


def only_broken(kind: str, root: Path) -> BrokenFace:
    faces, broken = read(kind, root)
    assert not faces
    (one,) = broken
    return one


def ids(kind: str, root: Path) -> list[str]:
    faces, broken = read(kind, root)
    assert not broken
    return [face.id for face in faces]


def test_every_format_has_a_role():
    assert {name: FORMATS[name].role for name in READERS} == dict.fromkeys(READERS, "synthetic") | {"300w": "real"}


# 300-W


@pytest.mark.parametrize("header", [True, False])
def test_pts_are_1_based_with_or_without_header(tmp_path, header):
    write_300w(tmp_path, "lfpw/trainset/image_0001", header=header, suffix=".png")
    face = only("300w", tmp_path)
    assert face.landmarks.dtype == np.float32
    np.testing.assert_allclose(face.landmarks, POINTS)
    assert face.id == "lfpw/trainset/image_0001"
    assert face.subset == "lfpw/trainset"
    assert face.files == (face.image, tmp_path / "lfpw/trainset/image_0001.pts")


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".JPG"])
def test_300w_image_suffixes(tmp_path, suffix):
    write_300w(tmp_path, "ibug/image_003_1", suffix=suffix)
    assert only("300w", tmp_path).image == tmp_path / f"ibug/image_003_1{suffix}"


def test_300w_reads_all_official_subsets_sorted(tmp_path):
    for subset in OFFICIAL_300W:
        write_300w(tmp_path, f"{subset}/b")
        write_300w(tmp_path, f"{subset}/a")
    assert ids("300w", tmp_path) == sorted(f"{subset}/{name}" for subset in OFFICIAL_300W for name in "ab")
    assert sum(OFFICIAL_300W.values()) == 3148 + 554 + 135


def test_faces_of_one_photo_share_it_also_across_train_and_test(tmp_path):
    names = ["afw/1051618982_1", "afw/1051618982_2", "helen/trainset/296814969_2", "helen/testset/296814969_3"]
    for name in [*names, "lfpw/trainset/image_0001", "lfpw/testset/image_0001", "ibug/image_003_1"]:
        write_300w(tmp_path, name)
    faces, _ = read("300w", tmp_path)
    assert {face.id: face.photo for face in faces} == {
        "afw/1051618982_1": "afw/1051618982",
        "afw/1051618982_2": "afw/1051618982",
        "helen/trainset/296814969_2": "helen/296814969",
        "helen/testset/296814969_3": "helen/296814969",
        "lfpw/trainset/image_0001": "lfpw/trainset/image_0001",
        "lfpw/testset/image_0001": "lfpw/testset/image_0001",
        "ibug/image_003_1": "ibug/image_003",
    }


def test_mirrored_copies_are_left_out(tmp_path):
    write_300w(tmp_path, "afw/1_1")
    write_300w(tmp_path, "afw/1_1_mirror")
    assert ids("300w", tmp_path) == ["afw/1_1"]


def test_coinciding_points_are_valid(tmp_path):
    closed_mouth = POINTS.copy()
    closed_mouth[[61, 62, 63]] = closed_mouth[[67, 66, 65]]
    write_300w(tmp_path, "afw/1_1", closed_mouth)
    np.testing.assert_allclose(only("300w", tmp_path).landmarks, closed_mouth)


@pytest.mark.parametrize(
    "points, reason",
    [
        (POINTS[:67], "67 points, expected 68"),
        (np.concatenate([POINTS, POINTS[:1]]), "69 points, expected 68"),
        (np.zeros((0, 2)), "0 points, expected 68"),
        (np.where(np.arange(136).reshape(68, 2) == 7, np.nan, POINTS), r"point 3 is \[.*nan\], expected finite"),
        (np.where(np.arange(136).reshape(68, 2) == 7, np.inf, POINTS), "expected finite"),
        (
            np.where(np.arange(136).reshape(68, 2) == 7, 1e39, POINTS),
            r"point 3, \[.*\], lies far from all other points",
        ),
        (
            np.where(np.arange(136).reshape(68, 2) == 7, 1000.0, POINTS),
            r"point 3, \[.*1001.0\], lies far from all other points",
        ),
        (np.full((68, 2), 5.0), r"points 0, 1, .* and 60 more are all at \(6, 6\)"),
        (POINTS * [1, 0] + [0, 5], "one line|all at"),
        (np.where(np.arange(68)[:, None] == 36, POINTS[45], POINTS), "points 36, 45 are all at"),
    ],
)
def test_points_that_are_no_face(tmp_path, points, reason):
    write_300w(tmp_path, "afw/1_1", points)
    with pytest.raises(BrokenFace, match=reason):
        raise only_broken("300w", tmp_path)


@pytest.mark.parametrize("line", ["12.0 twelve", "1 2 3", "1"])
def test_text_among_the_points(tmp_path, line):
    write_300w(tmp_path, "afw/1_1")
    path = tmp_path / "afw/1_1.pts"
    path.write_text(path.read_text().replace("}", f"{line}\n}}"))
    with pytest.raises(BrokenFace, match=f"found '{line}', expected a point 'x y'"):
        raise only_broken("300w", tmp_path)


@pytest.mark.parametrize("content, reason", [(b"", "0 points"), (b"\xff\xd8\xff\xe0", "not a text file")])
def test_pts_that_is_empty_or_binary(tmp_path, content, reason):
    write_300w(tmp_path, "afw/1_1")
    (tmp_path / "afw/1_1.pts").write_bytes(content)
    with pytest.raises(BrokenFace, match=reason):
        raise only_broken("300w", tmp_path)


def test_300w_incomplete_and_doubled_faces_are_all_reported_and_the_rest_read(tmp_path):
    for name in ("whole", "no_image", "no_points", "doubled", "twice"):
        write_300w(tmp_path, f"afw/{name}")
    shutil.copy(tmp_path / "afw/twice.pts", tmp_path / "afw/twice.PTS")
    (tmp_path / "afw/no_image.jpg").unlink()
    (tmp_path / "afw/no_points.pts").unlink()
    write_image(tmp_path / "afw/doubled.png")
    faces, broken = read("300w", tmp_path)
    assert [face.id for face in faces] == ["afw/whole"]
    reasons = {error.path.name: error.reason for error in broken}
    assert reasons.keys() == {"no_image.pts", "no_points.jpg", "doubled.png", "twice.pts"}
    assert "found twice.PTS and twice.pts, expected one file of points" in reasons["twice.pts"]
    assert "no no_image.jpg or no_image.png" in reasons["no_image.pts"]
    assert "no no_points.pts" in reasons["no_points.jpg"]
    assert "same face twice" in reasons["doubled.png"]


# FaceSynthetics


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_facesynthetics_is_0_based_and_pupils_are_dropped(tmp_path, suffix):
    write_facesynthetics(tmp_path, "000000", np.concatenate([POINTS, [[20, 20], [40, 20]]]), suffix)
    face = only("facesynthetics", tmp_path)
    np.testing.assert_allclose(face.landmarks, POINTS)
    assert (face.id, face.subset, face.photo) == ("000000", "", "000000")


@pytest.mark.parametrize("place", [0, -1])
def test_facesynthetics_with_missing_points_is_refused(tmp_path, place):
    write_facesynthetics(tmp_path, "000000", np.where(np.arange(68)[:, None] < 5, place, POINTS))
    with pytest.raises(BrokenFace, match=f"points 0, 1, 2, 3, 4 are at .{place}, {place}., which stands for a hidden"):
        raise only_broken("facesynthetics", tmp_path)


def test_facesynthetics_leaves_other_files_alone(tmp_path):
    write_facesynthetics(tmp_path, "000000")
    write_image(tmp_path / "000000_seg.png")
    write_image(tmp_path / "overview.png")
    for name in ("README.md", "faces.jsonl"):
        (tmp_path / name).write_text("{}")
    assert ids("facesynthetics", tmp_path) == ["000000"]


def write_persons(root: Path, persons: dict[str, object]) -> None:
    """The table of a rendered set: who is on which picture."""
    columns = {"file": [f"{name}.png" for name in persons], "person": list(persons.values())}
    parquet.write_table(pyarrow.table(columns), root / "faces.parquet")


def test_rendered_faces_of_one_person_count_as_one_photograph(tmp_path):
    for number in range(5):
        write_facesynthetics(tmp_path, f"{number:06d}", POINTS + number)
    (photos,) = {tuple(face.photo for face in read("facesynthetics", tmp_path)[0])}
    assert len(set(photos)) == 5
    write_persons(tmp_path, {f"{number:06d}": number // 2 for number in range(6)})  # of a set cut short
    faces, broken = read("facesynthetics", tmp_path)
    assert [face.photo for face in faces] == ["0", "0", "1", "1", "2"]
    assert not broken
    assert {face.attributes["person"] for face in read("facesynthetics", tmp_path, "column:person")[0]} == {*"012"}
    assert all(tmp_path / "faces.parquet" in face.files for face in faces)  # an import takes it along
    splits = assign(faces, None)
    assert splits[0] == splits[1]
    assert splits[2] == splits[3]


def test_points_that_a_render_does_not_show_are_hidden(tmp_path):
    for name in ("000000", "000001"):
        write_facesynthetics(tmp_path, name)
    seen = [[True] * 68, [False] * 17 + [True] * 51]
    columns = {"file": ["000000.png", "000001.png"], "visible": seen}
    parquet.write_table(pyarrow.table(columns), tmp_path / "faces.parquet")
    faces, broken = read("facesynthetics", tmp_path)
    assert not broken
    assert [(face.states == VISIBLE).tolist() for face in faces] == seen
    assert set(np.unique([face.states for face in faces])) == {HIDDEN, VISIBLE}
    assert all(np.isfinite(face.landmarks).all() for face in faces)  # hidden points are labelled
    parquet.write_table(pyarrow.table({"file": ["000000.png"], "visible": [[True] * 5]}), tmp_path / "faces.parquet")
    (tmp_path / "000001.png").unlink()
    (tmp_path / "000001_ldmks.txt").unlink()
    with pytest.raises(BrokenFace, match=r"faces\.parquet: says of 5 points of 000000 .* expected the 68 of ibug68"):
        raise only_broken("facesynthetics", tmp_path)


def test_a_table_of_rendered_faces_without_persons_says_nothing(tmp_path):
    write_facesynthetics(tmp_path, "000000")
    parquet.write_table(pyarrow.table({"index": [0], "file": ["000000.png"]}), tmp_path / "faces.parquet")
    face = only("facesynthetics", tmp_path)
    assert (face.photo, face.attributes) == ("000000", {})
    assert face.files == (tmp_path / "000000.png", tmp_path / "000000_ldmks.txt")


def test_a_damaged_table_of_rendered_faces_is_named(tmp_path):
    write_facesynthetics(tmp_path, "000000")
    table = tmp_path / "faces.parquet"
    write_persons(tmp_path, {"000000": 0})
    halved = table.read_bytes()[: table.stat().st_size // 2]
    for content in (b"", b"no table", halved):
        table.write_bytes(content)
        with pytest.raises(FacemixError, match=r"faces\.parquet: damaged \(.*restore it, or render the set again"):
            read("facesynthetics", tmp_path)
    parquet.write_table(pyarrow.table({"person": [0]}), table)
    with pytest.raises(FacemixError, match=r"faces\.parquet: damaged \(.*file"):
        read("facesynthetics", tmp_path)
    parquet.write_table(pyarrow.table({"file": ["000000.png"] * 2, "person": [0, 1]}), table)
    with pytest.raises(FacemixError, match=r"faces\.parquet: found the face 000000 twice, expected a row a face"):
        read("facesynthetics", tmp_path)
    for persons in ({"000001": 1}, {"000000": None}):
        write_persons(tmp_path, persons)
        with pytest.raises(BrokenFace, match=r"000000_ldmks\.txt: faces\.parquet does not say who this is; render"):
            raise only_broken("facesynthetics", tmp_path)


def test_facesynthetics_incomplete_and_doubled_faces_are_all_reported(tmp_path):
    for name in ("000000", "000001", "000002", "000003", "000004"):
        write_facesynthetics(tmp_path, name)
    (tmp_path / "000001.png").unlink()
    (tmp_path / "000002_ldmks.txt").unlink()
    write_image(tmp_path / "000003.jpg")
    write_rows(tmp_path / "000004_ldmks.txt", POINTS[:67])
    faces, broken = read("facesynthetics", tmp_path)
    assert [face.id for face in faces] == ["000000"]
    assert [error.path.name for error in broken] == [
        "000001_ldmks.txt",
        "000002.png",
        "000003.png",
        "000004_ldmks.txt",
    ]


# DGFaces: the camera looks along +z from the origin, so X / Z * focal + centre is the image.

FOCAL, CENTRE, DEPTH = 100.0, 32.0, 2.0
SCENE = np.concatenate([(POINTS + 0.5 - CENTRE) / FOCAL * DEPTH, np.full((68, 1), DEPTH)], axis=1)
CORNER_BASED = POINTS + 0.5


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_camera(folder: Path) -> None:
    extrinsic = np.eye(3, 4).tolist()
    intrinsic = [[FOCAL, 0, CENTRE], [0, FOCAL, CENTRE], [0, 0, 1]]
    write_json(folder / "camera_metadata.json", {"intrinsic_matrix": intrinsic, "extrinsic_matrix": extrinsic})
    write_image(folder / "visible_spectrum_01.png")


def write_v1(
    root: Path, name: str = "environment_00001", stated=CORNER_BASED[:, ::-1], identity: str | None = "anna"
) -> None:
    camera = root / name / "camera_1"
    write_camera(camera)
    content = {
        "keypoints_3d_coordinates": {str(i + 1): row for i, row in enumerate(SCENE.tolist())},
        "keypoints_2d_coordinates": {str(i + 1): row for i, row in enumerate(np.rint(stated).tolist())},
        "is_visible": {str(i + 1): True for i in range(68)},
    }
    write_json(camera / "standard_keypoints.json", content)
    if identity:
        write_json(root / name / "actor_metadata.json", {"identity_id": identity})


def write_v2(
    root: Path, name: str = "datapoint_00001", stated=CORNER_BASED[:, ::-1], identity: str | None = "anna"
) -> None:
    camera = root / name / "camera"
    write_camera(camera)
    keypoints = {
        f"{i + 1:02d}": {
            "global_3d": dict(zip("xyz", SCENE[i].tolist(), strict=True)),
            "pixel_2d": dict(zip("xy", stated[i].tolist(), strict=True)),
            "is_visible": "true",
        }
        for i in range(68)
    }
    write_json(camera / "key_points/face_standard_key_points.json", {"face": {"standard": keypoints}})
    if identity:
        write_json(root / name / "actor_metadata.json", {"identity_id": identity})


DGFACES = pytest.mark.parametrize("kind, write", [("dgfaces_v1", write_v1), ("dgfaces_v2", write_v2)])


@DGFACES
def test_dgfaces_points_are_sub_pixel_x_y_at_pixel_centres(tmp_path, kind, write):
    write(tmp_path)
    face = only(kind, tmp_path)
    np.testing.assert_allclose(face.landmarks, POINTS, atol=1e-5)
    assert face.image.name == "visible_spectrum_01.png"
    assert all(path.exists() for path in face.files)


@DGFACES
def test_dgfaces_groups_by_identity_else_by_folder(tmp_path, kind, write):
    scene = "environment" if kind == "dgfaces_v1" else "datapoint"
    write(tmp_path, f"{scene}_1", identity="anna")
    write(tmp_path, f"{scene}_2", identity="anna")
    write(tmp_path, f"{scene}_3", identity=None)
    assert [face.photo for face in read(kind, tmp_path)[0]] == ["anna", "anna", f"{scene}_3"]


@DGFACES
def test_dgfaces_renders_of_one_camera_are_faces_of_their_own(tmp_path, kind, write):
    write(tmp_path)
    camera = only(kind, tmp_path).image.parent
    write_image(camera / "visible_spectrum_02.png")
    assert [Path(name).name for name in ids(kind, tmp_path)] == ["visible_spectrum_01", "visible_spectrum_02"]


@DGFACES
def test_dgfaces_swapped_rows_and_columns_disagree_with_the_camera(tmp_path, kind, write):
    write(tmp_path, stated=CORNER_BASED)
    with pytest.raises(BrokenFace, match="the camera sees it at"):
        raise only_broken(kind, tmp_path)


@DGFACES
@pytest.mark.parametrize("off, agrees", [(0.9, True), (2.1, False)])
def test_dgfaces_stated_points_may_be_off_by_a_pixel(tmp_path, kind, write, off, agrees):
    write(tmp_path, stated=CORNER_BASED[:, ::-1] + np.eye(68, 2) * off)
    faces, broken = read(kind, tmp_path)
    assert (len(faces), len(broken)) == ((1, 0) if agrees else (0, 1))


@DGFACES
@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda text: text[:-20], "not JSON of the expected form"),
        (lambda text: text.replace('"68"', '"69"'), "the key '68' is missing"),
        (lambda text: text.replace(" 2.0", ' "far"'), "not JSON of the expected form"),
        (lambda text: text.replace(" 2.0", " NaN"), "camera sees it at"),
        (lambda _: "[]", "not JSON of the expected form"),
    ],
)
def test_dgfaces_damaged_keypoints(tmp_path, kind, write, damage, reason):
    write(tmp_path)
    path = only(kind, tmp_path).files[1]
    path.write_text(damage(path.read_text()))
    with pytest.raises(BrokenFace, match=reason) as error:
        raise only_broken(kind, tmp_path)
    assert error.value.path == path


@DGFACES
@pytest.mark.parametrize("missing", ["visible_spectrum_01.png", "camera_metadata.json", "keypoints"])
def test_dgfaces_missing_file(tmp_path, kind, write, missing):
    write(tmp_path)
    face = only(kind, tmp_path)
    (face.files[1] if missing == "keypoints" else face.image.with_name(missing)).unlink()
    assert only_broken(kind, tmp_path)


@DGFACES
def test_dgfaces_scene_without_camera(tmp_path, kind, write):
    write(tmp_path)
    (tmp_path / only(kind, tmp_path).id.replace("_00001", "_00002")).parents[1].mkdir()
    assert [error.path.name[-5:] for error in read(kind, tmp_path)[1]] == ["00002"]


# What operating systems leave in folders


def litter(folder: Path) -> None:
    """A companion in macOS's AppleDouble to every file, and others' leavings, in every folder."""
    for path in sorted(folder.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    for place in [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir())]:
        (place / ".DS_Store").write_bytes(b"\x00Bud1")
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf")
    for left in ("__MACOSX", "@eaDir"):
        shutil.copytree(folder, folder / left, ignore=lambda *_: ["__MACOSX", "@eaDir"])


@pytest.mark.parametrize("kind", READERS)
def test_hidden_files_are_passed_over(tmp_path, kind):
    write_300w(tmp_path, "afw/1_1")
    write_v1(tmp_path)
    write_v2(tmp_path)
    write_facesynthetics(tmp_path, "000000")
    litter(tmp_path)
    face = only(kind, tmp_path)
    parts = [part for file in face.files for part in file.relative_to(tmp_path).parts]
    assert not any(part.startswith((".", "__", "@")) for part in parts)


def test_a_folder_of_hidden_files_is_empty(tmp_path):
    litter(tmp_path)
    with pytest.raises(ValueError, match="the folder is empty"):
        read("300w", tmp_path)


# Folders that are not what was said


@pytest.mark.parametrize("kind", READERS)
def test_missing_folder(tmp_path, kind):
    with pytest.raises(ValueError, match=r"nowhere: no such folder, expected .*check the path"):
        read(kind, tmp_path / "nowhere")


@pytest.mark.parametrize("kind", READERS)
def test_empty_folder(tmp_path, kind):
    with pytest.raises(ValueError, match=f"no faces in the format {kind}, expected .*the folder is empty"):
        read(kind, tmp_path)


def test_the_documentation_has_every_format():
    page = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page[page.index("### The formats") :], re.MULTILINE)
    listed = [name for row in rows for name in re.findall("`([^`]+)`", row)]
    assert sorted({*FORMATS, *ARCHIVES} - set(listed)) == []


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "a.pts").write_text("1 2")
    with pytest.raises(ValueError, match=f"a.pts: found a file, expected a folder .* use the path {tmp_path}"):
        read("pts", tmp_path / "a.pts")


def test_folder_of_another_format_is_recognised(tmp_path):
    write_300w(tmp_path / "300w", "afw/1_1")
    write_v1(tmp_path / "dgfaces_v1")
    write_v2(tmp_path / "dgfaces_v2")
    write_facesynthetics(tmp_path / "facesynthetics", "000000")
    for held in READERS:
        for asked in set(READERS) - {held}:
            with pytest.raises(ValueError, match=f"use the format {held}"):
                read(asked, tmp_path / held)


@pytest.mark.parametrize("given", [".", "ibug_300W/helen", "ibug_300W/helen/trainset"])
def test_folder_above_or_below_is_named(tmp_path, given):
    write_300w(tmp_path / "ibug_300W", "helen/trainset/1_1")
    with pytest.raises(ValueError, match=r"ibug_300W does: use that path"):
        read("300w", tmp_path / given)


def test_images_without_any_points_are_no_format(tmp_path):
    write_image(tmp_path / "afw/000000.png")
    write_image(tmp_path / "000000.png")
    for kind in READERS:
        with pytest.raises(ValueError, match="check the path and the format"):
            read(kind, tmp_path)


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'w300', expected one of 300w, "):
        read("w300", tmp_path)


# What only decoding finds


def test_whole_faces_pass(tmp_path):
    write_300w(tmp_path, "afw/1_1", colour=1)
    write_300w(tmp_path, "afw/1_2", colour=2)
    assert check(read("300w", tmp_path)[0]) == []


def test_check_reports_every_unreadable_image(tmp_path):
    for name in ("cut", "empty", "text", "whole"):
        write_300w(tmp_path, f"afw/{name}")
    cut = tmp_path / "afw/cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    (tmp_path / "afw/empty.jpg").write_bytes(b"")
    (tmp_path / "afw/text.jpg").write_text("hello")
    broken = check(read("300w", tmp_path)[0])
    assert [error.path.stem for error in broken] == ["cut", "empty", "text"]


@pytest.mark.parametrize("beyond, count", [(40.0, 0), (60.0, 1)])  # the landmark box is 47 px
@pytest.mark.parametrize("direction", [[1, 0], [0, 1], [-1, 0], [0, -1]])
def test_points_may_lie_outside_but_not_far(tmp_path, beyond, count, direction):
    low, high = POINTS.min(axis=0), POINTS.max(axis=0)
    to_border = np.where(np.array(direction) > 0, 63 - high, low)
    write_facesynthetics(tmp_path, "000000", POINTS + np.array(direction) * (to_border + beyond))
    broken = check(read("facesynthetics", tmp_path)[0])
    assert len(broken) == count
    assert all("60 px outside the image of 64 x 64" in error.reason for error in broken)


def of_five(root: Path, points) -> Face:
    image = write_image(root / "five.png")
    states = np.where(np.isnan(points[:, 0]), 0, 2).astype(np.uint8)
    return Face(id="a", subset="", photo="a", image=image, landmarks=points, states=states, scheme=FIVE, files=(image,))


def test_one_point_farther_outside_than_the_picture_is_large_is_refused_whatever_is_unlabelled(tmp_path):
    face = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], dtype=np.float32)
    assert check([of_five(tmp_path, face)]) == []
    for unlabelled in ([], [0]):
        far = face.copy()
        far[unlabelled], far[3] = np.nan, (22, 500)
        (error,) = check([of_five(tmp_path, far)])
        assert (
            "point 3 lies 437 px outside the image of 64 x 64, expected at most the side of the image" in error.reason
        )


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpegs_damaged_in_their_middle_are_refused(tmp_path, options):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG", **options)
    data = file.getvalue()
    middle = data.index(b"\xff\xda") + (len(data) - data.index(b"\xff\xda")) // 2
    for name, content in (("damaged", data[:middle] + data[middle + 10 :]), ("whole", data)):
        write_300w(tmp_path, f"afw/{name}")
        (tmp_path / f"afw/{name}.jpg").write_bytes(content)
    (error,) = check(read("300w", tmp_path)[0])
    assert error.path.stem == "damaged" and error.reason.endswith("copy the file again")


def test_the_same_face_twice_is_found_by_content(tmp_path):
    write_facesynthetics(tmp_path, "000000")
    write_facesynthetics(tmp_path, "000001")  # the same
    write_facesynthetics(tmp_path, "000002", POINTS + 1)  # another face of the same photo
    (error,) = check(read("facesynthetics", tmp_path)[0])
    assert error.path.name == "000001.png"
    assert "000000.png" in error.reason


# The real thing


@pytest.mark.real_data
@pytest.mark.parametrize(
    "kind, folder, count",
    [
        ("300w", "300w", 2566),
        ("dgfaces_v1", "synthetic/dgfaces_v1", 100),
        ("dgfaces_v2", "synthetic/dgfaces_v2", 100),
        ("facesynthetics", "synthetic/facesynthetics", 100),
        ("facesynthetics", "synthetic/open", 1102),
    ],
)
def test_real_sets_are_whole(shared_data, kind, folder, count):
    # DGFaces' stated points are compared with their projection by the reader itself.
    faces, broken = read(kind, shared_data / folder)
    assert [str(error) for error in broken] == []
    assert len(faces) == count
    assert broken + check(faces) == []


@pytest.mark.real_data
def test_real_300w_subsets(shared_data):
    faces, _ = read("300w", shared_data / "300w")
    counts = {subset: sum(face.subset == subset for face in faces) for subset in OFFICIAL_300W}
    assert counts == {**OFFICIAL_300W, "helen/trainset": 870, "lfpw/trainset": 805, "ibug": 0}
    assert sum(len(np.unique(face.landmarks, axis=0)) < 68 for face in faces) == 1234


@pytest.mark.real_data
def test_real_dgfaces_v2_states_its_projection_to_the_last_digit(shared_data):
    for face in read("dgfaces_v2", shared_data / "synthetic/dgfaces_v2")[0]:
        keypoints = json.loads(face.files[1].read_text())["face"]["standard"]
        stated = [[keypoints[f"{i + 1:02d}"]["pixel_2d"][axis] for axis in "yx"] for i in range(68)]
        np.testing.assert_allclose(face.landmarks, np.array(stated) - 0.5, atol=1e-4)
