"""What is checked before a sweep starts on Ray, and what its tasks do: without Ray."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from facemix import cli, config, tracking
from facemix.cluster import Node
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.stages.train import checkpoint_of
from facemix.strategies import STRATEGIES
from facemix.sweeps import errand, on_ray, storage, worker
from facemix.sweeps.grid import Point
from facemix.sweeps.repository import Repository
from facemix.sweeps.work import Progress, Work
from facemix.tracking.journal import Journal
from facemix.tracking.run import _context_tags

NODE = Node(name="a1", resources={"CPU": 8.0, "GPU": 2.0}, host="one")


# --- Before anything starts ---


@pytest.mark.parametrize(
    ("resources", "gpus", "cpus", "jobs"),
    [
        ([{"CPU": 8.0}], 0, 1, 8),
        ([{"CPU": 8.0}], 0, 2.5, 3),
        ([{"CPU": 8.0, "GPU": 2.0}], 0.5, 1, 4),
        ([{"CPU": 2.0, "GPU": 2.0}], 0.1, 1, 2),
        ([{"CPU": 1.0, "GPU": 1.0}], 0.1, 0, 10),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}, {"CPU": 3.0, "GPU": 8.0}], 1, 1, 5),
    ],
)
def test_as_many_trainings_run_at_a_time_as_machines_have_room_for(
    resources: list[dict[str, float]], gpus: float, cpus: float, jobs: int
) -> None:
    nodes = [replace(NODE, resources=one) for one in resources]
    assert on_ray.check_resources(nodes, gpus, cpus) == jobs


def test_a_training_that_no_machine_has_room_for_is_refused() -> None:
    nodes = [NODE, replace(NODE, resources={"CPU": 16.0})]
    with pytest.raises(FacemixError, match=r"--gpus-per-training: found 3, but no machine .* more than 2 GPUs"):
        on_ray.check_resources(nodes, 3, 1)
    with pytest.raises(FacemixError, match=r"--cpus-per-training: found 17, but no machine .* more than 16 CPUs"):
        on_ray.check_resources(nodes, 0, 17)
    with pytest.raises(FacemixError, match="no machine of the cluster has both 1 GPUs and 12 CPUs"):
        on_ray.check_resources(nodes, 1, 12)


def test_a_folder_that_a_machine_does_not_see_is_refused() -> None:
    nodes = [NODE, replace(NODE, host="two")]
    on_ray.check_folder(nodes, Path("/mnt/team"), [True, True])
    with pytest.raises(FacemixError, match="^/mnt/team: not seen by two, but all machines share it"):
        on_ray.check_folder(nodes, Path("/mnt/team"), [True, False])


@pytest.mark.parametrize("store", ["sqlite:////home/me/facemix/mlflow.db", "sqlite+pysqlite:///m.db", "file:///m", "m"])
def test_a_store_in_a_file_is_refused_where_other_machines_train(store: str) -> None:
    nodes = [NODE, replace(NODE, host="two")]
    on_ray.check_store([NODE], store, one_machine=True)
    on_ray.check_store(nodes, "http://tracking:5000", one_machine=False)
    with pytest.raises(FacemixError, match=r"a file of this machine, but one, two train; start a server"):
        on_ray.check_store(nodes, store, one_machine=False)


def work_in(root: Path, params: Params) -> Work:
    project = Repository(top=root, inside=Path(), commit="0" * 40, name="a", email="a@b")
    points = [Point(strategy="real_only", seed=seed, settings=()) for seed in (0, 1)]
    return Work(
        project=project,
        params=params,
        axes={},
        inputs={},
        names={one: f"sweep-{one.seed}" for one in points},
        missing=points,
    )


def dvc_project(root: Path, config_text: str) -> Path:
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text(config_text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def test_without_a_dvc_remote_the_message_says_how_to_add_one(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match="no DVC remote.* run `dvc remote add -d storage FOLDER`"):
        storage.default_remote(dvc_project(tmp_path / "p", ""))


def test_a_remote_is_the_same_from_a_clone_in_another_folder(tmp_path: Path) -> None:
    text = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../../shared\n"
    remote = storage.default_remote(dvc_project(tmp_path / "p", text))
    assert remote.folder == tmp_path / "shared"
    clone = dvc_project(tmp_path / "far/away/clone", text)
    storage.configure(clone, tmp_path / "cache", remote)
    assert storage.default_remote(clone).folder == tmp_path / "shared"
    assert storage.cache(clone).is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "ray", "-j", "2"], "--jobs: Ray decides how many"),
        (["--gpus-per-training", "0.5"], "are Ray's; add --on ray"),
        (["--address", "head:6379"], "are Ray's; add --on ray"),
    ],
)
def test_options_of_the_other_runner_are_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "load", lambda: None)
    with pytest.raises(SystemExit, match=message):
        cli.main(["sweep", *arguments])


# --- What a task does ---


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_point_whose_need_failed_is_not_trained(scratch: Path) -> None:
    job = {"name": "sweep-mixing", "lock": {}}
    result = errand.carry_out(job, "a1", b"", {"name": "sweep-synthetic_only", "failed": "no"})
    assert result["failed"] == "was not trained: it needs sweep-synthetic_only, which failed"
    assert not list(scratch.iterdir())


def test_what_a_dead_sweep_left_is_deleted_and_what_a_living_one_uses_is_not(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "_locks", {})
    (scratch / "facemix-sweep-dead-b2").mkdir()
    (scratch / "facemix-sweep-dead-b2/lock").touch()
    first, second = errand._held_folder("living", "a1"), errand._held_folder("other", "a1")
    assert {path.name for path in scratch.iterdir()} == {first.name, second.name}
    assert errand._held_folder("living", "a1") == first
    for held in errand._locks.values():
        held.close()
    errand.clean("living", "a1")
    assert [path.name for path in scratch.iterdir()] == [second.name]


def test_a_jobs_process_ends_with_the_task_that_started_it(tmp_path: Path) -> None:
    """What it started ends, too: a training that nobody waits for would hold its GPU and its checkpoint."""
    code = (
        "import sys; from pathlib import Path; from facemix.sweeps import worker\n"
        "def carry_out(job, folder, running):\n"
        "    with open('log', 'wb') as log: running.command(['sh', '-c', 'echo $$ > pid; sleep 60'], folder, log, {})\n"
        "worker.carry_out = carry_out; worker.main()"
    )
    (tmp_path / "job.json").write_text(json.dumps({"home": str(tmp_path), "log": ""}))
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin
        process.stdin.write(b"\n")
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        group = int((tmp_path / "pid").read_text())
        process.stdin.close()
        assert process.wait(30) == 1
    with pytest.raises(ProcessLookupError):
        wait_until(lambda: os.killpg(group, 0) and False)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


JOB = {"name": "a", "sweep": "1", "commit": "c", "inside": ".", "home": "", "log": "logs/a.log", "lock": {}}
DOES = """
import os; from facemix.errors import FacemixError; from facemix.sweeps import worker
def carry_out(job, folder, running):
    print("on", job["name"], os.getpid())
    if job["name"] == "dies": os._exit(7)
    if job["name"] == "fails": raise FacemixError(f"no faces (the whole log: {folder / 'log'})")
    (folder / "home").mkdir(); (folder / "home/bundle").write_bytes(b"b")
    return {"val_nme": 4.5, "pid": os.getpid(), "gpu": (os.environ | job["environment"])["CUDA_VISIBLE_DEVICES"]}
