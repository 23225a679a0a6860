"""Shards of WebDataset that others wrote: read where they lie, and whatever touches a picture goes on working."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

import toy
from facemix.errors import FacemixError
from facemix.faces import formats, packing
from facemix.faces.face import HIDDEN, BrokenFace, Face
from facemix.faces.formats import photos
from facemix.faces.images import read_image
from facemix.faces.picture_size import picture_size
from facemix.faces.tars import Member
from facemix.reporting import imported
from facemix.stages.convert import convert

DRAWN = [toy.face(np.random.default_rng(k), 64) for k in range(4)]


def parts(k: int, suffix: str = "png", **said: object) -> dict[str, bytes]:
    """The files of a face by their endings."""
    image, points = DRAWN[k]
    text = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points)
    found = {suffix: cv2.imencode(f".{suffix}", image)[1].tobytes(), "ldmks.txt": text.encode()}
    return found | ({"json": json.dumps(said).encode()} if said else {})


def shard(path: Path, faces: Mapping[str, Mapping[str, bytes]]) -> Path:
    """A tar as other tools write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, files in faces.items():
            for ending, data in files.items():
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size, info.mtime = len(data), 1.5  # type: ignore[assignment]
                tar.addfile(info, io.BytesIO(data))
    return path


def read(root: Path) -> tuple[list[Face], list[BrokenFace]]:
    return formats.read("facesynthetics", root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two shards of two faces each."""
    faces = {f"{k:06d}": parts(k) for k in range(4)}
    shard(tmp_path / "set/part-0.tar", {name: faces[name] for name in ("000000", "000001")})
    shard(tmp_path / "set/part-1.tar", {name: faces[name] for name in ("000002", "000003")})
    return tmp_path / "set"


def test_shards_without_an_index_are_read(root: Path) -> None:
    faces, broken = read(root)
    assert ([face.id for face in faces], broken) == ([f"{k:06d}" for k in range(4)], [])
    for face, (image, points) in zip(faces, DRAWN, strict=True):
        np.testing.assert_array_equal(read_image(face.image), image[..., ::-1])
        np.testing.assert_allclose(face.landmarks, points, atol=1e-3)
        assert picture_size(face.image) == (64, 64)
    assert faces[3].files == (root / "part-1.tar",)
    assert (faces[3].photo, faces[3].image.name) == ("000003", "000003.png")
    assert sorted(path.name for path in root.iterdir()) == ["part-0.tar", "part-1.tar"]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG", "webp"])
def test_pictures_of_other_kinds_are_read(suffix: str, tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", {"x": parts(0, suffix)})
    (face,), broken = read(tmp_path)
    assert not broken and not formats.check([face])
    assert np.abs(read_image(face.image).astype(int) - DRAWN[0][0][..., ::-1]).mean() < 8


def test_records_say_who_is_shown_what_is_seen_and_whatever_names_a_group(tmp_path: Path) -> None:
    flags = [True] * 60 + [False] * 8
    said = [{"person": 7, "visible": flags, "camera": "left", "yaw": 0.5}, {"person": "7"}, {}]
    faces = {f"in/{k}": parts(k) | {"json": json.dumps(one).encode()} for k, one in enumerate(said)}
    shard(tmp_path / "a.tar", faces | {"in/3": parts(3) | {"json": b"[1]"}})
    found, broken = read(tmp_path)
    assert not broken
    assert [(face.id, face.photo) for face in found] == [
        ("in/0", "7"),
        ("in/1", "7"),
        ("in/2", "in/2"),
        ("in/3", "in/3"),
    ]
    assert ((found[0].states == HIDDEN) == ~np.array(flags)).all()
    assert found[0].attributes == {"person": "7", "camera": "left"}
    with pytest.raises(FacemixError, match="'column:camera'"):
        formats.read("facesynthetics", tmp_path, group="column:camera")


def test_members_of_an_unpacked_shard_are_read_alike(root: Path, tmp_path: Path) -> None:
    shard(root / "part-2.tar", {"000009": parts(0, "png", person=3, visible=[False] + [True] * 67)})
    (tmp_path / "out").mkdir()
    for tar in root.iterdir():
        subprocess.run(["tar", "xf", tar], cwd=tmp_path / "out", check=True)
    for one, other in zip(read(root)[0], read(tmp_path / "out")[0], strict=True):
        assert (one.id, one.photo, one.attributes) == (other.id, other.photo, other.attributes)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        np.testing.assert_array_equal(one.states, other.states)
        assert one.image.read_bytes() == other.image.read_bytes()


def without(files: Mapping[str, bytes], ending: str) -> dict[str, bytes]:
    return {key: value for key, value in files.items() if key != ending}


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("000004", without(parts(0), "png"), r"000004\.ldmks\.txt: no 000004\.png or 000004\.jpg beside the points"),
        ("000004", without(parts(0), "ldmks.txt"), r"000004\.png: no 000004\.ldmks\.txt beside the image"),
        ("000004", parts(0) | {"jpg": b""}, r"000004\.jpg: the same face twice: found 000004\.png and 000004\.jpg"),
        ("000004", parts(0) | {"ldmks.txt": b"1 2\n"}, r"000004\.ldmks\.txt: 1 points, expected 68"),
        ("000004", parts(0) | {"ldmks.txt": b"\xff"}, r"000004\.ldmks\.txt: not a text file"),
        ("000004", parts(0) | {"json": b"{"}, r"000004\.json: damaged \(.*\), expected JSON"),
        ("000004", parts(0, visible=[True]), r"000004\.json: says of 1 points of 000004 whether"),
        ("000001", parts(0), r"000001\.png: the same face twice: found it in part-0\.tar too"),
        ("../000004", parts(0), r"\.\./000004\.png: a name that leads out of a folder"),
    ],
)
def test_a_face_that_cannot_be_used_is_named_with_its_tar(
    name: str, files: dict[str, bytes], message: str, root: Path
) -> None:
    shard(root / "part-2.tar", {name: files})
    faces, broken = read(root)
    assert len(faces) == 4
    assert broken[0].args[0].startswith(f"{root}/part-2.tar: ")
    assert re.search(message, str(broken[0]))
    with pytest.raises(FacemixError, match=r"part-2\.tar: "):
        packing.raise_broken(broken, 5)


def test_other_members_are_left_alone_and_compressed_shards_refused(root: Path) -> None:
    shard(root / "part-2.tar", {"000004": {"seg.png": b"", "cls": b"1"}, "README": {"md": b""}, "a": {"json": b"{}"}})
    assert len(read(root)[0]) == 4 and not read(root)[1]
    for tar in root.glob("*.tar"):
        tar.rename(tar.with_suffix(".tar.gz"))
    with pytest.raises(FacemixError, match=r"part-0\.tar\.gz: compressed, .*; decompress it"):
        read(root)


def test_a_damaged_picture_and_a_copy_are_found(root: Path) -> None:
    image = parts(2)["png"]
    shard(root / "part-2.tar", {"4": parts(1), "5": parts(3) | {"png": image[:-50]}, "6": parts(3) | {"png": b""}})
    faces, broken = read(root)
    assert not broken
    found = {str(error) for error in formats.check(faces)}
    assert any(text.startswith(f"{root}/part-2.tar: 4.png: the same face twice") for text in found)
    assert any(text.startswith(f"{root}/part-2.tar: 5.png: cut off") for text in found)
    assert any(text.startswith(f"{root}/part-2.tar: 6.png: 0 bytes") for text in found)
    assert len(found) == 3


def test_one_picture_under_two_names_is_one_photograph(root: Path) -> None:
    shard(root / "part-2.tar", {"9": parts(0) | {"ldmks.txt": parts(1)["ldmks.txt"]}})
    faces = photos.by_content(read(root)[0])
    assert [face.photo for face in faces] == ["000000", "000000", "000002", "000003", "000000"]


def test_an_import_is_shown_and_other_tools_get_the_pictures(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert imported.show(tmp_path / "shown", read(root)[0])
    assert (tmp_path / "shown/faces.png").exists()
    monkeypatch.chdir(tmp_path)
    convert(str(root), "coco", tmp_path / "coco", format="facesynthetics")
    faces, _ = formats.read("coco", tmp_path / "coco")
    assert [face.image.read_bytes() for face in faces] == [parts(k)["png"] for k in range(4)]
    with pytest.raises(FacemixError, match=r"--link: .*part-0\.tar: 000000\.png: this picture is inside of a tar"):
        convert(str(root), "coco", tmp_path / "linked", format="facesynthetics", link=True)


def test_a_damaged_index_is_named(root: Path) -> None:
    table = root / "faces.parquet"
    row = {"file": "000000.png", "shard": "part-0.tar", "offset": 1536, "size": 9, "points_offset": 5, "points_size": 5}
    for change, message in (
        ({"offset": None}, r"faces\.parquet: damaged \("),
        ({"shard": "../part-0.tar"}, r"faces\.parquet: lists \.\./part-0\.tar, which is not there"),
        ({"shard": None}, r"faces\.parquet: lists None"),
        ({"file": None}, r"faces\.parquet: damaged \("),
    ):
        parquet.write_table(pyarrow.Table.from_pylist([row | change, row | {"shard": "part-1.tar"}]), table)
        with pytest.raises(FacemixError, match=message):
            read(root)
    parquet.write_table(pyarrow.Table.from_pylist([row, row | {"shard": "part-1.tar"}]), table)
    with pytest.raises(FacemixError, match=r"faces\.parquet: found the face 000000 twice"):
        read(root)


def test_files_in_the_folder_go_first(root: Path) -> None:
    shutil.copyfile(toy.write_facesynthetics(root.parent / "loose", 1) / "000000.png", root / "000007.png")
    shutil.copyfile(root.parent / "loose/000000_ldmks.txt", root / "000007_ldmks.txt")
    faces, _ = read(root)
    assert [face.id for face in faces] == ["000007"]
    assert not isinstance(faces[0].image, Member)


def test_shards_that_were_unpacked_in_place_are_not_taken_for_a_part_of_them(root: Path) -> None:
    subprocess.run(["tar", "xf", "part-0.tar"], cwd=root, check=True)
    with pytest.raises(FacemixError, match=r"found 000000\.ldmks\.txt beside part-0\.tar; unpack shards into another"):
        read(root)
