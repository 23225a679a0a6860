"""`facemix export`: a trained model as an ONNX file."""

from pathlib import Path

from facemix.errors import FacemixError
from facemix.evaluation import export as learning
from facemix.training.landmarker import Landmarker
from facemix.use.runtime import digest


def export(model: Path, out: Path | None = None) -> None:
    """Exports a model folder and prints what came of it.

    Args:
        model: a folder as `facemix train` writes it.
        out: the file; by default model.onnx in that folder.

    Raises:
        FacemixError: the folder holds no readable model, or the file is not called `.onnx`.
        FacemixError: it cannot be exported, or ONNX Runtime does not give what PyTorch does.
        OSError: the disk is full or read-only.
    """
    out = out or model / "model.onnx"
    if out.suffix != ".onnx":
        raise FacemixError(f"--out {out}: expected a file that ends in .onnx")
    exported = learning.export(Landmarker.load(model), out, digest(model))
    print(f"{out}: {exported.megabytes:.2f} MB, at most {exported.difference:.1e} px from PyTorch")
    print(_in_opencv(exported.opencv_difference))
    print(f"one face with one thread: {exported.onnx_ms:.2f} ms in ONNX Runtime, {exported.torch_ms:.2f} ms in PyTorch")


def _in_opencv(difference: float | None) -> str:
    if difference is None:
        return "OpenCV's dnn module cannot read this file; run it with ONNX Runtime"
    if not difference <= learning.TOLERANCE:
        return f"OpenCV's dnn module is up to {difference:.2g} px off with this file; run it with ONNX Runtime"
    return f"OpenCV's dnn module reads it as well, at most {difference:.1e} px from PyTorch"
