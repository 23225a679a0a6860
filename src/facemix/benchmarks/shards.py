"""`facemix bench shards`: what the kinds of pictures take, and how long shards take to write, to index and to read."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from facemix.benchmarks.realism import Folder, read
from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.face import Face
from facemix.faces.formats import facesynthetics
from facemix.faces.images import read_image
from facemix.faces.parallel import single_threaded_opencv
from facemix.render import folder, sets, shards

PICTURES = 100
"""Of which kinds are compared."""
KINDS = (("png", None), ("jpeg", 95), ("jpeg", 90), ("jpeg", 75), ("webp", 90), ("webp", 75))
_DRAWN = np.random.default_rng(0).normal(size=450).tolist()
"""As much as is recorded of a face: 9.6 KB of JSON."""

Image = npt.NDArray[np.uint8]
Result = TypeVar("Result")


def compare(renders: Folder, faces: int) -> None:
    """Prints bytes, time and error of pictures of each kind, and the time that shards of so many faces take.

    Args:
        renders: a rendered set, whose first pictures are encoded anew; as PNG, so that they have lost nothing yet.
        faces: of the made-up shards, in which these pictures are there again and again, as JPEG.

    Raises:
        FacemixError: too few faces.
    """
    found = read("--set", renders)[:PICTURES]
    if faces < shards.FACES:
        raise FacemixError(f"--faces {faces}: expected at least {shards.FACES}")
    images = [np.ascontiguousarray(read_image(face.image)[..., ::-1]) for face in found]
    print(f"{len(images)} pictures of {images[0].shape[1]} x {images[0].shape[0]}, one thread, CPU time")
    print("                  bytes    encode    decode  mean error of a value, of 255")
    with single_threaded_opencv():
        for kind, quality in KINDS:
            print(_line(kind, quality, images))
    print(f"\n{faces} faces in shards, CPU time, and what a million would take")
    with tempfile.TemporaryDirectory() as place:
        for what, seconds in _of_shards(Path(place), found, images, faces):
            print(f"{what:32s}{seconds:7.1f} s {seconds / faces * 1e6 / 60:8.1f} min")


def _line(kind: str, quality: int | None, images: Sequence[Image]) -> str:
    encoding, files = _timed(lambda: [sets.encoded(image, kind, quality) for image in images])
    decoding, back = _timed(lambda: [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files])
    size = np.mean([len(file) for file in files])
    error = np.mean([np.abs(one.astype(int) - other).mean() for one, other in zip(images, back, strict=True)])
    n, name = len(images), kind if quality is None else f"{kind} {quality}"
    return f"{name:14s}{size:9.0f} {1e3 * encoding / n:6.2f} ms {1e3 * decoding / n:6.2f} ms {error:8.2f}"


def _of_shards(place: Path, found: Sequence[Face], images: Sequence[Image], faces: int) -> list[tuple[str, float]]:
    """What is done to shards of made-up faces, and the seconds that it takes."""
    pictures = [sets.encoded(image, "jpeg", sets.QUALITY) for image in images]
    texts = ["".join(f"{x:.5f} {y:.5f}\n" for x, y in face.landmarks.tolist()).encode() for face in found]

    def members(index: int) -> list[tuple[str, bytes]]:
        name = folder.name(index)
        row = {"index": index, "file": f"{name}.jpg", "person": index, "visible": [True] * len(found[0].landmarks)}
        record = json.dumps(row | {"drawn": _DRAWN}).encode()
        k = index % len(found)
        return [(f"{name}.jpg", pictures[k]), (f"{name}{shards.RECORD}", record), (f"{name}{shards.POINTS}", texts[k])]

    def write() -> None:
        for number in range(-(-faces // shards.FACES)):
            chosen = (index for index in shards.of(number) if index < faces)
            tars.write(shards.tar(place, number), (pair for index in chosen for pair in members(index)))

    writing, _ = _timed(write)
    looking, _ = _timed(lambda: shards.held(place))
    indexing, _ = _timed(lambda: shards.write_index(place))
    scheme = found[0].scheme
    reading, _ = _timed(lambda: sum(1 for _ in facesynthetics.read(place, scheme)))
    (place / folder.TABLE).unlink()
    scanning, _ = _timed(lambda: sum(1 for _ in facesynthetics.read(place, scheme)))
    return [
        ("write", writing),
        ("see what is there, to go on", looking),
        ("index", indexing),
        ("read all faces by the index", reading),
        ("read all faces without an index", scanning),
    ]


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result
