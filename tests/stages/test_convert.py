"""`facemix convert`: from whatever is there to folders that import reads again."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import toy
from facemix import config
from facemix.cli import main
from facemix.errors import FacemixError
from facemix.faces import formats, schemes
from facemix.stages.convert import convert
from facemix.training import predictions

PARAMS = Path(__file__).parents[2] / "params.yaml"
POINTS = np.round(20 * toy.template() + 31.5, 2)


def write_face(stem: Path, number: int, points: np.ndarray = POINTS) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(f"{stem}.jpg", np.full((64, 64, 3), 40 * number, np.uint8))
    rows = "\n".join(f"{x} {y}" for x, y in points + 1)
    Path(f"{stem}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an imported 300-W of four faces, of which two share a photograph; it is the working folder."""
    folder = tmp_path / "project"
    names = ["afw/134212_1", "afw/134212_2", "helen/testset/3_1", "ibug/image_003_1"]
    for number, name in enumerate(names, start=1):
        write_face(folder / "data/sources/real/300w" / name, number, POINTS + number)
    shutil.copyfile(PARAMS, folder / "params.yaml")
    config.update_params(
        folder / "params.yaml", {"sources.real": [{"name": "300w", "format": "300w"}], "sources.synthetic": [],
                                 "render.synthetic.n": 0, "render.stand_in.n": 0}
    )  # fmt: skip
    monkeypatch.chdir(folder)
    return folder


IBUG68, FIVE = schemes.ibug68(), schemes.load("five")


def read(name: str, folder: Path, scheme: schemes.Scheme = IBUG68) -> list:
    faces, broken = formats.read(name, folder, scheme=scheme)
    assert broken == []
    return faces


@pytest.mark.parametrize("to", ["coco", "csv", "pts"])
@pytest.mark.parametrize("link", [False, True])
def test_an_imported_set_is_read_again_with_its_points_splits_and_photographs(project, tmp_path, to, link):
    convert("300w", to, tmp_path / "out", link=link)
    before, after = read("300w", project / "data/sources/real/300w"), read(to, tmp_path / "out")
    for one, other in zip(before, after, strict=True):
        assert one.id == other.id and other.scheme.name == "ibug68"
        np.testing.assert_allclose(one.landmarks, other.landmarks, rtol=0, atol=1e-3)
        assert other.image.is_symlink() == link and other.image.read_bytes() == one.image.read_bytes()
    if to != "pts":
        assert [face.photo for face in after] == [face.photo for face in before]
        assert [face.split for face in after] == ["train", "train", "test", "challenging"]


def test_300w_reduced_to_five_is_a_set_of_five_points(project, tmp_path, capsys):
    convert("300w", "csv", tmp_path / "out", scheme="five")
    faces = read("csv", tmp_path / "out", FIVE)
    assert len(faces) == 4
    np.testing.assert_allclose(faces[0].landmarks[0], (POINTS[36:42] + 1).mean(axis=0), atol=1e-3)
    printed = capsys.readouterr().out
    assert "4 faces in 4 pictures, scheme five" in printed and "facemix import csv" in printed


def test_points_that_cannot_be_made_are_named(project, tmp_path, capsys):
    convert("300w", "coco", tmp_path / "out", scheme="aflw19")
    assert "unlabelled in every face: right_brow_middle, left_brow_middle\n" in capsys.readouterr().out
    with pytest.raises(FacemixError, match="2 points are unlabelled, which .pts cannot say"):
        convert("300w", "pts", tmp_path / "pts", scheme="aflw19")
    with pytest.raises(FacemixError, match="no face is left"):
        convert("300w", "pts", tmp_path / "pts", scheme="aflw19", skip_broken=True)
    assert not (tmp_path / "pts").exists()


def test_where_several_schemes_fit_a_folder_it_is_asked_which(tmp_path):
    (tmp_path / "points.json").write_text(json.dumps({
        "images": [], "categories": [],
        "annotations": [{"keypoints": [0] * 51, "face_kpts": [0] * 204}],
    }))  # fmt: skip
    with pytest.raises(FacemixError, match="coco17 and ibug68 fit its points; say which with --source-scheme NAME"):
        convert(str(tmp_path), "csv", tmp_path / "out", format="coco")


