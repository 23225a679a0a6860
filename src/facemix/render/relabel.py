"""New labels for old pictures, without rendering: by another convention, another scheme, or a generator that has
learned where people click.

Points follow from geometry alone, so each face is drawn anew from the recorded population and seed, and pointed at.
Which of them can be seen follows from the vertices that the picture was found to show (`facemix.render.visibility`).
What comes out is what a rendering with these labels would have written, byte for byte.

New files are made in `.labels` and take the place of the old ones when all are there. While they do so, `render.json`
says `unfinished`. A stop at any point leaves a folder that the same command completes. Of a set in shards, `.labels`
holds shards of labels alone, and one after the other is joined with its pictures.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.parallel import available_cores
from facemix.render import fingerprints, folder, sets, shards, tables, visibility, workers
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
        sharded = shards.KEY in found
        if sharded and (out / shards.WORK).exists():
            raise FacemixError(f"{out}: its rendering was stopped; run the same `facemix render` to its end first")
        held = shards.held(out) if sharded else {}
        faces = {} if sharded else folder.finished(out, settings.endings)
        if wanted != found:
            _begin(out / STAGED, wanted)
            if sharded:
                _stage_shards(out, held, settings, processes)
            else:
                _stage(out / STAGED, faces, settings, processes)
            folder.write_manifest(out / folder.MANIFEST, wanted | {folder.UNFINISHED: "relabel"})
            _put_in_place(out, sharded)
        shutil.rmtree(out / STAGED, ignore_errors=True)
    return settings.labels, settings.scheme, sum(map(len, held.values())) if sharded else len(faces)


def _completed(out: Path) -> dict[str, Any]:
    """The manifest of a folder, once what a stop left half done there is done.

    Where the new labels are gone, the folder stays unfinished, and all are made again.
    """
    found = folder.read_json(out / folder.MANIFEST)
    if folder.UNFINISHED in found and (out / STAGED / folder.MANIFEST).exists():
        _put_in_place(out, shards.KEY in found)
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
            image=found.get("image", "png"),
            quality=found.get("quality"),
        )
    except (KeyError, TypeError) as error:
        raise FacemixError(f"{path}: damaged ({error!r}); remove the folder and render it again") from None


def _begin(staged: Path, wanted: Mapping[str, Any]) -> None:
    """Makes the folder for new labels, or goes on with what is there of these very labels."""
    if staged.exists() and (
        not (staged / folder.MANIFEST).exists() or folder.read_json(staged / folder.MANIFEST) != wanted
    ):
        shutil.rmtree(staged)
    folder.write_manifest(staged / folder.MANIFEST, wanted)


def _stage(staged: Path, faces: Mapping[int, folder.Row], settings: sets.Settings, processes: int) -> None:
    """Makes new points for all faces, and their table."""
    missing = [index for index in sorted(faces) if not _points(staged, index).exists()]
    table = tables.load(settings.scheme)
    with sets.shown(staged.parent, len(faces), len(faces) - len(missing), "labelling") as count:
        with contextlib.closing(_labelled(staged, missing, settings, processes)) as labelled:
            for _ in labelled:
                count()
        rows = [
            row | {"visible": _visible(staged.parent / folder.TABLE, row, table)} for _, row in sorted(faces.items())
        ]
        folder.write_table(staged / folder.TABLE, rows)


def _stage_shards(out: Path, held: Mapping[int, range], settings: sets.Settings, processes: int) -> None:
    """Makes shards of new points and records."""
    staged, table = out / STAGED, tables.load(settings.scheme)
    done = {number for number in held if shards.tar(staged, number).exists()}
    waiting = {
        number: {index for index in faces if not _points(staged, index).exists()}
        for number, faces in held.items()
        if number not in done
    }

    def write(number: int) -> None:
        content = []
        for index, files in zip(held[number], shards.files(path := shards.tar(out, number), number), strict=True):
            row = shards.read_record(files[shards.RECORD])
            record = json.dumps(row | {"visible": _visible(path, row, table)}).encode()
            content.append((files[shards.RECORD].member, record))
            content.append((files[shards.POINTS].member, _points(staged, index).read_bytes()))
        tars.write(shards.tar(staged, number), content)
        for index in held[number]:
            _points(staged, index).unlink()

    missing = sorted(itertools.chain.from_iterable(waiting.values()))
    n = sum(map(len, held.values()))
    with (
        sets.shown(out, n, n - len(missing), "labelling") as count,
        contextlib.closing(_labelled(staged, missing, settings, processes)) as labelled,
    ):
        for _ in shards.each(waiting, labelled, write):
            count()


def _points(staged: Path, index: int) -> Path:
    return staged / f"{folder.name(index)}{folder.POINTS}"


def _labelled(
    staged: Path, missing: Sequence[int], settings: sets.Settings, processes: int
) -> Generator[int, None, None]:
    return workers.finished(_Labelling(staged=staged, settings=settings, studio=sets.STUDIO), missing, processes)


def _visible(path: Path, row: folder.Row, table: tables.Table) -> list[bool]:
    try:
        return table.visible(visibility.unpacked(row["seen"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FacemixError(
            f"{path}: face {row['index']}: seen: damaged ({error}); remove the folder and render it again"
        ) from None


def _put_in_place(out: Path, sharded: bool) -> None:
    """Moves what is staged to where it belongs, the manifest last; after a stop, what is left of it."""
    staged = out / STAGED
    if sharded:
        for number in shards.held(staged):
            _join(shards.tar(out, number), shards.tar(staged, number), number)
        shards.write_index(out)
    else:
        for file in sorted(staged.glob(f"[0-9a-z]*{folder.POINTS}")):
            file.replace(out / file.name)
        if (staged / folder.TABLE).exists():
            (staged / folder.TABLE).replace(out / folder.TABLE)
        shutil.rmtree(out / folder.ROWS, ignore_errors=True)  # the table has them all
    (staged / folder.MANIFEST).replace(out / folder.MANIFEST)


def _join(shard: Path, labels: Path, number: int) -> None:
    """Writes a shard anew, its pictures with other labels, which are deleted then."""
    faces = [old | new for old, new in zip(shards.files(shard, number), shards.files(labels, number), strict=True)]
    tars.write(shard, ((file.member, file.read_bytes()) for face in faces for file in face.values()))
    labels.unlink()


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
            folder.write_points(_points(self.staged, index), found)

        return label
