"""`facemix sweep --on ray` by the real command, twice at once, on two nodes on this machine, one of which is killed."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from s3fs import S3FileSystem

import toy_project
from toy_cluster import cluster, kill  # noqa: F401
from toy_project import Shell
from toy_s3 import CREDENTIALS, s3  # noqa: F401

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("ray")]

ARGUMENTS = "sweep n_real=20 strategies=label_adaptation,real_only"
AWAY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}  # nobody listens: MLflow's import takes longer than a training


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two imports, nothing rendered, small trainings, a remote in S3; all of it committed."""
    folder = tmp_path_factory.mktemp("ray")
    root = toy_project.fresh(folder / "facemix")
    toy_project.begin(root, folder / "data")
    changes = {"render.synthetic.n": 0, "training.steps": 40, "training.evaluate_every": 4, "training.device": "cpu"}
    toy_project.set_params(root, changes)
    toy_project.shell_in(root)("dvc remote add -d storage s3://faces/dvc && git commit -qam smaller")
    return root


def tasks(node: Any) -> list[Path]:
    """The folders of the tasks that run on a node."""
    return list(Path(tempfile.gettempdir()).glob(f"facemix-*-{node.node_id[:12]}/task-*"))


def trained(shell: Shell) -> dict[str, dict[str, Any]]:
    """What dvc.lock says of each stage in each experiment, the digests of models among it."""
    names = shell("git for-each-ref --format='%(refname)' refs/exps").split()
    load = YAML(typ="safe").load
    return {name.rpartition("/")[2]: load(shell(f"git show {name}:dvc.lock"))["stages"] for name in names}


@pytest.fixture
def storage(s3: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What commands need to keep data and checkpoints in S3; the machines of a cluster that begins later have it."""
    variables = {**CREDENTIALS, "AWS_ENDPOINT_URL": s3, "FACEMIX_CHECKPOINTS": "s3://faces/checkpoints"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def start(root: Path, address: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "facemix.cli", *ARGUMENTS.split(), "--on", "ray", "--address", address],
        cwd=root,
        env=toy_project.environment(root) | AWAY | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_sweeps_on_ray_end_as_one_here_though_a_node_is_killed(
    project: Path, tmp_path: Path, storage: dict[str, str], cluster: Any
) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    there, other = (shutil.copytree(project, tmp_path / name / "facemix", symlinks=True) for name in ("a", "b"))
    with start(there, cluster.address, storage) as sweep:
        deadline = time.monotonic() + 300
        while not any("step 4:" in (task / "log").read_text() for task in tasks(second) if (task / "log").exists()):
            assert sweep.poll() is None, sweep.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert S3FileSystem(use_listings_cache=False).find("faces/checkpoints")
        with start(other, cluster.address, storage) as later:
            kill(second)
            cluster.remove_node(second, allow_graceful=False)
            printed = [one.communicate(timeout=300)[0] for one in (sweep, later)]
    for one, said in zip((sweep, later), printed, strict=True):
        assert one.returncode == 0, said
        assert "3 trainings: 0 are there, 3 to run" in said
        assert said.count(": validation NME ") == 3 and "test NME" not in said
    for node in (cluster.head_node, second):
        assert not list(Path(tempfile.gettempdir()).glob(f"facemix-*-{node.node_id[:12]}"))
    assert not [
        file for file in S3FileSystem(use_listings_cache=False).find("faces/checkpoints") if file.endswith(".pt")
    ]

    shells = [toy_project.shell_in(root) for root in (there, other)]
    assert len({shell("git for-each-ref refs/exps") for shell in shells}) == 1  # neither lost nor twice
    here = toy_project.facemix_in(project, **AWAY)
    here(ARGUMENTS)
    on_ray, local = trained(shells[0]), trained(toy_project.shell_in(project))
    assert on_ray.keys() == local.keys() and len(local) == 3
    for name, stages in on_ray.items():
        assert any(f"sweep-{stage.partition('@')[0]}-" in name for stage in stages)
        assert all(local[name][stage] == entry for stage, entry in stages.items())
    for name in ("points.csv", "errors.parquet"):
        assert (there / "reports/sweep" / name).read_bytes() == (project / "reports/sweep" / name).read_bytes()
    runs = list((there / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))
    assert 1 <= len(runs) <= 1 + 3  # the sweep's and one of each training of its own: a killed one goes on with its run
