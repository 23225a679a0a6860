import csv
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import toy_sweep
from facemix.faces.pose import BINS
from facemix.faces.schemes import ibug68
from facemix.sweeps import grid, plots, tables
from facemix.sweeps import results as stage
from facemix.sweeps.grid import Point, Result
from facemix.sweeps.point import summarize
from facemix.verdict import advice, comparison, worth
from facemix.verdict.tuning import Choice, MixName


def power_law(n: np.ndarray, a: float = 30.0, b: float = 0.3) -> np.ndarray:
    return a * n**-b


def result(strategy: str, seed: int, nme: float, val: float | None = None, **settings: Any) -> Result:
    errors = grid.Errors(
        faces=np.array([*(f"f{i}" for i in range(6)), "hard"]),
        subsets=np.array(["lfpw"] * 6 + ["ibug"]),
        photos=np.array(["p0", "p0", "p1", "p2", "p3", "p4", "p5"]),
        yaw=np.array([0.0, 3, -8, 20, -35, 50, 0]),
        nme={"all": np.array([*(nme + 0.1 * (i % 3 - 1) for i in range(6)), 50.0])}
        | dict.fromkeys(ibug68().regions, np.full(7, 2.0)),
    )
    settings_of = tuple(settings.items())
    return Result(
        point=Point(strategy=strategy, seed=seed, settings=settings_of),
        experiment=f"{strategy}{settings}{seed}",
        commit="c0ffee",
        digest=hashlib.sha256(repr((strategy, seed, settings_of)).encode()).hexdigest()[:32],
        val_nme=nme if val is None else val,
        test_nme=nme,
        failures=("fr8", 1.0),
        normalizer="outer_eye",
        subsets=frozenset({"lfpw"}),
        faces_seen=640 if strategy in ("control", "mixing") else 320,
        n_synthetic=0 if strategy in ("control", "real_only") else 24,
        seconds=12.5,
        errors=errors,
    )


def swept() -> list[Result]:
    found = [result("synthetic_only", seed, 9.0) for seed in (0, 1)]
    for seed, shift in ((0, -0.1), (1, 0.1)):
        for n in (50, 200, "all"):
            of = power_law(np.array(800.0 if n == "all" else n))
            found.append(result("real_only", seed, of + shift, n_real=n))
            found += [
                result("mixing", seed, of - 0.6 + shift + abs(a - 0.5), val=abs(a - 0.25), alpha=a, n_real=n)
                for a in (0.0, 0.25, 0.5)
            ]
    return found


def test_the_table_counts_faces_and_leaves_out_what_does_not_matter() -> None:
    rows = tables.table(swept(), 800)
    assert {row["n_real"] for row in rows} == {None, 50, 200, 800}
    assert {row["alpha"] for row in rows if row["strategy"] != "mixing"} == {None}
    before = tables.COLUMNS.index("experiment")
    assert list(rows[0]) == [*tables.COLUMNS[:before], "fr8", *tables.COLUMNS[before:]]
    assert {row["n_synthetic"] for row in rows if row["strategy"] == "real_only"} == {None}
    assert {row["n_synthetic"] for row in rows if row["strategy"] == "mixing"} == {24}


def test_the_best_alpha_is_chosen_on_validation() -> None:
    mixing = [row for row in tables.table(swept(), 800) if row["strategy"] == "mixing"]
    assert tables.best_alpha(mixing) == 0.25  # 0.5 is better on test
    kept = tables.at_best_alpha(tables.table(swept(), 800))
    assert {row["alpha"] for row in kept} == {None, 0.25}


def test_a_curve_is_the_mean_over_seeds_with_its_interval() -> None:
    rows = [row for row in tables.curves(swept(), 800) if row["strategy"] == "real_only"]
    assert [row["n_real"] for row in rows] == [50, 200, 800]
    assert {row["n_synthetic"] for row in rows} == {None}
    assert [row["test_nme"] for row in rows] == pytest.approx(power_law(np.array([50, 200, 800])))
    for row in rows:
        assert row["high"] - row["low"] == pytest.approx(2 * 12.7 * 0.1, rel=0.1)  # Student's t of two seeds 0.2 apart
        assert row["low"] < row["test_nme"] < row["high"]


