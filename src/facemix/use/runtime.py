"""What runs a detector where there is no torch: ONNX Runtime, and what an exported file says of itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.looking import Look, Seen

KEY = "facemix_model"
"""Of the metadata of an exported file: what `description` gives, as JSON."""


def description(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed to use a detector, beside its weights: of `model.json`, and kept in an exported file."""
    return {
        "scheme": about["scheme"],
        "input_size": about["network"]["input_size"],
        "context": about["network"]["context"],
        "frame": about.get("frame", {}),
        "finder": about.get("finder"),
        "radius": about.get("certainty", {}).get("radius", {}),
        "usual": about.get("certainty", {}).get("usual"),
    }


def digest(folder: Path) -> str:
    """Of the files of a model: an exported file that was made from another digest is of other weights."""
    content = (folder / "model.safetensors").read_bytes() + (folder / "model.json").read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def session_of(model: bytes | str) -> Any:
    """ONNX Runtime with one thread, for a file or its content."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read(path: Path) -> tuple[dict[str, Any], Any]:
    """What an exported file says of itself, and its session.

    Raises:
        FacemixError: it is missing, damaged or not one that `facemix export` wrote; or there is no ONNX Runtime.
    """
    try:
        session = session_of(str(path))
        described = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
        return description_checked(described), session
    except ModuleNotFoundError:
        raise FacemixError(
            f"{path}: an ONNX file needs ONNX Runtime, which is not installed; run `pip install -c constraints.txt "
            "-e '.[export]'` in the project's folder"
        ) from None
    except Exception as error:  # ONNX Runtime has many words for a damaged file
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FacemixError(
            f"{path}: not a readable model ({said}); expected a file that `facemix export` wrote"
        ) from error


def description_checked(content: Any) -> dict[str, Any]:
    """A description that has all that it must have; raises KeyError or TypeError where it has not."""
    keys = ("scheme", "input_size", "context", "frame", "finder", "radius", "usual", "made_from")
    return {key: content[key] for key in keys}


def look_by(session: Any) -> Look:
    """Looks at crops by ONNX Runtime."""
    names = [output.name for output in session.get_outputs()]

    def look(crops: npt.NDArray[np.uint8]) -> Seen:
        images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
        found = dict(zip(names, session.run(names, {"images": images}), strict=True))
        unknown = np.full(found["errors"].shape, np.nan, dtype=np.float32)
        return Seen(found["landmarks"], found["errors"], found.get("visible", unknown))

    return look
