"""Augmentation of a whole batch at once, on the model's device: one sampling, one colour matrix, few masks.

What happens to each face is drawn on the CPU from a generator, so it is the same on every device, and on one process
as on many: each draws for the whole batch and applies its own part.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemix.config import Augmentation
from facemix.training.batches import upload

_LUMA = torch.tensor([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class _Some:
    """A change of some faces of a batch."""

    faces: Tensor
    """(k,) their places in the batch."""
    values: tuple[Tensor, ...]
    """(k, ...) each: what is done to each of them."""

    def part(self, start: int, stop: int) -> "_Some":
        chosen = (self.faces >= start) & (self.faces < stop)
        return _Some(self.faces[chosen] - start, tuple(value[chosen] for value in self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What happens to each of n faces; all on the CPU."""

    input_to_crop: Tensor
    """(n, 2, 3) similarity transforms from centred pixels of the input to centred pixels of the crop."""
    mirrored: Tensor
    """(n,) bool: the points change their names; `input_to_crop` mirrors the picture."""
    colour_matrix: Tensor
    """(n, 3, 3)."""
    colour_shift: Tensor
    """(n, 3, 1)."""
    blurs: _Some
    """Standard deviations (k,) in pixels of the input."""
    covers: _Some
    """Masks (k, 1, size, size) and colours (k, 3, 1, 1)."""
    noises: _Some
    """Strengths (k,)."""
    noise: Tensor | None
    """(3, size, size) the one field of noise; none where no face of the batch is noisy."""

    def part(self, start: int, stop: int) -> "Changes":
        """What happens to faces `start` to `stop` - 1."""
        return Changes(
            input_to_crop=self.input_to_crop[start:stop],
            mirrored=self.mirrored[start:stop],
            colour_matrix=self.colour_matrix[start:stop],
            colour_shift=self.colour_shift[start:stop],
            blurs=self.blurs.part(start, stop),
            covers=self.covers.part(start, stop),
            noises=self.noises.part(start, stop),
            noise=self.noise,
        )


def draw(
    boxes: Tensor, crop_size: int, *, context: float, size: int, settings: Augmentation, generator: torch.Generator
) -> Changes:
    """Random changes of n faces.

    Undisturbed, a face is shown as evaluation shows it: around the tight box of the points that it is trained on.

    Args:
        boxes: (n, 4) xyxy, tight around the landmarks of each face, pixels of its crop; on the CPU.
        crop_size: side of the crops in pixels.
        context: side of the undisturbed field of view / longer side of the box.
        size: side of the network's input in pixels.
        settings: strengths and probabilities.
        generator: on the CPU; the same state gives the same changes.
    """
    n = len(boxes)
    input_to_crop = _input_to_crop(boxes, crop_size, context, size, settings, generator)
    mirrored = torch.rand(n, generator=generator) < settings.mirror
    input_to_crop[mirrored, :, 0] *= -1  # the picture is read from right to left
    colour_matrix, colour_shift = _colours(n, settings, generator)
    blurred, noisy, occluded = (
        (torch.rand(n, generator=generator) < p).nonzero().squeeze(1)
        for p in (settings.blur, settings.noise, settings.occlusion)
    )
    deviation = torch.rand(len(blurred), generator=generator) * 1.5 + 0.3
    strength = torch.rand(len(noisy), generator=generator) * 0.2  # of uniform noise: to 0.06 standard deviation
    covers = _rectangles(len(occluded), size, generator)
    cover_colour = torch.rand(len(occluded), 3, 1, 1, generator=generator)
    # One field of uniform noise for the whole batch: drawing it for each face would cost more than all the rest.
    noise = torch.rand((3, size, size), generator=generator) - 0.5 if len(noisy) else None
    return Changes(
        input_to_crop=input_to_crop,
        mirrored=mirrored,
        colour_matrix=colour_matrix,
        colour_shift=colour_shift,
        blurs=_Some(blurred, (deviation,)),
        covers=_Some(occluded, (covers, cover_colour)),
        noises=_Some(noisy, (strength,)),
        noise=noise,
    )


