"""The real commands at smoke size, on drawn faces: what a user types, and what comes out."""

import base64
import csv
import html
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pytest
from dvc.repo import Repo
from safetensors.numpy import load_file

import toy
from facemix import Landmarker
from facemix.faces.images import read_image
from facemix.strategies import STRATEGIES
from facemix.verdict import results
from toy_mlflow import mlflow_server
from toy_project import (
    STAGE,
    TRAININGS,
    Shell,
    client,
    environment,
    facemix_in,
    inside,
    runs,
    set_params,
    shell_in,
    stale,
)

pytestmark = pytest.mark.end_to_end

PREDICTED = {"history.csv", "model.json", "model.safetensors", "predictions.npz"}
"""What every training leaves."""


@pytest.fixture(scope="module")
def figures(reproduced: str, project: Path) -> dict[str, Any]:
    """Each strategy's figures, made from the predictions in its model folder."""
    with inside(project):
        return {one.strategy: one.metrics for one in results.read(Path("models"), [0], "outer_eye")}


@pytest.fixture
def workspace(reproduced: str, project: Path, shell: Shell) -> Iterator[Path]:
    """The project; what a test changes of the files that git knows is put back."""
    yield project
    shell("git reset -q --hard && git clean -fdq")


@pytest.fixture
def trained_workspace(workspace: Path, shell: Shell) -> Iterator[Path]:
    """The same; what stages write is put back, too."""
    yield workspace
    shell("git reset -q --hard && dvc checkout -q --force")


def test_repro_trains_and_ranks_every_strategy(reproduced: str, figures: dict[str, Any], project: Path) -> None:
    ran = STAGE.findall(reproduced)
    assert ran[-2:] == ["compare", "report"]
    assert set(ran) >= TRAININGS == {f"{name}@0" for name in STRATEGIES}
    with (project / "reports/ranking.csv").open(newline="") as file:
        ranking = list(csv.DictReader(file))
    assert {row["strategy"]: float(row["test_nme"]) for row in ranking} == pytest.approx(
        {name: one["test"]["nme"] for name, one in figures.items()}
    )
    nmes = [float(row["test_nme"]) for row in ranking]
    assert nmes == sorted(nmes)
    assert {row["verdict"] for row in ranking if row["strategy"] != "real_only"} == {"undecided"}  # one seed
    verdict = json.loads((project / "reports/metrics.json").read_text())["verdict"]
    assert verdict["status"] == "undecided"
    assert verdict["sentence"] in reproduced
    for name in STRATEGIES:
        assert name in reproduced
        assert {path.name for path in (project / "models" / name / "seed-0").iterdir()} >= PREDICTED
        assert figures[name]["normalizer"] == "outer_eye"
        assert {"nme", "fr8", "fr10", "auc8", "regions", "subsets", "box_jitter"} <= figures[name]["test"].keys()
    assert (project / "reports/box_jitter.png").exists()
    page = (project / "reports/report.html").read_text()
    read = html.unescape(re.sub("<[^>]+>", "", page))
    assert verdict["sentence"].replace("`", "") in read.replace("`", "")
    assert "dvc repro leaks" not in page  # it has run


def test_git_sees_no_data_and_no_models(reproduced: str, shell: Shell) -> None:
    own = ("docs/", "src/facemix/render/data/")  # pictures of the documentation, lights of the generator
    tracked = [name for name in shell("git ls-files").split() if not name.startswith(own)]
    assert not [name for name in tracked if name.endswith((".npy", ".npz", ".jpg", ".safetensors", ".pt", ".db"))]
    assert shell("git status --porcelain") == ""


def test_dvc_knows_the_imported_sources(reproduced: str, project: Path) -> None:
    with inside(project), Repo() as repo:
        tracked = {Path(stage.path_in_repo).name for stage in repo.index.stages}
    assert {"toy.dvc", "drawn.dvc"} <= tracked


