import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_tables import result

from facemix import config
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.sweeps import devices, local, run
from facemix.sweeps.grid import Axes, Inputs, Point
from facemix.sweeps.known import Known
from facemix.sweeps.point import Place, Running, reason
from facemix.sweeps.work import interrupted_by_sigterm


@pytest.mark.parametrize("changed", ["src/training/loss.py", "src/training/frame.py", "data/a.yaml", "größe.txt"])
def test_a_digest_covers_each_file_that_a_training_depends_on(changed: str, params: Params, tmp_path: Path) -> None:
    project = tmp_path / "above" / "project"
    for name in ("src/training/loss.py", "src/training/frame.py", "data/a.yaml", "größe.txt", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("before", encoding="utf-8")
    # A folder, and a file of it that another stage depends on.
    paths = ("data/a.yaml", "src/training", "src/training/frame.py", "größe.txt", "not/there")
    inputs = {"real_only": Inputs(params=(), other_params={}, paths=paths, needs=())}
    point = Point(strategy="real_only", seed=0, settings=())

    def digest() -> str:
        git("add", "-A")
        git("commit", "-q", "-m", "one")
        return run.digests_of(project, [point], params, inputs)[point]

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *arguments], cwd=project, check=True)

    subprocess.run(["git", "init", "-q", project.parent], check=True)
    before = digest()
    (project / "README.md").write_text("after", encoding="utf-8")
    assert digest() == before
    (project / changed).write_text("after", encoding="utf-8")
    assert digest() != before


@pytest.mark.parametrize(
    ("setting", "count", "gpus"),
    [
        (None, 0, []),
        (None, 3, ["0", "1", "2"]),
        ("", 4, []),
        ("-1", 4, []),
        ("2,3", 2, ["2", "3"]),
        ("GPU-8d1c, GPU-b0a4", 2, ["GPU-8d1c", "GPU-b0a4"]),
        ("0,-1,1", 1, ["0"]),
    ],
)
def test_only_gpus_that_the_user_lets_be_seen_are_used(setting: str | None, count: int, gpus: list[str]) -> None:
    assert devices.visible(setting, count) == gpus


@pytest.mark.parametrize(
    ("gpus", "jobs", "seen"),
    [
        ([], 3, [None, None, None]),
        (["0"], 2, [None, None]),
        (["0", "1"], 1, [None]),
        (["0", "1"], 2, ["0", "1"]),
        (["2", "5"], 3, ["2", "5", "2"]),
        (["0", "1", "2", "3"], 2, ["0", "1"]),
    ],
)
def test_trainings_at_once_see_one_gpu_each_in_turns(gpus: list[str], jobs: int, seen: list[str | None]) -> None:
    assert [one.get("CUDA_VISIBLE_DEVICES") for one in devices.share_out(gpus, jobs)] == seen


