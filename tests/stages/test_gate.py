"""`facemix gate`: when it stops, its exit status, and what it says; trainings are made up."""

import dataclasses
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from facemix import cli
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.stages import gate as stage
from facemix.sweeps.grid import Axes, Errors, Point, Result
from facemix.sweeps.run import Brought, How
from facemix.verdict import simulation

PARAMS = Path(__file__).parents[2] / "params.yaml"
FACES = {"mixing": 640, "control": 640, "label_adaptation": 320, "real_only": 320, "synthetic_only": 320}


class Team:
    """Trains what a gate asks for: a strategy with a true gain, and what it is compared with."""

    def __init__(self, gain: float, spread: float = 0.002) -> None:
        self.gain, self.spread = gain, spread
        self.asked: list[Axes] = []
        self.faces = dict(FACES)
        self.best: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.total = 100

    def __call__(self, axes: Axes, params: Params, how: How) -> Brought:
        print("trains")
        self.asked.append(axes)
        found = [
            self.result(str(name), int(seed), axes, float(rate))
            for name in axes["strategies"]
            for seed in axes["seeds"]
            for rate in axes.get("training.learning_rate", [0.02])
        ]
        return Brought(results=found, total=self.total, failed=self.failed, trainings=len(found))

    def result(self, strategy: str, seed: int, axes: Axes, rate: float) -> Result:
        photo_of = simulation.photographs(np.random.default_rng(0), 50)
        true = 4.0 * np.array([1 - self.gain, 1.0])
        spreads = {"seed_sd": self.spread, "photo_sd": 0.01, "rest_sd": 0.02}
        both = simulation.errors(np.random.default_rng(seed), true, 1, photo_of, **spreads)
        nme = both[int(strategy in ("control", "real_only")), 0]
        if rate != self.best.get(strategy, 0.02):
            nme = 1.1 * nme
        settings = {"n_real": axes["n_real"][0], "training.learning_rate": rate, "alpha": axes.get("alpha", [0.5])[0]}
        own = {key: value for key, value in settings.items() if key != "alpha" or strategy == "mixing"}
        return Result(
            point=Point(strategy=strategy, seed=seed, settings=tuple(own.items())),
            experiment=f"sweep-{strategy}-s{seed}",
            commit="c0ffee",
            digest=f"{strategy}{seed}",
            val_nme=float(nme.mean()),
            test_nme=float(nme.mean()),
            failures=("fr8", 0.0),
            normalizer="outer_eye",
            subsets=frozenset({"lfpw"}),
            faces_seen=self.faces[strategy],
            n_synthetic=24 if strategy == "mixing" else 0,
            seconds=None,
            errors=Errors(
                faces=np.array([f"f{i:03d}" for i in range(len(nme))]),
                subsets=np.full(len(nme), "lfpw"),
                photos=photo_of.astype(np.str_),
                yaw=np.zeros(len(nme)),
                nme={"all": nme},
            ),
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(stage.tracking, "LONG_PATIENCE", 0.0)
    monkeypatch.setattr("facemix.workspace.check", lambda: None)
    text = PARAMS.read_text(encoding="utf-8").replace("control_seeds: []", "control_seeds: [0]")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, team: Any, *arguments: str) -> object:
    """The exit status."""
    monkeypatch.setattr(stage, "bring", team)
    with pytest.raises(SystemExit) as end:
        cli.main(["gate", *arguments])
    return end.value.code


