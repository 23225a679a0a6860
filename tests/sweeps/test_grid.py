import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemix import config
from facemix.config import ConfigError, Params
from facemix.faces.landmarks import REGIONS
from facemix.faces.pose import BINS
from facemix.strategies import STRATEGIES
from facemix.sweeps import grid
from facemix.sweeps import run as stage
from facemix.sweeps.grid import Inputs, Point, Result
from facemix.verdict import simulation

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
        params=("fine_tuning", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/learning",),
        needs=("synthetic_only",),
    ),
}
CONTENT = {"src/facemix/learning": "abc"}


def named(params: Params, point: Point, content: dict[str, str] = CONTENT) -> str:
    return grid.experiment_name(point, config.plain(params), INPUTS[point.strategy], content)


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
        ("false,true", [False, True]),
    ],
)
def test_values_are_listed_or_counted(text: str, values: list[grid.Value]) -> None:
    assert grid.parse_values("alpha", text) == values


@pytest.mark.parametrize(
    "text", ["0,...,1", "...,1", "0,0.1,...", "0,0.3,...,1", "0,0,...,1", "0,0.1,...,-1", "a,b,...,c"]
)
def test_a_count_that_does_not_meet_its_end_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"alpha: found '.*', (expected a count such as|but counting)"):
        grid.parse_values("alpha", text)


