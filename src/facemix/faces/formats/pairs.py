"""Images and annotation files of the same name."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facemix.faces.face import BrokenFace
from facemix.faces.formats.listing import visible
from facemix.faces.images import SUFFIXES


@dataclass(frozen=True, slots=True)
class Pair:
    image: Path
    annotation: Path


def folders(root: Path) -> Iterator[Path]:
    """A folder and all below it, each before those in it."""
    yield root
    for path in visible(root):
        if path.is_dir():
            yield from folders(path)


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files of a folder with one of the suffixes, in lower or upper case."""
    wanted = set(suffixes)
    return [path for path in visible(folder) if path.suffix.lower() in wanted and path.is_file()]


def images(folder: Path) -> list[Path]:
    """The image files of a folder."""
    return files(folder, SUFFIXES)


def pairs(images: Iterable[Path], annotations: Iterable[Path]) -> Iterator[Pair | BrokenFace]:
    """Each image with the annotation of its name (`NAME.txt` or `NAME.jpg.txt`), sorted by name.

    An image or an annotation alone is broken, and so is a name with two of either.
    """
    parts: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for image in images:
        parts[image.stem][0].append(image)
    for annotation in annotations:
        name = Path(annotation.stem)
        parts[name.stem if name.suffix.lower() in SUFFIXES else name.name][1].append(annotation)
    for stem, (pictures, points) in sorted(parts.items()):
        if not points:
            yield BrokenFace(pictures[0], f"no points of the name {stem}; add them or remove the image")
        elif not pictures:
            yield BrokenFace(points[0], f"no image {stem}.jpg or {stem}.png; add the image or remove the points")
        elif len(pictures) > 1 or len(points) > 1:
            twice = pictures if len(pictures) > 1 else points
            found = " and ".join(path.name for path in twice)
            yield BrokenFace(twice[1], f"the same face twice: found {found}, expected one; remove the others")
        else:
            yield Pair(pictures[0], points[0])


def id_of(image: Path, root: Path) -> str:
    """The path of an image below the root, without extension."""
    return image.relative_to(root).with_suffix("").as_posix()
