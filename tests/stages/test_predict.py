"""`facemix predict`, with a tiny network of random weights."""

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facemix import cli
from facemix.faces import geometry
from facemix.faces.drawing import BOX, POINT
from facemix.faces.images import read_image
from facemix.faces.schemes import ibug68
from facemix.finding import finders
from facemix.finding.found import Found
from facemix.stages import predict as stage
from facemix.training.adaptation import LabelAdapter
from facemix.training.frame import Frame
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet

SIZE, CONTEXT = 48, 1.2
MIDDLE = "60,50,140,130"
FRAME = {"down": 0.1, "scale": 0.9}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    torch.manual_seed(0)
    network, adapter = LandmarkNet(ibug68(), "test_efficientnet", SIZE, 16), LabelAdapter(ibug68(), ibug68(), 8)
    torch.nn.init.normal_(network.offsets.weight, std=0.2)
    torch.nn.init.normal_(adapter.leave.weight, std=0.01)
    about = {
        "scheme": ibug68().as_dict(),
        "network": {
            "backbone": "test_efficientnet",
            "input_size": SIZE,
            "width": 16,
            "context": CONTEXT,
            "mirror": False,
        },
        "adapter": {"hidden": 8},
        "finder": {"name": "toy", **FRAME, "found": 9, "of": 9},
    }
    folder = tmp_path_factory.mktemp("model")
    Landmarker(network.eval(), CONTEXT, about, adapter).save(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with pictures of 200 x 180 pixels."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "left/a.png", "right/a.png")):
        write(Path(name), smooth(number))
    return tmp_path


def smooth(seed: int, height: int = 180, width: int = 200) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)


def write(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def predict(model: Path, *arguments: str) -> None:
    cli.main(["predict", *arguments, "--model", str(model)])


def printed(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str) -> list[dict]:
    predict(model, *arguments)
    return json.loads(capsys.readouterr().out)


def test_json_holds_what_the_landmarker_predicts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, model, "a.png", "--box", MIDDLE, "--box=-10,-5,60.5,70")
    boxes = [[60, 50, 140, 130], [-10, -5, 60.5, 70]]
    assert [(face["image"], face["box"]) for face in found] == [("a.png", box) for box in boxes]
    expected = Landmarker.load(model).predict(read_image(Path("a.png")), np.array(boxes))
    np.testing.assert_allclose([face["landmarks"] for face in found], expected, atol=0.0051)


@pytest.mark.parametrize("box", [[20, 10, 10, 40], [10, 10, 10, 40], [10, 10, np.inf, 40], [np.nan, 10, 30, 40]])
def test_a_box_that_is_none_is_refused(box: list[float], model: Path) -> None:
    with pytest.raises(ValueError, match=r"boxes: found \[.*\], expected x0 < x1 and y0 < y1, finite"):
        Landmarker.load(model).predict(read_image(Path("a.png")), np.array([[5, 5, 40, 40], box], dtype=float))


def test_a_box_far_larger_than_its_picture_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="the box 0,0,1e.09,1e.09 is over 100 times as large as the picture"):
        stage.predict([Path("a.png")], model, box=["0,0,1e9,1e9"])


