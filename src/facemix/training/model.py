"""The fixed architecture: a timm backbone, a light top-down decoder and soft heatmaps with offsets."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemix.faces.schemes import Scheme
from facemix.training import backbones

STRIDE = 8
"""Pixels of the input per cell of the heatmaps."""


class LandmarkNet(nn.Module):
    """Images in, landmarks out.

    Each landmark has a heatmap over cells of 8 x 8 pixels and, in each cell, an offset to where the landmark is seen
    from there; the prediction is the mean of (cell + offset) under the softmax of the heatmap. That is sub-pixel,
    differentiable throughout, and reaches beyond the border of the input. How far (cell + offset) is spread says how
    sure the network is; training holds it to that.

    After: A. Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks" (2018), and the
    offsets of H. Jin et al., "Pixel-in-Pixel Net" (IJCV 2021).
    """

    mean: Tensor
    deviation: Tensor
    cells: Tensor
    mirror_order: Tensor

    def __init__(
        self, scheme: Scheme, backbone: str, input_size: int, width: int, weights: str = "scratch", mirror: bool = False
    ) -> None:
        """
        Args:
            scheme: of the K landmarks.
            backbone: timm name.
            input_size: side of the input in pixels.
            width: channels of the decoder.
            weights: see `backbones.create`.
            mirror: when not training, the mean of what is seen in the image and in its mirror image.

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
        mean, deviation = backbones.normalization(self.backbone)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)
        side = -(-input_size // STRIDE)
        centres = torch.arange(side, dtype=torch.float32) * STRIDE + (STRIDE - 1) / 2 - self.centre
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("mirror_order", torch.from_numpy(scheme.mirror.copy()), persistent=False)
        self.register_buffer("cells", torch.stack([x.ravel(), y.ravel()], dim=-1), persistent=False)

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
        self.load_state_dict(state)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Landmarks (n, K, 2) in pixels of the input, for images (n, 3, S, S) of RGB in [0, 1].

        When training also their variance (n, K, 2) in x and y, square pixels: see `landmark_loss`.
        """
        if self.training:
            heatmaps, cell_points = self._predict_cells(images)
            with torch.autocast(images.device.type, enabled=False):
                centred = _mean(cell_points, heatmaps)
                return centred + self.centre, _mean(cell_points.square(), heatmaps) - centred.square()
        centred = self.located(images)
        return self.averaged(centred, self.located(images.flip(-1))) if self.mirror else centred + self.centre

    def located(self, images: Tensor) -> Tensor:
        """Landmarks (n, K, 2) as seen in the images alone, in pixels from the middle of the input."""
        heatmaps, cell_points = self._predict_cells(images)
        with torch.autocast(images.device.type, enabled=False):
            return _mean(cell_points, heatmaps)

    def averaged(self, centred: Tensor, mirrored: Tensor) -> Tensor:
        """Landmarks (n, K, 2) in pixels of the input: the mean of those located in images and in their mirror images.

        Args:
            centred, mirrored: (n, K, 2) as `located` gives them.
        """
        x, y = mirrored[:, self.mirror_order].unbind(dim=-1)
        return ((centred + self.centre) + torch.stack([self.centre - x, y + self.centre], dim=-1)) / 2

    def _predict_cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (n, K, cells) that sum to 1, and where each cell sees each landmark (n, K, 2, cells).

        The points are in pixels from the middle of the input: small numbers, so that the mean of their squares less
        the square of their mean is exact enough.
        """
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
        return self._decode(self.heatmaps(x), self.offsets(x))

    def _decode(self, heatmaps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        # Coordinates keep the precision of the weights under autocast: bfloat16 has too few digits for a fraction of a
        # pixel.
        heatmaps, offsets = (part.to(self.cells.dtype) for part in (heatmaps, offsets))
        heatmaps = heatmaps.flatten(2).softmax(dim=-1)
        offsets = offsets.reshape(len(heatmaps), self.n_points, 2, heatmaps.shape[-1])
        return heatmaps, torch.add(self.cells.T, offsets, alpha=STRIDE)


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
