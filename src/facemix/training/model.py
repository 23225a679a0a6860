"""The fixed architecture: a timm backbone, a light top-down decoder and soft heatmaps with offsets."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemix.faces.schemes import Scheme
from facemix.training import backbones

STRIDE = 8
"""Pixels of the input per cell of the heatmaps."""


class Located(NamedTuple):
    """Where a network sees the K landmarks in each of n images."""

    points: Tensor
    """(n, K, 2) pixels of the input."""
    variance: Tensor
    """(n, K, 2) in x and y, square pixels: how far the network's sight of a point is spread."""
    visible: Tensor | None
    """(n, K) logits that a point is seen and not hidden; None of a network that has not learned it."""


class LandmarkNet(nn.Module):
    """Images in, landmarks out.

    Each landmark has a heatmap over cells of 8 x 8 pixels and, in each cell, an offset to where the landmark is seen
    from there; the prediction is the mean of (cell + offset) under the softmax of the heatmap. That is sub-pixel,
    differentiable throughout, and reaches beyond the border of the input. How far (cell + offset) is spread says how
    sure the network is; training holds it to that.

    Where labels say which points are hidden, a linear probe learns it: from the features under the heatmap and the
    spread. It looks on: no gradient of it reaches the rest, so points are the same with it and without, bit for bit.

    After: A. Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks" (2018), and the
    offsets of H. Jin et al., "Pixel-in-Pixel Net" (IJCV 2021).
    """

    mean: Tensor
    deviation: Tensor
    cells: Tensor
    mirror_order: Tensor

    def __init__(
        self,
        scheme: Scheme,
        backbone: str,
        input_size: int,
        width: int,
        weights: str = "scratch",
        mirror: bool = False,
        visibility: bool = False,
    ) -> None:
        """
        Args:
            scheme: of the K landmarks.
            backbone: timm name.
            input_size: side of the input in pixels.
            width: channels of the decoder.
            weights: see `backbones.create`.
            mirror: when not training, the mean of what is seen in the image and in its mirror image.
            visibility: tell which points are hidden.

        Raises:
            FacemixError: see `backbones.create`.
        """
        super().__init__()
        self.n_points, self.input_size, self.mirror = len(scheme), input_size, mirror
        self.centre = (input_size - 1) / 2
        self.backbone = backbones.create(backbone, weights, input_size, STRIDE)
        info: Any = self.backbone.feature_info
        self.first = list(info.reduction()).index(STRIDE)
        channels = list(info.channels())[self.first :]
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in channels)
        self.merge = nn.ModuleList(_separable(width) for _ in channels)
        self.heatmaps = nn.Conv2d(width, self.n_points, 1)
        self.offsets = nn.Conv2d(width, 2 * self.n_points, 1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]
        self.probe = VisibilityProbe(self.n_points, width) if visibility else None
        mean, deviation = backbones.normalization(self.backbone)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)
        side = -(-input_size // STRIDE)
        centres = torch.arange(side, dtype=torch.float32) * STRIDE + (STRIDE - 1) / 2 - self.centre
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("mirror_order", torch.from_numpy(scheme.mirror.copy()), persistent=False)
        self.register_buffer("cells", torch.stack([x.ravel(), y.ravel()], dim=-1), persistent=False)

    @classmethod
    def of(
        cls, architecture: Mapping[str, Any], scheme: Scheme, weights: str = "scratch", visibility: bool = False
    ) -> "LandmarkNet":
        """The network that `model.json` states under `network`, at its starting weights."""
        backbone, input_size, width = (architecture[key] for key in ("backbone", "input_size", "width"))
        return cls(scheme, backbone, input_size, width, weights, architecture["mirror"], visibility)

    def take_over(self, base: "LandmarkNet", own: Sequence[int], theirs: Sequence[int]) -> None:
        """Takes over the weights of a network of the same architecture.

        Args:
            base: the other network.
            own: the points (s,) of this network whose heads are taken over; other points keep theirs.
            theirs: the points (s,) of the base that they are.
        """
        state, heads = base.state_dict(), self.state_dict()
        for name in ("heatmaps", "offsets"):
            for part in ("weight", "bias"):
                key = f"{name}.{part}"
                # Rows of a head: one, or one for x and one for y, of each point.
                kept = heads[key].unflatten(0, (self.n_points, -1)).clone()
                kept[list(own)] = state[key].unflatten(0, (base.n_points, -1))[list(theirs)]
                state[key] = kept.flatten(0, 1)
        probe = {key: value for key, value in heads.items() if key.startswith("probe.")}
        self.load_state_dict({key: value for key, value in state.items() if not key.startswith("probe.")} | probe)

    def forward(self, images: Tensor) -> Located:
        """Landmarks in pixels of the input, for images (n, 3, S, S) of RGB in [0, 1].

        With `mirror`, and when not training, each image and its mirror image are seen in one pass: OpenCV takes no
        ONNX file in which two layers share weights.
        """
        if self.training or not self.mirror:
            return self._look(images)
        n = len(images)
        points, variance, visible = self._look(torch.cat([images, images.flip(-1)]))
        x, y = points[n:, self.mirror_order].unbind(dim=-1)
        there = torch.stack([2 * self.centre - x, y], dim=-1)
        spread = (variance[:n] + variance[n:, self.mirror_order]) / 2
        return Located(
            (points[:n] + there) / 2,
            spread + ((points[:n] - there) / 2).square(),  # they may also disagree
            None if visible is None else (visible[:n] + visible[n:, self.mirror_order]) / 2,
        )

    def _look(self, images: Tensor) -> Located:
        """What is seen in the images as they are."""
        features = self._features(images)
        heatmaps, cell_points = self._decode(self.heatmaps(features), self.offsets(features))
        with torch.autocast(images.device.type, enabled=False):
            centred = _mean(cell_points, heatmaps)
            # From the middle of the input: numbers so small that this difference is exact enough.
            variance = _mean(cell_points.square(), heatmaps) - centred.square()
            probe = self.probe
            visible = None if probe is None else probe(features.detach(), heatmaps.detach(), variance.detach())
            return Located(centred + self.centre, variance, visible)

    def _features(self, images: Tensor) -> Tensor:
        """(n, width, side, side), a cell each 8 pixels."""
        features = self.backbone((images - self.mean) / self.deviation)
        features = backbones.in_nchw(self.backbone, features)[self.first :]
        x: Tensor | None = None
        for feature, lateral, merge in zip(
            reversed(features), reversed(self.lateral), reversed(self.merge), strict=True
        ):
            side = lateral(feature)
            if x is not None:
                side = side + F.interpolate(x, size=side.shape[-2:], mode="nearest")
            x = merge(side)
        assert x is not None
        return x

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (n, K, cells) that sum to 1, and where each cell sees each landmark (n, K, 2, cells).

        The points are in pixels from the middle of the input.
        """
        # Coordinates keep the precision of the weights under autocast: bfloat16 has too few digits for a fraction of a
        # pixel.
        heatmaps, offsets = (part.to(self.cells.dtype) for part in (heatmaps, offsets))
        heatmaps = heatmaps.flatten(2).softmax(dim=-1)
        offsets = offsets.reshape(len(heatmaps), self.n_points, 2, heatmaps.shape[-1])
        return heatmaps, torch.add(self.cells.T, offsets, alpha=STRIDE)


class VisibilityProbe(nn.Module):
    """Tells seen points from hidden ones by what a network saw: a linear classifier for each point."""

    def __init__(self, n_points: int, width: int) -> None:
        """
        Args:
            n_points: K.
            width: channels of the features.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_points, width + 1))
        self.bias = nn.Parameter(torch.zeros(n_points))

    def forward(self, features: Tensor, heatmaps: Tensor, variance: Tensor) -> Tensor:
        """Logits (n, K).

        Args:
            features: (n, width, side, side).
            heatmaps: (n, K, cells) that sum to 1.
            variance: (n, K, 2) square pixels.
        """
        under = heatmaps @ features.to(heatmaps.dtype).flatten(2).transpose(1, 2)
        spread = (variance.sum(dim=-1, keepdim=True) + 1).log()
        logits: Tensor = (torch.cat([under, spread], dim=-1) * self.weight).sum(dim=-1) + self.bias
        return logits


def _mean(values: Tensor, heatmaps: Tensor) -> Tensor:
    """The mean (n, K, 2) of values (n, K, 2, cells) under heatmaps (n, K, cells), as a matrix product.

    Call it outside of autocast, which would take the product to bfloat16.
    """
    return (values @ heatmaps[..., None]).squeeze(-1)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
