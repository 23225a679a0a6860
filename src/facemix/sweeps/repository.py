"""What a sweep needs of git: a commit that experiments belong to, clones to train in, and somebody who signs."""

import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facemix.errors import FacemixError

OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
"""Variables that git sets for its hooks, and that would point commands in a clone to the user's repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The project as git has it."""

    top: Path
    """Where git's working tree begins: the project's root, or a folder above it."""
    inside: Path
    """The project's root, seen from there."""
    commit: str
    """The commit that experiments belong to."""
    name: str
    """Of whoever signs commits."""
    email: str

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.top / self.inside


def examine(root: Path) -> Repository:
    """Looks for all that a sweep will need of git before anything is trained.

    Raises:
        FacemixError: no DVC or git repository, one that git refuses to use, no commit, or nobody to sign commits; the
            message holds git's own words.
    """
    if not (root / ".dvc").is_dir():
        raise FacemixError(
            f"{root}: no DVC repository; run from the project's root, or set one up: git init && dvc init"
        )
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise FacemixError(
            f"{root}: no git repository, but every experiment belongs to a commit; run git init && git add -A && "
            "git commit"
        )
    top = Path(_needed(root, "a working tree", "rev-parse", "--show-toplevel"))
    commit = _needed(root, "a commit; run git add -A && git commit", "rev-parse", "--verify", "HEAD")
    signature = _needed(root, "a name and an address to sign experiments with", "var", "GIT_COMMITTER_IDENT")
    found = re.fullmatch(r"(.*) <(.*)> \d+ [+-]\d+", signature)
    assert found is not None, signature
    return Repository(
        top=top, inside=root.resolve().relative_to(top.resolve()), commit=commit, name=found[1], email=found[2]
    )


def _needed(root: Path, what: str, *arguments: str) -> str:
    try:
        return git(root, *arguments).strip()
    except FacemixError as error:
        raise FacemixError(f"{root}: a sweep needs {what}. {error}") from None


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        FacemixError: it failed, with what git said; or git is not installed.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        raise FacemixError("git: not found; install it (Debian: apt install git)") from None
    if done.returncode:
        raise FacemixError(f"git {' '.join(arguments)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout


def environment() -> Mapping[str, str]:
    """That of this process, without what ties git to one repository."""
    return {key: value for key, value in os.environ.items() if key not in OF_ANOTHER_REPOSITORY}


def clone(repository: Repository, folder: Path) -> Path:
    """Clones the repository at its commit, signed as the user's; returns the project's root in the clone.

    It takes objects from the user's repository, and ends with it.
    """
    signed = ("--config", f"user.name={repository.name}", "--config", f"user.email={repository.email}")
    git(repository.top, "clone", "--quiet", "--shared", "--no-checkout", *signed, str(repository.top), str(folder))
    git(folder, "checkout", "--quiet", "--detach", repository.commit)
    return folder / repository.inside


def packed(repository: Repository) -> bytes:
    """The repository with this one commit alone, as a tar file: what another machine makes its clones of."""
    with tempfile.TemporaryDirectory() as folder, io.BytesIO() as content:
        git(Path(folder), "init", "--quiet")
        git(Path(folder), "fetch", "--quiet", "--depth", "1", repository.top.resolve().as_uri(), repository.commit)
        git(Path(folder), "update-ref", "--no-deref", "HEAD", repository.commit)
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(folder, arcname=".")
        return content.getvalue()


def bundle(repository: Repository, clone: Path, experiment: str, file: Path) -> None:
    """Writes an experiment that was saved in a clone as a git bundle.

    Args:
        clone: the project's root there.
    """
    git(clone, "bundle", "create", "--quiet", str(file), reference(repository, experiment), f"^{repository.commit}")


def bring_home(repository: Repository, source: Path, experiment: str) -> None:
    """Fetches an experiment that was saved in a clone.

    Args:
        source: the project's root there, or a bundle.
    """
    top = git(source, "rev-parse", "--show-toplevel").strip() if source.is_dir() else str(source)
    name = reference(repository, experiment)
    quiet = ("--quiet", "--no-write-fetch-head", "--no-auto-maintenance")
    git(repository.top, "fetch", *quiet, top, f"+{name}:{name}")


def reference(repository: Repository, experiment: str) -> str:
    """Where git keeps an experiment."""
    return f"refs/exps/{repository.commit[:2]}/{repository.commit[2:]}/{experiment}"
