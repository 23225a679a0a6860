"""Finds the picture that an annotation file names, wherever below the root people keep it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from facemix.faces.formats import official
from facemix.faces.formats.listing import visible
from facemix.faces.images import SUFFIXES


class ImagesBelow:
    """The pictures below a folder. Nothing outside of it is ever found: an import copies only what lies inside."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._of_name: dict[str, list[Path]] = defaultdict(list)
        self._sizes: dict[Path, tuple[int, int] | None] = {}
        self._collect(root)

    def _collect(self, folder: Path) -> None:
        for path in visible(folder):
            if path.is_dir():
                self._collect(path)
            elif path.suffix.lower() in SUFFIXES:
                self._of_name[path.name].append(path)

    def find(self, name: str, near: Path, split: str = "") -> Path | str:
        """The picture called `name`, or what is wrong, for a message.

        A relative name counts from the annotation file's folder `near`, from `images/` there, and from the same two
        of each folder above it. Else the one picture counts that shares the most of the name's end (`name` may be a
        path on another machine), where there are several, the one in a folder of the same `split`.
        """
        stated = PurePosixPath(name.replace("\\", "/"))
        if not stated.name:
            return f"no image is named, expected one below {self._root}; name it or remove the annotation"
        candidates = self._of_name.get(stated.name, [])
        if not candidates:
            return f"no image {name!r} below {self._root}; add the image or remove the annotation"
        for folder in self._folders(near):
            if (exact := folder / stated) in candidates:
                return exact
        shared = {path: _shared(path.relative_to(self._root).parts, stated.parts) for path in candidates}
        best = [path for path in candidates if shared[path] == max(shared.values())]
        if len(best) > 1 and split:
            best = [path for path in best if official.split(path.relative_to(self._root)) == split] or best
        if len(best) > 1:
            places = " and ".join(str(path.relative_to(self._root)) for path in best[:2])
            return f"image {name!r} may be {places}, expected one; state the folder in its name"
        return best[0]

    def size(self, image: Path) -> tuple[int, int] | None:
        """Width and height as the file's header states them, before any rotation; None where it cannot be read."""
        if image not in self._sizes:
            try:
                with Image.open(image) as opened:
                    self._sizes[image] = opened.size
            except (OSError, SyntaxError, ValueError):
                self._sizes[image] = None  # what is no image is found broken when it is decoded
        return self._sizes[image]

    def _folders(self, near: Path) -> list[Path]:
        above = [near, *(folder for folder in near.parents if folder.is_relative_to(self._root))]
        return [place for folder in above for place in (folder, folder / "images")]


def _shared(parts: Sequence[str], stated: Sequence[str]) -> int:
    """How many parts of two paths are the same, from their ends."""
    count = 0
    for a, b in zip(reversed(parts), reversed(stated), strict=False):
        if a != b:
            break
        count += 1
    return count
