"""A trained detector as one ONNX file: network, label adapter and calibration together."""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions

from facemix.errors import FacemixError
from facemix.files import whole_file
from facemix.training.detector_net import Detected, DetectorNet
from facemix.training.landmarker import Landmarker
from facemix.use.runtime import KEY, description, session_of

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3
"""How far ONNX Runtime and OpenCV may be from PyTorch, pixels of the input."""
OPSET = 20
"""Version of ONNX's operators: the oldest that has GELU. OpenCV 5.0 crashes on the GELU of older ones."""
BATCHES = (1, 3)
"""Numbers of crops at which the two are compared: one, and one that is not what was traced."""
WARM_UP, RUNS = 10, 50

Outputs = list[npt.NDArray[np.float32]]
"""Landmarks (n, K, 2) and expected errors (n, K), pixels of the input; and visibility (n, K) where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to."""

    megabytes: float
    difference: float
    """The largest between ONNX Runtime and PyTorch, pixels of the input."""
    opencv_difference: float | None
    """The same of OpenCV; None where OpenCV cannot read the file."""
    onnx_ms: float
    """Of one face in ONNX Runtime, with one thread."""
    torch_ms: float
    """The same in PyTorch."""


def export(landmarker: Landmarker, path: Path, made_from: str = "") -> Exported:
    """Writes a detector as an ONNX file, once ONNX Runtime gives the landmarks that PyTorch does.

    The file takes `images` (n, 3, S, S) float32 RGB in [0, 1]. It gives `landmarks` (n, K, 2) float32 and `errors`
    (n, K), the expected distance of each from the truth, both in pixels of that input; and where the network has
    learned it `visible` (n, K), the probability that a point is seen. Its metadata say how a face is cropped. Equal
    detectors make equal files. Whether OpenCV gives the same is told, and keeps no file from being written.

    Args:
        landmarker: a detector on the CPU.
        path: the file; an older one is replaced.
        made_from: digest of the model's files, by which `facemix predict` knows that the file is of these weights.

    Raises:
        FacemixError: packages are missing, the network cannot be exported, or the two differ: then nothing is written.
        OSError: the disk is full or read-only.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise FacemixError(
            f"export needs packages that are not installed: {', '.join(missing)}; run `pip install -c "
            "constraints.txt -e '.[export]'` in the project's folder"
        )
    detector, size = landmarker.net.eval(), landmarker.input_size
    names = output_names(landmarker)
    try:
        model = _to_onnx(detector, size, names, metadata(landmarker, made_from))
    except Exception as error:  # there is no end to what torch raises here
        raise FacemixError(
            f"{path}: {landmarker.about['network']['backbone']} with an input of {size} px cannot be exported "
            f"({str(error).strip().partition(chr(10))[0]}); train another model.backbone or model.input_size"
        ) from error
    session = session_of(model)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(n, 3, size, size, generator=generator) for n in BATCHES]
    difference = _difference([session.run(names, {"images": images.numpy()}) for images in batches], detector, batches)
    if not difference <= TOLERANCE:  # NaN is no agreement either
        raise FacemixError(
            f"{path}: not written, because ONNX Runtime is up to {difference:.2g} px from PyTorch, expected at most "
            f"{TOLERANCE:g} px; try the versions of constraints.txt"
        )
    in_opencv = _in_opencv(model, names, batches)
    opencv_difference = None if in_opencv is None else _difference(in_opencv, detector, batches)
    with whole_file(path) as beside:
        beside.write_bytes(model)
    onnx_ms, torch_ms = _speed(session, detector, size)
    return Exported(
        megabytes=len(model) / 1e6,
        difference=difference,
        opencv_difference=opencv_difference,
        onnx_ms=onnx_ms,
        torch_ms=torch_ms,
    )


def output_names(landmarker: Landmarker) -> list[str]:
    """What the file's outputs are called."""
    return ["landmarks", "errors"] + (["visible"] if landmarker.network.probe is not None else [])


