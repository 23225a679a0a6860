"""Label Studio's JSON export: a list of tasks with `keypointlabels` in per cent of the picture.

Points are matched by label; the order in the file means nothing. `parentID` groups the points of one face under its
rectangle; without any, the points of a picture are one face. Of several annotations of a task that were not cancelled,
the one marked as ground truth counts, else the last that was changed; predictions never do. A region with the choice
`hidden` or `occluded` is a hidden point.

The picture is found by the end of its URL: `/data/upload/1/0a1b2c3d-NAME.jpg` also as `NAME.jpg`, and
`/data/local-files/?d=FOLDER/NAME.jpg`.

What else stands in the `data` of a task may name its photograph or person.

Per cent count from the corner of the picture: a point that Label Studio snaps to the centre of the first pixel is at
half a pixel. So half a pixel is taken off.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from facemix.errors import FacemixError
from facemix.faces.face import HIDDEN, VISIBLE, BrokenFace, Face
from facemix.faces.formats import documents, labelled
from facemix.faces.formats.images_below import ImagesBelow
from facemix.faces.formats.labelled import Mark, Object, Picture
from facemix.faces.images import SUFFIXES
from facemix.faces.schemes import Scheme

Json = Mapping[str, Any]

ORIGIN = 0.5
"""Where the centre of the first pixel is."""
LITTLE = 1.0
"""Per cent of the picture by which a point may lie outside of it."""

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
_HIDDEN = {"hidden", "occluded"}


def read(root: Path, scheme: Scheme | None) -> Iterator[Face | BrokenFace]:
    """The faces of a folder with exports of Label Studio and their images.

    Raises:
        FacemixError: a file is a JSON-MIN export, the labels are not the scheme's, or `scheme` is None and not certain.
    """
    yield from labelled.faces(root, _pictures(root), scheme, origin=ORIGIN)


def detect(root: Path) -> list[str]:
    """The names of the schemes that fit the labels of the files."""
    return labelled.schemes_of(_pictures(root))


def _pictures(root: Path) -> list[Picture]:
    images = None
    pictures: list[Picture] = []
    for path in documents.below(root, ".json"):
        try:
            tasks = documents.json_content(path)
        except BrokenFace:
            continue  # of whatever kind it is
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            continue
        if _is_min(tasks):
            raise FacemixError(f"{path}: found an export as JSON-MIN, which lacks parentID; export it as JSON")
        if not any("annotations" in task and isinstance(task.get("data"), dict) for task in tasks):
            continue
        images = images or ImagesBelow(root)
        pictures.extend(_picture(path, i, task, images) for i, task in enumerate(tasks))
    return pictures


def _is_min(tasks: Sequence[Json]) -> bool:
    """Whether tasks have the regions at their top, beside the picture."""
    values = [value for task in tasks if "data" not in task for value in task.values() if isinstance(value, list)]
    return any(isinstance(region, dict) and "keypointlabels" in region for value in values for region in value)


def _picture(path: Path, i: int, task: Json, images: ImagesBelow) -> Picture:
    url = _url(task.get("data"))
    objects = _objects(_result(task))
    image = _find(url, path, images) if objects else ""
    data = task.get("data")
    return Picture(
        file=path,
        name=url or f"of task {task.get('id', i)}",
        image=image,
        objects=objects,
        attributes=labelled.scalars(data) if isinstance(data, dict) else {},
    )


def _url(data: object) -> str:
    """The task's picture: `image`, or the first value that ends as pictures do."""
    values = data if isinstance(data, dict) else {}
    strings = [value for value in (values.get("image"), *values.values()) if isinstance(value, str)]
    return next((value for value in strings if PurePosixPath(_path(value)).suffix.lower() in SUFFIXES), "")


def _path(url: str) -> str:
    try:
        parts = urlsplit(url.replace("\\", "/"))
    except ValueError:  # brackets of no host
        return url
    local = parse_qs(parts.query).get("d")
    return unquote(local[0] if local else parts.path)


def _find(url: str, path: Path, images: ImagesBelow) -> Path | str:
    if not url:
        return "its data names no image, expected a URL that ends in .jpg or .png; correct it"
    stated = PurePosixPath(_path(url))
    found = images.find(str(stated), near=path.parent)
    if isinstance(found, str) and (match := _UPLOADED.fullmatch(stated.name)):
        without = images.find(match[1], near=path.parent)
        return without if isinstance(without, Path) else found
    return found


def _result(task: Json) -> list[Json]:
    """The regions of the one annotation that counts."""
    annotations = task.get("annotations")
    kept = [
        annotation
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    if not kept:
        return []

    def rank(annotation: Json) -> tuple[bool, str]:
        changed = annotation.get("updated_at") or annotation.get("created_at") or ""
        return bool(annotation.get("ground_truth")), str(changed)

    last = max(reversed(kept), key=rank)  # of equal ones the last in the file
    result = last.get("result")
    return [region for region in result if isinstance(region, dict)] if isinstance(result, list) else []


def _objects(result: Sequence[Json]) -> list[Object]:
    hidden = {str(region.get("id")) for region in result if _HIDDEN & _words(region, "choices")}
    groups: dict[str, list[Mark]] = defaultdict(list)
    faults: dict[str, str] = {}
    for region in result:
        if region.get("type") != "keypointlabels":
            continue
        parent = str(region.get("parentID") or "")
        mark, fault = _mark(region, HIDDEN if str(region.get("id")) in hidden else VISIBLE)
        groups[parent].append(mark)
        if fault:
            faults.setdefault(parent, fault)
    if "" in groups and len(groups) > 1:
        faults.setdefault("", "points without a parentID beside others that have one; give each point its rectangle")
    return [
        labelled.named(
            f"parentID {parent}" if parent else "points without a parentID", marks, fault=faults.get(parent, "")
        )
        for parent, marks in groups.items()
    ]


def _words(region: Json, key: str) -> set[str]:
    value = region.get("value")
    words = value.get(key) if isinstance(value, dict) else None
    return {str(word).lower() for word in words} if isinstance(words, list) else set()


def _mark(region: Json, state: int) -> tuple[Mark, str]:
    """A point in pixels from the corner, and its fault if it has one."""
    value = region.get("value")
    value = value if isinstance(value, dict) else {}
    labels = value.get("keypointlabels")
    label = str(labels[0]) if isinstance(labels, list) and len(labels) == 1 else ""
    x, y = labelled.number(value.get("x")), labelled.number(value.get("y"))
    width, height = labelled.number(region.get("original_width")), labelled.number(region.get("original_height"))
    mark = (label, x * width / 100, y * height / 100, state)
    if not label:
        return mark, f"a point with the labels {labels}, expected one; correct it"
    if not (width > 0 and height > 0):
        return mark, f"point {label!r}: no original_width and original_height, expected pixels; export it again"
    if region.get("image_rotation"):
        return mark, f"point {label!r}: the picture was turned by {region['image_rotation']} degrees; turn it back"
    if not all(-LITTLE <= share <= 100 + LITTLE for share in (x, y)):
        return mark, f"point {label!r}: at ({x:g}, {y:g}), expected per cent of the picture, 0 to 100; correct it"
    return mark, ""
