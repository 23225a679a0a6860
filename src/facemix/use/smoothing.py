"""Smoothing of points over time: the One Euro filter.

G. Casiez, N. Roussel, D. Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems", CHI 2012. A low-pass filter whose cut-off frequency rises with the speed: slow points are steadied, fast ones
do not lag.

Here it works on where points are in the face, and the middle of the face passes as it is: a face that moves as a whole
does not lag at all. The middle is the mean of all points and trembles less than they do.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

# Of values on a grid, chosen on rendered clips of two people (`facemix bench clip`, seeds 1 and 2) for four detectors:
# jitter falls by a third, and no error rises. Lower ones steady more, and lag where a mouth opens fast.
MIN_CUTOFF = 4.0
"""Of points that rest, Hz."""
BETA = 10.0
"""By which the cut-off frequency rises, Hz for a speed of one face size per second."""
SPEED_CUTOFF = 1.0
"""Of the speed, Hz: the paper's."""


class OneEuro:
    """The filter for the points of one face. Speeds are measured in face sizes, so it does the same at any scale."""

    def __init__(self, min_cutoff: float = MIN_CUTOFF, beta: float = BETA, speed_cutoff: float = SPEED_CUTOFF) -> None:
        self._min_cutoff, self._beta, self._speed_cutoff = min_cutoff, beta, speed_cutoff
        self._time = 0.0
        self._points: Doubles | None = None
        self._speed: Doubles = np.zeros(0)

    def __call__(self, time: float, points: Doubles, size: float) -> Doubles:
        """The smoothed points of the next frame.

        Args:
            time: seconds, later than the one before.
            points: (K, 2) pixels.
            size: of the face, pixels.
        """
        middle = points.mean(axis=0)
        return np.asarray(middle + self._filtered(time, points - middle, size))

    def _filtered(self, time: float, points: Doubles, size: float) -> Doubles:
        if self._points is None:
            self._time, self._points, self._speed = time, points, np.zeros_like(points)
            return points
        step = time - self._time
        speed = (points - self._points) / (step * size)
        self._speed = self._speed + share(self._speed_cutoff, step) * (speed - self._speed)
        cutoff = self._min_cutoff + self._beta * np.linalg.norm(self._speed, axis=1, keepdims=True)
        self._points = self._points + share(cutoff, step) * (points - self._points)
        self._time = time
        return self._points


def share(cutoff: npt.ArrayLike, step: float) -> Doubles:
    """What a new value counts in exponential smoothing with a cut-off frequency (Hz) after a step of time (seconds)."""
    turn = 2 * np.pi * np.asarray(cutoff, dtype=np.float64) * step
    return np.asarray(turn / (turn + 1))
