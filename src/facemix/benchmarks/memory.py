"""`facemix bench memory`: whether memory grows with the number of faces: of what reads packs, and of training on them.

Crops are files of holes, which take no disk.
"""

import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from facemix.benchmarks import made_up
from facemix.config import Params
from facemix.faces import mapped, packs

TIMES = (1, 10, 100)
"""The sizes of packs, in those of the smallest."""
_BATCHES = 200  # that are read of each pack
_STATUS = Path("/proc/self/status")


def memory(params: Params, faces: int, steps: int) -> None:
    """Prints the peak memory of reading packs of `faces`, ten and a hundred times as many, and of training on them.

    Each in a process of its own. Reading is opening a pack, drawing the faces of a training, loading batches of them
    and drawing the sheet and the mean face of the report. Adapting is what strategies with adapted labels do first.

    Args:
        steps: of each training; none where 0.
    """
    size, batch = params.pack.crop_size, params.training.batch_size
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        print(f"crops of {size} px, {_BATCHES} batches of {batch} read, {steps} steps trained; peak memory, MiB")
        print("    faces  GiB on disk  read adapted" + (" trained" if steps else ""))
        for times in TIMES:
            n, pack = times * faces, Path(folder) / str(times)
            pool.apply(_make, (pack, n, size))
            found = [pool.apply(read, (pack, batch)), pool.apply(adapt, (pack, params))]
            if steps:
                found.append(pool.apply(train, (pack, params, steps)))
            shown = " ".join(f"{value:7.0f}" for value in found)
            print(f"{n:9,d} {n * size**2 * 3 / 2**30:12.1f} {shown}", flush=True)


def _make(folder: Path, n: int, size: int) -> None:
    made_up.write_pack(folder, ["train"] * n, size)


def read(folder: Path, batch: int) -> float:
    """Peak memory of this process, MiB, after reading of a pack what trainings and reports do."""
    from facemix.reporting import panels
    from facemix.training.batches import MixedBatches, TrainingSet
    from facemix.training.tasks import choose

    pack = packs.read(folder)
    rows = choose(pack, "all", 0, "n_real")
    faces = TrainingSet(images=pack.images, landmarks=pack.landmarks, ids=pack.ids, rows=rows)
    batches = MixedBatches(faces, None, alpha=0, batch_size=batch, seed=0)
    for step in range(_BATCHES):
        batches.load(step)
    panels.sheet(pack.images, pack.landmarks, rows)
    panels.mean_face(pack.images, pack.landmarks, rows)
    return peak_memory()


def adapt(folder: Path, params: Params) -> float:
    """Peak memory of this process, MiB, after adapting the labels of a pack."""
    from facemix.training import adaptation

    pack = packs.read(folder)
    adapter = adaptation.LabelAdapter(pack.scheme, pack.scheme, params.adaptation.hidden)
    adaptation.adapt(adapter, pack.landmarks, out=mapped.on_disk("labels", pack.landmarks.shape, np.float32))
    return peak_memory()


def train(folder: Path, params: Params, steps: int) -> float:
    """Peak memory of this process, MiB, after training on a pack."""
    from facemix.benchmarks.speed import recipe_of
    from facemix.training import loop
    from facemix.training.batches import MixedBatches, TrainingSet
    from facemix.training.model import LandmarkNet
    from facemix.training.processes import Group, choose_device
    from facemix.training.state import State

    pack = packs.read(folder)
    group = Group(choose_device(params.training.device))
    faces = TrainingSet(images=pack.images, landmarks=pack.landmarks, ids=pack.ids, rows=np.arange(len(pack)))
    batches = MixedBatches(faces, None, alpha=0, batch_size=params.training.batch_size, seed=0)
    recipe = recipe_of(batches, params)
    load = loop.inputs(recipe, group)
    network = LandmarkNet(pack.scheme, params.model.backbone, params.model.input_size, params.model.width)
    state = State.begin(network, recipe, group)
    for _ in range(steps):
        state.advance(recipe, load, group)
    return peak_memory()


def peak_memory() -> float:
    """Of this process, MiB: what the system calls its high-water mark, files that are mapped and in use included."""
    if _STATUS.exists():
        (line,) = (line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
