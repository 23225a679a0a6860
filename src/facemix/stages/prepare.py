"""`facemix prepare ROLE`: the sources of one role become one pack."""

import dataclasses
from collections import Counter
from pathlib import Path

from facemix import config
from facemix.errors import FacemixError
from facemix.faces import formats, packs, splits
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN, Face
from facemix.render import sets

SOURCES = Path("data/sources")
SPLIT_FILES = Path("data/splits")


def prepare(role: str, params: config.Params) -> None:
    """Reads every source of a role and what is rendered for it, splits the real faces, and writes `data/packs/ROLE`.

    Raises:
        FacemixError: no sources, broken faces (all are listed), or no validation or test faces.
    """
    sources = _sources(role, params)
    entries: list[packs.Entry] = []
    broken = []
    for source, folder in sources:
        faces, bad = formats.read(source.format, folder)
        broken += bad
        if source.name == config.RENDERED["real"]:
            faces = [dataclasses.replace(face, subset=STAND_IN) for face in faces]
        assigned = assign(source, faces) if role == "real" else _training(source, faces)
        entries += [
            packs.Entry(face=face, source=source.name, split=split) for face, split in zip(faces, assigned, strict=True)
        ]
    packs.raise_broken(broken, len(entries) + len(broken))
    counts = Counter(entry.split for entry in entries)
    if role == "real":
        for split in ("validation", "train", "test"):
            if not counts[split]:
                raise FacemixError(
                    f"sources.real: no {split} faces among {len(entries)}; expected some in each of validation, train "
                    f"and test: complete the source, or list validation faces in {SPLIT_FILES}/NAME.yaml"
                )
    packs.write(packs.FOLDER / role, entries, size=params.pack.crop_size, margin=params.pack.margin)
    shown = ", ".join(f"{count} {split}" for split, count in sorted(counts.items()))
    stand_in = any(entry.face.subset == STAND_IN for entry in entries)
    print(f"{packs.FOLDER / role}: {shown}" + (f"; {STAND_IN_SHOWN}" if stand_in else ""))


def _sources(role: str, params: config.Params) -> list[tuple[config.Source, Path]]:
    """The sources of a role, each with its folder: those that were imported, and the rendered one."""
    imported = params.sources.real if role == "real" else params.sources.synthetic
    name = "stand_in" if role == "real" else "synthetic"
    rendered, folder = getattr(params.render, name), sets.FOLDER / name
    found = [(source, SOURCES / source.name) for source in imported]
    if rendered.n:
        if not folder.exists():
            raise FacemixError(f"{folder}: not rendered yet; run `dvc repro`, or `facemix render --stage {name}`")
        found.append((config.Source(name=config.RENDERED[role], format="facesynthetics"), folder))
    if not found:
        raise FacemixError(
            f"params.yaml: sources.{role}: found no source; add one with `facemix import FORMAT PATH`, or render "
            f"faces: set render.{name}.n"
        )
    return found


def split_path(source: config.Source, role: str) -> Path:
    """The split file of a source: `data/splits/NAME.yaml`, or for real faces, without it, that of the format.

    Where there is neither, it is where the first one goes.
    """
    own = SPLIT_FILES / f"{source.name}.yaml"
    of_format = SPLIT_FILES / f"{source.format}.yaml"
    return of_format if role == "real" and of_format.exists() and not own.exists() else own


def _training(source: config.Source, faces: list[Face]) -> list[str]:
    """Synthetic faces train, but for those that a split file excludes."""
    path = split_path(source, "synthetic")
    excluded = set(splits.read_split_file(path).excluded) if path.exists() else set()
    return ["excluded" if face.id in excluded else "train" for face in faces]


def assign(source: config.Source, faces: list[Face]) -> list[str]:
    """Splits a real source by its split file; says which validation faces are missing."""
    path = split_path(source, "real")
    split_file = splits.read_split_file(path) if path.exists() else None
    if split_file and split_file.validation:
        present = {face.id for face in faces}
        missing = [id_ for id_ in split_file.validation if id_ not in present]
        n = len(split_file.validation)
        if len(missing) == n:
            print(f"{source.name}: none of the {n} validation faces of {path} are here; photographs are split by hash")
        elif missing:
            folders = Counter(id_.rsplit("/", 1)[0] for id_ in missing)
            listed = ", ".join(f"{count} of {folder}" for folder, count in sorted(folders.items()))
            print(f"{source.name}: {len(missing)} of the {n} validation faces of {path} are missing: {listed}")
    return splits.assign(faces, split_file)
