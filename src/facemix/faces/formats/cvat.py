"""CVAT for images 1.1: XML files with `<image>`, and in it skeletons or points.

A `<skeleton>` is a face; its `<points label="...">` are matched by label, also the numbers 1 to K that CVAT gives the
points of a new skeleton. `outside="1"` is a point without a label, whatever its coordinates; `occluded="1"` is a hidden
one. A `<points>` of several points is a face in the order of the scheme. `<points>` of one point each belong to the
face of their `group_id`, or to the only one of the picture. Skeletons of another kind, with other points, are left out.
`subset` of an image is the official split. Attributes of an image or a skeleton may name its photograph or person.

CVAT counts from the corner of the picture: its canvas is as wide as the picture, so the centre of the first pixel is at
(0.5, 0.5). Half a pixel is taken off. Points that were imported to CVAT from elsewhere, and never moved, may be off by
as much.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePath
from xml.etree.ElementTree import Element

from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, labelled, official
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.labelled import Mark, Object, Picture
from facemix.faces.schemes import Scheme

ORIGIN = 0.5
"""Where the centre of the first pixel is."""


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with CVAT's XML files and their images.

    Raises:
        FacemixError: a file is not well-formed or of a video, the points are not the scheme's, or `scheme` is None and
            not certain.
    """
    yield from labelled.faces(root, _pictures(root), scheme, origin=ORIGIN, first=1)


def detect(root: Path) -> list[str]:
    """The names of the schemes that fit the points of the files."""
    return labelled.schemes_of(_pictures(root))


def _pictures(root: Path) -> list[Picture]:
    images = None
    pictures: list[Picture] = []
    for path in documents.below(root, ".xml"):
        content = documents.xml_root(path, "annotations")
        if content is None:
            continue
        if content.find("track") is not None:
            raise FacemixError(f"{path}: tracks of a video, expected images; export it as 'CVAT for images 1.1'")
        images = images or ImagesBelow(root)
        pictures.extend(_picture(path, element, images) for element in content.iter("image"))
    return pictures


def _picture(path: Path, element: Element, images: ImagesBelow) -> Picture:
    name, subset = element.get("name", ""), element.get("subset", "")
    split = official.split(PurePath(subset)) if subset else ""
    objects = _objects(element)
    image = images.find(name, near=path.parent, split=split) if objects else ""
    return Picture(
        file=path,
        name=name,
        image=image,
        objects=objects,
        split=split,
        subset=subset,
        attributes=_attributes(element),
    )


def _objects(image: Element) -> list[Object]:
    found: list[Object] = []
    groups: dict[str, list[Mark]] = defaultdict(list)
    for element in image:
        if element.tag == "skeleton":
            marks = [mark for point in element.iter("points") for mark in _marks(point)]
            place, kind = f"skeleton {len(found) + 1}", element.get("label", "")
            found.append(labelled.named(place, marks, kind=kind, attributes=_attributes(element)))
        elif element.tag == "points":
            marks = _marks(element)
            if len(marks) == 1:
                groups[element.get("group_id", "")].extend(marks)
            else:
                place = f"points {len(found) + 1}"
                found.append(labelled.in_order(place, marks, attributes=_attributes(element)))
    for group, marks in groups.items():
        found.append(labelled.named(f"group {group}" if group else "points without a group_id", marks))
    return found


def _attributes(element: Element) -> dict[str, str]:
    """The `<attribute name="...">` of an image or object."""
    return {
        attribute.get("name", ""): attribute.text.strip()
        for attribute in element.findall("attribute")
        if attribute.text and attribute.text.strip()
    }


def _marks(element: Element) -> list[Mark]:
    """The points of a `<points>`, all with its label and state."""
    outside, hidden = element.get("outside") == "1", element.get("occluded") == "1"
    state = UNLABELLED if outside else HIDDEN if hidden else VISIBLE
    label = element.get("label", "")
    places = [place.partition(",") for place in element.get("points", "").split(";")]
    return [(label, x, y, state) for x, _, y in places]
