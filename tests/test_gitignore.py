"""What DVC keeps never reaches git, even where DVC has written no .gitignore or taken it back."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from scmrepo.git import Git

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the project's own .gitignore and no other."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_bytes((REPOSITORY / ".gitignore").read_bytes())
    return folder


def ignored(bare: Path, path: str) -> bool:
    command = ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-q", "--no-index", path]
    return subprocess.run(command, cwd=bare, check=False).returncode == 0


def outputs() -> list[tuple[str, bool]]:
    """Each output of dvc.yaml, with whether DVC's cache holds it. What foreach fills in is x."""
    found = []
    for stage in YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"].values():
        content = stage.get("do", stage)
        for out in [one for kind in ("outs", "metrics", "plots") for one in content.get(kind, [])]:
            path, settings = (out, {}) if isinstance(out, str) else next(iter(out.items()))
            for placeholder in ("${item}", "${key}"):
                path = path.replace(placeholder, "x")
            found.append((path, settings.get("cache", True)))
    return found


@pytest.mark.parametrize(("path", "cached"), outputs())
def test_what_dvc_keeps_is_ignored_and_what_git_keeps_is_not(bare: Path, path: str, cached: bool) -> None:
    assert ignored(bare, path) == cached
    assert ignored(bare, f"{path}/file") == cached or "." in Path(path).name


@pytest.mark.parametrize(
    "path",
    [
        "data/sources/real/300w/helen/1.jpg",
        "data/sources/synthetic/mine.v2/000000.png",
        "data/sources/real/.300w.4711/helen/1.jpg",
        "data/packs/.real.4711/images/300w.npy",
        "data/renders/stand_in/000000.png",
        "models/mixing/.seed-0.4711/model.json",
        "reports/.report.html.4711",
    ],
)
def test_faces_and_what_was_half_written_are_ignored(bare: Path, path: str) -> None:
    assert ignored(bare, path)


@pytest.mark.parametrize(
    "path",
    [
        "data/sources/real/300w.dvc",
        "data/sources/real/.gitignore",
        "data/sources/real/.gitkeep",
        "data/splits/real/300w.yaml",
        "models/.gitkeep",
        "reports/sweep/points.csv",
        "dvc.lock",
    ],
)
def test_what_says_how_to_get_them_is_not_ignored(bare: Path, path: str) -> None:
    assert not ignored(bare, path)


@pytest.mark.parametrize("role", ["real", "synthetic"])
def test_dvc_finds_imported_sources_in_a_clone(bare: Path, role: str) -> None:
    """DVC looks for .dvc files in no folder that it holds ignored, and it reads patterns otherwise than git does."""
    scm = Git(str(bare))
    folder = bare / "data/sources" / role
    folder.mkdir(parents=True)
    for path in (bare / "data", bare / "data/sources", folder):
        assert not scm.is_ignored(f"{path}/")
    assert not scm.is_ignored(str(folder / "300w.dvc"))
    assert scm.is_ignored(str(folder / "300w"))
