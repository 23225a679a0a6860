"""Packing: decodes and crops faces, once, into a pack (`facemix.faces.packs`)."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import geometry
from facemix.faces.face import BrokenFace, Face
from facemix.faces.images import read_image
from facemix.faces.order import nested_order
from facemix.faces.parallel import on_all_cores
from facemix.faces.schemes import Scheme
from facemix.files import whole_folder

FitFinder = Callable[[Iterable[npt.NDArray[np.uint8]], npt.NDArray[np.float64]], dict[str, Any]]
"""Tells from n crops, and the tight boxes (n, 4) of their landmarks, how found boxes lie to those."""
FITTED = 200
"""Most training faces that it is told by: the error of a median is then a tenth of the spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A face on its way into a pack."""

    face: Face
    source: str
    split: str


def write(
    folder: Path, entries: Sequence[Entry], *, size: int, margin: float, fit_finder: FitFinder | None = None
) -> None:
    """Decodes and crops every face into a new pack, on all cores; an older pack in `folder` is replaced at the end.

    Crops are written straight to the memory map, so the memory in use does not depend on the number of faces.

    Args:
        folder: where the pack goes.
        size: side of the crops in pixels.
        margin: side of a crop / longer side of the landmark box.
        fit_finder: what it returns for training faces becomes the pack's `finder`.

    Raises:
        FacemixError: no faces, or broken ones: all of them are listed, and nothing is written.
        OSError: the disk is full or read-only; nothing half written stays.
    """
    if not entries:
        raise FacemixError(f"{folder}: no faces to pack")
    with whole_folder(folder) as beside:
        _write(beside, entries, size, margin, fit_finder)


def _write(folder: Path, entries: Sequence[Entry], size: int, margin: float, fit_finder: FitFinder | None) -> None:
    n = len(entries)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    _reserve(folder / "images.npy")
    scheme = _scheme(entries)
    landmarks = np.zeros((n, len(scheme), 2), dtype=np.float32)
    states = np.stack([entry.face.states for entry in entries])
    rows: list[dict[str, object]] = [{} for _ in range(n)]

    def pack_one(i: int) -> BrokenFace | None:
        face = entries[i].face
        try:
            image = read_image(face.image)
        except BrokenFace as broken:
            return broken
        box = geometry.landmark_box(face.landmarks)
        transform = geometry.crop_transform(box, size, margin)
        images[i] = geometry.warp(image, transform, size)
        landmarks[i] = geometry.apply(transform, face.landmarks)
        rows[i] = {
            "id": face.id,
            "source": entries[i].source,
            "subset": face.subset,
            "split": entries[i].split,
            "photo": face.photo,
            "path": face.image.name,
            "height": image.shape[0],
            "width": image.shape[1],
            "box": box.tolist(),
            "transform": transform.ravel().tolist(),
        }
        return None

    results = on_all_cores(pack_one, range(n), "packing faces")
    raise_broken([broken for broken in results if broken], n)
    images.flush()
    np.save(folder / "landmarks.npy", landmarks)
    np.save(folder / "states.npy", states)
    write_table(folder / "faces.parquet", rows)
    digest = _digest(images, landmarks, states, scheme, rows)
    about: dict[str, Any] = {"faces": n, "size": size, "margin": margin, "digest": digest, "scheme": scheme.as_dict()}
    if fit_finder:
        shown = _training_rows(entries)
        about["finder"] = fit_finder((images[row] for row in shown), geometry.landmark_box(landmarks[shown]))
    (folder / "pack.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _training_rows(entries: Sequence[Entry]) -> npt.NDArray[np.int64]:
    """The same training faces wherever the pack is made, at most `FITTED`."""
    rows = np.array([row for row, entry in enumerate(entries) if entry.split == "train"], dtype=np.int64)
    ids = np.array([f"{entries[row].source}/{entries[row].face.id}" for row in rows], dtype=np.str_)
    return rows[nested_order(ids, seed=0)[:FITTED]]


def raise_broken(broken: Sequence[BrokenFace], n_faces: int) -> None:
    """Raises one ValueError that lists every broken face, if there are any."""
    if broken:
        listed = "\n".join(f"  {error}" for error in broken)
        raise FacemixError(f"{len(broken)} of {n_faces} faces are broken; repair or remove their files:\n{listed}")


def _reserve(path: Path) -> None:
    """Takes a file's space now: a memory map on a full disk would end the process by a bus error, not a message."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Writes the `faces.parquet` of a pack: a row a face."""
    import pyarrow
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _scheme(entries: Sequence[Entry]) -> Scheme:
    """The one scheme of all faces.

    Raises:
        FacemixError: there are several.
    """
    of_source = {entry.source: entry.face.scheme for entry in entries}
    first, scheme = next(iter(of_source.items()))
    for source, other in of_source.items():
        if other.as_dict() != scheme.as_dict():
            raise FacemixError(
                f"sources {first} and {source}: found points of the schemes {scheme.name} and {other.name}, expected "
                "one scheme for all sources of a role; remove one of them from params.yaml"
            )
    return scheme


def _digest(
    images: npt.NDArray[np.uint8],
    landmarks: npt.NDArray[np.float32],
    states: npt.NDArray[np.uint8],
    scheme: Scheme,
    rows: list[dict[str, object]],
) -> str:
    digest = hashlib.sha256(landmarks.tobytes() + states.tobytes() + json.dumps(scheme.as_dict()).encode())
    for image in images:
        digest.update(image.tobytes())
    for row in rows:
        digest.update(json.dumps([row[key] for key in ("source", "id", "subset", "split")]).encode())
    return digest.hexdigest()[:16]
