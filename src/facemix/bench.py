"""`facemix bench`: speed that a user can measure on any machine, as ratios within one process."""

import copy
import itertools
import os
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


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
