"""Takes models of seeds that params.yaml no longer lists out of the workspace, so that it is what a clone gets."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from facemix.config import Params
from facemix.stages import former
from facemix.strategies import MODELS


def prune(params: Params) -> None:
    """Removes what DVC can bring back, and says so; what its cache does not hold stays, and is named.

    `compare` depends on all of `models`. A model of a former seed would count there, and no clone has it.
    """
    folders = list(_unlisted(params))
    if not folders or not former.LOCK.exists():
        return
    from dvc.repo import Repo

    recorded = former.recorded()
    with Repo() as repo:
        for folder in folders:
            files = _kept_by_dvc(folder, recorded.get(folder.as_posix(), ""), repo.cache.local.oid_to_path)
            if files is None:
                print(
                    f"{folder}: its seed is not in params.yaml, and DVC's cache does not hold it as it is; move it out "
                    f"of {MODELS}/, or DVC will call {MODELS} modified in every clone"
                )
                continue
            for file in files:
                file.unlink()
            for emptied in sorted((one for one in (folder, *folder.rglob("*")) if one.is_dir()), reverse=True):
                if not any(emptied.iterdir()):
                    emptied.rmdir()
            print(f"{folder}: removed, its seed is not in params.yaml; with the seed back `dvc repro` brings it back")


def _unlisted(params: Params) -> Iterator[Path]:
    for folder in sorted(MODELS.glob("*/seed-*")):
        seeds = params.control_seeds if folder.parent.name == "control" else params.seeds
        if folder.is_dir() and folder.name not in {f"seed-{seed}" for seed in seeds}:
            yield folder


def _kept_by_dvc(folder: Path, digest: str, in_cache: Callable[[str], str]) -> list[Path] | None:
    """The files of a recorded folder, where each is unchanged and in DVC's cache; None where one is not.

    Args:
        folder: a folder of models.
        digest: its own, of which DVC's cache has a list of files; empty where dvc.lock has none.
        in_cache: the place in DVC's cache for a digest.
    """
    listed = former.listed(digest, in_cache)
    if listed is None:
        return None
    for name, md5 in listed.items():
        file = folder / name
        if not file.is_file() or hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            return None
    return [folder / name for name in listed]
