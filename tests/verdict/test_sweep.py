import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from facemix import config
from facemix.config import ConfigError, Params
from facemix.stages import sweep as stage
from facemix.strategies import STRATEGIES
from facemix.verdict import sweep
from facemix.verdict.sweep import Inputs, Point, Result

NETWORK = ("augmentation", "evaluation", "model", "training")
INPUTS = {
    "synthetic_only": Inputs(params=("n_synthetic", *NETWORK), paths=("src/facemix/learning",), needs=()),
    "real_only": Inputs(params=("n_real", *NETWORK), paths=("src/facemix/learning",), needs=()),
    "label_adaptation": Inputs(
        params=("adaptation", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/learning",),
        needs=("synthetic_only",),
    ),
    "data_adaptation": Inputs(
        params=("adaptation", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/learning",),
        needs=("synthetic_only", "label_adaptation"),
    ),
    "mixing": Inputs(
        params=("adaptation", "alpha", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/learning",),
        needs=("synthetic_only", "label_adaptation"),
    ),
    "fine_tuning": Inputs(
        params=("n_real", "n_synthetic", *NETWORK), paths=("src/facemix/learning",), needs=("synthetic_only",)
    ),
}
CONTENT = {"src/facemix/learning": "abc"}


def named(params: Params, point: Point, content: dict[str, str] = CONTENT) -> str:
    return sweep.experiment_name(point, config.plain(params), INPUTS[point.strategy], content)


# --- The grid ---


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.3", [0.3]),
        ("0,0.1,...,0.4", [0, 0.1, 0.2, 0.3, 0.4]),
        ("1,0.75,...,0", [1, 0.75, 0.5, 0.25, 0]),
        ("50,100,...,250,all", [50, 100, 150, 200, 250, "all"]),
        ("5,10,...,15,100,200,...,300", [5, 10, 15, 100, 200, 300]),
        ("1e-3,2e-3", [0.001, 0.002]),
    ],
)
def test_values_are_listed_or_counted(text: str, values: list[sweep.Value]) -> None:
    assert sweep.parse_values("alpha", text) == values


@pytest.mark.parametrize(
    "text", ["0,...,1", "...,1", "0,0.1,...", "0,0.3,...,1", "0,0,...,1", "0,0.1,...,-1", "a,b,...,c"]
)
def test_a_count_that_does_not_meet_its_end_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"alpha: found '.*', (expected a count such as|but counting)"):
        sweep.parse_values("alpha", text)


