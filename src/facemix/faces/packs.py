"""Packs: what training reads. Crops of equal size, decoded once, with their points and where they came from.

images.npy       (N, S, S, 3) uint8 RGB
landmarks.npy    (N, 68, 2) float32, pixels of the crop, 0-based pixel centres
faces.parquet    a row a face: id, source, subset, split, photo, path, width, height, box, transform
pack.json        size, margin, number of faces, digest of the contents
"""

import hashlib
import json
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import geometry
from facemix.faces.drawing import draw_points
from facemix.faces.face import BrokenFace, Face
from facemix.faces.images import read_image
from facemix.faces.landmarks import N_POINTS
from facemix.faces.parallel import on_all_cores
from facemix.files import whole_folder

FOLDER = Path("data/packs")
"""Where the pipeline keeps its packs, `real` and `synthetic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """An opened pack; `images` stays on disk until it is indexed."""

    images: npt.NDArray[np.uint8]
    """(N, S, S, 3) RGB, read-only memory map."""
    landmarks: npt.NDArray[np.float32]
    """(N, 68, 2) pixels of the crop."""
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

    def __len__(self) -> int:
        return len(self.ids)


def read(folder: Path) -> Pack:
    """Opens a pack.

    Raises:
        FacemixError: a file of it is missing, or its files do not belong together.
    """
    import pyarrow.parquet as parquet

    try:
        about = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        landmarks = np.load(folder / "landmarks.npy", allow_pickle=False)
        table = parquet.read_table(folder / "faces.parquet")
    except (OSError, ValueError, KeyError) as error:
        raise FacemixError(f"{folder}: not a readable pack ({error}); make it again with `facemix prepare`") from error
    n = len(table)
    if not (len(images) == len(landmarks) == n == about["faces"]):
        raise FacemixError(
            f"{folder}: images.npy holds {len(images)} faces, landmarks.npy {len(landmarks)}, faces.parquet {n}, "
            f"pack.json says {about['faces']}; make it again with `facemix prepare`"
        )

    def text(column: str) -> npt.NDArray[np.str_]:
        return np.array(table.column(column).to_pylist(), dtype=np.str_)

    def named(column: str) -> npt.NDArray[np.str_]:
        names = zip(table.column("source").to_pylist(), table.column(column).to_pylist(), strict=True)
        return np.array([f"{source}/{name}" for source, name in names], dtype=np.str_)

    return Pack(
        images=images,
        landmarks=landmarks,
        ids=named("id"),
        subsets=text("subset"),
        photos=named("photo"),
        splits=text("split"),
        transforms=np.array(table.column("transform").to_pylist(), dtype=np.float64).reshape(n, 2, 3),
        boxes=np.array(table.column("box").to_pylist(), dtype=np.float64).reshape(n, 4),
        digest=about["digest"],
    )


def release(images: npt.NDArray[np.uint8]) -> None:
    """Gives the memory of crops that were read back to the system, so that what is in use does not grow with the pack.

    The system keeps them as cache while it has room, and reading again brings them back. Arrays that are no memory map
    stay as they are.
    """
    if isinstance(images.base, mmap.mmap):
        images.base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A face on its way into a pack."""

    face: Face
    source: str
    split: str


def write(folder: Path, entries: Sequence[Entry], *, size: int, margin: float) -> None:
    """Decodes and crops every face into a new pack, on all cores; an older pack in `folder` is replaced at the end.

    Crops are written straight to the memory map, so the memory in use does not depend on the number of faces.

    Args:
        folder: where the pack goes.
        size: side of the crops in pixels.
        margin: side of a crop / longer side of the landmark box.

    Raises:
        FacemixError: no faces, or broken ones: all of them are listed, and nothing is written.
        OSError: the disk is full or read-only; nothing half written stays.
    """
    if not entries:
        raise FacemixError(f"{folder}: no faces to pack")
    with whole_folder(folder) as beside:
        _write(beside, entries, size, margin)


def _write(folder: Path, entries: Sequence[Entry], size: int, margin: float) -> None:
    n = len(entries)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    _reserve(folder / "images.npy")
    landmarks = np.zeros((n, N_POINTS, 2), dtype=np.float32)
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
    _write_table(folder / "faces.parquet", rows)
    digest = _digest(images, landmarks, rows)
    about = {"faces": n, "size": size, "margin": margin, "digest": digest}
    (folder / "pack.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    _, sheet = cv2.imencode(".png", contact_sheet(images, landmarks)[..., ::-1])  # `imwrite` hides a full disk
    (folder / "contact_sheet.png").write_bytes(sheet.tobytes())


def raise_broken(broken: Sequence[BrokenFace], n_faces: int) -> None:
    """Raises one ValueError that lists every broken face, if there are any."""
    if broken:
        listed = "\n".join(f"  {error}" for error in broken)
        raise FacemixError(f"{len(broken)} of {n_faces} faces are broken; repair or remove their files:\n{listed}")


def _reserve(path: Path) -> None:
    """Takes a file's space now: a memory map on a full disk would end the process by a bus error, not a message."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _digest(images: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float32], rows: list[dict[str, object]]) -> str:
    digest = hashlib.sha256(landmarks.tobytes())
    for image in images:
        digest.update(image.tobytes())
    for row in rows:
        digest.update(json.dumps([row[key] for key in ("source", "id", "subset", "split")]).encode())
    return digest.hexdigest()[:16]


def contact_sheet(
    images: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating], columns: int = 12, rows: int = 6
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) of up to columns x rows evenly chosen faces with their points.

    Args:
        images: (N, S, S, 3) RGB.
        landmarks: (N, 68, 2) pixels of those images.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, columns * rows).round().astype(int))
    size = images.shape[1]
    sheet = np.zeros((-(-len(chosen) // columns) * size, min(columns, len(chosen)) * size, 3), dtype=np.uint8)
    for k, i in enumerate(chosen):
        y, x = k // columns * size, k % columns * size
        sheet[y : y + size, x : x + size] = draw_points(images[i], landmarks[i])
    return sheet
