"""An order of faces by a hash of their names, and nested subsets of them.

It never hangs on the order or the number of files: a face keeps its place when others are missing.
"""

import hashlib

import numpy as np
import numpy.typing as npt


def fraction(*key: object) -> float:
    """A number in [0, 1), uniform over keys and fixed for each: the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def nested_order(
    ids: npt.NDArray[np.str_], seed: int, rows: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Indices (n,) of faces in the order of a seeded hash of their ids: its first k faces are the subset of size k.

    A larger subset contains every smaller one of the same seed.

    Args:
        rows: (n,) the faces among `ids` that are meant, whose ids are then not copied; None: all. Indices are those of
            `rows`.
    """
    names = np.asarray(ids)  # of a memory map, single elements are slow
    chosen = range(len(names)) if rows is None else rows
    keys = np.fromiter((fraction("subset", seed, names[row]) for row in chosen), np.float64, count=len(chosen))
    return np.argsort(keys, kind="stable")
