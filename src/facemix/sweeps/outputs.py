"""What experiments made, read from many of them in one pass.

git tells the `dvc.lock` of all experiments at once. A `dvc.lock` names an output by a hash, and DVC's cache, or else
its remote, keeps it under that name. So DVC is opened once, and none of its file systems is made for an experiment,
which would take a second each.
"""

import json
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from facemix.errors import FacemixError
from facemix.sweeps.repository import Repository, environment


class Outputs:
    """The folders that stages made in some experiments. Close it after use."""

    def __init__(self, project: Repository, revisions: Iterable[str]) -> None:
        """Looks up what the experiments say that they made.

        Args:
            revisions: the git revision of each experiment.

        Raises:
            FacemixError: one of them has no `dvc.lock`.
        """
        from dvc.repo import Repo

        self._locks = _locks(project, sorted(set(revisions)))
        self._repo = Repo(str(project.root))
        self._remote: Any = None
        self._remote_lock = threading.Lock()  # DVC's index cannot be opened by two threads at once

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._repo.close()

    def bring(self, revision: str, stage: str, folder: Path, target: Path, names: Iterable[str]) -> None:
        """Brings files of a folder that a stage made, in an experiment, to be read: links to them where DVC has them.

        Args:
            stage: as `dvc.lock` calls it.
            folder: seen from the project's root.
            target: the folder to put them in; it is made.

        Raises:
            FileNotFoundError: a file is neither in DVC's cache nor in its remote, or the stage did not make it.
        """
        md5 = _hash(self._locks[revision], stage, folder)
        kept = self._kept(md5)
        listed = json.loads(kept.read_bytes() if kept.exists() else self._from_remote(md5))
        hashes = {entry["relpath"]: entry["md5"] for entry in listed}
        target.mkdir()
        for name in names:
            if name not in hashes:
                raise FileNotFoundError(f"{folder / name}: not among the outputs of {stage}")
            if (kept := self._kept(hashes[name])).exists():
                (target / name).symlink_to(kept)
            else:
                (target / name).write_bytes(self._from_remote(hashes[name]))

    def _kept(self, md5: str) -> Path:
        """Where DVC's cache keeps what has this hash, if it does."""
        return Path(self._repo.cache.local.oid_to_path(md5)).absolute()

    def _from_remote(self, md5: str) -> bytes:
        from dvc.exceptions import DvcException

        try:
            with self._remote_lock:
                self._remote = self._remote or self._repo.cloud.get_remote_odb()
        except DvcException as error:
            raise FileNotFoundError(f"{self._kept(md5)} is not there, and no remote is known: {error}") from None
        content: bytes = self._remote.fs.cat_file(self._remote.oid_to_path(md5))
        return content


def _locks(project: Repository, revisions: list[str]) -> dict[str, str]:
    """`dvc.lock` of each revision, as text."""
    found = texts(project, revisions, Path("dvc.lock"))
    locks = {revision: text for revision, text in found.items() if text is not None}
    for revision in revisions:
        if revision not in locks:
            name = f"{revision}:{(project.inside / 'dvc.lock').as_posix()}"
            raise FacemixError(f"{name}: not found, expected what DVC made in an experiment; remove the experiment")
    return locks


def texts(project: Repository, revisions: Sequence[str], path: Path) -> dict[str, str | None]:
    """What git has of a file in each revision; None where it has none.

    Args:
        path: seen from the project's root.
    """
    wanted = [f"{revision}:{(project.inside / path).as_posix()}" for revision in revisions]
    told = subprocess.run(
        ["git", "-C", str(project.top), "cat-file", "--batch"],
        input="".join(f"{name}\n" for name in wanted).encode(),
        env=environment(),
        capture_output=True,
        check=True,
    ).stdout
    found: dict[str, str | None] = {}
    start = 0
    for revision in revisions:
        end = told.index(b"\n", start)
        header = told[start:end].decode().split()
        if header[-1] == "missing":
            found[revision], start = None, end + 1
            continue
        size = int(header[-1])
        found[revision] = told[end + 1 : end + 1 + size].decode()
        start = end + 1 + size + 1  # a line feed follows
    return found


def _hash(lock: str, stage: str, folder: Path) -> str:
    """The hash of a folder that a stage made; FileNotFoundError where it made none.

    A `dvc.lock` has a thousand lines, and parsing all of them takes a tenth of a second. DVC writes the name of a stage
    in a line of its own, indented by two spaces, and all that belongs to it deeper; so with the outputs of a stage.
    """
    from ruamel.yaml import YAML

    own = re.search(rf"^  {re.escape(stage)}:\n((?:   .*\n)+)", lock, re.MULTILINE)
    outs = own and re.search(r"^    outs:\n((?:    [- ].*\n)+)", own[1], re.MULTILINE)
    made: list[Mapping[str, Any]] = YAML(typ="safe").load(outs[1]) if outs else []
    for out in made:
        if out["path"] == folder.as_posix():
            return str(out["md5"])
    raise FileNotFoundError(f"{folder}: dvc.lock names no such output of {stage}")
