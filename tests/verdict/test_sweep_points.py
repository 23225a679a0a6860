"""A finished sweep's files, read; whatever is wrong with them is said."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

import toy_sweep
from facemix.errors import FacemixError
from facemix.verdict import points


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mixes = [
        toy_sweep.point("synthetic_only", 0, 300),
        *(toy_sweep.point("real_only", n) for n in (50, 100)),
        toy_sweep.point("mixing", 100, 300, alpha=0.0),
        toy_sweep.point("mixing", 100, 300, alpha=0.5),
    ]
    toy_sweep.write(tmp_path, mixes)
    return tmp_path


def change(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def test_mixes_have_their_numbers_of_faces_and_the_errors_behind_their_test_nme(folder: Path) -> None:
    swept = points.read(folder, None)
    found = [(one.strategy, one.alpha, one.n_real, one.n_synthetic) for one in swept.mixes]
    assert found == [
        ("synthetic_only", None, 0, 300),
        ("real_only", None, 50, 0),
        ("real_only", None, 100, 0),
        ("mixing", 0.5, 100, 300),  # at alpha = 0 it is real_only
    ]
    assert swept.seeds == (0, 1, 2)
    for one in swept.mixes:
        assert one.errors.shape == (3, len(swept.photos))
        assert one.val_nme == pytest.approx(one.test_nme + 0.5, abs=1e-4)
    assert "other" not in swept.photos  # faces of another subset stand in the file and count in no NME


def test_seeds_that_not_all_mixes_have_are_left_out(folder: Path) -> None:
    lines = (folder / "points.csv").read_text(encoding="utf-8").splitlines()
    (folder / "points.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    swept = points.read(folder, None)
    assert swept.seeds == (0, 1)
    assert {len(one.errors) for one in swept.mixes} == {2}


def test_a_number_of_synthetic_faces_that_was_not_swept_is_what_the_caller_says(folder: Path) -> None:
    change(folder / "points.csv", ",300,", ",,")
    table = parquet.read_table(folder / "errors.parquet").drop_columns("n_synthetic")
    parquet.write_table(table, folder / "errors.parquet")
    assert [one.n_synthetic for one in points.read(folder, 1300).mixes] == [1300, 0, 0, 1300]
    with pytest.raises(FacemixError, match=r"found no number of synthetic faces .* set n_synthetic in params.yaml"):
        points.read(folder, None)


def test_a_number_of_synthetic_faces_that_only_the_points_name_is_read(folder: Path) -> None:
    table = parquet.read_table(folder / "errors.parquet").drop_columns("n_synthetic")
    parquet.write_table(table, folder / "errors.parquet")
    assert [one.n_synthetic for one in points.read(folder, None).mixes] == [300, 0, 0, 300]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val_nme", "nme", r"points.csv: found no column val_nme, expected what `facemix sweep` writes"),
        ("real_only", "real_alone", "line 5: found strategy 'real_alone', expected one of synthetic_only"),
        (",100,", ",many,", "line 8: found n_real 'many', expected a number from 1"),
        (",100,", ",-100,", "line 8: found n_real '-100', expected a number from 1"),
        (",100,", ",,", "line 8: found n_real '', expected a number from 1"),
        ("real_only,,", "real_only,0.5,", "line 5: found alpha '0.5' of real_only, expected none"),
        ("mixing,0.5", "mixing,1.5", "line 14: found alpha '1.5', expected a number from 0 to 1"),
        ("mixing,0.5", "mixing,", "line 14: found alpha '', expected"),
    ],
)
def test_points_that_a_sweep_does_not_write_are_refused(folder: Path, old: str, new: str, message: str) -> None:
    change(folder / "points.csv", old, new)
    with pytest.raises(FacemixError, match=message):
        points.read(folder, None)


def test_figures_that_are_no_numbers_are_refused(folder: Path) -> None:
    lines = (folder / "points.csv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",")
    fields = lines[1].split(",")
    fields[header.index("val_nme")] = "nan"
    (folder / "points.csv").write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]), encoding="utf-8")
    with pytest.raises(FacemixError, match="line 2: found val_nme 'nan', expected a number"):
        points.read(folder, None)


def test_a_training_that_stands_there_twice_is_refused(folder: Path) -> None:
    lines = (folder / "points.csv").read_text(encoding="utf-8").splitlines()
    (folder / "points.csv").write_text("\n".join([*lines, lines[4]]), encoding="utf-8")
    with pytest.raises(FacemixError, match="found strategy real_only, n_real 50, seed 0 twice, expected it once"):
        points.read(folder, None)


def test_the_order_of_rows_does_not_matter(folder: Path) -> None:
    expected = points.read(folder, None)
    table = parquet.read_table(folder / "errors.parquet")
    order = np.random.default_rng(0).permutation(len(table))
    parquet.write_table(table.take(order), folder / "errors.parquet")
    found = points.read(folder, None)
    assert [one.test_nme for one in found.mixes] == [one.test_nme for one in expected.mixes]
    assert sorted(found.photos) == sorted(expected.photos)


def test_no_sweep_is_said_with_the_command_that_makes_one(folder: Path) -> None:
    (folder / "errors.parquet").unlink()
    with pytest.raises(FacemixError, match=r"errors.parquet: not found, .* run the same sweep again"):
        points.read(folder, None)
    (folder / "points.csv").unlink()
    with pytest.raises(FacemixError, match=r"points.csv: not found, .* run `facemix sweep n_real=25,50"):
        points.read(folder, None)


def test_errors_that_are_not_those_of_the_points_are_refused(folder: Path) -> None:
    table = parquet.read_table(folder / "errors.parquet")
    where = table.column_names.index("nme")
    parquet.write_table(
        table.set_column(where, "nme", [table["nme"].to_numpy() * np.float32(1.1)]), folder / "errors.parquet"
    )
    with pytest.raises(FacemixError, match=r"found other errors than those of which points.csv holds the mean"):
        points.read(folder, None)
    parquet.write_table(table.slice(0, len(table) - 41), folder / "errors.parquet")
    with pytest.raises(FacemixError, match="for strategy mixing, alpha 0.5"):
        points.read(folder, None)
    (folder / "errors.parquet").write_bytes(b"nothing")
    with pytest.raises(FacemixError, match="not what a sweep writes"):
        points.read(folder, None)


def test_errors_without_a_row_are_said(tmp_path: Path) -> None:
    toy_sweep.write(tmp_path, [toy_sweep.point("real_only", n) for n in (50, 100)])
    table = parquet.read_table(tmp_path / "errors.parquet")
    parquet.write_table(table.slice(0, 0), tmp_path / "errors.parquet")
    with pytest.raises(FacemixError, match=r"errors.parquet: found no rows, expected .* run the same sweep again"):
        points.read(tmp_path, None)


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    toy_sweep.write(tmp_path, [toy_sweep.point("real_only", n) for n in (50, 100)], seeds=(0,))
    with pytest.raises(
        FacemixError, match=r"found 1 seed that all mixes share .* expected 2 or more, .* again with seeds=3"
    ):
        points.read(tmp_path, None)


def test_each_mix_is_read_at_its_own_best_settings(tmp_path: Path) -> None:
    """A better learning rate on validation counts, whatever it does on test; the reader tells what was chosen."""
    rates = {("real_only", 0.02): 0.5, ("real_only", 0.04): 0.9, ("control", 0.02): 0.5, ("control", 0.04): 0.1}
    tries = [
        toy_sweep.point(name, 50, bias=bias, true=4.0 + rate) | {"training.learning_rate": rate}
        for (name, rate), bias in rates.items()
    ]
    toy_sweep.write(tmp_path, tries)
    swept = points.read(tmp_path, None)
    with (tmp_path / "points.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best = {("real_only", "0.02"), ("control", "0.04")}
    written = {
        name: [row for row in rows if (row["strategy"], row["training.learning_rate"]) == (name, rate)]
        for name, rate in best
    }
    for one in swept.mixes:
        expected = [float(row["test_nme"]) for row in written[one.strategy]]
        assert one.errors.mean(axis=1) == pytest.approx(expected)
    chosen = [(one.mix.strategy, dict(one.settings), one.tries) for one in swept.choices]
    key = "training.learning_rate"
    assert chosen == [("real_only", {key: 0.02}, 2), ("control", {key: 0.04}, 2)]


def test_settings_that_are_words_or_switches_are_told_apart_in_both_files(tmp_path: Path) -> None:
    for key, values in (("training.compile", (True, False)), ("training.precision", ("float32", "bfloat16"))):
        tries = [toy_sweep.point("real_only", 50, true=4.0 + i) | {key: value} for i, value in enumerate(values)]
        toy_sweep.write(tmp_path / key, tries)
        (one,) = points.read(tmp_path / key, None).mixes
        assert one.errors.mean() < 4.6 and len(one.errors) == 3
    change(tmp_path / "training.compile/points.csv", "True", "true")  # by hand
    assert len(points.read(tmp_path / "training.compile", None).mixes) == 1


def test_hours_are_those_of_the_best_settings(tmp_path: Path) -> None:
    tries = [
        toy_sweep.point("real_only", 50, bias=bias)
        | {"training.precision": word, "faces_seen": 3600, "seconds": seconds}
        for word, bias, seconds in (("float32", 0.9, 36000), ("bfloat16", 0.1, 3600))
    ]
    toy_sweep.write(tmp_path, tries)
    (one,) = points.read(tmp_path, None).mixes
    assert one.hours == 1.0


def test_a_line_with_a_field_too_many_is_refused(folder: Path) -> None:
    lines = (folder / "points.csv").read_text(encoding="utf-8").splitlines()
    (folder / "points.csv").write_text("\n".join([*lines[:2], f"{lines[2]},oops", *lines[3:]]), encoding="utf-8")
    with pytest.raises(FacemixError, match=r"points.csv: line 3: found more fields than there are columns"):
        points.read(folder, None)


def test_budgets_do_not_compete(tmp_path: Path) -> None:
    steps = [toy_sweep.point("real_only", 50) | {"training.steps": n} for n in (100, 200)]
    toy_sweep.write(tmp_path, steps)
    with pytest.raises(FacemixError, match=r"points.csv: found several values of training.steps, expected one"):
        points.read(tmp_path, None)


def test_budgets_are_those_of_all_networks_behind_a_strategy() -> None:
    found = {name: points.budgets(name) for name in ("real_only", "label_adaptation", "mixing", "fine_tuning")}
    assert found == {"real_only": 1, "label_adaptation": 1, "mixing": 2, "fine_tuning": 2}
    assert points.budgets("control") == 2
    assert [name for name in (*found, "control") if not points.renders_are_used(name)] == ["real_only", "control"]


def test_hours_are_those_of_all_networks_behind_a_strategy_and_medians_over_its_trainings() -> None:
    def row(strategy: str, seconds: object, seen: int, alpha: str = "") -> dict[str, str]:
        return {"strategy": strategy, "alpha": alpha, "seconds": str(seconds), "faces_seen": str(seen)}

    rows = [
        row("synthetic_only", 3600, 100),
        row("label_adaptation", 360, 100),
        *(row("mixing", seconds, 200, "0.5") for seconds in (7000, 7200, 90000)),
        row("mixing", 1, 100, "0.0"),  # it is real_only, which stands on nothing
        row("fine_tuning", "", 200),
        row("real_only", 3600, 100),
    ]
    assert points.hours(rows) == pytest.approx(
        {"synthetic_only": 1.0, "label_adaptation": 1.1, "mixing": 3.1, "real_only": 1.0}
    )
    assert points.hours(rows[1:]) == pytest.approx({"real_only": 1.0})
    assert {name: points.behind(name) for name in ("control", "fine_tuning", "data_adaptation")} == {
        "control": ("control",),
        "fine_tuning": ("synthetic_only", "fine_tuning"),
        "data_adaptation": ("synthetic_only", "label_adaptation", "data_adaptation"),
    }
