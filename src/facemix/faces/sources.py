"""The sets of faces of a role, where they lie, and which of their faces train, validate and test."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np

from facemix.config import RENDERED, Params, Source
from facemix.errors import FacemixError
from facemix.faces import formats, schemes, splits
from facemix.faces.face import STAND_IN, BrokenFace, Face
from facemix.faces.formats import photos
from facemix.faces.packing import Entry, raise_broken

SOURCES = Path("data/sources")
"""Imported sets: `data/sources/ROLE/NAME`."""
RENDERS = Path("data/renders")
"""Rendered ones: `synthetic` and `stand_in`."""
SPLIT_FILES = Path("data/splits")
"""`data/splits/ROLE/NAME.yaml`."""


def entries(role: str, params: Params) -> list[Entry]:
    """Every face of a role with its split, source by source.

    Raises:
        FacemixError: no source, or broken faces: all of them are listed.
    """
    found: list[Entry] = []
    broken = []
    for source, folder in folders(role, params):
        faces, bad = read(source, folder, role)
        if bad and source.skip_broken:
            print(f"{source.name}: {len(bad)} broken faces are left out, as skip_broken in params.yaml says")
        else:
            broken += bad
        if source.name == RENDERED["real"]:
            faces = [dataclasses.replace(face, subset=STAND_IN) for face in faces]
        assigned = assign(source, faces) if role == "real" else training(source, faces)
        found += [
            Entry(face=face, source=source.name, split=split) for face, split in zip(faces, assigned, strict=True)
        ]
    raise_broken(broken, len(found) + len(broken))
    return found


def read(source: Source, folder: Path, role: str) -> tuple[list[Face], list[BrokenFace]]:
    """The faces of a source and the broken ones: points moved by its offset, real faces together by their photographs.

    Raises:
        FacemixError: the folder or `group` does not fit.
    """
    faces, broken = formats.read(
        source.format, folder, source.group, schemes.load(source.scheme) if source.scheme else None
    )
    if role == "real":
        faces = photos.by_content(faces)
    if source.offset:
        moved = np.array(source.offset, dtype=np.float32)
        faces = [dataclasses.replace(face, landmarks=face.landmarks + moved) for face in faces]
    return faces, broken


def folders(role: str, params: Params) -> list[tuple[Source, Path]]:
    """The sources of a role, each with its folder: those that were imported, and the rendered one.

    Raises:
        FacemixError: there is none, or one that is to be rendered is not there.
    """
    imported = params.sources.real if role == "real" else params.sources.synthetic
    name = "stand_in" if role == "real" else "synthetic"
    rendered, folder = getattr(params.render, name), RENDERS / name
    found = [(source, SOURCES / role / source.name) for source in imported]
    if rendered.n:
        if not folder.exists():
            raise FacemixError(
                f"{folder}: not found, expected rendered faces; run `dvc repro`, or `facemix render --stage {name}`"
            )
        found.append((Source(name=RENDERED[role], format="facesynthetics"), folder))
    if not found:
        raise FacemixError(
            f"params.yaml: sources.{role}: found no source; add one with `facemix import FORMAT PATH`, or render "
            f"faces: set render.{name}.n"
        )
    return found


def split_path(source: Source, role: str) -> Path:
    """The split file of a source: `data/splits/ROLE/NAME.yaml`, or for real faces, without it, that of the format.

    Where there is neither, it is where the first one goes.
    """
    own = SPLIT_FILES / role / f"{source.name}.yaml"
    of_format = SPLIT_FILES / role / f"{source.format}.yaml"
    return of_format if role == "real" and of_format.exists() and not own.exists() else own


def training(source: Source, faces: list[Face]) -> list[str]:
    """Synthetic faces train, but for those that a split file excludes.

    Raises:
        FacemixError: the split file lists faces for validation or test.
    """
    path = split_path(source, "synthetic")
    if not path.exists():
        return ["train"] * len(faces)
    split_file = splits.read_split_file(path)
    for key, names in split_file.items():
        if names and key != "excluded":
            raise FacemixError(f"{path}: {key}: found {len(names)} names, expected none: synthetic faces only train")
    _say_unknown(source, faces, path, split_file)
    return [said or "train" for said in splits.listed(faces, split_file)]


def assign(source: Source, faces: list[Face]) -> list[str]:
    """Splits a real source by its split file; says which of the listed names are missing."""
    path = split_path(source, "real")
    if not path.exists():
        return splits.assign(faces, None)
    split_file = splits.read_split_file(path)
    _say_unknown(source, faces, path, split_file)
    return splits.assign(faces, split_file)


_INSTEAD = {
    "validation": "; what validates is decided without it",
    "test": "; what tests is decided without it",
    "excluded": "",
}


def _say_unknown(source: Source, faces: list[Face], path: Path, split_file: splits.SplitFile) -> None:
    """Prints how many names of each list are not there, by folder, with an example and what names look like."""
    for key, names in split_file.items():
        missing = splits.unknown(faces, names)
        if not missing:
            continue
        of_folder = Counter(name.rpartition("/")[0] for name in missing)
        counted = ", ".join(f"{count} of {folder or 'no folder'}" for folder, count in sorted(of_folder.items()))
        instead = _INSTEAD[key] if len(missing) == len(names) else ""
        example = f"; the first is {missing[0]!r}, and a face here is called {faces[0].id!r}" if faces else ""
        print(
            f"{source.name}: {len(missing)} of the {len(names)} faces that {path} lists under {key} are missing: "
            f"{counted}{example}{instead}"
        )
