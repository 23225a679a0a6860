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
from ruamel.yaml import YAML

from facemix import config
from facemix.files import write_table
from facemix.reporting import figures
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
    training = {"faces_seen": 320, "pretraining_faces_seen": 320 * (strategy == "fine_tuning")}
    metrics = {"normalizer": "outer_eye", "val": {"nme": mean + 1}, "test": test, "training": training} | changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    faces = [*FACES[: len(errors)], "300w/ibug/1"]
    rows = zip(faces, ["lfpw"] * len(errors) + ["ibug"], [*errors, 50.0], strict=True)
    lines = [f"{face},{subset},{nme},{face[:-1]}\n" for face, subset, nme in rows]
    (folder / "errors.csv").write_text("face,subset,nme,photo\n" + "".join(lines))
    (folder / "history.csv").write_text(f"step,val_nme\n10,{mean + 2}\n20,{mean + 1}\n")


def test_the_budget_of_the_network_that_training_starts_from_counts(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [4.0, 6.0])
    write(tmp_path, "fine_tuning", 0, [3.0, 5.0])
    ranked = comparison.rank(comparison.read(tmp_path, [0]))
    assert [(row["strategy"], row["faces_seen"]) for row in ranked] == [("fine_tuning", 640), ("real_only", 320)]


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


def test_photographs_are_read_and_a_face_without_one_is_its_own(tmp_path: Path) -> None:
    write(tmp_path, "real_only", 0, [1.0] * 12)
    assert len(set(comparison.read(tmp_path, [0])[0].photos.values())) == 2  # faces 0 to 9, and 10 to 11
    errors = tmp_path / "real_only/seed-0/errors.csv"
    errors.write_text("".join(line.rpartition(",")[0] + "\n" for line in errors.read_text().splitlines()))
    assert len(set(comparison.read(tmp_path, [0])[0].photos.values())) == 12


def write_all(models: Path, shifts: dict[str, float], seeds: int = 3) -> list[dict[str, Any]]:
    """Strategies whose NME differs from that of real_only by a shift and some noise; returns their ranking."""
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        base = 4 + rng.random(40)
        write(models, "real_only", seed, base.tolist())
        for name, shift in shifts.items():
            noise = 0.1 * rng.standard_normal(40) if shift else 0
            write(models, name, seed, (base + shift + noise).tolist())
    return comparison.rank(comparison.read(models, range(seeds)))


def test_a_row_says_how_sure_its_difference_is(tmp_path: Path) -> None:
    ranked = write_all(tmp_path, {"mixing": -1.0, "fine_tuning": 0.0, "synthetic_only": 1.0})
    rows = {row["strategy"]: row for row in ranked}
    assert [rows[name]["verdict"] for name in ("mixing", "fine_tuning", "synthetic_only")] == ["better", "tie", "worse"]
    assert rows["mixing"]["difference_low"] < rows["mixing"]["difference"] < rows["mixing"]["difference_high"] < 0
    assert (rows["mixing"]["p_better"], rows["synthetic_only"]["p_better"]) == pytest.approx((1, 0), abs=0.01)
    keys = ("difference", "difference_low", "difference_high", "p_better", "p_adjusted")
    assert [rows["fine_tuning"][key] for key in keys] == [0, 0, 0, 0.5, 1]
    assert [rows["real_only"][key] for key in (*keys, "verdict")] == [0, None, None, None, None, None]
    assert {row["test_nme_sd"] is None for row in ranked} == {False}


def test_without_the_baseline_there_is_a_ranking_and_no_difference(tmp_path: Path) -> None:
    write(tmp_path, "mixing", 0, [2.0, 3.0])
    write(tmp_path, "fine_tuning", 0, [1.0, 2.0])
    ranked = comparison.rank(comparison.read(tmp_path, [0]))
    assert [row["strategy"] for row in ranked] == ["fine_tuning", "mixing"]
    assert {row["difference"] for row in ranked} == {row["verdict"] for row in ranked} == {None}
    answer = comparison.headline(ranked, n_real="all", test_faces="2 test faces")
    assert (answer.status, answer.sentence) == (
        "undecided",
        "Undecided at n_real = all on 2 test faces: real_only was not trained.",
    )


