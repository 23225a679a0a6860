"""The real commands at smoke size, on drawn faces: what a user types, and what comes out."""

import base64
import csv
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from facemix import Landmarker
from facemix.faces.images import read_image
from facemix.strategies import STRATEGIES
from toy_mlflow import mlflow_server
from toy_project import STAGE, Shell, runs

pytestmark = pytest.mark.end_to_end


def test_repro_trains_and_ranks_every_strategy(reproduced: str, project: Path) -> None:
    assert STAGE.findall(reproduced)[-2:] == ["compare", "report"]
    with (project / "reports/ranking.csv").open(newline="") as file:
        ranking = list(csv.DictReader(file))
    assert {row["strategy"] for row in ranking} == set(STRATEGIES)
    nmes = [float(row["test_nme"]) for row in ranking]
    assert {row["verdict"] for row in ranking if row["strategy"] != "real_only"} == {"undecided"}  # one seed
    verdict = json.loads((project / "reports/metrics.json").read_text())["verdict"]
    assert verdict["sentence"] in reproduced
    assert nmes == sorted(nmes)
    for name in STRATEGIES:
        assert name in reproduced
        metrics = json.loads((project / "models" / name / "seed-0" / "metrics.json").read_text())
        assert metrics["normalizer"] == "outer_eye"
        assert {"nme", "fr8", "fr10", "auc8", "regions", "subsets", "box_jitter"} <= metrics["test"].keys()
    assert (project / "reports/box_jitter.png").exists()
    page = (project / "reports/report.html").read_text()
    assert html.escape(verdict["sentence"]) in page
    assert "Nobody has" not in page


def test_git_sees_no_data_and_no_models(reproduced: str, shell: Shell) -> None:
    own = ("docs/", "src/facemix/render/data/")  # pictures of the documentation, lights of the generator
    tracked = [name for name in shell("git ls-files").split() if not name.startswith(own)]
    assert not [name for name in tracked if name.endswith((".npy", ".jpg", ".safetensors", ".pt", ".db"))]
    assert shell("git status --porcelain") == ""


def test_every_strategy_is_a_complete_run_in_the_store_at_the_root(
    reproduced: str, project: Path, shell: Shell
) -> None:
    found = runs(project, shell)
    assert {run["name"] for run in found} == {*(f"{name} seed 0" for name in STRATEGIES), "compare", "report"}
    assert {run["status"] for run in found} == {"FINISHED"}
    for run in found:
        if run["name"] == "compare":
            assert {"ranking.csv", "ranking.png", "ced.png", "box_jitter.png", "metrics.json"} <= set(run["files"])
            continue
        if run["name"] == "report":
            assert {"report.html", "figures"} <= set(run["files"])
            continue
        name = run["tags"]["strategy"]
        metrics = json.loads((project / "models" / name / "seed-0" / "metrics.json").read_text())
        assert run["metrics"]["test.nme"] == pytest.approx(metrics["test"]["nme"])
        assert run["metrics"]["test.box_jitter.0.10"] == pytest.approx(metrics["test"]["box_jitter"]["0.10"])
        assert {"metrics.json", "errors.csv", "history.csv"} <= set(run["files"])
        assert {"real-validation", "real-test"} <= set(run["inputs"])
        assert len(run["models"]) == 1
        assert run["tags"]["DVC_STAGE"] == f"{name}@0"
    assert not list((project / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))


def test_the_logged_model_predicts_what_the_detector_does(reproduced: str, shell: Shell) -> None:
    code = """
import cv2, mlflow, numpy as np, facemix
mlflow.set_tracking_uri("sqlite:///mlflow.db")
runs = mlflow.MlflowClient().search_runs(["1"], "tags.strategy = 'label_adaptation'")
image, boxes = np.zeros((64, 64, 3), np.uint8), [[8, 8, 48, 40]]
request = {"image": cv2.imencode(".png", image)[1].tobytes(), "boxes": boxes}
(logged,) = mlflow.pyfunc.load_model(f"runs:/{runs[0].info.run_id}/model").predict([request])
points = np.array(logged["landmarks"])
own = facemix.Landmarker.load("models/label_adaptation/seed-0").predict(image, np.array(boxes))
print(points.shape, np.abs(points - own).max())
"""
    assert shell(f"python -W ignore - <<'EOF'\n{code}\nEOF").splitlines()[-1] == "(1, 68, 2) 0.0"


