"""`facemix sweep` by the real commands at smoke size, on drawn faces."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import toy_project
from toy_mlflow import mlflow_server
from toy_project import Shell, runs

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another clone than that of the pipeline's tests: here nothing is prepared or trained."""
    return toy_project.fresh(tmp_path_factory.mktemp("sweep") / "facemix")


@pytest.fixture(scope="module")
def shell(project: Path) -> Shell:
    return toy_project.shell_in(project)


@pytest.fixture(scope="module")
def committed(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two imports, nothing rendered, the smallest trainings, all of it committed."""
    toy_project.begin(shell, tmp_path_factory.mktemp("data"))
    shell("sed -i '/^  synthetic: *#/,/seed:/s/n: 60/n: 0/' params.yaml && git add -A && git commit -qm smoke")


def start(command: str, project: Path) -> subprocess.Popen[str]:
    """Starts a sweep in the background, as the head of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *command.replace("facemix", "facemix.cli", 1).split()],
        cwd=project,
        env=toy_project.environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Where tests run in the background of a shell, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(experiment: str, process: subprocess.Popen[str], shell: Shell) -> None:
    """Until a sweep has trained a point."""
    deadline = time.monotonic() + 400
    while experiment not in shell("git for-each-ref refs/exps") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_sweep_trains_each_point_once_and_goes_on_after_a_kill(committed: None, project: Path, shell: Shell) -> None:
    before = len(runs(project, shell))
    command = "facemix sweep alpha=0.35,1 n_real=20 strategies=mixing"
    process = start(command, project)
    wait_for("sweep-label_adaptation", process, shell)
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.communicate()

    printed = shell(command)
    assert re.search(r"4 trainings: [23] are there, [12] to run, about ", printed)
    with (project / "reports/sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [(row["strategy"], row["alpha"], row["n_real"], row["seed"]) for row in rows]
    assert points == [
        ("synthetic_only", "", "", "0"),
        ("label_adaptation", "", "20", "0"),
        ("data_adaptation", "", "20", "0"),
        ("mixing", "0.35", "20", "0"),
        ("mixing", "1.0", "20", "0"),
    ]
    new = runs(project, shell)[before:]
    for strategy, row in zip(("data_adaptation", "mixing"), rows[2:4], strict=True):
        trained = [run["tags"]["DVC_EXP_NAME"] for run in new if run["name"] == f"{strategy} seed 0"]
        assert set(trained) == {row["experiment"]}
    assert rows[4] == rows[2] | {"strategy": "mixing", "alpha": "1.0"}  # bit for bit the same: not trained twice
    assert "4 trainings: 4 are there, 0 to run" in shell(command)
    written = ("sweep.csv", "sweep_alpha.png", "sweep_curves.csv")
    assert shell("git status --porcelain -uall") == "".join(f"?? reports/{name}\n" for name in written)
    table = shell("dvc exp show --csv --no-pager")
    assert all(row["experiment"] in table for row in rows)

    first, errors = ((project / "reports" / name).read_bytes() for name in ("sweep.csv", "sweep_errors.parquet"))
    before = len(runs(project, shell))
    shell(
        "dvc exp remove " + " ".join(row["experiment"] for row in rows[:4]) + " && rm -r .dvc/cache/runs reports/sweep*"
    )
    command += " -j 2"  # two points at a time give what one at a time gave
    printed = shell(f"{command} > one.log & {command} > two.log; wait; cat one.log two.log; rm one.log two.log")
    assert "(2 at a time)" in printed or "how long is known after the first" in printed
    assert "4 trainings: 4 are there, 0 to run" in printed  # the other one trained them
    assert [run["name"] for run in runs(project, shell)[before:]].count("mixing seed 0") == 1
    assert (project / "reports/sweep.csv").read_bytes() == first
    assert (project / "reports/sweep_errors.parquet").read_bytes() == errors
    shell("rm reports/sweep*")


def test_a_server_that_goes_down_during_a_sweep_has_every_run_in_the_end(
    committed: None, project: Path, shell: Shell, tmp_path: Path
) -> None:
    store = (
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    )
    with ThreadPoolExecutor() as pool:
        with mlflow_server(project, "server", *store) as address:
            command = f"MLFLOW_TRACKING_URI={address} facemix sweep n_real=20,30,40 strategies=real_only"
            sweep = pool.submit(shell, command)
            deadline = time.monotonic() + 400
            while "sweep-real_only" not in shell("git for-each-ref refs/exps") and not sweep.done():
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert "3/3 sweep-real_only-n" in sweep.result()
    assert "kept; try again when MLflow answers" in shell(f"MLFLOW_TRACKING_URI={address} facemix deliver", expect=1)

    with mlflow_server(project, "server", *store, port=int(address.rsplit(":")[-1])):
        assert "MLflow has every run" in shell(f"MLFLOW_TRACKING_URI={address} facemix deliver")
        found = runs(project, shell, address)
    assert sorted(run["params"]["n_real"] for run in found) == ["20", "30", "40"]
    for run in found:
        assert run["status"] == "FINISHED" and len(run["models"]) == 1
        assert run["metrics"].keys() >= {"train_loss", "val_nme", "val.nme", "test.nme"}
        assert {"metrics.json", "errors.csv", "history.csv"} <= set(run["files"])
    assert not list((project / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))


def test_mlflow_run_sweeps(committed: None, shell: Shell) -> None:
    printed = shell(
        "mlflow run . -e sweep -P n_real=20 -P strategies=real_only --env-manager local --experiment-name facemix"
    )
    assert "1 trainings: " in printed and "reports/sweep.csv: 1 points" in printed
    shell("rm reports/sweep*")


def test_ctrl_c_keeps_finished_points_and_leaves_nothing_running(committed: None, project: Path, shell: Shell) -> None:
    command = "facemix sweep alpha=0.55,0.65 n_real=22 strategies=mixing -j 2"
    before = shell("git status --porcelain -uall")
    process = start(command, project)
    wait_for("sweep-label_adaptation-n22", process, shell)
    children = psutil.Process(process.pid).children(recursive=True)
    for _ in range(2):  # as the impatient do
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130, printed
    kept = re.search(r"\nstopped; (\d) of \d new points are kept, the same command goes on\n$", printed)
    assert kept, printed
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert shell("git status --porcelain -uall") == before

    there, points = re.search(r"(\d) are there", printed), re.search(r"(\d) trainings", printed)
    again = shell(command)
    assert there and points
    assert f"{points[1]} trainings: {int(there[1]) + int(kept[1])} are there" in again
    assert "another process" not in again  # the lock is free
    assert f"reports/sweep.csv: {points[1]} points" in again
    shell("rm reports/sweep*")


def test_a_sweep_of_what_is_not_committed_or_not_there_is_refused(committed: None, shell: Shell) -> None:
    shell("sed -i 's/^alpha: .*/alpha: 0.25/' params.yaml")
    assert "facemix sweep: params.yaml: changed and not committed" in shell("facemix sweep", expect=1)
    shell("git checkout -q -- .")
    printed = shell("facemix sweep n_real=9000 strategies=real_only", expect=1)
    assert re.search(r"n_real: found 9000, but there are \d+ training faces", printed)
