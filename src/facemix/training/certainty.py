"""How sure a detector is of each point: its spread, calibrated on real validation faces.

A network says how far its sight of a point is spread, and training holds it to that (`loss.landmark_loss`). How that
spread compares with errors on real faces is measured: one scale a point makes it an expected error. Errors relative to
what was expected have one distribution, of all points together. So the radius that holds the truth with 90 % is the
expected error times one number. No test face has a say in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Shares of points, of which the radius is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """What makes an expected error of a spread, and a radius of an expected error."""

    scale: npt.NDArray[np.float64]
    """(K,) expected error / spread."""
    radius: Mapping[float, float]
    """Level -> radius that holds this share of points / expected error."""
    usual: float
    """Median over the faces of the expected error, mean over the points, in what lengths are measured in."""

    def as_dict(self) -> dict[str, Any]:
        """As model.json keeps it."""
        return {
            "scale": [round(value, 5) for value in self.scale.tolist()],
            "radius": {f"{level:g}": round(value, 5) for level, value in self.radius.items()},
            "usual": round(self.usual, 6),
        }


def read(content: Mapping[str, Any]) -> Certainty:
    """What `as_dict` wrote."""
    radius = {float(level): float(value) for level, value in content["radius"].items()}
    scale = np.array(content["scale"], dtype=np.float64)
    return Certainty(scale=scale, radius=radius, usual=float(content["usual"]))


def fit(spreads: Floats, errors: Floats) -> Certainty | None:
    """Calibrates spreads by errors on faces that were not trained on.

    A point that is labelled on no face has the scale of all points together.

    Args:
        spreads: (n, K) in sides of each face's box.
        errors: (n, K) distances from the truth in the same; NaN where unlabelled.

    Returns:
        None where no point is labelled, or nothing is spread.
    """
    known = np.isfinite(errors)
    spread, error = np.where(known, spreads, 0).sum(axis=0), np.where(known, errors, 0).sum(axis=0)
    if not (spread.sum() > 0 and error.sum() > 0):
        return None
    counts = (spread > 0) & (error > 0)
    scale = np.where(counts, error, error.sum()) / np.where(counts, spread, spread.sum())
    relative = (errors / (scale * spreads))[known]
    radius = dict(zip(LEVELS, np.quantile(relative, LEVELS).tolist(), strict=True))
    usual = float(np.median((scale * spreads).mean(axis=1)))
    return Certainty(scale=scale.astype(np.float64), radius=radius, usual=usual)


def coverage(radius: Mapping[float, float], expected: Floats, errors: Floats) -> dict[float, float]:
    """Of all labelled points, the share that lies within the radius of each level; NaN where none is labelled.

    Args:
        radius: as of `Certainty`.
        expected: (n, K) expected errors.
        errors: (n, K) distances from the truth; NaN where unlabelled.
    """
    known = np.isfinite(errors)
    relative = errors[known] / expected[known]
    return {level: float(np.mean(relative <= r)) if relative.size else float("nan") for level, r in radius.items()}
