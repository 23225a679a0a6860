"""Tracking: complete runs in the store, whatever happens to the process, the workspace or the server."""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy

from facemix import tracking
from facemix.tracking import delivery, store
from facemix.tracking import run as run_module
from facemix.use import detector
from facemix.use.detector import Faces
from toy_mlflow import mlflow_server

TRAINING = """
import os, signal, sys
import toy_courier
from facemix import tracking
from facemix.tracking import delivery

toy_courier.install()
first, last, kill = map(int, sys.argv[1:4])
with tracking.start(name="mixing seed 0", experiment="facemix", identity=sys.argv[4], params={"alpha": 0.5}) as run:
    for step in range(first, last):
        run.metrics({"loss": 1 / (step + 1)}, step=step)
        delivery.send(run._journal)
    if kill:
        run.metrics({"loss": 0.0}, step=last)  # in the journal, not in the store
        os.kill(os.getpid(), signal.SIGKILL)
"""


def track(identity: str | None = None, **options: Any) -> contextlib.AbstractContextManager[tracking.Run]:
    return tracking.start(name="mixing seed 0", experiment="facemix", identity=identity, **options)


def stored_runs() -> list[Any]:
    return quietly(lambda: client().search_runs([client().get_experiment_by_name("facemix").experiment_id]))


def client() -> Any:
    return quietly(store.client)


def quietly(read: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read()


def history(run: Any, key: str = "loss") -> list[tuple[int, float]]:
    points = quietly(lambda: client().get_metric_history(run.info.run_id, key))
    return sorted((point.step, point.value) for point in points)


def outbox(root: Path) -> list[Path]:
    return list((root / ".dvc/tmp/facemix/outbox").glob("*/"))


def training(first: int, last: int, *, kill: bool = False, identity: str = "one") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TRAINING, str(first), str(last), str(int(kill)), identity])


def test_a_database_whose_making_was_cut_short_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(tracking_uri: str, registry_uri: str) -> None:
        with contextlib.closing(sqlite3.connect(str(sqlalchemy.make_url(tracking_uri).database))) as database:
            database.execute("CREATE TABLE experiments (half INTEGER)")  # MLflow opens no such database
        raise KeyboardInterrupt

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mlflow.MlflowClient", killed)
        store.client()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(store.client().search_experiments()) == 1
    assert not list(tmp_path.glob("*.new"))


def test_a_run_is_complete_in_the_store_of_the_main_workspace(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "mixing@0")
    monkeypatch.setenv("DVC_EXP_NAME", "tidy-face")
    Path("history.csv").write_text("step\n")
    Path("curves").mkdir()
    Path("curves/ced.svg").write_text("<svg/>")
    datasets = [
        tracking.Dataset(name="300w train", digest="1" * 36, source="data/real", n_faces=50, context="training"),
        tracking.Dataset(name="300w test", digest="2", source="data/real", n_faces=554, context="test"),
    ]
    with track(params={"alpha": 0.5, "model": {"width": 64, "ema": {"decay": 0.99}}}, datasets=datasets) as run:
        run.metrics({"val_nme": 5.25, "train_loss": float("nan")}, step=200)
        run.metrics({"val_nme": 5.0}, step=400)
        run.artifact("history.csv", "tables")
        run.artifact("curves")

    (stored,) = stored_runs()
    assert stored.info.status == "FINISHED" and stored.info.run_name == "mixing seed 0"
    assert stored.data.params == {"alpha": "0.5", "model.width": "64", "model.ema.decay": "0.99"}
    assert history(stored, "val_nme") == [(200, 5.25), (400, 5.0)]
    assert stored.data.tags["DVC_STAGE"] == "mixing@0" and stored.data.tags["DVC_EXP_NAME"] == "tidy-face"
    inputs = {read.dataset.name: (read.dataset.digest, read.tags[0].value) for read in stored.inputs.dataset_inputs}
    assert inputs == {"300w train": ("1" * 36, "training"), "300w test": ("2", "test")}
    listed = [
        file.path for folder in ("tables", "curves") for file in client().list_artifacts(stored.info.run_id, folder)
    ]
    assert listed == ["tables/history.csv", "curves/ced.svg"]
    assert (root / "mlflow.db").is_file() and not list(Path.cwd().glob("ml*"))
    assert outbox(root) == []


