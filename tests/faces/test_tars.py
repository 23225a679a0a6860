"""Members of tars are read where they lie, and no tar is trusted."""

import io
import tarfile
from pathlib import Path

import pytest

from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.face import BrokenFace
from facemix.faces.tars import Member

FILES = {"a.txt": b"first", "b/c.txt": b"x" * 600, "d.txt": b""}


def members(path: Path) -> dict[str, bytes]:
    found = list(tars.members(path))
    assert all(isinstance(member, Member) for member in found)
    return {member.member: member.read_bytes() for member in found if isinstance(member, Member)}


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    tars.write(tmp_path / "set.tar", FILES.items())
    return tmp_path / "set.tar"


def packed(path: Path, *entries: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as opened:
        for info, data in entries:
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return path


def test_what_was_written_is_read_and_gives_the_same_bytes_again(tar: Path, tmp_path: Path) -> None:
    assert members(tar) == FILES
    tars.write(tmp_path / "again.tar", members(tar).items())
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()
    with tarfile.open(tar) as opened:
        assert {info.name: opened.extractfile(info).read() for info in opened} == FILES  # type: ignore[union-attr]


def test_a_member_is_called_by_its_tar_and_its_name(tar: Path) -> None:
    _, member, _ = tars.members(tar)
    assert isinstance(member, Member)
    assert (str(member), member.name) == (f"{tar}: b/c.txt", "c.txt")
    assert member.read_text("utf-8") == "x" * 600


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_other_tools_are_read(kind: int, tmp_path: Path) -> None:
    names = ["short.txt", "./dotted.txt", "f" * 60 + "/" + "g" * 60 + ".txt"]
    infos = [tarfile.TarInfo(name) for name in names]
    if kind == tarfile.PAX_FORMAT:
        infos += [tarfile.TarInfo("h" * 300), tarfile.TarInfo("gesicht_ä.txt")]
        for info in infos:
            info.mtime = 1.5  # type: ignore[assignment]  # as webdataset.TarWriter writes it
    path = packed(tmp_path / "a.tar", *((info, info.name[:9].encode()) for info in infos), kind=kind)
    assert members(path) == {info.name: info.name[:9].encode() for info in infos}


def test_a_tar_that_ends_anywhere_is_never_taken_for_whole(tar: Path) -> None:
    content = tar.read_bytes()
    end = max(member.offset + member.size for member in tars.members(tar) if isinstance(member, Member))
    for length in (*range(0, end, 100), 512, 1024, 1536, end):
        tar.write_bytes(content[:length])
        with pytest.raises(FacemixError, match=r"set\.tar: (not a tar that can be read|cut off or damaged at byte)"):
            list(tars.members(tar))


def test_a_damaged_header_is_not_taken_for_the_end(tar: Path) -> None:
    content = bytearray(tar.read_bytes())
    content[1024] ^= 1  # the name of the second member
    tar.write_bytes(content)
    with pytest.raises(FacemixError, match=r"set\.tar: cut off or damaged at byte 1024, expected another member"):
        list(tars.members(tar))


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_compressed_tar_is_refused(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as opened:
        opened.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    with pytest.raises(FacemixError, match=r"a\.tar: not a tar that can be read .*decompress it"):
        list(tars.members(tmp_path / "a.tar"))


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    infos = []
    for kind, name in ((tarfile.SYMTYPE, "soft"), (tarfile.LNKTYPE, "hard"), (tarfile.FIFOTYPE, "pipe")):
        info = tarfile.TarInfo(f"{name}.txt")
        info.type, info.linkname = kind, str(secret)
        infos.append(info)
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    path = packed(tmp_path / "a.tar", *((info, b"") for info in (*infos, folder)))
    soft, hard, pipe = tars.members(path)
    for found, name in ((soft, "soft"), (hard, "hard")):
        assert isinstance(found, BrokenFace)
        assert str(found) == f"{path}: {name}.txt: a link to '{secret}', expected a plain file; pack the file itself"
    assert isinstance(pipe, BrokenFace) and "pipe.txt: a sparse file or a device" in str(pipe)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,5",
        "GNU.sparse.size": "99",
    }
    (found,) = tars.members(packed(tmp_path / "a.tar", (info, b"first")))
    assert isinstance(found, BrokenFace) and "a sparse file" in found.reason


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.txt", "a/../../up.txt", "a\\b.txt", "a\nb.txt"])
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    (found,) = tars.members(packed(tmp_path / "a.tar", (tarfile.TarInfo(name), b"first")))
    assert isinstance(found, BrokenFace) and found.reason.startswith("a name that leads out of a folder")


def test_nothing_but_the_member_itself_is_ever_read(tar: Path) -> None:
    first, second, _ = (member for member in tars.members(tar) if isinstance(member, Member))
    size = tar.stat().st_size
    for offset, length, message in (
        (second.offset, second.size, r"expected at byte 1536 of the tar with 600 bytes, found 'b/c\.txt' of 600"),
        (first.offset, 6, r"with 6 bytes, found 'a\.txt' of 5; the tar was changed since it was indexed"),
        (first.offset + 1, 5, r"found 'nothing' of 0"),
        (size - 3, 5, f"ends at byte {size + 2} of {size} of the tar"),
        (-5, 5, "ends at byte 0"),
        (511, 1, "ends at byte 512"),
        (first.offset, 10**18, "ends at byte"),
        (first.offset, -1, "ends at byte"),
    ):
        with pytest.raises(BrokenFace, match=message):
            Member(tar, "a.txt", offset, length).read_bytes()


def test_a_full_disk_leaves_the_former_tar(tar: Path) -> None:
    before = tar.read_bytes()

    def content():  # type: ignore[no-untyped-def]
        yield "a.txt", b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="could not be written"):
        tars.write(tar, content())
    assert tar.read_bytes() == before
    assert [path.name for path in tar.parent.iterdir()] == ["set.tar"]
