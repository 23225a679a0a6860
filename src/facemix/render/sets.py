"""Sets of rendered faces: a folder in the layout of FaceSynthetics, or shards, filled by one process per core.

`facemix.render.folder` and `facemix.render.shards` say what lies there. A face is a pure function of the settings and
its index, and its image is written last: a face with an image is complete. So a run that was stopped at any point goes
on where it stopped, and ends in the same bytes as one that never stopped, on any number of processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.files import whole_file
from facemix.render import fingerprints, folder, on_ray, shards, tables, workers
from facemix.render.backends import BACKENDS, usual_processes
from facemix.render.labels import CONVENTIONS

if TYPE_CHECKING:
    from facemix.cluster import Cluster
    from facemix.render.population import Population
    from facemix.render.studio import RenderedFace


STUDIO = "facemix.render.studio"
"""The module that takes the pictures. It loads the renderer, so it is imported where pictures are taken, not here."""

LABELS = {"synthetic": "mesh", "stand_in": "annotator"}
"""How each population is labelled unless told otherwise."""

IMAGES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""How a picture may be compressed, and the ending of its file."""
QUALITY = 90
"""Of JPEG and WebP, unless told otherwise."""

_QUALITY_OF = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}
# What `whole_file` writes beside:
_HALF_WRITTEN = re.compile(rf"\.({folder.NAME}.*|faces\.parquet|render\.json)\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides the pictures and labels of a set, besides the generator's version.

    Raises:
        FacemixError: a value that cannot be used; names it, and what was expected.
    """

    seed: int
    size: int
    """Side of a picture in pixels."""
    labels: str
    """One of `facemix.render.labels.CONVENTIONS`. Labels and scheme change no pixel."""
    population: Population
    scheme: str = tables.ANNOTATED
    """Which points are labelled."""
    segmentation: bool = False
    image: str = "png"
    """One of `IMAGES`."""
    quality: int | None = None
    """Of JPEG and WebP, 1 to 100; None for PNG, which loses nothing."""
    backend: str = "auto"

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2^63 - 1")
        _require(32 <= self.size <= 2048, "size", self.size, "32 to 2048 pixels")
        _require(self.image in IMAGES, "image", self.image, f"one of {', '.join(IMAGES)}")
        if self.image == "png":
            _require(self.quality is None, "quality", self.quality, "none, as PNG loses nothing; use jpeg or webp")
        else:
            _require(1 <= (self.quality or 0) <= 100, "quality", self.quality, "1 to 100")
        _require(self.labels in CONVENTIONS, "labels", self.labels, f"one of {', '.join(CONVENTIONS)}")
        if self.labels != "mesh" and self.scheme != tables.ANNOTATED:
            raise FacemixError(
                f"labels: {self.labels} is known of {tables.ANNOTATED} only, found scheme {self.scheme!r}; use mesh"
            )
        _require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the files of a face, the picture first."""
        return (IMAGES[self.image], folder.POINTS, *((folder.SEGMENTS,) if self.segmentation else ()))


def usual_labels(domain: str, scheme: str) -> str:
    """How a population is labelled unless told otherwise: by the mesh where `annotator` is not known of the scheme."""
    return LABELS[domain] if scheme == tables.ANNOTATED else "mesh"


def _require(condition: bool, key: str, found: object, expected: str) -> None:
    if not condition:
        raise FacemixError(f"{key}: found {found!r}, expected {expected}")


def render_set(
    out: Path,
    n: int,
    settings: Settings,
    processes: int | None = None,
    cluster: Cluster | None = None,
    *,
    sharded: bool = False,
) -> None:
    """Renders the faces 0 to n - 1 of a set into a folder; those that are there stay, so a larger n extends a set.

    Args:
        out: the folder, new or from an earlier run with equal settings.
        n: number of faces.
        settings: what decides pictures and labels.
        processes: by default one for each core that this process may use, at most GPU_PROCESSES on a GPU.
        cluster: whose machines take the pictures instead.
        sharded: write shards instead of files.

    Raises:
        FacemixError: the machines of the cluster cannot render, or not alike.
        FacemixError: n or processes out of range; the folder holds something else, another set, other labels, or more
            than n faces.
        OSError: the disk is full or read-only; the faces that were finished stay.
        FacemixError: the generator failed or a process died, or another process writes into the folder.
    """
    _require(n >= 1, "n", n, "at least 1 face")
    sentence = None
    if cluster:
        cluster, backend = on_ray.examined(cluster, settings.backend)
    else:
        backend, sentence = _choose_backend(settings.backend)
    settings = dataclasses.replace(settings, backend=backend)
    about = manifest(settings) | ({shards.KEY: shards.FACES} if sharded else {})
    processes = usual_processes(backend) if processes is None else processes
    _require(processes >= 1, "processes", processes, "at least 1")
    with folder.sole_user(out), workers.stopped_by_sigterm():
        _take_over(out, about)
        place = out / shards.WORK if sharded else out
        held = shards.held(out) if sharded else {}
        loose = folder.finished(place, settings.endings)
        there = {*loose, *itertools.chain.from_iterable(held.values())}
        if there and max(there) >= n:
            raise FacemixError(
                f"{out}: found faces up to {max(there):06d}, which is more than n = {n}; set n to {max(there) + 1} "
                "or more, or use another folder"
            )
        missing = [index for index in range(n) if index not in there]
        if missing and sentence:
            print(sentence, file=sys.stderr)
        with shown(out, n, len(there), "rendering") as count:
            with contextlib.closing(render_faces(place, missing, settings, processes, cluster)) as faces:
                for _ in shards.filled(out, n, held, {*loose}, faces, settings.endings) if sharded else faces:
                    count()
            shards.finish(out, n) if sharded else _finish(out, n)


def render_faces(
    out: Path, indices: Sequence[int], settings: Settings, processes: int, cluster: Cluster | None = None
) -> Generator[int, None, None]:
    """Renders some faces of a set into a folder, each a pure function of the settings and its index.

    A face has its files there, and its row in `folder.ROWS`. It is complete where its picture is.

    Args:
        out: the folder.
        indices: of the faces, in the order in which they are begun.
        settings: with the backend that is used, not `auto`.
        processes: that share them.
        cluster: whose machines share them instead.

    Yields:
        The index of each face as soon as it is complete.

    Raises:
        FacemixError: the generator failed, or a process died.
        OSError: the disk is full or read-only.
    """
    job = _Rendering(out=out, settings=settings, studio=STUDIO)
    if cluster:
        return on_ray.finished(job, indices, cluster, settings.backend)
    return workers.finished(job, indices, processes)


def _finish(out: Path, n: int) -> None:
    """Writes the table of a folder, and removes what is not of its faces."""
    if (rows := folder.rows(out)).keys() != set(range(n)) or (out / folder.ROWS).exists():
        folder.write_table(out / folder.TABLE, [rows[index] for index in range(n)])
        shutil.rmtree(out / folder.ROWS, ignore_errors=True)
    _remove_strays(out)


@contextlib.contextmanager
def shown(out: Path, n: int, done: int, what: str) -> Iterator[Callable[[], None]]:
    """Shows how many of n faces are done; the block calls what it is given for each. A stop is told with their number.

    Raises:
        OSError: that of the block, with what to do.
    """
    with tqdm(total=n, initial=done, desc=what, unit="face", disable=None) as progress:

        def count() -> None:
            nonlocal done
            done += 1
            progress.update()

        try:
            yield count
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror or error}; {workers.GOES_ON}") from error
        except (KeyboardInterrupt, SystemExit):
            print(f"{out}: stopped, {done} of {n} faces are there; {workers.GOES_ON}", file=sys.stderr)
            raise


