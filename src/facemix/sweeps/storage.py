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
