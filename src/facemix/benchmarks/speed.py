"""`facemix bench`: speed that a user can measure on any machine, as ratios within one process."""

import dataclasses
import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.flop_counter import FlopCounterMode

from facemix.benchmarks import usual_loader
from facemix.benchmarks.memory import peak_memory
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.faces import packing, packs
from facemix.faces.face import VISIBLE, Face
from facemix.faces.packing import Written
from facemix.faces.parallel import available_cores
from facemix.faces.schemes import ibug68
from facemix.faces.shards import Shards
from facemix.strategies import STRATEGIES
from facemix.training import augment, batches, loop
from facemix.training.batches import MixedBatches, TrainingSet
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group, choose_device
from facemix.training.state import State, optimize
from facemix.verdict import bootstrap, comparison, simulation
from facemix.verdict.comparison import Trained

ROUNDS = 40
STEPS = 2  # few: the two take turns often, so that a drift of the machine's speed hits both
GPU_STEPS = 20  # more: the host runs ahead of a GPU, which it cannot in the first of them
FACES = 512
LOADER_ROUNDS = 10
SOURCES = 10  # of the faces that are packed
RENDER_WARM_UP = 3
RENDER_STAGES = ("head", "skin", "eyes and teeth", "hair", "clothing", "light", "render", "develop")


def step(params: Params) -> None:
    """Prints images/s of the bare step and of real training, taken in turn, and their ratio.

    The bare step is forward, backward and optimiser on one constant batch; real training also loads the batch from a
    pack on disk, augments it and keeps the moving average. Faces are noise: speed does not depend on them.
    On a GPU also what share of its bfloat16 rate real training achieves.
    """
    model, settings = params.model, params.training
    device = choose_device(settings.device)
    group = Group(device)
    torch.manual_seed(0)
    network = LandmarkNet(ibug68(), model.backbone, model.input_size, model.width)
    with tempfile.TemporaryDirectory() as folder, loop.core_spared(device):
        machine = _machine(device)
        recipe = recipe_of(_noise_batches(Path(folder), params), params)
        load = loop.inputs(recipe, group)
        state = State.begin(network, recipe, group)
        images = torch.rand(settings.batch_size, 3, model.input_size, model.input_size, device=device)
        targets = torch.rand(settings.batch_size, network.n_points, 2, device=device) * model.input_size

        def bare() -> None:
            optimize(state.forward, state.optimizer, images, targets, settings.precision, model.input_size, group)

        def real() -> None:
            state.advance(recipe, load, group)

        for _ in range(3):  # warm-up
            bare()
            real()
        steps = GPU_STEPS if device.type == "cuda" else STEPS
        pairs = [(_seconds(bare, device, steps), _seconds(real, device, steps)) for _ in range(ROUNDS)]
    bare_s, real_s = np.median(pairs, axis=0)
    ratio = float(np.median([bare_ / real_ for bare_, real_ in pairs]))
    faces = steps * settings.batch_size
    print(f"{model.backbone}, {model.input_size} px, batch {settings.batch_size}, {machine}")
    print(f"bare step      {faces / bare_s:8.1f} images/s")
    print(f"real training  {faces / real_s:8.1f} images/s")
    print(f"ratio          {ratio:8.3f}")
    if device.type == "cuda":
        rate, peak = steps * step_flops(network, images) / real_s, bfloat16_rate(device)
        print(f"share of peak  {rate / peak:8.3f}: {rate / 1e12:.1f} of {peak / 1e12:.0f} TFLOP/s of bfloat16 products")


def step_flops(network: torch.nn.Module, images: torch.Tensor) -> int:
    """Floating-point operations of a training step: thrice those of forward, since backward takes twice as many."""
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return 3 * int(counter.get_total_flops())


def bfloat16_rate(device: torch.device, side: int = 8192, times: int = 20) -> float:
    """Operations per second of a product of two square bfloat16 matrices: what the device can do, as measured."""
    a = torch.rand(side, side, device=device, dtype=torch.bfloat16)
    product = torch.empty_like(a)
    seconds = [_seconds(lambda: torch.mm(a, a, out=product), device, times) for _ in range(3)]  # the first warms up
    return 2 * side**3 * times / min(seconds)