@pytest.fixture(scope="module")
def champion(reproduced: str, shell: Shell) -> dict[str, Any]:
    """What `facemix register` says, and the version in MLflow's registry that has the alias."""
    said = shell("facemix register")
    alias = said.partition(":")[0]
    code = (
        "import json, mlflow; c = mlflow.MlflowClient('sqlite:///mlflow.db'); "
        f"v = c.get_model_version_by_alias('facemix', '{alias}'); "
        "print(json.dumps(dict(version=v.version, tags=v.tags, about=v.description, "
        "run=c.get_run(v.run_id).info.run_name, "
        "versions=len(c.search_model_versions('')))))"
    )
    found: dict[str, Any] = json.loads(shell(f'python -W ignore -c "{code}"').splitlines()[-1])
    return found | {"alias": alias, "said": said}


def test_the_best_by_validation_is_registered_and_dvc_gets_it(
    champion: dict[str, Any], project: Path, shell: Shell
) -> None:
    nmes = {
        name: json.loads((project / "models" / name / "seed-0/metrics.json").read_text())["val"]["nme"]
        for name in STRATEGIES
    }
    best = min(nmes, key=lambda name: nmes[name])
    assert champion["versions"] == 1 and champion["run"] == f"{best} seed 0"
    assert champion["tags"]["strategy"] == best and champion["tags"]["seed"] == "0"
    assert f"-m models:/facemix@{champion['alias']} " in champion["said"]
    assert float(champion["tags"][f"val_nme.{champion['alias']}"]) == pytest.approx(nmes[best], abs=1e-4)
    assert champion["tags"]["git_commit"] in shell("git rev-list HEAD")
    assert champion["tags"]["dvc_get"] in champion["about"]
    shell(champion["tags"]["dvc_get"])
    own, got = (project / folder / "model.safetensors" for folder in (f"models/{best}/seed-0", "champion"))
    assert own.read_bytes() == got.read_bytes()
    shell("rm -r champion")


