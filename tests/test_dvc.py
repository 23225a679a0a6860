"""A stage runs anew for what decides its result, and for nothing else."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from facemix import workspace
from facemix.faces import cropping
from facemix.training import tasks

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
PACKAGE = SOURCE / "facemix"
STAGES = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]

FIGURES = {"compare", "report"}
NETWORKS = {"synthetic_only", "real_only", "data_adaptation", "mixing", "fine_tuning", "control", "two_heads"}
TRAININGS = {*NETWORKS, "label_adaptation"}
PACKS = {"prepare"}
STALE = {
    "training/frame.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "training/*": TRAININGS | FIGURES,
    "finding/*": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/order.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/cropping.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/mapped.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/shards.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/packs.py": TRAININGS | {"leaks"} | FIGURES,
    "faces/geometry.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/schemes.py": {"render", "leaks"} | PACKS | TRAININGS | FIGURES,
    "faces/contours.py": {"render", "leaks"} | PACKS | TRAININGS | FIGURES,
    "faces/formats/*": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/face.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/integrity.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/offset.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/images.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/packing.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/sources.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/splits.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/tars.py": PACKS | {"leaks"} | TRAININGS | FIGURES,
    "faces/looking.py": TRAININGS | FIGURES,
    "faces/*": {"report"},
    "render/*": {"render", "leaks"} | PACKS | TRAININGS | FIGURES,
    "checks/*": {"leaks"} | FIGURES,
    "evaluation/metrics.py": {"leaks"} | FIGURES,
    "evaluation/measure.py": FIGURES,
    "evaluation/*": {"report"},
    "verdict/*": FIGURES,
    "reporting/figures.py": FIGURES,
    "reporting/ranking.py": FIGURES,
    "reporting/*": {"report"},
    "strategies.py": FIGURES,
    "stages/compare.py": FIGURES,
    "stages/report.py": {"report"},
    "*": set(),
}
"""Who may run anew after a change in a file; the first pattern that fits counts. What is downstream stops where files
that come out are the same: a comment in a reader makes packs anew, and equal packs train nothing."""
DECIDES_NOTHING = {
    "config.py": "reads parameters, on which stages depend key by key",
    "errors.py": "has no words of its own",
    "files.py": "writes what others have made",
    "workspace.py": "tells versions, on which stages depend by packages.yaml",
    "faces/parallel.py": "decides how fast",
    "stages/prune.py": "takes models away that are not compared",
    "faces/drawing.py": "draws pictures for people",
    "stages/register.py": "tells MLflow",
    "strategies.py": "trainings depend on their row",
}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_change_in_a_file_makes_those_stages_stale_that_it_decides(file: Path) -> None:
    name = file.relative_to(PACKAGE).as_posix()
    expected = next(stages for pattern, stages in STALE.items() if fnmatch(name, pattern))
    assert stale_after(file) == expected


def stale_after(file: Path) -> set[str]:
    """The stages that depend on a file, and those that depend on what these make."""
    direct = {
        name
        for name, stage in STAGES.items()
        if any(file.is_relative_to(REPOSITORY / dependency) for dependency in stage.get("do", stage)["deps"])
    }
    return direct | {name for name in STAGES if UPSTREAM[name] & direct}


def upstream() -> dict[str, set[str]]:
    """Stage -> the stages that it depends on, by whatever way; the parts of a foreach are one."""
    contents = {name: stage.get("do", stage) for name, stage in STAGES.items()}
    made = {name: [fixed(out) for out in (*one["outs"], *one.get("metrics", []))] for name, one in contents.items()}
    found = {
        name: {other for other in STAGES if any(overlap(fixed(dep), out) for dep in one["deps"] for out in made[other])}
        for name, one in contents.items()
    }
    for _ in STAGES:
        for name, others in found.items():
            found[name] = others | {far for other in others for far in found[other]}
    return found


def fixed(path: str | dict[str, object]) -> str:
    """A path up to what foreach fills in."""
    return (path if isinstance(path, str) else next(iter(path))).partition("${")[0]


def overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


UPSTREAM = upstream()


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
    """The files that run when a file runs, but for those that decide nothing, and what only makes names known."""
    found: set[Path] = set()
    new = {file}
    while new:
        one = new.pop()
        found.add(one)
        for other in imported(one):
            name = other.relative_to(PACKAGE).as_posix()
            if name not in DECIDES_NOTHING and not name.startswith("tracking/") and other.name != "__init__.py":
                new |= {other} - found
    return found


@pytest.mark.parametrize(
    ("stage", "entry"),
    [
        ("prepare", "faces/sources.py"),
        ("prepare", "faces/packing.py"),
        ("prepare", "finding/fit.py"),
        ("leaks", "stages/leaks.py"),
        ("compare", "stages/compare.py"),
        ("report", "stages/report.py"),
        *((name, "training/tasks.py") for name in sorted(TRAININGS)),
    ],
)
def test_a_stage_depends_on_all_code_that_decides_its_result(stage: str, entry: str) -> None:
    listed = [path for one in {stage} | UPSTREAM[stage] for path in STAGES[one].get("do", STAGES[one])["deps"]]
    unknown = {
        file.relative_to(PACKAGE).as_posix()
        for file in reached(PACKAGE / entry)
        if not any(file.is_relative_to(REPOSITORY / path) for path in listed)
    }
    assert unknown - {f"stages/{stage}.py"} == set()


def test_a_shard_is_taken_over_only_from_the_same_code_that_decides_crops() -> None:
    assert {file.relative_to(PACKAGE / "faces").as_posix() for file in reached(PACKAGE / "faces/cropping.py")} == {
        *cropping.CODE
    }


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_checkpoints_and_stages_agree_on_the_code_that_decides_weights(name: str) -> None:
    listed = {path.removeprefix("src/facemix/") for path in STAGES[name]["do"]["deps"] if path.startswith("src/")}
    assert listed == set(tasks.CODE)


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_a_training_depends_on_its_own_row_and_on_the_packages(name: str) -> None:
    others = {key: value for one in STAGES[name]["do"]["params"] if isinstance(one, dict) for key, value in one.items()}
    assert others["src/facemix/strategies.py"] == [f"TABLE.{name}"]
    assert others["packages.yaml"] == list(workspace.PACKAGES)


def test_recorded_packages_are_those_that_constraints_install() -> None:
    recorded = YAML(typ="safe").load(REPOSITORY / workspace.PACKAGES_FILE)
    pins = dict(
        line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line.count("==") == 1
    )
    assert {name: pins[name] for name in workspace.PACKAGES} == {name: str(recorded[name]) for name in recorded}