def test_parts_are_the_regions_and_poses_that_are_there() -> None:
    found = tables.parts(swept())
    assert {name: part.nme.shape[1] for name, part in found.items()} == {
        "all": 6,
        **dict.fromkeys(ibug68().regions, 6),
        "frontal": 3,
        "half-turned": 1,
        "turned": 2,
    }
    jaw = [replace(one, errors=replace(one.errors, nme=one.errors.nme | {"jaw": np.arange(7.0)})) for one in swept()]
    assert tables.parts(jaw)["jaw"].nme.tolist() == [[0, 1, 2, 3, 4, 5]] * len(jaw)
    unlabelled = np.where(np.arange(7) == 2, np.nan, 1.0)  # a face without a labelled point of the region
    partly = [replace(one, errors=replace(one.errors, nme=one.errors.nme | {"jaw": unlabelled})) for one in swept()]
    part = tables.parts(partly)["jaw"]
    assert part.nme.shape[1] == len(part.photos) == 5 and np.isfinite(part.nme).all()
    none = [
        replace(one, errors=replace(one.errors, nme=one.errors.nme | {"jaw": np.full(7, np.nan)})) for one in swept()
    ]
    assert "jaw" not in tables.parts(none)
    without = replace(jaw[0], errors=replace(jaw[0].errors, nme={"all": np.arange(7.0)}))
    assert "jaw" not in tables.parts([*jaw[:-1], without])
    others = replace(swept()[0], errors=swept()[0].errors.at(np.arange(7) > 0))
    with pytest.raises(ValueError, match="were tested on different faces \\(6 and 5\\); run `dvc exp remove"):
        tables.parts([*swept(), others])


def test_worth_is_said_for_each_use_of_synthetic_faces() -> None:
    found = tables.worth_table(swept(), 800)
    assert [row["part"] for row in found] == [part for part in ("all", *ibug68().regions, *BINS) for _ in range(4)]
    assert [row["faces"] for row in found[::4]] == [6] * 6 + [3, 1, 2]
    assert [row["confidence"] for row in found[::4]] == [95.0] + [round(100 * (1 - 0.05 / 8), 3)] * 8
    found = [row for row in found if row["part"] == "all"]
    assert [(row["strategy"], row["n_real"]) for row in found] == [
        ("synthetic_only", 0),
        ("mixing", 50),
        ("mixing", 200),
        ("mixing", 800),
    ]
    mixing = found[1]
    expected = 50 * (power_law(np.array(50.0)) / mixing["test_nme"]) ** (1 / 0.3)
    assert mixing["worth"] == pytest.approx(expected)
    assert found[0]["worth"] == pytest.approx((30 / 9.0) ** (1 / 0.3))
    assert worth.say_worth(mixing).startswith("50 real faces + synthetic (mixing at alpha = 0.25, NME ")
    assert worth.say_worths(found[3])["worth"] == "more than 800"
    assert tables.worth_table([one for one in swept() if one.point.strategy != "real_only"], 800) == []


def test_what_saw_twice_the_faces_is_read_off_the_curve_of_the_control() -> None:
    controls = [
        replace(
            result("control", one.point.seed, one.test_nme / 2),
            point=replace(one.point, strategy="control"),
        )
        for one in swept()
        if one.point.strategy == "real_only"
    ]
    rows = tables.worth_table(swept() + controls, 800)
    assert {(row["strategy"], row["compared_with"]) for row in rows} == {
        ("synthetic_only", "real_only"),
        ("mixing", "control"),
    }
    alone = tables.worth_table(swept(), 800)
    assert {row["compared_with"] for row in alone} == {"real_only"}
    assert {(row["faces_seen"], row["compared_faces_seen"]) for row in alone} == {(320, 320), (640, 320)}
    mixing = [next(row for row in of if row["strategy"] == "mixing") for of in (rows, alone)]
    assert mixing[0]["worth"] < mixing[1]["worth"]
    some = tables.worth_table(swept() + controls[:1], 800)  # no curve, and nothing synthetic either
    assert {row["compared_with"] for row in some} == {"real_only"}
    assert [row["strategy"] for row in some] == [row["strategy"] for row in alone]


