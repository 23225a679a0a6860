"""The loss: how unlikely the true points are under what the network says."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPEST = 0.5
"""Scale of the errors of a point that the network is perfectly sure of, per cent of the input's side."""


def landmark_loss(
    points: Tensor, variance: Tensor, targets: Tensor, input_size: int, weights: Tensor | None = None
) -> Tensor:
    """How unlikely the true points are if errors follow a Laplace distribution as wide as the network is unsure.

    Lengths are in per cent of the input's side. To be sure pays where it is right and costs where it is wrong, so easy
    points get sharp heatmaps and the last fraction of a pixel, and hard ones do not drown them. Of the losses in
    docs/ablation.md the best. After A. Kumar et al., "LUVLi Face Alignment" (CVPR 2020), with the spread of the heatmap
    itself as the scale.

    Args:
        points: (n, K, 2) pixels of the input, as predicted.
        variance: (n, K, 2) square pixels, of what they are the mean of.
        targets: (n, K, 2) true points; NaN where unlabelled, which adds nothing.
        input_size: side of the input in pixels.
        weights: (K,) how much each point counts; None: all alike.
    """
    per_cent = 100 / input_size
    scale = (variance * per_cent**2 + SHARPEST**2).sqrt()
    labelled = targets.isfinite()
    # A NaN that is only multiplied by zero would still be one in the gradient.
    distance = (points - torch.where(labelled, targets, points.detach())).abs()
    losses = torch.where(labelled, distance * per_cent / scale + scale.log(), 0.0)
    return losses.mean() if weights is None else (losses * weights[:, None]).mean()


def visibility_loss(logits: Tensor, visible: Tensor) -> Tensor:
    """Mean cross-entropy of points that are said to be seen.

    Args:
        logits: (n, K).
        visible: (n, K) 1 seen, 0 hidden; NaN where the labels do not say, which adds nothing.
    """
    known = visible.isfinite()
    losses = F.binary_cross_entropy_with_logits(logits, torch.where(known, visible, 0.0), reduction="none")
    return torch.where(known, losses, 0.0).mean()
