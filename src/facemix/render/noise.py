"""Noise for skin, iris and walls: cut from sheets that are made once, because making it anew for each face is slow."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
SIDE = 1024
GRAINS = (1, 2, 4, 8, 16, 32, 64)  # standard deviations of the blur, pixels


class Noise:
    """Sheets of smooth noise, of mean 0 and standard deviation 1, one for each size of grain; always the same."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._sheets = [_sheet(rng, grain) for grain in GRAINS]

    def grain(self, rng: np.random.Generator, shape: tuple[int, int], size: float) -> Image:
        """Noise (rows, columns) whose grain has about `size` pixels, cut at random."""
        sheet = self._sheets[int(np.argmin(np.abs(np.log2(np.array(GRAINS) / max(size, 0.5)))))]
        rows, columns = min(shape[0], SIDE), min(shape[1], SIDE)
        y, x = rng.integers(0, SIDE - rows + 1), rng.integers(0, SIDE - columns + 1)
        cut = sheet[y : y + rows, x : x + columns][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        return cut if cut.shape == shape else cv2.resize(cut, shape[::-1])

    def cloud(self, rng: np.random.Generator, shape: tuple[int, int], largest: float, octaves: int = 4) -> Image:
        """A sum of ever finer grains, each fainter, (rows, columns), of standard deviation about 1."""
        cloud = np.zeros(shape, np.float32)
        for octave in range(octaves):
            cloud += 0.6**octave * self.grain(rng, shape, largest / 2**octave)
        return cloud / math.sqrt(sum(0.36**octave for octave in range(octaves)))


def _sheet(rng: np.random.Generator, grain: int) -> Image:
    """Blurred white noise (SIDE, SIDE); coarse grains are blurred small and enlarged."""
    shrink = max(1, grain // 4)
    side = SIDE // shrink
    sheet = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), grain / shrink)
    sheet = cv2.resize(sheet, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return (sheet - sheet.mean()) / sheet.std()