def metadata(landmarker: Landmarker, made_from: str = "") -> dict[str, str]:
    """What somebody needs who has nothing but the ONNX file, to crop as `Landmarker` does.

    Args:
        landmarker: the detector.
        made_from: digest of its files.
    """
    about, scheme, frame = landmarker.about, landmarker.scheme, landmarker.frame
    centre = f", moved down by {frame.down:g} x the box's longer side" if frame.down else ""
    return {
        "facemix": version("facemix"),
        "strategy": str(about.get("strategy", "unknown")),
        "backbone": str(about["network"]["backbone"]),
        "input_size": str(about["network"]["input_size"]),
        "context": str(landmarker.context * frame.scale),
        "images": "(n, 3, input_size, input_size) float32 RGB, 0 to 1",
        "landmarks": f"(n, {len(scheme)}, 2) float32 x, y in pixels of the input: the points of the scheme "
        f"{scheme.name} in its order, 0-based, integers at pixel centres",
        "errors": f"(n, {len(scheme)}) float32: the expected distance of each point from the truth, pixels of the input"
        if "certainty" in about
        else f"(n, {len(scheme)}) float32: the spread of each point, pixels of the input; not calibrated",
        **(
            {"visible": f"(n, {len(scheme)}) float32: the probability that a point is seen and not hidden"}
            if landmarker.network.probe is not None
            else {}
        ),
        "points": " ".join(scheme.points),
        "crop": f"the square around the centre of the face's tight landmark box{centre}, its side context x the box's "
        "longer side, scaled to the input; beyond the picture its border is repeated. crop = (input_size - 1) / 2 + "
        "(input_size / side) * (picture - centre)",
        KEY: json.dumps(description(about) | {"made_from": made_from}),
    }


class _Told(nn.Module):
    """A detector without the outputs that it does not have."""

    def __init__(self, detector: DetectorNet) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Tensor]:
        return _told(self.detector(images))


def _to_onnx(detector: DetectorNet, size: int, names: Sequence[str], described: dict[str, str]) -> bytes:
    import onnx

    n = torch.export.Dim("n")
    with warnings.catch_warnings():
        # torch's own exporter calls what torch deprecates.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        # Strict: only so does the `len` of a batch in the network stay a variable.
        crops = torch.zeros(2, 3, size, size)
        program = torch.export.export(_Told(detector), (crops,), dynamic_shapes=({0: n},), strict=True)
        # OpenCV 5.0 takes no notice of HardSigmoid's slope.
        program = program.run_decompositions(get_decompositions([torch.ops.aten.hardsigmoid]))
        exported: Any = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=list(names),
            dynamic_shapes=({0: "n"},),
            opset_version=OPSET,
            verbose=False,
        )
    model = exported.model_proto
    graph = model.graph
    # Torch notes for each node where it came from, down to paths of this machine.
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    onnx.helper.set_model_props(model, described)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


_RUN_IN_OPENCV = """
import sys, cv2, numpy
network = cv2.dnn.readNetFromONNX(sys.argv[1])
found = []
for images in numpy.load(sys.argv[2]).values():
    network.setInput(images)
    found += [numpy.array(output) for output in network.forward(sys.argv[4:])]
numpy.savez(sys.argv[3], *found)
"""


def _in_opencv(model: bytes, names: Sequence[str], batches: Sequence[Tensor]) -> list[Outputs] | None:
    """The same by OpenCV, or None where it cannot read the model. In a process of its own: on some files it crashes."""
    with tempfile.TemporaryDirectory() as folder:
        file, images, found = (Path(folder) / name for name in ("model.onnx", "images.npz", "found.npz"))
        file.write_bytes(model)
        np.savez(images, *[batch.numpy() for batch in batches])
        command = [sys.executable, "-c", _RUN_IN_OPENCV, str(file), str(images), str(found), *names]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        with np.load(found) as content:
            outputs = list(content.values())
        return [outputs[start : start + len(names)] for start in range(0, len(outputs), len(names))]


@torch.inference_mode()
def _difference(found: Sequence[Outputs], detector: DetectorNet, batches: Sequence[Tensor]) -> float:
    """The largest difference between what a runtime found in the batches and what PyTorch does, pixels.

    That of errors and visibilities counts a tenth: they come from a small difference of large squares.
    """
    differences = [
        np.abs(own - theirs.numpy()).max() * (1 if number == 0 else 0.1)
        for outputs, images in zip(found, batches, strict=True)
        for number, (own, theirs) in enumerate(zip(outputs, _told(detector(images)), strict=True))
    ]
    return float(np.max(differences))


def _told(detected: Detected) -> list[Tensor]:
    return [part for part in detected if part is not None]


@torch.inference_mode()
def _speed(session: Any, detector: DetectorNet, size: int) -> tuple[float, float]:
    """Milliseconds a face, one at a time and with one thread, in ONNX Runtime and in PyTorch."""
    images = torch.rand(1, 3, size, size)
    feed, channels_last = {"images": images.numpy()}, images.contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _median_ms(lambda: session.run(None, feed)), _median_ms(lambda: detector(channels_last))
    finally:
        torch.set_num_threads(threads)


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP + RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[WARM_UP:]))
