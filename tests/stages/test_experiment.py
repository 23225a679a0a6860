import re
import shlex
import sys
from pathlib import Path

import pytest
from mlflow.projects import load_project
from mlflow.projects._project_spec import Project

from facemix import cli
from facemix.errors import FacemixError
from facemix.stages.experiment import command
from facemix.strategies import STRATEGIES

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def project() -> Project:
    """MLproject as MLflow reads it."""
    return load_project(str(REPOSITORY))


def executed(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `facemix experiment ...` becomes."""
    found: list[str] = []
    monkeypatch.setattr("os.execv", lambda _program, arguments: found.extend(arguments))
    program, *arguments = shlex.split(line)
    assert program == "facemix"
    cli.main(arguments)
    assert found[:5] == [sys.executable, "-m", "dvc", "exp", "run"]
    return found[5:]


def test_a_parameter_without_a_value_is_as_the_file_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    mixing = project.get_entry_point("mixing")
    assert executed(mixing.compute_command({}, None), monkeypatch) == ["mixing"]
    given = mixing.compute_command({"alpha": "0.3", "n_real": "100"}, None)
    assert executed(given, monkeypatch) == ["-S", "alpha=0.3", "-S", "n_real=100", "mixing"]


def test_every_strategy_has_an_entry_point_of_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for strategy in STRATEGIES:
        entry = project.get_entry_point(strategy)
        assert executed(entry.compute_command({}, None), monkeypatch) == [strategy]


def test_no_entry_point_needs_the_tricks_of_a_shell(project: Project) -> None:
    for entry in project._entry_points.values():
        assert not re.search(r"[$;&|`]", entry.command)


def test_a_sweep_takes_parameters_without_a_value(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("facemix.sweeps.run.run_sweep", lambda axes, *_, **__: seen.append(axes))
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr("facemix.workspace.check", lambda: None)
    cli.main(shlex.split(project.get_entry_point("sweep").compute_command({}, None))[1:])
    assert seen == [["alpha=0,0.1,...,1", "seeds=1", "strategies=all"]]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("alpha=2", "alpha: found 2.0, expected"),
        ("alfa=0.3", "alfa=0.3: expected a key of params.yaml"),
        ("n_real=some", "n_real: found 'some'"),
    ],
)
def test_what_params_yaml_cannot_have_starts_no_experiment(setting: str, message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        command("mixing", [setting])


@pytest.mark.parametrize("setting", ["alpha", "=0.3"])
def test_a_setting_of_another_form_is_named(setting: str) -> None:
    with pytest.raises(FacemixError, match=rf"^{setting}: expected KEY=VALUE, such as alpha=0.3"):
        command("mixing", [setting])
