"""git as people have it: every shape of repository in which a sweep trains, and every one that it has to refuse."""

import dataclasses
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facemix.errors import FacemixError
from facemix.sweeps import repository

EXPERIMENT = "sweep-mixing-s0-1f0c9e2"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with a name, and no other settings of git."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Añe\n\temail = a@b\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for variable in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.delenv(f"GIT_{variable}", raising=False)


def project(folder: Path, inside: str = ".") -> Path:
    """A repository of one commit with a DVC project in it; the project's root."""
    root = folder / inside
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").touch()
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return root


def in_a_folder(tmp_path: Path) -> Path:
    return project(tmp_path / "repo", "studies/faces")


def at_no_branch(tmp_path: Path) -> Path:
    root = project(tmp_path / "repo")
    git(root, "checkout", "-q", "--detach")
    return root


def a_worktree(tmp_path: Path) -> Path:
    git(project(tmp_path / "repo"), "worktree", "add", "-q", str(tmp_path / "tree"))
    return tmp_path / "tree"


def a_submodule(tmp_path: Path) -> Path:
    project(tmp_path / "repo")
    project(tmp_path / "outer")
    git(tmp_path / "outer", "submodule", "add", "-q", str(tmp_path / "repo"), "faces")
    return tmp_path / "outer/faces"


def a_shallow_clone(tmp_path: Path) -> Path:
    root = project(tmp_path / "repo")
    git(root, "commit", "-q", "--allow-empty", "-m", "more")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", "shallow")
    return tmp_path / "shallow"


def with_a_space(tmp_path: Path) -> Path:
    return project(tmp_path / "my ünusual repo")


@pytest.mark.parametrize(
    "made", [project, in_a_folder, at_no_branch, a_worktree, a_submodule, a_shallow_clone, with_a_space]
)
def test_a_point_is_trained_in_a_clone_and_comes_home(made: Callable[[Path], Path], tmp_path: Path) -> None:
    root = made(tmp_path / "repo" if made is project else tmp_path)
    found = repository.examine(root)
    assert found.root.samefile(root)
    assert found.commit == git(root, "rev-parse", "HEAD")
    clone = repository.clone(found, tmp_path / "clone")
    assert (clone / ".dvc/config").exists()
    reference = f"refs/exps/{found.commit[:2]}/{found.commit[2:]}/{EXPERIMENT}"
    git(clone, "commit", "-q", "--allow-empty", "-m", "point")
    git(clone, "update-ref", reference, "HEAD")
    assert git(clone, "log", "-1", "--format=%cn <%ce>") == "Añe <a@b>"
    repository.bring_home(found, clone, EXPERIMENT)
    assert git(root, "rev-parse", reference) == git(clone, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "made", [project, in_a_folder, at_no_branch, a_worktree, a_submodule, a_shallow_clone, with_a_space]
)
def test_a_commit_goes_to_another_machine_as_bytes_and_its_experiment_comes_back_as_a_file(
    made: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = made(tmp_path / "repo" if made is project else tmp_path)
    found = repository.examine(root)
    with tarfile.open(fileobj=io.BytesIO(repository.packed(found))) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    there = dataclasses.replace(found, top=tmp_path / "there")
    clone = repository.clone(there, tmp_path / "clone")
    assert git(clone, "rev-list", "--all") == found.commit  # and no history
    git(clone, "commit", "-q", "--allow-empty", "-m", "point")
    reference = f"refs/exps/{found.commit[:2]}/{found.commit[2:]}/{EXPERIMENT}"
    git(clone, "update-ref", reference, "HEAD")
    repository.bundle(there, clone, EXPERIMENT, tmp_path / "bundle")
    repository.bring_home(found, tmp_path / "bundle", EXPERIMENT)
    assert git(root, "rev-parse", reference) == git(clone, "rev-parse", "HEAD")
    assert git(root, "rev-parse", f"{reference}^") == found.commit


def test_a_name_from_the_environment_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path / "repo")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Someone Else")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "c@d")
    found = repository.examine(root)
    assert (found.name, found.email) == ("Someone Else", "c@d")
    clone = repository.clone(found, tmp_path / "clone")
    assert git(clone, "config", "user.name") == "Someone Else"


def test_commands_in_a_clone_do_not_reach_the_repository_of_a_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = project(tmp_path / "repo"), project(tmp_path / "other")
    git(other, "commit", "-q", "--allow-empty", "-m", "more")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    commit = repository.examine(root).commit
    monkeypatch.delenv("GIT_DIR")
    assert commit == git(root, "rev-parse", "HEAD") != git(other, "rev-parse", "HEAD")


def no_dvc(root: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()


def no_git(root: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc").mkdir(parents=True)


def no_commit(root: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".dvc").mkdir(parents=True)
    git(root, "init", "-q")


def no_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(root)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    (root.parent / "home/.gitconfig").unlink()


def another_owner(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(root)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")


def no_program(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(root)
    monkeypatch.setenv("PATH", str(root))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (no_dvc, "repo: no DVC repository; run from the project's root"),
        (no_git, "repo: no git repository, but every experiment belongs to a commit; run git init"),
        (no_commit, "repo: a sweep needs a commit; run git add -A && git commit. git rev-parse .*: fatal: "),
        (no_name, "repo: a sweep needs a name and an address .*git config --global user.email"),
        (another_owner, "repo: a sweep needs a working tree.* dubious ownership .*git config --global --add safe.dir"),
        (no_program, "git: not found; install it"),
    ],
)
def test_what_is_missing_is_told_in_the_words_of_git(
    made: Callable[[Path, pytest.MonkeyPatch], None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(tmp_path / "repo", monkeypatch)
    with pytest.raises(FacemixError, match=f"(?s){message}"):
        repository.examine(tmp_path / "repo")
