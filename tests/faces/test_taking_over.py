"""Shards are taken over from a former pack where they would come out the same, and nowhere else."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toy
from facemix.faces import cropping, packing, packs
from facemix.faces.face import HIDDEN, VISIBLE, Face
from facemix.faces.packing import Entry, Former, Written
from facemix.faces.schemes import ibug68

SIZE = 16
SCHEME = ibug68()
PICTURES, POINTS = zip(*[toy.face(np.random.default_rng(k), size=48) for k in range(24)], strict=True)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", 4 * SIZE * SIZE * 3)


def draw(file: Path, picture: int) -> Path:
    """Writes a picture; all files are of one size in bytes, and of one time."""
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), PICTURES[picture], [cv2.IMWRITE_PNG_COMPRESSION, 0])
    os.utime(file, (0, 0))
    return file


def face(folder: Path, number: int) -> Face:
    image = folder / f"{number:02d}.png"
    return Face(
        id=f"{number:02d}",
        subset="",
        photo=f"{number:02d}",
        image=image if image.exists() else draw(image, number),
        landmarks=POINTS[number],
        states=np.full(68, VISIBLE, np.uint8),
        scheme=SCHEME,
        files=(image,),
    )


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Twelve faces of one source, then five of another."""
    return [
        Entry(face=face(tmp_path / source, number), source=source, split="train")
        for source, numbers in (("one", range(12)), ("two", range(12, 17)))
        for number in numbers
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def former(folder: Path, written: Written) -> Former:
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    return Former(files=files, shards=written.shards)


class Packed:
    """A pack of some faces, and what becomes of it with others."""

    def __init__(self, folder: Path, entries: list[Entry], margin: float = 2.0) -> None:
        self.folder = folder
        self.written = packing.write(folder / "before", entries, size=SIZE, margin=margin)

    def then(self, entries: list[Entry], size: int = SIZE, margin: float = 2.0) -> tuple[set[int], int]:
        """Which shards of the new pack, by their number, were made anew, and how many there are.

        The new pack is held to be the one that comes out without a former one.
        """
        made = []
        cut = cropping.cut

        def watched(crops: cropping.Crops, *others: Any) -> cropping.Cropped:
            made.append(crops.faces[0].id)
            return cut(crops, *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cropping, "cut", watched)
            after = packing.write(
                self.folder / "after",
                entries,
                size=size,
                margin=margin,
                former=former(self.folder / "before", self.written),
            )
        assert after.taken == len(after.shards) - len(made)
        fresh = packing.write(self.folder / "fresh", entries, size=size, margin=margin)
        assert contents(self.folder / "after") == contents(self.folder / "fresh")
        assert after.shards == fresh.shards
        most = packing.capacity(size)
        starts = [entries[part.start].face.id for part in packing.parted(entries, most)]
        return {starts.index(id_) for id_ in made}, len(starts)


@pytest.fixture
def packed(tmp_path: Path, entries: list[Entry]) -> Packed:
    return Packed(tmp_path, entries)


def shard_of(entries: list[Entry], row: int) -> int:
    return next(k for k, part in enumerate(packing.parted(entries, 4)) if row in part)


def changed(entries: list[Entry], row: int, **fields: object) -> list[Entry]:
    entry = entries[row]
    other = dataclasses.replace(entry, face=dataclasses.replace(entry.face, **fields))
    return [*entries[:row], other, *entries[row + 1 :]]


def test_shards_are_of_one_source_and_no_larger_than_they_may_be(entries: list[Entry]) -> None:
    parts = list(packing.parted(entries, 4))
    assert [row for part in parts for row in part] == list(range(len(entries)))
    assert all(len({entries[row].source for row in part}) == 1 and 0 < len(part) <= 4 for part in parts)
    assert len(parts) >= 5


def test_the_same_faces_are_taken_over(packed: Packed, entries: list[Entry]) -> None:
    made, of = packed.then(entries)
    assert made == set() and of >= 5


def test_a_new_source_makes_its_own_shards_wherever_it_stands(
    packed: Packed, entries: list[Entry], tmp_path: Path
) -> None:
    new = [Entry(face=face(tmp_path / "three", number), source="three", split="train") for number in range(17, 20)]
    starts = len(list(packing.parted(new, 4)))
    made, of = packed.then([*new, *entries])
    assert made == set(range(starts)) and of > starts
    made, of = packed.then([*entries, *new])
    assert made == set(range(of - starts, of))


def test_a_source_that_goes_takes_its_own_shards_along(packed: Packed, entries: list[Entry]) -> None:
    assert packed.then(entries[12:])[0] == set()
    assert packed.then([*entries[12:], *entries[:12]])[0] == set()


def test_a_face_at_the_end_changes_the_last_shard_of_its_source(
    packed: Packed, entries: list[Entry], tmp_path: Path
) -> None:
    new = Entry(face=face(tmp_path / "two", 20), source="two", split="train")
    made, of = packed.then([*entries, new])
    assert made == {of - 1}


@pytest.mark.parametrize("row", [1, 6])
def test_a_face_that_goes_changes_few_shards(packed: Packed, entries: list[Entry], row: int) -> None:
    made, of = packed.then([*entries[:row], *entries[row + 1 :]])
    assert len(made) <= 2 < of


def test_most_shards_stay_where_faces_come_and_go(entries: list[Entry]) -> None:
    many = [dataclasses.replace(entries[0], face=dataclasses.replace(entries[0].face, id=str(k))) for k in range(5000)]

    def shards(chosen: list[Entry]) -> set[tuple[str, ...]]:
        return {tuple(chosen[row].face.id for row in part) for part in packing.parted(chosen, 100)}

    assert len(shards(many) - shards(many[:1000] + many[1001:])) <= 4 < len(shards(many)) / 10


def test_another_image_of_equal_size_and_time_makes_its_shard_anew(
    packed: Packed, entries: list[Entry], tmp_path: Path
) -> None:
    image = entries[5].face.image
    before = image.stat()
    draw(image, 23)
    assert (image.stat().st_size, image.stat().st_mtime) == (before.st_size, before.st_mtime)
    assert packed.then(entries)[0] == {shard_of(entries, 5)}


def test_an_image_that_moved_is_the_same(packed: Packed, entries: list[Entry], tmp_path: Path) -> None:
    moved = entries[3].face.image.rename(tmp_path / "elsewhere.png")
    assert packed.then(changed(entries, 3, image=moved))[0] == set()


def test_a_label_that_moved_makes_its_shard_anew(packed: Packed, entries: list[Entry]) -> None:
    points = POINTS[7].copy()
    points[30] = np.nextafter(points[30], 1)  # in the middle of the face: its box stays
    assert packed.then(changed(entries, 7, landmarks=points))[0] == {shard_of(entries, 7)}


def test_an_offset_makes_a_source_anew(packed: Packed, entries: list[Entry]) -> None:
    moved = entries
    for row in range(12, 17):
        moved = changed(moved, row, landmarks=POINTS[row] + np.float32(0.5))
    made, of = packed.then(moved)
    assert made == {shard_of(entries, row) for row in range(12, 17)} and len(made) < of


@pytest.mark.parametrize("other", [{"margin": 1.5}, {"size": SIZE + 1}, {"size": SIZE // 2}])
def test_another_margin_or_size_makes_all_anew(packed: Packed, entries: list[Entry], other: dict[str, int]) -> None:
    made, of = packed.then(entries, **other)
    assert made == set(range(of))


def test_another_scheme_makes_all_anew(packed: Packed, entries: list[Entry]) -> None:
    other = dataclasses.replace(SCHEME, name="mine")
    made, of = packed.then([dataclasses.replace(e, face=dataclasses.replace(e.face, scheme=other)) for e in entries])
    assert made == set(range(of))


def test_other_code_or_another_opencv_makes_all_anew(
    packed: Packed, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, value in (
        (cropping, "code", lambda: "other"),
        (cv2, "__version__", "0"),
        (np, "__version__", "0"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            made, of = packed.then(entries)
        assert made == set(range(of))
        assert contents(packed.folder / "after") == contents(packed.folder / "before")  # and nothing trains again


@pytest.mark.parametrize("name", cropping.CODE)
def test_the_code_is_what_its_files_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in cropping.CODE:
        (tmp_path / file).write_bytes(Path(cropping.__file__).with_name(file).read_bytes())
    (tmp_path / name).write_bytes(b"# other\n")
    before = cropping.code()
    monkeypatch.setattr(cropping, "__file__", str(tmp_path / "cropping.py"))
    assert cropping.code.__wrapped__() != before


def test_names_decide_and_photographs_do_not(packed: Packed, entries: list[Entry]) -> None:
    assert packed.then(changed(entries, 2, photo="other", subset="other"))[0] == set()
    assert shard_of(entries, 2) in packed.then(changed(entries, 2, id="02b"))[0]
    assert packed.then([dataclasses.replace(e, source="three") if e.source == "two" else e for e in entries])[0] == {
        shard_of(entries, row) for row in range(12, 17)
    }


def test_splits_and_states_change_no_shard(packed: Packed, entries: list[Entry]) -> None:
    others = [dataclasses.replace(entry, split="test") for entry in entries]
    assert packed.then(others)[0] == set()
    assert set(packs.read(packed.folder / "after").splits) == {"test"}
    assert packed.then(changed(entries, 0, states=np.full(68, HIDDEN, np.uint8)))[0] == set()
    assert (packs.read(packed.folder / "after").states[0] == HIDDEN).all()
    digests = {packs.read(packed.folder / name).digest for name in ("before", "after")}
    assert len(digests) == 2


def test_equal_crops_of_two_shards_are_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", SIZE * SIZE * 3)
    one = face(tmp_path / "one", 0)
    twice = [Entry(face=dataclasses.replace(one, id=id_), source="one", split="train") for id_ in "ab"]
    packed = Packed(tmp_path, twice)
    assert packed.then(twice) == (set(), 2)
    pack = packs.read(tmp_path / "after")
    np.testing.assert_array_equal(pack.images[0], pack.images[1])
    assert len(list((tmp_path / "after/images").iterdir())) == 1


def damage(file: Path, content: bytes | None) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["faces.parquet", "pack.json", "shard"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_nothing_is_taken_from_a_pack_that_is_not_whole(
    name: str, content: bytes | None, packed: Packed, entries: list[Entry]
) -> None:
    folder = packed.folder / "before"
    damage(folder / "images" / packed.written.shards[1].name if name == "shard" else folder / name, content)
    made, of = packed.then(entries)
    assert made == set(range(of))


def test_nothing_is_taken_from_a_pack_of_other_shards(packed: Packed, entries: list[Entry]) -> None:
    first, second, *others = packed.written.shards
    packed.written = dataclasses.replace(packed.written, shards=[second, first, *others])
    made, of = packed.then(entries)
    assert made == set(range(of))


def test_broken_faces_are_listed_over_all_shards_and_the_former_pack_stays(
    packed: Packed, entries: list[Entry]
) -> None:
    before = contents(packed.folder / "before")
    entries[1].face.image.write_bytes(b"")
    entries[14].face.image.unlink()
    with pytest.raises(ValueError, match=r"2 of 17 faces are broken(.|\n)*01.png(.|\n)*14.png"):
        packing.write(
            packed.folder / "before",
            entries,
            size=SIZE,
            margin=2.0,
            former=former(packed.folder / "before", packed.written),
        )
    assert contents(packed.folder / "before") == before


def test_a_pack_takes_over_what_it_replaces(packed: Packed, entries: list[Entry]) -> None:
    there = former(packed.folder / "before", packed.written)
    again = packing.write(packed.folder / "before", entries[:-1], size=SIZE, margin=2.0, former=there)
    assert again.taken >= 3
    fresh = packing.write(packed.folder / "fresh", entries[:-1], size=SIZE, margin=2.0)
    assert contents(packed.folder / "before") == contents(packed.folder / "fresh")
    assert again.shards == fresh.shards


FACES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 1), st.sampled_from([0.0, 0.5]), st.sampled_from(["train", "test"])),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one[0],
).map(sorted)


@given(before=FACES, after=FACES, margins=st.tuples(st.sampled_from([1.5, 2.0]), st.just(2.0)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pack_is_the_same_with_a_former_one_and_without(
    before: list[tuple[int, int, float, str]],
    after: list[tuple[int, int, float, str]],
    margins: tuple[float, float],
    tmp_path: Path,
) -> None:
    def entries(chosen: list[tuple[int, int, float, str]]) -> list[Entry]:
        for number, picture, _, _ in chosen:
            draw(tmp_path / "one" / f"{number:02d}.png", number + 10 * picture)
        faces = [(face(tmp_path / "one", number), by, split) for number, _, by, split in chosen]
        moved = [
            (dataclasses.replace(one, landmarks=one.landmarks + np.float32(by)), split) for one, by, split in faces
        ]
        return [Entry(face=one, source="one", split=split) for one, split in moved]

    packed = Packed(tmp_path, entries(before), margins[0])
    packed.then(entries(after), margin=margins[1])  # which compares


def test_what_shards_are_made_of_goes_through_json(packed: Packed) -> None:
    told = json.loads(json.dumps([dataclasses.asdict(shard) for shard in packed.written.shards]))
    assert [packing.Shard(**shard) for shard in told] == list(packed.written.shards)
