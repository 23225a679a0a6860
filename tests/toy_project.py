"""The project in a folder of its own with drawn faces, and the commands that a user types there."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import toy
import toy_courier
from facemix import cli

REPOSITORY = Path(__file__).resolve().parents[1]
STAGE = re.compile(r"^Running stage '(.+)':", re.MULTILINE)
TRAININGS = {
    f"{name}@0"
    for name in (
        "synthetic_only",
        "real_only",
        "label_adaptation",
        "data_adaptation",
        "mixing",
        "fine_tuning",
        "control",
        "two_heads",
    )
}
Shell = Callable[..., str]


def fresh(root: Path) -> Path:
    """Copies the files that git knows to a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        if (REPOSITORY / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    return root


def environment(project: Path) -> dict[str, str]:
    """That of a user with the project's environment activated."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC", "AWS"))}
    return ours | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project / "src"),
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }


def shell_in(project: Path, **variables: str) -> Shell:
    """Runs a command there and returns what it prints; the command's exit status is `expect`."""

    def run(command: str, expect: int = 0) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=project,
            env=environment(project) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{command}\n{done.stdout}"
        return done.stdout

    return run


@contextlib.contextmanager
def inside(project: Path, **variables: str) -> Iterator[None]:
    """This process as a user's there: working directory, environment, and warnings, which are theirs to read."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(project)
        wanted = environment(project) | variables
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


def facemix_in(project: Path, **variables: str) -> Shell:
    """Runs `facemix ...` there in this process, which has torch and MLflow already; returns what it prints."""

    def run(arguments: str, expect: int = 0) -> str:
        printed, status = io.StringIO(), 0
        with toy_courier.in_this_process(), inside(project, **variables), contextlib.redirect_stdout(printed):
            try:
                cli.main(shlex.split(arguments))
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
                printed.write(f"{end.code}\n")
        assert status == expect, f"facemix {arguments}\n{printed.getvalue()}"
        return printed.getvalue()

    return run


def stale(project: Path) -> set[str]:
    """The stages that `dvc repro` would surely run; those behind them run where what comes before changes."""
    from dvc.repo import Repo

    with inside(project), contextlib.redirect_stdout(io.StringIO()), Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(dry=True)}


def begin(project: Path, data: Path) -> None:
    """Commits the start, two imports and the smoke preset; one face is rendered."""
    shell, facemix = shell_in(project), facemix_in(project)
    shell("git init -q && git add -A && git commit -qm start")
    facemix(f"import 300w {toy.write_300w(data / 'real', n=90)} --name toy")
    facemix(f"import facesynthetics {toy.write_facesynthetics(data / 'drawn', n=60)}")
    facemix("preset smoke")
    set_params(project, {"render.synthetic.n": 1})
    shell("git add -A && git commit -qm smoke")


def set_params(project: Path, changes: dict[str, object]) -> None:
    from facemix import config

    config.update_params(project / "params.yaml", changes)


def reproduce(project: Path, data: Path) -> str:
    """Imports, trains and compares, and commits it all; returns what `dvc repro` prints."""
    shell = shell_in(project)
    begin(project, data)
    printed = shell("dvc repro")
    facemix_in(project)("deliver")
    shell("git add -A && git commit -qm results")
    return printed


def copy(project: Path, to: Path) -> Path:
    """A project's copy to work in. What DVC keeps is linked: it is never written to."""

    def link_or_copy(source: str, target: str) -> None:
        if "/.dvc/cache/files/" in source:
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    return Path(shutil.copytree(project, to, copy_function=link_or_copy, symlinks=True))


def client(project: Path, store: str = "") -> Any:
    """MLflow's client of a store, by default the one at the root, once all that was kept is sent."""
    from mlflow import MlflowClient

    return MlflowClient(store or f"sqlite:///{project}/mlflow.db")


def runs(project: Path, store: str = "") -> list[dict[str, Any]]:
    """Every MLflow run of a store, by default the one at the root, in order of start."""
    if not store:
        facemix_in(project)("deliver")
    with inside(project):
        mlflow = client(project, store)
        experiments = [one.experiment_id for one in mlflow.search_experiments()]
        return [
            {
                "id": run.info.run_id,
                "name": run.info.run_name,
                "status": run.info.status,
                "metrics": run.data.metrics,
                "params": run.data.params,
                "tags": run.data.tags,
                "files": {file.path for file in mlflow.list_artifacts(run.info.run_id)},
                "inputs": {one.dataset.name for one in run.inputs.dataset_inputs},
                "models": [model.model_id for model in (run.outputs.model_outputs if run.outputs else [])],
            }
            for run in mlflow.search_runs(experiments, order_by=["start_time"])
        ]