def test_what_is_not_given_is_as_params_say(params: Params) -> None:
    axes = grid.parse_axes(["alpha=0,0.5,...,1", "seeds=3"], params)
    assert axes == {
        "alpha": [0.0, 0.5, 1.0],
        "n_real": ["all"],
        "seeds": [0, 1, 2],
        "strategies": list(STRATEGIES),
    }
    assert grid.parse_axes(["seeds=4,7"], params)["seeds"] == [4, 7]
    assert grid.parse_axes(["strategies=all"], params)["strategies"] == list(STRATEGIES)


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
        (["seeds=-1,1"], "seeds: found .*, expected seeds from 0 to"),
        (["strategies=mixin"], "strategies: found 'mixin', expected some of .*did you mean 'mixing'"),
        (["strategies=mixing,mixing"], "strategies: found mixing twice"),
        (["training.steps=0"], "training.steps: found 0, expected at least 1"),
        (["training.steps=20"], "training.warmup_steps: found 40, expected 0 to training.steps"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(arguments: list[str], message: str, params: Params) -> None:
    with pytest.raises(ConfigError, match=message):
        grid.parse_axes(arguments, params)


def test_a_key_multiplies_only_what_it_matters_to(params: Params) -> None:
    points = grid.plan(grid.parse_axes(["alpha=0,0.1,...,1", "n_real=10,20", "seeds=3"], params), INPUTS)
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
    axes = grid.parse_axes(["adaptation.epochs=10,20", "strategies=label_adaptation,real_only"], params)
    counts = [point.strategy for point in grid.plan(axes, INPUTS)]
    assert sorted(counts) == ["label_adaptation", "label_adaptation", "real_only", "synthetic_only"]
    axes = grid.parse_axes(["fine_tuning.learning_rate=1e-3,2e-3", "strategies=fine_tuning"], params)
    counts = [point.strategy for point in grid.plan(axes, INPUTS)]
    assert sorted(counts) == ["fine_tuning", "fine_tuning", "synthetic_only"]


def test_what_a_point_needs_is_planned_before_it(params: Params) -> None:
    points = grid.plan(grid.parse_axes(["strategies=mixing", "alpha=0,1", "n_real=10,20", "seeds=2"], params), INPUTS)
    groups = grid.levels(points, INPUTS)
    assert [{point.strategy for point in group} for group in groups] == [
        {"synthetic_only", "real_only"},
        {"label_adaptation"},
        {"data_adaptation", "mixing"},
    ]
    before: set[Point] = set()
    for group in groups:
        assert all(need in before for point in group for need in grid.needed(point, INPUTS))
        before |= set(group)


def test_mixing_at_its_ends_is_the_training_of_another_strategy(params: Params) -> None:
    axes = grid.parse_axes(["strategies=mixing", "alpha=0,0.5,1", "n_real=10,20", "seeds=2"], params)
    points = grid.plan(axes, INPUTS)
    for point in points:
        training, settings = grid.trained_as(point, INPUTS), dict(point.settings)
        assert training in points and training.seed == point.seed
        ends = {0: "real_only", 1: "data_adaptation"} if point.strategy == "mixing" else {}
        assert training.strategy == ends.get(settings.pop("alpha", None), point.strategy)
        assert training == point or dict(training.settings) == settings


def test_equal_inputs_have_one_name_and_other_inputs_another(params: Params) -> None:
    point = Point(strategy="mixing", seed=1, settings=(("alpha", 0.3), ("n_real", 250)))
    name = named(params, point)
    assert name.startswith("sweep-mixing-a0.3-n250-s1-")
    assert named(params, point) == name
    plain = config.plain(params)
    longer = config.parse(config.changed(plain, {"seeds": [0], "training.steps": 999}))
    assert named(longer, point) != name
    assert named(params, point, {"src/facemix/learning": "other"}) != name
    other_default = config.parse(config.changed(plain, {"seeds": [0], "alpha": 0.9}))
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
        assert {"src/facemix/learning", "src/facemix/strategies.py", "src/facemix/tasks.py"} <= set(one.paths)
        assert not any(path.startswith(("models", "data/packs")) for path in one.paths)


def test_more_faces_than_there_are_or_all_twice_are_refused(params: Params) -> None:
    axes = grid.parse_axes(["n_real=50,100,all"], params)
    grid.check_counts(axes, 101)
    with pytest.raises(ConfigError, match="n_real: found 100, but there are 99 training faces"):
        grid.check_counts(axes, 99)
    with pytest.raises(ConfigError, match="n_real: found both 100 and all, but all are 100"):
        grid.check_counts(axes, 100)


def test_the_estimate_sums_what_was_measured_and_else_says_nothing() -> None:
    missing = [Point(strategy=name, seed=0, settings=()) for name in ("real_only", "real_only", "mixing")]
    assert grid.estimate(missing, {"real_only": [10, 20, 60]}, 1) == 60
    assert grid.estimate(missing, {"real_only": [10], "mixing": [30]}, 2) == 25
    assert grid.estimate(missing, {}, 1) is None
    assert grid.estimate(missing, {"label_adaptation": [5]}, 1) is None  # it trains no network
    assert [grid.shown_time(seconds) for seconds in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]


def test_thousands_of_trainings_are_not_started_unasked(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "_measured", lambda params, missing: {"mixing": [36.0]})
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    points = grid.plan(grid.parse_axes(["alpha=0.001,0.002,...,1", "strategies=mixing"], params), INPUTS)
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
    assert grid.faces_worth(n, power_law(n), power_law(wanted)) == pytest.approx(wanted)
    assert grid.faces_worth(n, power_law(n), power_law(n)) == pytest.approx(n)


def test_beyond_its_ends_a_curve_says_so() -> None:
    n = np.array([50.0, 500])
    found = grid.faces_worth(n, power_law(n), np.array([power_law(n[1]) - 0.1, power_law(n[0]) + 0.1]))
    assert found.tolist() == [np.inf, 0.0]
    assert [grid.say_count(one, [50, 500]) for one in (*found, 123.4)] == ["more than 500", "fewer than 50", "123"]


def test_a_curve_that_rises_counts_as_flat() -> None:
    n = np.array([10.0, 100, 1000])
    assert grid.faces_worth(n, np.array([8.0, 4.0, 5.0]), 4.0) == pytest.approx(100)
    assert grid.faces_worth(n, np.array([8.0, 8.0, 8.0]), 8.0) == pytest.approx(10)
    assert grid.faces_worth(n, np.array([8.0, 9.0, 4.0]), 6.0) == pytest.approx(100 * 10 ** (np.log(8 / 6) / np.log(2)))


PHOTOS = np.arange(30).astype(np.str_)


def test_without_noise_the_interval_is_a_point_and_with_noise_it_holds_the_truth() -> None:
    n = np.array([50.0, 100, 200, 400, 800])
    exact = np.broadcast_to(power_law(n)[:, None, None], (5, 3, 30))
    targets = np.broadcast_to(power_law(np.array([150.0, 300]))[:, None, None], (2, 3, 30))
    expected = np.array([[150.0] * 3, [300.0] * 3])
    assert grid.worth_intervals(n, exact, targets, PHOTOS) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    noisy, near = (values * rng.lognormal(0, 0.1, values.shape) for values in (exact, targets))
    found = grid.worth_intervals(n, noisy, near, PHOTOS, seed=3)
    assert np.all((found[:, 1] < expected[:, 0]) & (expected[:, 0] < found[:, 2]))
    assert np.all((found[:, 1] < found[:, 0]) & (found[:, 0] < found[:, 2]))
    assert np.array_equal(found, grid.worth_intervals(n, noisy, near, PHOTOS, seed=3))


def test_what_makes_faces_and_seeds_hard_for_all_alike_leaves_the_worth_sure() -> None:
    n = np.array([50.0, 100, 200])
    rng = np.random.default_rng(0)
    hard = rng.lognormal(0, 0.3, (1, 1, 30)) * rng.lognormal(0, 0.1, (1, 3, 1))
    real, targets = power_law(n)[:, None, None] * hard, power_law(np.array([120.0]))[:, None, None] * hard
    assert grid.worth_intervals(n, real, targets, PHOTOS)[0] == pytest.approx([120, 120, 120])


@given(st.integers(1, 4), st.floats(0.5, 20), st.integers(0, 100))
@settings(max_examples=20)
def test_copies_of_all_faces_of_a_photograph_and_the_scale_of_errors_change_nothing(
    n_seeds: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = np.array([50.0, 100, 200])
    values = power_law(np.array([50.0, 100, 200, 120]))[:, None, None] * rng.lognormal(0, 0.1, (4, n_seeds, 30))
    found = grid.worth_intervals(n, values[:3], values[3:], PHOTOS, resamples=200)
    copies = scale * np.repeat(values, 3, axis=2)
    again = grid.worth_intervals(n, copies[:3], copies[3:], np.repeat(PHOTOS, 3), resamples=200)
    assert again == pytest.approx(found)


def test_an_interval_may_reach_beyond_the_curve() -> None:
    n = np.array([50.0, 100])
    real = np.broadcast_to(power_law(n)[:, None, None], (2, 1, 30))
    target = (np.where(np.arange(30) % 2, 0.5, 1.5) * power_law(np.array(70.0)))[None, None]
    assert grid.worth_intervals(n, real, target, PHOTOS)[0] == pytest.approx([70, 0, np.inf])
    assert grid.worth_intervals(n, real, target, np.full(30, "one"))[0] == pytest.approx([70, 0, np.inf])


def test_two_seeds_that_lie_apart_make_no_number_impossible() -> None:
    n = np.array([50.0, 100])
    seeds = np.array([0.5, 1.5])[:, None] * np.ones(30)
    found = grid.worth_intervals(n, np.ones((2, 2, 30)) * [[[2]], [[1]]], seeds[None] * 1.4, PHOTOS)
    assert found[0, 0] == pytest.approx(100 ** (np.log(2 / 1.4) / np.log(2)) * 50 ** (np.log(1.4) / np.log(2)))
    assert found[0, 1:].tolist() == [0, np.inf]


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_interval_holds_the_true_number_in_95_of_100_cases(n_seeds: int) -> None:
    n, true, held = np.array([50.0, 100, 200, 400, 800]), np.array([80.0, 150, 300]), []
    means = power_law(np.concatenate([n, true]), b=0.15)
    for repetition in range(150):
        rng = np.random.default_rng(repetition)
        photos = simulation.photographs(rng, 150)
        errors = simulation.errors(rng, means, n_seeds, photos, seed_sd=0.0 if n_seeds == 1 else 0.01)
        names = photos.astype(np.str_)
        found = grid.worth_intervals(n, errors[:5], errors[5:], names, resamples=1000, seed=repetition)
        held += ((found[:, 1] <= true) & (true <= found[:, 2])).tolist()
    assert 0.93 <= np.mean(held) <= 0.99


def result(strategy: str, seed: int, nme: float, val: float | None = None, **settings: Any) -> Result:
    errors = grid.Errors(
        faces=np.array([*(f"f{i}" for i in range(6)), "hard"]),
        subsets=np.array(["lfpw"] * 6 + ["ibug"]),
        photos=np.array(["p0", "p0", "p1", "p2", "p3", "p4", "p5"]),
        yaw=np.array([0.0, 3, -8, 20, -35, 50, 0]),
        nme={"all": np.array([*(nme + 0.1 * (i % 3 - 1) for i in range(6)), 50.0])},
    )
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
    rows = grid.table(grid(), 800)
    assert {row["n_real"] for row in rows} == {None, 50, 200, 800}
    assert {row["alpha"] for row in rows if row["strategy"] != "mixing"} == {None}
    assert list(rows[0]) == list(stage.COLUMNS)


def test_the_best_alpha_is_chosen_on_validation() -> None:
    mixing = [row for row in grid.table(grid(), 800) if row["strategy"] == "mixing"]
    assert grid.best_alpha(mixing) == 0.25  # 0.5 is better on test
    kept = grid.at_best_alpha(grid.table(grid(), 800))
    assert {row["alpha"] for row in kept} == {None, 0.25}


def test_a_curve_is_the_mean_over_seeds_with_its_interval() -> None:
    rows = [row for row in grid.curves(grid(), 800) if row["strategy"] == "real_only"]
    assert [row["n_real"] for row in rows] == [50, 200, 800]
    assert [row["test_nme"] for row in rows] == pytest.approx(power_law(np.array([50, 200, 800])))
    for row in rows:
        assert row["high"] - row["low"] == pytest.approx(2 * 12.7 * 0.1, rel=0.1)  # Student's t of two seeds 0.2 apart
        assert row["low"] < row["test_nme"] < row["high"]


def test_parts_are_the_regions_and_poses_that_are_there() -> None:
    found = grid.parts(grid())
    assert {name: part.nme.shape[1] for name, part in found.items()} == {
        "all": 6,
        "frontal": 3,
        "half-turned": 1,
        "turned": 2,
    }
    jaw = [replace(one, errors=replace(one.errors, nme=one.errors.nme | {"jaw": np.arange(7.0)})) for one in grid()]
    assert grid.parts(jaw)["jaw"].nme.tolist() == [[0, 1, 2, 3, 4, 5]] * len(jaw)
    assert "jaw" not in grid.parts([*jaw[:-1], grid()[-1]])
    others = replace(grid()[0], errors=grid()[0].errors.at(np.arange(7) > 0))
    with pytest.raises(ValueError, match="were tested on different faces \\(6 and 5\\); run dvc exp remove"):
        grid.parts([*grid(), others])


def test_worth_is_said_for_each_use_of_synthetic_faces() -> None:
    counts = [50, 200, 800]
    found = grid.worth_table(grid(), 800)
    assert [row["part"] for row in found] == [part for part in ("all", *BINS) for _ in range(4)]
    assert [row["faces"] for row in found[::4]] == [6, 3, 1, 2]
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
    assert grid.say_worth(mixing, counts).startswith("50 real faces + synthetic (mixing at alpha = 0.25, NME ")
    assert grid.say_worths(found[3], counts)["worth"] == "more than 800"
    assert grid.worth_table([one for one in grid() if one.point.strategy != "real_only"], 800) == []


def test_errors_of_earlier_code_have_no_regions_and_perhaps_no_photographs() -> None:
    yaws = {"a": 1.0, "b": 2.0, "train": 3.0}
    old = [{"face": "b", "subset": "x", "nme": "4"}, {"face": "a", "subset": "y", "nme": "5"}]
    errors = stage.read_errors(old, yaws)
    assert errors.faces.tolist() == errors.photos.tolist() == ["a", "b"]
    assert (errors.yaw.tolist(), errors.subsets.tolist()) == ([1, 2], ["y", "x"])
    assert {part: nme.tolist() for part, nme in errors.nme.items()} == {"all": [5, 4]}
    new = stage.read_errors([old[0] | {"photo": "p"} | dict.fromkeys(REGIONS, "3")], yaws)
    assert (new.photos.tolist(), list(new.nme)) == (["p"], ["all", *REGIONS])


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
        "photo": "p0",
        "yaw": 0.0,
        "nme": pytest.approx(8.9),
    }
    assert {path.name for path in Path("reports").iterdir()} == {
        "sweep.csv",
        "sweep_errors.parquet",
        "sweep_curves.csv",
        "sweep_alpha.png",
        "sweep_n_real.png",
        "sweep_worth.csv",
        "sweep_parts.png",
    }
    printed = capsys.readouterr().out
    assert "real alone (95 %: " in printed
    assert (
        f"nothing is said by region: {len(grid())} of {len(grid())} points, such as {grid()[0].experiment}" in printed
    )
    stage.write_tables(grid()[:1], 800)  # of a grid without curves none of a former one stay
    assert {path.name for path in Path("reports").iterdir()} == {"sweep.csv", "sweep_errors.parquet"}


def test_what_is_given_beside_alpha_and_n_real_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()

    def given(steps: int) -> list[Result]:
        points = [one.point for one in grid()]
        more = (("training.steps", steps), ("model.mirror", True))
        points = [replace(point, settings=(*point.settings, *more)) for point in points]
        return [replace(one, point=point) for one, point in zip(grid(), points, strict=True)]

    stage.write_tables(given(600) + given(1200), 800)
    stage.write_curves(given(600) + given(1200), 800, params)
    assert {path.name for path in Path("reports").iterdir()} == {"sweep.csv", "sweep_errors.parquet"}
    assert "training.steps varies" in capsys.readouterr().out
    errors = parquet.read_table("reports/sweep_errors.parquet")
    keys = ("strategy", "alpha", "n_real", "seed", "training.steps", "model.mirror", "face")
    rows = errors.select(keys).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 7 * 2 * len(grid())
    stage.write_curves(given(600), 800, params)
    assert Path("reports/sweep_alpha.png").exists()


def test_a_count_beside_all_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    one = grid()[0]
    given = [
        replace(one, point=replace(one.point, settings=(*one.point.settings, ("n_synthetic", count))))
        for count in (100, "all")
    ]
    stage.write_tables(given, 800)
    counts = parquet.read_table("reports/sweep_errors.parquet")["n_synthetic"].to_pylist()
    assert set(counts) == {"100", "all"}
