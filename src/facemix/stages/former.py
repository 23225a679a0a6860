"""What a stage wrote before, as DVC's cache has it: DVC takes an output away before its stage runs again."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from facemix.files import read_text

LOCK = Path("dvc.lock")


def recorded() -> Mapping[str, str]:
    """The digest of each output as dvc.lock has it, also of stages that dvc.yaml no longer has."""
    if not LOCK.exists():
        return {}
    stages = YAML(typ="safe").load(read_text(LOCK)).get("stages", {})
    return {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", [])}


def listed(digest: str, in_cache: Callable[[str], str]) -> Mapping[str, str] | None:
    """The files of a recorded folder, path below it -> digest; None where DVC's cache lacks the list or one of them.

    Args:
        digest: the folder's own; empty where dvc.lock has none.
        in_cache: the place in DVC's cache for a digest.
    """
    if not digest or not Path(in_cache(digest)).is_file():
        return None
    files = {entry["relpath"]: entry["md5"] for entry in json.loads(Path(in_cache(digest)).read_bytes())}
    return files if all(Path(in_cache(md5)).is_file() for md5 in files.values()) else None


def files(out: Path) -> Mapping[str, Path]:
    """The files of a folder, path below it -> its place in DVC's cache; none where that does not have them all."""
    if not (digest := recorded().get(out.as_posix(), "")):
        return {}
    from dvc.repo import Repo

    with Repo() as repo:
        in_cache = repo.cache.local.oid_to_path
        return {name: Path(in_cache(md5)) for name, md5 in (listed(digest, in_cache) or {}).items()}


def file(out: Path) -> Path | None:
    """The place of an output that is one file in DVC's cache; None where that does not have it."""
    if not (digest := recorded().get(out.as_posix(), "")):
        return None
    from dvc.repo import Repo

    with Repo() as repo:
        found = Path(repo.cache.local.oid_to_path(digest))
    return found if found.is_file() else None
