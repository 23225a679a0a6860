"""Where DVC keeps the data of a clone: its cache, and the remote that machines share."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A DVC remote, with the settings that reach it from anywhere."""

    name: str
    settings: Mapping[str, Any]

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None for a server."""
        url = str(self.settings["url"])
        return None if "://" in url else Path(url)


def cache(root: Path) -> Path:
    """The folder of a project's DVC cache."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return Path(repo.cache.local_cache_dir)


def default_remote(root: Path) -> Remote:
    """The remote that `dvc push` uses.

    Raises:
        FacemixError: there is none.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            raise FacemixError(
                "no DVC remote, but machines bring faces and models from one and to one; run `dvc remote add -d "
                "storage FOLDER` (or s3://BUCKET/PATH), and commit .dvc/config"
            )
        settings = dict(repo.config["remote"][name])
    url = str(settings["url"])
    return Remote(name=name, settings=settings | {"url": url if "://" in url else os.path.abspath(url)})  # noqa: PTH100


def configure(clone: Path, cache: Path, remote: Remote | None) -> None:
    """Has DVC in a clone use a cache, whose files are linked and not copied, and a remote."""
    from dvc.config import Config

    with Config(str(clone / ".dvc")).edit("local") as settings:
        links = ["reflink", "hardlink", "symlink", "copy"]
        settings.setdefault("cache", {}).update({"dir": str(cache), "type": links})
        if remote:
            settings.setdefault("core", {})["remote"] = remote.name
            settings.setdefault("remote", {})[remote.name] = dict(remote.settings)


class Shelf:
    """Finished points in a clone's DVC remote, for all clones at a commit.

    The name of a point says what it depends on, so whoever finds it there need not train it. DVC knows nothing of
    these files: they lie beside its own.
    """

    def __init__(self, clone: Path, commit: str) -> None:
        from dvc.repo import Repo

        with Repo(str(clone)) as repo:
            remote = repo.cloud.get_remote()
            self._data = remote.odb
            self._fs: Any = remote.fs
        self._folder = self._fs.join(remote.path, "facemix", "points", commit)

    def take(self, name: str) -> bytes | None:
        """The bundle of a point, if it is there."""
        try:
            content: bytes = self._fs.cat_file(self._file(name))
        except FileNotFoundError:
            return None
        return content

    def offer(self, name: str, bundle: bytes, unusable: bytes | None = None) -> bytes:
        """Puts the bundle of a point there, whose data is in the remote; returns the one that is there then.

        That is the first one that came, unless it was found to be `unusable`.
        """
        from dvc_objects.fs.utils import as_atomic

        if (there := self.take(name)) and there != unusable:
            return there
        with as_atomic(self._fs, self._file(name), create_parents=True) as beside:
            self._fs.pipe_file(beside, bundle)
        return self.take(name) or bundle

    def holds(self, md5: str) -> bool:
        """Whether the remote has what DVC calls by this hash."""
        return bool(self._data.exists(md5))

    def _file(self, name: str) -> str:
        path: str = self._fs.join(self._folder, f"{name}.bundle")
        return path
