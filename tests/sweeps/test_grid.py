import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from facemix import config, workspace
from facemix.config import ConfigError, Params
from facemix.strategies import STRATEGIES, TABLE
from facemix.sweeps import grid, repository
from facemix.sweeps import run as stage
from facemix.sweeps.grid import Inputs, Point

NETWORK = ("augmentation", "model", "training")
INPUTS = {
    "synthetic_only": Inputs(params=("n_synthetic", *NETWORK), paths=("src/facemix/training",), needs=()),
    "real_only": Inputs(params=("n_real", *NETWORK), paths=("src/facemix/training",), needs=()),
    "label_adaptation": Inputs(
        params=("adaptation", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/training",),
        needs=("synthetic_only",),
    ),
    "data_adaptation": Inputs(
        params=("adaptation", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/training",),
        needs=("synthetic_only", "label_adaptation"),
    ),
    "mixing": Inputs(
        params=("adaptation", "alpha", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/training",),
        needs=("synthetic_only", "label_adaptation"),
    ),
    "two_heads": Inputs(params=("n_real", "n_synthetic", *NETWORK), paths=("src/facemix/training",), needs=()),
    "fine_tuning": Inputs(
        params=("fine_tuning", "n_real", "n_synthetic", *NETWORK),
        paths=("src/facemix/training",),
        needs=("synthetic_only",),
    ),
    "control": Inputs(params=("n_real", *NETWORK), paths=("src/facemix/training",), needs=()),
}
CONTENT = {"src/facemix/training": "abc"}


def named(params: Params, point: Point, content: dict[str, str] = CONTENT) -> str:
    digest = grid.digest(point, config.plain(params), INPUTS[point.strategy], content)
    assert len(digest) == 32
    return grid.experiment_name(point, digest)


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


def test_a_key_that_no_strategy_of_the_grid_uses_is_known(params: Params) -> None:
    arguments = ["alpha=0.1,0.2", "fine_tuning.learning_rate=0.5", "training.ema_decay=0.5"]

    def unused(*strategies: str) -> list[str]:
        axes = grid.parse_axes([*arguments, f"strategies={','.join(strategies)}"], params)
        return grid.unused(axes, grid.plan(axes, INPUTS), config.plain(params))

    assert unused("real_only") == ["alpha", "fine_tuning.learning_rate"]
    assert unused("real_only", "fine_tuning") == ["alpha"]
    assert unused("mixing", "fine_tuning") == []
    arguments = [f"alpha={params.alpha}"]
    assert unused("real_only") == []  # as it would be anyway


def test_what_is_not_given_is_as_params_say(params: Params) -> None:
    axes = grid.parse_axes(["alpha=0,0.5,...,1", "seeds=3"], params)
    assert axes == {
        "alpha": [0.0, 0.5, 1.0],
        "n_real": ["all"],
        "seeds": [0, 1, 2],
        "strategies": [name for name in STRATEGIES if name != "control"],  # params.yaml names no seed of it
    }
    assert grid.parse_axes(["seeds=4,7"], params)["seeds"] == [4, 7]
    with_control = dataclasses.replace(params, control_seeds=(0,))
    assert grid.parse_axes(["strategies=all"], with_control)["strategies"] == list(STRATEGIES)
    many = dataclasses.replace(params, seeds=(0, 1, 2), control_seeds=(0, 1, 2))
    assert grid.parse_axes(["seeds=1"], many)["seeds"] == [0]  # of the control, too
    with pytest.raises(ConfigError, match=r"found control, .*but control_seeds in params.yaml is \[\]"):
        grid.parse_axes(["strategies=control"], params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alpha"], "alpha: expected KEY=VALUES, such as"),
        (["alhpa=0"], "alhpa: not a key that can be swept; did you mean alpha?"),
        (["sources.real=1"], "sources.real: not a key that can be swept"),
        (["alpha="], "alpha: found '', expected values separated by single commas"),
        (["alpha=0,,1"], "alpha: found '0,,1', expected values separated by single commas"),
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
    params = dataclasses.replace(params, control_seeds=(0,))
    points = grid.plan(grid.parse_axes(["alpha=0,0.1,...,1", "n_real=10,20", "seeds=3"], params), INPUTS)
    counts = {name: sum(point.strategy == name for point in points) for name in STRATEGIES}
    assert counts == {
        "synthetic_only": 3,
        "real_only": 6,
        "label_adaptation": 6,
        "data_adaptation": 6,
        "mixing": 66,
        "fine_tuning": 6,
        "control": 6,
        "two_heads": 6,
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
    before: set[Point] = set()
    for point in points:
        assert all(need in before for need in grid.needed(point, INPUTS))
        before.add(point)
    assert {point.strategy for point in before} == {
        "synthetic_only",
        "real_only",
        "label_adaptation",
        "data_adaptation",
        "mixing",
    }


def test_mixing_at_its_ends_is_the_training_of_another_strategy(params: Params) -> None:
    axes = grid.parse_axes(["strategies=mixing", "alpha=0,0.5,1", "n_real=10,20", "seeds=2"], params)
    points = grid.plan(axes, INPUTS)
    for point in points:
        training, settings = grid.trained_as(point, INPUTS), dict(point.settings)
        assert training in points and training.seed == point.seed
        ends = {0: "real_only", 1: "data_adaptation"} if point.strategy == "mixing" else {}
        assert training.strategy == ends.get(settings.pop("alpha", None), point.strategy)
        assert training == point or dict(training.settings) == settings


def test_what_does_not_matter_at_an_end_of_mixing_makes_no_point_there(params: Params) -> None:
    arguments = ["strategies=mixing", "alpha=0,0.5,1", "n_synthetic=10,20", "adaptation.epochs=3,4", "seeds=1"]
    points = [point for point in grid.plan(grid.parse_axes(arguments, params), INPUTS) if point.strategy == "mixing"]
    counts = {alpha: sum(dict(point.settings)["alpha"] == alpha for point in points) for alpha in (0, 0.5, 1)}
    assert counts == {0: 1, 0.5: 4, 1: 4}


def test_values_have_the_type_that_params_yaml_has(params: Params) -> None:
    arguments = ["training.weight_decay=0,1", "n_real=50", "training.compile=true,False"]
    axes = grid.parse_axes(arguments, params)
    decay, n_real = axes["training.weight_decay"], axes["n_real"]
    assert [type(value) for value in (*decay, *n_real)] == [float, float, int]
    assert axes["training.compile"] == [True, False]
    assert grid.parse_values("training.compile", str(True)) == [True]  # as a table has it
    with pytest.raises(ConfigError, match="seeds"):
        grid.parse_axes(["seeds=true"], params)


def test_equal_inputs_have_one_name_and_other_inputs_another(params: Params) -> None:
    point = Point(strategy="mixing", seed=1, settings=(("alpha", 0.3), ("n_real", 250)))
    name = named(params, point)
    assert name.startswith("sweep-mixing-a0.3-n250-s1-")
    assert named(params, point) == name
    plain = config.plain(params)
    longer = config.parse(config.changed(plain, {"seeds": [0], "training.steps": 999}))
    assert named(longer, point) != name
    assert named(params, point, {"src/facemix/training": "other"}) != name
    other_default = config.parse(config.changed(plain, {"seeds": [0], "alpha": 0.9}))
    assert named(other_default, point) == name  # the point says its own alpha
    real = Point(strategy="real_only", seed=0, settings=(("n_real", "all"),))
    assert named(other_default, real) == named(params, real)  # alpha does not matter to it


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """The project's pipeline, without code or data."""
    from dvc.repo import Repo

    root = Path(__file__).resolve().parents[2]
    for name in ("dvc.yaml", "params.yaml", "packages.yaml", "src/facemix/strategies.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    config.update_params(tmp_path / "params.yaml", {"control_seeds": [0]})
    Repo.init(str(tmp_path), no_scm=True).close()
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries under DVC
def test_dvc_says_what_each_strategy_depends_on(pipeline: Path, params: Params) -> None:
    found = stage.read_inputs(pipeline, params)
    assert {name: one.needs for name, one in found.items()} == {name: one.needs for name, one in INPUTS.items()}
    packs = {"pack", "render.stand_in", "render.synthetic", "sources.real", "sources.synthetic"}
    for name, one in found.items():
        assert set(one.params) - packs == set(INPUTS[name].params)
        assert {"src/facemix/training", "src/facemix/faces/geometry.py"} <= set(one.paths)
        row = {key: value for key, value in one.other_params.items() if key.endswith(f"TABLE.{name}")}
        assert row == {f"src/facemix/strategies.py:TABLE.{name}": TABLE[name]}
        assert one.other_params["packages.yaml:torch"] == workspace.installed_packages()["torch"]
        assert not any(path.startswith(("models", "data/packs", "data/renders")) for path in one.paths)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries under DVC
@pytest.mark.parametrize(
    ("stand_in", "synthetic", "on_the_generator"),
    [(0, 0, set()), (0, 9, {"synthetic_only", "mixing"}), (9, 0, {"synthetic_only", "mixing", "real_only"})],
)
def test_a_training_depends_on_the_generator_where_it_draws_faces_for_it(
    stand_in: int, synthetic: int, on_the_generator: set[str], pipeline: Path, params: Params
) -> None:
    rendered = {"render.stand_in.n": stand_in, "render.synthetic.n": synthetic}
    found = stage.read_inputs(pipeline, config.parse(config.changed(config.plain(params), rendered)))
    names = {"synthetic_only", "mixing", "real_only"}
    assert {name for name in names if "src/facemix/render" in found[name].paths} == on_the_generator
    for name in names:
        assert {"data/sources/real", "render.stand_in"} <= {*found[name].paths, *found[name].params}


def test_a_known_point_is_trained_where_a_missing_one_starts_from_its_model(params: Params) -> None:
    axes = grid.parse_axes(["strategies=mixing,fine_tuning", "alpha=0.5", "n_real=10"], params)
    points = {point.strategy: point for point in grid.plan(axes, INPUTS)}
    told = set(points.values()) - {points["fine_tuning"]}
    assert stage.needed_all_the_same({points["fine_tuning"]}, told, INPUTS) == {points["synthetic_only"]}
    told = set(points.values()) - {points["mixing"]}
    needed = {points["synthetic_only"], points["label_adaptation"]}
    assert stage.needed_all_the_same({points["mixing"]}, told, INPUTS) == needed
    assert stage.needed_all_the_same(set(), told, INPUTS) == set()


def test_more_faces_than_there_are_or_all_twice_are_refused(params: Params) -> None:
    values = grid.parse_axes(["n_synthetic=50,100,all"], params)["n_synthetic"]
    for key in ("n_real", "n_synthetic"):
        grid.check_counts(key, values, 101)
        with pytest.raises(ConfigError, match=f"{key}: found 100, but there are 99 training faces"):
            grid.check_counts(key, values, 99)
        with pytest.raises(ConfigError, match=f"{key}: found both 100 and all, which are the same"):
            grid.check_counts(key, values, 100)


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
    with pytest.raises(ValueError, match="more than 1000 trainings need your consent; add --yes"):
        stage._announce((0, 0), points, params, 1, False)
    assert "1003 trainings: 0 are there, 1003 to run, about 10.0 h" in capsys.readouterr().out
    stage._announce((2, 3), points, params, 1, True)
    assert "1008 trainings: 2 are there, 3 are known, 1003 to run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda git: None, "no DVC repository"),
        (lambda git: Path(".dvc").mkdir(), "no git repository, but every experiment belongs to a commit"),
    ],
)
def test_without_dvc_or_a_commit_it_says_what_to_do(
    prepare: Any, message: str, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(None)
    with pytest.raises(ValueError, match=message):
        stage.run_sweep([], params, stage.How())


def test_changes_that_are_not_committed_are_named(tmp_path: Path) -> None:
    repository.git(tmp_path, "init", "--quiet")
    stage._check_clean(tmp_path)
    (tmp_path / "notes.txt").touch()
    stage._check_clean(tmp_path)  # does not matter to a training
    for name in ("packages.yaml", "params.yaml"):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=f"{name}.*: changed and not committed.*git commit"):
            stage._check_clean(tmp_path)
