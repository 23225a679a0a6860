"""The published points ranked without a photograph."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toy_script
from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.sweeps import known
from facemix.sweeps.grid import Result

GRID = Path(__file__).parents[1] / "docs/grid/points.csv"
script = toy_script.loaded("scripts/rank_points.py")


def test_strategies_at_one_number_of_real_faces_are_ranked_beside_what_saw_as_many() -> None:
    rows = {row["strategy"]: row for row in script.ranked(GRID, 100, 1000, schemes.load("ibug68"))}
    points = [one.result for one in known.read_points(GRID) if one.result.n_synthetic in (0, 1000)]
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
    with pytest.raises(FacemixError, match=r"--n-real: found 7, expected one of (50, )?100, 250, 1709"):
        script.ranked(GRID, 7, None, schemes.load("ibug68"))


def test_without_the_errors_of_single_faces_nothing_is_ranked(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes(GRID.read_bytes())
    with pytest.raises(FacemixError, match=r"found no errors of single faces; put errors.parquet beside points.csv"):
        script.ranked(tmp_path / "points.csv", 100, None, schemes.load("ibug68"))


def test_trainings_of_several_settings_are_not_averaged(tmp_path: Path) -> None:
    header, *rows = GRID.read_text(encoding="utf-8").splitlines()
    swept = [f"{header},training.steps", *(f"{row},{2400 * (1 + i % 2)}" for i, row in enumerate(rows))]
    (tmp_path / "points.csv").write_text("\n".join(swept), encoding="utf-8")
    with pytest.raises(FacemixError, match=r"points.csv: found several values of training.steps, expected one"):
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
    assert capsys.readouterr().err == "of 3,000 synthetic faces; for --n-synthetic there are also 1,000\n"
    others = {row["strategy"] for row in script.ranked(path, 100, 1000, scheme)}
    assert "mixing" not in others and "synthetic_only" in others
    with pytest.raises(FacemixError, match="--n-synthetic: found 7, expected one of 1000, 3000 at 100 real ones"):
        script.ranked(path, 100, 7, scheme)


# --- Each strategy at its own settings ---


def tried(rate: float, better: float = 0.0, seeds: Sequence[int] = (0, 1, 2)) -> list[Result]:
    """The published points with 100 real faces, as trained at another learning rate."""
    points = [one.result for one in known.read_points(GRID)]
    points = [one for one in points if one.point.seed in seeds and one.n_synthetic in (0, 1000)]
    return [
        replace(
            one,
            point=replace(one.point, settings=(*one.point.settings, ("training.learning_rate", rate))),
            val_nme=one.val_nme - better,
        )
        for one in points
        if dict(one.point.settings).get("n_real", 100) == 100 and dict(one.point.settings).get("alpha", 0.5) == 0.5
    ]


def control_of(found: Sequence[Result]) -> list[Result]:
    return [one for one in found if one.point.strategy == "control"]


def test_each_strategy_stands_at_its_best_settings_on_validation(capsys: pytest.CaptureFixture[str]) -> None:
    usual = tried(0.02)
    assert script.at_best_settings([*usual, *tried(0.04, -0.1)]) == usual
    assert script.at_best_settings([*tried(0.04, -0.1, seeds=[0]), *usual]) == usual  # the best has all seeds
    better = control_of(tried(0.04, 0.1))
    others = [one for one in usual if one.point.strategy != "control"]
    assert script.at_best_settings([*usual, *better]) == [*others, *better]
    said = capsys.readouterr().err
    assert "mixing: best of 2 on validation: alpha = 0.5, training.learning_rate = 0.02\n" in said
    assert said.endswith("control: best of 2 on validation: training.learning_rate = 0.04\n")


def test_settings_that_are_words_are_tried_too(capsys: pytest.CaptureFixture[str]) -> None:
    usual = control_of(tried(0.02))
    words = [replace(one, point=replace(one.point, settings=(("model.weights", "timm"),))) for one in usual]
    assert script.at_best_settings(words) == words
    assert capsys.readouterr().err == "control: best of 1 on validation: model.weights = timm\n"


@pytest.mark.parametrize(
    ("tries", "message"),
    [
        (tried(0.04, 0.1, seeds=[0]), r"found training.learning_rate = 0.04 best .* not trained with seed 1 and 2"),
        ([replace(one, faces_seen=5) for one in tried(0.04)], "control: found tries that saw 5 and 153,600 faces"),
        (
            [replace(one, point=replace(one.point, seed=7)) for one in tried(0.04)],
            "control: found tries without a common seed",
        ),
    ],
)
def test_tries_that_cannot_be_compared_are_refused(tries: list[Result], message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        script.at_best_settings([*control_of(tried(0.02)), *control_of(tries)])


def test_the_published_tries_are_as_many_for_each_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    tries = GRID.parent / "tuning/points.csv"
    rows = script.ranked(tries, 100, None, schemes.load("ibug68"), tuned=True)
    assert {row["seeds"] for row in rows} == {3}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(rows) and all(": best of 3 on validation: " in line for line in said)
    mixing = next(row for row in rows if row["strategy"] == "mixing")
    assert (mixing["compared_with"], mixing["verdict"]) == ("control", "better")
