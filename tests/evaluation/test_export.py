"""One export of a tiny detector with an adapter serves most tests: torch takes seconds for each."""

import dataclasses
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from facemix import cli
from facemix.errors import FacemixError
from facemix.evaluation import export as exporting
from facemix.evaluation.export import export
from facemix.faces import geometry, schemes
from facemix.faces.schemes import ibug68
from facemix.stages import export as stage
from facemix.training.adaptation import LabelAdapter
from facemix.training.frame import Frame
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet, VisibilityProbe
from facemix.use import runtime
from facemix.use.detector import Detector

SIZE, CONTEXT = 50, 1.25  # not a multiple of the stride; a central box of 40 pixels sees the whole input
REPOSITORY = Path(__file__).resolve().parents[2]


def landmarker(
    adapted: bool = True,
    backbone: str = "test_efficientnet",
    target: str = "ibug68",
    frame: Frame = Frame(),  # noqa: B008
) -> Landmarker:
    torch.manual_seed(0)
    adapter = LabelAdapter(ibug68(), schemes.load(target), 8) if adapted else None
    if adapter:
        torch.nn.init.normal_(adapter.leave.weight, std=0.02)
        if adapter.linear:
            torch.nn.init.normal_(adapter.linear.weight, std=0.1)
    network = LandmarkNet(ibug68(), backbone, SIZE, 16, mirror=True)
    torch.nn.init.normal_(network.offsets.weight, std=0.5)  # points that move with the image
    architecture = {"backbone": backbone, "input_size": SIZE, "width": 16, "context": CONTEXT, "mirror": True}
    about = {
        "scheme": schemes.load(target).as_dict(),
        "network_scheme": ibug68().as_dict(),
        "frame": dataclasses.asdict(frame),
        "strategy": "mixing",
        "network": architecture,
        "adapter": {"hidden": 8} if adapter else None,
    }
    return Landmarker(network.eval(), CONTEXT, about, adapter)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that was exported by the command."""
    folder = tmp_path_factory.mktemp("models") / "seed-0"
    landmarker().save(folder)
    cli.main(["export", str(folder)])
    return folder


def outputs(model: Landmarker, images: np.ndarray) -> list[np.ndarray]:
    return [part.numpy() for part in model.net(torch.from_numpy(images)) if part is not None]


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["landmarks"], {"images": images})[0]


def run_in_opencv(path: Path, images: np.ndarray) -> np.ndarray:
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(images)
    return network.forward(["landmarks", "errors"])[0]


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_the_file_gives_what_the_detector_predicts(folder: Path, n: int) -> None:
    middle, half = (SIZE - 1) / 2, SIZE / CONTEXT / 2
    box = np.array([middle - half, middle - half, middle + half, middle + half])
    np.testing.assert_allclose(geometry.crop_transform(box, SIZE, CONTEXT), [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    expected = landmarker().look_each(iter(pictures(n)), np.tile(box, (n, 1))).points
    images = pictures(n).transpose(0, 3, 1, 2).astype(np.float32) / 255
    found = run(folder / "model.onnx", images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=exporting.TOLERANCE)
    if n:
        np.testing.assert_allclose(run_in_opencv(folder / "model.onnx", images), expected, atol=exporting.TOLERANCE)


def test_gates_of_mobilenets_are_read_alike_by_all_runtimes(tmp_path: Path) -> None:
    """MobileNetV3 has hard sigmoids, whose slope OpenCV takes no notice of."""
    model = landmarker(backbone="mobilenetv3_small_050")
    exported = export(model, tmp_path / "model.onnx")
    assert exported.difference < exporting.TOLERANCE
    assert exported.opencv_difference is not None and exported.opencv_difference < exporting.TOLERANCE
    file = onnx.load(tmp_path / "model.onnx")
    assert [(one.domain, one.version) for one in file.opset_import] == [("", exporting.OPSET)]


def test_a_translator_to_another_scheme_is_exported_and_the_crop_is_where_its_network_expects_the_face(
    tmp_path: Path,
) -> None:
    model = landmarker(target="wflw98", frame=Frame(down=0.125, scale=1.25))
    export(model, tmp_path / "model.onnx")
    told = {prop.key: prop.value for prop in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert "(n, 98, 2)" in told["landmarks"]
    assert "moved down by 0.125 x the box's longer side" in told["crop"]
    box = np.array([[10.0, 8, 30, 34]])  # its longer side: 26
    square = np.array([20, 21 + 0.125 * 26]) + [[-1], [1]] * np.array(26 * float(told["context"]) / 2)
    crop = geometry.warp(pictures(1)[0], geometry.crop_transform(square.reshape(1, 4)[0], SIZE, 1.0), SIZE)
    images = crop.transpose(2, 0, 1)[None].astype(np.float32) / 255
    found = geometry.apply(
        geometry.invert(geometry.crop_transform(square.reshape(1, 4), SIZE, 1.0)), run(tmp_path / "model.onnx", images)
    )
    np.testing.assert_allclose(found, model.predict(pictures(1)[0], box), atol=0.01)


def test_what_opencv_cannot_read_is_written_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exact:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                return outputs(landmarker(adapted=False), feed["images"])

    monkeypatch.setattr(exporting, "_to_onnx", lambda *_: b"model")
    monkeypatch.setattr(exporting, "session_of", lambda _: Exact())
    monkeypatch.setattr(exporting, "_speed", lambda *_: (1.0, 1.0))
    assert export(landmarker(adapted=False), tmp_path / "model.onnx").opencv_difference is None
    assert (tmp_path / "model.onnx").read_bytes() == b"model"
    assert stage._in_opencv(None) == "OpenCV's dnn module cannot read this file; run it with ONNX Runtime"
    assert "up to 12 px off with this file" in stage._in_opencv(12.0)
    assert "up to nan px off" in stage._in_opencv(float("nan"))


def test_the_adapter_is_part_of_what_is_exported() -> None:
    images = torch.rand(4, 3, SIZE, SIZE)
    with torch.inference_mode():
        plain, adapted = landmarker(adapted=False).net(images).points, landmarker().net(images).points
    assert (plain - adapted).abs().max() > 0.1  # pixels


def test_the_metadata_say_how_to_crop(folder: Path) -> None:
    found = {prop.key: prop.value for prop in onnx.load(folder / "model.onnx").metadata_props}
    assert found == exporting.metadata(landmarker(), runtime.digest(folder))
    assert (int(found["input_size"]), float(found["context"])) == (SIZE, CONTEXT)
    assert (found["strategy"], found["facemix"]) == ("mixing", version("facemix"))
    # The formula of `crop`, in one dimension, is the transform that `Landmarker` crops by.
    box, point = np.array([10.0, 20, 70, 60]), np.array([[33.0, 44.0]])
    side, centre = CONTEXT * 60, np.array([40.0, 40.0])
    crop = (SIZE - 1) / 2 + SIZE / side * (point - centre)
    np.testing.assert_allclose(geometry.apply(geometry.crop_transform(box, SIZE, CONTEXT), point), crop)


def test_one_file_that_tells_nothing_of_the_machine(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"model.json", "model.safetensors", "model.onnx"}
    content = (folder / "model.onnx").read_bytes()
    assert not any(str(path).encode() in content for path in (REPOSITORY, Path(torch.__file__).parent))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_what_is_exported_is_printed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["export", str(folder), "--out", str(tmp_path / "a.onnx")])
    assert (tmp_path / "a.onnx").read_bytes() == (folder / "model.onnx").read_bytes()  # equal models, equal files
    first, opencv, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'a.onnx'}: {(tmp_path / 'a.onnx').stat().st_size / 1e6:.2f} MB, at most ")
    assert first.endswith(" px from PyTorch")
    assert opencv.startswith("OpenCV's dnn module reads it as well, at most ")
    assert "ms in ONNX Runtime" in second and "ms in PyTorch" in second


def test_a_runtime_that_differs_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                points, errors = outputs(landmarker(adapted=False), feed["images"])
            points[0, 30, 1] += 0.25 * (len(points) == 3)  # wrong in one number, of the second batch
            return [points, errors]

    monkeypatch.setattr(exporting, "_to_onnx", lambda *_: b"")
    monkeypatch.setattr(exporting, "session_of", lambda _: Shifted())
    with pytest.raises(FacemixError, match=r"model.onnx: not written, because ONNX Runtime is up to 0.25 px from"):
        export(landmarker(adapted=False), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_the_network_knows_of_hidden_points_is_exported(tmp_path: Path) -> None:
    model = landmarker(adapted=False)
    torch.manual_seed(0)
    model.network.probe = VisibilityProbe(68, 16)
    torch.nn.init.normal_(model.network.probe.weight)
    told = {"scale": np.linspace(0.5, 2, 68).tolist(), "radius": {"0.9": 2.0}, "usual": 0.03}
    model = dataclasses.replace(model, about=model.about | {"certainty": told})
    export(model, tmp_path / "model.onnx")
    detector, images = Detector.load(tmp_path / "model.onnx"), pictures(3)
    found, expected = detector.look(images), model.look(images)
    np.testing.assert_allclose(found.visible, expected.visible, atol=1e-3)
    np.testing.assert_allclose(found.errors, expected.errors, rtol=1e-3, atol=1e-3)
    assert np.ptp(found.visible) > 0.1 and (detector.radius, detector.usual) == ({0.9: 2.0}, 0.03)
    opencv = cv2.dnn.readNetFromONNX(str(tmp_path / "model.onnx"))
    opencv.setInput(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    for own, theirs in zip(opencv.forward(["landmarks", "errors", "visible"]), expected, strict=True):
        np.testing.assert_allclose(own, theirs, atol=1e-2)


def test_an_exported_file_is_used_only_beside_the_weights_that_it_was_made_from(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    image, box = np.kron(pictures(1)[0], np.ones((3, 3, 1), np.uint8)), np.array([[20.0, 30, 120, 110]])
    with monkeypatch.context() as patch:
        patch.setattr(Landmarker, "load", lambda *_: pytest.fail("torch is not needed"))
        exported = Detector.load(tmp_path / "model").predict(image, box)
    np.testing.assert_allclose(exported.points, landmarker().predict(image, box), atol=0.01)
    assert np.isnan(exported.errors).all()  # not calibrated
    about = (tmp_path / "model/model.json").read_text()
    (tmp_path / "model/model.json").write_text(about.replace('"mixing"', '"other"'))
    assert capsys.readouterr().err == ""
    again = Detector.load(tmp_path / "model").predict(image, box)
    assert "model.onnx: not used, as it was made from other weights; run `facemix export" in capsys.readouterr().err
    np.testing.assert_allclose(again.points, exported.points, atol=0.01)


def test_files_that_were_not_exported_here_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(FacemixError, match=r"a.onnx: not a readable model .*expected a file that `facemix export`"):
        Detector.load(tmp_path / "a.onnx")
    other = onnx.load(folder / "model.onnx")
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "b.onnx")
    with pytest.raises(FacemixError, match=r"b.onnx: not a readable model .*facemix_model"):
        Detector.load(tmp_path / "b.onnx")


def test_landmarks_that_are_no_numbers_are_no_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.full((len(feed["images"]), *shape), np.nan, np.float32) for shape in ((68, 2), (68,))]

    monkeypatch.setattr(exporting, "_to_onnx", lambda *_: b"")
    monkeypatch.setattr(exporting, "session_of", lambda _: Lost())
    with pytest.raises(FacemixError, match="up to nan px from PyTorch"):
        export(landmarker(adapted=False), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_input_that_the_network_cannot_take_is_named(tmp_path: Path) -> None:
    model = landmarker()
    about = model.about | {"network": model.about["network"] | {"input_size": 0}}
    message = r"model.onnx: test_efficientnet with an input of 0 px cannot be exported \(.+\); train another"
    with pytest.raises(FacemixError, match=message):
        export(dataclasses.replace(model, about=about), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker().save(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", str(tmp_path)])
    assert str(stopped.value).startswith(
        "facemix export: export needs packages that are not installed: onnx, onnxscript; run `pip install"
    )
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "facemix export: missing: not a readable model .*No such file"),
        (["missing", "--out", "model.pt"], "facemix export: --out model.pt: expected a file that ends in .onnx"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        cli.main(["export", *arguments])


def test_an_export_does_not_change_a_stage_of_dvc() -> None:
    command = [sys.executable, "-m", "dvc", "check-ignore", "models/mixing/seed-0/model.onnx"]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 0
