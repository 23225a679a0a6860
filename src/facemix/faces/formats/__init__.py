"""Sets of faces as they lie on disk: one reader per format, each yielding faces and nothing else.

A reader takes a folder, decodes no image, and goes on after a broken face, so that all of them are reported at once.
A new format is a new module and a new row here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import dgfaces, facesynthetics, photos, w300
from facemix.faces.formats.inspection import check
from facemix.faces.formats.listing import visible
from facemix.faces.formats.w300 import OFFICIAL_300W

__all__ = ["DEFAULT_ROLES", "LICENCES", "OFFICIAL_300W", "READERS", "check", "licence", "read"]

Reader = Callable[[Path], Iterator[Face | BrokenFace]]

READERS: dict[str, Reader] = {
    "300w": w300.read,
    "dgfaces_v1": dgfaces.read_v1,
    "dgfaces_v2": dgfaces.read_v2,
    "facesynthetics": facesynthetics.read,
}

DEFAULT_ROLES: dict[str, str] = {
    "300w": "real",
    "dgfaces_v1": "synthetic",
    "dgfaces_v2": "synthetic",
    "facesynthetics": "synthetic",
}

LICENCES: dict[tuple[str, str], str] = {
    ("300w", "300w"): "research only; the photographs belong to their owners",
    ("dgfaces_v1", ""): "Apache-2.0",
    ("dgfaces_v2", ""): "Apache-2.0",
    ("facesynthetics", "facesynthetics"): "Microsoft's research licence, non-commercial",
}
"""Of the sets that the formats are named after, by format and name; any set may come in the layout of the others."""

_EXPECTED: dict[str, str] = {
    "300w": f"folders {', '.join(OFFICIAL_300W)} (or some of them) with images and .pts files",
    "dgfaces_v1": "folders environment_*/camera_*/ with visible_spectrum_*.png and standard_keypoints.json",
    "dgfaces_v2": "folders datapoint_*/camera/ with visible_spectrum_*.png and key_points/",
    "facesynthetics": "files NNNNNN.png (or .jpg) and NNNNNN_ldmks.txt",
}


def read(
    format: str,  # noqa: A002
    root: Path,
    group: str | None = None,
) -> tuple[list[Face], list[BrokenFace]]:
    """The faces of a folder, sorted by id, and the broken ones.

    Args:
        format: a key of `READERS`.
        root: the folder.
        group: a regular expression that finds in an id what names the photograph (its first group, or the whole
            match); by default the names tell, where they are such as the format or people have them.

    Raises:
        FacemixError: the format is unknown, the folder holds nothing of that format, or `group` does not fit the ids.
    """
    if format not in READERS:
        raise FacemixError(f"unknown format {format!r}, expected one of {', '.join(READERS)}")
    if not root.is_dir():
        raise FacemixError(f"{root}: no such folder, expected {_EXPECTED[format]}; check the path")
    faces: list[Face] = []
    broken: list[BrokenFace] = []
    for item in READERS[format](root):
        if isinstance(item, Face):
            faces.append(item)
        else:
            broken.append(item)
    if not faces and not broken:
        found = f"no faces in the format {format}, expected {_EXPECTED[format]}"
        raise FacemixError(f"{root}: {found}; {_advice(format, root)}")
    faces.sort(key=lambda face: face.id)
    return (photos.by_name(faces) if group is None else photos.say(faces, group)), broken


def licence(format: str, name: str) -> str:  # noqa: A002
    """The licence of a set as far as its format and name tell, else `unknown`."""
    return LICENCES.get((format, name)) or LICENCES.get((format, "")) or "unknown"


def _advice(format: str, root: Path) -> str:  # noqa: A002
    """What to do about a folder without faces of a format: another format, another folder, or look for oneself."""
    for name, reader in READERS.items():
        if _holds(reader, root):
            return f"it holds {name}: use the format {name}"
    below = [path for path in visible(root) if path.is_dir()]
    for folder in [*below, *root.resolve().parents[:2]]:
        if _holds(READERS[format], folder):
            return f"{folder} does: use that path"
    return "the folder is empty" if not visible(root) else "check the path and the format"


def _holds(reader: Reader, root: Path) -> bool:
    return next(reader(root), None) is not None
