import numpy as np
import pytest
from scipy.io import savemat

from facemix.faces.formats import lp
from faces.formats import toy_sets
from faces.formats.toy_sets import divided, face68, only, only_broken

MATLAB = face68(origin=1)


def write(root, name="AFW/AFW_134212_1_0", **content):
    toy_sets.image(root / f"{name}.jpg")
    savemat(root / f"{name}.mat", content or {"pt2d": MATLAB.T, "roi": np.array([[1, 2, 3, 4]])})


def test_points_are_1_based(tmp_path):
    write(tmp_path)
    face = only(lp.read(tmp_path, None))
    np.testing.assert_allclose(face.landmarks, MATLAB - 1, rtol=1e-6)
    assert (face.id, face.scheme.name, face.files[1].suffix) == ("AFW/AFW_134212_1_0", "ibug68", ".mat")


def test_68_points_in_space_win_over_21_in_the_picture(tmp_path):
    space = np.vstack([MATLAB.T, np.full(68, -3.0)])
    write(tmp_path, "image00002", pt3d_68=space, pt2d=np.full((2, 21), -1.0))
    np.testing.assert_allclose(only(lp.read(tmp_path, None)).landmarks, MATLAB - 1, rtol=1e-6)


def test_points_at_minus_one_are_unlabelled(tmp_path):
    points = MATLAB.copy()
    points[5] = -1
    write(tmp_path, pt2d=points.T)
    face = only(lp.read(tmp_path, None))
    assert np.flatnonzero(face.states == 0).tolist() == [5]
    assert np.isnan(face.landmarks[5]).all() and np.isfinite(np.delete(face.landmarks, 5, 0)).all()


def test_poses_and_faces_of_a_photograph_stand_together(tmp_path):
    names = ["HELEN/HELEN_123_1_0", "HELEN/HELEN_123_1_5", "HELEN/HELEN_123_2_0", "HELEN/HELEN_124_1_0"]
    for name in [
        *names,
        "LFPW/LFPW_image_test_0001_0",
        "LFPW/LFPW_image_test_0001_12",
        "IBUG/IBUG_image_003_1_4",
        "x_1",
    ]:
        write(tmp_path, name)
    faces, _ = divided(lp.read(tmp_path, None))
    assert {face.id: face.photo for face in faces} == {
        "HELEN/HELEN_123_1_0": "HELEN_123",
        "HELEN/HELEN_123_1_5": "HELEN_123",
        "HELEN/HELEN_123_2_0": "HELEN_123",
        "HELEN/HELEN_124_1_0": "HELEN_124",
        "LFPW/LFPW_image_test_0001_0": "LFPW_image_test_0001",
        "LFPW/LFPW_image_test_0001_12": "LFPW_image_test_0001",
        "IBUG/IBUG_image_003_1_4": "IBUG_image_003",
        "x_1": "x_1",
    }


@pytest.mark.parametrize("name", ["AFW_Flip/AFW_134212_1_0", "AFW/AFW_134212_1_0_Flip"])
def test_flipped_copies_are_left_out(tmp_path, name):
    write(tmp_path)
    write(tmp_path, name)
    assert only(lp.read(tmp_path, None)).id == "AFW/AFW_134212_1_0"


def test_other_mat_files_are_left_alone(tmp_path):
    write(tmp_path)
    for name in ("Code/Model_Shape.mat", "landmarks/AFW/AFW_134212_1_0_pts.mat"):
        toy_sets.text(tmp_path / name, "")
    only(lp.read(tmp_path, None))


@pytest.mark.parametrize(
    "content, reason",
    [
        ({"pt2d": np.ones((2, 21))}, "found pt2d (2, 21), expected pt3d_68 (3, 68) or pt2d (2, 68)"),
        ({"roi": np.ones(4)}, "found no points"),
        ({"pt2d": np.where(np.arange(68) == 3, 0, MATLAB.T)}, "point 3 is at (0, 0)"),
    ],
)
def test_files_without_the_points_of_a_face_are_refused(tmp_path, content, reason):
    write(tmp_path, **content)
    assert reason in only_broken(lp.read(tmp_path, None)).reason


@pytest.mark.parametrize(
    "content",
    [b"", b"no matlab", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"\x0e\0\0\0\xff\xff\0\0" + b"\1" * 9],
)
def test_a_damaged_file_is_reported(tmp_path, content):
    write(tmp_path)
    (tmp_path / "AFW/AFW_134212_1_0.mat").write_bytes(content)
    assert "not a .mat file" in only_broken(lp.read(tmp_path, None)).reason


def test_a_file_of_version_7_3_is_refused_by_name(tmp_path):
    write(tmp_path)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    (tmp_path / "AFW/AFW_134212_1_0.mat").write_bytes(header + b"\0" * 400)
    assert "version 7.3, expected version 5" in only_broken(lp.read(tmp_path, None)).reason