worker.carry_out = carry_out; worker.main()
"""


def test_one_process_does_jobs_one_after_the_other_and_a_new_one_follows_one_that_died(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "_locks", {})
    monkeypatch.setattr(errand, "_unpacked", lambda *_: scratch)
    (scratch / "does.py").write_text(DOES)
    (scratch / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {scratch / 'does.py'}\n")
    (scratch / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(scratch / "python"))

    def do(name: str, gpu: str = "0") -> dict[str, Any]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu)
        return errand.carry_out(JOB | {"name": name, "variables": {}}, "a1", b"")

    first, second = do("a"), do("b", gpu="1")
    assert first["pid"] == second["pid"] and (first["gpu"], second["gpu"]) == ("0", "1")
    assert (first["log"], second["log"]) == (f"on a {first['pid']}\n", f"on b {first['pid']}\n")
    assert second["bundle"] == b"b" and second["val_nme"] == 4.5
    failed = do("fails")
    assert failed["failed"] == "no faces (the whole log: logs/a.log)" and "bundle" not in failed
    assert do("dies")["failed"] == "the training's process ended with status 7"
    third = do("c")
    assert third["pid"] != first["pid"] and len(list(scratch.glob("facemix-*/task-*"))) == 1
    errand._dismiss()
    for held in errand._locks.values():
        held.close()
    assert not list(scratch.glob("facemix-*/task-*"))


def test_a_finished_point_is_on_the_shelf_for_all_clones_and_the_first_one_stays(tmp_path: Path) -> None:
    clones = [dvc_project(tmp_path / name, "") for name in "ab"]
    for clone in clones:
        storage.configure(clone, clone / "cache", storage.Remote(name="s", settings={"url": str(tmp_path / "s")}))
    first, second = (storage.Shelf(clone, "c" * 40) for clone in clones)
    assert first.take("sweep-mixing") is None
    assert first.offer("sweep-mixing", b"one") == second.offer("sweep-mixing", b"two") == b"one"
    assert storage.Shelf(clones[0], "d" * 40).take("sweep-mixing") is None  # of another commit
    assert second.offer("sweep-mixing", b"two", unusable=b"one") == first.take("sweep-mixing") == b"two"
    assert not first.holds("0" * 32)


def test_each_sweep_has_an_order_of_its_own_in_which_needs_come_first(tmp_path: Path, params: Params) -> None:
    points = [Point(strategy="mixing", seed=seed, settings=()) for seed in range(8)]
    work = replace(work_in(tmp_path, params), missing=points, names={one: f"sweep-{one.seed}" for one in points})
    graph = {one: [points[0]] if one.seed else [] for one in points}
    orders = [on_ray._own_order(work, graph, sweep) for sweep in ("one", "two")]
    assert orders[0] != orders[1] and all(sorted(order, key=points.index) == points for order in orders)
    assert all(order[0] == points[0] for order in orders)


def test_dvc_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert worker.read_lock(tmp_path) == {}
    entry = {
        "cmd": "facemix train real_only --seed 0",
        "deps": [{"path": "data/packs/real", "hash": "md5", "md5": "12.dir", "size": 10}],
        "params": {"params.yaml": {"training": {"learning_rate": 0.001, "compile": False}, "n_real": "all"}},
    }
    worker.write_lock(tmp_path, {"real_only@0": entry})
    assert worker.read_lock(tmp_path) == {"real_only@0": entry}


def test_a_run_on_another_machine_is_of_the_sweeps_commit_and_a_child_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "c" * 40)
    monkeypatch.setenv("FACEMIX_PARENT_RUN", "run-1")
    tags = _context_tags()
    assert (tags["mlflow.source.git.commit"], tags["facemix.parent"]) == ("c" * 40, "run-1")


def test_checkpoints_lie_where_all_machines_see_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = SimpleNamespace(strategy=STRATEGIES["mixing"], seed=3, identity=lambda: {"seed": 3})
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.delenv("FACEMIX_CHECKPOINTS", raising=False)
    assert checkpoint_of(task).parent == tmp_path / "home/checkpoints"
    monkeypatch.setenv("FACEMIX_CHECKPOINTS", str(tmp_path / "shared"))
    assert checkpoint_of(task).parent == tmp_path / "shared"
    assert checkpoint_of(task).name.startswith("mixing-seed-3-")


# --- What comes home ---


def test_runs_that_could_not_be_sent_come_home_and_those_of_living_trainings_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "there"))
    assert tracking.take_unsent() == b""
    over, living = Journal.begin("over"), Journal.begin("living")
    for journal in (over, living):
        journal.append({"do": "start", "name": "mixing seed 0"})
    over.append({"do": "end", "status": "FINISHED"})
    over.release()
    content = tracking.take_unsent()
    assert list(living.folder.parent.iterdir()) == [living.folder]
    living.release()

    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    tracking.put_unsent(content)
    (folder,) = (tmp_path / "home").rglob(over.folder.name)
    home = Journal.open(folder)
    assert home and home.entries == over.entries and home.pending()
    home.release()


def test_points_come_home_after_what_they_need() -> None:
    first, second, third, fourth = (Point(strategy="mixing", seed=seed, settings=()) for seed in range(4))
    graph = {first: [], second: [first], third: [second], fourth: []}
    waiting = dict.fromkeys(graph)
    assert list(on_ray._in_order([third, first], graph, waiting)) == [first, second, third]
    assert list(waiting) == [fourth]


def test_a_point_that_fails_takes_no_other_along(
    tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(work=work_in(tmp_path, params))
    first, second = progress.work.missing

    def fails() -> float:
        raise FacemixError("no faces")

    progress.ended(first, fails, " on one")
    progress.ended(second, lambda: 4.5, " on two")
    assert progress.failed == {first: "no faces"}
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("1/2 sweep-0: failed on one; about ")
    assert said[1] == "2/2 sweep-1: validation NME 4.50 on two"
