"""BlazeFace, short range: a network of 229 kB that finds faces in a picture.

Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs, 2019 (arXiv:1907.05047). The network
is MediaPipe's (`data/NOTICE.md`). It was made for 128 x 128 pixels, in which it sees faces from a fifth of the side up.
As it is convolutional all through, it is shown pictures of other sizes as well: all small faces of a large picture are
found in one pass, without tiles.

Of a picture whose longer side has up to 1024 pixels, faces from 24 pixels up are found, of a larger one those from 1/43
of its longer side up (longer side of the landmark box). Heads that are turned by more than a quarter of a turn in the
picture are not.
"""

import hashlib
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.finding import pyramid
from facemix.finding.found import Doubles, Found, merged

FILE = Path(__file__).parent / "data" / "face_detection_short_range.tflite"
SHA256 = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
SIDE = 128
"""Of the picture that the network was made for, in pixels."""
CELLS = ((8, 2), (16, 6))
"""The network's two grids: side of a cell in pixels, boxes that are predicted from its centre."""
SURE = 0.5
"""Least score in the smallest size of a picture, in which a face is large (MediaPipe's)."""
SURE_OF_SMALL = 0.7
"""Least score in larger sizes: these have many more places in which something may look like a face."""
LONGEST = 96.0
"""Longer side in pixels up to which boxes count that a smaller size of the picture shows as well."""

_ONE_AT_A_TIME = Lock()  # an OpenCV network holds its last input


def find(image: npt.NDArray[np.uint8]) -> Found:
    """The faces of a picture (H, W, 3) uint8 RGB.

    Raises:
        FacemixError: the network's file is missing or damaged.
    """
    *larger, smallest = pyramid.sizes(image)
    seen = [_counted(smallest, SURE, np.inf), *(_counted(one, SURE_OF_SMALL, LONGEST) for one in larger)]
    boxes, scores = zip(*seen, strict=True)
    size = np.array(image.shape[1::-1] * 2)
    return merged(np.concatenate(boxes) * size - 0.5, np.concatenate(scores))


def _counted(picture: npt.NDArray[np.uint8], sure: float, longest: float) -> tuple[Doubles, Doubles]:
    """The boxes (n, 4) that count in one size of a picture, in its widths and heights from the corner, and scores."""
    boxes, scores = sightings(picture)
    size = np.array(picture.shape[1::-1])
    sides, middle = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    counts = (scores > sure) & (sides > 0).all(axis=1) & (sides < longest).all(axis=1)
    counts &= ((middle >= 0) & (middle <= size - 1)).all(axis=1)  # not in what the picture is padded with
    return (boxes[counts] + 0.5) / np.tile(size, 2), scores[counts]


def sightings(picture: npt.NDArray[np.uint8]) -> tuple[Doubles, Doubles]:
    """All boxes (n, 4) xyxy that the network predicts in a picture (H, W, 3), in its pixels, and their scores (n,)."""
    height, width = (max(SIDE, -(-side // 16) * 16) for side in picture.shape[:2])
    padded = np.zeros((height, width, 3), np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    with _ONE_AT_A_TIME:
        network = _network()
        network.setInput(cv2.dnn.blobFromImage(padded, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
        logits, found = (out.astype(np.float64) for out in network.forward(("classificators", "regressors")))
    # Four of 16 numbers are the box, in pixels from its anchor; the others are eyes, nose, mouth and ears.
    middle = found[0, :, :2] + _anchors(height, width) - 0.5
    half = found[0, :, 2:4] / 2
    return np.concatenate([middle - half, middle + half], axis=1), 1 / (1 + np.exp(-logits.ravel().clip(-80, 80)))


def _anchors(height: int, width: int) -> Doubles:
    """Where predicted boxes count from (n, 2): the centres of the cells, in pixels from the corner."""
    centres = []
    for side, boxes in CELLS:
        down, right = np.mgrid[: height // side, : width // side]
        centres.append(np.repeat(np.stack([right, down], axis=-1).reshape(-1, 2), boxes, axis=0) * side + side / 2)
    return np.concatenate(centres)


@cache
def _network() -> Any:
    try:
        data = FILE.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise FacemixError(
            f"{FILE}: cannot be read ({reason}), expected the network of the face finder; install facemix again"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise FacemixError(
            f"{FILE}: found {len(data)} bytes with SHA-256 {digest}, expected {SHA256}; install facemix again"
        )
    # OpenCV 5's new engine loses the scores of this network; given bytes instead of a path, OpenCV 5.0 always takes it.
    return cv2.dnn.readNetFromTFLite(str(FILE), cv2.dnn.ENGINE_CLASSIC)
