"""Crops in several files, read like one array."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

SHARDS = "images"
"""The folder of a pack that holds them."""
OPEN = 256
"""Files that are open at a time, at most."""


class Shards:
    """Crops (N, S, S, 3) uint8 RGB in some files, one after the other.

    A row, a slice and an array of rows give what they give of an array, but always a copy. Files are read, not mapped:
    a map would bring pages around each crop, and keep them. Threads may share it.
    """

    def __init__(self, files: Sequence[Path], counts: Sequence[int], size: int) -> None:
        """
        Args:
            files: npy files (n, S, S, 3) of uint8.
            counts: the n of each.
            size: S.

        Raises:
            OSError: a file is missing.
            ValueError: a file holds other crops.
        """
        self.shape = (sum(counts), size, size, 3)
        self._files = files
        self._starts = np.cumsum([0, *counts])
        self._offsets = [_offset(file, (count, *self.shape[1:])) for file, count in zip(files, counts, strict=True)]
        self._opened = lru_cache(OPEN)(lambda place: _Opened(os.open(files[place], os.O_RDONLY)))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *_: Any, **__: Any) -> npt.NDArray[np.uint8]:
        raise TypeError("this would read every crop; index those that are wanted")

    def __getitem__(self, key: SupportsIndex | slice | Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        if isinstance(key, SupportsIndex) and not isinstance(key, np.ndarray):
            found = np.empty(self.shape[1:], np.uint8)
            self.read(np.array([range(len(self))[key]]), found[None])
            return found
        rows = np.arange(*key.indices(len(self))) if isinstance(key, slice) else self._rows(np.asarray(key))
        found = np.empty((*rows.shape, *self.shape[1:]), np.uint8)
        self.read(rows.ravel(), found.reshape(-1, *self.shape[1:]))
        return found

    def _rows(self, key: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The rows that an array chooses, 0 to N - 1."""
        if key.dtype == bool:
            if key.shape != (len(self),):
                raise IndexError(f"a mask of shape {key.shape} for {len(self)} crops")
            return np.flatnonzero(key)
        if key.size and key.dtype.kind not in "iu":
            raise IndexError(f"rows of type {key.dtype}, expected whole numbers")
        if key.size and (key.min() < -len(self) or key.max() >= len(self)):
            raise IndexError(f"rows from {key.min()} to {key.max()} of {len(self)} crops")
        return np.where(key < 0, key + len(self), key).astype(np.int64)

    def read(self, rows: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> None:
        """Some crops, straight into an array (n, S, S, 3).

        Args:
            rows: (n,) 0 to N - 1.

        Raises:
            OSError: a file ends early.
        """
        places = np.searchsorted(self._starts, rows, side="right") - 1
        for place, row, crop in zip(places.tolist(), (rows - self._starts[places]).tolist(), out, strict=True):
            start = self._offsets[place] + row * crop.nbytes
            # Held while it is read: of two threads that open it at once, the cache keeps the file of one.
            opened = self._opened(place)
            if os.preadv(opened.descriptor, [crop], start) < crop.nbytes:
                raise OSError(f"{self._files[place]}: ended early; make the pack again with `dvc repro prepare`")


class _Opened:
    """A file that is open as long as somebody has this."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _offset(file: Path, expected: tuple[int, ...]) -> int:
    """Where the crops of an npy file begin, bytes."""
    found: np.memmap[Any, Any] = np.lib.format.open_memmap(file, mode="r")
    if found.shape != expected or found.dtype != np.uint8 or np.isfortran(found):
        raise ValueError(f"{file.name} holds {found.dtype} {found.shape}, expected uint8 {expected}")
    return int(found.offset)


Images: TypeAlias = npt.NDArray[np.uint8] | Shards
"""Crops (N, S, S, 3) uint8 RGB, of a pack or in memory."""


def take(images: Images, rows: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> None:
    """Some crops, straight into an array (n, S, S, 3): indexing would copy them twice.

    Args:
        rows: (n,) 0 to N - 1.
    """
    if isinstance(images, Shards):
        images.read(rows, out)
    else:
        np.take(images, rows, axis=0, out=out, mode="clip")
