"""`facemix sweep --on ray` by the real command, on a cluster of two nodes on this machine, one of which is killed."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import toy_project
from toy_cluster import cluster, kill  # noqa: F401
from toy_project import Shell

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("ray")]

ARGUMENTS = "sweep n_real=20 strategies=label_adaptation,real_only"
AWAY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}  # nobody listens: MLflow's import takes longer than a training


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two imports, nothing rendered, small trainings, a remote in a folder; all of it committed."""
    folder = tmp_path_factory.mktemp("ray")
    root = toy_project.fresh(folder / "facemix")
    toy_project.begin(root, folder / "data")
    changes = {"render.synthetic.n": 0, "training.steps": 40, "training.evaluate_every": 4, "training.device": "cpu"}
    toy_project.set_params(root, changes)
    toy_project.shell_in(root)(f"dvc remote add -d storage {folder / 'storage'} && git commit -qam smaller")
    return root


def tasks(node: Any) -> list[Path]:
    """The folders of the tasks that run on a node."""
    return list(Path(tempfile.gettempdir()).glob(f"facemix-*-{node.node_id[:12]}/task-*"))


def trained(shell: Shell) -> dict[str, dict[str, Any]]:
    """What dvc.lock says of each stage in each experiment, the digests of models among it."""
    names = shell("git for-each-ref --format='%(refname)' refs/exps").split()
    load = YAML(typ="safe").load
    return {name.rpartition("/")[2]: load(shell(f"git show {name}:dvc.lock"))["stages"] for name in names}


def test_a_sweep_on_ray_ends_as_one_here_though_a_node_is_killed(project: Path, tmp_path: Path, cluster: Any) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    there = shutil.copytree(project, tmp_path / "facemix", symlinks=True)
    command = [sys.executable, "-m", "facemix.cli", *ARGUMENTS.split(), "--on", "ray", "--address", cluster.address]
    environment = toy_project.environment(there) | AWAY
    with subprocess.Popen(
        command, cwd=there, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as sweep:
        deadline = time.monotonic() + 300
        while not any("step 4:" in (task / "log").read_text() for task in tasks(second) if (task / "log").exists()):
            assert sweep.poll() is None, sweep.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert list((there / "checkpoints").glob("*.pt"))
        kill(second)
        cluster.remove_node(second, allow_graceful=False)
        said = sweep.communicate(timeout=300)[0]
    assert sweep.returncode == 0, said
    assert "3 trainings: 0 are there, 3 to run" in said and "(2 at a time)" in said
    assert said.count(": validation NME ") == 3 and "test NME" not in said
    for node in (cluster.head_node, second):
        assert not list(Path(tempfile.gettempdir()).glob(f"facemix-*-{node.node_id[:12]}"))

    here = toy_project.facemix_in(project, **AWAY)
    here(ARGUMENTS)
    on_ray, local = trained(toy_project.shell_in(there)), trained(toy_project.shell_in(project))
    assert on_ray.keys() == local.keys() and len(local) == 3
    for name, stages in on_ray.items():
        assert any(f"sweep-{stage.partition('@')[0]}-" in name for stage in stages)
        assert all(local[name][stage] == entry for stage, entry in stages.items())
    for name in ("points.csv", "errors.parquet"):
        assert (there / "reports/sweep" / name).read_bytes() == (project / "reports/sweep" / name).read_bytes()
    runs = list((there / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))
    assert len(runs) == 1 + 3  # the sweep's and one of each training: what was killed goes on with its run
