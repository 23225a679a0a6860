"""Packs: what training reads. Crops of equal size, decoded once, with their points and where they came from.

`facemix.faces.packing` writes them. All but pack.json is memory-mapped: the memory that an opened pack takes does not
depend on its number of faces. `faces.parquet` is for people and other programs.

images/          crops in shards: SOURCE-DIGEST.npy (n, S, S, 3) uint8 RGB, of one source each, up to 1 GiB
landmarks.npy    (N, K, 2) float32, pixels of the crop, 0-based pixel centres; NaN where unlabelled
states.npy       (N, K) uint8: 0 unlabelled, 1 hidden, 2 visible
faces.parquet    a row a face: id, source, subset, split, photo, path, width, height, box, transform
columns.arrow    what is read of it, each column of values of equal size: id, photo, subset, split, transform, box; and
                 what ids are found by: hash, the sorted hashes of all ids, and row, the row of each
pack.json        size, margin, number of faces, digest of the contents, scheme, the shards in their order with the
                 number of faces of each, and of real faces the face finder
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.mapped import read_columns, release, take
from facemix.faces.order import hashes
from facemix.faces.schemes import Scheme
from facemix.faces.shards import SHARDS, Images, Shards

FOLDER = Path("data/packs")
"""Where the pipeline keeps its packs, `real` and `synthetic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """An opened pack; its arrays stay on disk until they are indexed."""

    images: Images
    """(N, S, S, 3) RGB."""
    landmarks: npt.NDArray[np.float32]
    """(N, K, 2) pixels of the crop; NaN where unlabelled."""
    states: npt.NDArray[np.uint8]
    """(N, K) as of a `Face`."""
    scheme: Scheme
    ids: npt.NDArray[np.str_]
    """(N,) `source/id`, unique."""
    by_hash: tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]
    """The sorted hashes (N,) of the ids, and the row (N,) of each."""
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

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """The rows (n,) of some faces.

        Raises:
            KeyError: the pack does not hold one of them.
        """
        names = np.array(list(ids), dtype=np.str_)
        wanted, rows = hashes(names.tolist()), np.zeros(len(names), np.int64)
        known, known_rows = self.by_hash
        places, left = np.searchsorted(known, wanted), np.arange(len(names))
        while len(left):  # once, but where several ids have one hash
            found = left[places[left] < len(known)]
            found = found[known[places[found]] == wanted[found]]
            if len(found) < len(left):
                raise KeyError(str(names[np.setdiff1d(left, found)[0]]))
            rows[left] = known_rows[places[left]]
            left = left[take(self.ids, rows[left]) != names[left]]
            places[left] += 1
        release(known)
        release(known_rows)
        return rows


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
        shards = about["shards"] if images else []
        files = [folder / SHARDS / shard["file"] for shard in shards]
        crops = Shards(files, [shard["faces"] for shard in shards], about["size"])
        landmarks = np.load(folder / "landmarks.npy", mmap_mode="r", allow_pickle=False)
        states = np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False)
        scheme = schemes.parse(about["scheme"], str(folder / "pack.json"))
        columns = read_columns(folder / "columns.arrow")
        ids, transforms, boxes = columns["id"], columns["transform"], columns["box"]
        photos, subsets, splits = columns["photo"], columns["subset"], columns["split"]
        by_hash = columns["hash"], columns["row"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise FacemixError(
            f"{folder}: not a readable pack ({error}); make it again with `dvc repro prepare`"
        ) from error
    n = len(ids)
    held = len(crops) if images else n
    if not (held == len(landmarks) == len(states) == n == about["faces"]):
        raise FacemixError(
            f"{folder}: {SHARDS} holds {held} faces, landmarks.npy {len(landmarks)}, states.npy {len(states)}, "
            f"columns.arrow {n}, pack.json says {about['faces']}; make it again with `dvc repro prepare`"
        )
    return Pack(
        images=crops,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        ids=ids,
        by_hash=by_hash,
        subsets=subsets,
        photos=photos,
        splits=splits,
        transforms=transforms.reshape(n, 2, 3),
        boxes=boxes,
        digest=about["digest"],
        finder=about.get("finder"),
    )
