"""Finished trainings are kept as they were measured."""

from pathlib import Path

import numpy as np
import pytest

from facemix.benchmarks import records
from facemix.benchmarks.halves import Errors
from facemix.benchmarks.records import Finished, Row

ERRORS = Errors(
    photos=np.array(["300w/a", "300w/b"]),
    synthetic_only=np.array([4.5, 1 / 3]),
    label_adaptation=np.array([4.0, 0.1]),
    steps=(240, 480),
    epochs=(0, 7),
)
ONE, OTHER = (Finished(Row("ours", 100, 480, seed, 4.5, 4.1, f"abc{seed}"), ERRORS) for seed in (0, 1))


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "results" / "realism.csv"
    assert records.read(path) == []
    records.append(path, ONE)
    records.append(path, OTHER)
    assert records.read(path) == [ONE.row, OTHER.row]
    found = records.with_errors(path, OTHER.row)
    assert found.row == OTHER.row
    assert (found.errors.steps, found.errors.epochs) == ((240, 480), (0, 7))
    for name in ("photos", "synthetic_only", "label_adaptation"):
        assert getattr(found.errors, name).tolist() == getattr(ERRORS, name).tolist()
    faces = sorted(file.name for file in (tmp_path / "results" / "realism_faces").iterdir())
    assert faces == ["abc0.npz", "abc1.npz"]


def test_columns_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("set,n,seed,synthetic_only,label_adaptation,training\nours,100,0,4.5,4.1,abc\n")
    with pytest.raises(ValueError, match="found the columns set, n, seed, .*, expected set, n, steps, .*another file"):
        records.read(path)


@pytest.mark.parametrize(("content", "word"), [(None, "not found"), (b"torn", "damaged")])
def test_errors_that_are_not_there_are_named(content: bytes | None, word: str, tmp_path: Path) -> None:
    path = tmp_path / "realism.csv"
    records.append(path, ONE)
    file = records.faces_path(path, "abc0")
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=f"abc0.npz: {word}.*ours, n 100, seed 0; put the file back, or delete the"):
        records.with_errors(path, ONE.row)
