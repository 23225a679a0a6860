"""Results go to another machine by git and a DVC remote, and experiments go on there."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from facemix.strategies import STRATEGIES
from toy_project import STAGE, Shell, shell_in
from toy_s3 import CREDENTIALS, s3  # noqa: F401

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("remotes")]  # they share what is pulled

NO_WORK = "Data and pipelines are up to date."


class Clone(NamedTuple):
    """A clone that pulled, and the commands that a user types there."""

    root: Path
    shell: Shell


@pytest.fixture(scope="module", params=["folder", "s3"])
def pulled(
    request: pytest.FixtureRequest, reproduced: str, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clone]:
    """What was reproduced, pushed from the project to a remote and pulled from there by a clone."""
    work = tmp_path_factory.mktemp("remote")
    url, variables, local = str(work / "storage"), {}, "true"
    if request.param == "s3":
        address = request.getfixturevalue("s3")
        url, variables, local = (
            "s3://faces/facemix",
            CREDENTIALS,
            f"dvc remote modify --local storage endpointurl {address}",
        )
    here, there = shell_in(project, **variables), shell_in(work / "clone", **variables)
    here(f"dvc remote add -d storage {url} && git commit -qm 'Add a remote' .dvc/config && {local}")
    try:
        here(f"dvc push && git clone -q . {work / 'clone'}")
        there(f"{local} && dvc pull")
        yield Clone(work / "clone", there)
    finally:
        here("git reset -q --hard HEAD~ && rm -f .dvc/config.local")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder that DVC tracks."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_clone_pulls_all_and_repro_has_nothing_to_do(pulled: Clone, project: Path) -> None:
    for name in ("data/sources", "data/packs", "models"):
        assert contents(pulled.root / name) == contents(project / name)
    assert {"toy", "drawn"} <= {path.name for path in (pulled.root / "data/sources").glob("*/*")}
    assert NO_WORK in pulled.shell("dvc status")
    assert "Cache and remote 'storage' are in sync." in pulled.shell("dvc status --cloud")

    files = [path for name in ("data", "models", "reports") for path in (pulled.root / name).rglob("*")]
    before = [path.stat().st_mtime_ns for path in files]
    printed = pulled.shell("dvc repro")
    assert NO_WORK in printed
    assert not STAGE.findall(printed)
    assert [path.stat().st_mtime_ns for path in files] == before
    assert pulled.shell("git status --porcelain") == ""


@pytest.mark.parametrize("pulled", ["folder"], indirect=True)  # what is pulled is the same from any remote
def test_a_clone_trains_mixing_alone_for_another_alpha(pulled: Clone) -> None:
    before = contents(pulled.root / "models")
    stages = STAGE.findall(pulled.shell("dvc exp run -S alpha=0.3"))
    assert [stage for stage in stages if stage.partition("@")[0] in STRATEGIES] == ["mixing@0"]
    assert "compare" in stages
    assert not {"render@synthetic", "render@stand_in", "prepare@real", "prepare@synthetic", "leaks"} & set(stages)
    after = contents(pulled.root / "models")
    assert after["mixing/seed-0/model.safetensors"] != before["mixing/seed-0/model.safetensors"]
    assert all(after[name] == before[name] for name in before if not name.startswith("mixing/"))
