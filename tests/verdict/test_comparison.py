import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.axes import Axes
from ruamel.yaml import YAML

from facemix import config
from facemix.checks import pairs
from facemix.files import write_table
from facemix.stages import compare as stage
from facemix.verdict import comparison

REPOSITORY = Path(__file__).resolve().parents[2]
FACES = [f"300w/lfpw/testset/{i}" for i in range(40)]


def write(models: Path, strategy: str, seed: int, errors: list[float], **changes: Any) -> None:
    folder = models / strategy / f"seed-{seed}"
    folder.mkdir(parents=True)
    mean = float(np.mean(errors))
    test = {"nme": mean, "fr8": 0.0, "fr10": 0.0, "auc8": 0.5, "regions": {"jaw": mean}, "subsets": {"lfpw": mean}}
    test |= {"box_jitter": {"0.10": 2 * mean}}
    training = {"faces_seen": {strategy: 320} | ({"synthetic_only": 320} if strategy == "fine_tuning" else {})}
    metrics = {"normalizer": "outer_eye", "val": {"nme": mean + 1}, "test": test, "training": training} | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    faces = [*FACES[: len(errors)], "300w/ibug/1"]
    rows = zip(faces, ["lfpw"] * len(errors) + ["ibug"], [*errors, 50.0], strict=True)
    lines = [f"{face},{subset},{nme},{face[:-1]}\n" for face, subset, nme in rows]
    (folder / "errors.csv").write_text("face,subset,nme,photo\n" + "".join(lines))
    (folder / "history.csv").write_text(f"step,val_nme\n10,{mean + 2}\n20,{mean + 1}\n")


def test_the_budgets_of_all_networks_behind_a_detector_are_read(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [4.0, 6.0])
    write(tmp_path, "fine_tuning", 0, [3.0, 5.0])
    assert [one.faces_seen for one in comparison.read(tmp_path, [0])] == [320, 640]


def test_what_lacks_a_seed_is_named_and_the_common_seeds_are_read(tmp_path: Path) -> None:
    for name, seed in (("real_only", 0), ("real_only", 1), ("mixing", 1)):
        write(tmp_path, name, seed, [4.0, 5.0])
    trained = comparison.read(tmp_path, range(2))
    assert [(one.strategy, one.seed) for one in trained] == [("real_only", 1), ("mixing", 1)]
    assert comparison.missing(tmp_path, range(2)) == [("mixing", 0)]


def test_photographs_are_read_and_a_face_without_one_is_its_own(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [1.0] * 12)
    assert len(set(comparison.read(tmp_path, [0])[0].photos.values())) == 2  # faces 0 to 9, and 10 to 11
    errors = tmp_path / "real_only/seed-0/errors.csv"
    errors.write_text("".join(line.rpartition(",")[0] + "\n" for line in errors.read_text().splitlines()))
    assert len(set(comparison.read(tmp_path, [0])[0].photos.values())) == 12


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda m: None, "no trained strategy, expected .*/STRATEGY/seed-K; run `dvc repro`"),
        (lambda m: (m / "mixing/seed-0").mkdir(parents=True), "metrics.json is missing; expected one for every seed"),
        (
            lambda m: (write(m, "real_only", 0, [1.0]), write(m, "mixing", 1, [1.0])),
            "no seed that every strategy was trained with.*missing: real_only seed 1, mixing seed 0; run",
        ),
        (lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [1.0, 2.0])), "different faces"),
        (
            lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [float("nan")])),
            "real_only/seed-1/errors.csv: 300w/lfpw/testset/0 has an NME of nan, expected a finite NME",
        ),
        (
            lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [1.0], normalizer="box_side")),
            "real_only is measured by outer_eye, real_only by box_side",
        ),
        (lambda m: write(m, "real_only", 0, [1.0], test=3), "damaged results"),
        (
            lambda m: (
                write(m, "real_only", 0, [1.0], validation_faces="some"),
                write(m, "mixing", 0, [1.0], validation_faces="others"),
            ),
            "the validation faces of real_only seed 0: found some, of mixing seed 0 others",
        ),
    ],
)
def test_results_that_cannot_be_compared_are_refused(prepare: Any, message: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    with pytest.raises(ValueError, match=message):
        comparison.read(tmp_path, [0, 1])


def test_a_stand_in_is_never_shown_as_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage.tracking, "deliver", lambda: 0)
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(stage.tracking, "start", lambda **about: (started.append(about), nullcontext(Mock()))[1])
    titles: list[str] = []
    set_title = Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda axes, title, **style: set_title(axes, titles.append(title) or title))
    shown = "stand-in (rendered, not real photographs)"
    params = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
    for subset, called in (("lfpw", None), ("stand-in", shown)):
        shutil.rmtree("models", ignore_errors=True)
        test = {"nme": 4.0, "fr8": 0.0, "fr10": 0.0, "auc8": 0.5, "regions": {}, "subsets": {subset: 4.0}}
        test |= {"box_jitter": {"0.10": 4.5}}
        write(Path("models"), "real_only", 0, [4.0], test=test)
        errors = Path("models/real_only/seed-0/errors.csv")
        errors.write_text(errors.read_text().replace(",lfpw,", f",{subset},"))
        stage.compare(params)
        printed, summary = capsys.readouterr().out, json.loads(Path("reports/metrics.json").read_text())
        assert (f"1 test faces; test: {shown}\n" in printed) == bool(called)
        assert summary.get("test_faces") == called
        assert (f"1 renders, {shown}: " in summary["verdict"]["sentence"]) == bool(called)
        assert printed.endswith(summary["verdict"]["sentence"] + "\n")
        assert started[-1]["tags"]["verdict"] == summary["verdict"]["sentence"]
        assert started[-1]["params"]["verdict"] == summary["verdict"]["status"] == "undecided"
        assert started[-1]["tags"].get("test_faces") == called
    assert titles == [f"test: {shown}"] * 3