def apply(crops: Tensor, landmarks: Tensor, changes: Changes, size: int, mirror_order: Tensor) -> tuple[Tensor, Tensor]:
    """Network inputs and their landmarks, on the device of the crops; the host does not wait for it.

    Args:
        crops: (n, S, S, 3) uint8 RGB.
        landmarks: (n, K, 2) pixels of the crops, on the CPU; or (n, K, 3) with whether a point is seen.
        changes: what happens to these n faces.
        size: side of the network's input in pixels.
        mirror_order: (K,) int64, the partner of each point in the mirror.

    Returns:
        images (n, 3, size, size) float32 RGB in [0, 1], landmarks (n, K, 2 or 3) in pixels of these images; what is
        covered is not seen.
    """
    device = crops.device
    images = sample(crops, upload(changes.input_to_crop, device), size)
    images = _apply_colours(images, upload(changes.colour_matrix, device), upload(changes.colour_shift, device))
    if len(changes.blurs.faces):
        blurred, deviation = (upload(part, device) for part in (changes.blurs.faces, *changes.blurs.values))
        images[blurred] = _blur(images[blurred], deviation)
    if len(changes.covers.faces):
        occluded, mask, colour = (upload(part, device) for part in (changes.covers.faces, *changes.covers.values))
        images[occluded] = torch.where(mask, colour, images[occluded])
    if len(changes.noises.faces):
        assert changes.noise is not None
        noisy, strength = (upload(part, device) for part in (changes.noises.faces, *changes.noises.values))
        images[noisy] += strength[:, None, None, None] * upload(changes.noise, device)
    landmarks = torch.where(changes.mirrored[:, None, None], landmarks[:, mirror_order], landmarks)
    moved = _move_landmarks(landmarks[..., :2], changes.input_to_crop, crops.shape[1], size)
    if landmarks.shape[-1] > 2:
        moved = torch.cat([moved, _hide_covered(moved, landmarks[..., 2:], changes.covers)], dim=-1)
    return images.clamp_(0, 1), upload(moved, device)


def _hide_covered(points: Tensor, visible: Tensor, covers: _Some) -> Tensor:
    """Whether points (n, K, 2) are still seen (n, K, 1) once some faces are covered; NaN stays unknown."""
    if not len(covers.faces):
        return visible
    masks = covers.values[0][:, 0]
    x, y = points[covers.faces].nan_to_num(-1).round().long().unbind(dim=-1)
    side = masks.shape[-1]
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    at = torch.arange(len(masks))[:, None], y.clamp(0, side - 1), x.clamp(0, side - 1)
    hidden = (masks[at] & inside)[..., None]
    visible = visible.clone()
    visible[covers.faces] = torch.where(hidden & visible[covers.faces].isfinite(), 0.0, visible[covers.faces])
    return visible


