"""dlib and imglab: XML files with `<image file=...>`, `<box>` and `<part name=... x=... y=.../>`.

A box is a face. Parts are matched by name: the scheme's names, or numbers, where `0` and `00` are the same; a part that
is not there is not labelled. Boxes with `ignore="1"`, boxes without parts, and dlib's mirrored copies
(`NAME_mirror.jpg` beside `NAME.jpg`) are left out. Coordinates are whole 0-based pixels. A file whose name has `train`
or `test` in it is an official split; what a file without either repeats of them is read once.
"""

from collections.abc import Iterator
from pathlib import Path, PurePath
from xml.etree.ElementTree import Element

from facemix.faces.face import VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, labelled, official
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.labelled import Object, Picture
from facemix.faces.schemes import Scheme

_MIRRORED = "_mirror"


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with dlib's XML files and their images.

    Raises:
        FacemixError: a file is not well-formed, the parts are not the scheme's, or `scheme` is None and not certain.
    """
    yield from labelled.faces(root, _pictures(root), scheme, first=0)


def detect(root: Path) -> list[str]:
    """The names of the schemes that fit the parts of the files."""
    return labelled.schemes_of(_pictures(root))


def _pictures(root: Path) -> list[Picture]:
    files = {
        path: content
        for path in documents.below(root, ".xml")
        if (content := documents.xml_root(path, "dataset")) is not None
    }
    if not files:
        return []
    images = ImagesBelow(root)
    pictures = [picture for path, content in files.items() for picture in _of_file(root, path, content, images)]
    return sorted(pictures, key=lambda picture: not picture.split)  # what a file of no split repeats comes last


def _of_file(root: Path, path: Path, content: Element, images: ImagesBelow) -> Iterator[Picture]:
    split = official.split(PurePath(path.relative_to(root).name))
    elements = list(content.iter("image"))
    stems = {_stem(element) for element in elements}
    for element in elements:
        if _stem(element).endswith(_MIRRORED) and _stem(element).removesuffix(_MIRRORED) in stems:
            continue
        name, objects = element.get("file", ""), _objects(element)
        image = images.find(name, near=path.parent, split=split) if objects else ""
        yield Picture(file=path, name=name, image=image, objects=objects, split=split)


def _stem(image: Element) -> str:
    return image.get("file", "").rpartition(".")[0]


def _box_fault(box: Element) -> str:
    """What is wrong with the sides of a box, or "", also where nothing or four zeros are stated."""
    stated = [box.get(key) for key in ("left", "top", "width", "height")]
    if stated[2] is None or stated[3] is None or not any(map(labelled.number, stated)):
        return ""
    if all(labelled.number(side) > 0 for side in stated[2:]):
        return ""
    return f"a box of width {stated[2]} and height {stated[3]}, expected more than 0; correct or remove it"


def _objects(image: Element) -> list[Object]:
    found = []
    for i, box in enumerate(image.iter("box")):
        marks = [(part.get("name", ""), part.get("x"), part.get("y"), VISIBLE) for part in box.iter("part")]
        if box.get("ignore", "0") != "1":
            found.append(labelled.named(f"box {i + 1}", marks, fault=_box_fault(box) if marks else ""))
    return found