@pytest.fixture
def untracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project, with nothing sent to MLflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage.tracking, "deliver", lambda: 0)
    monkeypatch.setattr(stage.tracking, "start", lambda **about: nullcontext(Mock()))


def test_what_dvc_keeps_of_an_earlier_comparison_is_not_written_to(untracked: None) -> None:
    params = config.load(REPOSITORY / "params.yaml")
    write(Path("models"), "real_only", 0, [4.0])
    stage.compare(params)
    former = {path.name: path.read_bytes() for path in Path("reports").iterdir()}
    for name in former:
        Path(f"kept-{name}").hardlink_to(Path("reports") / name)  # as DVC's cache does
    shutil.rmtree("models")
    write(Path("models"), "real_only", 0, [5.0])
    stage.compare(params)
    assert Path("reports/ranking.csv").read_bytes() != former["ranking.csv"]
    assert {name: Path(f"kept-{name}").read_bytes() for name in former} == former


def test_tables_for_dvc_plots_have_a_column_for_each_curve_that_dvc_yaml_names(untracked: None) -> None:
    write(Path("models"), "real_only", 0, [4.0])
    stage.compare(config.load(REPOSITORY / "params.yaml"))
    plots = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["plots"]
    curves = [curve for plot in plots if isinstance(plot, dict) for one in plot.values() for curve in one["y"].items()]
    assert len(curves) == 3
    for table, columns in curves:
        header = Path(table).read_text().splitlines()[0].split(",")
        assert set(columns) < set(header)


def test_leaking_test_faces_and_the_human_floor_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage.tracking, "deliver", lambda: 0)
    monkeypatch.setattr(stage.tracking, "start", lambda **about: nullcontext(Mock()))
    drawn: list[float] = []
    draw = Axes.axvline
    monkeypatch.setattr(Axes, "axvline", lambda axes, x, **style: draw(axes, drawn.append(x) or x, **style))
    write(Path("models"), "real_only", 0, [4.0, 5.0])
    params = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
    stage.compare(params)
    assert json.loads(Path("reports/metrics.json").read_text()).keys() & {"leaking_test_faces", "human_floor"} == set()
    assert drawn == []
    capsys.readouterr()
    splits = {FACES[0]: "test", FACES[1]: "test", "a": "train", "b": "synthetic"}
    leaking = [(FACES[0], "a"), (FACES[0], "b"), (FACES[1], FACES[0])]
    write_table(Path("reports/leaks.csv"), [pairs.row("near", pair, splits, 0.9) for pair in leaking])
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "outer_eye", "nme": 2.5}))
    stage.compare(params)
    summary = json.loads(Path("reports/metrics.json").read_text())
    assert list(summary)[:2] == ["val_nme", "test_nme"]  # the order of the columns of `dvc exp show`
    assert (summary["leaking_test_faces"], summary["human_floor"]) == (1, 2.5)
    assert drawn == [2.5]
    printed = capsys.readouterr().out
    assert "1 test faces show a photograph that training or validation holds too" in printed
    assert "two annotators of a photograph: 2.50" in printed
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "box_side", "nme": 2.5}))
    with pytest.raises(ValueError, match="human_floor.json: found NME by box_side, expected outer_eye"):
        stage.compare(params)
