"""Cuts faces out on a Ray cluster: a task is a range of faces, whose images go there and whose crops come back.

This process alone reads sources and writes the pack, so machines need no folder in common. What is decoded there is
what is digested there: a shard says what it was made of, as one that was made here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt

from facemix.cluster import Cluster, check_versions
from facemix.errors import FacemixError
from facemix.faces.cropping import Crops, CutAll, CutOut, cut_out
from facemix.faces.face import BrokenFace, File
from facemix.faces.images import read_bytes
from facemix.faces.parallel import in_turn

PACKAGES = ("numpy", "opencv-python")
"""Whose versions may decide pixels."""
RANGE = 64
"""Faces of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """Some faces for a machine."""

    numbers: list[int]
    images: list[File]
    """What messages call them."""
    contents: list[bytes]
    transforms: npt.NDArray[np.float64]
    """(n, 2, 3) image-to-crop."""


def machines(cluster: Cluster) -> CutAll:
    """Cuts faces out on the machines of a cluster.

    Raises:
        FacemixError: a machine has other packages than this one or lacks them, or none has a CPU.
    """
    nodes = [node for node in cluster.nodes if node.slots(0, 1)]
    if not nodes:
        raise FacemixError("no machine of the cluster has a CPU to pack on; start Ray there with some")
    check_versions(nodes, {name: version(name).partition("+")[0] for name in PACKAGES})
    free = replace(cluster, nodes=nodes)

    def cut_all(crops: Crops) -> Iterator[tuple[int, CutOut | BrokenFace]]:
        unread: list[tuple[int, BrokenFace]] = []
        for some, found in free.finished(_cut, crops.size, _ranges(crops, unread)):
            for number, image, one in zip(some.numbers, some.images, found, strict=True):
                yield number, BrokenFace(image, one) if isinstance(one, str) else one
        yield from unread

    return cut_all


def _ranges(crops: Crops, unread: list[tuple[int, BrokenFace]]) -> Iterator[_Range]:
    """The faces with their images, read ahead of the machines; what cannot be read is put aside."""

    def read(number: int) -> tuple[int, bytes | BrokenFace]:
        try:
            return number, read_bytes(crops.faces[number].image)
        except BrokenFace as broken:
            return number, broken

    contents = in_turn(read, range(len(crops.faces)))
    while some := list(islice(contents, RANGE)):
        unread += [(number, one) for number, one in some if isinstance(one, BrokenFace)]
        there = {number: one for number, one in some if isinstance(one, bytes)}
        numbers = list(there)
        yield _Range(
            numbers=numbers,
            images=[crops.faces[number].image for number in numbers],
            contents=list(there.values()),
            transforms=crops.transforms[numbers],
        )


def _cut(size: int, some: _Range) -> list[CutOut | str]:
    """The faces of a range, on a machine; of a broken one, the reason."""
    cv2.setNumThreads(1)
    found: list[CutOut | str] = []
    for image, data, transform in zip(some.images, some.contents, some.transforms, strict=True):
        try:
            found.append(cut_out(image, data, transform, size))
        except BrokenFace as broken:
            found.append(broken.reason)
    return found
