"""Colour: between what a screen is sent and light, and which way lamps and cameras stray from white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""How bright linear red, green and blue look (Rec. 709)."""
DAYLIGHT = 154.0
"""Mired (10^6 / kelvin) of the light that white is: 6500 K."""
WARMEST, COLDEST = 600.0, 40.0  # mired between which the approximation holds

# Linear sRGB of CIE XYZ (IEC 61966-2-1).
FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def to_linear(srgb: Image) -> Image:
    """Light, of values as a picture holds them, both 0 to 1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Image) -> Image:
    """Values as a picture holds them, of light, both 0 to 1 (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def blackbody(mired: float) -> NDArray[np.float64]:
    """Linear RGB (3,) of a glowing body, green 1.

    After Krystek, An algorithm to calculate correlated colour temperature (1985).

    Args:
        mired: 10^6 / its temperature in kelvin: 154 is white, more is warmer.
    """
    t = 1e6 / np.clip(mired, COLDEST, WARMEST)
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2)
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2)
    x, y = 3 * u / (2 * u - 8 * v + 4), 2 * v / (2 * u - 8 * v + 4)
    rgb = FROM_XYZ @ np.array([x / y, 1, (1 - x - y) / y])
    light: NDArray[np.float64] = np.maximum(rgb, 0.01) / rgb[1]
    return light


def cast(warmer: float, greener: float) -> NDArray[np.float64]:
    """Factors (3,) of linear RGB that make a picture warmer and greener, as bright as before.

    Lamps differ along the colours of glowing bodies, and little across them: so do the mistakes of cameras.

    Args:
        warmer: mired.
        greener: logarithm of green's factor; less than 0 is magenta.
    """
    light = blackbody(DAYLIGHT + warmer) / blackbody(DAYLIGHT) * np.exp([-greener / 2, greener, -greener / 2])
    factors: NDArray[np.float64] = light / (light @ LUMA)
    return factors
