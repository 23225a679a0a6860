"""8 bits: what they change, what they are calibrated and measured with, and what is said of them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import toy_exported
import toy_pack
from facemix import cli, config
from facemix.errors import FacemixError
from facemix.evaluation import export, metrics, quantize
from facemix.evaluation.quantize import Cost, compare, verdict
from facemix.faces import geometry, packs, schemes
from facemix.faces.packs import Pack
from facemix.stages import export as stage
from facemix.use.detector import Detector


def pack(train: int = 12, validation: int = 4) -> Pack:
    """Faces of random colours; the training faces hold an odd number of batches."""
    faces = toy_pack.pack(train + validation)
    images = np.random.default_rng(0).integers(0, 256, faces.images.shape, dtype=np.uint8)
    splits = np.array(["train"] * train + ["validation"] * validation)
    return dataclasses.replace(faces, images=images, splits=splits)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.onnx`, `model.int8.onnx` as the command writes it, and `printed`, what it said."""
    folder = tmp_path_factory.mktemp("models")

    def exported(_: object, path: Path, made_from: str) -> export.Exported:
        toy_exported.write(path)
        return export.Exported(megabytes=1, difference=0, opencv_difference=0, onnx_ms=1, torch_ms=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export", exported)
        patch.setattr(stage.Landmarker, "load", lambda _: None)
        patch.setattr(stage, "digest", lambda _: "")
        patch.setattr(packs, "read", lambda _: pack())
        patch.setattr(config, "load", lambda: SimpleNamespace(evaluation=SimpleNamespace(normalizer="auto")))
        cli.main(["export", str(folder), "--int8"])
    return folder


def test_it_is_a_smaller_file_of_the_same_detector_that_gives_nearly_the_same(folder: Path) -> None:
    exact, coarse = (Detector.load(folder / name) for name in ("model.onnx", "model.int8.onnx"))
    assert (folder / "model.int8.onnx").stat().st_size < 0.3 * (folder / "model.onnx").stat().st_size
    assert (coarse.scheme.points, coarse.context, coarse.frame) == (exact.scheme.points, exact.context, exact.frame)
    crops = pack().images[-4:, : exact.input_size, : exact.input_size]
    one, other = exact.look(crops), coarse.look(crops)
    assert np.ptp(one.points, axis=0).mean() > 0.5  # points that hang on the picture
    assert 0 < np.linalg.norm(other.points - one.points, axis=-1).mean() < 0.1
    assert np.abs(np.log(other.errors / one.errors)).mean() < 0.1


def test_only_convolutions_are_coarse_and_the_file_says_so(folder: Path) -> None:
    model = onnx.load(folder / "model.int8.onnx")
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    coarse = {node.op_type for node in model.graph.node for name in node.input if made.get(name) == "DequantizeLinear"}
    assert "Conv" in coarse and "Add" not in coarse  # which makes points of what convolutions say
    told = {prop.key: prop.value for prop in model.metadata_props}
    assert told["precision"].startswith("convolutions of 8 bits") and "facemix_model" in told


def test_training_faces_alone_are_calibrated_with(folder: Path, tmp_path: Path) -> None:
    def made(faces: Pack) -> bytes:
        quantize.quantize(folder / "model.onnx", tmp_path / "made.onnx", faces)
        return (tmp_path / "made.onnx").read_bytes()

    ours = pack()
    usual = (folder / "model.int8.onnx").read_bytes()
    others = ours.images.copy()
    others[ours.splits == "validation"] //= 2
    assert made(dataclasses.replace(ours, images=others)) == usual
    others = ours.images.copy()
    others[ours.splits == "train"] //= 2
    assert made(dataclasses.replace(ours, images=others)) != usual


def test_costs_are_measured_on_validation_faces_in_tight_boxes(folder: Path) -> None:
    ours, path = pack(), folder / "model.onnx"
    one, other = compare(path, path, ours, "box_side")
    rows, detector = np.flatnonzero(ours.splits == "validation"), Detector.load(path)
    faces = [detector.predict(ours.images[k], geometry.landmark_box(ours.landmarks[k])[None]) for k in rows]
    points = schemes.in_scheme(np.concatenate([face.points for face in faces]), detector.scheme, ours.scheme)
    expected = np.nanmean(metrics.nme(points, ours.landmarks[rows], ours.scheme, "box_side"))
    assert one.nme == other.nme == pytest.approx(expected, rel=1e-5)
    assert one.megabytes == path.stat().st_size / 1e6 and one.ms > 0


@pytest.mark.parametrize(
    ("megabytes", "ms", "nme", "said"),
    [
        (0.5, 1.0, 4.02, "it is smaller and faster and nearly as exact"),
        (0.5, 2.0, 4.02, "it is smaller and nearly as exact; on this machine it is no faster"),
        (0.5, 1.0, 4.3, "it is smaller and faster, but its errors are clearly larger: it costs more than it brings"),
        (0.5, 1.0, float("nan"), "it is smaller and faster, but its errors are clearly larger"),
        (0.95, 1.95, 4.0, "it is neither smaller nor faster here: use the file of full precision"),
    ],
)
def test_it_is_said_whether_it_is_worth_it(megabytes: float, ms: float, nme: float, said: str) -> None:
    assert verdict(Cost(megabytes=1, ms=2, nme=4), Cost(megabytes=megabytes, ms=ms, nme=nme)).startswith(said)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match="the real pack holds no training face"):
        quantize.quantize(folder / "model.onnx", tmp_path / "made.onnx", pack(train=0))
    with pytest.raises(FacemixError, match="the real pack holds no validation face"):
        compare(folder / "model.onnx", folder / "model.onnx", pack(validation=0), "auto")
    assert not list(tmp_path.iterdir())
