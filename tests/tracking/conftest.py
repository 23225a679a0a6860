"""A main workspace with an empty store, and a courier in this process."""

import os
import shutil
import warnings
from pathlib import Path

import pytest

import toy_courier
from facemix import tracking
from facemix.tracking import run, store

ENVIRONMENT = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "FACEMIX_PARENT_RUN_ID",
    *tracking.DVC_TAGS,
)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs: MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("DVC_ROOT", str(folder))
        store.client()
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main workspace, with the working directory in a temporary one below it."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    for name, value in store.QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run, "Courier", toy_courier.InProcess)
    root = tmp_path / "project"
    elsewhere = root / ".dvc" / "tmp" / "exps" / "tmpabc"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(root))
    packages = (Path(tracking.__file__).parents[2], Path(toy_courier.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(folder) for folder in packages))
    shutil.copy(empty_store, root)
    return root
