"""`facemix bench`: speed that a user can measure on any machine, as ratios within one process."""

import copy
import itertools
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from facemix.config import Params
from facemix.faces import packs
from facemix.faces.face import Face
from facemix.learning import training
from facemix.learning.batches import MixedBatches, TrainingSet
from facemix.learning.model import LandmarkNet

ROUNDS = 40
STEPS = 2  # few: the two take turns often, so that a drift of the machine's speed hits both
FACES = 512
RENDER_WARM_UP = 3
RENDER_STAGES = ("head", "skin", "eyes and teeth", "hair", "clothing", "light", "render", "develop")


def step(params: Params) -> None:
    """Prints images/s of the bare step and of real training, taken in turn, and their ratio.

    The bare step is forward, backward and optimiser on one constant batch; real training also loads the batch from a
    memory-mapped pack, augments it and keeps the moving average. Faces are noise: speed does not depend on them.
    """
    model, settings = params.model, params.training
    device = training.choose_device(settings.device)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    network = LandmarkNet(model.backbone, model.input_size, model.width)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True)
    tensors = training.averageable(copy.deepcopy(network)), training.averageable(network)
    field = model.context / params.pack.margin * params.pack.crop_size
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        batches = _noise_batches(Path(folder), params)
        images = torch.rand(settings.batch_size, 3, model.input_size, model.input_size, device=device)
        targets = torch.rand(settings.batch_size, 68, 2, device=device) * model.input_size

        def bare() -> None:
            training.optimize(network, optimizer, images, targets, settings.precision, model.input_size)

        def real() -> None:
            number = next(numbers)
            training.training_step(
                network, optimizer, batches, number, model.input_size, field, settings, params.augmentation, 0, device
            )
            training.average(*tensors, settings.ema_decay, number)

        for _ in range(3):  # warm-up
            bare()
            real()
        pairs = [(_seconds(bare, device), _seconds(real, device)) for _ in range(ROUNDS)]
    bare_s, real_s = np.median(pairs, axis=0)
    ratio = float(np.median([bare_ / real_ for bare_, real_ in pairs]))
    faces = STEPS * settings.batch_size
    print(f"{model.backbone}, {model.input_size} px, batch {settings.batch_size}, {_machine(device)}")
    print(f"bare step      {faces / bare_s:8.1f} images/s")
    print(f"real training  {faces / real_s:8.1f} images/s")
    print(f"ratio          {ratio:8.3f}")


def _noise_batches(folder: Path, params: Params) -> MixedBatches:
    size = params.pack.crop_size
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(FACES, size, size, 3))
    images[:] = rng.integers(0, 256, images.shape, dtype=np.uint8)
    landmarks = (rng.random((FACES, 68, 2)) * size).astype(np.float32)
    faces = TrainingSet(images=images, landmarks=landmarks, rows=np.arange(FACES))
    return MixedBatches(faces, faces, alpha=0.5, batch_size=params.training.batch_size, seed=0)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def prepare(params: Params) -> None:
    """Prints faces/s of decoding and cropping JPEG photographs of 400 x 400 pixels into a pack, on all cores."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entries = []
        for i in range(FACES):
            picture = cv2.GaussianBlur(rng.integers(0, 256, (400, 400, 3), dtype=np.uint8), (0, 0), 3)
            path = root / f"{i}.jpg"
            cv2.imwrite(str(path), picture)
            points = (100 + 200 * rng.random((68, 2))).astype(np.float32)
            face = Face(id=str(i), subset="", photo=str(i), image=path, landmarks=points, files=(path,))
            entries.append(packs.Entry(face=face, source="bench", split="train"))
        start = time.perf_counter()
        packs.write(root / "pack", entries, size=params.pack.crop_size, margin=params.pack.margin)
        seconds = time.perf_counter() - start
    print(
        f"{FACES} JPEG photographs of 400 px into crops of {params.pack.crop_size} px, {_machine(torch.device('cpu'))}"
    )
    print(f"{FACES / seconds:.0f} faces/s")


def render(size: int, n: int, backend: str) -> None:
    """Prints images/s by stage of one process on one core, its peak memory, and images/s of all cores that write a set.

    The first pictures, in which LLVM compiles its kernels, do not count for the stages.
    """
    from facemix.render import sets
    from facemix.render.population import POPULATIONS
    from facemix.render.scene import choose_backend
    from facemix.render.studio import Studio

    if n < 2:
        raise ValueError(f"--n {n}: expected at least 2 pictures")
    chosen, notice = choose_backend(backend)
    print(f"{size} px, {chosen}, {_machine(torch.device('cpu'))}" + (f"; {notice}" if notice else ""))
    studio, population = Studio(size, chosen), POPULATIONS["synthetic"]
    for index in range(RENDER_WARM_UP):
        studio.shoot(population, 1, index, "mesh")
    early, spent = _peak_memory(), dict.fromkeys(RENDER_STAGES, 0.0)
    last = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[stage] += now - last
        last = now

    for index in range(n):
        studio.shoot(population, 0, index, "mesh", lap)
    total = sum(spent.values())
    for stage, seconds in spent.items():
        print(f"{stage:16s} {1e3 * seconds / n:8.1f} ms {n / seconds:8.1f} images/s")
    print(f"{'one process':16s} {1e3 * total / n:8.1f} ms {n / total:8.2f} images/s")
    late = _peak_memory()
    print(f"peak memory {early:.0f} MB after {RENDER_WARM_UP} pictures, {late:.0f} MB after {n + RENDER_WARM_UP}")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        sets.render_set(
            Path(folder) / "set",
            n,
            sets.Settings(seed=0, size=size, labels="mesh", population=population, backend=chosen),
        )
        seconds = time.perf_counter() - start
    print(f"all cores, {n} pictures written, start included: {n / seconds:.2f} images/s")


def _peak_memory() -> float:
    """Of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
