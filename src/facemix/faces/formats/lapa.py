"""LaPa (Liu et al., 2020) and JD-landmark: 106 points, a text file an image in a folder beside that of the images.

`train/`, `val/`, `test/` (LaPa's official splits), any of which may be missing, or one folder alone, each with
`images/NAME.jpg` and `landmarks/NAME.txt` (JD-landmark: `picture/NAME.jpg` and `landmark/NAME.jpg.txt`). The first line
is 106, then a point `x y` a line, 0-based.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from facemix.faces.face import BrokenFace, Face
from facemix.faces.formats import fitting, official, pairs, photos, points
from facemix.faces.schemes import Scheme

_FOLDERS = (("images", "landmarks"), ("picture", "landmark"))
_FACE_OF_A_PHOTO = re.compile(r"((?:[A-Za-z]+_)?[0-9]{6,})_[0-9]{1,2}(?:_[0-9])?")
"""`13602254084_5`: face 5 of a photograph of Flickr; `HELEN_3034504123_1_0` in JD-landmark."""


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a LaPa or JD-landmark folder; one whose files are broken or incomplete comes as a `BrokenFace`.

    Raises:
        FacemixError: another scheme than `lapa106`, by number of points.
    """
    scheme = fitting.own("lapa106", scheme, "lapa")
    found: list[pairs.Pair] = []
    for folder in pairs.folders(root):
        for images, landmarks in _FOLDERS:
            annotations = pairs.files(folder / landmarks, [".txt"])
            for pair in pairs.pairs(pairs.images(folder / images), annotations) if annotations else ():
                if isinstance(pair, BrokenFace):
                    yield pair
                else:
                    found.append(pair)
    photo_of = _photos([pair.image.stem for pair in found])
    for pair in found:
        try:
            yield _face(root, pair, photo_of.get(pair.image.stem), scheme)
        except BrokenFace as broken:
            yield broken


def _photos(names: list[str]) -> dict[str, str]:
    """The photograph of each name that is made as the sets make them; none where too many would share one."""
    matches = {name: match for name in names if (match := _FACE_OF_A_PHOTO.fullmatch(name))}
    if not photos.few_each(Counter(match[1] for match in matches.values()).values()):
        return {}
    return {name: match[1] for name, match in matches.items()}


def _face(root: Path, pair: pairs.Pair, photo: str | None, scheme: Scheme) -> Face:
    stated = points.parse_rows(pair.annotation, points.read_text(pair.annotation).splitlines())
    landmarks, states = points.checked(pair.annotation, stated, scheme)
    id_ = pairs.id_of(pair.image, root)
    return Face(
        id=id_,
        subset="",
        photo=photo or id_,
        image=pair.image,
        landmarks=landmarks,
        states=states,
        scheme=scheme,
        files=(pair.image, pair.annotation),
        split=official.split(pair.image.relative_to(root)),
    )
