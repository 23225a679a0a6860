"""`facemix predict`: the landmarks of faces in pictures and videos, as JSON or CSV, and drawn."""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.errors import FacemixError
from facemix.faces import geometry
from facemix.faces.drawing import RADIUS, draw_box, draw_points
from facemix.faces.face import BrokenFace
from facemix.faces.images import check_inside, read_image
from facemix.files import whole_file, write_table
from facemix.use import film, video
from facemix.use.boxes import Boxes, and_more, parse_box, place_of, read_boxes
from facemix.use.detector import Detector, Faces, listed

SUFFIXES = (".json", ".csv")
COLUMNS = ("image", "face", "point", "x", "y", "error", "visible")
"""Of a CSV; what the model does not know is empty."""
FACE_PER_RADIUS = 120
"""Longer side of a face's box / radius of its drawn points."""
_SURROGATES = re.compile("[\ud800-\udfff]")  # how Python shows bytes of a name that are no UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What was found in one picture."""

    image: Path
    """As the user named it."""
    faces: Faces


def predict(
    images: Sequence[Path],
    model: Path,
    box: Sequence[str] = (),
    boxes: Path | None = None,
    out: Path | None = None,
    overlay: Path | None = None,
    smooth: bool = False,
) -> None:
    """Predicts landmarks and writes them to a file, or as JSON to the standard output.

    Args:
        images: the pictures, or one video (see `use.video.follow`).
        model: a folder as `facemix train` writes it, or a file as `facemix export` does.
        box: `X0,Y0,X1,Y1`, tight around the landmarks, of each face of the only picture.
        boxes: a CSV of such boxes for many pictures. Without either, faces are found.
        out: a .json or .csv file.
        overlay: a folder for the pictures with boxes and points drawn in.
        smooth: of a video, write points that are smoothed over time.

    Raises:
        FacemixError: what cannot be used, with its name; all pictures that cannot are listed, and `out` is not written.
        OSError: the disk is full or read-only.
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise FacemixError(f"--out {out}: found {out.suffix or 'no extension'}, expected one of {', '.join(SUFFIXES)}")
    if odd := [image for image in images if _SURROGATES.search(str(image))]:
        raise FacemixError(
            f"{str(odd[0])!r}: the file name is not valid text, expected a name that can be written; rename the file"
        )
    videos = [image for image in images if film.is_video(image)]
    if videos and len(images) > 1:
        raise FacemixError(f"{videos[0]}: a video beside {len(images) - 1} other files; give each video alone")
    if smooth and not videos:
        raise FacemixError(f"--smooth is for a video, found {images[0]}; leave it out")
    places = [place_of(image) for image in images]
    if len(set(places)) < len(places):
        twice = next(image for image, place in zip(images, places, strict=True) if places.count(place) > 1)
        raise FacemixError(f"{twice}: given twice; name each picture once, and give its faces as boxes")
    drawings = [] if videos else _drawings(places, overlay)
    read = {*places, *([place_of(boxes)] if boxes is not None else [])}
    for target in [*drawings, *([out] if out is not None else [])]:
        if place_of(target) in read:
            raise FacemixError(
                f"{target}: would be overwritten, but it is one of the inputs; give another --out or --overlay"
            )
    given = _given(images, places, box, boxes)
    detector = Detector.load(model)
    if given is None:
        detector.require_finder()
    if videos:
        first = None if given is None else given[places[0]]
        video.follow(detector, images[0], boxes=first, out=out, overlay=overlay, smooth=smooth)
        return
    found: list[Predicted] = []
    broken: list[BrokenFace] = []
    for number, image in enumerate(tqdm(images, "predicting", unit="image", disable=None)):
        try:
            picture = read_image(image)
            faces = _look(detector, image, picture, None if given is None else given[places[number]])
        except BrokenFace as error:
            broken.append(error)
            continue
        found.append(Predicted(image=image, faces=faces))
        if drawings:
            _write_picture(drawings[number], drawn(picture, faces))
    if broken:
        raise FacemixError(
            f"{len(broken)} of {len(images)} images cannot be used; correct them or leave them out:\n"
            + "\n".join(f"  {error}" for error in broken)
        )
    for empty in [one.image for one in found if not len(one.faces)]:
        print(f"{empty}: no face found", file=sys.stderr)
    _write(found, out)


def _drawings(places: Sequence[Path], overlay: Path | None) -> list[Path]:
    """Where pictures are drawn: the place below what all share and the whole name, so no two come to one file."""
    if overlay is None:
        return []
    common = Path(os.path.commonpath([place.parent for place in places]))
    return [overlay / place.relative_to(common).with_name(f"{place.name}.png") for place in places]


def _given(
    images: Sequence[Path], places: Sequence[Path], box: Sequence[str], boxes: Path | None
) -> dict[Path, Boxes] | None:
    """The boxes (n, 4) of each place, or None where the user gave none."""
    if boxes is not None:
        by_place = read_boxes(boxes, set(places))
        missing = [image for image, place in zip(images, places, strict=True) if place not in by_place]
        if missing:
            raise FacemixError(
                f"{boxes}: no row for {missing[0]}" + and_more(missing) + "; add its boxes, or leave the image out"
            )
        return by_place
    if not box:
        return None
    if len(images) != 1:
        raise FacemixError(f"--box is for one picture, found {len(images)}; give the boxes of several with --boxes CSV")
    return {places[0]: np.array([parse_box(text.split(","), "--box") for text in box])}


def _look(detector: Detector, image: Path, picture: npt.NDArray[np.uint8], boxes: Boxes | None) -> Faces:
    if boxes is None:
        return detector.find(picture)
    check_inside(image, picture, boxes)
    return detector.predict(picture, boxes)


def _write(found: Sequence[Predicted], out: Path | None) -> None:
    if out is None:
        print(as_json(found))
        return
    with whole_file(out) as beside:
        if out.suffix == ".csv":
            write_table(beside, rows(found), COLUMNS)
        else:
            beside.write_text(as_json(found) + "\n", encoding="utf-8")
    print(f"{out}: {sum(len(one.faces) for one in found)} faces in {len(found)} images")


def as_json(found: Sequence[Predicted]) -> str:
    """A list with an object for each face, one line each; what the model does not know is null."""
    lines = [
        json.dumps({"image": str(one.image)} | face, ensure_ascii=False)
        for one in found
        for face in _objects(one.faces)
    ]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def _objects(faces: Faces) -> list[dict[str, Any]]:
    columns = {
        "box": listed(faces.boxes),
        "score": listed(faces.scores, 3),
        "landmarks": listed(faces.points),
        "errors": listed(faces.errors),
        "visible": listed(faces.visible, 3),
    }
    return [dict(zip(columns, face, strict=True)) for face in zip(*columns.values(), strict=True)]


def rows(found: Sequence[Predicted]) -> list[dict[str, object]]:
    """A row of COLUMNS for each point."""
    return [
        dict(zip(COLUMNS, (str(one.image), face, point, x, y, error, visible), strict=True))
        for one in found
        for face, content in enumerate(_objects(one.faces))
        for point, ((x, y), error, visible) in enumerate(
            zip(content["landmarks"], content["errors"], content["visible"], strict=True)
        )
    ]


def drawn(picture: npt.NDArray[np.uint8], faces: Faces) -> npt.NDArray[np.uint8]:
    """A copy of a picture (H, W, 3) RGB with boxes, and over them points as large as suits each face."""
    radii = np.maximum(RADIUS, geometry.square_side(faces.boxes) / FACE_PER_RADIUS).tolist()
    for box, radius in zip(faces.boxes, radii, strict=True):
        picture = draw_box(picture, box, max(1, round(radius / 2)))
    for points, radius in zip(faces.points, radii, strict=True):
        picture = draw_points(picture, points, radius)
    return picture


def _write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    encoded, content = cv2.imencode(".png", picture[..., ::-1])
    assert encoded
    with whole_file(path) as beside:
        beside.write_bytes(content.tobytes())