def test_gpus_are_shared_out_unless_the_cpu_trains(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    on_cpu, on_gpu = (
        config.parse(config.changed(config.plain(params), {"training.device": device})) for device in ("cpu", "auto")
    )
    assert [one["CUDA_VISIBLE_DEVICES"] for one in local.gpus(4, on_gpu)] == ["0", "1", "0", "1"]
    assert local.gpus(4, on_cpu) == [{}, {}, {}, {}]


def test_a_command_runs_with_the_variables_of_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = tmp_path / "dvc"
    dvc.write_text(f"#!{sys.executable}\nimport os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])\n", encoding="utf-8")
    dvc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = tmp_path / "log"
    Place(clone=tmp_path, home=tmp_path, running=Running()).dvc("repro", log=log, CUDA_VISIBLE_DEVICES="7")
    assert log.read_text(encoding="utf-8") == "7\n"


def test_a_sweep_in_the_background_ignores_ctrl_c_and_its_trainings_hear_a_stop(tmp_path: Path) -> None:
    asks = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in the background
    try:
        with interrupted_by_sigterm(), (tmp_path / "log").open("wb") as log:
            signal.raise_signal(signal.SIGINT)
            assert Running().command([sys.executable, "-c", asks], tmp_path, log, os.environ)
    finally:
        signal.signal(signal.SIGINT, former)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "True\n"


def test_what_failed_before_is_not_blamed_for_what_fails_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = tmp_path / "dvc"
    dvc.write_text("#!/bin/sh\necho 'ERROR: no space left'\necho 'see https://x'\nexit 1\n", encoding="utf-8")
    dvc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = tmp_path / "log"
    log.write_text("facemix train: an older fault\n", encoding="utf-8")
    with pytest.raises(FacemixError, match=r"^dvc exp: ERROR: no space left \(the whole log: .+log\)$"):
        Place(clone=tmp_path, home=tmp_path, running=Running()).dvc("exp", "save", log=log)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", "no output"),
        (
            "step 1\nERROR: failed to reproduce\nfacemix train: n_real: found 9\nTo help",
            "facemix train: n_real: found 9",
        ),
        ("ERROR: unexpected error\nHaving trouble? Ask", "ERROR: unexpected error"),
        ("fatal: bad object\nend", "fatal: bad object"),
        ("one\ntwo\n\n", "two"),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_failed(output: str, expected: str) -> None:
    assert reason(output) == expected


def test_settings_that_some_points_could_not_use_are_refused_before_any_training(params: Params) -> None:
    def point(key: str, value: str | float) -> Point:
        return Point(strategy="mixing", seed=0, settings=((key, value),))

    run._check_settings([point("alpha", 0.5)], params)
    with pytest.raises(FacemixError, match="model.backbone: timm has no model 'resnet81'"):
        run._check_settings([point("alpha", 0.5), point("model.backbone", "resnet81")], params)
    with pytest.raises(config.ConfigError, match="training.batch_size: found 1, expected at least 2"):
        run._check_settings([point("training.batch_size", 1)], params)


def test_points_without_errors_that_are_needed_are_refused_before_any_training(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, bare = (result(name, 0, 4.0, n_real=50) for name in ("data_adaptation", "real_only"))
    bare = replace(bare, experiment="sweep-real_only-n50-s0", errors=None)
    inputs = {
        "real_only": Inputs(params=("n_real",), paths=(), needs=()),
        "data_adaptation": Inputs(params=("n_real",), paths=(), needs=("real_only",)),
    }

    def digests(root: Path, points: Sequence[Point], *_: Any) -> dict[Point, str]:
        return {point: result(point.strategy, point.seed, 4.0, n_real=50).digest for point in points}

    def check_settings(*_: Any) -> None:
        raise RuntimeError("trains")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.repository, "examine", lambda root: None)
    monkeypatch.setattr(run, "read_inputs", lambda *_: inputs)
    monkeypatch.setattr(run, "_check_clean", lambda root: None)
    monkeypatch.setattr(run, "digests_of", digests)
    monkeypatch.setattr(run, "experiments", lambda root: {})
    monkeypatch.setattr(run.known, "read", lambda path: {one.digest: Known(result=one) for one in (whole, bare)})
    monkeypatch.setattr(run, "_check_settings", check_settings)
    axes: Axes = {"n_real": [50], "seeds": [0, 1], "strategies": ["data_adaptation", "real_only"]}
    how = run.How(known=Path("points.csv"), needs_errors=True)
    with pytest.raises(FacemixError, match="^sweep-real_only-n50-s0: known by its means alone, expected the error on"):
        run.bring(axes, params, how)
    with pytest.raises(RuntimeError, match="trains"):
        run.bring(axes, params, replace(how, needs_errors=False))
    with pytest.raises(
        RuntimeError, match="trains"
    ):  # what is only behind the strategy that is asked about may be known by its means
        run.bring(axes | {"strategies": ["data_adaptation"]}, params, how)
