"""What a stage runs, dvc.yaml names: else DVC would take results of other code for up to date."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
PUBLIC = {SOURCE / "facemix/__init__.py", SOURCE / "facemix/stages/__init__.py"}
"""What makes names known, and does nothing."""
STAGES = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
NO_MATTER = {"config.py", "files.py", "tracking.py", "served.py"}
"""Reads parameters, on which stages depend key by key; writes files; tells MLflow. None of it changes a result."""


def imported(file: Path) -> Iterator[Path]:
    """The project's own files that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            path = SOURCE / name.replace(".", "/")
            yield from (one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file())


def reached(file: Path) -> set[Path]:
    found, new = set(), {file}
    while new:
        one = new.pop()
        found.add(one)
        new |= {other for other in imported(one) if other.name not in NO_MATTER} - PUBLIC - found
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_code_that_it_runs(name: str) -> None:
    stage = STAGES[name].get("do", STAGES[name])
    command = stage["cmd"].split()[1]
    places = [REPOSITORY / path for path in stage["deps"] if path.startswith("src/")]
    if command != "render":  # what that code decides is in its pictures, which the others name
        places.append(SOURCE / "facemix/render")
    unknown = {
        file.relative_to(SOURCE / "facemix").as_posix()
        for file in reached(SOURCE / f"facemix/stages/{command}.py")
        if not any(file.is_relative_to(place) for place in places)
    }
    assert not unknown
