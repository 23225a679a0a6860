"""Sets of rendered faces: a folder in the layout of FaceSynthetics, filled by one process per core.

000000.png          the picture
000000_ldmks.txt    a line `x y` a point of the scheme, pixels, 0-based pixel centres
000000_seg.png      where asked for: the class of each pixel, an index into `facemix.render.studio.SEGMENTS`
faces.parquet       a row a face: index, file, what was drawn for it, and `visible`: which points can be seen
render.json         every setting that decides a pixel

A face is a pure function of the settings and its index, and its image is written last: a face with an image is
complete. So a run that was stopped at any point goes on where it stopped, and ends in the same bytes as one that never
stopped, on any number of processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import contours, schemes
from facemix.files import whole_file
from facemix.render import tables
from facemix.render.backends import BACKENDS, usual_processes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from facemix.render.population import Population
    from facemix.render.studio import RenderedFace


STUDIO = "facemix.render.studio"
"""The module that takes the pictures. It loads the renderer, so it is imported where pictures are taken, not here."""

LABELS = {"synthetic": "mesh", "stand_in": "annotator"}
"""How each population is labelled unless told otherwise."""

TABLE = "faces.parquet"
MANIFEST = "render.json"

_ROWS = ".rows"  # a file a face until the table is written
_MOST = 1_000_000  # faces: their names have six digits
_HALF_WRITTEN = re.compile(r"\.(\d{6}.*|faces\.parquet|render\.json)\.\d+")  # what `whole_file` writes beside
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OIDN_NUM_THREADS")
_GOES_ON = "the same command goes on where it stopped"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides the pixels of a set, besides the generator's version.

    Raises:
        FacemixError: a value that cannot be used; names it, and what was expected.
    """

    seed: int
    size: int
    """Side of a picture in pixels."""
    labels: str
    """`mesh`: the points of the mesh; `annotator`: where a person would click."""
    population: Population
    scheme: str = tables.ANNOTATED
    """Which points are labelled; it changes no pixel."""
    segmentation: bool = False
    backend: str = "auto"

    def __post_init__(self) -> None:
        labels = tuple(LABELS.values())
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2^63 - 1")
        _require(32 <= self.size <= 2048, "size", self.size, "32 to 2048 pixels")
        _require(self.labels in labels, "labels", self.labels, f"one of {', '.join(labels)}")
        if self.labels == "annotator" and self.scheme != tables.ANNOTATED:
            raise FacemixError(
                f"labels: annotator is known of {tables.ANNOTATED} only, found scheme {self.scheme!r}; use mesh"
            )
        _require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")


def usual_labels(domain: str, scheme: str) -> str:
    """How a population is labelled unless told otherwise: by the mesh where `annotator` is not known of the scheme."""
    return LABELS[domain] if scheme == tables.ANNOTATED else "mesh"


def _require(condition: bool, key: str, found: object, expected: str) -> None:
    if not condition:
        raise FacemixError(f"{key}: found {found!r}, expected {expected}")


def render_set(out: Path, n: int, settings: Settings, processes: int | None = None) -> None:
    """Renders the faces 0 to n - 1 of a set into a folder; those that are there stay, so a larger n extends a set.

    Args:
        out: the folder, new or from an earlier run with equal settings.
        n: number of faces.
        settings: what decides the pixels.
        processes: by default one for each core that this process may use, at most GPU_PROCESSES on a GPU.

    Raises:
        FacemixError: n or processes out of range; the folder holds something else, another set, or more than n faces.
        OSError: the disk is full or read-only; the faces that were finished stay.
        FacemixError: the generator failed or a process died, or another process renders into the folder.
    """
    _require(1 <= n <= _MOST, "n", n, f"1 to {_MOST} faces")
    about = manifest(settings)
    processes = usual_processes(about["backend"]) if processes is None else processes
    _require(processes >= 1, "processes", processes, "at least 1")
    with _sole_user(out), _stopped_by_sigterm():
        _take_over(out, about)
        there = _finished(out, settings.segmentation)
        if there and max(there) >= n:
            raise FacemixError(
                f"{out}: found faces up to {max(there):06d}, which is more than n = {n}; set n to {max(there) + 1} "
                "or more, or use another folder"
            )
        missing = [index for index in range(n) if index not in there]
        _, sentence = _choose_backend(settings.backend)
        if missing and sentence:
            print(sentence, file=sys.stderr)
        job = _Job(out=out, settings=dataclasses.replace(settings, backend=about["backend"]), studio=STUDIO)
        done = len(there)
        try:
            with (
                tqdm(total=n, initial=done, desc="rendering", unit="face", disable=None) as progress,
                contextlib.closing(_rendered(job, missing, processes)) as faces,
            ):
                for _ in faces:
                    done += 1
                    progress.update()
            if (rows := _rows(out)).keys() != set(range(n)) or (out / _ROWS).exists():
                write_table(out / TABLE, [rows[index] for index in range(n)])
                shutil.rmtree(out / _ROWS, ignore_errors=True)
            _remove_strays(out)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror or error}; {_GOES_ON}") from error
        except (KeyboardInterrupt, SystemExit):
            print(f"{out}: stopped, {done} of {n} faces are there; {_GOES_ON}", file=sys.stderr)
            raise


