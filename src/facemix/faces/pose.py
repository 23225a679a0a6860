"""Which way a face looks, from its 68 points alone."""

import numpy as np
import numpy.typing as npt

INNER = range(17, 68)
"""The points without the jaw, whose points lie on the visible outline and so wander over the head as it turns."""

# Mean of 300 heads of the generator (seed 5) with their expressions, before they are turned, made symmetric; units of
# the outer-eye distance, x to the right of the image, y up, z towards the camera.
MEAN_FACE = np.array([
    [-0.66, 0.50, -0.26], [-0.49, 0.54, -0.05], [-0.39, 0.55, 0.01], [-0.29, 0.54, 0.04], [-0.13, 0.49, 0.05],
    [0.13, 0.49, 0.05], [0.29, 0.54, 0.04], [0.39, 0.55, 0.01], [0.49, 0.54, -0.05], [0.66, 0.50, -0.26],
    [0.00, 0.31, 0.03], [0.00, 0.19, 0.09], [0.00, 0.05, 0.18], [0.00, -0.11, 0.26], [-0.17, -0.16, 0.03],
    [-0.08, -0.18, 0.10], [0.00, -0.21, 0.13], [0.08, -0.18, 0.10], [0.17, -0.16, 0.03], [-0.50, 0.33, -0.15],
    [-0.39, 0.36, -0.07], [-0.31, 0.36, -0.07], [-0.20, 0.31, -0.11], [-0.31, 0.29, -0.08], [-0.40, 0.29, -0.08],
    [0.20, 0.31, -0.11], [0.31, 0.36, -0.07], [0.39, 0.36, -0.07], [0.50, 0.33, -0.15], [0.40, 0.29, -0.08],
    [0.31, 0.29, -0.08], [-0.32, -0.41, -0.07], [-0.18, -0.35, 0.08], [-0.06, -0.34, 0.12], [0.00, -0.35, 0.13],
    [0.06, -0.34, 0.12], [0.18, -0.35, 0.08], [0.32, -0.41, -0.07], [0.23, -0.50, -0.01], [0.08, -0.56, 0.05],
    [0.00, -0.56, 0.06], [-0.08, -0.56, 0.05], [-0.23, -0.50, -0.01], [-0.30, -0.41, -0.10], [-0.14, -0.40, 0.05],
    [0.00, -0.41, 0.07], [0.14, -0.40, 0.05], [0.30, -0.41, -0.10], [0.14, -0.45, 0.02], [0.00, -0.47, 0.06],
    [-0.14, -0.45, 0.02],
])  # fmt: skip
"""The inner points (51, 3) of a mean face that looks straight ahead."""

_FIT = np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(axis=0))  # (3, 51)

BINS = ("frontal", "half-turned", "turned")
BIN_EDGES = (15, 30)
"""Degrees of yaw, to either side, that divide the bins."""


def head_pose(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Yaw, pitch and roll of faces, in degrees.

    The turned mean face is fitted to the inner points under scaled orthographic projection: least squares for the two
    rows of the projection, then the nearest rotation (the step of D. F. DeMenthon and L. S. Davis, "Model-based object
    pose in 25 lines of code", IJCV 1995). Faces differ from their mean, so a single face's yaw is sure to about 5
    degrees: enough for bins.

    Args:
        points: (..., 68, 2) x, y in pixels, y down, of an image or of a crop that is not rotated.

    Returns:
        (..., 3): yaw turns to the person's left, pitch nods down, roll tilts to the person's right, in this order;
        upright and straight ahead is 0, 0, 0.
    """
    seen = points[..., list(INNER), :] * np.array([1.0, -1.0])
    rows = np.swapaxes(_FIT @ (seen - seen.mean(axis=-2, keepdims=True)), -1, -2)
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    across, up = np.moveaxis(u @ vt, -2, 0)
    forward = np.cross(across, up)
    yaw = np.arctan2(-forward[..., 0], forward[..., 2])
    pitch = np.arcsin(np.clip(forward[..., 1], -1, 1))
    roll = np.arctan2(-across[..., 1], up[..., 1])
    angles: npt.NDArray[np.float64] = np.degrees(np.stack([yaw, pitch, roll], axis=-1))
    return angles


def yaw_bin(yaw: npt.NDArray[np.floating]) -> npt.NDArray[np.str_]:
    """The bin of each yaw (n,) in degrees: frontal below 15 to either side, turned above 30, half-turned between."""
    return np.asarray(np.array(BINS)[np.digitize(np.abs(yaw), BIN_EDGES)])