def test_a_relative_store_lies_at_the_main_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/all.db")
    assert tracking.store_uri() == f"sqlite:///{root}/runs/all.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/all.db")
    assert tracking.store_uri() == "sqlite:////srv/all.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking.store_uri() == "http://tracking:5000"


def test_without_dvc_root_the_nearest_dvc_workspace_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT")
    (root / "src").mkdir()
    monkeypatch.chdir(root / "src")
    assert tracking.workspace() == root


def test_the_run_of_mlflow_run_becomes_the_parent_of_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    for alpha in (0.1, 0.3):
        with track(params={"alpha": alpha}):
            assert "MLFLOW_RUN_ID" not in os.environ
    runs = stored_runs()
    assert sorted(run.data.params["alpha"] for run in runs) == ["0.1", "0.3"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {"f" * 32}


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED")]
)
def test_a_run_that_does_not_finish_says_so(error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), track() as run:
        run.metrics({"loss": 1.0}, step=1)
        raise error
    assert [run.info.status for run in stored_runs()] == [status]


def test_a_killed_training_continues_its_run(root: Path) -> None:
    assert training(0, 3, kill=True).wait() == -signal.SIGKILL
    (run,) = stored_runs()
    assert run.info.status == "RUNNING" and len(history(run)) == 3

    assert tracking.deliver() == 0
    (run,) = stored_runs()
    assert run.info.status == "KILLED" and len(history(run)) == 4

    assert training(1, 6).wait() == 0  # from its last checkpoint, so some steps come again
    (run,) = stored_runs()
    assert run.info.status == "FINISHED"
    assert history(run) == [(0, 1.0), (1, 1 / 2), (2, 1 / 3), (3, 0.0), (4, 1 / 5), (5, 1 / 6)]
    assert outbox(root) == []

    with track("one"):
        pass
    assert len(stored_runs()) == 2  # that training had ended


def test_sending_again_changes_nothing(root: Path) -> None:
    """A process may be killed after sending and before noting it."""
    Path("history.csv").write_text("step\n")
    dataset = tracking.Dataset(name="300w train", digest="1", source="data/real", n_faces=50, context="training")
    with pytest.raises(KeyboardInterrupt), track("one", params={"alpha": 0.5}, datasets=[dataset]) as run:
        run.metrics({"loss": 0.1, "nan": float("nan"), "inf": float("inf")}, step=1)
        run.artifact("history.csv")
        run.model(checkpoint(root))
        raise KeyboardInterrupt
    (journal,) = outbox(root)
    lines = (journal / "journal.jsonl").read_bytes().splitlines(keepends=True)
    unsent = [line for line in lines if json.loads(line)["do"] != "sent"]
    (journal / "journal.jsonl").write_bytes(b"".join(unsent) + b'{"do": "metr')  # the last line torn by the kill

    assert tracking.deliver() == 0
    (stored,) = stored_runs()
    assert stored.info.status == "KILLED"
    assert [len(history(stored, key)) for key in ("loss", "nan", "inf")] == [1, 1, 1]
    assert len(stored.inputs.dataset_inputs) == len(stored.outputs.model_outputs) == 1