def _uniform(shape: tuple[int, ...], limit: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * limit


def _input_to_crop(
    boxes: Tensor, crop_size: int, context: float, size: int, settings: Augmentation, generator: torch.Generator
) -> Tensor:
    """Similarity transforms (n, 2, 3) from centred pixels of the input to centred pixels of the crop."""
    n = len(boxes)
    field = context * (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)  # side of the field of view in pixels of the crop
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - (crop_size - 1) / 2
    angle = _uniform((n,), math.radians(settings.rotation), generator)
    zoom = field / size * torch.exp(_uniform((n,), settings.scale, generator))
    shift = centre + _uniform((n, 2), settings.shift, generator) * field[:, None]
    room = ((crop_size - zoom * size) / 2).clamp(min=0)[:, None]
    shift = torch.maximum(torch.minimum(shift, room), -room)  # the field of view stays on the crop
    transform = torch.zeros(n, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = zoom * torch.cos(angle)
    transform[:, 0, 1] = -zoom * torch.sin(angle)
    transform[:, 1, 0] = zoom * torch.sin(angle)
    transform[:, :, 2] = shift
    return transform


def sample(crops: Tensor, input_to_crop: Tensor, size: int) -> Tensor:
    """Images (n, 3, size, size), 0 to 255, that see crops (n, S, S, 3) uint8 through centred transforms (n, 2, 3).

    Bilinear, borders replicated. On a CPU OpenCV does it, in a third of the time that `grid_sample` takes and in the
    `channels_last` layout; the two differ by rounding only.
    """
    return (_sample_by_opencv if crops.device.type == "cpu" else _sample_by_grid)(crops, input_to_crop, size)


def _sample_by_opencv(crops: Tensor, input_to_crop: Tensor, size: int) -> Tensor:
    transforms = input_to_crop.double().numpy().copy()  # next: between pixels that count from the corner
    transforms[:, :, 2] += (crops.shape[1] - 1) / 2 - transforms[:, :, :2].sum(axis=2) * (size - 1) / 2
    images = np.empty((len(crops), size, size, 3), dtype=np.float32)
    for crop, transform, image in zip(crops.numpy(), transforms, images, strict=True):
        cv2.warpAffine(
            crop.astype(np.float32),  # uint8 would come out as uint8, rounded
            transform,
            (size, size),
            dst=image,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _sample_by_grid(crops: Tensor, input_to_crop: Tensor, size: int) -> Tensor:
    # grid_sample counts from -1 to 1 between the outer edges of a picture (align_corners=False). The grid is a sum of
    # a row and a column: cheaper than the matrix products of affine_grid.
    input_to_crop = input_to_crop * (2 / crops.shape[1])
    pixels = torch.arange(size, device=crops.device) - (size - 1) / 2
    along_x = pixels[None, :, None] * input_to_crop[:, None, :, 0]
    along_y = pixels[None, :, None] * input_to_crop[:, None, :, 1] + input_to_crop[:, None, :, 2]
    grid = along_x[:, None] + along_y[:, :, None]
    pictures = crops.permute(0, 3, 1, 2).float()
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _move_landmarks(landmarks: Tensor, input_to_crop: Tensor, crop_size: int, size: int) -> Tensor:
    centred = landmarks - (crop_size - 1) / 2 - input_to_crop[:, None, :, 2]
    moved: Tensor = centred @ torch.linalg.inv(input_to_crop[:, :, :2]).transpose(1, 2) + (size - 1) / 2
    return moved


def _colours(n: int, settings: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One matrix (n, 3, 3) and shift (n, 3, 1) a face: brightness, contrast, saturation and colour cast together."""
    strength = settings.colour
    gain = torch.exp(_uniform((n, 1, 1), strength, generator) + _uniform((n, 3, 1), strength / 4, generator))
    saturation = 1 + _uniform((n, 1, 1), min(1.5 * strength, 1.0), generator)
    saturation[torch.rand(n, generator=generator) < settings.grey] = 0
    matrix = gain * (saturation * torch.eye(3) + (1 - saturation) * _LUMA.expand(3, 3))
    shift = _uniform((n, 1, 1), strength / 4, generator).expand(n, 3, 1)
    return matrix, shift


def _apply_colours(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Recoloured images in [0, 1] of images in 0 to 255, both (n, 3, H, W); may be written over the given ones."""
    if images.device.type != "cpu":
        return torch.baddbmm(shift, matrix / 255, images.flatten(2)).view_as(images)
    # OpenCV leaves the pictures in the layout in which they were sampled, and which the network wants; and in their
    # place: fresh memory for a batch costs more than its colours.
    pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
    for picture, own in zip(pictures, torch.cat([matrix / 255, shift], dim=2).numpy(), strict=True):
        cv2.transform(picture, own, dst=picture)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def _blur(images: Tensor, deviation: Tensor, radius: int = 3) -> Tensor:
    """Gaussian blur of images (n, 3, H, W) with a standard deviation (n,) in pixels each; borders replicated."""
    return (_blur_by_opencv if images.device.type == "cpu" else _blur_by_convolution)(images, deviation, radius)


def _blur_by_opencv(images: Tensor, deviation: Tensor, radius: int) -> Tensor:
    sides = (2 * radius + 1,) * 2
    blurred = [
        cv2.GaussianBlur(image, sides, sigma, borderType=cv2.BORDER_REPLICATE)
        for image, sigma in zip(images.permute(0, 2, 3, 1).numpy(), deviation.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(blurred)).permute(0, 3, 1, 2)


def _blur_by_convolution(images: Tensor, deviation: Tensor, radius: int) -> Tensor:
    n, channels, height, width = images.shape
    x = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (x / deviation[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = F.pad(images.reshape(1, n * channels, height, width), (radius,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * channels).view_as(images)


def _rectangles(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Masks (n, 1, size, size) of rectangles with sides from a tenth to four tenths of the picture."""
    side = (0.1 + 0.3 * torch.rand(n, 2, generator=generator)) * size
    corner = torch.rand(n, 2, generator=generator) * size - side / 2
    pixels = torch.arange(size)
    inside = (pixels >= corner[..., None]) & (pixels < (corner + side)[..., None])  # (n, xy, size)
    return (inside[:, 1, :, None] & inside[:, 0, None, :])[:, None]
