"""Arrays that stay on disk: tables of columns that are memory-mapped, and memory that is given back."""

import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError

_AT_ONCE = 16  # rows; the system may map a megabyte around each


def write_columns(file: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays of equal length, of any type whose values have one size, to be mapped by `read_columns`.

    It is an Arrow file. The type of a column is kept as that of numpy, in the metadata of its field.
    """
    import pyarrow

    arrays, fields = [], []
    for name, values in columns.items():
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        kind = pyarrow.binary(flat.shape[1] * flat.itemsize)
        metadata = {"dtype": flat.dtype.str, "values": str(flat.shape[1]) if values.ndim > 1 else ""}
        arrays.append(pyarrow.FixedSizeBinaryArray.from_buffers(kind, len(flat), [None, pyarrow.py_buffer(flat)]))
        fields.append(pyarrow.field(name, kind, nullable=False, metadata=metadata))
    schema = pyarrow.schema(fields)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def read_columns(file: Path) -> dict[str, npt.NDArray[Any]]:
    """What `write_columns` wrote: memory maps (n,) or (n, values), read-only."""
    import pyarrow

    whole = pyarrow.memory_map(str(file)).read_buffer()
    batch = pyarrow.ipc.open_file(whole).get_batch(0)
    found: dict[str, npt.NDArray[Any]] = {}
    for field_, column in zip(batch.schema, batch.columns, strict=True):
        values = field_.metadata[b"values"]
        shape = (len(column), int(values)) if values else (len(column),)
        offset = column.buffers()[1].address - whole.address
        found[field_.name] = np.memmap(file, np.dtype(field_.metadata[b"dtype"].decode()), "r", offset, shape)
    return found


def reserve(path: Path) -> None:
    """Takes a file's space now: a memory map on a full disk would end the process by a bus error, not a message."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def on_disk(what: str, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Room for an array in a file that goes with it, so that it takes no memory.

    Args:
        what: is to go there, for messages.

    Raises:
        FacemixError: the folder of temporary files has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # on a full disk the map would end the process
        except OSError as error:
            raise FacemixError(
                f"{tempfile.gettempdir()}: no room for {what} ({error.strerror}), expected {size / 2**30:.1f} GiB; set "
                "TMPDIR to a folder that has it"
            ) from None
        return np.memmap(file, dtype, "r+", shape=shape)


def parts(n: int, at_once: int) -> Iterator[slice]:
    """The rows 0 to n - 1, some at once."""
    return (slice(start, min(start + at_once, n)) for start in range(0, n, at_once))


def take(array: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """A copy of some rows (n, ...) of a memory map; few of them are in memory at a time, as each brings many others."""
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for part in parts(len(rows), _AT_ONCE):
        found[part] = array[rows[part]]
        release(array)
    return found


def release(array: npt.NDArray[Any]) -> None:
    """Gives the memory of what was read or written back to the system, so that what is in use does not grow.

    The system keeps it as cache while it has room, and reading again brings it back. Arrays that are no memory map
    stay as they are.
    """
    base: object = array
    while isinstance(base, np.ndarray):  # a part of a memory map is based on the map
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
