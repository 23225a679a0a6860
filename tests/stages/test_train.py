"""The laws of the strategies, on drawn faces."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import facemix
import toy
from facemix import cli, clock, config, workspace
from facemix.errors import FacemixError
from facemix.evaluation import measure
from facemix.faces import packs
from facemix.faces.face import STAND_IN
from facemix.faces.schemes import ibug68
from facemix.stages import train as stage
from facemix.stages.prepare import prepare
from facemix.strategies import STRATEGIES
from facemix.training import predictions, tasks
from facemix.training.adaptation import LabelAdapter
from facemix.training.checkpoint import checkpoint_path, checkpoints
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet
from facemix.verdict import results

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, config.Params]:
    """A project's folder with packs of drawn faces, and its parameters."""
    root = tmp_path_factory.mktemp("project")
    toy.write_300w(root / "data/sources/real/toy", n=60)
    toy.write_facesynthetics(root / "data/sources/synthetic/drawn", n=24)
    params = config.load(REPOSITORY / "params.yaml")
    params = dataclasses.replace(
        params,
        n_real="all",
        n_synthetic="all",
        sources=config.Sources(
            real=(config.Source(name="toy", format="300w"),),
            synthetic=(config.Source(name="drawn", format="facesynthetics"),),
        ),
        render=toy.NO_RENDERS,
        pack=config.Pack(crop_size=64, margin=2.0),
        model=dataclasses.replace(params.model, input_size=48, width=16),
        training=dataclasses.replace(
            params.training, steps=4, batch_size=8, warmup_steps=1, evaluate_every=2, ema_decay=0.5, device="cpu"
        ),
        adaptation=dataclasses.replace(params.adaptation, epochs=3),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        prepare("real", params)
        prepare("synthetic", params)
    return root, params


@pytest.fixture
def project(prepared: tuple[Path, config.Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh copy to work in, with a store of its own."""
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens: tracking never holds work up
    yield tmp_path


@pytest.fixture
def params(prepared: tuple[Path, config.Params]) -> config.Params:
    return prepared[1]


def save_shared(params: config.Params) -> None:
    """A synthetic-only detector and an adapter that moves points: what other strategies start from."""
    torch.manual_seed(5)
    about: dict[str, Any] = {
        "scheme": ibug68().as_dict(),
        "network": tasks.architecture(params),
        "adapter": None,
        "training": {"steps": 4, "faces_seen": {"synthetic_only": 32}},
    }
    model = params.model
    net = LandmarkNet(ibug68(), model.backbone, model.input_size, model.width)
    Landmarker(net, model.context, about).save(Path("models/synthetic_only/seed-0"))
    adapter = LabelAdapter(ibug68(), ibug68(), 8)
    torch.nn.init.normal_(adapter.leave.weight, std=0.02)
    about = about | {"adapter": {"hidden": 8}}
    Landmarker(net, model.context, about, adapter).save(Path("models/label_adaptation/seed-0"))


def weights(name: str, params: config.Params, tmp_path: Path) -> dict[str, torch.Tensor]:
    task = tasks.gather(STRATEGIES[name], 0, params)
    outcome = tasks.train_network(task, tmp_path / f"{name}-{task.alpha}.pt", lambda _: None)
    return outcome.landmarker.network.state_dict()


@pytest.mark.parametrize(("alpha", "twin"), [(0.0, "real_only"), (1.0, "data_adaptation")])
def test_mixing_at_an_end_is_the_strategy_of_one_set_bit_for_bit(
    alpha: float, twin: str, project: Path, params: config.Params, tmp_path: Path
) -> None:
    save_shared(params)
    mixed = weights("mixing", dataclasses.replace(params, alpha=alpha), tmp_path)
    alone = weights(twin, params, tmp_path)
    assert all(torch.equal(mixed[key], alone[key]) for key in alone)


def test_adapted_labels_make_a_difference(project: Path, params: config.Params, tmp_path: Path) -> None:
    save_shared(params)
    adapted, rendered = weights("data_adaptation", params, tmp_path), weights("synthetic_only", params, tmp_path)
    assert not all(torch.equal(adapted[key], rendered[key]) for key in adapted)


def test_label_adaptation_shares_the_network_of_synthetic_only(project: Path, params: config.Params) -> None:
    save_shared(params)
    outcome = tasks.fit_adapter(tasks.gather(STRATEGIES["label_adaptation"], 0, params))
    shared = Landmarker.load("models/synthetic_only/seed-0").network.state_dict()
    mine = outcome.landmarker.network.state_dict()
    assert all(torch.equal(mine[key], shared[key]) for key in shared)
    assert outcome.landmarker.adapter is not None


def test_a_shared_network_works_where_training_would(
    project: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_shared(params)
    monkeypatch.setattr(tasks.processes, "choose_device", lambda _name: torch.device("meta"))
    base = tasks.gather(STRATEGIES["label_adaptation"], 0, params).base
    assert base is not None
    assert {parameter.device.type for parameter in base.network.parameters()} == {"meta"}


def test_fine_tuning_starts_from_the_network_of_synthetic_only(project: Path, params: config.Params) -> None:
    save_shared(params)
    started = tasks.new_network(tasks.gather(STRATEGIES["fine_tuning"], 0, params)).state_dict()
    shared = Landmarker.load("models/synthetic_only/seed-0").network.state_dict()
    assert all(torch.equal(started[key], shared[key]) for key in shared)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_no_strategy_opens_a_set_that_it_does_not_train_on(
    name: str, project: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_shared(params)
    opened = []
    read = packs.read
    monkeypatch.setattr(packs, "read", lambda folder: (opened.append(folder.name), read(folder))[1])
    strategy = STRATEGIES[name]
    tasks.gather(strategy, 0, params)
    trains_on_synthetic = strategy.alpha(params) > 0 and strategy.shares_network_of is None
    assert ("synthetic" in opened) == trains_on_synthetic


def test_every_trained_strategy_has_the_same_architecture_budget_and_augmentation(
    project: Path, params: config.Params
) -> None:
    save_shared(params)
    trained = {name: tasks.gather(one, 0, params).identity() for name, one in STRATEGIES.items() if one.trains}
    for key in ("model", "augmentation"):
        assert all(one[key] == trained["real_only"][key] for one in trained.values())
    budgets = {name: one["training"]["steps"] * one["training"]["batch_size"] for name, one in trained.items()}
    assert {budgets.pop(name) for name in ("control", "two_heads")} == {2 * budgets["real_only"]}
    assert set(budgets.values()) == {budgets["real_only"]}


def test_a_trained_strategy_writes_all_its_files(project: Path, params: config.Params) -> None:
    stage.train(STRATEGIES["synthetic_only"], 0, params)
    stage.train(STRATEGIES["label_adaptation"], 0, params)
    stage.train(STRATEGIES["fine_tuning"], 0, params)
    folder = project / "models/label_adaptation/seed-0"
    assert {path.name for path in folder.iterdir()} == {
        "history.csv",
        "label_gap.csv",
        "model.json",
        "model.safetensors",
        "predictions.npz",
    }
    about = json.loads((folder / "model.json").read_text())
    assert about["adapter"]["val_error_after"] <= about["adapter"]["val_error_before"]
    tuned = json.loads((project / "models/fine_tuning/seed-0/model.json").read_text())
    assert tuned["training"]["faces_seen"] == {"fine_tuning": 32, "synthetic_only": 32}
    assert tuned["made_of"]["packages"] == workspace.installed_packages()
    assert (project / "models/fine_tuning/seed-0/batch.png").exists()
    assert not list((project / "checkpoints").glob("*.pt"))
    for name in ("synthetic_only", "label_adaptation", "fine_tuning"):  # found by what model.json says
        made_of = json.loads((project / f"models/{name}/seed-0/model.json").read_text())["made_of"]
        seconds = clock.read(checkpoint_path(checkpoints(project), f"{name}-seed-0", made_of))
        assert seconds is not None and 0 < seconds < 600


def test_processes_of_two_machines_write_one_detector_and_one_run(
    project: Path, params: config.Params, tmp_path_factory: pytest.TempPathFactory
) -> None:
    save_shared(params)
    write_params(project / "params.yaml", params)
    other = tmp_path_factory.mktemp("machines") / "other"
    shutil.copytree(project, other)
    before = sorted(path.relative_to(other) for path in other.rglob("*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What torchrun tells its processes; the real one is tried in tests/training/test_processes.py.
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "facemix.cli", "train", "mixing"],
            cwd=folder,
            env=os.environ | group | {"RANK": str(number), "DVC_ROOT": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, folder in enumerate((project, other))
    ]
    printed = []
    for machine in machines:
        out, said = machine.communicate()
        assert machine.returncode == 0, said
        printed.append([line.split(":")[0] for line in out.splitlines()])
    assert printed == [["step 2", "step 4", "models/mixing/seed-0"], []]
    assert sorted(path.relative_to(other) for path in other.rglob("*")) == before
    folder = project / "models/mixing/seed-0"
    written = {"batch.png", "history.csv", "model.json", "model.safetensors", "predictions.npz"}
    assert {path.name for path in folder.iterdir()} == written
    seen = facemix.Landmarker.load(folder).about["training"]["faces_seen"]
    assert seen == {"mixing": 4 * 8, "synthetic_only": 32}
    assert sorted(path.suffix for path in (project / "checkpoints").iterdir()) == [".lock", ".seconds"]
    assert len(list((project / ".facemix/outbox").glob("*/journal.jsonl"))) == 1


def write_params(path: Path, params: config.Params) -> None:
    """A params.yaml of these very parameters."""
    shutil.copy(REPOSITORY / "params.yaml", path)
    plain = json.loads(json.dumps(config.plain(params)))
    nested = {"model", "pack", "sources", "training", "adaptation", "render"}
    changes = {f"{section}.{key}": value for section in nested for key, value in plain[section].items()}
    config.update_params(path, changes)
    assert config.load(path) == params


def test_a_stand_in_is_never_logged_as_real(project: Path, params: config.Params) -> None:
    task = tasks.gather(STRATEGIES["real_only"], 0, params)
    assert [one.name for one in stage._datasets(task)] == ["real-train", "real-validation", "real-test"]
    stand_in = dataclasses.replace(task.real, subsets=np.full(len(task.real), STAND_IN))
    names = [one.name for one in stage._datasets(dataclasses.replace(task, real=stand_in))]
    assert names == ["stand-in-train", "stand-in-validation", "stand-in-test"]


def test_predictions_are_what_the_saved_model_predicts(project: Path, params: config.Params) -> None:
    stage.train(STRATEGIES["real_only"], 0, params)
    folder = project / "models/real_only/seed-0"
    real = packs.read(Path("data/packs/real"))
    again = predictions.of_judging_faces(facemix.Landmarker.load(folder), real)
    kept = predictions.read(folder)
    assert kept.ids.tolist() == again.ids.tolist()
    for level, points in again.points.items():
        np.testing.assert_allclose(kept.points[level], points, atol=1e-3)


def test_the_figures_of_a_run_are_those_of_the_comparison(
    project: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: dict[str, float] = {}
    monkeypatch.setattr(stage.tracking.Run, "metrics", lambda _run, values, step=0: logged.update(values))
    stage.train(STRATEGIES["real_only"], 0, params)
    (trained,) = results.read(project / "models", [0], "outer_eye")
    assert logged["test.nme"] == trained.metrics["test"]["nme"] == pytest.approx(np.mean(list(trained.errors.values())))
    other = results.read(project / "models", [0], "box_diagonal")[0].metrics  # no training in between
    assert other["test"]["nme"] < logged["test.nme"]


def test_errors_are_comparable_on_the_same_faces_however_they_were_cropped(
    project: Path, params: config.Params
) -> None:
    def said(pack: packs.Pack) -> str:
        return measure.which_faces(pack, np.flatnonzero(pack.splits == "validation"))

    before = packs.read(Path("data/packs/real"))
    prepare("real", dataclasses.replace(params, pack=config.Pack(crop_size=48, margin=1.6)))
    assert said(packs.read(Path("data/packs/real"))) == said(before)
    assert said(dataclasses.replace(before, boxes=before.boxes + 1)) != said(before)
    assert said(dataclasses.replace(before, splits=np.roll(before.splits, 1))) != said(before)


def test_resume_from_another_configuration_is_refused(project: Path, params: config.Params) -> None:
    mine = stage.checkpoint_of(tasks.gather(STRATEGIES["real_only"], 0, params))
    task = tasks.gather(STRATEGIES["real_only"], 0, params)
    other = dataclasses.replace(params, training=dataclasses.replace(params.training, learning_rate=0.001))
    tasks.train_network(task, mine, lambda _: None)
    with pytest.raises(
        ValueError, match=r"of another configuration: training.learning_rate: found 0\.02, expected 0\.001$"
    ):
        stage.train(STRATEGIES["real_only"], 0, other, resume=mine)
    with pytest.raises(ValueError, match="--resume .*nothing.pt: no such file"):
        stage.train(STRATEGIES["real_only"], 0, params, resume=Path("nothing.pt"))
    stage.train(STRATEGIES["real_only"], 0, params, resume=mine)


@pytest.mark.parametrize("name", ["training/tasks.py", "training/model.py", "faces/order.py"])
def test_a_training_does_not_go_on_by_other_code(
    name: str, project: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.gather(STRATEGIES["real_only"], 0, params)
    package = project / "facemix"
    shutil.copytree(Path(facemix.__file__).parent, package, ignore=shutil.ignore_patterns("data", "__pycache__"))
    before = stage.checkpoint_of(task)
    monkeypatch.setattr(tasks, "__file__", str(package / "training/tasks.py"))
    tasks.code.cache_clear()
    assert stage.checkpoint_of(task) == before
    with (package / name).open("a") as file:
        file.write("# other\n")
    tasks.code.cache_clear()
    assert stage.checkpoint_of(task) != before


@pytest.mark.parametrize(("key", "strategy"), [("n_real", "real_only"), ("n_synthetic", "synthetic_only")])
def test_more_faces_than_there_are_is_refused_with_their_number(
    key: str, strategy: str, project: Path, params: config.Params
) -> None:
    many = dataclasses.replace(params, **{key: 1000})
    with pytest.raises(
        ValueError, match=rf"params.yaml: {key}: found 1000, but there are \d+ training faces; lower it"
    ):
        tasks.gather(STRATEGIES[strategy], 0, many)


def test_smaller_sets_are_part_of_larger_ones(project: Path, params: config.Params) -> None:
    real = packs.read(Path("data/packs/real"))
    small, large = (set(tasks.choose(real, n, 0, "n_real").tolist()) for n in (5, 12))
    assert len(small) == 5
    assert small < large


def test_a_network_of_another_architecture_is_not_fine_tuned(project: Path, params: config.Params) -> None:
    save_shared(params)
    wider = dataclasses.replace(params, model=dataclasses.replace(params.model, width=24))
    task = tasks.gather(STRATEGIES["fine_tuning"], 0, wider)
    with pytest.raises(ValueError, match="models/synthetic_only/seed-0: found the network .*run `dvc repro`"):
        tasks.new_network(task)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(SystemExit, match=rf"--seed: found {seed}, expected a number from 0 to 2\^32 - 1"):
        cli.main(["train", "real_only", "--seed", str(seed)])


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        ("eyes", "found 'eyes', but the scheme ibug68 has "),
        ("auto", "1 of 2 faces .* no outer_eye, .*: b. Set .*box_side"),
    ],
)
def test_errors_that_could_not_be_measured_are_told_before_a_training(
    normalizer: str, message: str, project: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.stack([toy.template()] * 3)
    points[:2, 36] = np.nan  # an outer corner
    pack = SimpleNamespace(
        landmarks=points,
        scheme=ibug68(),
        ids=np.array(["a", "b", "c"]),
        splits=np.array(["train", "test", "validation"]),
    )
    monkeypatch.setattr(stage.tasks, "gather", lambda *_: SimpleNamespace(real=pack))
    params = dataclasses.replace(params, evaluation=config.Evaluation(normalizer=normalizer))
    with pytest.raises(FacemixError, match=message):
        stage.train(STRATEGIES["real_only"], 0, params)
