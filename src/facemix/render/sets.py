"""Sets of rendered faces: a folder in the layout of FaceSynthetics, filled by one process per core.

`facemix.render.folder` says what lies there. A face is a pure function of the settings and its index, and its image is
written last: a face with an image is complete. So a run that was stopped at any point goes on where it stopped, and
ends in the same bytes as one that never stopped, on any number of processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
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
from facemix.render import fingerprints, folder, on_ray, tables, workers
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

_MOST = 1_000_000  # faces: their names have six digits
_HALF_WRITTEN = re.compile(r"\.(\d{6}.*|faces\.parquet|render\.json)\.\d+")  # what `whole_file` writes beside


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
    backend: str = "auto"

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2^63 - 1")
        _require(32 <= self.size <= 2048, "size", self.size, "32 to 2048 pixels")
        _require(self.labels in CONVENTIONS, "labels", self.labels, f"one of {', '.join(CONVENTIONS)}")
        if self.labels != "mesh" and self.scheme != tables.ANNOTATED:
            raise FacemixError(
                f"labels: {self.labels} is known of {tables.ANNOTATED} only, found scheme {self.scheme!r}; use mesh"
            )
        _require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")


def usual_labels(domain: str, scheme: str) -> str:
    """How a population is labelled unless told otherwise: by the mesh where `annotator` is not known of the scheme."""
    return LABELS[domain] if scheme == tables.ANNOTATED else "mesh"


def _require(condition: bool, key: str, found: object, expected: str) -> None:
    if not condition:
        raise FacemixError(f"{key}: found {found!r}, expected {expected}")


def render_set(
    out: Path, n: int, settings: Settings, processes: int | None = None, cluster: Cluster | None = None
) -> None:
    """Renders the faces 0 to n - 1 of a set into a folder; those that are there stay, so a larger n extends a set.

    Args:
        out: the folder, new or from an earlier run with equal settings.
        n: number of faces.
        settings: what decides pictures and labels.
        processes: by default one for each core that this process may use, at most GPU_PROCESSES on a GPU.
        cluster: whose machines take the pictures instead.

    Raises:
        FacemixError: the machines of the cluster cannot render, or not alike.
        FacemixError: n or processes out of range; the folder holds something else, another set, other labels, or more
            than n faces.
        OSError: the disk is full or read-only; the faces that were finished stay.
        FacemixError: the generator failed or a process died, or another process writes into the folder.
    """
    _require(1 <= n <= _MOST, "n", n, f"1 to {_MOST} faces")
    sentence = None
    if cluster:
        cluster, backend = on_ray.examined(cluster, settings.backend)
    else:
        backend, sentence = _choose_backend(settings.backend)
    settings = dataclasses.replace(settings, backend=backend)
    about = manifest(settings)
    processes = usual_processes(backend) if processes is None else processes
    _require(processes >= 1, "processes", processes, "at least 1")
    with folder.sole_user(out), workers.stopped_by_sigterm():
        _take_over(out, about)
        there = folder.finished(out, settings.segmentation)
        if there and max(there) >= n:
            raise FacemixError(
                f"{out}: found faces up to {max(there):06d}, which is more than n = {n}; set n to {max(there) + 1} "
                "or more, or use another folder"
            )
        missing = [index for index in range(n) if index not in there]
        if missing and sentence:
            print(sentence, file=sys.stderr)
        job = _Rendering(out=out, settings=settings, studio=STUDIO)
        with shown(out, n, len(there), "rendering") as count:
            taken = (
                on_ray.finished(job, missing, cluster, backend)
                if cluster
                else workers.finished(job, missing, processes)
            )
            with contextlib.closing(taken) as faces:
                for _ in faces:
                    count()
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
        "backend": settings.backend if settings.backend != "auto" else _choose_backend("auto")[0],
        "population": dataclasses.asdict(settings.population),
        "pixels": fingerprints.pixels(),
        "mitsuba": version("mitsuba"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
    return plain


PICTURES = ("seed", "size", "segmentation", "backend", "population", "pixels", "mitsuba")
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
    for file in out.glob("*_*"):
        name, ending = file.name[:6], file.name[6:]
        if name.isdecimal() and ending in (folder.POINTS, folder.SEGMENTS) and not (out / f"{name}.png").exists():
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
            return _files(index, face, settings.segmentation)

        return take

    def write(self, files: on_ray.Files) -> None:
        for name, content in files.items():
            with whole_file(self.out / name) as beside:
                beside.write_bytes(content)


def _files(index: int, face: RenderedFace, segmentation: bool) -> on_ray.Files:
    name = f"{index:06d}"
    row = {"index": index, "file": f"{name}.png"} | face.record
    return {
        f"{name}{folder.POINTS}": folder.points_text(face.landmarks),
        **({f"{name}{folder.SEGMENTS}": _png(face.segmentation)} if segmentation else {}),
        f"{folder.ROWS}/{name}.json": json.dumps(row, default=_plain).encode(),
        f"{name}.png": _png(face.image[..., ::-1]),  # last: it says that the face is complete
    }


def _png(image: NDArray[np.uint8]) -> bytes:
    """Encoded here, not by `cv2.imwrite`, which does not say why it failed."""
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays for JSON."""
    return value.tolist()
