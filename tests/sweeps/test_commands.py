"""`facemix sweep` by the real commands at smoke size, on drawn faces."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import toy_project
from toy_mlflow import mlflow_server
from toy_project import Shell, runs

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("sweeps")]  # they share what is trained


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another clone than that of the pipeline's tests: here nothing is prepared or trained."""
    return toy_project.fresh(tmp_path_factory.mktemp("sweep") / "facemix")


@pytest.fixture(scope="module")
def shell(project: Path) -> Shell:
    return toy_project.shell_in(project)


@pytest.fixture(scope="module")
def facemix(project: Path) -> Shell:
    return toy_project.facemix_in(project)


@pytest.fixture(scope="module")
def committed(project: Path, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two imports, nothing rendered, the smallest trainings, all of it committed."""
    toy_project.begin(project, tmp_path_factory.mktemp("data"))
    toy_project.set_params(project, {"render.synthetic.n": 0})
    shell("git commit -qam smaller")


@pytest.fixture(autouse=True)
def tables(project: Path) -> Iterator[None]:
    """No test finds the tables of another."""
    yield
    for path in (project / "reports/sweep").glob("*"):
        if path.name != ".gitkeep":
            path.unlink()


def points(project: Path) -> list[dict[str, str]]:
    """The rows of the sweep's table."""
    with (project / "reports/sweep/points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def start(command: str, project: Path) -> subprocess.Popen[str]:
    """Starts a sweep in the background, as the head of a process group of its own.

    Its runs are kept, and `runs` delivers them: MLflow's import in each of them would take longer than the trainings.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *command.replace("facemix", "facemix.cli", 1).split()],
        cwd=project,
        env=toy_project.environment(project) | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},  # nobody listens
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(experiment: str, process: subprocess.Popen[str], shell: Shell) -> None:
    """Until a sweep has trained a point."""
    deadline = time.monotonic() + 400
    while experiment not in shell("git for-each-ref refs/exps") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_sweep_trains_each_point_once_and_goes_on_after_a_kill(
    committed: None, project: Path, shell: Shell, facemix: Shell
) -> None:
    before = len(runs(project))
    arguments = "sweep alpha=0.35,1 n_real=20 strategies=mixing"
    process = start(f"facemix {arguments}", project)
    wait_for("sweep-label_adaptation", process, shell)
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.communicate()

    runs(project)  # from which it is known how long the rest takes
    printed = facemix(arguments)
    assert re.search(r"4 trainings: [23] are there, [12] to run, about ", printed)
    assert "mixing-a0.35-n20-s0" in printed and ": validation NME " in printed
    assert "test NME" not in printed  # that stands in the results
    rows = points(project)
    assert [(row["strategy"], row["alpha"], row["n_real"], row["seed"]) for row in rows] == [
        ("synthetic_only", "", "", "0"),
        ("label_adaptation", "", "20", "0"),
        ("data_adaptation", "", "20", "0"),
        ("mixing", "0.35", "20", "0"),
        ("mixing", "1.0", "20", "0"),
    ]
    new = runs(project)[before:]
    for strategy, row in zip(("data_adaptation", "mixing"), rows[2:4], strict=True):
        trained = [run["tags"]["DVC_EXP_NAME"] for run in new if run["name"] == f"{strategy} seed 0"]
        assert set(trained) == {row["experiment"]}
    assert rows[4] == rows[2] | {"strategy": "mixing", "alpha": "1.0"}  # bit for bit the same: not trained twice
    assert "4 trainings: 4 are there, 0 to run" in facemix(arguments)
    written = ("alpha.png", "curves.csv", "points.csv")
    assert shell("git status --porcelain -uall") == "".join(f"?? reports/sweep/{name}\n" for name in written)
    table = shell("dvc exp show --csv --no-pager")
    assert all(row["experiment"] in table for row in rows)
    header = table.splitlines()[0]
    assert header.index("val_nme.") < header.index("test_nme.")


def test_two_sweeps_at_once_train_two_points_at_a_time_and_nothing_twice(
    committed: None, project: Path, shell: Shell, facemix: Shell
) -> None:
    arguments = "sweep alpha=0.35,1 n_real=20 strategies=mixing"
    facemix(arguments)  # one point at a time
    kept = (project / "reports/sweep/errors.parquet").read_bytes()
    before_rows = points(project)
    again = [row["experiment"] for row in before_rows[2:4]]
    before = len(runs(project))
    shell(f"dvc exp remove {' '.join(again)}")
    for runs_of_stage in {run.parent for run in (project / ".dvc/cache/runs").glob("*/*/*")}:
        # So that both are trained, not taken from DVC's cache; DVC fails on a folder of a stage without any run.
        if any(re.search("train (data_adaptation|mixing) ", run.read_text()) for run in runs_of_stage.iterdir()):
            shutil.rmtree(runs_of_stage)
    for path in ("points.csv", "errors.parquet"):
        (project / "reports/sweep" / path).unlink()
    sweeps = [start(f"facemix {arguments} -j 2", project) for _ in range(2)]
    said = "".join(sweep.communicate(timeout=400)[0] for sweep in sweeps)
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    assert "4 trainings: 2 are there, 2 to run" in said and "(2 at a time)" in said
    assert "4 trainings: 4 are there, 0 to run" in said  # the other one trained them
    new = runs(project)[before:]
    (parent,) = (run for run in new if run["name"] == arguments)
    children = [run for run in new if run["tags"].get("mlflow.parentRunId") == parent["id"]]
    assert sorted(run["name"] for run in children) == ["data_adaptation seed 0", "mixing seed 0"]
    assert len(new) == 3 and parent["metrics"].keys() == {"val_nme"}
    assert (project / "reports/sweep/errors.parquet").read_bytes() == kept
    now = points(project)
    assert all(float(row["seconds"]) > 0 for row in now)  # of these alone the time differs
    assert [row | {"seconds": ""} for row in now] == [row | {"seconds": ""} for row in before_rows]


def test_points_that_others_trained_are_not_trained_again(
    committed: None, project: Path, shell: Shell, facemix: Shell, tmp_path: Path
) -> None:
    arguments = "sweep alpha=0.35,1 n_real=20 strategies=mixing"
    facemix(arguments)
    published = {name: (project / "reports/sweep" / name).read_bytes() for name in ("points.csv", "errors.parquet")}
    for name, content in published.items():
        (tmp_path / name).write_bytes(content)
    commit = shell("git rev-parse HEAD").strip()
    assert {row["commit"] for row in points(project)} == {commit}
    assert {row["n_synthetic"] for row in points(project)} == {"48"}  # of the network behind, too
    shell(f"dvc exp remove {points(project)[3]['experiment']}")
    printed = facemix(f"{arguments} --known {tmp_path / 'points.csv'}")
    assert "points.csv: 4 points are known; 1 of them take the place of a training" in printed
    assert "4 trainings: 3 are there, 1 is known, 0 to run" in printed
    assert {name: (project / "reports/sweep" / name).read_bytes() for name in published} == published


def test_a_server_that_goes_down_during_a_sweep_has_every_run_in_the_end(
    committed: None, project: Path, shell: Shell, tmp_path: Path
) -> None:
    files = ("--artifacts-destination", str(tmp_path / "files"))
    store = ("--backend-store-uri", f"sqlite:///{tmp_path}/server.db", *files)
    with ThreadPoolExecutor() as pool:
        with mlflow_server(project, "server", *store) as address:
            sweep = pool.submit(shell, f"MLFLOW_TRACKING_URI={address} facemix sweep n_real=24,30 strategies=real_only")
            deadline = time.monotonic() + 400
            while "sweep-real_only" not in shell("git for-each-ref refs/exps") and not sweep.done():
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert "2/2 sweep-real_only-n" in sweep.result()
    to_server = toy_project.facemix_in(project, MLFLOW_TRACKING_URI=address)
    assert "kept: run `facemix deliver` again" in to_server("deliver", expect=1)

    with mlflow_server(project, "server", *store, port=int(address.rsplit(":")[-1])):
        assert "all runs are in MLflow" in to_server("deliver")
        found = [run for run in runs(project, address) if not run["name"].startswith("sweep")]
    assert sorted(run["params"]["n_real"] for run in found) == ["24", "30"]
    for run in found:
        assert run["status"] == "FINISHED" and len(run["models"]) == 1
        assert run["metrics"].keys() >= {"train_loss", "val_error", "val.nme", "test.nme", "test.fr8"}
        assert {"history.csv", "predictions.npz"} <= run["files"]
    assert not list((project / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))


def test_mlflow_run_sweeps(committed: None, shell: Shell) -> None:
    printed = shell(
        "mlflow run . -e sweep -P n_real=24 -P strategies=real_only --env-manager local --experiment-name facemix"
    )
    assert "1 training: " in printed and "reports/sweep/points.csv: 1 point\n" in printed


def test_ctrl_c_keeps_finished_points_and_leaves_nothing_running(
    committed: None, project: Path, shell: Shell, facemix: Shell
) -> None:
    before, known = shell("git status --porcelain -uall"), experiments(shell)
    process = start("facemix sweep alpha=0.55,0.65 n_real=22 strategies=mixing -j 2", project)
    wait_for("sweep-label_adaptation-n22", process, shell)
    children = psutil.Process(process.pid).children(recursive=True)
    for _ in range(2):  # as the impatient do
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130, printed
    kept = re.search(r"\nstopped; (\d) of \d new points are kept; the same command continues\n$", printed)
    assert kept, printed
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert shell("git status --porcelain -uall") == before
    assert len(experiments(shell) - known) == int(kept[1])

    again = facemix("sweep n_real=22 alpha=0.9 strategies=label_adaptation")
    assert "alpha: none of these strategies uses it, so it changes nothing" in again
    assert "2 trainings: 2 are there, 0 to run" in again
    assert "another process" not in again  # the lock is free
    assert "reports/sweep/points.csv: 2 points" in again


def experiments(shell: Shell) -> set[str]:
    return set(shell("git for-each-ref --format='%(refname)' refs/exps").split())


def test_a_sweep_of_what_is_not_committed_or_not_there_is_refused(
    committed: None, project: Path, shell: Shell, facemix: Shell
) -> None:
    toy_project.set_params(project, {"alpha": 0.25})
    assert "facemix sweep: params.yaml: changed and not committed" in facemix("sweep", expect=1)
    shell("git checkout -q -- .")
    printed = facemix("sweep n_real=9000 strategies=real_only", expect=1)
    assert re.search(r"n_real: found 9000, but there are \d+ training faces", printed)