def _choose_backend(backend: str) -> tuple[str, str | None]:
    chosen: tuple[str, str | None] = importlib.import_module(STUDIO).choose_backend(backend)
    return chosen


def manifest(settings: Settings) -> dict[str, Any]:
    """What `render.json` holds: two folders of equal manifests hold equal faces, as far as both have them."""
    content = {
        "seed": settings.seed,
        "size": settings.size,
        **labelling(settings),
        "segmentation": settings.segmentation,
        # Absent for PNG: sets of before there was a choice are the same sets.
        **({} if settings.image == "png" else {"image": settings.image, "quality": settings.quality}),
        "backend": settings.backend if settings.backend != "auto" else _choose_backend("auto")[0],
        "population": dataclasses.asdict(settings.population),
        "pixels": fingerprints.pixels(),
        "mitsuba": version("mitsuba"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
    return plain


PICTURES = ("seed", "size", "segmentation", "image", "quality", "backend", "population", "pixels", "mitsuba")
"""Those keys of a manifest that decide pictures."""


def of_pictures(about: Mapping[str, Any]) -> dict[str, Any]:
    """What of a manifest decides pictures: where it is equal, other labels need no rendering."""
    return {key: about.get(key) for key in PICTURES}


def labelling(settings: Settings) -> dict[str, Any]:
    """Those keys of a manifest that decide labels and no pixel."""
    return {
        "labels": settings.labels,
        "scheme": settings.scheme,
        "table": tables.load(settings.scheme).digest(),
        "points": fingerprints.points(),
    }


def _take_over(out: Path, expected: Mapping[str, Any]) -> None:
    """Writes the manifest of a new set, or makes sure that the folder is of this very set, and clears it of debris."""
    path = out / folder.MANIFEST
    files = list(out.iterdir())
    debris = [file for file in files if _HALF_WRITTEN.fullmatch(file.name)]
    if path.exists():
        _refuse_another(out, folder.read_json(path), expected)
    elif len(files) > len(debris):
        raise FacemixError(
            f"{out}: not empty, and it has no {folder.MANIFEST}, so it is no set of faces; use another folder"
        )
    for file in debris:
        file.unlink(missing_ok=True)
    if not path.exists():
        folder.write_manifest(path, expected)


def _refuse_another(out: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises a FacemixError where a folder holds another set than expected, or this one with other labels."""
    if (kind := found.get(shards.KEY)) != expected.get(shards.KEY):
        holds, advice = ("shards", "add --shards") if kind else ("files", "leave out --shards")
        raise FacemixError(f"{out}: holds a set as {holds}; {advice}, or use another folder")
    different = folder.differences(found, expected)
    listed = "; ".join(f"{key}: found {a!r}, expected {b!r}" for key, a, b in different)
    if of_pictures(found) != of_pictures(expected):
        raise FacemixError(
            f"{out}: holds a set that was rendered with other settings: {listed}; use another folder, or remove this "
            "one"
        )
    if different:
        command = f"facemix relabel {shlex.quote(str(out))} --labels {expected['labels']} --scheme {expected['scheme']}"
        raise FacemixError(
            f"{out}: holds these pictures with other labels: {listed}; run `{command}`, or use another folder"
        )


def _remove_strays(out: Path) -> None:
    """What was written of faces that never got a picture, where the disk was full and a smaller set came after."""
    for ending in (folder.POINTS, folder.SEGMENTS):
        for file in out.glob(f"*{ending}"):
            name = file.name.removesuffix(ending)
            if re.fullmatch(folder.NAME, name) and not any((out / f"{name}{end}").exists() for end in IMAGES.values()):
                file.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendering:
    """Takes the picture of each face, and writes all that belongs to it."""

    out: Path
    settings: Settings
    studio: str
    done: str = "rendered"

    def begin(self) -> Callable[[int], None]:
        take = self.begin_taking()
        return lambda index: self.write(take(index))

    def begin_taking(self) -> Callable[[int], on_ray.Files]:
        settings = self.settings
        studio = importlib.import_module(self.studio).Studio(
            settings.size, settings.backend, tables.load(settings.scheme)
        )

        def take(index: int) -> on_ray.Files:
            face = studio.shoot(settings.population, settings.seed, index, settings.labels)
            return _files(index, face, settings)

        return take

    def write(self, files: on_ray.Files) -> None:
        for name, content in files.items():
            with whole_file(self.out / name) as beside:
                beside.write_bytes(content)


def _files(index: int, face: RenderedFace, settings: Settings) -> on_ray.Files:
    name, picture = folder.name(index), IMAGES[settings.image]
    row = {"index": index, "file": f"{name}{picture}"} | face.record
    segments = {f"{name}{folder.SEGMENTS}": encoded(face.segmentation, "png")} if settings.segmentation else {}
    return {
        f"{name}{folder.POINTS}": folder.points_text(face.landmarks),
        **segments,
        f"{folder.ROWS}/{name}.json": json.dumps(row, default=_plain).encode(),
        # Last: it says that the face is complete.
        f"{name}{picture}": encoded(face.image[..., ::-1], settings.image, settings.quality),
    }


def encoded(image: NDArray[np.uint8], kind: str, quality: int | None = None) -> bytes:
    """The file of a picture (H, W, 3) BGR or (H, W), of a kind of `IMAGES`.

    Not by `cv2.imwrite`, which does not say why it failed.
    """
    _, data = cv2.imencode(IMAGES[kind], image, [] if quality is None else [_QUALITY_OF[kind], quality])
    return data.tobytes()


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays for JSON."""
    return value.tolist()
