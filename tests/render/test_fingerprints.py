"""What makes pictures stale, what only their labels, and what neither."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facemix.render import fingerprints, tables
from facemix.render.head import Head
from facemix.render.labels import Outline
from facemix.render.person import person
from facemix.render.population import POPULATIONS
from facemix.render.studio import landmarks, sit

LISTED = (*fingerprints.POINTS, *fingerprints.NEITHER)
READS_LABELS = {"studio.py"}
"""Takes pictures and points at faces: the one module that decides pixels and may import what decides labels."""


def test_every_file_that_is_listed_is_there() -> None:
    faces = fingerprints.PACKAGE.parent / "faces"
    missing = [pattern for pattern in LISTED if not any(fingerprints.PACKAGE.glob(pattern))]
    assert missing + [pattern for pattern in fingerprints.SHARED if not (faces / pattern).exists()] == []
    assert not {*fingerprints.POINTS} & {*fingerprints.NEITHER}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the generator and a little of its data, to be changed."""
    copy = tmp_path_factory.mktemp("facemix") / "render"
    original = fingerprints.PACKAGE
    for file in [*original.glob("*.py"), *original.glob("data/labels/*"), *original.glob("data/*.*")]:
        target = copy / file.relative_to(original)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target) if file.stat().st_size < 1e5 else target.touch()
    shutil.copytree(original.parent / "faces", copy.parent / "faces", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("skin.py", {"pixels"}),
        ("camera.py", {"pixels"}),
        ("marks.py", {"pixels"}),
        ("visibility.py", {"pixels"}),
        ("data/head.npz", {"pixels"}),
        ("something_new.py", {"pixels"}),
        ("data/lights/new.jpg", {"pixels"}),
        ("labels.py", {"points"}),
        ("tables.py", {"points"}),
        ("data/annotator_noise.csv", {"points"}),
        ("../faces/contours.py", {"points"}),
        ("../faces/schemes_data/ibug68.yaml", {"points"}),
        ("data/labels/wflw98.yaml", set()),  # a manifest has the digest of the table in use
        ("sets.py", set()),
        ("../faces/packs.py", set()),
    ],
)
def test_a_change_in_a_file_makes_stale_what_it_decides(file: str, stale: set[str], package: Path) -> None:
    def digests() -> dict[str, str]:
        return {"pixels": fingerprints.pixels(package), "points": fingerprints.points(package)}

    before, path = digests(), package / file
    former = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((former or b"") + b"\n#")
    assert {key for key, digest in digests().items() if digest != before[key]} == stale
    path.write_bytes(former) if former is not None else path.unlink()
    assert digests() == before


def imported(body: list[ast.stmt]) -> Iterator[str]:
    """The modules that run with a module: not those that only types are taken from."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


@pytest.mark.parametrize("file", sorted(fingerprints.PACKAGE.glob("*.py")), ids=lambda file: file.name)
def test_what_decides_pictures_does_not_read_what_decides_labels(file: Path) -> None:
    if file.name in {*LISTED, *READS_LABELS}:
        return
    labels = {f"facemix.render.{Path(name).stem}" for name in fingerprints.POINTS if name.endswith(".py")}
    assert not labels & {*imported(ast.parse(file.read_text(encoding="utf-8")).body)}


def test_points_that_move_leave_head_and_camera_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    head, someone = Head(), person(POPULATIONS["synthetic"], 0, 0)
    before = sit(head, someone, 64)
    moved = tables.load("ibug68")
    moved.vertices[:] = moved.vertices[::-1]
    monkeypatch.setattr(tables, "ibug68", lambda: moved)
    after = sit(Head(), someone, 64)
    np.testing.assert_array_equal(after.camera.position, before.camera.position)
    np.testing.assert_array_equal(after.shape.marks, before.shape.marks)
    assert np.abs(landmarks(after, "mesh", Outline(head)) - after.camera.pixels(after.marks)).max() > 1
