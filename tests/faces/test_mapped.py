from pathlib import Path

import numpy as np
import pytest

from facemix.faces import mapped


def test_memory_that_is_given_back_can_be_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.arange(5000))
    numbers = np.load(tmp_path / "numbers.npy", mmap_mode="r")
    for array in (numbers, numbers[2000:4000], np.zeros(3)):
        mapped.release(array)
    np.testing.assert_array_equal(numbers, np.arange(5000))


def test_an_array_on_disk_is_written_to_and_read() -> None:
    room = mapped.on_disk("numbers", (4, 2), np.float32)
    assert not room.any()
    for part in mapped.parts(4, 3):
        room[part] = part.start
        mapped.release(room)
    assert room[:, 0].tolist() == [0, 0, 0, 3]
    assert mapped.on_disk("nothing", (0, 2), np.float32).shape == (0, 2)


def test_some_rows_are_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.arange(200).reshape(100, 2))
    numbers = np.load(tmp_path / "numbers.npy", mmap_mode="r")
    for rows in (np.arange(99, 0, -2), np.zeros(0, np.int64)):
        found = mapped.take(numbers, rows)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, numbers[rows])


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "", "längere"]),
        np.arange(3, dtype=np.int64),
        np.arange(6, dtype=np.float64).reshape(3, 2),
        np.array([[True], [False], [True]]),
    ],
)
def test_a_column_comes_back_as_it_was(values: np.ndarray, tmp_path: Path) -> None:
    mapped.write_columns(tmp_path / "columns.arrow", {"first": np.zeros(3, np.uint8), "own": values})
    found = mapped.read_columns(tmp_path / "columns.arrow")["own"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
