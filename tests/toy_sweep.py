"""Finished sweeps that are made up, as they are read and as `facemix sweep` writes their two files."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from facemix.verdict import simulation
from facemix.verdict.points import Mix, Swept

REAL = (25, 50, 100, 250, 500, 1709)
PHOTOS = 40


def real(n: float) -> float:
    """True NME of n real faces alone, %."""
    return 3 + 8 * n**-0.45


def mixed(n: float, m: float) -> float:
    """True NME of n real and m synthetic faces, %."""
    return 3 + (3 * n**-0.4 if n else 2) + 3 * m**-0.4


def point(strategy: str, n_real: int = 0, n_synthetic: int = 0, **more: Any) -> dict[str, Any]:
    """A mix and its true NME; `more` changes it."""
    true = mixed(n_real, n_synthetic) if n_synthetic else real(n_real)
    row = {"strategy": strategy, "alpha": None, "n_real": n_real or None, "n_synthetic": n_synthetic or None}
    return row | {"true": true, "bias": 0.5} | more


def grid() -> list[dict[str, Any]]:
    """Six numbers of real faces with and without 3000 synthetic ones, and four of synthetic ones at 100 real."""
    points = [point("real_only", n) for n in REAL] + [point("mixing", n, 3000, alpha=0.5) for n in REAL]
    return points + [point("mixing", 100, m, alpha=0.5) for m in (100, 300, 1000)]


def swept(points: Sequence[dict[str, Any]], noise: float = 1.0, seeds: int = 3, seed: int = 0) -> Swept:
    """A sweep of toy points; noise 1 is little, at 0 all errors of a point are its mean."""
    rng = np.random.default_rng(seed)
    photo_of = simulation.photographs(rng, PHOTOS)
    true = np.array([one["true"] for one in points])
    sds = {"seed_sd": 0.003 * noise, "photo_sd": 0.01 * noise, "rest_sd": 0.02 * noise}
    errors = simulation.errors(rng, true, seeds, photo_of, **sds)
    if not noise:
        errors = np.broadcast_to(true[:, None, None], errors.shape)
    mixes = [
        Mix(
            strategy=str(one["strategy"]),
            alpha=one["alpha"],
            n_real=one["n_real"] or 0,
            n_synthetic=one["n_synthetic"] or 0,
            val_nme=float(own.mean()) + one["bias"],
            errors=own,
            faces_seen=one.get("faces_seen"),
        )
        for one, own in zip(points, errors, strict=True)
    ]
    photos = photo_of.astype(np.str_)
    return Swept(mixes=tuple(mixes), seeds=tuple(range(seeds)), photos=photos, stand_in=False)


def write(folder: Path, points: Sequence[dict[str, Any]], seeds: Sequence[int] = (0, 1, 2)) -> None:
    """Writes points.csv and errors.parquet; of each point `bias` is what validation NME has more than test NME."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    photo_of = simulation.photographs(rng, PHOTOS)
    true = np.array([one["true"] for one in points])
    errors = simulation.errors(rng, true, len(seeds), photo_of, seed_sd=0.003, photo_sd=0.01, rest_sd=0.02)
    errors = errors.astype(np.float32)
    rows, written = [], []
    for one, of_seeds in zip(points, errors, strict=True):
        keys = {key: value for key, value in one.items() if key not in ("true", "bias")}
        for seed, nme in zip(seeds, of_seeds, strict=True):
            test = float(nme.mean())
            figures = {"val_nme": test + one["bias"], "test_nme": test, "experiment": "sweep"}
            rows.append(keys | {"seed": seed} | figures)
            named = {key: value for key, value in keys.items() if key not in ("faces_seen", "seconds")}
            written += [
                named | {"seed": seed, "face": f"face {i:03d}", "subset": "test", "photo": str(photo), "nme": value}
                for i, (photo, value) in enumerate(zip(photo_of, nme, strict=True))
            ]
            # Faces of another subset, which test NME does not hold.
            written.append(named | {"seed": seed, "face": "other", "subset": "ibug", "photo": "other", "nme": 40.0})
    with (folder / "points.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    parquet.write_table(pyarrow.Table.from_pylist(written), folder / "errors.parquet")