def test_every_strategy_is_a_complete_run_in_the_store_at_the_root(
    reproduced: str, figures: dict[str, Any], project: Path
) -> None:
    found = {run["name"]: run for run in runs(project)}
    assert found.keys() >= {*(f"{name} seed 0" for name in STRATEGIES), "compare", "report"}
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    assert {"ranking.csv", "ranking.png", "ced.png", "box_jitter.png", "metrics.json"} <= found["compare"]["files"]
    assert {"report.html", "figures"} <= found["report"]["files"]
    for name, own in figures.items():
        run = found[f"{name} seed 0"]
        for key in ("val.nme", "val.fr8", "test.nme", "test.fr8", "test.fr10", "test.auc8"):
            split, figure = key.split(".")
            assert run["metrics"][key] == pytest.approx(own[split][figure])
        assert run["metrics"]["test.box_jitter.0.10"] == pytest.approx(own["test"]["box_jitter"]["0.10"])
        assert {"history.csv", "predictions.npz"} <= run["files"]
        assert {"real-validation", "real-test"} <= run["inputs"]
        assert len(run["models"]) == 1
        assert run["tags"]["strategy"] == run["params"]["strategy"] == name
        assert run["tags"]["DVC_STAGE"] == f"{name}@0"
        history = [int(one.step) for one in client(project).get_metric_history(run["id"], "val_error")]
        with (project / "models" / name / "seed-0/history.csv").open(newline="") as file:
            assert history == [float(row["step"]) for row in csv.DictReader(file) if "step" in row]
        assert bool(history) == STRATEGIES[name].trains
    assert found["mixing seed 0"]["params"]["alpha"] == "0.5"
    assert not list((project / ".dvc/tmp/facemix/outbox").glob("*/journal.jsonl"))


def test_the_logged_model_predicts_what_the_detector_does(reproduced: str, project: Path) -> None:
    """Read from the store without a server."""
    image, boxes = np.zeros((64, 64, 3), np.uint8), [[8, 8, 48, 40]]
    request = {"image": cv2.imencode(".png", image)[1].tobytes(), "boxes": boxes}
    with inside(project), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # MLflow adds the code that is logged with the model
        # By its whole path: MLflow keeps a store by its name, and that of another folder's mlflow.db would be the same.
        patch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", f"sqlite:///{project}/mlflow.db")
        found = client(project).search_runs(["1"], "tags.strategy = 'label_adaptation'")
        (logged,) = mlflow.pyfunc.load_model(f"runs:/{found[0].info.run_id}/model").predict([request])
    own = Landmarker.load(project / "models/label_adaptation/seed-0").predict(image, np.array(boxes))
    assert own.shape == (1, 68, 2) and np.abs(logged["landmarks"] - own).max() < 0.0051  # told to two decimals


@pytest.fixture(scope="module")
def champion(reproduced: str, project: Path, facemix: Shell) -> dict[str, Any]:
    """What `facemix register` says, and the version in MLflow's registry that has the alias."""
    said = facemix("register")
    alias = said.partition(":")[0]
    with inside(project):
        mlflow = client(project)
        version = mlflow.get_model_version_by_alias("facemix", alias)
        run = mlflow.get_run(version.run_id).info.run_name
        versions = len(mlflow.search_model_versions(""))
    found = {"said": said, "alias": alias, "run": run, "versions": versions}
    return found | {"tags": version.tags, "about": version.description}


@pytest.mark.xdist_group("champion")
def test_the_best_by_validation_is_registered_and_dvc_gets_it(
    champion: dict[str, Any], figures: dict[str, Any], project: Path, shell: Shell
) -> None:
    nmes = {name: one["val"]["nme"] for name, one in figures.items()}
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


