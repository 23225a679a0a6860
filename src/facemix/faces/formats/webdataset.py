"""Faces in the convention of WebDataset: the files of a face share their name up to the first dot.

`000123.jpg` (or .jpeg, .png, .webp), `000123.ldmks.txt` and, where it is there, `000123.json`, an object. Its fields
are attributes of the face; `person` and `visible` (of each point) mean what they mean in `facemix render`. The files
lie in shards, which are tars, or unpacked in a folder. Shards are read where they lie. The index that `facemix render`
writes beside them spares reading them in full.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.face import BrokenFace, File
from facemix.faces.images import SUFFIXES
from facemix.faces.tars import Member

IMAGES = SUFFIXES | {".webp"}
POINTS, RECORD = ".ldmks.txt", ".json"
TABLE = "faces.parquet"
"""Of `facemix render`: a row a face."""
_LONGEST = 100
"""Characters of what a record says by name; what is longer names nothing."""
WORK = ".faces"
"""Where `facemix render` keeps faces whose shard is not whole yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a table or a record says of a face."""

    place: File
    """Where it is said."""
    visible: Sequence[bool] | None
    """Of each point."""
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The files of a face, as far as they are there."""

    name: str
    images: Sequence[File]
    points: File | None
    ending: str
    """Of the file of points."""
    said: Said | None
    table: Path | None = None
    """What should say who is shown."""
    tar: Path | None = None
    """What holds the files."""


def key(name: str) -> tuple[str, str]:
    """The name of a face, its folder too, and the ending of one of its files, from the first dot on."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    base, dot, ending = file.partition(".")
    return folder + slash + base, dot + ending


# Shards


def in_shards(root: Path, shards: Sequence[Path]) -> Iterator[Parts | BrokenFace]:
    """The faces of shards, by the index where there is one, else by what the shards hold.

    Raises:
        FacemixError: a shard or the index is damaged, or they do not belong together.
    """
    if (root / TABLE).exists():
        with readable(root / TABLE) as columns:
            is_index = "shard" in columns
        if is_index:
            return _indexed(root / TABLE, {path.name for path in shards})
    return _scanned(shards)


def _indexed(table: Path, shards: set[str]) -> Iterator[Parts]:
    import pyarrow.parquet as parquet

    with readable(table) as columns:
        listed = set(parquet.read_table(table, columns=["shard"])["shard"].unique().to_pylist())
    if lacking := sorted(map(str, listed - shards)):
        raise FacemixError(f"{table}: lists {lacking[0]}, which is not there; copy the shard again")
    if more := sorted(shards - listed):
        raise FacemixError(
            f"{table}: does not list {more[0]}; run `facemix render` to its end, or remove the index: then the shards "
            "are read in full"
        )
    wanted = ["file", "shard", "offset", "size", "points_offset", "points_size"]
    told = [column for column in ("person", "visible") if column in columns]
    seen: set[str] = set()
    with readable(table), parquet.ParquetFile(table) as opened:
        for batch in opened.iter_batches(batch_size=1000, columns=[*wanted, *told]):
            for row in batch.to_pylist():
                name, tar = key(row["file"])[0], table.with_name(row["shard"])
                if name in seen:
                    raise FacemixError(
                        f"{table}: found the face {name} twice, expected a row a face; restore the table"
                    )
                seen.add(name)
                points = Member(tar, name + POINTS, int(row["points_offset"]), int(row["points_size"]))
                yield Parts(
                    name=name,
                    images=[Member(tar, row["file"], int(row["offset"]), int(row["size"]))],
                    points=points,
                    ending=POINTS,
                    said=said_by(table, row),
                    table=table if told else None,
                    tar=tar,
                )


@contextmanager
def readable(table: Path) -> Iterator[Sequence[str]]:
    """The columns of a table of `facemix render`; what fails in the block is told of the table.

    Raises:
        FacemixError: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        yield parquet.read_schema(table).names
    except FacemixError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OSError, pyarrow.ArrowException) as error:
        raise FacemixError(
            f"{table}: damaged ({' '.join(str(error).split())}), expected the table that `facemix render` writes; "
            "restore it, or render the set again"
        ) from None


def said_by(table: Path, row: Mapping[str, Any]) -> Said | None:
    """What a row of a table says of a face; None where it should say who is shown and does not."""
    if "person" in row and row["person"] is None:
        return None
    attributes = {"person": str(row["person"])} if "person" in row else {}
    return Said(place=table, visible=row.get("visible"), attributes=attributes)


def _scanned(shards: Sequence[Path]) -> Iterator[Parts | BrokenFace]:
    where: dict[str, Path] = {}
    for shard in tqdm(shards, "reading shards", unit="shard", disable=None):
        faces: dict[str, dict[str, list[Member]]] = {}
        refused = set()
        for found in tars.members(shard):
            member = found if isinstance(found, Member) else found.path
            assert isinstance(member, Member)
            name, ending = key(member.member)
            if ending.lower() not in IMAGES | {POINTS, RECORD}:
                continue
            if isinstance(found, Member):
                faces.setdefault(name, {}).setdefault(ending.lower(), []).append(found)
            else:
                refused.add(name)
                yield found
        for name, files in faces.items():
            if name not in refused and files.keys() != {RECORD}:
                try:
                    yield _scanned_face(shard, name, files, where)
                except BrokenFace as broken:
                    yield broken


def _scanned_face(shard: Path, name: str, files: Mapping[str, list[Member]], where: dict[str, Path]) -> Parts:
    for several in files.values():
        if len(several) > 1:
            raise BrokenFace(several[1], "there twice in the tar, expected one; remove the other")
    first = next(iter(files.values()))[0]
    if where.setdefault(name, shard) != shard:
        raise BrokenFace(first, f"the same face twice: found it in {where[name].name} too; give each face a name")
    record = files.get(RECORD)
    return Parts(
        name=name,
        images=[one for ending, (one,) in files.items() if ending in IMAGES],
        points=files[POINTS][0] if POINTS in files else None,
        ending=POINTS,
        said=said_in(record[0]) if record else None,
        tar=shard,
    )


def said_in(record: File) -> Said | None:
    """What a record says; None where it is no object.

    Raises:
        BrokenFace: it is no JSON.
    """
    try:
        content = json.loads(record.read_text("utf-8-sig"))
    except BrokenFace:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise BrokenFace(record, f"damaged ({error}), expected JSON; restore or remove it") from None
    if not isinstance(content, dict):
        return None
    flags = content.get("visible")
    told = isinstance(flags, list) and all(isinstance(flag, bool) for flag in flags)
    texts = {name: str(value) for name, value in content.items() if type(value) in (str, int)}
    names = {name: text for name, text in texts.items() if len(text) <= _LONGEST}
    return Said(place=record, visible=flags if told else None, attributes=names)
