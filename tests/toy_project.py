"""The project in a folder of its own with drawn faces, and the commands that a user types there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import toy

REPOSITORY = Path(__file__).resolve().parents[1]
STAGE = re.compile(r"^Running stage '(.+)':", re.MULTILINE)
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


def begin(shell: Shell, data: Path) -> None:
    """A first commit, two imports and the smoke preset; the latter two are not committed."""
    shell("git init -q && git add -A && git commit -qm start")
    shell(f"facemix import 300w {toy.write_300w(data / 'real', n=90)} --name toy")
    shell(f"facemix import facesynthetics {toy.write_facesynthetics(data / 'drawn', n=60)}")
    shell("facemix preset smoke")


def runs(project: Path, shell: Shell, store: str = "sqlite:///mlflow.db") -> list[dict[str, Any]]:
    """Every MLflow run of a store, by default the one at the root, in order of start."""
    code = (
        f"import json, mlflow; c = mlflow.MlflowClient('{store}'); "
        "e = [x.experiment_id for x in c.search_experiments()]; "
        "print(json.dumps([dict(name=r.info.run_name, status=r.info.status, metrics=r.data.metrics, "
        "params=r.data.params, tags=r.data.tags, "
        "files=[f.path for f in c.list_artifacts(r.info.run_id)], "
        "inputs=[d.dataset.name for d in r.inputs.dataset_inputs], "
        "models=[m.model_id for m in (r.outputs.model_outputs if r.outputs else [])]) "
        "for r in c.search_runs(e, order_by=['start_time'])], default=str))"
    )
    found: list[dict[str, Any]] = json.loads(shell(f'python -W ignore -c "{code}"').splitlines()[-1])
    return found
