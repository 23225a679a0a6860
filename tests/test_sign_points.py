"""scripts/sign_points.py, on the points that the project publishes: their digests are those of the code beside them."""

import re
from pathlib import Path

import pytest

import toy_project
import toy_script
from facemix import config
from facemix.config import Params
from facemix.files import write_table
from facemix.sweeps import grid, known, run, tables
from facemix.sweeps.grid import Point, Result

PHOTOGRAPHS = "7e03a9f0ec05566d270c369fd84f476d"
"""DVC's digest of the copy of 300-W that the published points are of."""

script = toy_script.loaded("scripts/sign_points.py")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries under DVC
@pytest.mark.parametrize(
    "arguments",
    [
        ["alpha=0,0.5,1", "n_real=50,all"],
        ["n_synthetic=30,all", "strategies=mixing,two_heads"],
        ["training.weight_decay=0,0.05", "training.compile=true,false", "adaptation.epochs=3,4"],
    ],
)
def test_unchanged_code_gives_every_point_of_a_grid_the_digest_that_it_had(
    arguments: list[str], params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    inputs, plain = run.read_inputs(Path.cwd(), params), config.plain(params)
    axes = grid.parse_axes([*arguments, "seeds=1"], params)
    points = {point: grid.trained_as(point, inputs) for point in grid.plan(axes, inputs)}
    found = []
    for point, training in points.items():
        digest = grid.digest(training, plain, inputs[training.strategy], {})
        found.append(result(point, grid.experiment_name(training, digest), digest))
    write_table(tmp_path / "points.csv", tables.table(found, 200))
    for one in known.read_points(tmp_path / "points.csv"):
        asked = script.as_asked(one.result, inputs, plain)
        assert grid.digest(asked, plain, inputs[asked.strategy], {}) == one.result.digest


def result(point: Point, experiment: str, digest: str) -> Result:
    return Result(
        point=point,
        experiment=experiment,
        commit="c0ffee",
        digest=digest,
        val_nme=4.0,
        test_nme=4.0,
        failures=("fr8", 0.0),
        normalizer="outer_eye",
        subsets=frozenset(),
        faces_seen=320,
        n_synthetic=240,
        seconds=None,
        errors=None,
    )


@pytest.mark.end_to_end
def test_published_points_are_known_to_the_code_and_a_change_in_training_makes_their_digests_new(
    shared_data: Path, tmp_path: Path
) -> None:
    project = toy_project.fresh(tmp_path / "facemix")
    shell, facemix = toy_project.shell_in(project), toy_project.facemix_in(project)
    shell("git init -q && git add -A && git commit -qm start")
    facemix("preset grid")
    facemix(f"import 300w {shared_data / '300w'} --link")
    if PHOTOGRAPHS not in (project / "data/sources/real/300w.dvc").read_text(encoding="utf-8"):
        pytest.skip("the published points are of another copy of 300-W")
    shell("git add -A && git commit -qm grid")
    sign = "python scripts/sign_points.py docs/grid/points.csv"
    assert re.match("0 of [0-9]+ digests are new", shell(sign))

    with (project / "src/facemix/training/loss.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    shell("git commit -qam changed")
    assert re.match(r"([0-9]+) of \1 digests are new", shell(sign))
    before, after = (known.read(project / folder / "points.csv") for folder in ("docs/grid", "reports/sweep"))
    assert not before.keys() & after.keys()
    figures = [[known.figures(one.result)[:2] for one in points.values()] for points in (before, after)]
    assert figures[0] == figures[1]
    assert all(one.result.errors is not None for one in after.values())
