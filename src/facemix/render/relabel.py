"""New labels for old pictures, without rendering: by another convention, another scheme, or a generator that has
learned where people click.

Points follow from geometry alone, so each face is drawn anew from the recorded population and seed, and pointed at.
Which of them can be seen follows from the vertices that the picture was found to show (`facemix.render.visibility`).
What comes out is what a rendering with these labels would have written, byte for byte.

New files are made in `.labels` and take the place of the old ones when all are there. While they do so, `render.json`
says `unfinished`. A stop at any point leaves a folder that the same command completes.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.faces.parallel import available_cores
from facemix.render import fingerprints, folder, sets, tables, visibility, workers
from facemix.render.population import Population, changed

STAGED = ".labels"


def relabel(
    out: Path, labels: str | None = None, scheme: str | None = None, processes: int | None = None
) -> tuple[str, str, int]:
    """Gives all faces of a rendered folder new labels.

    Args:
        out: the folder.
        labels: the convention; by default that of the labels that are there.
        scheme: by default likewise.
        processes: by default one for each core that this process may use.

    Returns:
        The convention, the scheme and the number of faces.

    Raises:
        FacemixError: the folder is no rendered set, or its pictures are of another generator; `labels`, `scheme` or
            `processes` cannot be used; a process died, or another one writes into the folder.
        OSError: the disk is full or read-only.
    """
    processes = available_cores() if processes is None else processes
    if processes < 1:
        raise FacemixError(f"processes: found {processes}, expected at least 1")
    if not (out / folder.MANIFEST).exists():
        raise FacemixError(f"{out}: found no {folder.MANIFEST}, expected a folder of `facemix render`")
    with folder.sole_user(out), workers.stopped_by_sigterm():
        found = _completed(out)
        settings = _settings(out / folder.MANIFEST, found, labels, scheme)
        wanted = found | sets.labelling(settings)
        wanted.pop(folder.UNFINISHED, None)
        faces = folder.finished(out, settings.segmentation)
        if wanted != found:
            _stage(out / STAGED, faces, settings, wanted, processes)
            folder.write_manifest(out / folder.MANIFEST, wanted | {folder.UNFINISHED: "relabel"})
            _put_in_place(out)
        shutil.rmtree(out / STAGED, ignore_errors=True)
    return settings.labels, settings.scheme, len(faces)


def _completed(out: Path) -> dict[str, Any]:
    """The manifest of a folder, once what a stop left half done there is done.

    Where the new labels are gone, the folder stays unfinished, and all are made again.
    """
    found = folder.read_json(out / folder.MANIFEST)
    if folder.UNFINISHED in found and (out / STAGED / folder.MANIFEST).exists():
        _put_in_place(out)
        found = folder.read_json(out / folder.MANIFEST)
    return found


def _settings(path: Path, found: Mapping[str, Any], labels: str | None, scheme: str | None) -> sets.Settings:
    """The settings of a folder with other labels.

    Raises:
        FacemixError: they cannot be, or the pictures are of another generator.
    """
    if found.get("pixels") != (present := fingerprints.pixels()):
        raise FacemixError(
            f"{path}: pixels: found {found.get('pixels')!r}, expected {present!r}: these pictures are of another "
            "version of the generator or were changed since, and points of this one would not fit them; use that "
            "version of facemix, or render the set again"
        )
    try:
        return sets.Settings(
            seed=found["seed"],
            size=found["size"],
            labels=labels or found["labels"],
            population=changed(Population(), found["population"]),
            scheme=scheme or found["scheme"],
            segmentation=found["segmentation"],
        )
    except (KeyError, TypeError) as error:
        raise FacemixError(f"{path}: damaged ({error!r}); remove the folder and render it again") from None


def _stage(
    staged: Path, faces: Mapping[int, folder.Row], settings: sets.Settings, wanted: Mapping[str, Any], processes: int
) -> None:
    """Makes new points for all faces, their table and the manifest; goes on with what is there of these very labels."""
    if staged.exists() and (
        not (staged / folder.MANIFEST).exists() or folder.read_json(staged / folder.MANIFEST) != wanted
    ):
        shutil.rmtree(staged)
    folder.write_manifest(staged / folder.MANIFEST, wanted)
    missing = [index for index in sorted(faces) if not (staged / f"{index:06d}{folder.POINTS}").exists()]
    job = _Labelling(staged=staged, settings=settings, studio=sets.STUDIO)
    table = tables.load(settings.scheme)
    with sets.shown(staged.parent, len(faces), len(faces) - len(missing), "labelling") as count:
        with contextlib.closing(workers.finished(job, missing, processes)) as labelled:
            for _ in labelled:
                count()
        rows = [row | {"visible": _visible(staged.parent, row, table)} for _, row in sorted(faces.items())]
        folder.write_table(staged / folder.TABLE, rows)


def _visible(out: Path, row: folder.Row, table: tables.Table) -> list[bool]:
    try:
        return table.visible(visibility.unpacked(row["seen"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FacemixError(
            f"{out / folder.TABLE}: face {row['index']}: seen: damaged ({error}); remove the folder and render it again"
        ) from None


def _put_in_place(out: Path) -> None:
    """Moves what is staged to where it belongs, the manifest last; after a stop, what is left of it."""
    staged = out / STAGED
    for file in sorted(staged.glob(f"[0-9]*{folder.POINTS}")):
        file.replace(out / file.name)
    if (staged / folder.TABLE).exists():
        (staged / folder.TABLE).replace(out / folder.TABLE)
    shutil.rmtree(out / folder.ROWS, ignore_errors=True)  # the table has them all
    (staged / folder.MANIFEST).replace(out / folder.MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelling:
    """Points at each face."""

    staged: Path
    settings: sets.Settings
    studio: str
    done: str = "labelled"

    def begin(self) -> Callable[[int], None]:
        settings = self.settings
        points = importlib.import_module(self.studio).labeller(settings.size, tables.load(settings.scheme))

        def label(index: int) -> None:
            found = points(settings.population, settings.seed, index, settings.labels)
            folder.write_points(self.staged / f"{index:06d}{folder.POINTS}", found)

        return label
