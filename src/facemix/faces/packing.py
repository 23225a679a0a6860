"""Packing: decodes and crops faces, once, into a pack (`facemix.faces.packs`)."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import cropping, geometry
from facemix.faces.cropping import Crops, CutAll
from facemix.faces.face import BrokenFace, Face
from facemix.faces.mapped import release, reserve, write_columns
from facemix.faces.order import by_hash, fraction, nested_order
from facemix.faces.schemes import Scheme
from facemix.faces.shards import SHARDS, Shards
from facemix.files import whole_folder

FitFinder = Callable[[Iterable[npt.NDArray[np.uint8]], npt.NDArray[np.float64]], dict[str, Any]]
"""Tells from n crops, and the tight boxes (n, 4) of their landmarks, how found boxes lie to those."""
FITTED = 200
"""Most training faces that it is told by: the error of a median is then a tenth of the spread."""
SHARD = 1 << 30
"""Bytes of a shard's crops, at most."""

_RELEASED = 4096  # faces after which the memory of what was read is given back


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A face on its way into a pack."""

    face: Face
    source: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A file of a pack, and what it was made of: from equal things comes an equal file."""

    name: str
    recipe: str
    """As `cropping.Crops.recipe`."""
    images: str
    """As `cropping.Crops.images`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A pack that there was, whose shards are taken over where they would come out the same."""

    files: Mapping[str, Path]
    """Path below the pack's folder -> where the file is now."""
    shards: Sequence[Shard]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The shards of a new pack."""

    shards: Sequence[Shard]
    taken: int
    """How many of them were taken over."""


def write(
    folder: Path,
    entries: Sequence[Entry],
    *,
    size: int,
    margin: float,
    fit_finder: FitFinder | None = None,
    former: Former | None = None,
    cut_all: CutAll = cropping.here,
) -> Written:
    """Decodes and crops every face into a new pack; an older pack in `folder` is replaced at the end.

    Crops and points are written straight to memory maps, whose memory is given back on the way. A shard is taken over
    from a former pack where its faces, their points, the contents of their images, and all else that decides a crop
    are as they were. The pack is the same, byte by byte, with a former one and without.

    Args:
        folder: where the pack goes.
        size: side of the crops in pixels.
        margin: side of a crop / longer side of the landmark box.
        fit_finder: what it returns for training faces becomes the pack's `finder`.
        former: what may be taken over.
        cut_all: what cuts faces out, if not all cores of this machine.

    Raises:
        FacemixError: no faces, or broken ones: all of them are listed, and nothing is written.
        OSError: the disk is full or read-only; nothing half written stays.
    """
    if not entries:
        raise FacemixError(f"{folder}: no faces to pack")
    with whole_folder(folder) as beside:
        return _write(beside, entries, size, margin, fit_finder, former, cut_all)


def _write(
    folder: Path,
    entries: Sequence[Entry],
    size: int,
    margin: float,
    fit_finder: FitFinder | None,
    former: Former | None,
    cut_all: CutAll,
) -> Written:
    n, scheme = len(entries), _scheme(entries)

    def mapped(name: str, dtype: type[np.generic], *shape: int) -> np.memmap[Any, Any]:
        array: np.memmap[Any, Any] = np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=(n, *shape))
        reserve(folder / name)
        return array

    landmarks = mapped("landmarks.npy", np.float32, len(scheme), 2)
    states = mapped("states.npy", np.uint8, len(scheme))
    boxes, transforms = np.zeros((n, 4)), np.zeros((n, 2, 3))
    for i, entry in enumerate(entries):
        boxes[i] = geometry.landmark_box(entry.face.landmarks)
        transforms[i] = geometry.crop_transform(boxes[i], size, margin)
        landmarks[i] = geometry.apply(transforms[i], entry.face.landmarks)
        states[i] = entry.face.states

    parts = list(parted(entries, capacity(size)))
    sizes, shards, taken = _pack_images(folder / SHARDS, entries, parts, transforms, size, _usable(former), cut_all)
    for array in (landmarks, states):
        array.flush()
    write_tables(folder, entries, {"size": sizes, "box": boxes, "transform": transforms.reshape(n, 6)})
    listed = [{"file": shard.name, "faces": len(part)} for shard, part in zip(shards, parts, strict=True)]
    about: dict[str, Any] = {
        "faces": n,
        "size": size,
        "margin": margin,
        "digest": _digest(landmarks, states, scheme, listed, entries),
        "scheme": scheme.as_dict(),
        "shards": listed,
    }
    if fit_finder:
        images = Shards([folder / SHARDS / shard.name for shard in shards], [len(part) for part in parts], size)
        shown = _training_rows(entries)
        about["finder"] = fit_finder((images[row] for row in shown), geometry.landmark_box(landmarks[shown]))
    (folder / "pack.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return Written(shards=shards, taken=taken)


def capacity(size: int) -> int:
    """The most crops of a shard."""
    return max(1, SHARD // (size * size * 3))


def parted(entries: Sequence[Entry], most: int) -> Iterator[range]:
    """The rows of each shard: of one source, and no more than `most`.

    Beside that, a face ends a shard by a hash of its name. So a face more or less changes the shard that it is in, and
    seldom one more: those behind it begin and end with the same faces as before.
    """
    start = 0
    for row, entry in enumerate(entries):
        last = row + 1 == len(entries) or entries[row + 1].source != entry.source
        if last or row + 1 - start == most or fraction("shard", entry.face.id) < 2 / most:
            yield range(start, row + 1)
            start = row + 1


def _pack_images(
    folder: Path,
    entries: Sequence[Entry],
    parts: Sequence[range],
    transforms: npt.NDArray[np.float64],
    size: int,
    former: Mapping[str, "_Former"],
    cut_all: CutAll,
) -> tuple[npt.NDArray[np.int64], list[Shard], int]:
    """Fills the folder with shards; returns the sizes (n, 2) of the images, the shards, and how many were taken over.

    Raises:
        FacemixError: broken faces; all of them are listed.
    """
    folder.mkdir()
    sizes, shards, taken = np.zeros((len(entries), 2), np.int64), [], 0
    broken: list[BrokenFace] = []
    with tqdm(total=len(entries), desc="packing faces", unit="face", disable=None) as bar:
        for part in parts:
            crops = Crops(
                source=entries[part.start].source,
                faces=[entries[row].face for row in part],
                transforms=transforms[part.start : part.stop],
                size=size,
            )
            recipe = crops.recipe()
            there = former.get(recipe)
            if there and there.shard.images == crops.images():
                _place(there.file, folder / there.shard.name)
                shards.append(there.shard)
                sizes[part.start : part.stop] = there.sizes
                taken += 1
                bar.update(len(part))
                continue
            cropped = cropping.cut(crops, folder, bar.update, cut_all)
            broken += cropped.broken
            sizes[part.start : part.stop] = cropped.sizes
            shards.append(Shard(name=cropped.name, recipe=recipe, images=cropped.images))
    raise_broken(broken, len(entries))
    return sizes, shards, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Former:
    """A shard that may be taken over."""

    shard: Shard
    file: Path
    sizes: npt.NDArray[np.int64]
    """(n, 2) height and width of the images."""


def _usable(former: Former | None) -> dict[str, _Former]:
    """The shards of a former pack by their recipes; none where its files do not belong together."""
    import pyarrow.parquet as parquet

    if former is None:
        return {}
    try:
        about = json.loads(former.files["pack.json"].read_text(encoding="utf-8"))
        table = parquet.read_table(former.files["faces.parquet"], columns=["height", "width"])
        sizes = np.stack([column.to_numpy() for column in table.columns], axis=1)
        found, start = {}, 0
        for shard, listed in zip(former.shards, about["shards"], strict=True):
            file, stop = former.files[f"{SHARDS}/{shard.name}"], start + listed["faces"]
            crops = np.lib.format.open_memmap(file, mode="r")
            if shard.name != listed["file"] or crops.shape != (stop - start, *[about["size"]] * 2, 3):
                return {}
            found[shard.recipe] = _Former(shard=shard, file=file, sizes=sizes[start:stop])
            start = stop
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if start == len(sizes) else {}


def _place(file: Path, target: Path) -> None:
    """Has a file in another place too: a link, where both are on one disk, as neither is ever written to."""
    try:
        os.link(file.resolve(), target)
    except FileExistsError:
        pass  # of equal crops
    except OSError:
        shutil.copyfile(file, target)


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


def write_tables(folder: Path, entries: Sequence[Entry], measured: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes `faces.parquet` and `columns.arrow`, a row a face.

    Args:
        measured: size (n, 2): height and width of the images in pixels, box (n, 4), transform (n, 6).
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
        "height": pyarrow.array(np.ascontiguousarray(measured["size"][:, 0])),
        "width": pyarrow.array(np.ascontiguousarray(measured["size"][:, 1])),
        "box": lists(measured["box"]),
        "transform": lists(measured["transform"]),
    }
    parquet.write_table(pyarrow.table(table), folder / "faces.parquet")
    ids = _text(f"{entry.source}/{entry.face.id}" for entry in entries)
    columns: dict[str, npt.NDArray[Any]] = {
        "id": ids,
        "photo": _text(f"{entry.source}/{entry.face.photo}" for entry in entries),
        "subset": _text(entry.face.subset for entry in entries),
        "split": _text(entry.split for entry in entries),
        "transform": measured["transform"],
        "box": measured["box"],
    }
    columns["hash"], columns["row"] = by_hash(ids)
    write_columns(folder / "columns.arrow", columns)


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


def _digest(
    landmarks: np.memmap[Any, Any],
    states: np.memmap[Any, Any],
    scheme: Scheme,
    shards: Sequence[Mapping[str, object]],
    entries: Sequence[Entry],
) -> str:
    """Of all contents: the name of a shard is a digest of its own."""
    digest = hashlib.sha256()
    for array in (landmarks, states):
        for start in range(0, len(array), _RELEASED):
            digest.update(array[start : start + _RELEASED].tobytes())
            release(array)
    digest.update(json.dumps([scheme.as_dict(), shards]).encode())
    for entry in entries:
        digest.update(json.dumps([entry.source, entry.face.id, entry.face.subset, entry.split]).encode())
    return digest.hexdigest()[:16]
