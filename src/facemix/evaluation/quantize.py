"""An exported detector whose convolutions count in 8 bits: a smaller file, and what it costs.

Only convolutions do: they are nearly all of the work. What makes points of their heatmaps stays as exact as it was.
"""

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry, schemes
from facemix.faces.looking import look_each
from facemix.faces.packs import Pack
from facemix.files import whole_file
from facemix.use.detector import Detector

FACES = 32
"""Training faces that say how large numbers get inside of the network."""
PERCENTILE = 99.99
"""Of the numbers at one place in the network, the share that 8 bits must reach to. The very largest would make the
steps between all others coarse."""
FASTER, SMALLER, WORSE = 0.9, 0.9, 1.05
"""Ratios from which a difference in time, size or NME counts."""
RUNS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one file."""

    megabytes: float
    ms: float
    """Of one face in ONNX Runtime, with one thread, at best."""
    nme: float
    """Mean over the validation faces, in % of the face size."""


def quantize(exported: Path, out: Path, pack: Pack) -> None:
    """Writes an exported detector with convolutions of 8 bits.

    Args:
        exported: a file as `facemix export` writes it.
        out: the file; an older one is replaced.
        pack: the real one; its training faces say how large numbers get inside of the network.

    Raises:
        FacemixError: the file cannot be read or quantised, or the pack holds no training face.
        OSError: the disk is full or read-only.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    detector = Detector.load(exported)
    rows = np.flatnonzero(pack.splits == "train")
    if not len(rows):
        raise FacemixError("the real pack holds no training face, expected some to calibrate with; run `dvc repro`")
    crops = _crops(detector, pack, np.random.default_rng(0).permutation(rows)[:FACES])
    parts = ({"images": crop[None]} for crop in crops)  # ONNX Runtime wants batches of equal size
    with tempfile.TemporaryDirectory() as folder, _quietly():
        made = Path(folder) / "model.onnx"
        try:
            quantize_static(
                exported,
                made,
                SimpleNamespace(get_next=lambda: next(parts, None)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": PERCENTILE},
            )
        except Exception as error:  # ONNX Runtime has many words
            said = str(error).strip().partition("\n")[0]
            raise FacemixError(f"{exported}: cannot be quantised ({said}); use the file as it is") from error
        model = onnx.load(made)
    told = {prop.key: prop.value for prop in model.metadata_props if not prop.key.startswith("onnx.")}
    onnx.helper.set_model_props(model, told | {"precision": "convolutions of 8 bits, the rest float32"})
    with whole_file(out) as beside:
        beside.write_bytes(model.SerializeToString(deterministic=True))


def compare(before: Path, after: Path, pack: Pack, normalizer: str) -> tuple[Cost, Cost]:
    """What two exported files cost and give, timed in turns, at best: so a busy machine wrongs neither.

    Args:
        before, after: as `facemix export` and `quantize` write them.
        pack: the real one; its validation faces are measured on.
        normalizer: the face size under the NME.

    Raises:
        FacemixError: a file cannot be read; the pack holds no validation face with a point that the detector finds.
    """
    files = before, after
    detectors = [Detector.load(file) for file in files]
    crop = np.zeros((1, detectors[0].input_size, detectors[0].input_size, 3), np.uint8)
    times = np.zeros((RUNS, len(files)))
    for row in times:
        for place, detector in enumerate(detectors):
            start = time.perf_counter()
            detector.look(crop)
            row[place] = time.perf_counter() - start
    ms = 1e3 * times.min(axis=0)
    first, second = (
        Cost(megabytes=file.stat().st_size / 1e6, ms=float(one), nme=_nme(detector, pack, normalizer))
        for file, one, detector in zip(files, ms, detectors, strict=True)
    )
    return first, second


def _nme(detector: Detector, pack: Pack, normalizer: str) -> float:
    """The mean over the validation faces, in % of the face size."""
    rows = np.flatnonzero(pack.splits == "validation")
    seen = look_each(
        detector.look,
        (pack.images[row] for row in rows),
        _transforms(detector, pack, rows),
        detector.input_size,
        len(detector.scheme),
    )
    points = schemes.in_scheme(seen.points, detector.scheme, pack.scheme)
    nme = metrics.nme(points, pack.landmarks[rows], pack.scheme, normalizer)
    if np.isnan(nme).all():
        raise FacemixError(
            "the real pack holds no validation face with a point that this model finds, expected some to measure the "
            "NME on; run `dvc repro`"
        )
    return float(np.nanmean(nme))


def verdict(before: Cost, after: Cost) -> str:
    """Whether 8 bits are worth it, in a sentence."""
    faster, smaller = after.ms < FASTER * before.ms, after.megabytes < SMALLER * before.megabytes
    if not faster and not smaller:
        return "it is neither smaller nor faster here: use the file of full precision"
    gain = " and ".join(word for word, is_so in (("smaller", smaller), ("faster", faster)) if is_so)
    if not after.nme < WORSE * before.nme:
        return f"it is {gain}, but its errors are clearly larger: it costs more than it brings"
    return f"it is {gain} and nearly as exact" + ("" if faster else "; on this machine it is no faster")


def _transforms(detector: Detector, pack: Pack, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """From the pack's crops to what the network sees (n, 2, 3)."""
    boxes = detector.frame.of(geometry.landmark_box(pack.landmarks[rows]))
    return geometry.crop_transform(boxes, detector.input_size, detector.context)


def _crops(detector: Detector, pack: Pack, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """What the network sees of faces: (n, 3, S, S) RGB from 0 to 1."""
    transforms = _transforms(detector, pack, rows)
    cut = [
        geometry.warp(pack.images[row], transform, detector.input_size)
        for row, transform in zip(rows, transforms, strict=True)
    ]
    return np.stack(cut).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what ONNX Runtime says while it calibrates."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
