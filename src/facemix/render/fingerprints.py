"""What of the generator decides pictures, and what only where labels lie: a digest of each.

Pictures of equal `pixels` take new labels without being rendered again (`facemix relabel`). Geometry that decides both
counts for pixels, and so does every file of the package that is not listed here: a new one cannot be forgotten.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent
POINTS = ("labels.py", "tables.py", "data/annotator_noise.csv", "data/annotator_habits.csv")
"""Decide where labels lie, and no pixel."""
SHARED = ("contours.py", "schemes.py", "schemes_data/ibug68.yaml")
"""So do these of `facemix.faces`."""
NEITHER = (
    "data/labels/*",  # the digest of the table in use tells
    *("__init__.py", "fingerprints.py", "folder.py", "relabel.py", "sets.py", "shards.py"),  # bring faces to disk
    *("on_ray.py", "workers.py"),
    "data/NOTICE.md",
)


def pixels(package: Path = PACKAGE) -> str:
    """Changes when pictures may: a set of before is not continued, and takes no new labels."""
    others = {*_matching(package, POINTS), *_matching(package, NEITHER)}
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return _digest(package.parent, (path for path in files if path not in others))


def points(package: Path = PACKAGE) -> str:
    """Changes when labels may: pictures of before need new ones."""
    faces = package.parent / "faces"
    return _digest(package.parent, [*_matching(package, POINTS), *_matching(faces, SHARED)])


def _matching(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (path for pattern in patterns for path in folder.glob(pattern))


def _digest(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:8]