def test_a_name_that_cannot_be_written_is_refused(model: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy("a.png", name)
    with pytest.raises(
        ValueError, match="the file name is not valid text, expected a name that can be written; rename the file"
    ):
        stage.predict([Path(name)], model)


def test_csv_and_json_say_the_same(model: Path) -> None:
    for out in ("new/out.csv", "new/out.json"):
        predict(model, "a.png", "--box", MIDDLE, "--box", "0,0,50,50", "--out", out)
    faces = json.loads(Path("new/out.json").read_text())
    with Path("new/out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "face", "point", "x", "y", "error", "visible"]
    expected = [
        ("a.png", str(face), str(point), *map(str, xy), "", "")
        for face, content in enumerate(faces)
        for point, xy in enumerate(content["landmarks"])
    ]
    assert [tuple(row.values()) for row in rows] == expected
    assert len(rows) == 2 * 68


def test_predictions_move_with_the_picture(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = read_image(Path("a.png"))
    write(Path("moved.png"), np.pad(image, ((30, 0), (20, 0), (0, 0)), mode="edge"))
    (still,) = printed(capsys, model, "a.png", "--box", MIDDLE)
    (moved,) = printed(capsys, model, "moved.png", "--box", "80,80,160,160")
    np.testing.assert_allclose(np.subtract(moved["landmarks"], still["landmarks"]), [[20, 30]] * 68, atol=0.05)


def test_predictions_grow_with_the_picture(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Each pixel three times: a point at x comes to 3 x + 1, and averaging 3 x 3 pixels gives the picture back.
    image = read_image(Path("a.png"))
    write(Path("large.png"), image.repeat(3, axis=0).repeat(3, axis=1))
    (small,) = printed(capsys, model, "a.png", "--box", "60,50,100,90")
    (large,) = printed(capsys, model, "large.png", "--box", "181,151,301,271")
    np.testing.assert_allclose(large["landmarks"], 3 * np.array(small["landmarks"]) + 1, atol=0.1)


def test_without_boxes_faces_are_found_and_looked_at_again_where_their_points_are(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Path("large.png"), cv2.resize(read_image(Path("a.png")), None, fx=5, fy=5))
    boxes = np.array([[300.0, 250, 700, 650], [50, 100, 250, 350]])
    found = Found(boxes=boxes, scores=np.array([0.9, 0.7]))
    monkeypatch.setitem(finders.FINDERS, "toy", lambda _: found)
    faces = printed(capsys, model, "large.png")
    assert [face["score"] for face in faces] == [0.9, 0.7]
    image, landmarker = read_image(Path("large.png")), Landmarker.load(model)
    first = landmarker.predict(image, Frame(**FRAME).of(boxes))
    again = geometry.landmark_box(first.astype(np.float64))
    np.testing.assert_allclose([face["box"] for face in faces], again, atol=0.01)
    np.testing.assert_allclose([face["landmarks"] for face in faces], landmarker.predict(image, again), atol=0.02)


def test_what_is_found_but_looks_like_no_face_is_left_out(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(boxes=np.array([[60.0, 50, 140, 130]]), scores=np.array([0.9]))
    monkeypatch.setitem(finders.FINDERS, "toy", lambda _: found)
    about = json.loads((model / "model.json").read_text())
    shutil.copytree(model, "calibrated")
    for usual, faces in ((1e9, 1), (1e-9, 0)):
        certainty = {"scale": [1.0] * 68, "radius": {"0.9": 2.5}, "usual": usual}
        Path("calibrated/model.json").write_text(json.dumps(about | {"certainty": certainty}))
        assert len(printed(capsys, Path("calibrated"), "a.png")) == faces


def test_pictures_without_a_face_are_named_and_give_nothing(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = Found(boxes=np.zeros((0, 4)), scores=np.zeros(0))
    monkeypatch.setitem(finders.FINDERS, "toy", lambda _: nobody)
    predict(model, "a.png", "left/a.png", "--overlay", "drawn")
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert err.splitlines()[-2:] == ["a.png: no face found", "left/a.png: no face found"]
    np.testing.assert_array_equal(read_image(Path("drawn/a.png.png")), read_image(Path("a.png")))
    predict(model, "a.png", "--out", "out.csv")
    assert Path("out.csv").read_text() == "image,face,point,x,y,error,visible\n"


@pytest.mark.parametrize("finder", [None, {"name": "toy", "down": None, "scale": None, "found": 3, "of": 50}])
def test_a_model_that_no_finder_fits_needs_boxes(finder: dict | None, model: Path) -> None:
    about = json.loads((model / "model.json").read_text())
    shutil.copytree(model, "hands")
    Path("hands/model.json").write_text(json.dumps(about | {"finder": finder}))
    with pytest.raises(SystemExit, match="hands: no face finder fits this model of ibug68, so boxes are needed"):
        predict(Path("hands"), "a.png")
    predict(Path("hands"), "a.png", "--box", MIDDLE)


def test_expected_errors_are_those_of_the_calibration(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plain,) = printed(capsys, model, "a.png", "--box", MIDDLE)
    assert plain["errors"] == plain["visible"] == [None] * 68 and plain["score"] is None
    shutil.copytree(model, "calibrated")
    about = json.loads((model / "model.json").read_text())
    certainty = {"scale": [2.0] * 67 + [4.0], "radius": {"0.9": 2.5}, "usual": 0.02}
    Path("calibrated/model.json").write_text(json.dumps(about | {"certainty": certainty}))
    (face,) = printed(capsys, Path("calibrated"), "a.png", "--box", MIDDLE)
    assert face["landmarks"] == plain["landmarks"]
    spreads = Landmarker.load(model).detect(read_image(Path("a.png")), np.array([[60, 50, 140, 130]])).errors[0]
    np.testing.assert_allclose(face["errors"], spreads * certainty["scale"], atol=0.006)


def test_boxes_come_from_a_table(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("boxes.csv").write_text(
        "\ufeffimage,x0,y0,x1,y1\r\nright/a.png,0,0,50,50\r\n./a.png,60,50,140,130\r\nright/a.png,9,9,80,80\r\n"
    )
    found = printed(capsys, model, "a.png", "left/../right/a.png", "--boxes", "boxes.csv")
    assert [(face["image"], face["box"]) for face in found] == [
        ("a.png", [60, 50, 140, 130]),
        ("left/../right/a.png", [0, 0, 50, 50]),
        ("left/../right/a.png", [9, 9, 80, 80]),
    ]
    assert found[0] == printed(capsys, model, "a.png", "--box", MIDDLE)[0]


def test_an_overlay_shows_points_and_boxes_and_leaves_the_rest(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.zeros((700, 900, 3), np.uint8)
    write(Path("black.png"), image)
    (face,) = printed(capsys, model, "black.png", "--box", "100,100,700,600", "--overlay", "drawn")
    drawn = read_image(Path("drawn/black.png.png"))
    assert drawn.shape == image.shape
    points = np.array(face["landmarks"])
    inside = points[((points >= 10) & (points < [890, 690])).all(axis=1)].round().astype(int)
    assert len(inside) > 30
    for dx, dy in ((0, 0), (3, 0), (0, -3)):  # a radius of 600 / 120 = 5 pixels
        assert (drawn[inside[:, 1] + dy, inside[:, 0] + dx] == POINT).all()
    assert (drawn[100, 100:701] == BOX).all(axis=1).mean() > 0.5  # the rest is under points
    painted = np.argwhere(drawn.any(axis=-1))[:, ::-1]
    from_points = np.linalg.norm(painted[:, None] - points, axis=-1).min(axis=1)
    from_outline = np.abs((np.abs(painted - [400, 350]) - [300, 250]).max(axis=1))
    assert np.minimum(from_points, from_outline).max() < 7


def test_pictures_of_one_name_keep_overlays_of_their_own(model: Path) -> None:
    Path("boxes.csv").write_text("image,x0,y0,x1,y1\nleft/a.png,60,50,140,130\nright/a.png,60,50,140,130\n")
    predict(model, "left/a.png", "right/a.png", "--boxes", "boxes.csv", "--overlay", "drawn", "--out", "out.json")
    files = sorted(path for path in Path("drawn").rglob("*") if path.is_file())
    assert files == [Path("drawn/left/a.png.png"), Path("drawn/right/a.png.png")]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_overlays_stay_in_their_folder(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "left")
    Path("boxes.csv").write_text("image,x0,y0,x1,y1\na.png,60,50,140,130\n../right/a.png,60,50,140,130\n")
    predict(model, "a.png", "../right/a.png", "--boxes", "boxes.csv", "--overlay", "drawn", "--out", "out.json")
    assert sorted(path.name for path in (folder / "left").iterdir()) == ["a.png", "boxes.csv", "drawn", "out.json"]
    assert (folder / "left/drawn/right/a.png.png").exists()


def test_all_pictures_that_cannot_be_used_are_listed(model: Path) -> None:
    Path("empty.png").touch()
    Path("boxes.csv").write_text("image,x0,y0,x1,y1\nempty.png,0,0,9,9\na.png,0,0,9,9\nleft/a.png,201,0,250,9\n")
    with pytest.raises(SystemExit) as stopped:
        predict(model, "empty.png", "a.png", "left/a.png", "--boxes", "boxes.csv", "--out", "out.json")
    first, *listed = str(stopped.value).splitlines()
    assert first == "facemix predict: 2 of 3 images cannot be used; correct them or leave them out:"
    assert listed == [
        "  empty.png: 0 bytes, expected an image; copy the file again",
        "  left/a.png: the box 201,0,250,9 lies outside the picture of 200 x 180 pixels",
    ]
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--box", "1,2,3"], "--box: found 1,2,3: 3 values, expected 4: x0,y0,x1,y1 in pixels"),
        (["a.png", "--box", "1,2,3,4,5"], "--box: found 1,2,3,4,5: 5 values, expected 4"),
        (["a.png", "--box", "1,2,3,x"], "--box: found 1,2,3,x, expected four numbers"),
        (["a.png", "--box", "1,2,nan,4"], "--box: found 1,2,nan,4, expected finite numbers"),
        (
            ["a.png", "--box", "5,5,5,9"],
            "--box: found 5,5,5,9: a box without width or height, expected x0 < x1 and y0 < y1",
        ),
        (["a.png", "--box", "5,9,9,5"], "--box: found 5,9,9,5: a box without width or height"),
        (["a.png", "left/a.png", "--box", MIDDLE], "--box is for one picture, found 2; .* with --boxes CSV"),
        (["a.png", "./a.png"], "a.png: given twice; name each picture once"),
        (["missing.png"], "missing.png: cannot be read .no such file or directory."),
        (["a.png", "--out", "out.txt"], "--out out.txt: found .txt, expected one of .json, .csv"),
        (["a.png", "--out", "out"], "--out out: found no extension, expected one of .json, .csv"),
        (["a.png", "--boxes", "none.csv"], "none.csv: not a readable CSV .*No such file"),
        (
            ["a.png", "--boxes", "boxes.csv", "--out", "./boxes.csv"],
            "boxes.csv: would be overwritten, but it is one of the inputs",
        ),
        (
            ["a.png", "a.png.png", "--overlay", "."],
            "a.png.png: would be overwritten, but it is one of the inputs; give another",
        ),
    ],
)
def test_bad_arguments_are_named(model: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        predict(model, *arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "found the header '', expected 'image,x0,y0,x1,y1'"),
        (b"image,x,y,w,h\na.png,1,2,3,4\n", "found the header 'image,x,y,w,h', expected 'image,x0,y0,x1,y1'"),
        (b"image,x0,y0,x1,y1\n\xff\n", "not a readable CSV .*can't decode"),
        (b"image,x0,y0,x1,y1\na.png,1,2,3\n", "boxes.csv, line 2: found 1,2,3: 3 values, expected 4"),
        (b"image,x0,y0,x1,y1\n\na.png,1,2,3,\n", "boxes.csv, line 3: found 1,2,3,, expected four numbers"),
        (b"image,x0,y0,x1,y1\na.png,1,2,3,4\n", "boxes.csv: no row for left/a.png; add its boxes"),
        (
            b"image,x0,y0,x1,y1\nb.png,1,2,3,4\nc.png,1,2,3,4\n",
            r"boxes.csv: line 2 has b.png, which is not among the images \(and 1 more\)",
        ),
    ],
)
def test_bad_tables_of_boxes_are_named(model: Path, table: bytes, message: str) -> None:
    Path("boxes.csv").write_bytes(table)
    with pytest.raises(SystemExit, match=message):
        predict(model, "a.png", "left/a.png", "--boxes", "boxes.csv")


def test_a_folder_without_a_model_is_named() -> None:
    with pytest.raises(SystemExit, match="facemix predict: nowhere: not a readable model"):
        predict(Path("nowhere"), "a.png")
