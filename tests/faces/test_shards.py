from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facemix.faces import shards
from facemix.faces.shards import Shards

COUNTS = [3, 1, 0, 4]
N = sum(COUNTS)
ONE = np.random.default_rng(0).integers(0, 256, (N, 5, 5, 3), dtype=np.uint8)


@pytest.fixture
def several(tmp_path: Path) -> Shards:
    return in_files(tmp_path)


def in_files(folder: Path) -> Shards:
    files = [folder / f"{place}.npy" for place in range(len(COUNTS))]
    for file, part in zip(files, np.split(ONE, np.cumsum(COUNTS)[:-1]), strict=True):
        np.save(file, part)
    return Shards(files, COUNTS, 5)


ROWS = st.integers(-N, N - 1)
KEYS = st.one_of(
    ROWS,
    ROWS.map(np.int64),
    st.slices(N),
    st.lists(ROWS),
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4), elements=ROWS),
    hnp.arrays(np.bool_, N),
)


@given(key=KEYS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shards_give_what_one_array_gives(key: object, several: Shards) -> None:
    found, expected = several[key], ONE[key]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("key", [N, -N - 1, [0, N], [-N - 1], np.ones(N - 1, bool), [0.5]])
def test_what_is_no_row_of_one_array_is_none_of_shards(key: object, several: Shards) -> None:
    for images in (several, ONE):
        with pytest.raises(IndexError):
            images[key]


def test_looping_over_shards_ends(several: Shards) -> None:
    assert len(list(several)) == len(several) == N


@given(rows=hnp.arrays(np.int64, st.integers(0, 6), elements=st.integers(0, N - 1)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_crops_are_taken_straight_into_an_array(rows: np.ndarray, several: Shards) -> None:
    for images in (several, ONE):
        out = np.zeros((len(rows), 5, 5, 3), np.uint8)
        shards.take(images, rows, out)
        np.testing.assert_array_equal(out, ONE[rows])


def test_more_shards_than_may_be_open_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN", 2)
    few = in_files(tmp_path)
    np.testing.assert_array_equal(few[np.arange(N)[::-1]], ONE[::-1])
    assert few._opened.cache_info().currsize == 2


def test_a_file_is_open_while_it_is_read_though_nobody_else_has_it(
    several: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for the second of two threads that open a file at once: the cache keeps that of the first.
    monkeypatch.setattr(several, "_opened", several._opened.__wrapped__)
    np.testing.assert_array_equal(several[:], ONE)


def test_a_file_that_was_cut_off_since_is_said(several: Shards, tmp_path: Path) -> None:
    with (tmp_path / "0.npy").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(OSError, match="0.npy: ended early"):
        several[2]


def test_not_all_crops_are_read_by_mistake(several: Shards) -> None:
    with pytest.raises(TypeError, match="every crop"):
        np.asarray(several)


def test_files_of_other_crops_are_refused(tmp_path: Path) -> None:
    in_files(tmp_path)
    with pytest.raises(ValueError, match=r"0.npy holds uint8 \(3, 5, 5, 3\), expected uint8 \(2, 5, 5, 3\)"):
        Shards([tmp_path / "0.npy"], [2], 5)
    np.save(tmp_path / "0.npy", ONE[:2].astype(np.float32))
    with pytest.raises(ValueError, match=r"holds float32 \(2, 5, 5, 3\)"):
        Shards([tmp_path / "0.npy"], [2], 5)
