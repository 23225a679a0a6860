"""How much the points of a video tremble: what of their motion is not smooth.

A frame is compared with the straight line between the frames before and after it. Constant motion lies on that line.
Noise of the points does not: where each coordinate has independent noise of standard deviation s, the jitter is s.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def tremble(points: tuple[Doubles, Doubles, Doubles], times: tuple[float, float, float]) -> Doubles:
    """What of three frames in a row is not constant motion (K, 2), in the unit of the points.

    Its standard deviation is that of the noise of a point. At an even rate it is the second difference / sqrt(6).

    Args:
        points: (K, 2) of each frame.
        times: of the frames, rising.
    """
    share = (times[1] - times[0]) / (times[2] - times[0])
    off = points[1] - (1 - share) * points[0] - share * points[2]
    return np.asarray(off / np.sqrt(1 + share**2 + (1 - share) ** 2))


class Jitter:
    """Jitter of one face, in % of its size, frame by frame: it holds three frames and two sums."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, Doubles]] = []
        self.squares = 0.0
        """The sum of the squares of all coordinates that were compared, in units of the face's size."""
        self.count = 0
        """How many."""

    def add(self, time: float, points: Doubles, size: float) -> None:
        """Adds a frame.

        Args:
            time: later than the one before.
            points: (K, 2) pixels.
            size: of the face in pixels: the longer side of the tight box around its points.
        """
        self._frames = [*self._frames[-2:], (time, points)]
        if len(self._frames) == 3:
            (t0, a), (t1, b), (t2, c) = self._frames
            off = tremble((a, b, c), (t0, t1, t2)) / size
            self.squares += float((off**2).sum())
            self.count += off.size

    @property
    def percent(self) -> float:
        """In % of the face's size; NaN of fewer than three frames in a row."""
        return overall([self])


def overall(several: "list[Jitter]") -> float:
    """The jitter of several faces together, in % of their size: each point of each frame counts alike."""
    count = sum(jitter.count for jitter in several)
    return 100 * float(np.sqrt(sum(jitter.squares for jitter in several) / count)) if count else float("nan")


def jitter(times: Doubles, points: Doubles, sizes: Doubles) -> float:
    """The jitter of one face over frames in a row, in % of its size.

    Args:
        times: (T,) rising.
        points: (T, K, 2) pixels.
        sizes: (T,) pixels.
    """
    face = Jitter()
    for time, points_, size in zip(times, points, sizes, strict=True):
        face.add(float(time), points_, float(size))
    return face.percent