def test_the_champion_is_served_over_http(champion: dict[str, Any], project: Path) -> None:
    picture = next((project / "data").rglob("000000.png"))
    encoded = base64.b64encode(picture.read_bytes()).decode()
    box = [20, 20, 70, 80]
    model = ("models", "serve", "-m", f"models:/facemix@{champion['alias']}", "--env-manager", "local")
    with mlflow_server(project, *model) as address:

        def post(row: dict[str, Any]) -> Any:
            data = json.dumps({"dataframe_records": [row]}).encode()
            request = urllib.request.Request(f"{address}/invocations", data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())["predictions"][0]["landmarks"]

        served = post({"image": encoded, "boxes": [box, box]})
        detector = Landmarker.load(project / "models" / champion["tags"]["strategy"] / "seed-0")
        assert np.abs(served - detector.predict(read_image(picture), np.array([box, box]))).max() < 1e-3
        assert np.shape(post({"image": encoded})) == (1, 68, 2)
        for row, message in (
            ({"image": base64.b64encode(b"text").decode()}, "row 0, image: not an image"),
            ({"image": encoded, "boxes": [[1, 2, 3]]}, "boxes: found [[1, 2, 3]], expected a list of [x0, y0, x1, y1]"),
            ({"image": encoded, "boxes": [[9000, 0, 9010, 10]]}, "9000,0,9010,10 lies outside the picture"),
            ({"boxes": [box]}, "missing inputs ['image']"),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(row)
            with refused.value as answer:
                assert answer.code == 400 and message in json.loads(answer.read())["message"]


@pytest.fixture
def browser() -> Iterator[Any]:
    """A headless Chromium that keeps what pages write to its console."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("needs chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1700,1000"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "SEVERE"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def test_mlflow_ui_lists_the_runs_by_strategy_and_compares_two(
    champion: dict[str, Any], project: Path, browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def find(path: str) -> Any:
        return WebDriverWait(browser, 120).until(lambda page: page.find_element(By.XPATH, path))

    chosen = ("real_only seed 0", "mixing seed 0")
    with mlflow_server(project, "ui") as address:
        browser.get(f"{address}/#/experiments/1/runs")
        for name in chosen:
            row = find(f"//a[normalize-space()='{name}']/ancestor::div[@role='row']").get_attribute("row-id")
            find(f"//div[@role='row' and @row-id='{row}']//input[@type='checkbox']/..").click()
        find("//button[normalize-space()='Compare']").click()
        wanted = [*chosen, "test.nme"]
        for name in chosen:
            metrics = json.loads((project / "models" / name.split()[0] / "seed-0/metrics.json").read_text())
            wanted.append(f"{metrics['test']['nme']:.4g}")

        def is_shown(page: Any) -> bool:  # also what one scrolls to: that is not in the page's `text`
            content = page.find_element(By.XPATH, "//body").get_attribute("textContent")
            return all(text in content for text in wanted)

        WebDriverWait(browser, 120).until(is_shown, str(wanted))
        severe = [entry["message"] for entry in browser.get_log("browser")]
    # What MLflow's own pages always say.
    assert [line for line in severe if "users/current" not in line and "ResizeObserver" not in line] == []


def test_mlflow_run_reproduces_the_pipeline(reproduced: str, shell: Shell) -> None:
    assert "Data and pipelines are up to date." in shell("mlflow run . --env-manager local --experiment-name facemix")


def test_a_second_repro_does_nothing(reproduced: str, shell: Shell) -> None:
    assert "Data and pipelines are up to date." in shell("dvc repro")


def test_metrics_and_plots_are_shown(reproduced: str, shell: Shell, tmp_path: Path) -> None:
    shown = json.loads(shell("dvc metrics show --json"))
    assert set(shown[""]["data"]["reports/metrics.json"]["data"]["test_nme"]) == set(STRATEGIES)
    shell(f"dvc plots show -o {tmp_path}")
    page = (tmp_path / "index.html").read_text()
    assert "CED on test" in page
    assert "NME against box jitter" in page
    assert "Validation during training" in page


def test_alpha_runs_mixing_compare_and_report_only(reproduced: str, project: Path, shell: Shell) -> None:
    before = len(runs(project, shell))
    printed = shell("dvc exp run -n third -S alpha=0.3")
    assert STAGE.findall(printed) == ["mixing@0", "compare", "report"]
    new = runs(project, shell)[before:]
    assert [run["name"] for run in new] == ["mixing seed 0", "compare", "report"]
    assert new[0]["params"]["alpha"] == "0.3"
    assert new[0]["tags"]["DVC_EXP_NAME"] == "third"
    shell("git checkout -q -- . && dvc checkout -q")


def test_n_real_leaves_packs_and_synthetic_only(reproduced: str, shell: Shell) -> None:
    shell("sed -i 's/^n_real: 48 /n_real: 20 /' params.yaml")
    stages = STAGE.findall(shell("dvc repro --dry"))
    assert "real_only@0" in stages
    assert not {"prepare@real", "prepare@synthetic", "synthetic_only@0"} & set(stages)
    shell("git checkout -q -- .")


def test_another_synthetic_set_leaves_the_real_pack(reproduced: str, shell: Shell) -> None:
    shell("sed -i '/^  synthetic: *#/,/seed:/s/seed: 0 /seed: 9 /' params.yaml")
    stages = STAGE.findall(shell("dvc repro --dry"))
    assert {"render@synthetic", "prepare@synthetic"} <= set(stages)  # a dry run goes no further than what surely runs
    assert not {"render@stand_in", "prepare@real", "real_only@0"} & set(stages)
    shell("git checkout -q -- .")


def test_temporary_and_queued_experiments_leave_their_runs_in_the_one_store(
    reproduced: str, project: Path, shell: Shell
) -> None:
    before = len(runs(project, shell))
    assert STAGE.findall(shell("dvc exp run --temp -n temporary -S alpha=0.4")) == [
        "mixing@0",
        "compare",
        "report",
    ]
    shell("dvc exp run --queue -n queued-1 -S alpha=0.6 && dvc exp run --queue -n queued-2 -S alpha=0.7")
    shell("dvc queue start -j 2")
    deadline = time.monotonic() + 400
    while shell("dvc queue status").count("Success") < 2:
        assert time.monotonic() < deadline, shell("dvc queue status; dvc queue logs queued-1; dvc queue logs queued-2")
        assert "Failed" not in shell("dvc queue status"), shell("dvc queue logs queued-1; dvc queue logs queued-2")
        time.sleep(3)
    new = runs(project, shell)[before:]
    alphas = sorted(run["params"]["alpha"] for run in new if run["name"] == "mixing seed 0")
    assert alphas == ["0.4", "0.6", "0.7"]
    assert {run["status"] for run in new} == {"FINISHED"}
    assert {run["tags"]["DVC_EXP_NAME"] for run in new} == {"temporary", "queued-1", "queued-2"}
    assert all(run["files"] for run in new)
    assert all(any(key.startswith("test.nme") for key in run["metrics"]) for run in new if run["name"] != "report")
    table = shell("dvc exp show --csv --no-pager")
    assert all(name in table for name in ("temporary", "queued-1", "queued-2", "test_nme.mixing"))


def test_mlflow_run_trains_mixing_under_the_parent_run(reproduced: str, project: Path, shell: Shell) -> None:
    before = len(runs(project, shell))
    shell("mlflow run . -e mixing -P alpha=0.2 --env-manager local --experiment-name facemix")
    new = runs(project, shell)[before:]
    trained = next(run for run in new if run["name"] == "mixing seed 0")
    assert trained["params"]["alpha"] == "0.2"
    assert {run["status"] for run in new} == {"FINISHED"}
    assert trained["tags"]["mlflow.parentRunId"]
    shell("git checkout -q -- . && dvc checkout -q")


def test_a_training_that_is_killed_goes_on_and_ends_in_the_same_weights(
    reproduced: str, project: Path, shell: Shell
) -> None:
    folder = project / "models/real_only/seed-0"
    shell("facemix train real_only")
    undisturbed = load_file(folder / "model.safetensors")
    before = len(runs(project, shell))
    command = f"{sys.executable} -m facemix.cli train real_only"
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    process = subprocess.Popen(
        command.split(), cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((project / "checkpoints").glob("real_only-*.pt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    shell("facemix train real_only")
    again = load_file(folder / "model.safetensors")
    assert all((again[key] == undisturbed[key]).all() for key in undisturbed)
    new = runs(project, shell)[before:]
    assert [run["status"] for run in new] == ["FINISHED"]
    shell("git checkout -q -- . && dvc checkout -q --force")


def test_mistakes_end_in_one_clear_line(reproduced: str, shell: Shell) -> None:
    assert shell("facemix preset nothing", expect=1).startswith("facemix preset: presets/nothing.yaml: no such preset")
    shell("sed -i 's/^alpha: .*/alpha: 1.5/' params.yaml")
    assert shell("facemix train mixing", expect=1) == (
        "facemix train: params.yaml: alpha: found 1.5, expected a share of synthetic faces, 0 to 1\n"
    )
    shell("git checkout -q -- .")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("step", r"ratio +\d\.\d{3}"),
        ("loader", r"ratio +\d+\.\d"),
        ("prepare", r"\d+ faces/s"),
        ("compare", r"rank, with intervals +\d+\.\d\d s"),
    ],
)
def test_benchmarks_print_their_figures(what: str, pattern: str, reproduced: str, shell: Shell) -> None:
    assert re.search(pattern, shell(f"facemix bench {what}"))


def test_a_fresh_clone_runs_on_faces_that_it_renders(
    reproduced: str, project: Path, tmp_path: Path, shell: Shell
) -> None:
    clone = tmp_path / "own"
    first = shell("git rev-list --max-parents=0 HEAD").strip()
    printed = shell(
        f"git clone -q . {clone} && cd {clone} && git checkout -q {first} && export PYTHONPATH={clone}/src && "
        "facemix preset smoke && dvc repro"
    )
    assert {"render@synthetic", "render@stand_in"} <= set(STAGE.findall(printed))
    assert "test: stand-in (rendered, not real photographs)" in printed
    with (clone / "reports/ranking.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(STRATEGIES)
    assert json.loads((clone / "reports/metrics.json").read_text())["test_faces"].startswith("stand-in")


@pytest.mark.real_data
def test_the_smoke_preset_runs_on_a_slice_of_300w(
    shared_data: Path, tmp_path: Path, project: Path, shell: Shell
) -> None:
    clone, synthetic = tmp_path / "real", shared_data / "synthetic"
    first = shell("git rev-list --max-parents=0 HEAD").strip()
    commands = [
        f"git clone -q . {clone} && cd {clone} && git checkout -q {first} && export PYTHONPATH={clone}/src",
        f"facemix import 300w {shared_data}/300w --link",
        *(f"facemix import {name} {synthetic}/{name}" for name in ("dgfaces_v1", "dgfaces_v2", "facesynthetics")),
        "facemix preset smoke",
        "dvc repro",
    ]
    shell(" && ".join(commands))
    with (clone / "reports/ranking.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(STRATEGIES)
    metrics = json.loads((clone / "models/real_only/seed-0/metrics.json").read_text())
    assert metrics["test"]["faces"] == 554
    assert metrics["val"]["faces"] == 300
