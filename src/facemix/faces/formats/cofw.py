"""COFW (Burgos-Artizzu et al., 2013): `COFW_train_color.mat` and `COFW_test_color.mat`, Matlab 7.3, which is HDF5.

The pictures are inside of these files, grey or coloured, so they cannot be imported as they are: `extract` writes them
as PNG with a COCO keypoints file of each split, which the format `coco` reads. HDF5 states arrays transposed. A row of
`phisTr` is 29 x, 29 y (1-based) and 29 flags of occlusion; `bboxesTr` is x, y, width, height.
"""

import errno
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.face import BrokenFace
from facemix.faces.formats import pairs
from facemix.faces.schemes import Scheme

_SPLITS = {"COFW_train_color.mat": ("train", "Tr"), "COFW_test_color.mat": ("test", "T")}


def extract(root: Path, folder: Path) -> list[BrokenFace]:
    """Writes `images/` and `train.json`, `test.json` into an empty folder; nothing of one file can be broken alone.

    Raises:
        FacemixError: h5py is not installed, there is no such file below `root`, or one is damaged.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise FacemixError(
            "format cofw: its .mat files are HDF5, which the package h5py reads; install it by `pip install -c "
            "constraints.txt -e '.[formats]'`"
        ) from None
    found = [path for place in pairs.folders(root) for path in pairs.files(place, [".mat"]) if path.name in _SPLITS]
    if not found:
        raise FacemixError(f"{root}: no {' or '.join(_SPLITS)}; check the path")
    scheme = schemes.load("cofw29")
    for path in found:
        try:
            with h5py.File(path) as file:
                write(file, path.name, folder, scheme)
        except (KeyError, ValueError, TypeError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            reason = " ".join(str(error).split())
            raise FacemixError(f"{path}: not COFW's file, or damaged ({reason}); download it again") from None
    return []


def write(file: Mapping[Any, Any], name: str, folder: Path, scheme: Scheme) -> None:
    """Writes one of the two files, open as HDF5: its pictures and its COCO file.

    Args:
        file: `IsTr` (1, n) references to pictures (3, W, H) or (W, H), `phisTr` (87, n), `bboxesTr` (4, n), for the
            test file `IsT`, `phisT`, `bboxesT`.
    """
    split, suffix = _SPLITS[name]
    references = np.asarray(file[f"Is{suffix}"]).ravel()
    faces = np.asarray(file[f"phis{suffix}"], dtype=np.float64).T
    boxes = np.asarray(file[f"bboxes{suffix}"], dtype=np.float64).T
    if faces.shape != (len(references), 3 * len(scheme)) or boxes.shape != (len(references), 4):
        raise ValueError(f"{len(references)} images, points {faces.shape}, boxes {boxes.shape}")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i, reference in enumerate(references):
        picture = np.asarray(file[reference], dtype=np.uint8).T  # (H, W) or (H, W, 3)
        file_name = f"images/{split}_{i:04d}.png"
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / file_name)
        height, width = picture.shape[:2]
        images.append({"id": i, "file_name": file_name, "width": width, "height": height})
        annotations.append(_annotation(i, faces[i], boxes[i]))
    category = {"id": 1, "name": "face", "keypoints": list(scheme.points), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _annotation(i: int, face: npt.NDArray[np.float64], box: npt.NDArray[np.float64]) -> dict[str, object]:
    x, y, occluded = face.reshape(3, -1)
    keypoints = np.stack([x - 1, y - 1, np.where(occluded > 0, 1, 2)], axis=1)
    return {
        "id": i,
        "image_id": i,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [box[0] - 1, box[1] - 1, box[2], box[3]],
        "keypoints": keypoints.ravel().tolist(),
    }
