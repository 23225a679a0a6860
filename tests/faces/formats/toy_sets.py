"""Tiny sets in the layouts of real ones."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

import toy
from facemix.faces import schemes
from facemix.faces.face import BrokenFace, Face
from facemix.faces.schemes import Scheme

SIDE = 32


def scheme(names: Sequence[str] = ("left", "right", "nose", "mouth", "chin"), name: str = "toy") -> Scheme:
    content = {
        "name": name,
        "source": "made for a test",
        "points": list(names),
        "mirror": [],
        "regions": {"all": list(names)},
        "skeleton": [],
        "normalizer": "box_side",
    }
    return schemes.parse(content, name)


def numbered(count: int) -> Scheme:
    return scheme([f"point_{i}" for i in range(count)], f"toy{count}")


def circle(count: int, origin: float = 0.0) -> np.ndarray:
    """Points (count, 2) that follow each other around the middle of a picture, none in one place."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.round(15.5 + 9 * np.stack([np.cos(angles), np.sin(angles)], axis=1), 4) + origin


def face68(origin: float = 0.0) -> np.ndarray:
    """68 points as on a face of 24 px."""
    return np.round(12 * (toy.template() - [0, 0.22]) + 15.5, 4) + origin


def image(path: Path, width: int = SIDE, height: int = SIDE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def json_file(path: Path, content: object) -> Path:
    return text(path, json.dumps(content))


def divided(items) -> tuple[list[Face], list[BrokenFace]]:
    found = list(items)
    return [item for item in found if isinstance(item, Face)], [item for item in found if isinstance(item, BrokenFace)]


def only(items) -> Face:
    faces, broken = divided(items)
    assert [str(error) for error in broken] == []
    (face,) = faces
    return face


def only_broken(items) -> BrokenFace:
    faces, broken = divided(items)
    assert faces == []
    (error,) = broken
    return error
