"""Rendered sets in shards, with a studio that draws: the same faces as in a folder, and the same bytes after a stop."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_studio
from facemix import cli
from facemix.errors import FacemixError
from facemix.faces import formats, packing, splits
from facemix.faces.face import HIDDEN
from facemix.render import fingerprints, folder, relabel, sets, shards, workers
from facemix.render.population import POPULATIONS

PROCESSES = workers.finished
SETTINGS = sets.Settings(seed=3, size=48, labels="mesh", population=POPULATIONS["synthetic"])
N = 10


@pytest.fixture(scope="module", autouse=True)
def drawn() -> Iterator[None]:
    """The studio draws two pictures of each person, in this process; a shard has four faces."""
    shoot = toy_studio.Studio.shoot

    def of_a_person(studio: Any, population: Any, seed: int, index: int, labels: str) -> Any:
        face = shoot(studio, population, seed, index, labels)
        hat = None if index < 4 else "cap"  # unknown in the whole first shard
        return replace(face, record=face.record | {"person": index // 2, "hat": hat})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "STUDIO", "toy_studio")
        patch.setattr(fingerprints, "pixels", lambda: "toy")
        patch.setattr(workers, "finished", toy_studio.one_by_one)
        patch.setattr(toy_studio.Studio, "shoot", of_a_person)
        patch.setattr(shards, "FACES", 4)
        yield


def render(out: Path, n: int = N, sharded: bool = True, **changes: Any) -> Path:
    sets.render_set(out, n, replace(SETTINGS, **changes), 1, sharded=sharded)
    return out


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def loose(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("loose") / "set", sharded=False, segmentation=True)


@pytest.fixture(scope="module")
def whole(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("whole") / "set", segmentation=True)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def packed(root: Path, place: Path) -> dict[str, bytes]:
    """The pack of a set, with its splits as of real faces."""
    faces, broken = formats.read("facesynthetics", root)
    assert not broken
    assigned = splits.assign(faces, None)
    entries = [packing.Entry(face=f, source="set", split=s) for f, s in zip(faces, assigned, strict=True)]
    packing.write(place, entries, size=32, margin=2.0)
    return tree(place)


# What is written


def test_a_set_in_shards_gives_the_pack_of_its_folder_bit_for_bit(loose: Path, whole: Path, tmp_path: Path) -> None:
    wanted = packed(loose, tmp_path / "loose")
    assert packed(whole, tmp_path / "indexed") == wanted
    alone, unpacked = tmp_path / "alone", tmp_path / "unpacked"
    shutil.copytree(whole, alone, ignore=lambda *_: ["faces.parquet", "render.json"])
    assert packed(alone, tmp_path / "scanned") == wanted
    unpacked.mkdir()
    for shard in sorted(whole.glob("*.tar")):
        subprocess.run(["tar", "xf", shard], cwd=unpacked, check=True)
    assert packed(unpacked, tmp_path / "members") == wanted
    shutil.copyfile(whole / "faces.parquet", unpacked / "faces.parquet")
    assert packed(unpacked, tmp_path / "members and index") == wanted


def test_faces_of_a_person_and_hidden_points_are_told(whole: Path) -> None:
    faces, _ = formats.read("facesynthetics", whole)
    assert [face.photo for face in faces] == [str(index // 2) for index in range(N)]
    assert all((face.states == HIDDEN).any() for face in faces)
    assert faces[5].files == (whole / "000001.tar", whole / "faces.parquet")


def test_the_index_has_the_rows_of_the_folder_and_says_where_bytes_are(loose: Path, whole: Path) -> None:
    rows = parquet.read_table(whole / "faces.parquet").to_pylist()
    for row, expected in zip(rows, parquet.read_table(loose / "faces.parquet").to_pylist(), strict=True):
        place = {key: row.pop(key) for key in ("shard", "offset", "size", "points_offset", "points_size")}
        assert row == expected
        content = (whole / place["shard"]).read_bytes()
        picture = content[place["offset"] : place["offset"] + place["size"]]
        assert picture == (loose / row["file"]).read_bytes()
        points = content[place["points_offset"] : place["points_offset"] + place["points_size"]]
        assert points == (loose / f"{row['index']:06d}_ldmks.txt").read_bytes()
    assert parquet.read_metadata(whole / "faces.parquet").num_row_groups == 3


def test_plain_tools_see_the_convention_of_webdataset(loose: Path, whole: Path) -> None:
    with tarfile.open(whole / "000001.tar") as tar:
        names = tar.getnames()
        about = {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in tar}
        content = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    endings = ("json", "ldmks.txt", "png", "seg.png")
    assert names == [f"{index:06d}.{ending}" for index in range(4, 8) for ending in endings]
    assert about == {(0, 0, 0, "", 0o644)}
    assert content["000005.seg.png"] == (loose / "000005_seg.png").read_bytes()
    assert json.loads(content["000005.json"])["hat"] == "cap"
    assert {path.name for path in whole.iterdir()} == {
        "000000.tar", "000001.tar", "000002.tar", "faces.parquet", "render.json"
    }  # fmt: skip


# Stops, extensions, processes


def test_the_number_of_processes_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "finished", PROCESSES)
    one, two = (tmp_path / "one", tmp_path / "two")
    for out, processes in ((one, 1), (two, 2)):
        sets.render_set(out, 6, replace(SETTINGS, population=toy_studio.Population()), processes, sharded=True)  # type: ignore[arg-type]
    assert tree(one) == tree(two)


def stop_after(count: int, patch: pytest.MonkeyPatch, name: str) -> None:
    """A method of paths works so many times, and then the process is stopped."""
    works, left = getattr(Path, name), iter(range(count))

    def stopped(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return works(*arguments, **options)

    patch.setattr(Path, name, stopped)


@pytest.mark.parametrize("method, count", [*(("replace", k) for k in range(0, 45, 4)), ("unlink", 60), ("unlink", 75)])
def test_a_set_that_was_stopped_anywhere_ends_in_the_same_bytes(
    method: str, count: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    with monkeypatch.context() as patch:
        stop_after(count, patch, method)
        with pytest.raises(KeyboardInterrupt):
            render(out, segmentation=True)
    whole_before = {path.name: path.stat().st_ino for path in out.glob("0*.tar")}
    render(out, segmentation=True)
    assert tree(out) == tree(whole)
    assert {name: (out / name).stat().st_ino for name in whole_before} == whole_before


def test_faces_that_are_files_are_those_of_shards_in_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def counted(*arguments: Any) -> Generator[int, None, None]:
        for index in toy_studio.one_by_one(*arguments):
            yield index
            seen.append(len(list(tmp_path.rglob("0*.png"))))

    monkeypatch.setattr(workers, "finished", counted)
    render(tmp_path / "set")
    assert seen == [1, 2, 3, 0, 1, 2, 3, 0, 1, 0]


@pytest.mark.parametrize("first", [1, 4, 6])
def test_a_larger_n_extends_a_set_and_leaves_whole_shards_alone(first: int, whole: Path, tmp_path: Path) -> None:
    out = render(tmp_path / "set", first, segmentation=True)
    shard, before = out / "000000.tar", (out / "000000.tar").stat().st_mtime_ns
    table = parquet.read_table(out / "faces.parquet").to_pylist()
    render(out, segmentation=True)
    assert tree(out) == tree(whole)
    assert (shard.stat().st_mtime_ns == before) == (first >= 4)
    places = [{key: row[key] for key in ("shard", "offset", "size")} for row in table]
    now = parquet.read_table(out / "faces.parquet").to_pylist()
    assert places == [{key: row[key] for key in places[0]} for row in now[:first]]


def test_an_extension_that_was_stopped_is_not_read_and_goes_on(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(9, patch, "replace")
        with pytest.raises(KeyboardInterrupt):
            render(copy, 13, segmentation=True)
    with pytest.raises(FacemixError, match=f"{copy}: its rendering was stopped; run the same `facemix render`"):
        formats.read("facesynthetics", copy)
    with pytest.raises(FacemixError, match=f"{copy}: its rendering was stopped; run the same `facemix render`"):
        relabel.relabel(copy, "steady", processes=1)
    render(copy, 13, segmentation=True)
    assert tree(copy) == tree(render(tmp_path / "again", 13, segmentation=True))


def test_a_set_without_a_whole_shard_is_not_read_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(9, monkeypatch, "replace")
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "set")
    assert not list((tmp_path / "set").glob("*.tar"))
    with pytest.raises(FacemixError, match="set: its rendering was stopped"):
        formats.read("facesynthetics", tmp_path / "set")


def test_a_complete_set_is_not_written_again(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    render(copy, segmentation=True)
    assert {path: path.stat().st_mtime_ns for path in copy.iterdir()} == before


@pytest.mark.parametrize("name", ["000001.tar", "000002.tar", "faces.parquet"])
def test_what_is_gone_is_made_again(name: str, copy: Path, whole: Path) -> None:
    (copy / name).unlink()
    render(copy, segmentation=True)
    assert tree(copy) == tree(whole)


# What is refused


def test_the_folder_of_another_set_is_refused(copy: Path, loose: Path) -> None:
    before = tree(copy)
    for changes, message in (
        ({"seed": 4}, "seed: found 3, expected 4"),
        ({"image": "jpeg", "quality": 90}, "image: found None, expected 'jpeg'; quality: found None, expected 90"),
        ({"labels": "steady"}, "with other labels: .*; run `facemix relabel"),
        ({"n": 9}, "found faces up to 000009, which is more than n = 9; set n to 10 or more"),
        ({"sharded": False}, "holds a set as shards; add --shards, or use another folder"),
    ):
        with pytest.raises(FacemixError, match=message):
            render(copy, **({"segmentation": True} | changes))
    with pytest.raises(FacemixError, match="holds a set as files; leave out --shards, or use another folder"):
        render(loose, segmentation=True)
    assert tree(copy) == before


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:513] + b"\xff" + content[514:]


def renamed(content: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as new:
        for info in old:
            data = old.extractfile(info)
            info.name = info.name.replace("000004", "000009")
            new.addfile(info, data)
    return out.getvalue()


@pytest.mark.parametrize("damage", [halved, renamed, lambda _: b"", lambda _: b"no tar" * 999])
def test_a_damaged_shard_is_named_and_rendered_again_when_it_is_gone(damage: Any, copy: Path, whole: Path) -> None:
    shard = copy / "000001.tar"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(FacemixError, match=r"000001\.tar: damaged .*remove this file, and the same command renders"):
        render(copy, segmentation=True)
    shard.unlink()
    render(copy, segmentation=True)
    assert tree(copy) == tree(whole)


def test_a_damaged_record_is_named(copy: Path) -> None:
    shard = copy / "000001.tar"
    shard.write_bytes(shard.read_bytes().replace(b'{"index": 4', b'["index": 4'))
    (copy / "faces.parquet").unlink()
    with pytest.raises(FacemixError, match=r"000001\.tar: damaged \(000004\.json: "):
        render(copy, segmentation=True)


def test_shards_that_the_index_does_not_fit_are_refused(copy: Path) -> None:
    shutil.copyfile(copy / "000001.tar", copy / "000003.tar")
    with pytest.raises(FacemixError, match=r"faces\.parquet: does not list 000003\.tar; run `facemix render` to its"):
        formats.read("facesynthetics", copy)
    (copy / "000003.tar").unlink()
    (copy / "000002.tar").unlink()
    with pytest.raises(FacemixError, match=r"faces\.parquet: lists 000002\.tar, which is not there; copy the shard"):
        formats.read("facesynthetics", copy)


def test_a_shard_that_changed_since_it_was_indexed_is_told_face_by_face(copy: Path) -> None:
    shutil.copyfile(copy / "000000.tar", copy / "000001.tar")
    _, broken = formats.read("facesynthetics", copy)
    assert len(broken) == 4
    assert f"{copy}/000001.tar: 000004.ldmks.txt: expected at byte" in str(broken[0])
    assert "the tar was changed since it was indexed" in str(broken[0])


# New labels


@pytest.mark.parametrize(("labels", "scheme"), [("annotator", "ibug68"), ("mesh", "wflw98")])
def test_new_labels_are_those_of_a_rendering_with_them(labels: str, scheme: str, copy: Path, tmp_path: Path) -> None:
    assert relabel.relabel(copy, labels, scheme, 1) == (labels, scheme, N)
    wanted = render(tmp_path / "wanted", labels=labels, scheme=scheme, segmentation=True)
    assert tree(copy) == tree(wanted)
    assert formats.FORMATS["facesynthetics"].fitting(copy) == [scheme]


@pytest.mark.parametrize("method, count", [*(("replace", k) for k in range(0, 20, 2)), ("unlink", 20), ("unlink", 28)])
def test_new_labels_after_a_stop_anywhere(
    method: str, count: int, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(count, patch, method)
        with pytest.raises(KeyboardInterrupt):
            relabel.relabel(copy, "steady", processes=1)
    # Before the manifest is marked, it, ten files of points and three shards of labels are made beside.
    is_marked = count >= (15 if method == "replace" else 24)
    assert ("unfinished" in (copy / "render.json").read_text()) == is_marked
    if is_marked:
        for read in (
            lambda: formats.read("facesynthetics", copy),
            lambda: render(copy, segmentation=True, labels="steady"),
        ):
            with pytest.raises(FacemixError, match="facemix relabel"):
                read()
    else:
        assert len(formats.read("facesynthetics", copy)[0]) == N
    relabel.relabel(copy, "steady", processes=1)
    assert tree(copy) == tree(render(tmp_path / "wanted", labels="steady", segmentation=True))


# Names and pictures


@given(st.lists(st.integers(0, 10**9), max_size=9))
def test_names_are_in_the_order_of_the_faces(indices: list[int]) -> None:
    assert sorted(map(folder.name, indices)) == [folder.name(index) for index in sorted(indices)]


def test_six_digits_stay_and_more_have_a_letter() -> None:
    assert [folder.name(k) for k in (0, 999_999, 1_000_000, 10_000_000)] == [
        "000000",
        "999999",
        "a1000000",
        "b10000000",
    ]


def test_a_folder_goes_over_a_million(tmp_path: Path) -> None:
    indices = range(999_998, 1_000_002)
    assert list(sets.render_faces(tmp_path, indices, replace(SETTINGS, backend="scalar"), 1)) == list(indices)
    assert sorted(folder.finished(tmp_path, SETTINGS.endings)) == list(indices)
    sets._remove_strays(tmp_path)
    faces, broken = formats.read("facesynthetics", tmp_path)
    assert ([face.id for face in faces], broken) == (["999998", "999999", "a1000000", "a1000001"], [])


def test_shards_go_over_a_million(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "FACES", 1000)
    indices, n = range(10**6, 10**6 + 3), 10**6 + 3
    there = {number: shards.of(number) for number in range(1000)}
    faces = sets.render_faces(tmp_path / shards.WORK, indices, replace(SETTINGS, backend="scalar"), 1)
    assert list(shards.filled(tmp_path, n, there, (), faces, SETTINGS.endings)) == list(indices)
    assert shards.held(tmp_path) == {1000: indices}
    shards.finish(tmp_path, n)
    assert [face.id for face in formats.read("facesynthetics", tmp_path)[0]] == ["a1000000", "a1000001", "a1000002"]


@pytest.mark.parametrize("image, quality", [("jpeg", 90), ("webp", 80)])
@pytest.mark.parametrize("sharded", [False, True])
def test_pictures_may_be_compressed(image: str, quality: int, sharded: bool, loose: Path, tmp_path: Path) -> None:
    out = render(tmp_path / "set", 5, sharded, image=image, quality=quality)
    about = json.loads((out / "render.json").read_text())
    assert (about["image"], about["quality"]) == (image, quality)
    assert not {"image", "quality"} & json.loads((loose / "render.json").read_text()).keys()
    faces, broken = formats.read("facesynthetics", out)
    originals, _ = formats.read("facesynthetics", loose)
    assert not broken and not formats.check(faces)
    for face, original in zip(faces, originals, strict=False):
        picture, before = (cv2.imdecode(np.frombuffer(one.image.read_bytes(), np.uint8), 1) for one in (face, original))
        assert 0 < np.abs(picture.astype(int) - before).mean() < 12
    with pytest.raises(FacemixError, match=f"quality: found {quality}, expected {quality - 1}"):
        render(out, 5, sharded, image=image, quality=quality - 1)
    assert relabel.relabel(out, "steady", processes=1)[2] == 5
    assert tree(out) == tree(render(tmp_path / "again", 5, sharded, image=image, quality=quality, labels="steady"))


@pytest.mark.parametrize(
    ("image", "quality", "message"),
    [
        ("png", 90, "quality: found 90, expected none, as PNG loses nothing; use jpeg or webp"),
        ("jpeg", 0, "quality: found 0, expected 1 to 100"),
        ("webp", 101, "quality: found 101, expected 1 to 100"),
        ("gif", None, "image: found 'gif', expected one of png, jpeg, webp"),
    ],
)
def test_pictures_that_cannot_be_are_refused(image: str, quality: int | None, message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        replace(SETTINGS, image=image, quality=quality)


def test_the_command_writes_shards(tmp_path: Path) -> None:
    command = f"render --out {tmp_path}/set --n 5 --size 48 --shards --image jpeg --processes 1"
    cli.main(command.split())
    assert sorted(path.name for path in (tmp_path / "set").glob("*.tar")) == ["000000.tar", "000001.tar"]
    about = json.loads((tmp_path / "set/render.json").read_text())
    assert (about["shard"], about["image"], about["quality"]) == (4, "jpeg", 90)
    assert tuple(sets.IMAGES) == cli.IMAGES
