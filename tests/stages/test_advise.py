"""`facemix advise` on a made-up sweep: what it writes, and what it says of bad input."""

import json
from pathlib import Path

import pytest

import toy_sweep
from facemix import cli, tracking
from facemix.reporting import advice_figure
from facemix.verdict import advice

PARAMS = Path(__file__).parents[2] / "params.yaml"
TARGET = ("--target-nme", "4.0", "--price-label", "2", "--price-render", "0.02")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(advice, "RESAMPLES", 200)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(tracking, "LONG_PATIENCE", 0.0)
    (tmp_path / "params.yaml").write_bytes(PARAMS.read_bytes())
    toy_sweep.write(tmp_path / "reports/sweep", toy_sweep.grid())
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure, which takes longest."""
    monkeypatch.setattr(advice_figure, "draw", lambda path, _: path.write_bytes(b""))


def test_every_question_is_answered_in_three_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["advise", *TARGET, "--labels", "200"])
    said = capsys.readouterr().out
    assert said == (project / "reports/answers/advice.md").read_text(encoding="utf-8")
    for part in (
        "mixing at alpha = 0.5 with 100 real and 3,000 synthetic faces (NME ",
        "by real_only, which saw fewer faces). At equal cost that is not known: control was not swept with 100 real ",
        "- mixing at alpha = 0.5 with 100 real faces: from 100 to 3,000 synthetic ones the NME goes from ",
        "- real_only: from 200 to 300 labels the NME falls from ",
        "## The cheapest mix for NME 4\n\nmixing at alpha = 0.5 with ",
        "intervals hold what was measured.",
    ):
        assert part in said
    assert "labels the NME falls" in said and "; this extrapolates" not in said and "refused" not in said
    assert "## What each NME costs\n\nThe cheapest mix that reaches each target" in said
    found = json.loads((project / "reports/answers/advice.json").read_text(encoding="utf-8"))
    best = found["offers"][0]
    assert best["cost"] == pytest.approx(2 * best["n_real"] + 0.02 * best["n_synthetic"])
    assert [len(law["held_out"]) for law in found["laws"]] == [6, 6, 4]
    assert (project / "reports/answers/advice.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_the_settings_that_each_mix_stands_at_are_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "training.learning_rate"
    tries = [one | {key: 0.02} for one in toy_sweep.grid()]
    tries += [one | {key: 0.04, "bias": 0.4} for one in toy_sweep.grid() if one["n_real"] == 50]
    toy_sweep.write(project / "reports/sweep", tries)
    cli.main(["advise"])
    section = capsys.readouterr().out.split("## Settings of its own for each mix\n\n")[1].split("\n\n## ")[0]
    intro, header, _, *rows = [line for line in section.splitlines() if line]
    assert intro.startswith("Each mix stands at the settings that are best for it on validation. Not all were tried as")
    assert header.startswith("| strategy | alpha | real faces | synthetic faces | settings | tried |")
    assert "| real_only |  | 50 |  | training.learning_rate = 0.04 | 2 |" in rows
    assert "| mixing | 0.5 | 100 | 100, 300, 1,000 | training.learning_rate = 0.02 | 1 |" in rows
    found = json.loads((project / "reports/answers/advice.json").read_text(encoding="utf-8"))["settings"]
    assert {(one["strategy"], one["settings"][key]) for one in found if one["tries"] == 2} == {
        ("real_only", 0.04),
        ("mixing", 0.04),
    }


@pytest.mark.usefixtures("undrawn")
def test_what_lies_beyond_the_sweep_is_called_extrapolated_or_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["advise"])
    said = capsys.readouterr().out
    assert said.count("from 1,709 to 1,809 labels") == 2 and said.count("; this extrapolates.") == 2
    assert "cheapest" not in said
    cli.main(["advise", "--labels", "3400"])
    assert capsys.readouterr().out.count("refused: 3,400 to 3,500 labels are too far from the 25 to 1,709") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "0"], "--labels: found 0, expected a number of faces, at least 1"),
        (["--more-labels", "-5"], "--more-labels: found -5, expected"),
        ([*TARGET, "--chance", "1"], "--chance: found 1, expected a share above 0 and below 1"),
        (["--target-nme", "4"], "--price-label: not given, expected the price of one face beside --target-nme"),
        (["--price-label", "2"], "--price-render: not given, expected the price of one face beside --price-label"),
        (["--price-hour", "2"], "--price-label: not given, expected the price of one face beside --price-hour"),
        ([*TARGET, "--price-hour", "-3"], "--price-hour: found -3, expected a price, 0 or more"),
        (
            [*TARGET, "--price-hour", "3"],
            "reports/sweep/points.csv: found no seconds of training of mixing or real_only",
        ),
        (TARGET[:4], "--price-render: not given, expected the price of one face"),
        (["--target-nme", "nan", *TARGET[2:]], "--target-nme: found nan, expected an NME in %"),
        ([*TARGET[:-1], "-1"], "--price-render: found -1, expected a price, 0 or more"),
        (["--target-nme", "1", *TARGET[2:]], "--target-nme: found 1, which no mix reaches"),
    ],
)
def test_options_that_make_no_sense_are_said(project: Path, options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["advise", *options])
    assert str(stopped.value.code).startswith(f"facemix advise: {message}")
    assert not (project / "reports/answers/advice.json").exists()


def test_too_few_numbers_of_faces_are_said_with_what_to_run(project: Path) -> None:
    toy_sweep.write(project / "reports/sweep", [toy_sweep.point("real_only", n) for n in (50, 100)])
    with pytest.raises(
        SystemExit, match=r"found 2 numbers of real or of synthetic faces for each .*, expected 3 or more .* `facemix"
    ):
        cli.main(["advise"])


@pytest.mark.usefixtures("undrawn")
def test_what_was_not_swept_is_not_answered(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_sweep.write(project / "reports/sweep", [toy_sweep.point("mixing", n, 3000, alpha=0.5) for n in (50, 100, 200)])
    cli.main(["advise"])
    said = capsys.readouterr().out
    assert "Not answered: this needs real_only at two or more numbers of real faces" in said
    assert "Not answered: this needs 3 or more numbers of synthetic faces" in said
    assert "Not checked: a line needs 4 numbers" in said


@pytest.mark.usefixtures("undrawn")
def test_hours_of_training_and_of_what_it_stands_on_have_a_price(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = [toy_sweep.point("synthetic_only", 0, 3000), toy_sweep.point("label_adaptation", 100, 3000)]
    seconds = {"real_only": 3600, "synthetic_only": 3000, "label_adaptation": 600, "mixing": 3600}
    points = [
        {"faces_seen": 640 if one["strategy"] == "mixing" else 320, "seconds": seconds[one["strategy"]], **one}
        for one in [*toy_sweep.grid(), *behind]
    ]
    toy_sweep.write(project / "reports/sweep", points)
    cli.main(["advise", *TARGET, "--price-hour", "100"])
    said = capsys.readouterr().out
    assert "| strategy | alpha | labels | renders | hours | cost |" in said
    offers = json.loads((project / "reports/answers/advice.json").read_text(encoding="utf-8"))["offers"]
    assert {one["strategy"]: one["hours"] for one in offers if one["strategy"] in ("real_only", "mixing")} == {
        "real_only": 1.0,
        "mixing": 2.0,
    }
    for one in offers:
        assert one["cost"] == pytest.approx(2 * one["n_real"] + 0.02 * one["n_synthetic"] + 100 * one["hours"])


def test_prices_without_a_target_ask_what_each_nme_costs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["advise", *TARGET[2:]])
    said = capsys.readouterr().out
    assert (
        "with a chance of 80 %, at 2 for a label, 0.02 for a render. Below " in said and "cheapest mix for" not in said
    )
    found = json.loads((project / "reports/answers/advice.json").read_text(encoding="utf-8"))
    assert found["question"]["prices"] == {"label": 2.0, "render": 0.02, "hour": 0.0}
    costs = [one["cost"] for one in found["frontier"]]
    assert len(costs) > 5 and costs == sorted(costs, reverse=True)
    assert said.count("\n| ") == 2 + len(costs) + 2 + len(found["laws"])  # two tables
    assert (project / "reports/answers/advice.png").read_bytes().startswith(b"\x89PNG")
