"""All of a detector as one module: the network, its label adapter and its calibration."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facemix.faces import schemes
from facemix.faces.schemes import Scheme
from facemix.training.adaptation import LabelAdapter
from facemix.training.loss import SHARPEST
from facemix.training.model import LandmarkNet


class Detected(NamedTuple):
    """What a detector says of n crops."""

    points: Tensor
    """(n, M, 2) pixels of the input."""
    errors: Tensor
    """(n, M) expected distance from the truth, pixels of the input; of a detector that is not calibrated, its
    spread."""
    visible: Tensor | None
    """(n, M) probability that a point is seen; None where it has not been learned."""


class DetectorNet(nn.Module):
    """Crops in, landmarks out, with how sure each of them is.

    The adapter sees points relative to their own box. So it gives the same in pixels of the crop as in those of the
    image. It moves points, and says nothing of their certainty: a point of the real scheme is as sure as the point of
    equal name in the network's scheme, and as all of them on average where there is none.
    """

    scale: Tensor
    takes: Tensor

    def __init__(self, network: LandmarkNet, adapter: LabelAdapter | None, scale: Tensor | None) -> None:
        """
        Args:
            network: finds K points.
            adapter: makes M points of them; without it M = K.
            scale: (M,) expected error / spread; without it errors are spreads.
        """
        super().__init__()
        self.network, self.adapter = network, adapter
        n_points = network.n_points if adapter is None else len(adapter.target)
        self.register_buffer("scale", torch.ones(n_points) if scale is None else scale.float(), persistent=False)
        across = adapter is not None and adapter.source.points != adapter.target.points
        takes = _takes(adapter.source, adapter.target) if adapter is not None and across else torch.zeros(0)
        self.register_buffer("takes", takes, persistent=False)
        self.across = across

    def forward(self, images: Tensor) -> Detected:
        """Looks at images (n, 3, S, S) of RGB in [0, 1]."""
        points, variance, logits = self.network(images)
        floor = (SHARPEST / 100 * images.shape[-1]) ** 2  # as the loss has it
        spread = (variance.mean(dim=-1).clamp(min=0) + floor).sqrt()
        visible = None if logits is None else logits.sigmoid()
        if self.adapter is not None:
            low, high = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
            centre, side = (low + high) / 2, (high - low).amax(dim=2, keepdim=True)
            points = centre + side * self.adapter((points - centre) / side)
        if self.across:
            spread = spread @ self.takes
            visible = None if visible is None else visible @ self.takes
        return Detected(points, spread * self.scale, visible)


def _takes(source: Scheme, target: Scheme) -> Tensor:
    """(K, M): of which points of the source each point of the target takes its certainty."""
    takes = torch.full((len(source), len(target)), 1 / len(source))
    own, theirs = schemes.shared(source, target)
    takes[:, torch.from_numpy(theirs)] = 0
    takes[torch.from_numpy(own), torch.from_numpy(theirs)] = 1
    return takes