def test_faces_of_which_too_little_is_left_are_named(tmp_path):
    (tmp_path / "bodies").mkdir()
    assert cv2.imwrite(str(tmp_path / "bodies/a.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "bodies/points.csv").write_text(
        "image,nose_x,nose_y,left_hip_x,left_hip_y,right_eye_x,right_eye_y\na.png,20,10,30,50,,\na.png,22,12,30,50,9,9\n"
    )
    arguments = {"format": "csv", "source_scheme": "coco17", "scheme": "five"}
    with pytest.raises(FacemixError, match="a/0: 1 labelled points of the scheme five"):
        convert(str(tmp_path / "bodies"), "csv", tmp_path / "out", **arguments)
    convert(str(tmp_path / "bodies"), "csv", tmp_path / "out", skip_broken=True, **arguments)
    assert [face.id for face in read("csv", tmp_path / "out", FIVE)] == ["a/1"]


def test_the_offset_of_a_source_is_in_what_is_written(project, tmp_path):
    config.update_params(
        project / "params.yaml", {"sources.real": [{"name": "300w", "format": "300w", "offset": [-1, 2]}]}
    )
    convert("300w", "csv", tmp_path / "out")
    np.testing.assert_allclose(read("csv", tmp_path / "out")[0].landmarks, POINTS + 1 + [-1, 2], atol=1e-3)


def test_a_folder_needs_its_format(project, tmp_path, monkeypatch):
    folder = project / "data/sources/real/300w/afw"
    with pytest.raises(FacemixError, match="say what it holds with --format"):
        convert(str(folder), "csv", tmp_path / "out")
    monkeypatch.chdir(tmp_path)  # no params.yaml is needed
    convert(str(folder), "csv", tmp_path / "out", format="pts", source_scheme="ibug68")
    assert len(read("csv", tmp_path / "out")) == 2


def test_broken_faces_stop_it_or_are_left_out(project, tmp_path, capsys):
    (project / "data/sources/real/300w/afw/134212_1.pts").write_text("1 2\n")
    with pytest.raises(FacemixError, match="1 faces cannot be read or written, nothing was written(.|\n)*134212_1.pts"):
        convert("300w", "csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert("300w", "csv", tmp_path / "out", skip_broken=True)
    assert "1 faces are left out" in capsys.readouterr().out
    assert len(read("csv", tmp_path / "out")) == 3


def test_nothing_is_overwritten_and_nothing_is_left_half_written(project, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FacemixError, match="is there already"):
        convert("300w", "csv", tmp_path / "out")
    image = project / "data/sources/real/300w/afw/134212_1.jpg"
    image.write_bytes(b"no picture")
    with pytest.raises(FacemixError, match="134212_1.jpg: not an image whose size"):
        convert("300w", "coco", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new"))] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("300v", "csv"), r"300v: found no such source \(did you mean '300w'\?\)"),
        (("nowhere/else", "csv"), "found no such source; expected 300w, a folder"),
        (("300w", "yolo"), "--to yolo: expected one of coco, csv, pts"),
    ],
)
def test_what_is_not_there_is_named(project, tmp_path, arguments, message):
    with pytest.raises(FacemixError, match=message):
        convert(*arguments, tmp_path / "out")


def test_an_imported_set_has_its_scheme(project, tmp_path):
    with pytest.raises(FacemixError, match="has a scheme already"):
        convert("300w", "csv", tmp_path / "out", source_scheme="ibug68")


def predicted(project: Path, suffix: str) -> Path:
    """Two faces in one picture and one in another, as `facemix predict --out` writes them."""
    from facemix.faces.images import read_image
    from facemix.files import write_table
    from facemix.stages import predict
    from facemix.use.detector import Faces

    def faces(n: int) -> Faces:
        points, unknown = np.stack([POINTS + k for k in range(n)]), np.full((n, len(POINTS)), np.nan)
        boxes = np.tile([0, 0, 9, 9.0], (n, 1))
        return Faces(boxes=boxes, points=points, errors=unknown, visible=unknown, scores=np.full(n, 0.9))

    found = [
        predict.Predicted(image=Path(name), faces=faces(n))
        for name, n in (
            ("data/sources/real/300w/afw/134212_1.jpg", 2),
            ("data/sources/real/300w/helen/testset/3_1.jpg", 1),
        )
    ]
    assert all(read_image(one.image).any() for one in found)
    path = project / f"found{suffix}"
    if suffix == ".json":
        path.write_text(predict.as_json(found))
    else:
        write_table(path, predict.rows(found))
    return path


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_predictions_of_a_file_are_a_set_beside_their_pictures(project, tmp_path, suffix):
    convert(str(predicted(project, suffix)), "coco", tmp_path / "out")
    faces = read("coco", tmp_path / "out")
    assert [face.id for face in faces] == ["afw/134212_1/0", "afw/134212_1/1", "helen/testset/3_1"]
    for face, k in zip(faces, (0, 1, 0), strict=True):
        np.testing.assert_allclose(face.landmarks, POINTS + k, atol=1e-3)
        assert face.scheme.name == "ibug68" and (face.states == 2).all()


def test_predictions_that_cannot_be_read_are_refused(project, tmp_path):
    path = predicted(project, ".json")
    for content in ("{}", "[1]", "[]", '[{"image": "a.jpg"}]', '[{"image": "a.jpg", "landmarks": [[1, "x"]]}]', "no",
                    '[{"image": "a.jpg", "landmarks": [[1, 2], [3, NaN]]}]'):  # fmt: skip
        path.write_text(content)
        with pytest.raises(FacemixError, match="not what `facemix predict --out` writes"):
            convert(str(path), "csv", tmp_path / "out")
    path.write_text(json.dumps([{"image": "a.jpg", "landmarks": [[1, 2]] * 7}]))
    with pytest.raises(FacemixError, match="no known scheme has 7 points; say which with --source-scheme"):
        convert(str(path), "csv", tmp_path / "out")
    path.write_text(json.dumps([{"image": "a.jpg", "landmarks": [[1, 2]] * 68}]))
    with pytest.raises(FacemixError, match=r"picture a\.jpg: not found"):
        convert(str(path), "csv", tmp_path / "out")
    with pytest.raises(FacemixError, match=r"faces of 68 points, expected 5"):
        convert(str(path), "csv", tmp_path / "out", source_scheme="five")


def test_predictions_of_a_model_go_with_the_splits_that_they_judge_in(project, tmp_path):
    (project / "data/splits/real").mkdir(parents=True)
    (project / "data/splits/real/300w.yaml").write_text("validation: [afw/134212_1]\nexcluded: []\n")
    folder = project / "models/real_only/seed-0"
    folder.mkdir(parents=True)
    ids = np.array(["300w/afw/134212_1", "300w/helen/testset/3_1"])
    points = {level: np.stack([POINTS, POINTS + 5]).astype(np.float32) + level for level in (0.0, 0.1)}
    predictions.write(folder, predictions.Predictions(ids=ids, points=points))
    convert("models/real_only/seed-0", "csv", tmp_path / "out")
    faces = read("csv", tmp_path / "out")
    assert [(face.id, face.split) for face in faces] == list(zip(ids, ["validation", "test"], strict=True))
    np.testing.assert_allclose(faces[1].landmarks, POINTS + 5, atol=1e-3)
    predictions.write(folder, predictions.Predictions(ids=np.array(["300w/afw/9"] * 2), points=points))
    with pytest.raises(FacemixError, match="a face 300w/afw/9 that params.yaml's sources do not have"):
        convert("models/real_only/seed-0", "csv", tmp_path / "more")


def test_the_command_takes_what_the_page_says(project, tmp_path, capsys):
    main(["convert", "300w", str(tmp_path / "out"), "--to", "coco", "--scheme", "five", "--link"])
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == [
        "challenging.json",
        "test.json",
        "train.json",
    ]
    assert "facemix import coco" in capsys.readouterr().out
