"""The field's usual way to a training batch, for `facemix bench loader` to compare with.

Each sample by itself: decode the photograph, cut the face out and augment it by OpenCV, in worker processes of a
`DataLoader`. The augmentation is that of `training/augment.py`, at the same strengths and probabilities.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facemix.config import Augmentation
from facemix.faces import geometry
from facemix.faces.schemes import ibug68

WORKERS = 2

_LUMA = np.array([0.299, 0.587, 0.114])


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Faces in image files: an augmented image (3, size, size) float32 and its points (K, 2) each.

    Args:
        paths: an image file a face.
        landmarks: (n, K, 2) pixels of those images.
        size: side of the network's input in pixels.
        context: side of the field of view / longer side of the landmark box.
        settings: strengths and probabilities.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        landmarks: npt.NDArray[np.float32],
        *,
        size: int,
        context: float,
        settings: Augmentation,
    ) -> None:
        self.paths, self.landmarks = paths, landmarks
        self.size, self.context, self.settings = size, context, settings

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photograph = cv2.cvtColor(cv2.imread(str(self.paths[index])), cv2.COLOR_BGR2RGB)
        rng = np.random.default_rng([torch.initial_seed(), index])  # a worker's seed is another in each epoch
        image, points = augment_one(
            photograph, self.landmarks[index], size=self.size, context=self.context, settings=self.settings, rng=rng
        )
        return torch.from_numpy(image), torch.from_numpy(points)


def batches(photographs: Photographs, batch_size: int, *, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled whole batches of an epoch, made by worker processes that live from epoch to epoch."""
    return DataLoader(
        photographs,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="spawn",  # a fork would copy threads in the middle of their work
        worker_init_fn=_one_thread,
        pin_memory=pinned,
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)  # the workers share the cores already


def augment_one(
    photograph: npt.NDArray[np.uint8],
    landmarks: npt.NDArray[np.float32],
    *,
    size: int,
    context: float,
    settings: Augmentation,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A randomly transformed network input and its landmarks.

    Args:
        photograph: (H, W, 3) uint8 RGB.
        landmarks: (K, 2) pixels of the photograph.

    Returns:
        image (3, size, size) RGB in [0, 1], landmarks (K, 2) in pixels of this image.
    """
    box = geometry.landmark_box(landmarks)
    field = context * float(geometry.square_side(box))
    angle = math.radians(settings.rotation) * rng.uniform(-1, 1)
    zoom = field / size * math.exp(settings.scale * rng.uniform(-1, 1))
    centre = (box[:2] + box[2:]) / 2 + settings.shift * field * rng.uniform(-1, 1, 2)
    inward = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if rng.random() < settings.mirror:
        inward[:, 0] *= -1
        landmarks = landmarks[ibug68().mirror]
    middle = (size - 1) / 2
    transform = np.column_stack([inward, centre - inward.sum(axis=1) * middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(photograph, transform, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    image = cv2.transform(crop.astype(np.float32), _colours(settings, rng))
    blurred, noisy, occluded = rng.random(3) < (settings.blur, settings.noise, settings.occlusion)
    if blurred:
        image = cv2.GaussianBlur(image, (7, 7), 0.3 + 1.5 * rng.random(), borderType=cv2.BORDER_REPLICATE)
    if occluded:
        sides = (0.1 + 0.3 * rng.random(2)) * size
        corner = rng.random(2) * size - sides / 2
        (left, top), (right, bottom) = (np.ceil(np.maximum(at, 0)).astype(int) for at in (corner, corner + sides))
        image[top:bottom, left:right] = rng.random(3)
    if noisy:
        image += 0.2 * rng.random() * (rng.random(image.shape, dtype=np.float32) - 0.5)
    points = (landmarks - centre) @ np.linalg.inv(inward).T + middle
    return np.ascontiguousarray(image.clip(0, 1).transpose(2, 0, 1)), points.astype(np.float32)


def _colours(settings: Augmentation, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Matrix and shift (3, 4) from colours in 0 to 255 to colours in [0, 1]."""
    strength = settings.colour
    gain = np.exp(strength * rng.uniform(-1, 1) + strength / 4 * rng.uniform(-1, 1, (3, 1)))
    saturation = 1 + min(1.5 * strength, 1.0) * rng.uniform(-1, 1)
    if rng.random() < settings.grey:
        saturation = 0.0
    matrix = gain * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    return np.column_stack([matrix / 255, np.full(3, strength / 4 * rng.uniform(-1, 1))])
