"""What is trained on, and how: all that a training depends on beside its starting weights."""

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from facemix.config import Augmentation, Training
from facemix.training import augment
from facemix.training.batches import MixedBatches


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is trained on, and how: with the starting weights all that the result depends on."""

    batches: MixedBatches
    """The faces of each step."""
    mirror_order: npt.NDArray[np.int64]
    """(K,) the partner of each landmark in the mirror."""
    weights: npt.NDArray[np.float32] | None = None
    """(K,) how much each landmark counts in the loss; None: all alike."""
    context: float
    """Side of the undisturbed field of view / longer side of a face's box."""
    input_size: int
    """Side of the network's input in pixels."""
    settings: Training
    augmentation: Augmentation
    learning_rate: float
    """Peak of the schedule."""
    seed: int
    """Of augmentation and everything else that is random in a step."""

    def changes(self, step: int, crop_size: int) -> augment.Changes:
        """How the faces of a step are augmented."""
        return augment.draw(
            torch.from_numpy(self.batches.boxes(step)),
            crop_size,
            context=self.context,
            size=self.input_size,
            settings=self.augmentation,
            generator=torch.Generator().manual_seed(step_seed(self.seed, step)),
        )


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; neighbouring steps and seeds share nothing."""
    return zlib.crc32(f"{seed}/{step}".encode())
