"""Which faces make up a training batch: real and synthetic ones at the share alpha; and how they get to the device.

A batch is a pure function of (seed, step). So a run that was stopped goes on exactly where it was, without any state
of a sampler to keep, a strategy at alpha = 0 or 1 draws the very same faces as the one that uses one set only, and
processes that share a batch need not talk about it: each draws the whole and loads its own part.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facemix.errors import FacemixError
from facemix.faces import mapped, shards
from facemix.faces.geometry import landmark_box
from facemix.faces.shards import Images
from facemix.training.frame import AS_GIVEN, Frame

REAL, SYNTHETIC = 0, 1

RESIDENT_SHARE = 0.5
"""Of the free device memory: faces that need no more stay there for the whole training. The rest is the network's."""

Load = Callable[[int], tuple[Tensor, Tensor]]
"""From a step to its pictures, on the device, and their landmarks (n, K, 2 or 3) float32.

Of a pack: crops (n, S, S, 3) uint8, landmarks on the CPU. Augmented: images (n, 3, S, S) float32, all on the device.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Faces to train on."""

    images: Images
    """(N, S, S, 3) RGB crops, usually the shards of a pack."""
    landmarks: npt.NDArray[np.float32]
    """(N, K, 2) pixels of the crops; (N, K, 3) where a network learns which points are hidden: 1 seen, 0 hidden, NaN
    unknown."""
    ids: npt.NDArray[np.str_]
    """(N,) what messages call the faces."""
    rows: npt.NDArray[np.int64]
    """(n,) the faces that are used."""
    frame: Frame = AS_GIVEN
    """Where the box that a face is shown in lies to the box of its labels."""


