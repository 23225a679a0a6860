"""An order of faces by a hash of their names, and nested subsets of them.

It never hangs on the order or the number of files: a face keeps its place when others are missing.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from facemix.faces.mapped import release

_AT_ONCE = 4096  # names that are in memory


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
    rows = np.arange(len(ids)) if rows is None else rows
    keys = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        names = ids[rows[start : start + _AT_ONCE]].tolist()
        keys[start : start + _AT_ONCE] = [fraction("subset", seed, name) for name in names]
        release(ids)
    return np.argsort(keys, kind="stable")


def by_hash(ids: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The sorted hashes (n,) of ids, and the row (n,) of each: by what some ids are found among many on disk."""
    found = hashes(ids.tolist())
    rows = np.argsort(found, kind="stable")
    return found[rows], rows


def hashes(ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The hashes (n,) of ids."""
    digests = (hashlib.sha256(id_.encode()).digest()[:8] for id_ in ids)
    return np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)
