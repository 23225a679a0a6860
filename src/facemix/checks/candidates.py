"""Which patches are coarsely alike: found among all pairs in bounded memory, and none of them missed.

A coarse patch is a vector of length 1, and an inner product is a correlation. Comparing all pairs by it is slow, so it
is first shortened to its part in the directions in which faces vary most, and one number more: the length of the rest.
By the inequality of Cauchy and Schwarz the rests of two patches add at most the product of their lengths. So the inner
product of two short vectors, which have length 1 again, is never less than the correlation, and `NearestNeighbors` of
scikit-learn within the distance that belongs to `CANDIDATE` misses nothing. On 300-W it leaves 1 in 2000 pairs, whose
correlation is then computed.

Patches are gone through block by block, against each block of what they are compared with. No table of pairs exists.
"""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.faces.mapped import release
from facemix.faces.parallel import available_cores, single_threaded_opencv

COARSE = 24
"""Of a coarse patch, pixels."""
CANDIDATE = 0.75
"""Least correlation of coarse patches for a closer look; those of 300-W's copies lie above 0.85."""

_BLUR = 3.0  # standard deviation in pixels of the neighbourhood that local contrast is relative to
_NOISE = 2.0  # grey levels; a flat neighbourhood has no contrast, and is not to get any
_KEPT = 127  # directions of a short vector: of 300-W they hold 90 % of what there is
_FITTED = 8192  # most patches that these directions are taken from
_BLOCK = 16384  # patches that are compared at a time
_AT_ONCE = 256  # patches of one piece of work
_QUERIES = 1024  # patches whose neighbours are held at a time
_ROUNDING = 1e-4  # of distances between float32 vectors of length 1, and far more than it

Patches = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def local_contrast(patch: npt.NDArray[np.floating] | Patches) -> npt.NDArray[np.float32]:
    """How far each pixel of a patch (H, W) differs from its neighbours, relative to how much they do."""
    grey = patch.astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _BLUR)
    return np.asarray(detail / (np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), _BLUR)) + _NOISE))


def units(contrast: npt.NDArray[np.float32]) -> Vectors:
    """Vectors (n, d) of mean 0 and length 1: their inner product is the correlation. What is flat stays 0."""
    flat = contrast.reshape(len(contrast), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))


def find(patches: Patches, n: int) -> npt.NDArray[np.int32]:
    """The candidates (m, 3): row, higher row, and 1 where one is alike the mirror image of the other.

    Args:
        patches: (N, H, W).
        n: as for `duplicates.find`.
    """
    if not n:
        return np.zeros((0, 3), np.int32)
    with single_threaded_opencv(), ThreadPoolExecutor(available_cores()) as pool:
        sample = np.unique(np.linspace(0, len(patches) - 1, _FITTED).round().astype(int))
        directions = _directions(_coarse(patches[sample], pool))
        tiles = [(i, j) for i in range(0, n, _BLOCK) for j in range(i, len(patches), _BLOCK)]
        found = []
        above = -1
        for i, j in tqdm(tiles, "searching faces", unit=f"{_BLOCK} x {_BLOCK} pairs", disable=None):
            if i != above:  # a new row of tiles
                own, above = _coarse(patches[i : min(i + _BLOCK, n)], pool), i
                sides = own, _mirrored(own)
            others = _coarse(patches[j : j + _BLOCK], pool)
            for is_mirrored, side in enumerate(sides):
                rows, columns = _alike(side, others, directions)
                pairs = np.stack([rows + i, columns + j, np.full_like(rows, is_mirrored)], axis=1)
                found.append(pairs[pairs[:, 1] > pairs[:, 0]].astype(np.int32))
            release(patches)
    return np.concatenate(found)


def _coarse(patches: Patches, pool: ThreadPoolExecutor) -> Vectors:
    """Coarse patches as vectors (n, COARSE * COARSE) of length 1, row by row of pixels."""

    def some(start: int) -> Vectors:
        small = [
            cv2.resize(patch, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
            for patch in patches[start : start + _AT_ONCE]
        ]
        return units(np.array([local_contrast(patch) for patch in small], dtype=np.float32))

    return np.concatenate(list(pool.map(some, range(0, len(patches), _AT_ONCE))))


def _mirrored(coarse: Vectors) -> Vectors:
    return np.ascontiguousarray(coarse.reshape(-1, COARSE, COARSE)[:, :, ::-1]).reshape(len(coarse), -1)


def _directions(coarse: Vectors) -> Vectors:
    """Orthonormal directions (d, _KEPT) in which patches and their mirror images vary most."""
    both = np.concatenate([coarse, _mirrored(coarse)])
    _, vectors = np.linalg.eigh(both.T @ both)
    return np.ascontiguousarray(vectors[:, ::-1][:, :_KEPT])


def _short(coarse: Vectors, directions: Vectors) -> Vectors:
    """Vectors (n, _KEPT + 1) of the same length, whose inner products are never less than those of the long ones."""
    kept = coarse @ directions
    rest = np.sqrt(np.maximum((coarse**2).sum(axis=1) - (kept**2).sum(axis=1), 0))
    return np.concatenate([kept, rest[:, None]], axis=1)


def _alike(coarse: Vectors, others: Vectors, directions: Vectors) -> tuple[Rows, Rows]:
    """Rows of both (m,) of the pairs whose correlation is `CANDIDATE` or more."""
    from sklearn.neighbors import NearestNeighbors

    seen = np.flatnonzero(coarse.any(axis=1))  # what is flat is alike nothing, but lies where all that is flat lies
    radius = np.sqrt(2 - 2 * CANDIDATE) + _ROUNDING
    index = NearestNeighbors(radius=radius, algorithm="brute").fit(_short(others, directions))
    found = [(seen[:0], seen[:0])]
    for start in range(0, len(seen), _QUERIES):
        own = seen[start : start + _QUERIES]
        near = index.radius_neighbors(_short(coarse[own], directions), return_distance=False)
        rows, columns = np.repeat(own, [len(one) for one in near]), np.concatenate(near)
        for first in range(0, len(rows), _BLOCK):
            some, other = rows[first : first + _BLOCK], columns[first : first + _BLOCK]
            alike = np.einsum("ij,ij->i", coarse[some], others[other]) >= CANDIDATE
            found.append((some[alike], other[alike]))
    one, another = zip(*found, strict=True)
    return np.concatenate(one), np.concatenate(another)