def _choose_backend(backend: str) -> tuple[str, str | None]:
    chosen: tuple[str, str | None] = importlib.import_module(STUDIO).choose_backend(backend)
    return chosen


def manifest(settings: Settings) -> dict[str, Any]:
    """What `render.json` holds: two folders of equal manifests hold equal faces, as far as both have them."""
    content = {
        "seed": settings.seed,
        "size": settings.size,
        "labels": settings.labels,
        "scheme": settings.scheme,
        "table": tables.load(settings.scheme).digest(),
        "segmentation": settings.segmentation,
        "backend": _choose_backend(settings.backend)[0],
        "population": dataclasses.asdict(settings.population),
        "generator": f"{version('facemix')}+{_fingerprint()}",
        "mitsuba": version("mitsuba"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
    return plain


def _fingerprint() -> str:
    """Changes when the generator's code or data do: its faces may then differ, so a set of before is not continued."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (Path(contours.__file__), Path(schemes.__file__)):  # where labels lie
        digest.update(path.read_bytes())
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path != Path(__file__):
            digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes `faces.parquet`, whole; without rows it still has its first columns."""
    import pyarrow
    import pyarrow.parquet as parquet

    empty = pyarrow.schema([("index", pyarrow.int64()), ("file", pyarrow.string())])
    with whole_file(path) as beside:
        parquet.write_table(pyarrow.Table.from_pylist(rows) if rows else empty.empty_table(), beside)


# --- The folder -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sole_user(out: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes from rendering into it; the kernel unlocks, however the block ends."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FacemixError(
                f"{out}: another process is rendering into this folder; wait until it has finished"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _take_over(out: Path, expected: Mapping[str, Any]) -> None:
    """Writes the manifest of a new set, or makes sure that the folder is of this very set, and clears it of debris."""
    path = out / MANIFEST
    files = list(out.iterdir())
    debris = [file for file in files if _HALF_WRITTEN.fullmatch(file.name)]
    if path.exists():
        found = _read_json(path)
        different = _differences(found, expected)
        if different:
            listed = "; ".join(f"{key}: found {a!r}, expected {b!r}" for key, a, b in different)
            raise FacemixError(
                f"{out}: holds a set that was rendered with other settings: {listed}; use another folder, or "
                "remove this one"
            )
    elif len(files) > len(debris):
        raise FacemixError(f"{out}: not empty, and it has no {MANIFEST}, so it is no set of faces; use another folder")
    for file in debris:
        file.unlink(missing_ok=True)
    if not path.exists():
        with whole_file(path) as beside:
            beside.write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, value found and value expected of every setting that differs; `population.yaw_sd` is a key of its own."""
    a, b = _flat(found), _flat(expected)
    return [(key, a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    population = content.get("population")
    inner = population if isinstance(population, Mapping) else {}
    return {key: value for key, value in content.items() if key != "population"} | {
        f"population.{key}": value for key, value in inner.items()
    }


def _finished(out: Path, segmentation: bool) -> set[int]:
    """The faces that are complete."""
    endings = (".png", "_ldmks.txt", *(("_seg.png",) if segmentation else ()))

    def is_whole(index: int) -> bool:
        files = [out / f"{index:06d}{ending}" for ending in endings]
        return all(file.exists() and file.stat().st_size for file in files)

    return {index for index in _rows(out) if is_whole(index)}


def _remove_strays(out: Path) -> None:
    """What was written of faces that never got a picture, where the disk was full and a smaller set came after."""
    for file in out.glob("*_*"):
        name, ending = file.name[:6], file.name[6:]
        if name.isdecimal() and ending in ("_ldmks.txt", "_seg.png") and not (out / f"{name}.png").exists():
            file.unlink()


def _rows(out: Path) -> dict[int, Row]:
    """The row of each face, from the table and from what has come since it was written."""
    import pyarrow.parquet as parquet

    try:
        rows: list[Row] = parquet.read_table(out / TABLE).to_pylist() if (out / TABLE).exists() else []
    except ValueError as error:
        raise FacemixError(f"{out / TABLE}: damaged ({error}); remove the folder and render it again") from None
    rows += [_read_json(path) for path in (out / _ROWS).glob("*.json")]
    return {row["index"]: row for row in rows}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise FacemixError(f"found {type(content).__name__}, expected an object")
    except ValueError as error:
        raise FacemixError(f"{path}: damaged ({error}); remove the folder and render it again") from None
    return content


# --- The workers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a worker must know."""

    out: Path
    settings: Settings
    studio: str


def _rendered(job: _Job, indices: Sequence[int], processes: int) -> Generator[int, None, None]:
    """Each face as soon as it is there, rendered by as many processes; however this ends, they end with it."""
    context = multiprocessing.get_context("spawn")  # a renderer's threads do not survive a fork
    waiting = iter(indices)
    workers: dict[Connection[Any, Any], SpawnProcess] = {}
    rendering: dict[Connection[Any, Any], int] = {}
    try:
        for index in itertools.islice(waiting, processes):
            connection, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, job), daemon=True)
            with _child_environment():
                worker.start()
            theirs.close()
            workers[connection] = worker
            rendering[connection] = index
            connection.send(index)
        while rendering:
            for ready in wait(list(rendering)):
                connection = cast("Connection[Any, Any]", ready)
                index = rendering.pop(connection)
                try:
                    failure = connection.recv()
                    following = None if failure else next(waiting, None)
                    connection.send(following)  # None: there is nothing more to do
                except (EOFError, ConnectionError):
                    failure, following = _death(workers[connection]), None
                if failure:
                    raise failure if isinstance(failure, OSError) else FacemixError(f"face {index}: {failure}")
                if following is not None:
                    rendering[connection] = following
                yield index
    finally:
        for worker in workers.values():
            worker.terminate()  # whole files only: nothing is lost
        for worker in workers.values():
            worker.join()


