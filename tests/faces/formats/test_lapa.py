import numpy as np
import pytest

from facemix.faces.formats import lapa
from faces.formats import toy_sets
from faces.formats.toy_sets import circle, divided, only, only_broken

POINTS = circle(106)


@pytest.fixture(autouse=True)
def lapa106(monkeypatch):
    """The reader is tested, not the built-in scheme."""
    monkeypatch.setattr("facemix.faces.schemes.load", lambda name: toy_sets.numbered({"lapa106": 106}[name]))


def write(root, name, points=POINTS, count="106\n", folders=("images", "landmarks"), suffix=".txt"):
    toy_sets.image(root / folders[0] / f"{name}.jpg")
    rows = "".join(f"{x} {y}\n" for x, y in points)
    toy_sets.text(root / folders[1] / f"{name}{suffix}", count + rows)


def test_folders_are_the_official_splits(tmp_path):
    for folder in ("train", "val", "test"):
        write(tmp_path / "LaPa" / folder, "a")
    faces, broken = divided(lapa.read(tmp_path, None))
    assert broken == []
    assert {face.id: face.split for face in faces} == {
        "LaPa/train/images/a": "train",
        "LaPa/val/images/a": "validation",
        "LaPa/test/images/a": "test",
    }
    np.testing.assert_allclose(faces[0].landmarks, POINTS, rtol=1e-6)


def test_a_folder_alone_has_no_split(tmp_path):
    write(tmp_path, "a")
    assert only(lapa.read(tmp_path, None)).split == ""


def test_jd_landmark_names_its_files_after_the_images(tmp_path):
    write(tmp_path, "AFW_1051618982_1_0", folders=("picture", "landmark"), suffix=".jpg.txt")
    write(tmp_path, "AFW_1051618982_2_0", folders=("picture", "landmark"), suffix=".jpg.txt")
    faces, broken = divided(lapa.read(tmp_path, None))
    assert broken == []
    assert {face.photo for face in faces} == {"AFW_1051618982"}


def test_faces_of_one_photograph_share_it_also_across_splits(tmp_path):
    write(tmp_path / "train", "13602254084_0")
    write(tmp_path / "test", "13602254084_5")
    write(tmp_path / "train", "13602254085_0")
    write(tmp_path / "train", "img_3")
    faces, _ = divided(lapa.read(tmp_path, None))
    assert sorted({face.photo for face in faces}) == ["13602254084", "13602254085", "train/images/img_3"]


def test_days_of_a_camera_are_not_taken_for_photographs(tmp_path):
    for i in range(8):
        write(tmp_path, f"20260101_{i:02d}")
    assert len({face.photo for face in divided(lapa.read(tmp_path, None))[0]}) == 8


@pytest.mark.parametrize(
    "count, points, reason", [("105\n", POINTS, "first line says 105"), ("", POINTS[:105], "105 points")]
)
def test_another_number_of_points_is_refused(tmp_path, count, points, reason):
    write(tmp_path, "a", points, count)
    assert reason in only_broken(lapa.read(tmp_path, None)).reason


def test_images_and_points_alone_are_reported(tmp_path):
    for name in ("whole", "no_image", "no_points"):
        write(tmp_path, name)
    (tmp_path / "images/no_image.jpg").unlink()
    (tmp_path / "landmarks/no_points.txt").unlink()
    faces, broken = divided(lapa.read(tmp_path, None))
    assert [face.id for face in faces] == ["images/whole"]
    assert [error.path.name for error in broken] == ["no_image.txt", "no_points.jpg"]
