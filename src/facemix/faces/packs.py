"""Packs: what training reads. Crops of equal size, decoded once, with their points and where they came from.

`facemix.faces.packing` writes them. All but pack.json is memory-mapped: the memory that an opened pack takes does not
depend on its number of faces. `faces.parquet` is for people and other programs.

images.npy       (N, S, S, 3) uint8 RGB
landmarks.npy    (N, K, 2) float32, pixels of the crop, 0-based pixel centres; NaN where unlabelled
states.npy       (N, K) uint8: 0 unlabelled, 1 hidden, 2 visible
faces.parquet    a row a face: id, source, subset, split, photo, path, width, height, box, transform
columns.arrow    what is read of it, each column of values of equal size: id, photo, subset, split, transform, box
pack.json        size, margin, number of faces, digest of the contents, scheme, and of real faces the face finder
"""

import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """An opened pack; its arrays stay on disk until they are indexed."""

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
    _rows: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """The rows (n,) of some faces.

        Raises:
            KeyError: the pack does not hold one of them.
        """
        if not self._rows:  # made once, and at once: several threads may ask
            self._rows.update({id_: row for row, id_ in enumerate(self.ids.tolist())})
            release(self.ids)
        return np.array([self._rows[id_] for id_ in ids], dtype=np.int64)


def read(folder: Path, images: bool = True) -> Pack:
    """Opens a pack.

    Args:
        folder: of the pack.
        images: without them only the points and the table are read; `images` then holds no face.

    Raises:
        FacemixError: a file of it is missing, or its files do not belong together.
    """
    try:
        about = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        crops = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False) if images else None
        landmarks = np.load(folder / "landmarks.npy", mmap_mode="r", allow_pickle=False)
        states = np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False)
        scheme = schemes.parse(about["scheme"], str(folder / "pack.json"))
        columns = _columns(folder / "columns.arrow")
        ids, transforms, boxes = columns["id"], columns["transform"], columns["box"]
        photos, subsets, splits = columns["photo"], columns["subset"], columns["split"]
    except (OSError, ValueError, KeyError) as error:
        raise FacemixError(
            f"{folder}: not a readable pack ({error}); make it again with `dvc repro prepare`"
        ) from error
    n = len(ids)
    held = n if crops is None else len(crops)
    if not (held == len(landmarks) == len(states) == n == about["faces"]):
        raise FacemixError(
            f"{folder}: images.npy holds {held} faces, landmarks.npy {len(landmarks)}, states.npy {len(states)}, "
            f"columns.arrow {n}, pack.json says {about['faces']}; make it again with `dvc repro prepare`"
        )
    return Pack(
        images=np.zeros((0, about["size"], about["size"], 3), np.uint8) if crops is None else crops,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        ids=ids,
        subsets=subsets,
        photos=photos,
        splits=splits,
        transforms=transforms.reshape(n, 2, 3),
        boxes=boxes,
        digest=about["digest"],
        finder=about.get("finder"),
    )


def _columns(file: Path) -> dict[str, npt.NDArray[Any]]:
    """What `packing.write_columns` wrote: memory maps (n,) or (n, values), read-only."""
    import pyarrow

    whole = pyarrow.memory_map(str(file)).read_buffer()
    batch = pyarrow.ipc.open_file(whole).get_batch(0)
    found: dict[str, npt.NDArray[Any]] = {}
    for field_, column in zip(batch.schema, batch.columns, strict=True):
        values = field_.metadata[b"values"]
        shape = (len(column), int(values)) if values else (len(column),)
        offset = column.buffers()[1].address - whole.address
        found[field_.name] = np.memmap(file, np.dtype(field_.metadata[b"dtype"].decode()), "r", offset, shape)
    return found


def release(array: npt.NDArray[Any]) -> None:
    """Gives the memory of what was read back to the system, so that what is in use does not grow with the pack.

    The system keeps them as cache while it has room, and reading again brings them back. Arrays that are no memory map
    stay as they are.
    """
    base: object = array
    while isinstance(base, np.ndarray):  # a part of a memory map is based on the map
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
