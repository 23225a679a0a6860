"""From few samples a pixel to a smooth picture: Open Image Denoise, and a smooth outline."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]


def denoised(radiance: Image, albedo: Image, normal: Image) -> Image:
    """The picture without the noise of few samples, (S, S, 3), guided by what the light cannot change; on the CPU."""
    import mitsuba_oidn

    channels = [np.ascontiguousarray(c, np.float32) for c in (radiance, albedo, normal)]
    guides = np.clip(channels[1], 0, 1), channels[2]
    options: dict[str, Any] = {"hdr": True, "quality": mitsuba_oidn.Quality.Fast, "device": _cpu()}
    clean = mitsuba_oidn.denoise(np.maximum(channels[0], 0), *guides, **options)
    return np.maximum(np.array(clean, np.float32), 0)


@cache
def _cpu() -> Any:
    """Where pictures are denoised; the default is the fastest device, and the picture would hang on the machine."""
    import mitsuba_oidn

    return mitsuba_oidn.Device(mitsuba_oidn.DeviceType.CPU)


def cut_out(radiance: Image, cover: Image) -> tuple[Image, Image]:
    """Radiance (S, S, 3) and cover (S, S), both with a smooth outline.

    Of so few samples an outline is ragged, and denoising one of the two alone leaves dots along it. So pixels of the
    outline take the mean light of what is covered around them, and as much of it as the blurred cover says.

    Args:
        radiance: of what is covered, times the cover.
        cover: share of each pixel that is covered, 0 to 1.
    """
    cover = cover.astype(np.float32)
    around = cv2.GaussianBlur(radiance, (0, 0), 1.0) / (cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None] + 1e-4)
    smooth = cv2.GaussianBlur(cover, (0, 0), 0.7)
    return np.where(cover[..., None] == 1, radiance, around) * smooth[..., None], smooth
