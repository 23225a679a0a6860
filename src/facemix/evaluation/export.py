"""A trained detector as one ONNX file: network and label adapter together."""

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
from facemix.training.landmarker import Landmarker

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3
"""How far ONNX Runtime and OpenCV may be from PyTorch, pixels of the input."""
OPSET = 20
"""Version of ONNX's operators: the oldest that has GELU. OpenCV 5.0 crashes on the GELU of older ones."""
BATCHES = (1, 3)
"""Numbers of crops at which the two are compared: one, and one that is not what was traced."""
WARM_UP, RUNS = 10, 50

Points = npt.NDArray[np.float32]


class Detector(nn.Module):
    """Crops in, landmarks out, as `Landmarker` has them: the network, and the label adapter where there is one.

    The adapter sees points relative to their own box. So it gives the same in pixels of the crop as in those of the
    image, and may act before the points are taken back.
    """

    def __init__(self, landmarker: Landmarker) -> None:
        """
        Args:
            landmarker: the trained detector.
        """
        super().__init__()
        self.network = landmarker.network
        self.adapter = landmarker.adapter

    def forward(self, images: Tensor) -> Tensor:
        """Landmarks (n, K, 2) in pixels of the input, for images (n, 3, S, S) of RGB in [0, 1]."""
        points = self._found(images)
        if self.adapter is None:
            return points
        low, high = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
        centre, side = (low + high) / 2, (high - low).amax(dim=2, keepdim=True)
        adapted: Tensor = centre + side * self.adapter((points - centre) / side)
        return adapted

    def _found(self, images: Tensor) -> Tensor:
        """What the network sees, in one pass: OpenCV takes no file in which two layers share weights."""
        if not self.network.mirror:
            points: Tensor = self.network(images)
            return points
        both = self.network.located(torch.cat([images, images.flip(-1)]))
        return self.network.averaged(both[: len(images)], both[len(images) :])


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


def export(landmarker: Landmarker, path: Path) -> Exported:
    """Writes a detector as an ONNX file, once ONNX Runtime gives the landmarks that PyTorch does.

    The file takes `images` (n, 3, S, S) float32 RGB in [0, 1] and gives `landmarks` (n, K, 2) float32 in pixels of
    that input. Its metadata say how a face is cropped. Equal detectors make equal files. Whether OpenCV gives the same
    is told, and keeps no file from being written.

    Args:
        landmarker: a detector on the CPU.
        path: the file; an older one is replaced.

    Raises:
        FacemixError: packages are missing, the network cannot be exported, or the two differ: then nothing is written.
        OSError: the disk is full or read-only.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise FacemixError(
            f"export needs packages that are not installed: {', '.join(missing)}; run `pip install -c "
            "constraints.txt -e '.[export]'` in the project's folder"
        )
    detector = Detector(landmarker).eval()
    size = int(landmarker.about["network"]["input_size"])
    try:
        model = _to_onnx(detector, size, metadata(landmarker))
    except Exception as error:  # there is no end to what torch raises here
        raise FacemixError(
            f"{path}: {landmarker.about['network']['backbone']} with an input of {size} px cannot be exported "
            f"({str(error).strip().partition(chr(10))[0]}); train another model.backbone or model.input_size"
        ) from error
    session = _session(model)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(n, 3, size, size, generator=generator) for n in BATCHES]
    difference = _difference(_in_onnxruntime(session, batches), detector, batches)
    if not difference <= TOLERANCE:  # NaN is no agreement either
        raise FacemixError(
            f"{path}: not written, because ONNX Runtime is up to {difference:.2g} px from PyTorch, expected at most "
            f"{TOLERANCE:g} px; try the versions of constraints.txt"
        )
    in_opencv = _in_opencv(model, batches)
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


def metadata(landmarker: Landmarker) -> dict[str, str]:
    """What somebody needs who has nothing but the ONNX file, to crop as `Landmarker` does."""
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
        "points": " ".join(scheme.points),
        "crop": f"the square around the centre of the face's tight landmark box{centre}, its side context x the box's "
        "longer side, scaled to the input; beyond the picture its border is repeated. crop = (input_size - 1) / 2 + "
        "(input_size / side) * (picture - centre)",
    }


def _to_onnx(detector: Detector, size: int, described: dict[str, str]) -> bytes:
    import onnx

    n = torch.export.Dim("n")
    with warnings.catch_warnings():
        # torch's own exporter calls what torch deprecates.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        # Strict: only so does the `len` of a batch in the network stay a variable.
        program = torch.export.export(detector, (torch.zeros(2, 3, size, size),), dynamic_shapes=({0: n},), strict=True)
        # OpenCV 5.0 takes no notice of HardSigmoid's slope.
        program = program.run_decompositions(get_decompositions([torch.ops.aten.hardsigmoid]))
        exported: Any = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["landmarks"],
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


def _session(model: bytes) -> Any:
    """ONNX Runtime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _in_onnxruntime(session: Any, batches: Sequence[Tensor]) -> list[Points]:
    """Landmarks (n, K, 2) of each batch (n, 3, S, S), pixels."""
    return [session.run(["landmarks"], {"images": images.numpy()})[0] for images in batches]


_RUN_IN_OPENCV = """
import sys, cv2, numpy
network = cv2.dnn.readNetFromONNX(sys.argv[1])
found = []
for images in numpy.load(sys.argv[2]).values():
    network.setInput(images)
    found.append(numpy.array(network.forward()))
numpy.savez(sys.argv[3], *found)
"""


def _in_opencv(model: bytes, batches: Sequence[Tensor]) -> list[Points] | None:
    """The same by OpenCV, or None where it cannot read the model. In a process of its own: on some files it crashes."""
    with tempfile.TemporaryDirectory() as folder:
        file, images, found = (Path(folder) / name for name in ("model.onnx", "images.npz", "found.npz"))
        file.write_bytes(model)
        np.savez(images, *[batch.numpy() for batch in batches])
        command = [sys.executable, "-c", _RUN_IN_OPENCV, str(file), str(images), str(found)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        with np.load(found) as content:
            return list(content.values())


@torch.inference_mode()
def _difference(found: Sequence[Points], detector: Detector, batches: Sequence[Tensor]) -> float:
    """The largest distance in x or y between what a runtime found in the batches and what PyTorch does, pixels."""
    pairs = zip(found, batches, strict=True)
    return float(np.max([np.abs(points - detector(images).numpy()).max() for points, images in pairs]))


@torch.inference_mode()
def _speed(session: Any, detector: Detector, size: int) -> tuple[float, float]:
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
