"""Points of several sweeps, united from their files alone."""

from dataclasses import replace
from pathlib import Path

import pytest

import toy_script
from facemix.errors import FacemixError
from facemix.files import write_table
from facemix.sweeps import known, results, tables
from facemix.sweeps.grid import Point, Result

ROOT = Path(__file__).parents[1]
GRID = ROOT / "docs/grid/points.csv"
script = toy_script.loaded("scripts/unite_points.py")


def write(folder: Path, found: list[Result]) -> Path:
    folder.mkdir()
    rows = tables.table(found, 0)
    write_table(folder / "points.csv", rows)
    results.write_errors(folder / "errors.parquet", rows, found)
    return folder / "points.csv"


@pytest.fixture(scope="module")
def published() -> list[Result]:
    found: list[Result] = script.united([GRID])
    return found


def test_parts_of_a_grid_are_the_grid_again(
    published: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results.plots, "worth_by_part", lambda path, *_: path.write_bytes(b""))
    half = len(published) // 2
    files = [write(tmp_path / "a", published[: half + 2]), write(tmp_path / "b", published[half - 2 :])]
    script.main(files)
    again = known.read(Path("reports/sweep/points.csv"))
    assert again.keys() == {one.digest for one in published}
    assert all(one.result.errors is not None for one in again.values())
    assert Path("reports/sweep/n_real.png").exists() and Path("reports/sweep/worth.csv").exists()
    assert script.united([Path("reports/sweep/points.csv")])[0].point == published[0].point


def test_a_point_without_its_errors_takes_them_from_another_file(published: list[Result], tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", published)
    alone.with_name("errors.parquet").unlink()
    assert all(one.errors is not None for one in script.united([alone, GRID]))
    assert all(one.errors is None for one in script.united([alone]))


def test_a_training_that_is_two_points_stays_two(published: list[Result], tmp_path: Path) -> None:
    alone = next(
        one for one in published if one.point == Point(strategy="real_only", seed=0, settings=(("n_real", 1709),))
    )
    mixed = replace(alone, point=Point(strategy="mixing", seed=0, settings=(("alpha", 0.0), ("n_real", 1709))))
    found = script.united([write(tmp_path / "both", [alone, mixed]), GRID])
    assert len(found) == len(published) + 1
    assert [one.point for one in found if one.digest == alone.digest] == [alone.point, mixed.point]


def test_different_figures_of_one_digest_are_refused(published: list[Result], tmp_path: Path) -> None:
    other = write(tmp_path / "other", [replace(published[0], val_nme=9.0), *published[1:]])
    with pytest.raises(FacemixError, match=r"grid/points.csv and .*other/points.csv: found different figures of one"):
        script.united([GRID, other])


def test_the_published_points_are_of_three_seeds_each(published: list[Result]) -> None:
    seeds: dict[tuple[str, object], set[int]] = {}
    for one in published:
        seeds.setdefault((one.point.strategy, one.point.settings), set()).add(one.point.seed)
    assert set(map(frozenset, seeds.values())) == {frozenset({0, 1, 2})}
