"""scripts/sign_points.py, on the points that the project publishes: their digests are those of the code beside them."""

import re
from pathlib import Path

import pytest

import toy_project
from facemix.sweeps import known

PHOTOGRAPHS = "7e03a9f0ec05566d270c369fd84f476d"
"""DVC's digest of the copy of 300-W that the published points are of."""


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
