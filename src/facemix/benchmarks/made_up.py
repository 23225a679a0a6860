"""Made-up packs for benchmarks: as large as wanted, and files of holes where crops would be."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.faces import packing, schemes
from facemix.faces.face import VISIBLE
from facemix.faces.mapped import write_columns
from facemix.faces.order import by_hash
from facemix.faces.shards import SHARDS

_AT_ONCE = 4096


def write_pack(folder: Path, splits: Sequence[str], size: int) -> None:
    """Writes a pack of black crops with a face for each split; their points lie about one shape of 68 points."""
    scheme, n, rng = schemes.ibug68(), len(splits), np.random.default_rng(0)
    folder.mkdir(parents=True)

    def mapped(name: str, dtype: type[np.generic], *shape: int) -> "np.memmap[tuple[int, ...], np.dtype[np.generic]]":
        return np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)

    (folder / SHARDS).mkdir()
    most = packing.capacity(size)
    counts = [min(most, n - start) for start in range(0, n, most)]
    shards = [{"file": f"made_up-{place}.npy", "faces": count} for place, count in enumerate(counts)]
    for shard, count in zip(shards, counts, strict=True):
        mapped(f"{SHARDS}/{shard['file']}", np.uint8, count, size, size, 3)
    landmarks = mapped("landmarks.npy", np.float32, n, len(scheme), 2)
    states = mapped("states.npy", np.uint8, n, len(scheme))
    shape = size * (0.25 + 0.5 * rng.random((len(scheme), 2)))
    for start in range(0, n, _AT_ONCE):
        chosen = slice(start, min(start + _AT_ONCE, n))
        landmarks[chosen] = shape + rng.normal(0, size / 50, (chosen.stop - start, *shape.shape))
        states[chosen] = VISIBLE
    names = np.array([f"made_up/photo-{i}" for i in range(n)])
    columns: dict[str, npt.NDArray[Any]] = {
        "id": names,
        "photo": names,
        "subset": np.full(n, "made_up"),
        "split": np.array(splits),
        "transform": np.tile(np.eye(2, 3).ravel(), (n, 1)),
        "box": np.tile(size * np.array([0.25, 0.25, 0.75, 0.75]), (n, 1)),
    }
    columns["hash"], columns["row"] = by_hash(names)
    write_columns(folder / "columns.arrow", columns)
    about = {"faces": n, "size": size, "margin": 2.0, "digest": "made-up", "scheme": scheme.as_dict(), "shards": shards}
    (folder / "pack.json").write_text(json.dumps(about), encoding="utf-8")
