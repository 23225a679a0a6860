import hashlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.data_cloud import DataCloud
from dvc.repo import Repo

from facemix.errors import FacemixError
from facemix.sweeps import outputs
from facemix.sweeps.outputs import Outputs
from facemix.sweeps.repository import Repository

MODEL = Path("models/mixing/seed-0")


def stored(cache: Path, content: bytes, kind: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + kind
    (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
    (cache / md5[:2] / md5[2:]).write_bytes(content)
    return md5


def lock(md5: str) -> str:
    """The stage that made the folder stands between others that read former ones of it."""
    reads = f"    deps:\n    - path: {MODEL}\n      hash: md5\n      md5: {'0' * 32}.dir\n"
    made = f"    outs:\n    - path: {MODEL}\n      hash: md5\n      md5: {md5}\n      size: 1\n"
    first, last = f"  a@0:\n    cmd: a\n{reads}", f"  mixing@01:\n    cmd: b\n{reads}"
    return f"schema: '2.0'\nstages:\n{first}  mixing@0:\n    cmd: c\n{made}{last}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A project in a folder of its repository, with a commit for each of two experiments."""
    top = tmp_path_factory.mktemp("top")
    inside = top / "project"
    inside.mkdir()
    git = ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    Repo.init(str(inside), subdir=True).close()
    commits = []
    for word in (b"one", b"two"):
        cache = inside / ".dvc/cache/files/md5"
        listed = [{"md5": stored(cache, word), "relpath": "model.json"}, {"md5": "0" * 32, "relpath": "weights"}]
        (inside / "dvc.lock").write_text(lock(stored(cache, json.dumps(listed).encode(), ".dir")))
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
        commits.append(subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip())
    yield Repository(top=top, inside=Path("project"), commit=" ".join(commits), name="a", email="a@b")


def read(project: Repository, folder: Path) -> list[str]:
    revisions = project.commit.split()
    with Outputs(project, revisions) as found:
        for i, revision in enumerate(revisions):
            found.bring(revision, "mixing@0", MODEL, folder / str(i), ["model.json"])
    return [(folder / str(i) / "model.json").read_text() for i in range(len(revisions))]


def test_each_experiment_has_its_own_files(project: Repository, tmp_path: Path) -> None:
    assert read(project, tmp_path) == ["one", "two"]


def test_what_the_cache_lacks_comes_from_the_remote(project: Repository, tmp_path: Path) -> None:
    cache, remote = project.root / ".dvc/cache", tmp_path / "remote"
    first, *_ = project.commit.split()
    with Outputs(project, [first]) as found, pytest.raises(FileNotFoundError, match="no remote"):
        found.bring(first, "mixing@0", MODEL, tmp_path / "out", ["weights"])  # which the cache lacks
    shutil.move(cache, remote)
    config = project.root / ".dvc/config.local"
    config.write_text(f"[core]\n    remote = there\n['remote \"there\"']\n    url = {remote}\n")
    try:
        assert read(project, tmp_path) == ["one", "two"]
        shutil.rmtree(remote)
        with pytest.raises(FileNotFoundError):
            read(project, tmp_path / "again")
    finally:
        config.unlink()


def test_threads_share_one_remote(project: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = project.commit.split()
    content, opened = json.dumps([{"md5": "0" * 32, "relpath": "weights"}]).encode(), []

    def remote(_: DataCloud) -> SimpleNamespace:
        opened.append(threading.get_ident())
        time.sleep(0.1)  # so that all threads come meanwhile
        return SimpleNamespace(fs=SimpleNamespace(cat_file=lambda _: content), oid_to_path=str)

    monkeypatch.setattr(DataCloud, "get_remote_odb", remote)
    with Outputs(project, [first]) as found, ThreadPoolExecutor(4) as pool:
        targets = [tmp_path / str(i) for i in range(4)]
        list(pool.map(lambda target: found.bring(first, "mixing@0", MODEL, target, ["weights"]), targets))
    assert len(opened) == 1
    assert {(target / "weights").read_bytes() for target in targets} == {content}


@pytest.mark.parametrize(("stage", "name"), [("mixing@1", "model.json"), ("a@0", "model.json"), ("mixing@0", "x.csv")])
def test_what_no_stage_made_is_not_found(stage: str, name: str, project: Repository, tmp_path: Path) -> None:
    revision = project.commit.split()[1]
    with Outputs(project, [revision]) as found, pytest.raises(FileNotFoundError):
        found.bring(revision, stage, MODEL, tmp_path / "out", [name])


def test_an_experiment_without_a_lock_is_named(project: Repository) -> None:
    with pytest.raises(FacemixError, match="0000:project/dvc.lock: not found"):
        outputs.Outputs(project, ["0" * 40])
