import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import toy
from facemix import config, metrics
from facemix.faces import packs
from facemix.faces.landmarks import MIRROR, N_POINTS
from facemix.stages.leaks import leaks
from facemix.stages.prepare import prepare
from facemix.verdict import duplicates, human_floor
from facemix.verdict import leaks as verdict

PARAMS = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
SIZE = 96

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.floating]


def drawn(n: int, seed: int = 0) -> tuple[Image, npt.NDArray[np.float32]]:
    """Different faces: images (n, SIZE, SIZE, 3) and points (n, 68, 2)."""
    rng = np.random.default_rng(seed)
    images, points = zip(*(toy.face(rng, SIZE) for _ in range(n)), strict=True)
    return np.array(images), np.array(points)


def recropped(image: Image, points: Points) -> tuple[Image, Points]:
    """Moved by some pixels and shrunk a little."""
    transform = np.array([[0.93, 0.0, 5.0], [0.0, 0.93, -2.0]])
    moved = cv2.warpAffine(image, transform, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return moved, points @ transform[:, :2].T + transform[:, 2]


COPIES = {
    "equal": lambda image, points: (image, points),
    "recompressed": lambda image, points: (
        cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
        points,
    ),
    "darker": lambda image, points: ((0.6 * image + 20).astype(np.uint8), points),
    "mirrored": lambda image, points: (image[:, ::-1], points[MIRROR] * [-1, 1] + [SIZE - 1, 0]),
    "recropped": recropped,
    "annotated anew": lambda image, points: (image, points + np.random.default_rng(0).normal(0, 0.4, points.shape)),
}


def test_tmp():
    images, points = drawn(60)
    duplicates.ALIKE = 0.3
    patches, _ = duplicates.cut(images, points)
    print(sorted([(round(p.similarity,2),p.mirrored) for p in duplicates.find(patches,60)])[-10:])
    for name, copy in COPIES.items():
        cs=[copy(a,p) for a,p in zip(images,points)]
        q,_=duplicates.cut(np.array([c[0] for c in cs]),np.array([c[1] for c in cs]))
        f={p.first:round(p.similarity,2) for p in duplicates.find(np.concatenate([patches,q]),60) if p.second==p.first+60}
        print(name,len(f),min(f.values()),[k for k in f if f[k]<.85])
