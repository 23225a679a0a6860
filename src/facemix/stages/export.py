"""`facemix export`: a trained model as an ONNX file."""

from pathlib import Path

from facemix import config
from facemix.errors import FacemixError
from facemix.evaluation import export as learning
from facemix.evaluation import quantize
from facemix.faces import packs
from facemix.faces.packs import Pack
from facemix.training.landmarker import Landmarker
from facemix.use.runtime import digest


def export(model: Path, out: Path | None = None, int8: bool = False) -> None:
    """Exports a model folder and prints what came of it.

    Args:
        model: a folder as `facemix train` writes it.
        out: the file; by default model.onnx in that folder.
        int8: write also `NAME.int8.onnx`, calibrated and measured on the project's real pack.

    Raises:
        FacemixError: the folder holds no readable model, or the file is not called `.onnx`.
        FacemixError: it cannot be exported, or ONNX Runtime does not give what PyTorch does.
        OSError: the disk is full or read-only.
    """
    out = out or model / "model.onnx"
    if out.suffix != ".onnx":
        raise FacemixError(f"--out {out}: expected a file that ends in .onnx")
    # Before anything that takes long: whether there is what 8 bits need.
    judged_by = (packs.read(packs.FOLDER / "real"), config.load().evaluation.normalizer) if int8 else None
    exported = learning.export(Landmarker.load(model), out, digest(model))
    print(f"{out}: {exported.megabytes:.2f} MB, at most {exported.difference:.1e} px from PyTorch")
    print(_in_opencv(exported.opencv_difference))
    print(f"one face with one thread: {exported.onnx_ms:.2f} ms in ONNX Runtime, {exported.torch_ms:.2f} ms in PyTorch")
    if judged_by is not None:
        _quantize(out, *judged_by)


def _quantize(exported: Path, pack: Pack, normalizer: str) -> None:
    """Writes the file with convolutions of 8 bits, and prints what that brings and costs."""
    out = exported.with_suffix(".int8.onnx")
    quantize.quantize(exported, out, pack)
    before, after = quantize.compare(exported, out, pack, normalizer)
    print(
        f"{out}: {after.megabytes:.2f} MB instead of {before.megabytes:.2f}; one face {after.ms:.2f} ms instead of "
        f"{before.ms:.2f}; NME on validation faces {after.nme:.3f} % instead of {before.nme:.3f}"
    )
    print(quantize.verdict(before, after))


def _in_opencv(difference: float | None) -> str:
    if difference is None:
        return "OpenCV's dnn module cannot read this file; run it with ONNX Runtime"
    if not difference <= learning.TOLERANCE:
        return f"OpenCV's dnn module is up to {difference:.2g} px off with this file; run it with ONNX Runtime"
    return f"OpenCV's dnn module reads it as well, at most {difference:.1e} px from PyTorch"
