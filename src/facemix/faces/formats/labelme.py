"""LabelMe: a JSON file for each picture, with `shapes` of `shape_type` `point`.

`label` is the point's name or number, `group_id` the face that it belongs to; points without one are one face. Shapes
of other types, and the picture that may be embedded (`imageData`), are left alone. A flag `occluded` or `hidden` of a
shape, or such a key of its own, marks a hidden point.

LabelMe counts from the corner of the picture, which it draws at (0, 0) of its canvas: the centre of the first pixel is
at (0.5, 0.5). Half a pixel is taken off.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facemix.faces.face import HIDDEN, VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, labelled
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.labelled import Mark, Object, Picture
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

Json = Mapping[str, Any]

ORIGIN = 0.5
"""Where the centre of the first pixel is."""

_HIDDEN = ("occluded", "hidden")


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with LabelMe's JSON files and their images.

    Raises:
        FacemixError: the labels are not the scheme's, or `scheme` is None and not certain.
    """
    pictures, broken = _pictures(root)
    yield from broken
    yield from labelled.faces(root, pictures, scheme, origin=ORIGIN)


def detect(root: Path) -> list[str]:
    """The names of the schemes that fit the labels of the files."""
    return labelled.schemes_of(_pictures(root)[0])


def _pictures(root: Path) -> tuple[list[Picture], list[BrokenFace]]:
    images = None
    pictures, broken = [], []
    for path in documents.below(root, ".json"):
        try:
            content = documents.json_content(path)
        except BrokenFace as reason:
            if any(path.with_suffix(suffix).exists() for suffix in SUFFIXES):  # else it may be anything
                broken.append(reason)
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            images = images or ImagesBelow(root)
            pictures.append(_picture(path, content, images))
    return pictures, broken


def _picture(path: Path, content: Json, images: ImagesBelow) -> Picture:
    objects = _objects(content["shapes"])
    stated, beside = content.get("imagePath"), [path.with_suffix(suffix) for suffix in sorted(SUFFIXES)]
    name = stated if isinstance(stated, str) and stated else next((p.name for p in beside if p.exists()), path.stem)
    image = images.find(name, near=path.parent) if objects else ""
    if isinstance(image, str) and content.get("imageData"):
        image += "; the file embeds the picture, but an import needs it as a file: export it with labelme_export_json"
    return Picture(file=path, name=name, image=image, objects=objects)


def _objects(shapes: list[Any]) -> list[Object]:
    groups: dict[object, list[Mark]] = defaultdict(list)
    faults: dict[object, str] = {}
    for i, shape in enumerate(shapes):
        if not isinstance(shape, dict):
            faults.setdefault(None, f"shapes[{i}]: expected an object; correct it")
            groups.setdefault(None, [])
            continue
        places = shape.get("points")
        place = places[0] if isinstance(places, list) and len(places) == 1 else None
        if shape.get("shape_type", "point" if place else "") != "point":
            continue
        group = shape.get("group_id")
        group = group if isinstance(group, int | str) else None
        if not isinstance(place, list) or len(place) != 2:
            faults.setdefault(group, f"shapes[{i}]: points {places!r:.40}, expected [[x, y]]; correct it")
            groups.setdefault(group, [])
            continue
        state = HIDDEN if _is_hidden(shape) else VISIBLE
        groups[group].append((str(shape.get("label", "")), *place, state))
    return [
        labelled.named(
            "points without a group_id" if group is None else f"group_id {group}", marks, fault=faults.get(group, "")
        )
        for group, marks in groups.items()
    ]


def _is_hidden(shape: Json) -> bool:
    flags = shape.get("flags")
    flags = flags if isinstance(flags, dict) else {}
    return any(flags.get(key) is True or shape.get(key) is True for key in _HIDDEN)
