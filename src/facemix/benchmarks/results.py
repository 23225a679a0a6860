"""`facemix bench results`: seconds to read the points of a large sweep, and to compare as many trainings.

Faces and predictions are made up. What is measured is the project's own code, on files as trainings leave them and
experiments as DVC saves them.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from facemix.benchmarks import made_up
from facemix.errors import FacemixError
from facemix.faces import packs
from facemix.faces.packs import Pack
from facemix.faces.parallel import available_cores
from facemix.files import write_table
from facemix.strategies import MODELS, STRATEGIES
from facemix.sweeps import grid
from facemix.sweeps import results as sweep
from facemix.sweeps.grid import Point
from facemix.sweeps.repository import environment, examine
from facemix.sweeps.work import Experiment
from facemix.training import predictions
from facemix.training.predictions import BOX_JITTER, Predictions
from facemix.verdict import comparison
from facemix.verdict import results as trainings

COUNTS = tuple(100 * 2**k for k in range(10))
"""Numbers of real faces that `real_only` and `mixing` are trained with."""
ALPHAS = (0.2, 0.4, 0.6, 0.8)
PER_SEED = len(COUNTS) * (1 + len(ALPHAS))
"""Points of the sweep for each seed."""

_CONTENTS = 10  # different predictions, which trainings take in turn: making them is the slowest part
_STAGES = 20  # others in a `dvc.lock`, which makes it as long as the project's own
_NORMALIZER = "outer_eye"
_CROP = 160  # pixels

Result = TypeVar("Result")
Files = Mapping[str, bytes]


def results(points: int, faces: int) -> None:
    """Prints the seconds of reading and tabulating a sweep's points, and of reading and ranking as many trainings.

    Args:
        points: at least `PER_SEED`, a multiple of it.
        faces: that are tested on; a quarter as many validate.

    Raises:
        FacemixError: another number of points, or fewer than ten faces.
    """
    if points < PER_SEED or points % PER_SEED:
        raise FacemixError(f"--points {points}: expected a multiple of {PER_SEED}")
    if faces < 10:
        raise FacemixError(f"--faces {faces}: expected at least 10")
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)):
        seeds = points // PER_SEED
        made_up.write_pack(
            packs.FOLDER / "real", ["test"] * faces + ["validation"] * (faces // 4) + ["train"] * faces, _CROP
        )
        pack = packs.read(packs.FOLDER / "real")
        contents = [_files(pack, np.random.default_rng(seed)) for seed in range(_CONTENTS)]
        swept = [
            Point(strategy="real_only", seed=seed, settings=(("n_real", n),)) for seed in range(seeds) for n in COUNTS
        ] + [
            Point(strategy="mixing", seed=seed, settings=(("alpha", alpha), ("n_real", n)))
            for seed in range(seeds)
            for n in COUNTS
            for alpha in ALPHAS
        ]
        revisions = _experiments(swept, contents)
        project = examine(Path.cwd())
        digests = {point: f"{i:032x}" for i, point in enumerate(swept)}
        there = {
            grid.experiment_name(point, digest): Experiment(revision=revisions[f"point-{i}"], commit=project.commit)
            for i, (point, digest) in enumerate(digests.items())
        }
        per_strategy = points // len(STRATEGIES)
        for i, (name, seed) in enumerate((name, seed) for name in STRATEGIES for seed in range(per_strategy)):
            _put(MODELS / name / f"seed-{seed}", contents[i % _CONTENTS])
        print(f"{points} points, {faces} test faces, {available_cores()} cores; seconds by the clock (and of CPU time)")
        found, total = _timed("read the points", lambda: sweep.read_results(project, digests, there, _NORMALIZER))
        ranked = [one for one in found.values() if isinstance(one, grid.Result)]
        _timed("their tables", lambda: sweep.write_tables(ranked, total))
        _timed("their curves", lambda: sweep.write_curves(ranked, total))
        n_models = per_strategy * len(STRATEGIES)
        trained = _timed(
            f"read {n_models} trainings", lambda: trainings.read(MODELS, list(range(per_strategy)), _NORMALIZER)
        )
        _timed("rank them", lambda: comparison.rank(trained))


def _timed(what: str, work: Callable[[], Result]) -> Result:
    clock, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):  # of made-up results
        result = work()
    print(f"{what:20s} {time.perf_counter() - clock:7.1f} ({time.process_time() - cpu:.1f})", flush=True)
    return result


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Works in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _files(pack: Pack, rng: np.random.Generator) -> Files:
    """What a training leaves, but for its weights."""
    judging = np.flatnonzero(pack.splits != "train")
    truth = pack.landmarks[judging]
    points = {level: truth + rng.normal(0, 2, truth.shape).astype(np.float32) for level in (0.0, *BOX_JITTER)}
    about = {
        "training": {"steps": 10, "faces_seen": {"bench": 320}},
        "adapter": None,
        "scheme": pack.scheme.as_dict(),
        "made_of": {"inputs": {"real": pack.digest}, "n_synthetic": 0, "packages": {"torch": "1"}, "code": "bench"},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        predictions.write(folder, Predictions(ids=pack.ids[judging], points=points))
        write_table(folder / "history.csv", [{"step": step, "val_error": 2.5} for step in range(0, 2000, 100)])
        (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
        return _read(folder)


def _read(folder: Path) -> Files:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def _put(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _experiments(points: list[Point], contents: list[Files]) -> dict[str, str]:
    """Makes a repository with a commit for each point, `point-I`, as experiments are; returns their revisions."""
    from dvc.repo import Repo

    git = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "--quiet"], env=environment(), check=True)
    with contextlib.redirect_stdout(io.StringIO()):
        Repo.init(".").close()
    subprocess.run([*git, "config", "user.name", "bench"], env=environment(), check=True)
    subprocess.run([*git, "config", "user.email", "bench@localhost"], env=environment(), check=True)
    faces = _folder_in_cache(_read(packs.FOLDER / "real"))
    hashes = [_folder_in_cache(files) for files in contents]
    commands = []
    for i, point in enumerate(points):
        lock = _lock(
            {"prepare@real": ("data/packs/real", faces)}
            | {point.stage: (f"models/{point.strategy}/seed-{point.seed}", hashes[i % len(hashes)])}
        )
        commands.append(
            f"commit refs/heads/point-{i}\ncommitter bench <bench@localhost> 0 +0000\ndata 0\n"
            f"M 100644 inline dvc.lock\ndata {len(lock)}\n{lock}\n"
        )
    subprocess.run([*git, "fast-import", "--quiet"], input="".join(commands).encode(), env=environment(), check=True)
    subprocess.run([*git, "symbolic-ref", "HEAD", "refs/heads/point-0"], env=environment(), check=True)
    told = subprocess.run(
        [*git, "for-each-ref", "--format=%(refname:short) %(objectname)"],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    return dict(line.split() for line in told.splitlines())


def _lock(outputs: Mapping[str, tuple[str, str]]) -> str:
    """A `dvc.lock` of these stages, each with the path and hash of what it made, and of some others."""
    others = {f"other@{i}": (f"models/other/seed-{i}", "0" * 32 + ".dir") for i in range(_STAGES)}
    lines = ["schema: '2.0'", "stages:"]
    for stage, (path, md5) in (others | dict(outputs)).items():
        lines += [f"  {stage}:", f"    cmd: facemix train {stage}", "    deps:"]
        for i in range(10):
            lines += [f"    - path: src/facemix/{i}.py", "      hash: md5", f"      md5: {'0' * 32}", "      size: 1"]
        lines += ["    outs:", f"    - path: {path}", "      hash: md5", f"      md5: {md5}", "      size: 1"]
    return "\n".join([*lines, ""])


def _folder_in_cache(files: Files) -> str:
    """Puts a folder into DVC's cache, and returns its hash."""
    listed = [{"md5": _in_cache(content), "relpath": name} for name, content in files.items()]
    return _in_cache(json.dumps(listed).encode(), ".dir")


def _in_cache(content: bytes, kind: str = "") -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + kind
    path = Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5
