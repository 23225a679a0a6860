import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from facemix.config import Params
from facemix.stages import former
from facemix.stages.prune import prune

REMOVED = "models/real_only/seed-1: removed, its seed is not in params.yaml; with the seed back `dvc repro` brings it"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with two cached models of real_only and one of the control, each of two files."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True, cwd=tmp_path)
    stages = {}
    for name, seed in (("real_only", 0), ("real_only", 1), ("control", 0), ("control", 1)):
        folder = tmp_path / f"models/{name}/seed-{seed}"
        (folder / "more").mkdir(parents=True)
        files = {"model.json": f"{name} {seed}".encode(), "more/history.csv": b"step"}
        for file, content in files.items():
            (folder / file).write_bytes(content)
        listed = [{"md5": cached(tmp_path, content), "relpath": file} for file, content in files.items()]
        digest = cached(tmp_path, json.dumps(listed).encode(), ".dir")
        outs = [{"path": folder.relative_to(tmp_path).as_posix(), "hash": "md5", "md5": digest}]
        stages[f"{name}@{seed}"] = {"cmd": "facemix train", "outs": outs}
    with (tmp_path / "dvc.lock").open("w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": stages}, file)
    return tmp_path


def cached(workspace: Path, content: bytes, suffix: str = "") -> str:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    place = workspace / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest


def listing(seeds: tuple[int, ...], control: tuple[int, ...], params: Params) -> Params:
    return dataclasses.replace(params, seeds=seeds, control_seeds=control)


def models(workspace: Path) -> list[str]:
    return sorted(str(path.relative_to(workspace / "models")) for path in (workspace / "models").glob("*/*"))


def test_models_of_seeds_that_are_listed_stay(workspace: Path, params: Params) -> None:
    prune(listing((0, 1), (0, 1), params))
    assert models(workspace) == ["control/seed-0", "control/seed-1", "real_only/seed-0", "real_only/seed-1"]


def test_a_model_whose_seed_is_gone_is_removed_and_told(
    workspace: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    prune(listing((0,), (), params))
    assert models(workspace) == ["real_only/seed-0"]
    assert REMOVED in capsys.readouterr().out


def test_the_control_has_seeds_of_its_own(workspace: Path, params: Params) -> None:
    prune(listing((0, 1), (1,), params))
    assert models(workspace) == ["control/seed-1", "real_only/seed-0", "real_only/seed-1"]


@pytest.mark.parametrize("fault", ["changed", "not in the cache", "list not in the cache", "not recorded"])
def test_what_dvc_could_not_bring_back_stays_and_is_named(
    fault: str, workspace: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "models/real_only/seed-1"
    if fault == "changed":
        (folder / "model.json").write_bytes(b"trained by hand")
    elif fault == "not recorded":
        folder.rename(folder.with_name("seed-2"))
    else:
        for place in (workspace / ".dvc/cache/files").rglob("*"):
            if place.is_file() and (place.suffix == ".dir") == (fault == "list not in the cache"):
                place.unlink()
    before = sorted(folder.parent.rglob("*"))
    prune(listing((0,), (0,), params))
    assert sorted(folder.parent.rglob("*")) == before
    assert "and DVC's cache does not hold it as it is; move it out of models/" in capsys.readouterr().out


def test_what_was_exported_into_a_model_stays(workspace: Path, params: Params) -> None:
    (workspace / "models/real_only/seed-1/model.onnx").write_bytes(b"onnx")
    prune(listing((0,), (0,), params))
    left = [path.name for path in (workspace / "models/real_only/seed-1").iterdir()]
    assert left == ["model.onnx"]


def test_what_a_stage_wrote_last_is_found_in_the_cache_whole_or_not_at_all(workspace: Path) -> None:
    folder = Path("models/real_only/seed-1")
    found = former.files(folder)
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "model.json": b"real_only 1",
        "more/history.csv": b"step",
    }
    assert former.files(Path("models/real_only/seed-2")) == {}
    found["model.json"].unlink()
    assert former.files(folder) == {}
    (workspace / "dvc.lock").unlink()
    assert former.files(folder) == {}


def test_without_dvc_nothing_is_removed(workspace: Path, params: Params) -> None:
    (workspace / "dvc.lock").unlink()
    prune(listing((0,), (0,), params))
    assert len(models(workspace)) == 4
