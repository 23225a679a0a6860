"""A rendered set in shards: tars of 1,000 faces in the convention of WebDataset, and one index of all of them.

000000.tar          faces 0 to 999, 000001.tar those from 1000 on, ...; the last one may hold fewer
    000000.json         what was drawn for the face: its row of the index, but for its place
    000000.ldmks.txt    the other files as `facemix.render.folder` has them
    000000.png
    000000.seg.png
faces.parquet       a row a face: index, file, `shard`, `offset` and `size` of the picture's bytes in the shard,
                    `points_offset` and `points_size` of those of its points, and what a folder's table has
render.json         as in a folder, and `shard`: how many faces a shard has

The members of a face share their name up to the first dot, and stand in the order of their names. A shard is a pure
function of its faces, so a shard that grows, because the set does, keeps all that it has where it is. Faces whose shard
is not whole yet are files in `.faces`.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.face import File
from facemix.faces.tars import Member
from facemix.files import whole_file
from facemix.render import folder
from facemix.render.folder import Row

FACES = 1000
"""Of a shard."""
KEY = "shard"
"""The key of `render.json` that says so; a folder of files has none."""
WORK = ".faces"
RECORD, POINTS, SEGMENTS = ".json", ".ldmks.txt", ".seg.png"
"""Endings of members that are not the picture."""

Files = dict[str, Member]
"""Of a face, by their endings."""


def tar(out: Path, number: int) -> Path:
    """A shard."""
    return out / f"{number:06d}{tars.SUFFIX}"


def held(out: Path) -> dict[int, range]:
    """The shards that are there, and the faces that each of them holds.

    Raises:
        FacemixError: one is damaged.
    """
    return {number: of(number, len(files(tar(out, number), number))) for number in _numbers(out)}


def _numbers(out: Path) -> list[int]:
    """Of the shards that are there."""
    names = (re.fullmatch(rf"(\d{{6,}}){tars.SUFFIX}", path.name) for path in out.iterdir())
    return sorted(int(match[1]) for match in names if match)


def of(number: int, count: int | None = None) -> range:
    """The faces of a shard that holds so many; by default it is whole."""
    return range(number * FACES, number * FACES + (FACES if count is None else count))


def files(path: Path, number: int) -> list[Files]:
    """The files of each face of a shard, from its first face on.

    Raises:
        FacemixError: the shard is damaged, or not what was written.
    """
    found: list[Files] = []
    for key, of_face in itertools.groupby(_members(path), lambda member: member.member.partition(".")[0]):
        expected = folder.name(number * FACES + len(found))
        here = {member.member.removeprefix(key): member for member in of_face}
        if key != expected or RECORD not in here or POINTS not in here or len(found) == FACES:
            raise _damaged(path, f"found {key} with {', '.join(here)}, expected the files of {expected}")
        found.append(here)
    return found


def _members(path: Path) -> Iterator[Member]:
    try:
        for member in tars.members(path):
            if not isinstance(member, Member):
                raise _damaged(path, str(member))
            yield member
    except FacemixError as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, reason: str) -> FacemixError:
    text = reason.removeprefix(f"{path}: ")
    return FacemixError(f"{path}: damaged ({text}); remove this file, and the same command renders its faces again")


def filled(
    out: Path,
    n: int,
    there: Mapping[int, Collection[int]],
    loose: Collection[int],
    faces: Iterable[int],
    endings: Collection[str],
) -> Iterator[int]:
    """Passes finished faces on, and writes each shard as soon as all of its faces are there.

    Args:
        out: the set's folder.
        n: faces of the set.
        there: the shards that are there, and their faces.
        loose: the faces that are files already.
        faces: those that become files.
        endings: of the files of a face.

    Raises:
        FacemixError: a shard is damaged.
        OSError: the disk is full or read-only.
    """
    missing = {k: {index for index in of(k) if index < n} - {*there.get(k, ())} for k in range(-(-n // FACES))}
    waiting = {number: indices - {*loose} for number, indices in missing.items() if indices}
    return each(waiting, faces, lambda number: _write(out, number, n, endings))


def each(waiting: Mapping[int, set[int]], faces: Iterable[int], write: Callable[[int], None]) -> Iterator[int]:
    """Passes faces on, and calls for each shard as soon as nothing is missing any more.

    Args:
        waiting: what is missing of each shard; one without anything is written at once.
        faces: the missing ones, in any order.
        write: called with the number of a shard.
    """
    for number in [number for number, missing in waiting.items() if not missing]:
        write(number)
    for index in faces:
        missing = waiting[index // FACES]
        missing.discard(index)
        if not missing:
            write(index // FACES)
        yield index


def _write(out: Path, number: int, n: int, endings: Collection[str]) -> None:
    """Writes a shard from what it has and from the files of its other faces, which are deleted then."""
    path = tar(out, number)
    kept = files(path, number) if path.exists() else []
    content: list[tuple[str, File]] = [(one.member, one) for face in kept for one in face.values()]
    rest = [folder.name(index) for index in of(number)[len(kept) :] if index < n]
    loose = [pair for name in rest for pair in _loose(out / WORK, name, endings)]
    tars.write(path, ((name, file.read_bytes()) for name, file in [*content, *loose]))
    for _, file in loose:
        file.unlink()


def _loose(place: Path, name: str, endings: Collection[str]) -> list[tuple[str, Path]]:
    """The files of a face that is not in its shard yet, each with its name there, in the order of names."""
    ours = {folder.POINTS: POINTS, folder.SEGMENTS: SEGMENTS}
    found = [(f"{name}{ours.get(ending, ending)}", place / f"{name}{ending}") for ending in endings]
    return sorted([(f"{name}{RECORD}", place / folder.ROWS / f"{name}{RECORD}"), *found])


def finish(out: Path, n: int) -> None:
    """Writes the index of a set whose shards are all there, unless it has it, and removes what is left of the work.

    Raises:
        FacemixError: a shard is damaged.
        OSError: the disk is full or read-only.
    """
    import pyarrow.parquet as parquet

    table = out / folder.TABLE
    if (out / WORK).exists() or not table.exists() or parquet.read_metadata(table).num_rows != n:
        write_index(out)
    shutil.rmtree(out / WORK, ignore_errors=True)


def write_index(out: Path) -> None:
    """Writes `faces.parquet` from the shards that are there, a row group a shard: memory does not grow.

    Raises:
        FacemixError: a shard is damaged.
        OSError: the disk is full or read-only.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    numbers = _numbers(out)
    # What is None in one shard may be a text in another.
    parts = [pyarrow.Table.from_pylist(rows(out, k)).schema for k in tqdm(numbers, "reading shards", disable=None)]
    schema = pyarrow.unify_schemas(parts, promote_options="permissive")
    with whole_file(out / folder.TABLE) as beside, parquet.ParquetWriter(beside, schema) as writer:
        for number in tqdm(numbers, "indexing", unit="shard", disable=None):
            writer.write_table(pyarrow.Table.from_pylist(rows(out, number), schema))


def rows(out: Path, number: int) -> list[Row]:
    """The rows of a shard for the index.

    Raises:
        FacemixError: the shard is damaged.
    """
    path = tar(out, number)
    found = []
    for of_face in files(path, number):
        row = read_record(of_face[RECORD])
        try:
            picture = next(member for member in of_face.values() if member.member == row["file"])
            points = of_face[POINTS]
            place = {"index": row.pop("index"), "file": row.pop("file"), KEY: path.name}
        except (KeyError, StopIteration):
            raise _damaged(path, f"{of_face[RECORD].member} does not fit its face") from None
        place |= {"offset": picture.offset, "size": picture.size}
        found.append(place | {"points_offset": points.offset, "points_size": points.size} | row)
    return found


def read_record(record: Member) -> Row:
    """What was drawn for a face.

    Raises:
        FacemixError: no object in JSON.
    """
    try:
        row: Row = json.loads(record.read_bytes())
        if not isinstance(row, dict):
            raise ValueError(f"found {type(row).__name__}, expected an object")
    except ValueError as error:
        raise _damaged(record.tar, f"{record.member}: {error}") from None
    return row
