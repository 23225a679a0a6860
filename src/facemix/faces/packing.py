"""Packing: decodes and crops faces, once, into a pack (`facemix.faces.packs`)."""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
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

_RELEASED = 256  # faces after which the memory of those that are written is given back


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

    Crops and points are written straight to memory maps, whose memory is given back on the way.

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
    n, scheme = len(entries), _scheme(entries)

    def mapped(name: str, dtype: type[np.generic], *shape: int) -> np.memmap[Any, Any]:
        array: np.memmap[Any, Any] = np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=(n, *shape))
        _reserve(folder / name)
        return array

    images = mapped("images.npy", np.uint8, size, size, 3)
    landmarks = mapped("landmarks.npy", np.float32, len(scheme), 2)
    states = mapped("states.npy", np.uint8, len(scheme))
    heights, widths = np.zeros(n, np.int64), np.zeros(n, np.int64)
    boxes, transforms = np.zeros((n, 4)), np.zeros((n, 6))

    def pack_one(i: int) -> BrokenFace | None:
        face = entries[i].face
        try:
            image = read_image(face.image)
        except BrokenFace as broken:
            return broken
        box = geometry.landmark_box(face.landmarks)
        transform = geometry.crop_transform(box, size, margin)
        boxes[i], transforms[i] = box, transform.ravel()
        heights[i], widths[i] = image.shape[:2]
        images[i] = geometry.warp(image, transform, size)
        landmarks[i] = geometry.apply(transform, face.landmarks)
        states[i] = face.states
        if i % _RELEASED == 0:
            _release(images)
        return None

    results = on_all_cores(pack_one, range(n), "packing faces")
    raise_broken([broken for broken in results if broken], n)
    for array in (images, landmarks, states):
        array.flush()
    measured = {"height": heights, "width": widths, "box": boxes, "transform": transforms}
    write_tables(folder, entries, measured)
    digest = _digest(images, landmarks, states, scheme, entries)
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


def write_tables(folder: Path, entries: Sequence[Entry], measured: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes `faces.parquet` and `columns.arrow`, a row a face.

    Args:
        measured: height and width (n,) of the images in pixels, box (n, 4), transform (n, 6).
    """
    import pyarrow
    import pyarrow.parquet as parquet

    def lists(values: npt.NDArray[np.float64]) -> Any:
        ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        return pyarrow.ListArray.from_arrays(pyarrow.array(ends), pyarrow.array(values.ravel()))

    def text(of: Callable[[Entry], str]) -> Any:
        return pyarrow.array((of(entry) for entry in entries), pyarrow.string(), size=len(entries))

    table = {
        "id": text(lambda entry: entry.face.id),
        "source": text(lambda entry: entry.source),
        "subset": text(lambda entry: entry.face.subset),
        "split": text(lambda entry: entry.split),
        "photo": text(lambda entry: entry.face.photo),
        "path": text(lambda entry: entry.face.image.name),
        "height": pyarrow.array(measured["height"]),
        "width": pyarrow.array(measured["width"]),
        "box": lists(measured["box"]),
        "transform": lists(measured["transform"]),
    }
    parquet.write_table(pyarrow.table(table), folder / "faces.parquet")
    columns = {
        "id": _text(f"{entry.source}/{entry.face.id}" for entry in entries),
        "photo": _text(f"{entry.source}/{entry.face.photo}" for entry in entries),
        "subset": _text(entry.face.subset for entry in entries),
        "split": _text(entry.split for entry in entries),
        "transform": measured["transform"],
        "box": measured["box"],
    }
    write_columns(folder / "columns.arrow", columns)


def write_columns(file: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays of equal length, of any type whose values have one size, to be mapped by `packs.read`.

    The type of a column is kept as that of numpy, in the metadata of its field.
    """
    import pyarrow

    arrays, fields = [], []
    for name, values in columns.items():
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        kind = pyarrow.binary(flat.shape[1] * flat.itemsize)
        metadata = {"dtype": flat.dtype.str, "values": str(flat.shape[1]) if values.ndim > 1 else ""}
        arrays.append(pyarrow.FixedSizeBinaryArray.from_buffers(kind, len(flat), [None, pyarrow.py_buffer(flat)]))
        fields.append(pyarrow.field(name, kind, nullable=False, metadata=metadata))
    schema = pyarrow.schema(fields)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def _text(values: Iterable[str]) -> npt.NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)


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


def _release(array: np.memmap[Any, Any]) -> None:
    """Gives the memory of what was written or read back to the system; the file keeps it."""
    assert isinstance(array.base, mmap.mmap)
    array.base.madvise(mmap.MADV_DONTNEED)


def _digest(
    images: np.memmap[Any, Any],
    landmarks: np.memmap[Any, Any],
    states: np.memmap[Any, Any],
    scheme: Scheme,
    entries: Sequence[Entry],
) -> str:
    digest = hashlib.sha256()

    def update(array: np.memmap[Any, Any]) -> None:
        for start in range(0, len(array), _RELEASED):
            digest.update(array[start : start + _RELEASED].tobytes())
            _release(array)

    update(landmarks)
    update(states)
    digest.update(json.dumps(scheme.as_dict()).encode())
    update(images)
    for entry in entries:
        digest.update(json.dumps([entry.source, entry.face.id, entry.face.subset, entry.split]).encode())
    return digest.hexdigest()[:16]