def test_what_is_not_given_is_as_params_say(params: Params) -> None:
    axes = sweep.parse_axes(["alpha=0,0.5,...,1", "seeds=3"], params)
    assert axes == {
        "alpha": [0.0, 0.5, 1.0],
        "n_real": ["all"],
        "seeds": [0, 1, 2],
        "strategies": list(STRATEGIES),
    }
    assert sweep.parse_axes(["seeds=4,7"], params)["seeds"] == [4, 7]
    assert sweep.parse_axes(["strategies=all"], params)["strategies"] == list(STRATEGIES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alpha"], "alpha: expected KEY=VALUES, such as"),
        (["alhpa=0"], "alhpa: cannot be swept; did you mean alpha?"),
        (["sources.real=1"], "sources.real: cannot be swept"),
        (["alpha="], "alpha: found '', expected values with single commas"),
        (["alpha=0,,1"], "alpha: found '0,,1', expected values with single commas"),
        (["alpha=0,1.5"], "alpha: found 1.5, expected a share of synthetic faces, 0 to 1"),
        (["alpha=many"], "alpha: found 'many', expected a number"),
        (["alpha=1,1.0"], "alpha: found 1.0 twice"),
        (["alpha=0", "alpha=1"], "alpha: given twice"),
        (["n_real=0"], "n_real: found 0, expected a number of faces, at least 1, or all"),
        (["n_real=2.5"], "n_real: found 2.5, expected a whole number or all"),
        (["seeds=0"], "seeds: found 0, expected a number of seeds, at least 1"),
        (["seeds=1,1"], "seeds: found .*, expected each seed once"),
        (["seeds=-1,1"], "seeds: found .*, expected seeds of 0 or more"),
        (["strategies=mixin"], "strategies: found 'mixin', expected some of .*did you mean 'mixing'"),
        (["strategies=mixing,mixing"], "strategies: found mixing twice"),
        (["training.steps=0"], "training.steps: found 0, expected at least 1"),
        (["training.steps=20"], "training.warmup_steps: found 40, expected 0 to training.steps"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(arguments: list[str], message: str, params: Params) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep.parse_axes(arguments, params)


def test_a_key_multiplies_only_what_it_matters_to(params: Params) -> None:
    points = sweep.plan(sweep.parse_axes(["alpha=0,0.1,...,1", "n_real=10,20", "seeds=3"], params), INPUTS)
    counts = {name: sum(point.strategy == name for point in points) for name in STRATEGIES}
    assert counts == {
        "synthetic_only": 3,
        "real_only": 6,
        "label_adaptation": 6,
        "data_adaptation": 6,
        "mixing": 66,
        "fine_tuning": 6,
    }
    assert len(set(points)) == len(points)


def test_a_section_matters_with_its_keys(params: Params) -> None:
    axes = sweep.parse_axes(["adaptation.epochs=10,20", "strategies=label_adaptation,real_only"], params)
    counts = [point.strategy for point in sweep.plan(axes, INPUTS)]
    assert sorted(counts) == ["label_adaptation", "label_adaptation", "real_only", "synthetic_only"]


def test_what_a_point_needs_is_planned_before_it(params: Params) -> None:
    points = sweep.plan(sweep.parse_axes(["strategies=mixing", "alpha=0,1", "n_real=10,20", "seeds=2"], params), INPUTS)
    groups = sweep.levels(points, INPUTS)
    assert [{point.strategy for point in group} for group in groups] == [
        {"synthetic_only"},
        {"label_adaptation"},
        {"mixing"},
    ]
    before: set[Point] = set()
    for group in groups:
        assert all(need in before for point in group for need in sweep.needed(point, INPUTS))
        before |= set(group)


def test_equal_inputs_have_one_name_and_other_inputs_another(params: Params) -> None:
    point = Point(strategy="mixing", seed=1, settings=(("alpha", 0.3), ("n_real", 250)))
    name = named(params, point)
    assert name.startswith("sweep-mixing-a0.3-n250-s1-")
    assert named(params, point) == name
    plain = config.plain(params)
    longer = config.parse(sweep.changed(plain, {"seeds": [0], "training.steps": 999}))
    assert named(longer, point) != name
    assert named(params, point, {"src/facemix/learning": "other"}) != name
    other_default = config.parse(sweep.changed(plain, {"seeds": [0], "alpha": 0.9}))
    assert named(other_default, point) == name  # the point says its own alpha
    real = Point(strategy="real_only", seed=0, settings=(("n_real", "all"),))
    assert named(other_default, real) == named(params, real)  # alpha does not matter to it


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries under DVC
def test_dvc_says_what_each_strategy_depends_on(tmp_path: Path, params: Params) -> None:
    from dvc.repo import Repo

    root = Path(__file__).resolve().parents[2]
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((root / name).read_text())
    Repo.init(str(tmp_path), no_scm=True).close()
    found = stage.read_inputs(tmp_path, 0)
    assert {name: one.needs for name, one in found.items()} == {name: one.needs for name, one in INPUTS.items()}
    packs = {"pack", "render.stand_in", "render.synthetic", "sources.real", "sources.synthetic"}
    for name, one in found.items():
        assert set(one.params) - packs == set(INPUTS[name].params)
        assert "src/facemix/learning" in one.paths
        assert not any(path.startswith(("models", "data/packs")) for path in one.paths)


def test_more_faces_than_there_are_or_all_twice_are_refused(params: Params) -> None:
    axes = sweep.parse_axes(["n_real=50,100,all"], params)
    sweep.check_counts(axes, 101)
    with pytest.raises(ConfigError, match="n_real: found 100, but there are 99 training faces"):
        sweep.check_counts(axes, 99)
    with pytest.raises(ConfigError, match="n_real: found both 100 and all, but all are 100"):
        sweep.check_counts(axes, 100)


def test_the_estimate_sums_what_was_measured_and_else_says_nothing() -> None:
    missing = [Point(strategy=name, seed=0, settings=()) for name in ("real_only", "real_only", "mixing")]
    assert sweep.estimate(missing, {"real_only": [10, 20, 60]}, 1) == 60
    assert sweep.estimate(missing, {"real_only": [10], "mixing": [30]}, 2) == 25
    assert sweep.estimate(missing, {}, 1) is None
    assert [sweep.shown_time(seconds) for seconds in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]


def test_thousands_of_trainings_are_not_started_unasked(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "_measured", lambda params, missing: {"mixing": [36.0]})
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    points = sweep.plan(sweep.parse_axes(["alpha=0,0.001,...,1", "strategies=mixing"], params), INPUTS)
    with pytest.raises(ValueError, match="more than 1000 trainings are not started unasked; add --yes"):
        stage._announce(points, points, params, 1, False)
    assert "1003 trainings: 0 are there, 1003 to run, about 10.0 h" in capsys.readouterr().out
    stage._announce(points, points, params, 1, True)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda git: None, "no DVC repository"),
        (lambda git: Path(".dvc").mkdir(), "no git commit yet, and experiments hang on one"),
    ],
)
def test_without_dvc_or_a_commit_it_says_what_to_do(
    prepare: Any, message: str, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(None)
    with pytest.raises(ValueError, match=message):
        stage.run_sweep([], params, jobs=1, yes=False)


def test_changes_that_are_not_committed_are_named(tmp_path: Path) -> None:
    stage._git(tmp_path, "init", "--quiet")
    stage._check_clean(tmp_path)
    (tmp_path / "notes.txt").touch()
    stage._check_clean(tmp_path)  # does not matter to a training
    (tmp_path / "params.yaml").touch()
    with pytest.raises(ValueError, match="params.yaml: changed and not committed.*git commit"):
        stage._check_clean(tmp_path)


# --- Curves ---


def power_law(n: np.ndarray, a: float = 30.0, b: float = 0.3) -> np.ndarray:
    return a * n**-b


def test_a_power_law_is_read_backwards_exactly() -> None:
    n = np.array([50.0, 100, 250, 500, 1709])
    wanted = np.array([51.0, 63, 100, 333, 1200, 1700])
    assert sweep.faces_worth(n, power_law(n), power_law(wanted)) == pytest.approx(wanted)
    assert sweep.faces_worth(n, power_law(n), power_law(n)) == pytest.approx(n)


def test_beyond_its_ends_a_curve_says_so() -> None:
    n = np.array([50.0, 500])
    found = sweep.faces_worth(n, power_law(n), np.array([power_law(n[1]) - 0.1, power_law(n[0]) + 0.1]))
    assert found.tolist() == [np.inf, 0.0]
    assert [sweep.say_count(one, [50, 500]) for one in (*found, 123.4)] == ["more than 500", "fewer than 50", "123"]


def test_a_curve_that_rises_counts_as_flat() -> None:
    n = np.array([10.0, 100, 1000])
    assert sweep.faces_worth(n, np.array([8.0, 4.0, 5.0]), 4.0) == pytest.approx(100)
    assert sweep.faces_worth(n, np.array([8.0, 8.0, 8.0]), 8.0) == pytest.approx(10)
    assert sweep.faces_worth(n, np.array([8.0, 9.0, 4.0]), 6.0) == pytest.approx(
        100 * 10 ** (np.log(8 / 6) / np.log(2))
    )


def test_without_noise_the_interval_is_a_point_and_with_noise_it_holds_the_truth() -> None:
    n = np.array([50.0, 100, 200, 400, 800])
    exact = np.broadcast_to(power_law(n)[:, None, None], (5, 2, 30))
    target = np.full((2, 30), power_law(np.array(150.0)))
    assert sweep.worth_interval(n, exact, target) == pytest.approx((150, 150, 150))
    rng = np.random.default_rng(0)
    noisy = exact * rng.lognormal(0, 0.1, exact.shape)
    worth, low, high = sweep.worth_interval(n, noisy, target * rng.lognormal(0, 0.1, target.shape))
    assert low < 150 < high
    assert low < worth < high
    again = sweep.worth_interval(n, noisy, target, seed=3)
    assert again == sweep.worth_interval(n, noisy, target, seed=3)


def test_an_interval_may_reach_beyond_the_curve() -> None:
    n = np.array([50.0, 100])
    real = np.broadcast_to(power_law(n)[:, None, None], (2, 1, 40))
    target = np.where(np.arange(40) % 2, 0.5, 1.5)[None] * power_law(np.array(70.0))
    worth, low, high = sweep.worth_interval(n, real, target)
    assert worth == pytest.approx(70)
    assert (low, high) == (0, np.inf)


def result(strategy: str, seed: int, nme: float, val: float | None = None, **settings: Any) -> Result:
    errors = {f"f{i}": ("lfpw", nme + 0.1 * (i % 3 - 1)) for i in range(6)} | {"hard": ("ibug", 50.0)}
    metrics = {"val": {"nme": nme if val is None else val}, "test": {"nme": nme, "fr8": 1.0, "subsets": {"lfpw": nme}}}
    point = Point(strategy=strategy, seed=seed, settings=tuple(settings.items()))
    return Result(point=point, experiment=f"{strategy}{settings}{seed}", metrics=metrics, errors=errors)


def grid() -> list[Result]:
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
    rows = sweep.table(grid(), 800)
    assert {row["n_real"] for row in rows} == {None, 50, 200, 800}
    assert {row["alpha"] for row in rows if row["strategy"] != "mixing"} == {None}
    assert list(rows[0]) == list(stage.COLUMNS)


def test_the_best_alpha_is_chosen_on_validation() -> None:
    mixing = [row for row in sweep.table(grid(), 800) if row["strategy"] == "mixing"]
    assert sweep.best_alpha(mixing) == 0.25  # 0.5 is better on test
    kept = sweep.at_best_alpha(sweep.table(grid(), 800))
    assert {row["alpha"] for row in kept} == {None, 0.25}


def test_a_curve_is_the_mean_with_the_range_over_seeds() -> None:
    rows = [row for row in sweep.table(grid(), 800) if row["strategy"] == "real_only"]
    n, mean, low, high = sweep.over_seeds(rows, "n_real")
    assert n.tolist() == [50, 200, 800]
    assert mean == pytest.approx(power_law(n))
    assert (high - mean) == pytest.approx(np.full(3, 0.1))
    assert (mean - low) == pytest.approx(np.full(3, 0.1))


def test_worth_is_said_for_each_use_of_synthetic_faces() -> None:
    found = sweep.worth_table(grid(), 800)
    assert [(row["strategy"], row["n_real"]) for row in found] == [
        ("synthetic_only", 0),
        ("mixing", 50),
        ("mixing", 200),
        ("mixing", 800),
    ]
    mixing = found[1]
    expected = 50 * (power_law(np.array(50.0)) / mixing["test_nme"]) ** (1 / 0.3)
    assert float(mixing["worth"]) == pytest.approx(expected, abs=0.5)
    assert float(found[0]["worth"]) == pytest.approx((30 / 9.0) ** (1 / 0.3), abs=0.5)
    assert sweep.say_worth(mixing).startswith("50 real faces + synthetic (mixing at alpha = 0.25, NME ")
    assert sweep.worth_table([one for one in grid() if one.point.strategy != "real_only"], 800) == []


def test_tables_and_figures_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    stage.write_tables(grid(), 800)
    stage.write_curves(grid(), 800, params)
    with Path("reports/sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(grid())
    assert rows[0]["alpha"] == rows[0]["n_real"] == ""
    errors = parquet.read_table("reports/sweep_errors.parquet").to_pylist()
    assert len(errors) == 7 * len(grid())
    assert errors[0] == {
        "strategy": "synthetic_only",
        "alpha": None,
        "n_real": None,
        "seed": 0,
        "face": "f0",
        "subset": "lfpw",
        "nme": pytest.approx(8.9),
    }
    assert {path.name for path in Path("reports").iterdir()} == {
        "sweep.csv",
        "sweep_errors.parquet",
        "sweep_alpha.png",
        "sweep_n_real.png",
        "sweep_worth.csv",
    }
    assert "real alone (95 %: " in capsys.readouterr().out
    stage.write_tables(grid()[:1], 800)  # of a grid without curves none of a former one stay
    assert {path.name for path in Path("reports").iterdir()} == {"sweep.csv", "sweep_errors.parquet"}