def loader(params: Params, faces: int = FACES) -> None:
    """Prints images/s of facemix's batches and of the field's usual loader, taken in turn, and their ratio.

    Both bring the same faces to the training device at the same augmentation. The usual loader decodes JPEG photographs
    of 400 x 400 pixels in each epoch; facemix decoded them once, in `facemix prepare`, which is not counted here.
    """
    model, size, batch_size = params.model, params.model.input_size, params.training.batch_size
    if faces < batch_size:
        raise FacemixError(
            f"training.batch_size: found {batch_size}, expected at most {faces}, the number of faces that this "
            "bench uses"
        )
    device = choose_device(params.training.device)
    with tempfile.TemporaryDirectory() as folder:
        entries = _photographs(Path(folder), faces)
        packing.write(Path(folder) / "pack", entries, size=params.pack.crop_size, margin=params.pack.margin)
        pack = packs.read(Path(folder) / "pack")
        everything = TrainingSet(images=pack.images, landmarks=pack.landmarks, ids=pack.ids, rows=np.arange(faces))
        recipe = recipe_of(MixedBatches(everything, None, alpha=0, batch_size=batch_size, seed=0), params)
        load = batches.loader(recipe.batches, device, 0, batch_size)
        photographs = usual_loader.Photographs(
            [Path(folder) / entry.face.image.name for entry in entries],
            np.stack([entry.face.landmarks for entry in entries]),
            size=size,
            context=model.context,
            settings=params.augmentation,
        )
        usual = usual_loader.batches(photographs, batch_size, pinned=device.type == "cuda")
        steps = itertools.count()
        mirror_order = torch.from_numpy(recipe.mirror_order.copy())

        def batch() -> None:
            step = next(steps)
            crops, landmarks = load(step)
            augment.apply(crops, landmarks, recipe.changes(step, crops.shape[1]), size, mirror_order)

        def epoch() -> None:
            for images, points in usual:
                images.to(device, non_blocking=True)
                points.to(device, non_blocking=True)

        batch()  # warm-up
        epoch()
        pairs = [(_seconds(epoch, device, 1), _seconds(batch, device, len(usual))) for _ in range(LOADER_ROUNDS)]
    usual_s, ours_s = np.median(pairs, axis=0)
    ratio = float(np.median([usual_ / ours_ for usual_, ours_ in pairs]))
    images = len(usual) * batch_size
    print(f"{size} px, batch {batch_size}, {_machine(device)}")
    print(f"OpenCV by sample, {usual_loader.WORKERS} workers  {images / usual_s:8.1f} images/s")
    print(f"facemix by batch             {images / ours_s:8.1f} images/s")
    print(f"ratio                        {ratio:8.3f}")


def recipe_of(faces: MixedBatches, params: Params) -> loop.Recipe:
    """A training on these faces, as params say."""
    return loop.Recipe(
        mirror_order=ibug68().mirror,
        batches=faces,
        context=params.model.context,
        input_size=params.model.input_size,
        settings=params.training,
        augmentation=params.augmentation,
        learning_rate=params.training.learning_rate,
        seed=0,
    )


def _noise_batches(folder: Path, params: Params) -> MixedBatches:
    size = params.pack.crop_size
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (FACES, size, size, 3), dtype=np.uint8))
    images = Shards([folder / "images.npy"], [FACES], size)
    landmarks = (rng.random((FACES, len(ibug68()), 2)) * size).astype(np.float32)
    rows = np.arange(FACES)
    faces = TrainingSet(images=images, landmarks=landmarks, ids=rows.astype(np.str_), rows=rows)
    return MixedBatches(faces, faces, alpha=0.5, batch_size=params.training.batch_size, seed=0)


