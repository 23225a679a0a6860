"""`facemix bench leaks`: seconds and memory of the search for copies, at three sizes and at that of a large team."""

import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from facemix.benchmarks.memory import peak_memory
from facemix.checks import candidates, duplicates
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.faces.mapped import release
from facemix.faces.parallel import available_cores
from facemix.faces.schemes import ibug68
from facemix.faces.shards import Shards

REAL, ALL = 100_000, 1_100_000
"""The faces that are extrapolated to: real ones, and with the synthetic ones."""

_FREEDOM = 31
"""Pictures that a picture is mixed of: so many that 1 pair in 60,000 is coarsely alike, as of 300-W and our renders."""
_SHARED = 0.2  # of a picture's variance: the mean correlation of two photographs' coarse patches
_DETAIL = 1 / 36  # of a picture's side: standard deviation of the blur
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One search."""

    faces: int
    """All; the first half is compared with all, as real faces are."""
    seconds: npt.NDArray[np.float64]
    """(2, 3) by the clock and of CPU time: of cutting patches, of searching candidates, of registering these."""
    candidates: int
    peak: float
    """Memory of the process, MiB."""

    @property
    def pairs(self) -> int:
        return pairs(self.faces // 2, self.faces)


def pairs(n: int, faces: int) -> int:
    """Comparisons of n faces with each other and with all others, straight and mirrored."""
    return 2 * (n * faces - n * (n + 1) // 2)


def leaks(params: Params, faces: int) -> None:
    """Prints seconds and peak memory of the search among N/4, N/2 and N faces, and what both lead to expect.

    Half of the faces are real ones, which are compared with all. Each size is measured in a process of its own. The
    faces are noise that is alike as often as photographs and rendered faces are, because every pair that is coarsely
    alike costs a registration.

    Raises:
        FacemixError: too few faces to tell anything by.
    """
    if faces < 400:
        raise FacemixError(f"--faces {faces}: expected at least 400")
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = [pool.apply(measure, (params.pack.crop_size, n)) for n in (faces // 4, faces // 2, faces)]
    print(f"crops of {params.pack.crop_size} px, {available_cores()} cores")
    print(table(found))


def table(found: list[Measured]) -> str:
    """What was measured, and what it leads to expect, as text."""
    lines = [
        "seconds by the clock (and of CPU time)",
        "   faces     pairs  alike             cut          search        register  peak memory",
    ]
    for one in found:
        parts = " ".join(f"{clock:7.1f} {f'({cpu:.1f})':7s}" for clock, cpu in one.seconds.T)
        lines.append(f"{one.faces:8,d} {one.pairs:9.2e} {one.candidates:6,d} {parts} {one.peak:8.0f} MiB")
    clock, cpu = (extrapolated(found, of, REAL, ALL) / 3600 for of in (0, 1))
    cores = available_cores()
    lines.append(
        f"{REAL:,} real faces and {ALL - REAL:,} synthetic ones, {pairs(REAL, ALL):.1e} pairs: {clock:.2f} h by the "
        f"clock; {cpu:.2f} h of CPU time, which {cores} idle cores spend in {cpu / cores:.2f} h"
    )
    return "\n".join(lines)


def extrapolated(found: list[Measured], of: int, real: int, faces: int) -> float:
    """Seconds of a search, if each of its three parts takes some seconds a face and some a pair.

    Args:
        of: 0: by the clock, 1: of CPU time.
    """
    sizes = np.array([[one.faces, one.pairs] for one in found], dtype=np.float64)
    scale = sizes.max(axis=0)
    wanted = np.array([faces, pairs(real, faces)]) / scale
    parts = np.array([one.seconds[of] for one in found]).T
    return float(sum(wanted @ nnls(sizes / scale, seconds)[0] for seconds in parts))


def measure(crop_size: int, faces: int) -> Measured:
    """Searches among made-up faces."""
    scheme = ibug68()
    with tempfile.TemporaryDirectory() as folder:
        images = _pictures(Path(folder) / "images.npy", faces, crop_size)
        landmarks = np.tile(_points(len(scheme), crop_size), (faces, 1, 1))
        times = [_now()]
        patches = duplicates.cut(images, landmarks, scheme, duplicates.on_disk(faces))
        times.append(_now())
        rows = candidates.find(patches, faces // 2)
        times.append(_now())
        duplicates.confirmed(patches, rows)
        times.append(_now())
    return Measured(
        faces=faces,
        seconds=np.diff(times, axis=0).T,
        candidates=len(rows),
        peak=peak_memory(),
    )


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _points(n: int, size: int) -> npt.NDArray[np.float32]:
    """Points (n, 2) in the inner half of a picture, those of the right side right of those of the left one."""
    rng = np.random.default_rng(1)
    return (size * (0.25 + 0.5 * rng.random((n, 2)))).astype(np.float32)


def _pictures(file: Path, n: int, size: int) -> Shards:
    """Pictures (n, size, size, 3) in a file, each mixed of the same few pictures of soft noise."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((_FREEDOM + 1, size, size), dtype=np.float32)
    soft = np.array([cv2.GaussianBlur(picture, (0, 0), size * _DETAIL) for picture in noise])
    shared, *mixed = soft / soft.std(axis=(1, 2), keepdims=True)
    images = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    for start in range(0, n, _AT_ONCE):
        weights = rng.standard_normal((min(_AT_ONCE, n - start), _FREEDOM), dtype=np.float32)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        grey = np.sqrt(_SHARED) * shared + np.sqrt(1 - _SHARED) * np.tensordot(weights, np.array(mixed), 1)
        images[start : start + _AT_ONCE] = np.clip(128 + 40 * grey, 0, 255).astype(np.uint8)[..., None]
        release(images)
    images.flush()
    return Shards([file], [n], size)
