"""The model registry: one champion a benchmark, whatever arrives when."""

import itertools
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from test_tracking import checkpoint, client, quietly, stored_runs, track

from facemix import tracking
from facemix.errors import FacemixError
from facemix.stages import compare as compare_stage
from facemix.stages import register as stage
from facemix.tracking import registry

REAL = tracking.Benchmark(sources="300w", faces="1" * 12, scheme="ibug68", normalizer="outer_eye")
SMOKE = tracking.Benchmark(sources="stand-in", faces="2" * 12, scheme="ibug68", normalizer="outer_eye")


def register(folder: Path, nme: float, benchmark: tracking.Benchmark = REAL) -> None:
    with tracking.start(name="register", experiment="facemix") as run:
        run.register(folder, nme=nme, benchmark=benchmark, tags={"strategy": "mixing"}, description="the best")


def versions() -> list[Any]:
    return sorted(quietly(lambda: client().search_model_versions("name = 'facemix'")), key=lambda one: one.version)


def champion(benchmark: tracking.Benchmark = REAL) -> tracking.Champion:
    found = tracking.champion(benchmark.alias)
    assert found is not None
    return found


def test_a_model_is_registered_once_as_the_model_of_its_training(root: Path) -> None:
    with track() as run:
        run.model(checkpoint(root))
    (trained,) = stored_runs()
    for _ in range(2):
        register(checkpoint(root), 4.5)
    (version,) = versions()
    assert version.run_id == trained.info.run_id and version.tags["digest"] == champion().digest
    assert version.tags["strategy"] == "mixing" and champion().nme == 4.5
    assert version.description == "the best"
    assert len(quietly(lambda: client().search_logged_models([trained.info.experiment_id]))) == 1


def test_a_model_whose_training_is_not_in_the_store_is_registered_all_the_same(root: Path) -> None:
    register(checkpoint(root), 4.5)
    (version,) = versions()
    (run,) = stored_runs()
    assert version.run_id == run.info.run_id and run.info.run_name == "register"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_smoke_result_does_not_move_the_champion_of_the_real_benchmark_nor_the_reverse(
    order: tuple[int, ...], root: Path
) -> None:
    results = [(4.0, REAL), (4.4, REAL), (3.5, SMOKE), (3.9, SMOKE)]
    for number in order:
        nme, benchmark = results[number]
        register(checkpoint(root, points=number), nme, benchmark)
    assert (champion(REAL).nme, champion(SMOKE).nme) == (4.0, 3.5)
    assert champion(REAL).digest != champion(SMOKE).digest


def test_within_a_benchmark_the_lowest_nme_wins_whatever_the_order() -> None:
    def found(number: int, nme: float) -> Any:
        return SimpleNamespace(version=str(number), tags={f"val_nme.{REAL.alias}": f"{nme:.4f}"})

    others = SimpleNamespace(version="9", tags={f"val_nme.{SMOKE.alias}": "1.0000"})
    for order in itertools.permutations([found(2, 4.5), found(10, 4.5), found(3, 10.2), others]):
        assert registry.best_version(order, REAL.alias) == "2"


def test_one_model_keeps_its_nme_on_each_benchmark(root: Path) -> None:
    register(checkpoint(root, points=0), 4.5, REAL)
    register(checkpoint(root, points=0), 6.0, SMOKE)
    register(checkpoint(root, points=1), 9.0, SMOKE)
    assert len(versions()) == 2
    assert champion(REAL).digest == champion(SMOKE).digest
    assert (champion(REAL).nme, champion(SMOKE).nme) == (4.5, 6.0)


def test_faces_scheme_and_face_size_each_make_a_benchmark_and_its_name_is_readable() -> None:
    def alias(**changes: str) -> str:
        return tracking.Benchmark(
            **{"sources": "300W, Köpfe", "faces": "1", "scheme": "ibug68", "normalizer": "outer_eye"} | changes
        ).alias

    assert re.fullmatch("champion-300w-k-pfe-[0-9a-f]{8}", alias())
    changed = [alias(faces="2"), alias(scheme="hand21"), alias(normalizer="box_side")]
    assert len({alias(), *changed}) == 4
    assert alias(sources="").count("-") == 1


def test_what_is_to_be_registered_is_kept_while_the_server_is_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens
    register(checkpoint(root), 4.5)
    shutil.rmtree(root / "models")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.champion(REAL.alias) is None
    assert tracking.deliver() == 0
    assert champion().nme == 4.5


def test_a_served_model_needs_no_display(root: Path) -> None:
    with track() as run:
        run.model(checkpoint(root))
    (requirements,) = (root / "mlartifacts").rglob("requirements.txt")
    packages = requirements.read_text().split()
    assert f"opencv-python-headless=={version('opencv-python')}" in packages
    assert not [package for package in packages if package.startswith("opencv-python=")]


# --- facemix register -------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two trained models; the second is better."""
    monkeypatch.chdir(root)
    found = []
    for number, (strategy, nme) in enumerate([("real_only", 4.5), ("mixing", 4.25)]):
        folder = checkpoint(root, points=number)
        target = root / "models" / strategy / "seed-0"
        target.parent.mkdir(parents=True)
        shutil.move(folder, target)
        metrics = {"scheme": "ibug68", "normalizer": "outer_eye", "validation_faces": "1f", "val": {"nme": nme}}
        found.append(SimpleNamespace(strategy=strategy, seed=0, metrics=metrics | {"test": {"subsets": ["helen"]}}))
    monkeypatch.setattr(stage.results, "read", lambda models, seeds, normalizer: found)
    monkeypatch.setattr(stage.comparison, "faces_shown", lambda trained: "")
    return found


def test_the_best_by_validation_is_registered_and_its_serve_command_said(
    trained: list[Any], params: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.register(params, None)
    said, command = capsys.readouterr().out.splitlines()
    alias = said.partition(":")[0]
    assert "version 1, mixing seed 0, NME 4.25 on validation" in said
    assert command.startswith(f"mlflow models serve -m models:/facemix@{alias} ")

    stage.register(params, Path("models/real_only/seed-0"))
    said = capsys.readouterr().out
    assert said.startswith(f"{alias}: version 1, mixing") and "models/real_only/seed-0 has 4.50" in said
    assert len(versions()) == 2


def test_a_model_that_is_not_there_is_not_registered(trained: list[Any], params: Any) -> None:
    with pytest.raises(FacemixError, match="--model models/x: expected a trained model .* one of models/real_only/"):
        stage.register(params, Path("models/x"))


def test_register_says_so_when_mlflow_is_away(trained: list[Any], params: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(
        FacemixError, match="does not answer .* models/mixing/seed-0 is kept, and `facemix deliver` will register it"
    ):
        stage.register(params, None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.deliver() == 0 and len(versions()) == 1


@pytest.mark.parametrize("wanted", [False, True])
def test_compare_registers_only_where_the_workspace_says_so(
    wanted: bool, trained: list[Any], params: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = MagicMock()
    monkeypatch.setattr(compare_stage.tracking, "start", lambda **about: MagicMock(__enter__=lambda _self: run))
    monkeypatch.setattr(compare_stage, "REPORTS", tmp_path)
    found = MagicMock(trained=trained, ranked=[{"strategy": "mixing", "test_nme": 4.0}], test_faces={})
    asked = MagicMock(wraps=params, tracking=SimpleNamespace(experiment="facemix", register=wanted))
    compare_stage._track(found, asked, [])
    assert run.register.call_count == wanted
    assert not params.tracking.register  # as committed
