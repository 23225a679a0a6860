"""Packs: what training reads. Crops of equal size, decoded once, with their points and where they came from.

`facemix.faces.packing` writes them.

images.npy       (N, S, S, 3) uint8 RGB
landmarks.npy    (N, K, 2) float32, pixels of the crop, 0-based pixel centres; NaN where unlabelled
states.npy       (N, K) uint8: 0 unlabelled, 1 hidden, 2 visible
faces.parquet    a row a face: id, source, subset, split, photo, path, width, height, box, transform
pack.json        size, margin, number of faces, digest of the contents, scheme, and of real faces the face finder
"""

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.schemes import Scheme

FOLDER = Path("data/packs")
"""Where the pipeline keeps its packs, `real` and `synthetic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """An opened pack; `images` stays on disk until it is indexed."""

    images: npt.NDArray[np.uint8]
    """(N, S, S, 3) RGB, read-only memory map."""
    landmarks: npt.NDArray[np.float32]
    """(N, K, 2) pixels of the crop; NaN where unlabelled."""
    states: npt.NDArray[np.uint8]
    """(N, K) as of a `Face`."""
    scheme: Scheme
    ids: npt.NDArray[np.str_]
    """(N,) `source/id`, unique."""
    subsets: npt.NDArray[np.str_]
    """(N,) the source's own subset."""
    photos: npt.NDArray[np.str_]
    """(N,) `source/photo`: equal for faces of one photograph."""
    splits: npt.NDArray[np.str_]
    """(N,) train, validation, test, challenging or excluded."""
    transforms: npt.NDArray[np.float64]
    """(N, 2, 3) image-to-crop similarity."""
    boxes: npt.NDArray[np.float64]
    """(N, 4) tight landmark box xyxy, pixels of the image."""
    digest: str
    """Changes when any image, point or split does."""
    finder: dict[str, Any] | None = None
    """How the boxes of the face finder lie to those of landmarks, as `facemix.finding.fit.fit_frame` returns it; None
    in packs of synthetic faces, and in those that older code wrote."""

    def __len__(self) -> int:
        return len(self.ids)


def read(folder: Path, images: bool = True) -> Pack:
    """Opens a pack.

    Args:
        folder: of the pack.
        images: without them only the points and the table are read; `images` then holds no face.

    Raises:
        FacemixError: a file of it is missing, or its files do not belong together.
    """
    import pyarrow.parquet as parquet

    try:
        about = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        crops = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False) if images else None
        landmarks = np.load(folder / "landmarks.npy", allow_pickle=False)
        states = np.load(folder / "states.npy", allow_pickle=False)
        scheme = schemes.parse(about["scheme"], str(folder / "pack.json"))
        table = parquet.read_table(folder / "faces.parquet")
    except (OSError, ValueError, KeyError) as error:
        raise FacemixError(
            f"{folder}: not a readable pack ({error}); make it again with `dvc repro prepare`"
        ) from error
    n = len(table)
    held = n if crops is None else len(crops)
    if not (held == len(landmarks) == len(states) == n == about["faces"]):
        raise FacemixError(
            f"{folder}: images.npy holds {held} faces, landmarks.npy {len(landmarks)}, states.npy {len(states)}, "
            f"faces.parquet {n}, pack.json says {about['faces']}; make it again with `dvc repro prepare`"
        )

    def text(column: str) -> npt.NDArray[np.str_]:
        return np.array(table.column(column).to_pylist(), dtype=np.str_)

    def named(column: str) -> npt.NDArray[np.str_]:
        names = zip(table.column("source").to_pylist(), table.column(column).to_pylist(), strict=True)
        return np.array([f"{source}/{name}" for source, name in names], dtype=np.str_)

    return Pack(
        images=np.zeros((0, about["size"], about["size"], 3), np.uint8) if crops is None else crops,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        ids=named("id"),
        subsets=text("subset"),
        photos=named("photo"),
        splits=text("split"),
        transforms=np.array(table.column("transform").to_pylist(), dtype=np.float64).reshape(n, 2, 3),
        boxes=np.array(table.column("box").to_pylist(), dtype=np.float64).reshape(n, 4),
        digest=about["digest"],
        finder=about.get("finder"),
    )


def release(images: npt.NDArray[np.uint8]) -> None:
    """Gives the memory of crops that were read back to the system, so that what is in use does not grow with the pack.

    The system keeps them as cache while it has room, and reading again brings them back. Arrays that are no memory map
    stay as they are.
    """
    base: object = images
    while isinstance(base, np.ndarray):  # a part of a memory map is based on the map
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
