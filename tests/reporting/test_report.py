"""The page of a small project, as text and in a browser."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

import toy
import toy_sweep
from facemix import config
from facemix.config import ANSWERS
from facemix.faces.face import STAND_IN_SHOWN
from facemix.files import whole_folder
from facemix.reporting import advice, advice_figure
from facemix.reporting.page import html
from facemix.reporting.sections import faces, results
from facemix.stages import report as stage
from facemix.stages.compare import compare
from facemix.stages.leaks import leaks
from facemix.stages.prepare import prepare
from facemix.strategies import MODELS, STRATEGIES
from facemix.training import heads, predictions, tasks
from facemix.training.landmarker import Landmarker
from facemix.training.tasks import Outcome
from facemix.verdict.advice import lay_out
from facemix.verdict.offers import Prices

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, config.Params]]:
    """A project with packs, an untrained detector a strategy, a fitted label adapter, leaks and a ranking."""
    root = tmp_path_factory.mktemp("project")
    params = config.load(REPOSITORY / "params.yaml")
    params = dataclasses.replace(
        params,
        sources=config.Sources(
            real=(config.Source(name="toy", format="300w"),),
            synthetic=(config.Source(name="drawn", format="facesynthetics"),),
        ),
        render=toy.NO_RENDERS,
        pack=config.Pack(crop_size=64, margin=2.0),
        model=dataclasses.replace(params.model, input_size=48, width=16),
        adaptation=dataclasses.replace(params.adaptation, epochs=3),
    )
    shutil.copy(REPOSITORY / "params.yaml", root)
    toy.write_300w(root / "data/sources/real/toy", n=36)
    toy.write_facesynthetics(root / "data/sources/synthetic/drawn", n=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_ROOT", str(root))
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens
        prepare("real", params)
        prepare("synthetic", params)
        for strategy in STRATEGIES.values():
            task = tasks.gather(strategy, 0, params)
            with whole_folder(MODELS / strategy.name / "seed-0") as beside:
                tasks.write(beside, task, untrained(task))
        leaks(params)
        compare(params)
        write_answers()
        stage.report(params)
        yield root, params


def write_answers() -> None:
    """What `facemix advise` and `facemix gate` write."""
    ANSWERS.mkdir()
    laid = lay_out(toy_sweep.swept(toy_sweep.grid()), resamples=100)
    question = advice.Question(labels=100, more=50, target=4.0, prices=Prices(label=2.0, render=0.02))
    found = advice.answer(laid, question)
    (ANSWERS / "advice.json").write_text(json.dumps(advice.record(found)), encoding="utf-8")
    advice_figure.draw(ANSWERS / "advice.png", found)
    sentence = "undecided: the gain of mixing over control is 2.1 %"
    (ANSWERS / "gate.json").write_text(json.dumps({"sentence": sentence}), encoding="utf-8")


def untrained(task: tasks.Task) -> Outcome:
    if task.strategy.shares_network_of:
        return tasks.fit_adapter(task)
    budget = {"steps": 0, "best_step": 0, "faces_seen": {task.strategy.name: 1}}
    about = tasks.about(task) | {"training": budget}
    network = tasks.new_network(task)
    if task.strategy.own_head:
        network = heads.real_head(network, task.scheme, about["network"])
    landmarker = Landmarker(network, task.params.model.context, about)
    return Outcome(
        landmarker=landmarker,
        history=[{"step": 0, "train_loss": 1.0, "val_error": 1.0}],
    )


@pytest.fixture
def project(
    finished: tuple[Path, config.Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, config.Params]:
    """A copy to spoil."""
    root = tmp_path / "project"
    shutil.copytree(finished[0], root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return root, finished[1]


def page(params: config.Params, folder: Path) -> str:
    """The page, its figures in a folder of their own, without tracking."""
    folder.mkdir()
    return html(stage.compose(stage.read(params, folder)))


def test_equal_inputs_give_equal_bytes(
    finished: tuple[Path, config.Params], project: tuple[Path, config.Params], tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in (finished[0] / stage.FIGURES).iterdir()}
    assert page(project[1], tmp_path / "again") == (finished[0] / stage.PAGE).read_text(encoding="utf-8")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == before


def test_the_page_shows_all_that_is_there(finished: tuple[Path, config.Params]) -> None:
    text = (finished[0] / stage.PAGE).read_text(encoding="utf-8")
    verdict = json.loads((finished[0] / "reports/metrics.json").read_text())["verdict"]
    assert f'data-status="{verdict["status"]}"' in text
    assert all(name in text for name in STRATEGIES)
    assert text.count("worst: NME") == len(STRATEGIES)
    assert {"label_gap.png", "nme_by_region.png", "nme_by_pose.png"} <= {
        path.name for path in (finished[0] / stage.FIGURES).iterdir()
    }
    assert "facemix sweep alpha=" in text  # the one thing that is missing
    assert text.count('class="missing"') == 1
    assert STAND_IN_SHOWN not in text
    assert len(text) < 6e6


@pytest.mark.parametrize(
    ("lengths", "why"),
    [
        ([0.0, 0.0, np.nan], "changes nothing"),
        ([np.nan, np.nan], "no point of one is named in the other"),
        ([2.0, 3018.4, np.nan], "moves a point by 3018 % of the face box"),
    ],
)
def test_a_label_gap_that_is_none_is_not_drawn(lengths: list[float], why: str) -> None:
    assert why in faces.nothing_to_draw(np.array(lengths))
    assert faces.nothing_to_draw(np.array([0.0, 4.5, np.nan])) == ""


def test_what_is_missing_is_named_with_what_makes_it(project: tuple[Path, config.Params], tmp_path: Path) -> None:
    makes = {
        "reports/ced.png": "dvc repro compare",
        "reports/leaks.csv": "dvc repro leaks",
        "reports/human_floor.json": "dvc repro leaks",
        "data/packs/synthetic": "dvc repro prepare",
        "models/label_adaptation/seed-0/label_gap.csv": "dvc repro label_adaptation",
    }
    for name in makes:
        path = project[0] / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = page(project[1], tmp_path / "figures")
    assert [command for command in makes.values() if f"To make it: <code>{command}</code>" not in text] == []


def test_a_sweep_is_shown_where_there_is_one(project: tuple[Path, config.Params], tmp_path: Path) -> None:
    root, params = project
    (root / "reports/sweep").mkdir()
    shutil.copy(root / "reports/ced.png", root / "reports/sweep/alpha.png")
    (root / "reports/sweep/points.csv").write_text("strategy,alpha,test_nme\nmixing,0.5,4.123456\n")
    (root / "reports/sweep/worth.csv").write_text("part,strategy,worth\nall,mixing,61\njaw,mixing,fewer than 50\n")
    text = page(params, tmp_path / "figures")
    assert "Test NME of mixing against alpha" in text
    assert "<td>4.123</td>" in text
    whole, parts = text.split("The same by region and head pose")
    assert "<td>61</td>" in whole and "<td>fewer than 50</td>" in parts
    assert "fewer than 50" not in whole and "<td>61</td>" not in parts
    assert 'class="missing"' not in text
    others = pyarrow.table({"face": ["a face of", "another project"]})
    parquet.write_table(others, root / "reports/sweep/errors.parquet")
    told = "Tested on other faces than all else on this page"
    assert told not in text and told in page(params, tmp_path / "others")


def test_the_next_step_is_one_that_is_not_done_yet(project: tuple[Path, config.Params], tmp_path: Path) -> None:
    root, params = project
    metrics = json.loads((root / "reports/metrics.json").read_text())
    metrics["verdict"]["advice"] = ""
    (root / "reports/metrics.json").write_text(json.dumps(metrics))
    answers = (root / ANSWERS).rename(root / "answers")

    def advised() -> str:
        text = page(params, tmp_path / f"figures{len([*tmp_path.iterdir()])}")
        return text.split("What to do next.</b> ")[1].split("</p>")[0]

    assert "<code>facemix sweep alpha=" in advised()
    (root / "reports/sweep").mkdir()
    (root / "reports/sweep/points.csv").write_text("strategy,alpha,test_nme\nmixing,0.5,4.123456\n")
    assert "<code>facemix advise &amp;&amp; dvc repro</code>" in advised()
    answers.rename(root / ANSWERS)
    assert advised() == "Choose a mix (see What follows)."


def test_advice_and_gate_are_shown_where_they_were_asked(
    finished: tuple[Path, config.Params], project: tuple[Path, config.Params], tmp_path: Path
) -> None:
    text = (finished[0] / stage.PAGE).read_text(encoding="utf-8")
    for part in (
        "<code>facemix gate</code>: undecided: the gain of mixing",
        '<th scope="row">What 50 more labels bring</th><td>real_only: from 100 to 150 labels',
        "The cheapest mix for NME 4",
        "The laws behind it",
    ):
        assert part in text
    root, params = project
    (root / ANSWERS / "gate.json").unlink()
    (root / ANSWERS / "advice.json").write_text('{"answers": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"answers/advice.json: not what its command writes .*run `facemix advise"):
        page(params, tmp_path / "spoiled")
    (root / ANSWERS / "advice.json").unlink()
    missing = "alpha=0.25,0.5,0.75 n_real=all seeds=3 &amp;&amp; facemix advise &amp;&amp; dvc repro</code>"
    assert missing in page(params, tmp_path / "figures")  # fewer than 50 faces, and no sweep to ask


def test_without_a_ranking_the_message_says_what_to_do(project: tuple[Path, config.Params]) -> None:
    root, params = project
    (root / "reports/ranking.csv").unlink()
    with pytest.raises(ValueError, match=r"reports/ranking.csv: not found, .* run `dvc repro`"):
        stage.report(params)


def test_a_ranking_of_other_models_than_there_are_is_refused(project: tuple[Path, config.Params]) -> None:
    root, params = project
    folder = next((root / "models").glob("*/seed-*"))
    moved = predictions.read(folder)
    predictions.write(
        folder, dataclasses.replace(moved, points={level: one + 1 for level, one in moved.points.items()})
    )
    with pytest.raises(ValueError, match="have changed since it was written.*run `dvc repro`"):
        stage.report(params)


def test_small_numbers_of_a_sweep_stay_apart() -> None:
    shown = [results._short(text) for text in ("5.123456", "4.000000", "0.0001", "0.00030", "12", "mixing")]
    assert shown == ["5.123", "4", "0.0001", "0.0003", "12", "mixing"]


def test_strategies_are_described_by_what_the_table_says(finished: tuple[Path, config.Params]) -> None:
    params = dataclasses.replace(finished[1], alpha=0.25)
    said = {name: results.describe(strategy, params) for name, strategy in STRATEGIES.items()}
    assert "25% of each batch synthetic (`alpha`)" in said["mixing"]
    assert "50% of each batch synthetic; each kind has a head of its own" in said["two_heads"]
    assert said["real_only"] == "trained on real faces only"
    assert "starts from the network of `synthetic_only`" in said["fine_tuning"]


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: needs chromium or google-chrome, and chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    found = webdriver.Chrome(options, Service(driver))
    yield found
    found.quit()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works_in_a_browser(
    width: int, scheme: str, browser: Any, finished: tuple[Path, config.Params]
) -> None:
    from axe_core_python.selenium import Axe
    from selenium.webdriver.common.by import By

    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get((finished[0] / stage.PAGE).as_uri())
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]

    details = browser.find_elements(By.TAG_NAME, "details")
    assert details
    for one in details:
        assert one.get_attribute("open") is None
        one.find_element(By.TAG_NAME, "summary").click()
        assert one.get_attribute("open") is not None
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    violations = Axe().run(browser)["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in violations] == []