def test_what_lacks_a_seed_is_named_and_the_common_seeds_are_compared(tmp_path: Path) -> None:
    write_all(tmp_path, {"mixing": -1.0}, seeds=3)
    shutil.rmtree(tmp_path / "mixing/seed-1")
    trained = comparison.read(tmp_path, range(3))
    assert [(one.strategy, one.seed) for one in trained] == [
        ("real_only", 0),
        ("real_only", 2),
        ("mixing", 0),
        ("mixing", 2),
    ]
    missing = comparison.missing(tmp_path, range(3))
    assert missing == [("mixing", 1)]
    answer = comparison.headline(comparison.rank(trained), n_real=50, test_faces="40 test faces", missing=missing)
    assert answer.sentence.endswith("missing: mixing seed 1.")


ALL_WORSE = dict.fromkeys(comparison.COMBINED, 1.0)


@pytest.mark.parametrize(
    ("shifts", "status", "claim"),
    [
        (ALL_WORSE | {"mixing": -1.0}, "supported", "mixing beats real_only (NME 3."),
        (ALL_WORSE | {"mixing": 0.0}, "undecided", "no combined training is shown to beat real_only, mixing ties with"),
        (ALL_WORSE | {"mixing": 0.5}, "refuted", "every combined training loses to real_only, mixing by least (NME 5."),
        ({"mixing": 0.5}, "undecided", "no combined training that is there beats real_only, mixing loses by least"),
        ({"synthetic_only": -1.0}, "undecided", "no combined training is there to compare."),
    ],
)
def test_the_headline_is_supported_refuted_or_undecided(
    shifts: dict[str, float], status: str, claim: str, tmp_path: Path
) -> None:
    ranked = write_all(tmp_path, shifts)
    answer = comparison.headline(ranked, n_real=250, test_faces="40 test faces")
    assert answer.status == status
    assert answer.sentence.startswith(f"{status.capitalize()} at n_real = 250 on 40 test faces: {claim}")
    assert ("not trained: label_adaptation, data_adaptation, fine_tuning" in answer.sentence) == (
        shifts.keys() == {"mixing"}
    )
    assert answer.sentence.endswith(".")
    assert "\n" not in answer.sentence


def test_the_headline_names_all_winners_and_what_one_seed_does_not_know(tmp_path: Path) -> None:
    ranked = write_all(tmp_path, {"mixing": -1.0, "fine_tuning": -0.5}, seeds=1)
    sentence = comparison.headline(ranked, n_real="all", test_faces="40 test faces").sentence
    assert sentence.startswith("Supported by one seed at n_real = all on 40 test faces: mixing beats real_only")
    assert "fine_tuning beats it too (-0." in sentence
    assert "with one seed the interval knows nothing of other seeds" in sentence


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
                write(m, "real_only", 0, [1.0]),
                write(m, "mixing", 0, [1.0], training={"faces_seen": 3200, "pretraining_faces_seen": 0}),
            ),
            "the budget, faces seen in training, of real_only seed 0: found 320, of mixing seed 0 3200; expected",
        ),
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
        "95",
        "%",
        "interval",
        "P(better)",
        "p",
        "(Holm)",
        "verdict",
        "FR@8",
        "FR@10",
        "AUC@8",
        "val",
        "NME",
        "faces",
        "seen",
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
    pairs = [(FACES[0], "a"), (FACES[0], "b"), (FACES[1], FACES[0])]
    write_table(Path("reports/leaks.csv"), [pairs.row("near", pair, splits, 0.9) for pair in pairs])
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


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_ranking_is_drawn_with_what_is_known(seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []
    annotate = Axes.annotate
    monkeypatch.setattr(
        Axes,
        "annotate",
        lambda axes, text, *where, **style: annotate(axes, labels.append(text) or text, *where, **style),
    )
    ranked = write_all(tmp_path / "models", {"mixing": -1.0, "fine_tuning": 0.0}, seeds=seeds)
    trained = comparison.read(tmp_path / "models", range(seeds))
    figures.ranking(tmp_path / "ranking.png", ranked, trained, "outer_eye")
    assert (tmp_path / "ranking.png").stat().st_size > 0
    assert [label.split()[1] for label in labels if " " in label] == ["better", "tie"]
    assert len(labels) == 3 + 2
