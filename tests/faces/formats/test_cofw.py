import json

import h5py
import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import coco, cofw
from faces.formats import toy_sets
from faces.formats.toy_sets import circle, divided

COFW = toy_sets.numbered(29)
POINTS = circle(29)
IDS = {
    "images/train_0000": "train",
    "images/train_0001": "train",
    "images/test_0000": "test",
    "images/test_0001": "test",
}
OCCLUDED = np.arange(29) % 5 == 0


def content(suffix="Tr"):
    """One grey and one coloured picture of 20 x 32, as HDF5 states them: transposed, pictures behind references."""
    grey = np.arange(32 * 20, dtype=np.uint8).reshape(20, 32)
    colour = np.stack([grey, grey + 1, grey + 2], axis=-1)
    row = np.concatenate([POINTS[:, 0] + 1, POINTS[:, 1] + 1, OCCLUDED])
    return {
        f"Is{suffix}": np.array([["first", "second"]], dtype=object),
        f"phis{suffix}": np.stack([row, row], axis=1),
        f"bboxes{suffix}": np.array([[5.0, 5], [6, 6], [20, 20], [21, 21]]),
        "first": grey.T,
        "second": colour.T,
    }


def test_extracted_faces_are_read_as_coco_with_hidden_points(tmp_path):
    cofw.write(content(), "COFW_train_color.mat", tmp_path, COFW)
    cofw.write(content("T"), "COFW_test_color.mat", tmp_path, COFW)
    faces, broken = divided(coco.read(tmp_path, COFW))
    assert broken == []
    assert {face.id: face.split for face in faces} == IDS
    np.testing.assert_allclose(faces[0].landmarks, POINTS, rtol=1e-5)
    assert faces[0].states.tolist() == np.where(OCCLUDED, 1, 2).tolist()


def test_pictures_keep_their_shape_and_colours(tmp_path):
    import cv2

    cofw.write(content(), "COFW_train_color.mat", tmp_path, COFW)
    grey = cv2.imread(str(tmp_path / "images/train_0000.png"), cv2.IMREAD_UNCHANGED)
    colour = cv2.imread(str(tmp_path / "images/train_0001.png"))[..., ::-1]
    np.testing.assert_array_equal(grey, content()["first"].T)
    np.testing.assert_array_equal(colour, content()["second"].T)


def test_boxes_are_0_based(tmp_path):
    cofw.write(content(), "COFW_train_color.mat", tmp_path, COFW)
    stated = json.loads((tmp_path / "train.json").read_text())
    assert stated["annotations"][0]["bbox"] == [4, 5, 20, 21]


def test_arrays_of_other_shapes_are_refused(tmp_path):
    wrong = content() | {"phisTr": np.zeros((86, 2))}
    with pytest.raises(ValueError, match="points .2, 86."):
        cofw.write(wrong, "COFW_train_color.mat", tmp_path, COFW)


def test_without_the_package_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(FacemixError, match="install it by `pip install -c constraints.txt -e '..formats.'`"):
        cofw.extract(tmp_path, tmp_path / "out")


def write_hdf5(path, made):
    suffix = "Tr" if "train" in path.name else "T"
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name in ("first", "second", f"phis{suffix}", f"bboxes{suffix}"):
            file[name] = made[name]
        references = file.create_dataset(f"Is{suffix}", (1, 2), dtype=h5py.ref_dtype)
        references[0] = [file["first"].ref, file["second"].ref]


def test_real_files_of_hdf5_are_read(tmp_path):
    write_hdf5(tmp_path / "COFW_train_color.mat", content())
    write_hdf5(tmp_path / "below/COFW_test_color.mat", content("T"))
    assert cofw.extract(tmp_path, tmp_path / "out") == []
    faces, _ = divided(coco.read(tmp_path / "out", None))
    assert {face.id: face.split for face in faces} == IDS
    assert {face.scheme.name for face in faces} == {"cofw29"}
    np.testing.assert_allclose(faces[0].landmarks, POINTS, rtol=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file"),
        lambda path: path.write_bytes(path.read_bytes()[:600]),
        lambda path: write_hdf5(path, content() | {"phisTr": np.zeros((86, 2))}),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "COFW_train_color.mat"
    write_hdf5(path, content())
    damage(path)
    with pytest.raises(FacemixError, match="COFW_train_color.mat: not COFW's file, or damaged .*; download it again"):
        cofw.extract(tmp_path, tmp_path / "out")


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(FacemixError, match="no COFW_train_color.mat or COFW_test_color.mat; check the path"):
        cofw.extract(tmp_path, tmp_path / "out")