def _death(worker: SpawnProcess) -> str:
    worker.join()
    return (
        f"the process that rendered it ended with exit code {worker.exitcode}"
        + (", killed, perhaps for want of memory: try fewer --processes" if worker.exitcode == -signal.SIGKILL else "")
        + f"; {_GOES_ON}"
    )


def _work(connection: Connection[Any, Any], job: _Job) -> None:
    """Renders the faces that the parent names until it names None; answers each with what failed, or None."""
    settings = job.settings

    @functools.cache
    def studio() -> Any:
        module, table = importlib.import_module(job.studio), tables.load(settings.scheme)
        return module.Studio(settings.size, settings.backend, table)

    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):  # the parent was killed
        for index in iter(connection.recv, None):
            failure: OSError | str | None = None
            try:
                face = studio().shoot(settings.population, settings.seed, index, settings.labels)
                _write_face(job.out, index, face, settings.segmentation)
            except OSError as error:
                failure = error
            except Exception:
                failure = f"could not be rendered\n{traceback.format_exc()}"
            connection.send(failure)


def _write_face(out: Path, index: int, face: RenderedFace, segmentation: bool) -> None:
    name = f"{index:06d}"
    points = "".join(f"{x:.5f} {y:.5f}\n" for x, y in face.landmarks.tolist())
    row = {"index": index, "file": f"{name}.png"} | face.record
    files = {f"{name}_ldmks.txt": points.encode()}
    if segmentation:
        files[f"{name}_seg.png"] = _png(face.segmentation)
    files[f"{_ROWS}/{name}.json"] = json.dumps(row, default=_plain).encode()
    files[f"{name}.png"] = _png(face.image[..., ::-1])  # last: it says that the face is complete
    for file, content in files.items():
        with whole_file(out / file) as beside:
            beside.write_bytes(content)


def _png(image: NDArray[np.uint8]) -> bytes:
    """Encoded here, not by `cv2.imwrite`, which does not say why it failed."""
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays for JSON."""
    return value.tolist()


@contextlib.contextmanager
def _child_environment() -> Iterator[None]:
    """What a process started in the block inherits: one thread for each library, and Ctrl-C is the parent's to handle.

    Both must hold before the child's first line runs, so they cannot be set there.
    """
    former = {name: os.environ.get(name) for name in _ONE_THREAD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: everything is put away, workers too, then the process exits."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
