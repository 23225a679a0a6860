"""Which faces make up a training batch: real and synthetic ones at the share alpha.

A batch is a pure function of (seed, step). So a run that was stopped goes on exactly where it was, without any state
of a sampler to keep, and a strategy at alpha = 0 or 1 draws the very same faces as the one that uses one set only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemix.faces.landmarks import N_POINTS

REAL, SYNTHETIC = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Faces to train on."""

    images: npt.NDArray[np.uint8]
    """(N, S, S, 3) RGB crops of a pack, usually a memory map."""
    landmarks: npt.NDArray[np.float32]
    """(N, 68, 2) pixels of the crops."""
    rows: npt.NDArray[np.int64]
    """(n,) the faces that are used."""


class MixedBatches:
    """Batches of real and synthetic faces.

    Args:
        real: needed where alpha < 1; not touched where alpha = 1.
        synthetic: needed where alpha > 0; not touched where alpha = 0.
        alpha: expected share of synthetic faces in a batch, 0 to 1.
        batch_size: faces in a batch.
        seed: batches of other seeds are independent.

    Raises:
        ValueError: alpha outside [0, 1], or a set that is needed is missing or empty.
    """

    def __init__(
        self,
        real: TrainingSet | None,
        synthetic: TrainingSet | None,
        *,
        alpha: float,
        batch_size: int,
        seed: int,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: found {alpha}, expected a share from 0 to 1")
        for name, faces, share in (("real", real, 1 - alpha), ("synthetic", synthetic, alpha)):
            if share > 0 and (faces is None or len(faces.rows) == 0):
                raise ValueError(f"no {name} faces to train on, but their share of a batch is {share:g}")
        self.sets = (real, synthetic)
        self.alpha, self.batch_size, self.seed = alpha, batch_size, seed
        self._start = float(np.random.default_rng([seed, 2]).random())

    def _synthetic_before(self, step: int) -> int:
        """How many synthetic faces the batches before `step` hold.

        Systematic sampling: each batch holds alpha x batch_size synthetic faces, rounded up or down so that the sum
        over batches is never off by more than one; the seeded start makes the expectation exact in every batch.
        """
        return int(np.floor(step * self.batch_size * self.alpha + self._start))

    def draw(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The faces of one batch, real ones first.

        Returns:
            domain (batch_size,): REAL or SYNTHETIC; row (batch_size,): row in that set's images.
        """
        before, after = self._synthetic_before(step), self._synthetic_before(step + 1)
        first = {REAL: step * self.batch_size - before, SYNTHETIC: before}
        count = {REAL: self.batch_size - (after - before), SYNTHETIC: after - before}
        domain = np.repeat([REAL, SYNTHETIC], [count[REAL], count[SYNTHETIC]])
        rows = [self._stream(d, first[d], count[d]) for d in (REAL, SYNTHETIC)]
        return domain, np.concatenate(rows)

    def _stream(self, domain: int, first: int, count: int) -> npt.NDArray[np.int64]:
        """Places first .. first + count of an endless stream of seeded permutations of a set's faces."""
        faces = self.sets[domain]
        if count == 0 or faces is None:
            return np.zeros(0, dtype=np.int64)
        n = len(faces.rows)
        places = np.arange(first, first + count)
        epochs = places // n
        drawn = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = np.random.default_rng([self.seed, domain, int(epoch)]).permutation(n)
            here = epochs == epoch
            drawn[here] = order[places[here] % n]
        return faces.rows[drawn]

    def load(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Crops (batch_size, S, S, 3) uint8 and their landmarks (batch_size, 68, 2), read from the memory maps."""
        domain, rows = self.draw(step)
        shape = next(faces.images.shape[1:] for faces in self.sets if faces is not None)
        images = np.empty((self.batch_size, *shape), dtype=np.uint8)
        landmarks = np.empty((self.batch_size, N_POINTS, 2), dtype=np.float32)
        first = 0
        for d, faces in enumerate(self.sets):
            chosen = rows[domain == d]
            if faces is not None and len(chosen):
                part = slice(first, first + len(chosen))
                # Straight into the batch: indexing would copy the crops twice.
                np.take(faces.images, chosen, axis=0, out=images[part], mode="clip")
                landmarks[part] = faces.landmarks[chosen]
                first += len(chosen)
        return images, landmarks
