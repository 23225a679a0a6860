import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.axes import Axes

from facemix import config
from facemix.files import write_table
from facemix.stages import compare as stage
from facemix.verdict import comparison, leaks

FACES = [f"300w/lfpw/testset/{i}" for i in range(40)]


def write(models: Path, strategy: str, seed: int, errors: list[float], **changes: Any) -> None:
    folder = models / strategy / f"seed-{seed}"
    folder.mkdir(parents=True)
    mean = float(np.mean(errors))
    test = {"nme": mean, "fr8": 0.0, "fr10": 0.0, "auc8": 0.5, "regions": {"jaw": mean}, "subsets": {"lfpw": mean}}
    test |= {"box_jitter": {"0.10": 2 * mean}}
    metrics = {"normalizer": "outer_eye", "val": {"nme": mean + 1}, "test": test} | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    faces = [*FACES[: len(errors)], "300w/ibug/1"]
    rows = zip(faces, ["lfpw"] * len(errors) + ["ibug"], [*errors, 50.0], strict=True)
    (folder / "errors.csv").write_text("face,subset,nme\n" + "".join(f"{f},{s},{e}\n" for f, s, e in rows))
    (folder / "history.csv").write_text(f"step,val_nme\n10,{mean + 2}\n20,{mean + 1}\n")


def test_the_least_mean_test_nme_ranks_first(tmp_path: Path) -> None:
    for seed, shift in ((0, 0.0), (1, 0.2)):
        write(tmp_path, "real_only", seed, [4.0 + shift, 6.0])
        write(tmp_path, "mixing", seed, [4.0 + shift, 5.0])
    ranked = comparison.rank(comparison.read(tmp_path, [0, 1]))
    assert [(row["rank"], row["strategy"]) for row in ranked] == [(1, "mixing"), (2, "real_only")]
    assert ranked[0]["test_nme"] == pytest.approx(4.55)
    assert ranked[0]["test_nme_sd"] == pytest.approx(np.std([4.5, 4.6], ddof=1))
    assert ranked[0]["difference"] == pytest.approx(-0.5)  # paired: challenging faces do not count
    assert ranked[1]["difference"] == 0


def test_tables_for_plots_have_a_column_a_strategy(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [1.0, 3.0])
    write(tmp_path, "mixing", 0, [2.0, 2.0])
    trained = comparison.read(tmp_path, [0])
    at_two = next(row for row in comparison.ced_table(trained) if row["nme"] == 2)
    assert at_two == {"nme": 2, "real_only": 0.5, "mixing": 1.0}
    assert comparison.box_jitter_table(trained) == [
        {"jitter": 0.0, "real_only": 2.0, "mixing": 2.0},
        {"jitter": 0.1, "real_only": 4.0, "mixing": 4.0},
    ]
    assert comparison.validation_table(trained)[0] == {"step": 10, "real_only": 4.0, "mixing": 4.0}


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda m: None, "no trained strategy, expected .*/STRATEGY/seed-K; run `dvc repro`"),
        (lambda m: write(m, "real_only", 0, [1.0]), "metrics.json is missing; expected one for every seed"),
        (lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [1.0, 2.0])), "different faces"),
        (
            lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [float("nan")])),
            "expected a finite NME",
        ),
        (
            lambda m: (write(m, "real_only", 0, [1.0]), write(m, "real_only", 1, [1.0], normalizer="box_side")),
            "real_only is measured by outer_eye, real_only by box_side",
        ),
        (lambda m: write(m, "real_only", 0, [1.0], test=3), "damaged results"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(prepare: Any, message: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    with pytest.raises(ValueError, match=message):
        comparison.read(tmp_path, [0, 1])


def test_the_printed_table_lines_up(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [10.0])
    write(tmp_path, "label_adaptation", 0, [5.25])
    lines = stage.table(comparison.rank(comparison.read(tmp_path, [0]))).splitlines()
    assert lines[0].split() == [
        "rank",
        "strategy",
        "test",
        "NME",
        "vs",
        "real_only",
        "FR@8",
        "FR@10",
        "AUC@8",
        "val",
        "NME",
    ]
    assert lines[1].split()[:4] == ["1", "label_adaptation", "5.25", "-4.75"]
    assert len({line.index("5.25") + 4 if "5.25" in line else line.index("10.00") + 5 for line in lines[1:]}) == 1


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
        assert (f"1 test faces; test: {shown}\n" in capsys.readouterr().out) == bool(called)
        assert json.loads(Path("reports/metrics.json").read_text()).get("test_faces") == called
        assert started[-1]["tags"].get("test_faces") == called
    assert titles == [f"test: {shown}"] * 3


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
    pairs = [(FACES[0], "a"), (FACES[0], "b"), (FACES[1], FACES[0])]
    write_table(Path("reports/leaks.csv"), [leaks.row("near", pair, splits, 0.9) for pair in pairs])
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "outer_eye", "nme": 2.5}))
    stage.compare(params)
    summary = json.loads(Path("reports/metrics.json").read_text())
    assert (summary["leaking_test_faces"], summary["human_floor"]) == (1, 2.5)
    assert drawn == [2.5]
    printed = capsys.readouterr().out
    assert "1 test faces show a photograph that training or validation holds too" in printed
    assert "two annotators of a photograph: 2.50" in printed
    Path("reports/human_floor.json").write_text(json.dumps({"normalizer": "box_side", "nme": 2.5}))
    with pytest.raises(ValueError, match="human_floor.json: found NME by box_side, expected outer_eye"):
        stage.compare(params)


def test_csv_rows_can_be_read_back(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [1.0])
    ranked = comparison.rank(comparison.read(tmp_path, [0]))
    write_table(tmp_path / "ranking.csv", ranked)
    with (tmp_path / "ranking.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["strategy"] == "real_only"
