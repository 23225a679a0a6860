import numpy as np
import pytest

from facemix import config
from facemix.benchmarks import leaks


def measured(faces: int) -> leaks.Measured:
    """Cutting takes 1 ms a face, searching 1 us a pair, registering both; twice as much of CPU time."""
    parts = np.array([1e-3 * faces, 1e-6 * leaks.pairs(faces // 2, faces), 0])
    parts[2] = parts[:2].sum()
    return leaks.Measured(faces=faces, seconds=np.stack([parts, 2 * parts]), candidates=7, peak=300.0)


def test_seconds_a_face_and_a_pair_are_told_apart() -> None:
    found = [measured(faces) for faces in (100, 200, 400)]
    expected = 2 * (1e-3 * 5000 + 1e-6 * leaks.pairs(1000, 5000))
    assert leaks.extrapolated(found, 0, 1000, 5000) == pytest.approx(expected)
    assert leaks.extrapolated(found, 1, 1000, 5000) == pytest.approx(2 * expected)
    assert leaks.table(found).count("300 MiB") == 3


def test_pairs_are_counted_once_and_as_mirror_images() -> None:
    assert leaks.pairs(2, 4) == 2 * len({(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)})


def test_made_up_faces_are_alike_as_often_as_faces_are() -> None:
    found = leaks.measure(72, 1200)
    assert 1e-6 < found.candidates / found.pairs < 1e-4
    assert found.peak > 0


def test_too_few_faces_tell_nothing(params: config.Params) -> None:
    with pytest.raises(ValueError, match="--faces 100: expected at least 400"):
        leaks.leaks(params, 100)