@pytest.mark.xdist_group("champion")
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
        assert np.abs(served - detector.predict(read_image(picture), np.array([box, box]))).max() < 0.0051
        for row, message in (
            ({"image": base64.b64encode(b"text").decode()}, "row 0, image: not an image"),
            ({"image": encoded}, "this model has no face finder: boxes are needed"),  # no finder sees drawn faces
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
    figures: dict[str, Any], project: Path, browser: Any
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
        nmes = [f"{figures[name.split()[0]]['test']['nme']:.4g}" for name in chosen]
        wanted = [*chosen, "test.nme", *nmes]

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


# What a change runs anew.


def test_n_real_leaves_packs_and_synthetic_only(workspace: Path) -> None:
    set_params(workspace, {"n_real": 20})
    stages = stale(workspace)
    assert "real_only@0" in stages
    assert not {"prepare@real", "prepare@synthetic", "synthetic_only@0"} & stages


def test_another_synthetic_set_leaves_the_real_pack(workspace: Path) -> None:
    set_params(workspace, {"render.synthetic.seed": 9})
    stages = stale(workspace)
    assert {"render@synthetic", "prepare@synthetic"} <= stages
    assert not {"render@stand_in", "prepare@real", "real_only@0"} & stages


def test_importing_synthetic_faces_leaves_the_real_pack(workspace: Path, facemix: Shell, tmp_path: Path) -> None:
    facemix(f"import facesynthetics {toy.write_facesynthetics(tmp_path / 'more', n=3, seed=7)}")
    stages = stale(workspace)
    assert "prepare@synthetic" in stages
    assert not {"prepare@real", "real_only@0"} & stages
    shutil.rmtree(workspace / "data/sources/synthetic/more")


def test_another_source_leaves_the_shards_of_the_others(
    trained_workspace: Path, facemix: Shell, shell: Shell, tmp_path: Path
) -> None:
    shards = trained_workspace / "data/packs/synthetic/images"
    before = {file.name: file.read_bytes() for file in shards.iterdir()}
    facemix(f"import facesynthetics {toy.write_facesynthetics(tmp_path / 'more', n=3, seed=7)}")
    printed = shell("dvc repro prepare@synthetic")
    assert STAGE.findall(printed) == ["prepare@synthetic"]
    assert f"{len(before)} of {len(before) + 1} shards are those of the last run" in printed
    after = {file.name: file.read_bytes() for file in shards.iterdir()}
    assert {name: after[name] for name in before} == before
    assert [name.startswith("more-") for name in after.keys() - before.keys()] == [True]
    shutil.rmtree(trained_workspace / "data/sources/synthetic/more")


def test_another_face_size_trains_nothing(workspace: Path) -> None:
    set_params(workspace, {"evaluation.normalizer": "box_diagonal"})
    assert stale(workspace) == {"leaks", "compare", "report"}


@pytest.mark.parametrize("file", ["evaluation/metrics.py", "faces/formats/w300.py", "stages/train.py"])
def test_a_comment_in_code_that_decides_no_weights_trains_nothing(file: str, workspace: Path) -> None:
    assert stale(workspace) == set()
    with (workspace / "src/facemix" / file).open("a") as code:
        code.write("# a word\n")
    assert not stale(workspace) & TRAININGS


def test_other_packages_than_the_recorded_ones_stop_the_command(workspace: Path, facemix: Shell) -> None:
    (workspace / "packages.yaml").write_text("torch: 1.0.0\ntimm: 1.0.31\nopencv-python: 5.0.0.93\n")
    assert re.match(
        r"packages\.yaml: found torch 1\.0\.0 \(installed: \d.*\); install what it says .*`facemix packages`",
        facemix("train mixing", expect=1).removeprefix("facemix train: "),
    )


# Experiments.


def test_a_temporary_experiment_runs_what_its_change_decides_and_its_runs_are_in_the_one_store(
    workspace: Path, shell: Shell
) -> None:
    before = len(runs(workspace))
    printed = shell("dvc exp run --temp -n temporary -S alpha=0.3")
    assert STAGE.findall(printed) == ["mixing@0", "compare", "report"]
    new = runs(workspace)[before:]
    assert [run["name"] for run in new] == ["mixing seed 0", "compare", "report"]
    assert new[0]["params"]["alpha"] == "0.3"
    assert {run["status"] for run in new} == {"FINISHED"}
    assert {run["tags"]["DVC_EXP_NAME"] for run in new} == {"temporary"}
    assert all(run["files"] for run in new)
    assert all(any(key.startswith("test.nme") for key in run["metrics"]) for run in new[:2])


def test_queued_experiments_leave_their_runs_in_the_one_store(workspace: Path, shell: Shell) -> None:
    before = len(runs(workspace))
    shell("dvc exp run --queue -n queued-1 -S alpha=0.6 mixing")
    shell("dvc exp run --queue -n queued-2 -S evaluation.normalizer=box_side compare")
    shell("dvc queue start -j 2 > queue.log 2>&1")  # its workers would keep a pipe open
    deadline = time.monotonic() + 400
    while (status := shell("dvc queue status")).count("Success") < 2:
        assert time.monotonic() < deadline and "Failed" not in status, shell(
            "dvc queue status; dvc queue logs queued-1; dvc queue logs queued-2"
        )
        time.sleep(3)
    new = {run["tags"]["DVC_EXP_NAME"]: run for run in runs(workspace)[before:]}
    assert {name: run["name"] for name, run in new.items()} == {"queued-1": "mixing seed 0", "queued-2": "compare"}
    assert new["queued-1"]["params"]["alpha"] == "0.6" and new["queued-2"]["params"]["normalizer"] == "box_side"
    for run in new.values():
        assert run["status"] == "FINISHED" and run["files"]
        assert any(key.startswith("test.nme") for key in run["metrics"])
    table = shell("dvc exp show --csv --no-pager")
    assert all(name in table for name in (*new, "test_nme.mixing"))


def test_mlflow_run_trains_mixing_under_the_parent_run(trained_workspace: Path, shell: Shell) -> None:
    before = len(runs(trained_workspace))
    shell("mlflow run . -e mixing -P alpha=0.2 --env-manager local --experiment-name facemix")
    new = runs(trained_workspace)[before:]
    trained = next(run for run in new if run["name"] == "mixing seed 0")
    assert trained["params"]["alpha"] == "0.2"
    assert {run["status"] for run in new} == {"FINISHED"}
    assert trained["tags"]["mlflow.parentRunId"] and trained["tags"]["DVC_EXP_NAME"]


def test_a_training_that_is_killed_goes_on_and_ends_in_the_same_weights(
    trained_workspace: Path, facemix: Shell
) -> None:
    weights = trained_workspace / "models/real_only/seed-0/model.safetensors"
    undisturbed = load_file(weights)
    weights.unlink()
    before = len(runs(trained_workspace))
    command = [sys.executable, "-m", "facemix.cli", "train", "real_only"]
    with subprocess.Popen(
        command,
        cwd=trained_workspace,
        env=environment(trained_workspace),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not list((trained_workspace / "checkpoints").glob("real_only-*.pt")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not weights.exists()
    facemix("train real_only")
    again = load_file(weights)
    assert all((again[key] == undisturbed[key]).all() for key in undisturbed)
    assert [run["status"] for run in runs(trained_workspace)[before:]] == ["FINISHED"]


def test_mistakes_end_in_one_clear_line(workspace: Path, shell: Shell, facemix: Shell) -> None:
    assert shell("facemix preset nothing", expect=1).startswith("facemix preset: presets/nothing.yaml: no such preset")
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(re.sub(r"^alpha: \S+", "alpha: 1.5", text, flags=re.MULTILINE))
    assert facemix("train mixing", expect=1) == (
        "facemix train: params.yaml: alpha: found 1.5, expected a share of synthetic faces, 0 to 1\n"
    )


# Other faces.


def clone(project: Path, to: Path) -> Path:
    """The project as it was before the imports."""
    first = shell_in(project)("git rev-list --max-parents=0 HEAD").strip()
    shell_in(project)(f"git clone -q . {to} && git -C {to} checkout -q {first}")
    return to


def train_and_compare(root: Path, strategies: Iterable[str] = STRATEGIES) -> str:
    """What `dvc repro` runs once packs are there, in this process; returns what is printed."""
    facemix = facemix_in(root)
    commands = [*(f"train {name} --seed 0" for name in strategies), "leaks", "compare", "report"]
    return "".join(facemix(command) for command in commands)


def ranked(root: Path) -> set[str]:
    with (root / "reports/ranking.csv").open(newline="") as file:
        return {row["strategy"] for row in csv.DictReader(file)}


def test_a_fresh_clone_runs_on_faces_that_it_renders(reproduced: str, project: Path, tmp_path: Path) -> None:
    root = clone(project, tmp_path / "own")
    facemix_in(root)("preset smoke")
    set_params(root, {"render.synthetic.n": 6, "render.stand_in.n": 24, "n_real": 8, "n_synthetic": "all"})
    ran = STAGE.findall(shell_in(root)("dvc repro prepare"))
    assert set(ran) == {"render@synthetic", "render@stand_in", "prepare@real", "prepare@synthetic"}
    assert "test: stand-in (rendered, not real photographs)" in train_and_compare(root)
    assert ranked(root) == set(STRATEGIES)
    assert json.loads((root / "reports/metrics.json").read_text())["test_faces"].startswith("stand-in")


@pytest.mark.real_data
def test_the_smoke_preset_runs_on_a_slice_of_300w(
    reproduced: str, shared_data: Path, tmp_path: Path, project: Path
) -> None:
    root, synthetic = clone(project, tmp_path / "real"), shared_data / "synthetic"
    facemix = facemix_in(root)
    facemix(f"import 300w {shared_data}/300w --link")
    for name in ("dgfaces_v1", "dgfaces_v2", "facesynthetics"):
        facemix(f"import {name} {synthetic}/{name}")
    facemix("preset smoke")
    set_params(root, {"render.synthetic.n": 0})
    for command in ("render --stage synthetic", "render --stage stand_in", "prepare real", "prepare synthetic"):
        facemix(command)
    strategies = ("synthetic_only", "label_adaptation", "mixing")  # one pack, the other behind it, both
    train_and_compare(root, strategies)
    assert ranked(root) == set(strategies)
    with inside(root):
        trained = results.read(Path("models"), [0], "outer_eye")
    assert {one.metrics["test"]["faces"] for one in trained} == {554}
    assert {one.metrics["val"]["faces"] for one in trained} == {300}
