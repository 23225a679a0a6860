"""Files and folders that appear whole or not at all: written beside, then renamed."""

import csv
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

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
    """The text of a file in UTF-8, whatever the locale.

    Raises:
        FacemixError: it is in another encoding.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
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
