"""Faces in the words of other tools: COCO keypoints, CSV and .pts. The readers in `formats/` read all of it again."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, BrokenFace, Face, File
from facemix.faces.geometry import landmark_box
from facemix.faces.picture_size import picture_size
from facemix.faces.schemes import Scheme

ALL_SPLITS = "annotations"
"""Name of the COCO file of faces without an official split, where no face has one."""
NO_SPLIT = "other"
"""Its name where others have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A face on its way into a folder."""

    face: Face
    place: PurePosixPath
    """Of its picture below the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is to be written below a folder."""

    texts: Mapping[PurePosixPath, str]
    images: Mapping[PurePosixPath, File]
    """Place -> the original."""
    lost: Sequence[str]
    """What the format cannot say, in words."""


def as_coco(items: Sequence[Item]) -> Written:
    """COCO keypoints: a JSON file for each official split, or one where there are none.

    A file has what pycocotools expects: images, annotations with keypoints `x y v` (0 unlabelled, 1 hidden, 2 visible),
    num_keypoints, bbox `x y w h` and area, and one category with the names of the points and its skeleton (from 1).
    COCO has no word for mirror order and photographs: `flip_idx` of the category (from 0, as in YOLO) and `photo` of an
    annotation are our own.

    Raises:
        BrokenFace: a picture whose size cannot be read.
    """
    ids = {place: i for i, place in enumerate(dict.fromkeys(item.place for item in items), start=1)}
    of_split: dict[str, list[tuple[int, Item]]] = defaultdict(list)
    for number, item in enumerate(items, start=1):
        of_split[item.face.split].append((number, item))
    texts, lost = {}, []
    for split, numbered in of_split.items():
        name = split or (NO_SPLIT if len(of_split) > 1 else ALL_SPLITS)
        texts[PurePosixPath(f"{name}.json")] = json.dumps(_coco(numbered, ids))
        states = np.concatenate([item.face.states for _, item in numbered])
        if HIDDEN in states and VISIBLE not in states:
            lost.append(f"that points are hidden, in {name}.json: readers take v = 1 for labelled where no v is 2")
    if len(set(of_split) - {""}) == 1:
        lost.append("the official split, as there is only one")
    return Written(texts=texts, images={item.place: item.face.image for item in items}, lost=lost)


def _coco(numbered: Sequence[tuple[int, Item]], ids: Mapping[PurePosixPath, int]) -> dict[str, object]:
    originals = {item.place: item.face.image for _, item in numbered}
    sizes = {place: picture_size(image) for place, image in originals.items()}
    return {
        "images": [
            {"id": ids[place], "file_name": str(place), "width": width, "height": height}
            for place, (width, height) in sizes.items()
        ],
        "annotations": [
            _annotation(number, ids[item.place], item.face, sizes[item.place]) for number, item in numbered
        ],
        "categories": [_category(numbered[0][1].face.scheme)],
    }


def _annotation(number: int, image: int, face: Face, size: tuple[int, int]) -> dict[str, object]:
    labelled = face.states != UNLABELLED
    box = np.clip(landmark_box(face.landmarks), 0, [*size, *size])  # tools refuse boxes that leave the picture
    width, height = np.maximum(box[2:] - box[:2], 1).round(4).tolist()  # or are empty
    numbers = np.where(labelled[:, None], np.column_stack([_decimals(face.landmarks), face.states]), 0)
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": [int(x) if x.is_integer() else x for x in numbers.ravel().tolist()],
        "num_keypoints": int(labelled.sum()),
        "bbox": [*box[:2].round(4).tolist(), width, height],
        "area": round(width * height, 4),
        "iscrowd": 0,
        "photo": face.photo,
    }


def _category(scheme: Scheme) -> dict[str, object]:
    return {
        "id": 1,
        "name": scheme.name,
        "supercategory": "landmarks",
        "keypoints": list(scheme.points),
        "skeleton": [[a + 1, b + 1] for curve in scheme.skeleton for a, b in curve.pairs()],
        "flip_idx": scheme.mirror.tolist(),
    }


def as_csv(items: Sequence[Item]) -> Written:
    """One table with a row for each face, and `NAME_x`, `NAME_y` and `NAME_v` for each point.

    Unlabelled points are empty cells. Split and subset have a column where some face has them.
    """
    known = [key for key in ("split", "subset") if any(getattr(item.face, key) for item in items)]
    points = items[0].face.scheme.points
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["image", "id", "group", *known, *(f"{name}_{axis}" for name in points for axis in "xyv")])
    for item in items:
        face = item.face
        cells = [
            cell
            for (x, y), state in zip(_decimals(face.landmarks).tolist(), face.states.tolist(), strict=True)
            for cell in (("", "", UNLABELLED) if state == UNLABELLED else (f"{x:.10g}", f"{y:.10g}", state))
        ]
        table.writerow([item.place, face.id, face.photo, *(getattr(face, key) for key in known), *cells])
    lost = ["the official split, as there is only one"] if len({item.face.split for item in items} - {""}) == 1 else []
    texts = {PurePosixPath("points.csv"): out.getvalue()}
    return Written(texts=texts, images={item.place: item.face.image for item in items}, lost=lost)


def as_pts(items: Sequence[Item]) -> Written:
    """A `.pts` of 1-based points beside each picture; of several faces in one, each has a copy of the picture.

    Every point must be labelled: see `missing_points`.
    """
    texts, images = {}, {}
    for item, place in zip(items, _own_places([item.place for item in items]), strict=True):
        rows = "".join(f"{x:.10g} {y:.10g}\n" for x, y in (_decimals(item.face.landmarks) + 1).tolist())
        text = f"version: 1\nn_points: {len(item.face.scheme)}\n{{\n{rows}}}\n"
        images[place], texts[place.with_suffix(".pts")] = item.face.image, text
    found = {
        "which points are hidden": any((item.face.states == HIDDEN).any() for item in items),
        "official splits": any(item.face.split for item in items),
        "which faces share a photograph, unless names or equal pictures tell": len({item.face.photo for item in items})
        < len(items),
    }
    return Written(texts=texts, images=images, lost=[words for words, is_so in found.items() if is_so])


def missing_points(items: Iterable[Item]) -> list[BrokenFace]:
    """The faces that .pts cannot hold, as points of theirs are unlabelled."""
    return [
        BrokenFace(item.face.image, f"{count} points are unlabelled, which .pts cannot say; write coco or csv")
        for item in items
        if (count := int((item.face.states == UNLABELLED).sum()))
    ]


def _own_places(places: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """A place of its own for each face: that of its picture, or `PICTURE_K` where the picture has several.

    No two share the name of a `.pts`, and none ends like a mirrored copy, which readers of `.pts` leave out.
    """
    count = Counter(places)
    taken: set[PurePosixPath] = set()
    found = []
    for place in places:
        k, own = 0, place
        several = count[place] > 1
        while several or own.with_suffix("") in taken or own.stem.endswith("_mirror"):
            own, several = place.with_stem(f"{place.stem}_{k}"), False
            k += 1
        taken.add(own.with_suffix(""))
        found.append(own)
    return found


def _decimals(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The shortest decimals that single precision takes for the same numbers: 123.4, not 123.40000153."""
    return points.astype(str).astype(np.float64)


WRITERS: Mapping[str, Callable[[Sequence[Item]], Written]] = {"coco": as_coco, "csv": as_csv, "pts": as_pts}
"""By the name of the format that reads it again."""