def _seconds(work: Callable[[], object], device: torch.device, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def prepare(params: Params, faces: int = FACES) -> None:
    """Prints faces/s of decoding JPEG photographs of 400 x 400 pixels into a pack, and what one source more costs.

    There are `SOURCES` of them, of equal size. All but one become a pack, then all: by taking over what is there, and
    anew.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entries = [
            dataclasses.replace(entry, source=f"source-{i * SOURCES // faces}")
            for i, entry in enumerate(_photographs(root, faces))
        ]
        before = [entry for entry in entries if entry.source != entries[-1].source]

        def timed(
            name: str, some: list[packing.Entry], former: packing.Former | None = None
        ) -> tuple[float, float, Written]:
            clock, cpu = time.perf_counter(), time.process_time()
            size, margin = params.pack.crop_size, params.pack.margin
            written = packing.write(root / name, some, size=size, margin=margin, former=former)
            return time.perf_counter() - clock, time.process_time() - cpu, written

        _, _, first = timed("before", before)
        former = packing.Former(files=_files(root / "before"), shards=first.shards)
        *added, taken = timed("added", entries, former)
        *anew, _ = timed("anew", entries)
        there, sizes = _contents(root / "before"), _contents(root / "anew")
    new = sum(size for digest, size in sizes.items() if digest not in there)
    print(
        f"{faces} JPEG photographs of 400 px into crops of {params.pack.crop_size} px, {_machine(torch.device('cpu'))}"
    )
    print(f"{faces / anew[0]:.0f} faces/s")
    print("                        seconds by the clock (and of CPU time)  MB of new files")
    for what, (clock, cpu), size in ((f"{SOURCES} sources", anew, sum(sizes.values())), ("one more", added, new)):
        print(f"{what:22s} {clock:21.1f} {f'({cpu:.1f})':17s} {size / 1e6:15.1f}")
    print(f"with one more, {taken.taken} of {len(taken.shards)} shards taken over")


def _files(folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}


def _contents(folder: Path) -> dict[bytes, int]:
    """Digest and size of each file below a folder."""
    found = {}
    for path in _files(folder).values():
        with path.open("rb") as file:
            found[hashlib.file_digest(file, "sha256").digest()] = path.stat().st_size
    return found


def _photographs(folder: Path, n: int) -> list[packing.Entry]:
    """JPEG photographs of 400 x 400 pixels, soft noise, with points in their inner half."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(n):
        picture = cv2.GaussianBlur(rng.integers(0, 256, (400, 400, 3), dtype=np.uint8), (0, 0), 3)
        path = folder / f"{i}.jpg"
        cv2.imwrite(str(path), picture)
        points = (100 + 200 * rng.random((len(ibug68()), 2))).astype(np.float32)
        states = np.full(len(points), VISIBLE, dtype=np.uint8)
        face = Face(
            id=str(i),
            subset="",
            photo=str(i),
            image=path,
            landmarks=points,
            states=states,
            scheme=ibug68(),
            files=(path,),
        )
        entries.append(packing.Entry(face=face, source="bench", split="train"))
    return entries


def render(size: int, n: int, backend: str) -> None:
    """Prints images/s by stage of one process on one core, its peak memory, and images/s of all cores that write a set.

    The first pictures, in which LLVM compiles its kernels, do not count for the stages.
    """
    from facemix.render import sets
    from facemix.render.backends import choose_backend
    from facemix.render.population import POPULATIONS
    from facemix.render.studio import Studio

    if n < 2:
        raise FacemixError(f"--n {n}: expected at least 2 pictures")
    chosen, notice = choose_backend(backend)
    print(f"{size} px, {chosen}, {_machine(torch.device('cpu'))}" + (f"; {notice}" if notice else ""))
    studio, population = Studio(size, chosen), POPULATIONS["synthetic"]
    for index in range(RENDER_WARM_UP):
        studio.shoot(population, 1, index, "mesh")
    early, spent = peak_memory(), dict.fromkeys(RENDER_STAGES, 0.0)
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
    late = peak_memory()
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


def compare() -> None:
    """Prints the seconds that the verdict on all strategies, five seeds and 554 faces takes, on made-up errors."""
    rng, n_seeds, n_faces, n_photos = np.random.default_rng(0), 5, 554, 522
    photo_of = np.sort(np.concatenate([np.arange(n_photos), rng.integers(0, n_photos, n_faces - n_photos)]))
    errors = simulation.errors(rng, np.linspace(4, 6, len(STRATEGIES)), n_seeds, photo_of)
    trained = [
        _trained(name, seed, of_seed, photo_of)
        for name, of_strategy in zip(STRATEGIES, errors, strict=True)
        for seed, of_seed in enumerate(of_strategy)
    ]
    start = time.perf_counter()
    comparison.rank(trained)
    seconds = time.perf_counter() - start
    print(
        f"{len(STRATEGIES)} strategies, {n_seeds} seeds, {n_faces} faces, {bootstrap.RESAMPLES} resamples, "
        f"{_machine(torch.device('cpu'))}"
    )
    print(f"rank, with intervals  {seconds:6.2f} s")


def _trained(name: str, seed: int, errors: npt.NDArray[np.float64], photo_of: npt.NDArray[np.int64]) -> Trained:
    """The record of a training with made-up errors."""
    nme = float(errors.mean())
    test = {"nme": nme, "fr8": 0.0, "fr10": 0.0, "auc8": 0.0, "regions": {}, "subsets": {"": nme}, "box_jitter": {}}
    faces = [str(i) for i in range(len(errors))]
    return Trained(
        strategy=name,
        seed=seed,
        metrics={"normalizer": "outer_eye", "thresholds": [8, 10], "val": {"nme": nme}, "test": test},
        errors=dict(zip(faces, errors.tolist(), strict=True)),
        photos=dict(zip(faces, photo_of.astype(str).tolist(), strict=True)),
        box_jitter={0.0: nme},
        history=[],
        faces_seen=1,
    )


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {available_cores()} cores, {torch.get_num_threads()} threads"