class MixedBatches:
    """Batches of real and synthetic faces.

    Args:
        real: needed where alpha < 1; not touched where alpha = 1.
        synthetic: needed where alpha > 0; not touched where alpha = 0.
        alpha: expected share of synthetic faces in a batch, 0 to 1.
        batch_size: faces in a batch, those of all processes together.
        seed: batches of other seeds are independent.

    Raises:
        FacemixError: alpha outside [0, 1], or a set that is needed is missing or empty.
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
            raise FacemixError(f"alpha: found {alpha}, expected a share from 0 to 1")
        for name, faces, share in (("real", real, 1 - alpha), ("synthetic", synthetic, alpha)):
            if share > 0 and (faces is None or len(faces.rows) == 0):
                raise FacemixError(
                    f"no {name} faces to train on, expected some, because their share of a batch is {share:g}"
                )
        self.sets = (real, synthetic)
        self.alpha, self.batch_size, self.seed = alpha, batch_size, seed
        self._start = float(np.random.default_rng([seed, 2]).random())
        # Two of each set, as a batch may begin another; to shuffle a million faces takes as long as a step.
        self._order = lru_cache(4)(self._shuffled)

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
        """Positions first .. first + count of an endless stream of seeded permutations of a set's faces."""
        faces = self.sets[domain]
        if count == 0 or faces is None:
            return np.zeros(0, dtype=np.int64)
        n = len(faces.rows)
        positions = np.arange(first, first + count)
        epochs = positions // n
        drawn = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = self._order(domain, int(epoch), n)
            here = epochs == epoch
            drawn[here] = order[positions[here] % n]
        return faces.rows[drawn]

    def _shuffled(self, domain: int, epoch: int, n: int) -> npt.NDArray[np.int32]:
        return np.random.default_rng([self.seed, domain, epoch]).permutation(n).astype(np.int32)

    def boxes(self, step: int) -> npt.NDArray[np.float32]:
        """The boxes (batch_size, 4) xyxy that the faces of one batch are shown in, pixels of the crops."""
        domain, rows = self.draw(step)
        boxes = [
            faces.frame.of(landmark_box(mapped.take(faces.landmarks, rows[domain == d])[:, :, :2]))
            for d, faces in enumerate(self.sets)
            if faces
        ]
        return np.concatenate(boxes).astype(np.float32)

    def names(self, step: int) -> list[str]:
        """What the faces of one batch are called."""
        return [str(faces.ids[row]) for d, row in zip(*self.draw(step), strict=True) if (faces := self.sets[d])]

    @property
    def crop_shape(self) -> tuple[int, ...]:
        """(S, S, 3)."""
        return next(faces.images.shape[1:] for faces in self.sets if faces is not None)

    @property
    def landmark_shape(self) -> tuple[int, ...]:
        """(K, 2), or (K, 3) with visibility."""
        return next(faces.landmarks.shape[1:] for faces in self.sets if faces is not None)

    def load(
        self, step: int, start: int = 0, stop: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Crops (n, S, S, 3) uint8 and their landmarks (n, K, 2 or 3), read from disk.

        Args:
            step: number of the batch.
            start: first face of the batch to load.
            stop: the face after the last one; if not given, all are loaded.
        """
        domain, rows = (drawn[start:stop] for drawn in self.draw(step))
        images = np.empty((len(rows), *self.crop_shape), dtype=np.uint8)
        landmarks = np.empty((len(rows), *self.landmark_shape), dtype=np.float32)
        first = 0
        for d, faces in enumerate(self.sets):
            chosen = rows[domain == d]
            if faces is not None and len(chosen):
                part = slice(first, first + len(chosen))
                shards.take(faces.images, chosen, images[part])
                landmarks[part] = mapped.take(faces.landmarks, chosen)
                first += len(chosen)
        return images, landmarks


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; from pinned memory, so that the host does not wait for a GPU."""
    # Pinned memory is laid out like the tensor: where its elements share memory, it could not be filled.
    return tensor.contiguous().pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def loader(batches: MixedBatches, device: torch.device, start: int, stop: int) -> Load:
    """Loads faces `start` to `stop` - 1 of each batch, in the way that suits the device and the size of the sets."""
    if device.type == "cpu":
        return lambda step: _tensors(batches, step, start, stop)
    crops = sum(len(faces.rows) for faces in batches.sets if faces is not None)
    free, _ = torch.cuda.mem_get_info(device)
    if crops * int(np.prod(batches.crop_shape)) <= RESIDENT_SHARE * free:
        return resident(batches, device, start, stop)
    return streamed(batches, device, start, stop)


def resident(batches: MixedBatches, device: torch.device, start: int, stop: int, chunk: int = 1024) -> Load:
    """Keeps all faces in device memory and gathers them there; `chunk` of them are copied at a time."""
    sets = [(d, faces) for d, faces in enumerate(batches.sets) if faces is not None]
    total = sum(len(faces.rows) for _, faces in sets)
    crops = torch.empty((total, *batches.crop_shape), dtype=torch.uint8, device=device)
    landmarks = np.empty((total, *batches.landmark_shape), dtype=np.float32)
    index = {}  # of each set's rows among the crops
    first = 0
    for d, faces in sets:
        index[d] = np.zeros(len(faces.images), dtype=np.int64)
        index[d][faces.rows] = first + np.arange(len(faces.rows))
        for rows in np.array_split(faces.rows, max(1, -(-len(faces.rows) // chunk))):
            part = slice(first, first + len(rows))
            crops[part] = torch.from_numpy(faces.images[rows])
            landmarks[part] = faces.landmarks[rows]
            first += len(rows)

    def load(step: int) -> tuple[Tensor, Tensor]:
        domain, rows = (drawn[start:stop] for drawn in batches.draw(step))
        found = np.concatenate([index[d][rows[domain == d]] for d, _ in sets])
        return crops[upload(torch.from_numpy(found), device)], torch.from_numpy(landmarks[found])

    return load


def streamed(batches: MixedBatches, device: torch.device, start: int, stop: int) -> Load:
    """Reads each batch from disk in a thread, while the device works on the one before."""

    def read(step: int) -> tuple[Tensor, Tensor]:
        crops, landmarks = _tensors(batches, step, start, stop)
        return crops.pin_memory() if device.type == "cuda" else crops, landmarks

    prefetched = prefetch(read)

    def load(step: int) -> tuple[Tensor, Tensor]:
        crops, landmarks = prefetched(step)
        return crops.to(device, non_blocking=True), landmarks

    return load


def prefetch(of_step: Load) -> Load:
    """The same batches, each made in a thread while the one before is worked on."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    begun: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def load(step: int) -> tuple[Tensor, Tensor]:
        batch = (begun.pop(step, None) or thread.submit(of_step, step)).result()
        begun[step + 1] = thread.submit(of_step, step + 1)
        return batch

    return load


def _tensors(batches: MixedBatches, step: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
    crops, landmarks = batches.load(step, start, stop)
    return torch.from_numpy(crops), torch.from_numpy(landmarks)