def test_training_goes_on_while_the_server_is_away(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        Path("history.csv").write_text("step\n")
        begun = time.monotonic()
        with caplog.at_level(logging.WARNING), track("one", params={"alpha": 0.5}) as run:
            for step in range(1000):
                run.metrics({"loss": step / 8}, step=step)
            run.artifact("history.csv")
            run.model(checkpoint(root))
        assert time.monotonic() - begun < 20
        Path("history.csv").unlink()
    (kept,) = [record.getMessage() for record in caplog.records if record.name == "facemix.tracking.run"]
    (journal,) = outbox(root)
    assert "not completely in MLflow" in kept and "refused" in kept and str(journal) in kept

    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # here a store that is back; the journal does not care which
    assert tracking.deliver() == 0
    (stored,) = stored_runs()
    assert stored.info.status == "FINISHED" and stored.data.params == {"alpha": "0.5"}
    assert history(stored) == [(step, step / 8) for step in range(1000)]
    assert [file.path for file in client().list_artifacts(stored.info.run_id)] == ["history.csv"]
    assert len(stored.outputs.model_outputs) == 1
    assert outbox(root) == [] and tracking.deliver() == 0
    assert len(stored_runs()) == 1


def test_what_the_store_refuses_does_not_hold_up_the_rest(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with track() as run:
        run.metrics({"no|such|key": 1.0}, step=1)
        run.artifact(checkpoint(root))
    (stored,) = stored_runs()
    assert stored.info.status == "FINISHED" and "refuses the metrics" in caplog.text
    assert outbox(root) == []


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_project_that_was_moved_or_copied_has_its_artifacts_where_it_is(
    how: Callable[[Path, Path], object], root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    with track() as run:
        run.artifact(checkpoint(root))
        run.model(checkpoint(root))
    (before,) = stored_runs()
    place = tmp_path_factory.mktemp("elsewhere") / "moved"
    how(root, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("DVC_ROOT", str(place))
    left = sorted(root.rglob("*"))
    with track() as run:
        run.artifact(checkpoint(place))
    assert sorted(root.rglob("*")) == left
    assert len(list((place / "mlartifacts").glob("*/*/artifacts/seed-0"))) == 2
    runs = stored_runs()
    assert before.info.artifact_uri in [stored.info.artifact_uri for stored in runs]  # nothing was rewritten
    for stored in runs:
        assert quietly(lambda stored=stored: client().list_artifacts(stored.info.run_id, "seed-0"))
    (model,) = quietly(lambda: client().search_logged_models([before.info.experiment_id]))
    found = Path(store.artifacts(model.artifact_location).artifact_dir, "MLmodel")
    assert found.is_relative_to(place) and found.exists()


@pytest.mark.parametrize("name", ["what?", "a%20b", "a#b c", "Köpfe"])
def test_a_project_in_a_folder_of_an_odd_name_has_its_database_and_artifacts_inside(
    name: str, root: Path, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "projects" / name
    (place / ".dvc").mkdir(parents=True)
    shutil.copy(empty_store, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("DVC_ROOT", str(place))
    with track() as run:
        run.artifact(checkpoint(place))
        run.model(checkpoint(place))
    (stored,) = stored_runs()
    assert stored.info.status == "FINISHED" and len(stored.outputs.model_outputs) == 1
    assert quietly(lambda: client().list_artifacts(stored.info.run_id, "seed-0"))
    assert sorted(path.name for path in place.iterdir()) == [".dvc", "mlartifacts", "mlflow.db", "models"]
    assert list(place.parent.iterdir()) == [place]


def test_experiments_of_odd_names_keep_their_artifacts_apart(root: Path) -> None:
    names = ("facemix", "a b", "a/b", "../up", "Köpfe?")
    for name in names:
        with tracking.start(name="mixing seed 0", experiment=name) as run:
            run.artifact(checkpoint(root))
    assert len(list((root / "mlartifacts").iterdir())) == len(names)


def test_a_deleted_experiment_does_not_hold_up_new_runs(root: Path) -> None:
    with track():
        pass
    quietly(lambda: client().delete_experiment(client().get_experiment_by_name("facemix").experiment_id))
    with track():
        pass
    assert len(stored_runs()) == 2 and outbox(root) == []  # what was deleted with it comes back, too


def test_a_living_process_keeps_its_journal(root: Path) -> None:
    with track("one") as run:
        run.metrics({"loss": 1.0}, step=1)
        assert tracking.deliver() == 0
        (stored,) = stored_runs()
        assert stored.info.status == "RUNNING"


def test_the_couriers_own_process_sends_the_run_and_what_others_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training(0, 3, kill=True).wait() == -signal.SIGKILL
    monkeypatch.setattr(run_module, "Courier", delivery.Courier)
    with track(patience=100.0) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.artifact(checkpoint(root))
    assert {stored.info.status for stored in stored_runs()} == {"FINISHED", "KILLED"}
    assert [len(history(stored)) for stored in sorted(stored_runs(), key=lambda stored: stored.info.status)] == [1, 4]


def test_processes_that_begin_at_once_all_get_complete_runs(root: Path) -> None:
    (root / "mlflow.db").unlink()  # both find that they have to make it
    processes = [training(0, 20, identity=name) for name in ("one", "two")]
    assert [process.wait() for process in processes] == [0, 0]
    runs = stored_runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert len({run.info.experiment_id for run in runs}) == 1
    assert [len(history(run)) for run in runs] == [20, 20]


def test_finished_runs_say_how_long_they_took(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert tracking.finished("facemix") == []
    with track(params={"training": {"steps": 12}}):
        pass
    with contextlib.suppress(ValueError), track():
        raise ValueError
    (run,) = tracking.finished("facemix")
    assert run.params == {"training.steps": "12"}
    assert 0 <= run.seconds < 600
    with socket.socket() as closed, caplog.at_level(logging.WARNING):
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert tracking.finished("facemix") == []
    assert "is away" in caplog.text


def test_equal_datasets_with_two_contexts_are_told_apart_by_name() -> None:
    dataset = tracking.Dataset(name="300w", digest="1", source="data/real", n_faces=50, context="training")
    with pytest.raises(ValueError, match="give the splits different names"), track(datasets=[dataset, dataset]):
        pass


def test_the_logged_model_predicts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeDetector:
        @classmethod
        def load(cls, folder: str) -> "FakeDetector":
            assert json.loads((Path(folder) / "model.json").read_text()) == {"points": 68}
            return cls()

        def predict(self, image: np.ndarray, boxes: np.ndarray) -> Faces:
            assert image.dtype == np.uint8 and image.shape == (64, 64, 3)
            points = np.repeat(boxes[:, None, :2], 68, axis=1)
            unknown = np.full(points.shape[:2], np.nan)
            return Faces(boxes=boxes, points=points, errors=unknown, visible=unknown, scores=unknown[:, 0])

    monkeypatch.setattr(detector, "Detector", FakeDetector)
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the model's copy of the package there
    with track() as run:
        run.model(checkpoint(root))
    (stored,) = stored_runs()
    import mlflow

    monkeypatch.chdir(root)  # as anybody would there, without a word about facemix
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", "sqlite:///mlflow.db")
    model = quietly(lambda: mlflow.pyfunc.load_model(f"runs:/{stored.info.run_id}/model"))
    assert [spec.name for spec in model.metadata.signature.inputs] == ["image", "boxes"]
    (found,) = model.predict(model.input_example)
    assert np.array_equal(found["landmarks"], np.full((1, 68, 2), 16.0))
    files = [path.suffix for path in (root / "mlartifacts").rglob("*")]
    assert ".safetensors" in files and ".pkl" not in files


def test_a_damaged_journal_is_sent_as_far_as_it_goes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert training(0, 3, kill=True).wait() == -signal.SIGKILL
    (journal,) = outbox(root)
    content = (journal / "journal.jsonl").read_bytes()
    (journal / "journal.jsonl").write_bytes(content + b"\0\0\0\n{}\n")
    assert tracking.deliver() == 0
    assert "a line is damaged; it and the lines after it (2 in all) are left out" in caplog.text
    (run,) = stored_runs()
    assert len(history(run)) == 4


def test_plain_mlflow_ui_at_the_root_shows_and_serves_the_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def log(experiment: str) -> None:
        with tracking.start(name="mixing seed 0", experiment=experiment) as run:
            run.metrics({"val_nme": 5.0}, step=200)
            run.artifact(checkpoint(root) / "model.json", "tables")
            run.model(checkpoint(root))

    log("here")
    with mlflow_server(root, "ui") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        log("through the server")
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        log("through the server")  # the server keeps this experiment's artifacts, but is not spoken to

        def get(path: str, **query: Any) -> bytes:
            data = json.dumps(query).encode() if query else None
            request = urllib.request.Request(f"{address}/{path}", data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as response:
                return bytes(response.read())

        shown = json.loads(get("api/2.0/mlflow/runs/search", experiment_ids=["1", "2"]))["runs"]
        assert len(shown) == 3
        for run in shown:
            assert run["info"]["status"] == "FINISHED" and run["data"]["metrics"][0]["value"] == 5.0
            run_id = run["info"]["run_id"]
            listed = json.loads(get(f"api/2.0/mlflow/artifacts/list?run_id={run_id}&path=tables"))["files"]
            assert [file["path"] for file in listed] == ["tables/model.json"]
            assert json.loads(get(f"get-artifact?run_id={run_id}&path=tables/model.json")) == {"points": 68}
            (model,) = run["outputs"]["model_outputs"]
            files = f"ajax-api/2.0/mlflow/logged-models/{model['model_id']}/artifacts/files"
            assert b"model_code_path" in get(f"{files}?artifact_file_path=MLmodel")
    assert outbox(root) == []


def checkpoint(root: Path, points: int = 68) -> Path:
    folder = root / "models" / "seed-0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"points": points}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder
