"""The published points ranked without a photograph."""

from pathlib import Path

import numpy as np
import pytest

import toy_script
from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.sweeps import known, tables

GRID = Path(__file__).parents[1] / "docs/grid/points.csv"
script = toy_script.loaded("scripts/rank_points.py")


def test_strategies_at_one_number_of_real_faces_are_ranked_beside_what_saw_as_many() -> None:
    rows = {row["strategy"]: row for row in script.ranked(GRID, 100, 1000, schemes.load("ibug68"))}
    points, _ = tables.at_best_settings([one.result for one in known.read_points(GRID)])
    points = [one for one in points if one.n_synthetic in (0, 1000)]
    for name, row in rows.items():
        own = [one for one in points if one.point.strategy == name]
        own = [one for one in own if dict(one.point.settings).get("n_real", 100) == 100]
        own = [one for one in own if dict(one.point.settings).get("alpha", 0.5) == 0.5]
        assert row["test_nme"] == pytest.approx(np.mean([one.test_nme for one in own]))
        assert row["fr8"] == pytest.approx(np.mean([one.failures[1] for one in own]))
    assert rows["mixing"]["compared_with"] == "control" and rows["label_adaptation"]["compared_with"] == "real_only"
    mixing, control = rows["mixing"], rows["control"]
    assert mixing["difference"] == pytest.approx(mixing["test_nme"] - control["test_nme"])
    assert list(rows) == sorted(rows, key=lambda name: rows[name]["test_nme"])
    printed = script.table(list(rows.values())).splitlines()
    assert len(printed) == 2 + len(rows) and len({line.count("|") for line in printed}) == 1
    assert sum(line.startswith("| `mixing`, alpha = 0.5 |") for line in printed) == 1


def test_a_number_that_was_not_swept_is_said() -> None:
    with pytest.raises(FacemixError, match=r"--n-real: found 7, expected one of 50, 100, .*1709"):
        script.ranked(GRID, 7, None, schemes.load("ibug68"))


def test_without_the_errors_of_single_faces_nothing_is_ranked(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes(GRID.read_bytes())
    with pytest.raises(FacemixError, match=r"found no errors of single faces; put errors.parquet beside points.csv"):
        script.ranked(tmp_path / "points.csv", 100, None, schemes.load("ibug68"))


def test_the_number_of_synthetic_faces_is_chosen_among_those_at_the_number_of_real_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mixes at 100 real faces have others than those at 250 and 1709, which are more."""
    header, *rows = GRID.read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    changed = []
    for row in rows:
        one = dict(zip(columns, row.split(","), strict=True))
        if one["n_synthetic"] not in ("", "1000"):
            continue
        if one["n_real"] == "100" and one["n_synthetic"]:
            one["n_synthetic"] = "3000"
        changed.append(",".join(one.values()))
    (tmp_path / "points.csv").write_text("\n".join([header, *changed]), encoding="utf-8")
    (tmp_path / "errors.parquet").symlink_to(GRID.with_name("errors.parquet"))
    path, scheme = tmp_path / "points.csv", schemes.load("ibug68")
    named = {row["strategy"] for row in script.ranked(path, 100, None, scheme)}
    assert "mixing" in named and "synthetic_only" not in named
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "of 3,000 synthetic faces; for --n-synthetic there are also 1,000"
    assert "control with 100 real faces: training.learning_rate = 0.04, best of 3 on validation" in said
    others = {row["strategy"] for row in script.ranked(path, 100, 1000, scheme)}
    assert "mixing" not in others and "synthetic_only" in others
    with pytest.raises(FacemixError, match="--n-synthetic: found 7, expected one of 1000, 3000 at 100 real ones"):
        script.ranked(path, 100, 7, scheme)


def test_tries_that_cannot_be_compared_are_refused_with_the_file(tmp_path: Path) -> None:
    header, *rows = GRID.read_text(encoding="utf-8").splitlines()
    swept = [f"{header},training.warmup_steps", *(f"{row},{120 + i}" for i, row in enumerate(rows))]
    (tmp_path / "points.csv").write_text("\n".join(swept), encoding="utf-8")
    with pytest.raises(FacemixError, match=r"points.csv: .*: found values of .*training.warmup_steps without a common"):
        script.ranked(tmp_path / "points.csv", 100, None, schemes.load("ibug68"))


def test_alphas_to_choose_among_have_the_same_seeds(tmp_path: Path) -> None:
    header, *rows = GRID.read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if not row.startswith(("mixing,0.25,100,1", "mixing,0.25,100,2"))]
    assert len(kept) == len(rows) - 2
    (tmp_path / "points.csv").write_text("\n".join([header, *kept]), encoding="utf-8")
    (tmp_path / "errors.parquet").symlink_to(GRID.with_name("errors.parquet"))
    with pytest.raises(FacemixError, match=r"found seeds 0 at 0.25; 0, 1, 2 at 0.5 of alpha, expected the same seeds"):
        script.ranked(tmp_path / "points.csv", 100, 1000, schemes.load("ibug68"))


def test_columns_that_are_no_settings_do_not_count(tmp_path: Path) -> None:
    header, *rows = GRID.read_text(encoding="utf-8").splitlines()
    noted = [f"{header},note", *(f"{row},line {i}" for i, row in enumerate(rows))]
    (tmp_path / "points.csv").write_text("\n".join(noted), encoding="utf-8")
    (tmp_path / "errors.parquet").symlink_to(GRID.with_name("errors.parquet"))
    scheme = schemes.load("ibug68")
    assert script.ranked(tmp_path / "points.csv", 50, None, scheme) == script.ranked(GRID, 50, None, scheme)


def test_points_at_one_value_of_a_setting_are_ranked_alone(capsys: pytest.CaptureFixture[str]) -> None:
    key, scheme = "training.learning_rate", schemes.load("ibug68")
    rows = {row["strategy"]: row for row in script.ranked(GRID, 100, 1000, scheme, [f"{key}=0.02"])}
    points = [one.result for one in known.read_points(GRID)]
    control = [
        one.test_nme
        for one in points
        if one.point.strategy == "control" and {("n_real", 100), (key, 0.02)} <= set(one.point.settings)
    ]
    assert rows["control"]["test_nme"] == pytest.approx(np.mean(control))
    assert "control with 100 real faces: the usual settings, the only ones tried" in capsys.readouterr().err
    with pytest.raises(FacemixError, match=r"--at: found training.learning_rate=7, expected one of 0.02, 0.04, 0.08"):
        script.ranked(GRID, 100, 1000, scheme, [f"{key}=7"])
    with pytest.raises(FacemixError, match=r"--at: found training.decay=7, expected a key that was swept"):
        script.ranked(GRID, 100, 1000, scheme, ["training.decay=7"])
    with pytest.raises(FacemixError, match=r"--at: found training.learning_rate=0.02,0.04, expected one of 0.02"):
        script.ranked(GRID, 100, 1000, scheme, [f"{key}=0.02,0.04"])
