"""What hats, glasses and things in hands share: how they follow the head, and what they are made of."""

from __future__ import annotations

from functools import cache

import numpy as np

from facemix.render.head import Head

HEAD_TOP = np.array([0.0, 8.0, 0.3])  # things with this rest position follow the head rigidly
CLOTH = np.array(
    [[0.012, 0.012, 0.014], [0.02, 0.03, 0.09], [0.25, 0.02, 0.02], [0.5, 0.48, 0.44], [0.05, 0.09, 0.04],
     [0.15, 0.15, 0.16], [0.3, 0.2, 0.1], [0.02, 0.12, 0.25], [0.5, 0.3, 0.03], [0.3, 0.05, 0.16],
     [0.06, 0.03, 0.02], [0.03, 0.16, 0.15]]
)  # fmt: skip


@cache
def rows_at(head: Head, side: int, *places: tuple[float, float, float]) -> list[int]:
    """Which rows of the skin's smooth points lie where the template has these places, mirrored if `side` is -1."""
    rest = head.parts["skin"].smooth(head.vertices)
    return [int(((rest - np.array(place) * [side, 1, 1]) ** 2).sum(1).argmin()) for place in places]
