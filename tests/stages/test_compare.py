import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from matplotlib.axes import Axes
from ruamel.yaml import YAML

import toy_results
from facemix import config
from facemix.checks import pairs
from facemix.files import write_table
from facemix.stages import compare as stage
from facemix.verdict.comparison import Trained

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS = config.load(REPOSITORY / "params.yaml")
FACES = toy_results.FACES


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What MLflow would have been told in an empty project; nothing is sent."""
    found: list[dict[str, Any]] = []
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    monkeypatch.setattr(stage.tracking, "deliver", lambda: 0)
    monkeypatch.setattr(stage.tracking, "start", lambda **about: (found.append(about), nullcontext(Mock()))[1])
    return found


def compare(monkeypatch: pytest.MonkeyPatch, *trained: Trained) -> None:
    monkeypatch.setattr(stage.results, "read", lambda models, seeds, normalizer: trained)
    monkeypatch.setattr(stage.results, "missing", lambda models, seeds: [])
    stage.compare(PARAMS)


def test_a_stand_in_is_never_shown_as_real(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    titles: list[str] = []
    set_title = Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda axes, title, **style: set_title(axes, titles.append(title) or title))
    shown = "stand-in (rendered, not real photographs)"
    for subset, called in (("lfpw", None), ("stand-in", shown)):
        one = toy_results.trained("real_only", 0, [4.0])
        one.metrics["test"]["subsets"] = {subset: 4.0}
        compare(monkeypatch, one)
        printed, summary = capsys.readouterr().out, json.loads(Path("reports/metrics.json").read_text())
        assert (f"1 test faces; test: {shown}\n" in printed) == bool(called)
        assert summary.get("test_faces") == called
        assert (f"1 renders, {shown}: " in summary["verdict"]["sentence"]) == bool(called)
        assert printed.endswith(summary["verdict"]["sentence"] + "\n")
        assert started[-1]["tags"]["verdict"] == summary["verdict"]["sentence"]
        assert started[-1]["params"]["verdict"] == summary["verdict"]["status"] == "undecided"
        assert started[-1]["tags"].get("test_faces") == called
    assert titles == [f"test: {shown}"] * 3


def test_what_dvc_keeps_of_an_earlier_comparison_is_not_written_to(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(monkeypatch, toy_results.trained("real_only", 0, [4.0]))
    former = {path.name: path.read_bytes() for path in Path("reports").iterdir()}
    for name in former:
        Path(f"kept-{name}").hardlink_to(Path("reports") / name)  # as DVC's cache does
    compare(monkeypatch, toy_results.trained("real_only", 0, [5.0]))
    assert Path("reports/ranking.csv").read_bytes() != former["ranking.csv"]
    assert {name: Path(f"kept-{name}").read_bytes() for name in former} == former


def test_tables_for_dvc_plots_have_a_column_for_each_curve_that_dvc_yaml_names(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(monkeypatch, toy_results.trained("real_only", 0, [4.0]))
    plots = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["plots"]
    curves = [curve for plot in plots if isinstance(plot, dict) for one in plot.values() for curve in one["y"].items()]
    assert len(curves) == 3
    for table, columns in curves:
        header = Path(table).read_text().splitlines()[0].split(",")
        assert set(columns) < set(header)


def test_leaking_test_faces_and_the_human_floor_are_told(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[float] = []
    draw = Axes.axvline
    monkeypatch.setattr(Axes, "axvline", lambda axes, x, **style: draw(axes, drawn.append(x) or x, **style))
    one = toy_results.trained("real_only", 0, [4.0, 5.0])
    compare(monkeypatch, one)
    assert json.loads(Path("reports/metrics.json").read_text()).keys() & {"leaking_test_faces", "human_floor"} == set()
    assert drawn == []
    capsys.readouterr()
    splits = {FACES[0]: "test", FACES[1]: "test", "a": "train", "b": "synthetic"}
    leaking = [(FACES[0], "a"), (FACES[0], "b"), (FACES[1], FACES[0])]
    write_table(Path("reports/leaks.csv"), [pairs.row("near", pair, splits, 0.9) for pair in leaking])
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "outer_eye", "nme": 2.5}))
    compare(monkeypatch, one)
    summary = json.loads(Path("reports/metrics.json").read_text())
    assert (summary["leaking_test_faces"], summary["human_floor"]) == (1, 2.5)
    assert drawn == [2.5]
    printed = capsys.readouterr().out
    assert "1 test faces show a photograph that training or validation holds too" in printed
    assert "human floor (two annotators of one photograph): 2.50" in printed
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "box_side", "nme": 2.5}))
    with pytest.raises(ValueError, match="human_floor.json: found NME by box_side, expected outer_eye"):
        compare(monkeypatch, one)


def test_validation_comes_first_where_experiments_are_listed(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(monkeypatch, toy_results.trained("real_only", 0, [4.0]))
    summary = json.loads(Path("reports/metrics.json").read_text())  # its order is that of the columns of `dvc exp show`
    assert list(summary)[:2] == ["val_nme", "test_nme"]


@pytest.mark.parametrize("stage", ["compare", "report", "register"])
def test_what_reads_results_does_not_wait_for_torch(stage: str) -> None:
    code = f"import sys, facemix.stages.{stage}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
