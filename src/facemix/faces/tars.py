"""Tars whose members are read where they lie: nothing is unpacked.

A tar may come from anybody. Its members' names are only names, no link is followed, and each size is held against that
of the file.
"""

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace
from facemix.files import whole_file

SUFFIX = ".tar"
_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 100
"""Characters of a name that a header always holds."""


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file inside of a tar; a `File`."""

    tar: Path
    member: str
    """Its name as the tar has it, folders too."""
    offset: int
    """Where its bytes begin, just behind its header."""
    size: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{self.tar}: {self.member}"

    @property
    def name(self) -> str:
        """Without its folder."""
        return self.place.name

    @property
    def place(self) -> PurePosixPath:
        """Its name as a path below a folder."""
        return PurePosixPath(self.member)

    def exists(self) -> bool:
        """Whether the tar is there."""
        return self.tar.exists()

    def read_bytes(self) -> bytes:
        """All of it.

        Raises:
            OSError: the tar cannot be read.
            BrokenFace: it ends before the member does, or has another one there.
        """
        with self.tar.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if not _BLOCK <= self.offset <= self.offset + self.size <= length:
                raise BrokenFace(self, f"ends at byte {self.offset + self.size} of {length} of the tar; copy it again")
            file.seek(self.offset - _BLOCK)
            data = file.read(_BLOCK + self.size)
        try:
            header = tarfile.TarInfo.frombuf(data[:_BLOCK], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            header = tarfile.TarInfo("nothing")
        known = len(self.member) > _LONGEST or not self.member.isascii() or header.name == self.member
        if not known or header.size != self.size:
            raise BrokenFace(
                self,
                f"expected at byte {self.offset} of the tar with {self.size} bytes, found {header.name!r} of "
                f"{header.size}; the tar was changed since it was indexed",
            )
        return data[_BLOCK:]

    def read_text(self, encoding: str) -> str:
        """All of it, as text; raises likewise."""
        return self.read_bytes().decode(encoding)


def members(tar: Path) -> Iterator[Member | BrokenFace]:
    """The plain files of a tar, in its order; one that cannot be used comes as a `BrokenFace` with it as `path`.

    That is a link, a device or a sparse file, or one with a name that leads out of a folder. Folders are left out.

    Raises:
        FacemixError: no tar, compressed, cut off or damaged.
    """
    try:
        with tar.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as opened:
            for info in opened:
                if not info.isdir():
                    member = Member(tar, info.name, info.offset_data, info.size)
                    reason = _unusable(info)
                    yield BrokenFace(member, reason) if reason else member
            at = opened.offset
            file.seek(at)
            if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes a damaged header for the end
                raise FacemixError(
                    f"{tar}: cut off or damaged at byte {at}, expected another member or the end of the tar; copy it "
                    "again"
                )
    except tarfile.TarError as error:
        raise FacemixError(
            f"{tar}: not a tar that can be read ({error}); expected an uncompressed one, whole: decompress it, or copy "
            "it again"
        ) from None


def _unusable(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return f"a link to {info.linkname!r}, expected a plain file; pack the file itself"
    if not info.isreg() or info.issparse():
        return "a sparse file or a device, expected a plain file; pack it with the format ustar"
    parts = PurePosixPath(info.name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in info.name or not info.name.isprintable():
        return "a name that leads out of a folder, or is none; expected a plain one"
    return None


def write(path: Path, content: Iterable[tuple[str, bytes]]) -> None:
    """Writes a tar, whole; of the same names and bytes, in the same order, come the same bytes.

    It is of the format ustar. Nobody owns its members, and they have no time.

    Raises:
        OSError: the disk is full or read-only; a former tar is untouched.
    """
    with whole_file(path) as beside, beside.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in content:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        file.flush()
        os.fsync(file.fileno())  # what it was made of may be deleted next
