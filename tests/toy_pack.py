"""A pack of drawn faces in memory."""

import numpy as np

import toy
from facemix.faces import geometry, order
from facemix.faces.face import VISIBLE
from facemix.faces.packs import Pack
from facemix.faces.schemes import ibug68

SIZE, MARGIN = 64, 2.0


def pack(n: int = 40) -> Pack:
    """Faces of one and the same shape, each where its pixels say: red grows by 4 a pixel to the right, green down."""
    box = geometry.landmark_box(toy.template())
    points = geometry.apply(geometry.crop_transform(box, SIZE, MARGIN), toy.template())
    down, right = np.mgrid[:SIZE, :SIZE] * 4
    image = np.stack([right, down, np.zeros_like(right)], axis=-1).astype(np.uint8)
    ids = np.array([f"toy/{i}" for i in range(n)])
    return Pack(
        images=np.repeat(image[None], n, axis=0),
        landmarks=np.repeat(points[None], n, axis=0).astype(np.float32),
        states=np.full((n, 68), VISIBLE, dtype=np.uint8),
        scheme=ibug68(),
        ids=ids,
        subsets=np.full(n, "toy"),
        photos=np.array([f"toy/{i}" for i in range(n)]),
        splits=np.full(n, "test", dtype="<U12"),
        transforms=np.repeat(np.eye(2, 3)[None], n, axis=0),
        boxes=np.repeat(box[None], n, axis=0),
        digest="",
        by_hash=order.by_hash(ids),
    )