def found(project: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "reports/answers/gate.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize(
    ("gain", "status", "verdict"), [(0.2, 0, "supported"), (-0.2, 1, "refuted"), (0.02, 2, "undecided")]
)
def test_it_stops_when_the_interval_decides_and_its_status_says_how(
    gain: float,
    status: int,
    verdict: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    team = Team(gain)
    assert run(monkeypatch, team, "--min-gain", "2%", "alpha=0.3", "n_real=50") == status
    said = capsys.readouterr()
    assert (
        said.out.startswith(f"{verdict}: the gain of mixing at alpha = 0.3 with 50 real ") and said.out.count("\n") == 1
    )
    assert "trains" in said.err
    content = found(project)
    assert content["verdict"] == verdict and content["sentence"] == said.out.strip()
    assert (content["compared_with"], content["n_real"], content["n_synthetic"]) == ("control", 50, 24)
    assert content["seeds"] == team.asked[-1]["seeds"] == ([0, 1, 2, 3, 4] if status == 2 else [0, 1, 2])
    assert [len(axes["seeds"]) for axes in team.asked] == ([3, 4, 5] if status == 2 else [3])
    assert content["gain"]["low"] < content["gain"]["value"] < content["gain"]["high"]
    assert {tuple(axes["strategies"]) for axes in team.asked} == {("mixing", "control")}


def test_equal_cost_decides_what_it_is_compared_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(0.2)
    assert run(monkeypatch, team, "--min-gain", "2%", "--strategy", "label_adaptation") == 0
    assert found(project)["compared_with"] == "real_only"


def test_nothing_wins_by_more_faces(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    team = Team(0.2)
    team.faces["mixing"] = 960
    assert run(monkeypatch, team, "--min-gain", "2%", "--max-seeds", "8") == 2
    assert "as they have not seen as many faces" in capsys.readouterr().out
    assert [len(axes["seeds"]) for axes in team.asked] == [3]  # the interval decides; more seeds would not make it fair


def test_what_is_not_ranked_has_no_verdict(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class OfAnotherScheme(Team):
        def __call__(self, axes: Axes, params: Params, how: How) -> Brought:
            brought = super().__call__(axes, params, how)
            ranked = [one for one in brought.results if one.point.strategy != "synthetic_only"]
            return dataclasses.replace(brought, results=ranked, unranked=["synthetic_only is not ranked: why"])

    arguments = ("--min-gain", "2%", "--strategy", "synthetic_only")
    assert run(monkeypatch, OfAnotherScheme(0.2), *arguments) == 3
    assert run(monkeypatch, OfAnotherScheme(0.2), *arguments, "training.learning_rate=0.02,0.04") == 3
    assert capsys.readouterr().err.count("facemix gate: synthetic_only is not ranked: why") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min-gain", "2"], "facemix gate: --min-gain: found '2', expected a share of the NME"),
        (["--min-gain", "2%", "--max-seeds", "2"], "facemix gate: --max-seeds: found 2, expected 3 or more"),
        (["--min-gain", "2%", "seeds=9"], "facemix gate: seeds=9: expected a setting such as alpha=0.3"),
        (["--min-gain", "2%", "alpha=0.1,0.2"], "facemix gate: alpha: found 2 values, expected one"),
        (
            ["--min-gain", "2%", "training.steps=100,200"],
            "facemix gate: found several values of training.steps, expected",
        ),
        (["--min-gain", "2%", "model.width=32,64"], "facemix gate: found several values of model.width, expected one"),
        (["--min-gain", "2%", "--strategy", "control"], "invalid choice: 'control'"),
        ([], "the following arguments are required: --min-gain"),
    ],
)
def test_no_mistake_has_the_status_of_a_verdict(
    arguments: list[str],
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, Team(0.2), *arguments) == 3
    said = capsys.readouterr()
    assert message in said.err and not said.out
    assert not (project / "reports/answers/gate.json").exists()


def test_neither_a_failed_training_nor_a_fault_has_the_status_of_a_verdict(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    team = Team(0.2)
    team.failed = {"sweep-mixing-s1": "no space left"}
    assert run(monkeypatch, team, "--min-gain", "2%") == 3
    assert "1 of 6 trainings failed" in capsys.readouterr().err

    def broken(*_: object) -> Brought:
        raise IndexError("a fault of the program's own")

    assert run(monkeypatch, broken, "--min-gain", "2%") == 3
    assert "a fault of the program's own" in capsys.readouterr().err


def test_a_gate_without_a_control_says_what_to_set(
    project: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    with pytest.raises(FacemixError, match=r"params.yaml: found control_seeds: \[\], but mixing is compared with"):
        stage.gate("mixing", [], "2%", 5, params, How())


def test_it_takes_points_that_others_trained_with_their_errors(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Told(Team):
        def __call__(self, axes: Axes, params: Params, how: How) -> Brought:
            asked.append(how)
            return super().__call__(axes, params, how)

    assert run(monkeypatch, Told(0.2), "--min-gain", "2%", "--known", "published/points.csv") == 0
    assert asked == [How(known=Path("published/points.csv"), needs_errors=True, name="gate mixing")]


def test_each_of_the_two_is_trained_on_at_its_own_best_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At one rate for both the strategy would win by 12 %: its control is held back there."""
    team = Team(0.02, spread=0.001)
    team.best = {"mixing": 0.02, "control": 0.04}
    assert run(monkeypatch, team, "--min-gain", "5%", "training.learning_rate=0.02") == 0
    team.asked.clear()
    assert run(monkeypatch, team, "--min-gain", "5%", "training.learning_rate=0.02,0.04") == 1
    tried, *looked = team.asked
    assert tried["seeds"] == [0] and tried["training.learning_rate"] == [0.02, 0.04]
    assert [(axes["strategies"], axes["training.learning_rate"], axes["seeds"]) for axes in looked] == [
        (["mixing"], [0.02], [0, 1, 2]),
        (["control"], [0.04], [0, 1, 2]),
    ]
    assert "alpha" in looked[0] and "alpha" not in looked[1]  # nothing is said of what one of the two does not use
    said = capsys.readouterr()
    assert " over control, each at the best of 2 settings on validation, the share" in said.out
    assert "training.learning_rate = 0.04, best of 2" in said.err
    content = found(project)
    assert content["settings"]["training.learning_rate"] == 0.02
    assert content["compared_settings"]["training.learning_rate"] == 0.04
    assert content["tries"] == {"mixing": 2, "control": 2}


def test_a_setting_that_matters_to_neither_is_no_try(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Team(0.2), "--min-gain", "2%", "fine_tuning.learning_rate=0.01,0.02") == 0
    assert found(project)["tries"] == {"mixing": 1, "control": 1}
    assert "on validation" not in capsys.readouterr().out


def test_its_line_says_where_one_of_the_two_was_tried_more_often() -> None:
    seen = Mock(tries=(3, 1))
    assert stage._tuned(seen) == ", each at its best, of 3 and of 1, settings on validation"


def test_where_both_are_best_at_the_same_settings_they_are_trained_together(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team(0.2)
    team.best = {"mixing": 0.04, "control": 0.04}
    assert run(monkeypatch, team, "--min-gain", "5%", "training.learning_rate=0.02,0.04") == 0
    assert [axes["strategies"] for axes in team.asked] == [["mixing", "control"]] * 2
    assert team.asked[1]["training.learning_rate"] == [0.04]


@pytest.mark.parametrize(("n_real", "total", "said"), [("50", 100, "50"), ("all", 1709, "1,709"), ("all", 0, "all")])
def test_its_line_says_the_numbers_of_faces(
    n_real: str,
    total: int,
    said: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    team = Team(0.2)
    team.total = total
    run(monkeypatch, team, "--min-gain", "2%", "--strategy", "mixing", f"n_real={n_real}")
    assert f" with {said} real and 24 synthetic faces over control, the share" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("share", "said"), [(0.1, "10.00 %"), (-0.008, "-0.80 %"), (-1e-6, "0.00 %"), (-np.inf, "-inf %")]
)
def test_gains_have_two_decimals_and_nothing_is_minus_zero(share: float, said: str) -> None:
    assert stage._per_cent(share) == said
