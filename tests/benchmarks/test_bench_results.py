import re

import pytest

from facemix.benchmarks import results
from facemix.errors import FacemixError


def test_a_made_up_sweep_is_read_and_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "COUNTS", (100, 200))
    monkeypatch.setattr(results, "PER_SEED", 10)
    results.results(results.PER_SEED, faces=12)
    printed = capsys.readouterr().out
    assert len(re.findall(r" \d+\.\d \(\d+\.\d\)$", printed, re.MULTILINE)) == 5


@pytest.mark.parametrize(
    ("points", "faces", "key"), [(70, 1000, "--points 70"), (0, 1000, "--points 0"), (50, 3, "--faces 3")]
)
def test_other_sizes_are_refused(points: int, faces: int, key: str) -> None:
    with pytest.raises(FacemixError, match=key):
        results.results(points, faces)