@pytest.mark.parametrize(
    ("n_real", "control", "curve"),
    [
        (100, [50, 100, 800], "control"),
        (100, [50, 100, 200, 800], "control"),  # one number more than the baseline
        (100, [100, 800], "control"),
        (50, [100, 800], "real_only"),  # below the control's least
        (100, [50, 800], "real_only"),  # 100 is missing between
        (100, [100], "real_only"),
        (0, [50, 100, 800], "real_only"),
        (100, [], "real_only"),
    ],
)
def test_the_curve_of_the_control_is_read_where_it_is_known(n_real: int, control: list[int], curve: str) -> None:
    assert comparison.curves_at(n_real, {"real_only": [50, 100, 800], "control": control})[-1] == curve


def test_a_control_at_one_number_more_is_still_the_curve_of_worth_and_advice_alike() -> None:
    grid = [toy_sweep.point("mixing", 100, 1000, alpha=0.5)]
    grid += [toy_sweep.point("real_only", n) for n in (50, 100, 500)]
    grid += [toy_sweep.point("control", n) for n in (50, 100, 250, 500)]
    (found,) = advice.worths(advice.lay_out(toy_sweep.swept(grid), resamples=50))
    assert (found.compared_with, found.counts, found.compared_saw) == ("control", (50, 100, 250, 500), "as many")


def test_validation_is_shown_first() -> None:
    metrics = {"normalizer": "outer_eye", "thresholds": [8, 10], "test": {"nme": 4.0}, "val": {"nme": 5.0}}
    assert next(iter(summarize("mixing", metrics, None).items())) == ("val_nme", {"mixing": 5.0})


