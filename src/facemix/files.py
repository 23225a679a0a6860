"""Files and folders that appear whole or not at all: written beside, then renamed."""

import csv
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; what is there takes the place of `path` when the block ends well.

    Raises:
        OSError: the disk is full or read-only; a former file is untouched.
    """
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise _failure(path, beside, error) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `folder` when the block ends well.

    Raises:
        OSError: the disk is full or read-only; a former folder is untouched.
    """
    beside, former = _beside(folder), folder.with_name(f".{folder.name}.{os.getpid()}.former")
    try:
        beside.mkdir(parents=True)
        yield beside
        if folder.exists():
            folder.rename(former)
        beside.rename(folder)
    except OSError as error:
        raise _failure(folder, beside, error) from error
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)  # stopped between both renames
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of any filesystem that fsspec knows, such as an object in S3: what a training needs of a Path."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def with_suffix(self, suffix: str) -> "RemoteFile":
        folder, _, name = self.url.rpartition("/")
        return RemoteFile(f"{folder}/{Path(name).with_suffix(suffix)}")

    def exists(self) -> bool:
        filesystem, path = self._place()
        return bool(filesystem.exists(path))

    def read_bytes(self) -> bytes:
        filesystem, path = self._place()
        content: bytes = filesystem.cat_file(path)
        return content

    def write_bytes(self, content: bytes) -> None:
        """Writes the whole file: until then a former one stays.

        Raises:
            OSError: it could not be written.
        """
        filesystem, path = self._place()
        try:
            with filesystem.transaction, filesystem.open(path, "wb") as file:
                file.write(content)
        except Exception as error:  # each filesystem has errors of its own
            raise OSError(f"{self}: could not be written ({error}); nothing was changed") from error

    def unlink(self, missing_ok: bool = False) -> None:
        filesystem, path = self._place()
        try:
            filesystem.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _place(self) -> tuple[Any, str]:
        import fsspec

        # Others write there too: what was listed once says nothing.
        filesystem, path = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        return filesystem, path


File = Path | RemoteFile


def write_bytes(path: File, content: bytes) -> None:
    """Writes a file, whole.

    Raises:
        OSError: it could not be written; a former file is untouched.
    """
    if isinstance(path, RemoteFile):
        path.write_bytes(content)
        return
    with whole_file(path) as beside:
        beside.write_bytes(content)


def check_remote_folder(url: str, key: str) -> None:
    """Writes a small file to a folder of a filesystem that fsspec knows, and deletes it.

    Args:
        url: of the folder.
        key: by which the user named it.

    Raises:
        FacemixError: no filesystem for its scheme is installed, or it cannot be written to; says why.
    """
    scheme, probe = url.partition("://")[0], RemoteFile(f"{url.rstrip('/')}/.facemix-{uuid.uuid4().hex[:12]}")
    try:
        probe.write_bytes(b"facemix")
        probe.unlink(missing_ok=True)
    except (ImportError, ValueError) as error:
        with_s3 = "; run `pip install -c constraints.txt -e '.[s3]'`" if scheme == "s3" else ""
        raise FacemixError(f"{key}: {url}: nothing is installed for {scheme}:// ({error}){with_s3}") from None
    except Exception as error:
        cause = error.__cause__ or error
        if "Credential" in type(cause).__name__:
            advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
        elif isinstance(cause, FileNotFoundError):
            advice = f"make {url.partition('://')[2].partition('/')[0] or url!r} first, or name another place"
        elif isinstance(cause, PermissionError):
            advice = "these credentials may not write there"
        else:
            advice = "look at its address (AWS_ENDPOINT_URL), or use a folder"
        raise FacemixError(f"{key}: {url}: cannot be written to ({str(cause).rstrip('.')}); {advice}") from None


@contextmanager
def file_lock(path: Path) -> Iterator[Path]:
    """Keeps two processes from the same work at the same time: the second waits for the first.

    What a killed process had half written beside it is deleted. The lock is inheritable: a child that gets open files
    holds it too, also when its parent is killed.

    Args:
        path: what is worked on, a file or folder; beside it stays `STEM.lock`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with lock.open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process holds the lock {lock}; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{path.name}.*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield path


def _failure(path: Path, beside: Path, error: OSError) -> OSError:
    if error.filename is not None:
        blamed = Path(os.fsdecode(error.filename))
        if blamed != path and not blamed.is_relative_to(beside) and not beside.is_relative_to(blamed):
            return error  # of another file, which is read while this one is written
    return OSError(error.errno, f"{path}: could not be written ({error.strerror or error}); nothing was changed")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, whatever the locale, without the byte order mark that Excel writes.

    Raises:
        FacemixError: it is in another encoding.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise FacemixError(f"{path}: line {line} is not UTF-8; save the file in that encoding") from None


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> None:
    """Writes rows of equal keys as CSV with a header.

    Args:
        columns: the keys, where there may be no rows.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns or rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
