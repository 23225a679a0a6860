"""Inspects faces and cuts them out on a Ray cluster: a task is a range of faces, whose images go there.

This process alone reads sources and writes what comes back, so machines need no folder in common. What is decoded there
is what is digested there: a shard says what it was made of, as one that was made here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.cluster import Cluster, check_versions
from facemix.errors import FacemixError
from facemix.faces.cropping import Crops, CutAll, CutOut, cut_out
from facemix.faces.face import BrokenFace, Face, File
from facemix.faces.formats import inspection
from facemix.faces.formats.inspection import InspectAll, Inspected
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
    given: npt.NDArray[np.floating]
    """(n, ...) what else a face needs: its image-to-crop transform, or its points."""


def inspecting(cluster: Cluster) -> InspectAll:
    """Inspects faces on the machines of a cluster.

    Raises:
        FacemixError: a machine has other packages than this one or lacks them, or none has a CPU.
    """
    free = _able(cluster)

    def inspect_all(faces: Sequence[Face]) -> Sequence[Inspected]:
        unread: list[tuple[int, BrokenFace]] = []
        results: dict[int, Inspected] = {}
        points = np.array([face.landmarks for face in faces])
        with tqdm(total=len(faces), desc="checking faces", unit="face", disable=None) as bar:
            for some, found in free.finished(_inspect, None, _ranges(faces, points, unread)):
                for number, image, one in zip(some.numbers, some.images, found, strict=True):
                    results[number] = BrokenFace(image, one) if isinstance(one, str) else one
                bar.update(len(found))
        results |= dict(unread)
        return [results[number] for number in range(len(faces))]

    return inspect_all


def cutting(cluster: Cluster) -> CutAll:
    """Cuts faces out on the machines of a cluster.

    Raises:
        FacemixError: a machine has other packages than this one or lacks them, or none has a CPU.
    """
    free = _able(cluster)

    def cut_all(crops: Crops) -> Iterator[tuple[int, CutOut | BrokenFace]]:
        unread: list[tuple[int, BrokenFace]] = []
        for some, found in free.finished(_cut, crops.size, _ranges(crops.faces, crops.transforms, unread)):
            for number, image, one in zip(some.numbers, some.images, found, strict=True):
                yield number, BrokenFace(image, one) if isinstance(one, str) else one
        yield from unread

    return cut_all


def _able(cluster: Cluster) -> Cluster:
    """The cluster without machines that have no CPU, once it is known that all others decode as this one does."""
    nodes = [node for node in cluster.nodes if node.slots(0, 1)]
    if not nodes:
        raise FacemixError("no machine of the cluster has a CPU to decode on; start Ray there with some")
    check_versions(nodes, {name: version(name).partition("+")[0] for name in PACKAGES})
    return replace(cluster, nodes=nodes)


def _ranges(
    faces: Sequence[Face], given: npt.NDArray[np.floating], unread: list[tuple[int, BrokenFace]]
) -> Iterator[_Range]:
    """The faces with their images, read ahead of the machines; what cannot be read is put aside."""

    def read(number: int) -> tuple[int, bytes | BrokenFace]:
        try:
            return number, read_bytes(faces[number].image)
        except BrokenFace as broken:
            return number, broken

    contents = in_turn(read, range(len(faces)))
    while some := list(islice(contents, RANGE)):
        unread += [(number, one) for number, one in some if isinstance(one, BrokenFace)]
        there = {number: one for number, one in some if isinstance(one, bytes)}
        numbers = list(there)
        yield _Range(
            numbers=numbers,
            images=[faces[number].image for number in numbers],
            contents=list(there.values()),
            given=given[numbers],
        )


def _inspect(_: None, some: _Range) -> list[bytes | str]:
    """What is found of the faces of a range, on a machine; of a broken one, the reason."""
    cv2.setNumThreads(1)
    found: list[bytes | str] = []
    for image, data, points in zip(some.images, some.contents, some.given, strict=True):
        result = inspection.inspect(image, data, points)
        if isinstance(result, bytes):
            result = inspection.damaged(image, data) or result
        found.append(result if isinstance(result, bytes) else result.reason)
    return found


def _cut(size: int, some: _Range) -> list[CutOut | str]:
    """The faces of a range, on a machine; of a broken one, the reason."""
    cv2.setNumThreads(1)
    found: list[CutOut | str] = []
    for image, data, transform in zip(some.images, some.contents, some.given, strict=True):
        try:
            found.append(cut_out(image, data, transform, size))
        except BrokenFace as broken:
            found.append(broken.reason)
    return found