def test_tables_and_figures_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.FOLDER.mkdir(parents=True)
    stage.write_tables(swept(), 800)
    stage.write_curves(swept(), 800)
    with (stage.FOLDER / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(swept())
    assert rows[0]["alpha"] == rows[0]["n_real"] == ""
    errors = parquet.read_table(stage.FOLDER / "errors.parquet").to_pylist()
    assert len(errors) == 7 * len(swept())
    assert errors[0] == {
        "strategy": "synthetic_only",
        "alpha": None,
        "n_real": None,
        "seed": 0,
        "n_synthetic": 24,
        "face": "f0",
        "subset": "lfpw",
        "photo": "p0",
        "yaw": 0.0,
        "nme": pytest.approx(8.9),
        **dict.fromkeys(ibug68().regions, 2.0),
        "digest": swept()[0].digest,
    }
    assert {path.name for path in stage.FOLDER.iterdir()} == {
        "points.csv",
        "errors.parquet",
        "curves.csv",
        "alpha.png",
        "n_real.png",
        "worth.csv",
        "parts.png",
    }
    printed = capsys.readouterr().out
    assert "real alone (95 %: " in printed
    stage.write_tables(swept()[:1], 800)  # of a grid without curves none of a former one stay
    assert {path.name for path in stage.FOLDER.iterdir()} == {"points.csv", "errors.parquet"}


def test_what_is_given_beside_alpha_and_n_real_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.FOLDER.mkdir(parents=True)

    def given(steps: int) -> list[Result]:
        points = [one.point for one in swept()]
        more = (("training.steps", steps), ("model.mirror", True))
        points = [replace(point, settings=(*point.settings, *more)) for point in points]
        return [replace(one, point=point) for one, point in zip(swept(), points, strict=True)]

    longer = [replace(one, faces_seen=2 * one.faces_seen) for one in given(1200)]
    stage.write_tables(given(600) + longer, 800)
    stage.write_curves(given(600) + longer, 800)
    assert {path.name for path in stage.FOLDER.iterdir()} == {"points.csv", "errors.parquet"}
    said = capsys.readouterr().out
    assert re.search(r"no curves are drawn: found trainings .* each value of training.steps by itself", said)
    errors = parquet.read_table(stage.FOLDER / "errors.parquet")
    keys = ("strategy", "alpha", "n_real", "seed", "training.steps", "model.mirror", "face")
    rows = errors.select(keys).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 7 * 2 * len(swept())
    stage.write_curves(given(600), 800)
    assert (stage.FOLDER / "alpha.png").exists()


def test_curves_are_of_each_mix_at_its_own_best_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.FOLDER.mkdir(parents=True)
    monkeypatch.setattr(stage.plots, "SWEPT", dict.fromkeys(("alpha", "n_real"), lambda path, *_: path.touch()))
    monkeypatch.setattr(stage.plots, "worth_by_part", lambda path, *_: path.touch())

    def tried(rate: float, val_nme: float) -> list[Result]:
        """At another rate `real_only` is better on validation, and all else worse."""
        found = []
        for one in swept():
            point = replace(one.point, settings=(*one.point.settings, ("training.learning_rate", rate)))
            own = val_nme if one.point.strategy == "real_only" else -val_nme
            found.append(replace(one, point=point, val_nme=one.val_nme + own))
        return found

    both = [*tried(0.02, 0.0), *tried(0.04, -0.1)]
    kept, choices = tables.at_best_settings(both, 800)
    rates = {one.point.strategy: dict(one.point.settings)["training.learning_rate"] for one in kept}
    assert {name for name, rate in rates.items() if rate == 0.04} == {"real_only"} and len(kept) == len(swept())
    stage.write_curves(both, 800)
    with (stage.FOLDER / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(choices)
    assert {row["training.learning_rate"] for row in rows if row["strategy"] == "real_only"} == {"0.04"}
    assert {row["training.learning_rate"] for row in rows if row["strategy"] != "real_only"} == {"0.02"}
    assert {row["tries"] for row in rows} == {"2"}
    said = capsys.readouterr().out
    assert "real faces: training.learning_rate = 0.04, best of 2 on validation\n" in said
    assert "Not all were tried as often: 2 to 6 times, each alpha a try." in said
    at_one = [
        one for one in both if dict(one.point.settings).get("n_real", 50) == 50 and one.point.strategy != "mixing"
    ]
    stage.write_curves(at_one, 800)  # of which no curve can be drawn
    assert capsys.readouterr().out == (
        "synthetic_only with 24 synthetic faces: training.learning_rate = 0.02, best of 2 on validation\n"
        "real_only with 50 real faces: training.learning_rate = 0.04, best of 2 on validation\n"
    )


def test_choices_are_told_of_the_mixes_that_are_shown() -> None:
    def chosen(strategy: str, n_synthetic: int, tries: int, missing: tuple[int, ...] = ()) -> Choice:
        mix = MixName(strategy=strategy, alpha=None, n_real=0, n_synthetic=n_synthetic)
        return Choice(mix=mix, settings={}, tries=tries, missing=missing)

    shown = [chosen("synthetic_only", 24, 3), chosen("data_adaptation", 10, 2, (1,))]
    others = [chosen("synthetic_only", 10, 1), chosen("fine_tuning", 24, 1)]
    rows = [row for row in tables.table(swept(), 800) if row["strategy"] == "synthetic_only"]
    assert tables.chosen_for([*shown, *others], rows) == shown
    assert tables.chosen_for([*shown, *others], []) == shown[1:]  # what lacks seeds is said though nothing is left


def test_many_alphas_at_one_number_of_real_faces_do_not_tip_the_number_of_synthetic_ones() -> None:
    few = [replace(result("mixing", 0, 4.0, alpha=0.5, n_real=n), n_synthetic=10) for n in (50, 200)]
    many = [replace(result("mixing", 0, 4.0, alpha=a, n_real=50), n_synthetic=30) for a in (0.1, 0.2, 0.3, 0.4)]
    alone = result("real_only", 0, 4.0, n_real=50)
    assert tables.at_one_n_synthetic([*many, *few, alone]) == ([*few, alone], 10)
    assert tables.at_one_n_synthetic([*many, *few[:1], alone]) == ([*many, alone], 30)  # of equals the greatest
    assert tables.at_one_n_synthetic([*few, alone]) == ([*few, alone], None)


def test_where_numbers_of_synthetic_faces_vary_curves_are_of_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.FOLDER.mkdir(parents=True)
    titles: list[str] = []

    def draw(path: Path, *about: Any) -> None:
        path.touch()
        titles.append(about[-1])

    monkeypatch.setattr(stage.plots, "SWEPT", {"alpha": draw, "n_real": draw})
    monkeypatch.setattr(stage.plots, "worth_by_part", draw)

    def given(count: int | str, used: int) -> list[Result]:
        """At alpha = 0 the number does not matter, but the point names it."""
        points = [replace(one.point, settings=(*one.point.settings, ("n_synthetic", count))) for one in swept()]
        return [
            replace(one, point=point, n_synthetic=used if dict(point.settings).get("alpha") != 0 else 0)
            if one.n_synthetic
            else one
            for one, point in zip(swept(), points, strict=True)
        ]

    few = [replace(one, val_nme=9.0) for one in given(10, 10) if one.n_synthetic == 10]
    both = [*few, *given("all", 24)]
    stage.write_tables(both, 800)
    counts = parquet.read_table(stage.FOLDER / "errors.parquet")["n_synthetic"].to_pylist()
    assert set(counts) == {None, 10, 24}
    stage.write_curves(both, 800)
    said = "the curves are of trainings with 24 synthetic faces; 7 mixes with other numbers of them are left out"
    assert said in capsys.readouterr().out
    assert titles == ["synthetic training faces: 24"] * 3
    for name in ("curves.csv", "worth.csv"):
        with (stage.FOLDER / name).open(newline="") as file:
            used = {row["strategy"]: row["n_synthetic"] for row in csv.DictReader(file)}
        assert used["mixing"] == used["synthetic_only"] == "24" and used.get("real_only", "") == ""
    of_both = (stage.FOLDER / "curves.csv").read_text().splitlines()
    stage.write_curves(given("all", 24), 800)
    assert "the curves are of" not in capsys.readouterr().out and set(titles[3:]) == {""}
    assert sorted((stage.FOLDER / "curves.csv").read_text().splitlines()) == sorted(of_both)
    stage.write_curves([one for one in both if one.point.strategy == "synthetic_only"], 800)
    assert "the curves are of" not in capsys.readouterr().out  # none are drawn


def test_points_known_by_their_means_take_part_in_means_and_in_nothing_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.FOLDER.mkdir(parents=True)
    known = [replace(one, errors=None, subsets=frozenset()) if one.point.seed else one for one in swept()]
    of_mixing = [one if one.point.strategy != "mixing" else new for one, new in zip(swept(), known, strict=True)]
    rows = tables.curves(of_mixing, 800)
    assert [(row["strategy"], row["test_nme"]) for row in rows] == [
        (row["strategy"], pytest.approx(row["test_nme"])) for row in tables.curves(swept(), 800)
    ]
    assert {row["strategy"] for row in rows if row["low"] is None} == {"mixing"}
    assert {row["strategy"] for row in tables.worth_table(of_mixing, 800)} == {"synthetic_only"}
    stage.write_tables(of_mixing, 800)
    stage.write_curves(of_mixing, 800)
    assert f"9 of {len(of_mixing)} points known by means alone" in capsys.readouterr().out
    nothing = [replace(one, errors=None, subsets=frozenset()) for one in swept()]
    stage.write_tables(nothing, 800)
    stage.write_curves(nothing, 800)
    assert {path.name for path in stage.FOLDER.iterdir()} == {"points.csv", "curves.csv", "alpha.png", "n_real.png"}


def test_the_interval_of_a_single_point_is_a_line() -> None:
    axes = Figure().add_subplot()
    row = {"test_nme": 4.0, "low": 3.5, "high": 4.6}
    plots._curve(axes, [100], [row], "red", "mixing")
    (interval,) = axes.collections
    assert isinstance(interval, LineCollection) and interval.get_segments()[0].tolist() == [[100, 3.5], [100, 4.6]]
