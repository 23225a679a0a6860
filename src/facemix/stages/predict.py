"""`facemix predict`: the landmarks of faces in pictures, as JSON or CSV, and drawn."""

import csv
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
from facemix.training.landmarker import Landmarker
from facemix.training.processes import choose_device

Boxes = npt.NDArray[np.float64]

HEADER = ["image", "x0", "y0", "x1", "y1"]
"""Of a CSV of boxes."""
SUFFIXES = (".json", ".csv")
FACE_PER_RADIUS = 120
"""Longer side of a face's box / radius of its drawn points."""
_SURROGATES = re.compile("[\ud800-\udfff]")  # how Python shows bytes of a name that are no UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One face of one picture."""

    image: Path
    """As the user named it."""
    face: int
    """Number of the face in its picture, in the order of the boxes."""
    box: npt.NDArray[np.float64]
    """(4,) xyxy in pixels of the picture."""
    landmarks: npt.NDArray[np.float64]
    """(K, 2) pixels of the picture, to two decimals."""


def predict(
    images: Sequence[Path],
    model: Path,
    box: Sequence[str] = (),
    boxes: Path | None = None,
    out: Path | None = None,
    overlay: Path | None = None,
) -> None:
    """Predicts landmarks and writes them to a file, or as JSON to the standard output.

    Args:
        images: the pictures.
        model: a folder as `facemix train` writes it.
        box: `X0,Y0,X1,Y1`, tight around the landmarks, of each face of the only picture.
        boxes: a CSV of such boxes for many pictures. Without either each picture is one face that fills it.
        out: a .json or .csv file.
        overlay: a folder for the pictures with boxes and points drawn in.

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
    places = [_place(image) for image in images]
    if len(set(places)) < len(places):
        twice = next(image for image, place in zip(images, places, strict=True) if places.count(place) > 1)
        raise FacemixError(f"{twice}: given twice; name each picture once, and give its faces as boxes")
    common = Path(os.path.commonpath([place.parent for place in places]))
    # The place below what all pictures share and the whole name: no two pictures come to one file.
    drawings = [
        overlay / place.relative_to(common).with_name(f"{place.name}.png") for place in places if overlay is not None
    ]
    read = {*places, *([_place(boxes)] if boxes is not None else [])}
    for target in [*drawings, *([out] if out is not None else [])]:
        if _place(target) in read:
            raise FacemixError(
                f"{target}: would be overwritten, but it is one of the inputs; give another --out or --overlay"
            )
    given = _given(images, places, box, boxes)
    landmarker = Landmarker.load(model, str(choose_device("auto")))
    if given is None:
        print(
            "no boxes given: each picture is treated as one face that fills it; use --box or --boxes for anything else",
            file=sys.stderr,
        )
    predictions: list[Prediction] = []
    broken: list[BrokenFace] = []
    for image, place in tqdm(list(zip(images, places, strict=True)), "predicting", unit="image", disable=None):
        try:
            picture = read_image(image)
            chosen = _filling(picture, landmarker) if given is None else given[place]
            check_inside(image, picture, chosen)
        except BrokenFace as error:
            broken.append(error)
            continue
        points = landmarker.predict(picture, chosen).astype(np.float64).round(2)
        found = [Prediction(image=image, face=k, box=chosen[k], landmarks=points[k]) for k in range(len(chosen))]
        predictions += found
        if overlay is not None:
            _write_picture(drawings[places.index(place)], drawn(picture, found))
    if broken:
        listed = "\n".join(f"  {error}" for error in broken)
        raise FacemixError(
            f"{len(broken)} of {len(images)} images cannot be used; correct them or leave them out:\n{listed}"
        )
    if out is None:
        print(as_json(predictions))
        return
    with whole_file(out) as beside:
        if out.suffix == ".csv":
            write_table(beside, rows(predictions))
        else:
            beside.write_text(as_json(predictions) + "\n", encoding="utf-8")
    print(f"{out}: {len(predictions)} faces in {len(images)} images")


def as_json(predictions: Sequence[Prediction]) -> str:
    """A list with an object for each face: image, box and landmarks; one line each."""
    objects = (
        {"image": str(face.image), "box": face.box.tolist(), "landmarks": face.landmarks.tolist()}
        for face in predictions
    )
    return "[\n" + ",\n".join(json.dumps(content, ensure_ascii=False) for content in objects) + "\n]"


def rows(predictions: Sequence[Prediction]) -> list[dict[str, object]]:
    """A row for each point: image, face, point, x, y."""
    return [
        {"image": str(face.image), "face": face.face, "point": point, "x": x, "y": y}
        for face in predictions
        for point, (x, y) in enumerate(face.landmarks.tolist())
    ]


def drawn(picture: npt.NDArray[np.uint8], faces: Sequence[Prediction]) -> npt.NDArray[np.uint8]:
    """A copy of a picture (H, W, 3) RGB with boxes, and over them points as large as suits each face."""
    radii = [max(RADIUS, float(geometry.square_side(face.box)) / FACE_PER_RADIUS) for face in faces]
    for face, radius in zip(faces, radii, strict=True):
        picture = draw_box(picture, face.box, max(1, round(radius / 2)))
    for face, radius in zip(faces, radii, strict=True):
        picture = draw_points(picture, face.landmarks, radius)
    return picture


def parse_box(values: Sequence[str], where: str) -> list[float]:
    """The four numbers of a box.

    Args:
        values: the numbers as text.
        where: what the message names.

    Raises:
        FacemixError: not four, not finite numbers, or no extent.
    """
    found = f"{where}: found {','.join(values)}"
    if len(values) != 4:
        raise FacemixError(f"{found}: {len(values)} values, expected 4: x0,y0,x1,y1 in pixels")
    try:
        x0, y0, x1, y1 = box = [float(value) for value in values]
    except ValueError:
        raise FacemixError(f"{found}, expected four numbers: x0,y0,x1,y1 in pixels") from None
    if not np.isfinite(box).all():
        raise FacemixError(f"{found}, expected finite numbers")
    if x1 <= x0 or y1 <= y0:
        raise FacemixError(f"{found}: a box without width or height, expected x0 < x1 and y0 < y1")
    return box


def _given(
    images: Sequence[Path], places: Sequence[Path], box: Sequence[str], boxes: Path | None
) -> dict[Path, Boxes] | None:
    """The boxes (n, 4) of each place, or None where the user gave none."""
    if boxes is not None:
        by_place = _read_boxes(boxes, set(places))
        missing = [image for image, place in zip(images, places, strict=True) if place not in by_place]
        if missing:
            raise FacemixError(
                f"{boxes}: no row for {missing[0]}" + _and_more(missing) + "; add its boxes, or leave the image out"
            )
        return by_place
    if not box:
        return None
    if len(images) != 1:
        raise FacemixError(f"--box is for one picture, found {len(images)}; give the boxes of several with --boxes CSV")
    return {places[0]: np.array([parse_box(text.split(","), "--box") for text in box])}


def _read_boxes(path: Path, places: set[Path]) -> dict[Path, Boxes]:
    """The boxes (n, 4) of each picture that a CSV names; all of them must be among `places`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FacemixError(f"{path}: not a readable CSV ({error}), expected the header {','.join(HEADER)}") from None
    header = lines[0][1] if lines else []
    if header != HEADER:
        raise FacemixError(f"{path}: found the header {','.join(header)!r}, expected {','.join(HEADER)!r}")
    boxes: dict[Path, list[list[float]]] = {}
    unknown: list[str] = []
    for number, (image, *values) in lines[1:]:
        box = parse_box(values, f"{path}, line {number}")
        place = _place(Path(image))
        if place in places:
            boxes.setdefault(place, []).append(box)
        else:
            unknown.append(f"line {number} has {image}")
    if unknown:
        raise FacemixError(f"{path}: {unknown[0]}, which is not among the images" + _and_more(unknown))
    return {place: np.array(found) for place, found in boxes.items()}


def _and_more(listed: Sequence[object]) -> str:
    return f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""


def _place(image: Path) -> Path:
    """Where an image is: equal for `a.jpg`, `./a.jpg` and `b/../a.jpg`; links are other places than what they link."""
    return Path(os.path.normpath(image.absolute()))


def _filling(picture: npt.NDArray[np.uint8], landmarker: Landmarker) -> Boxes:
    """The box (1, 4) of a face that fills the picture."""
    height, width = picture.shape[:2]
    return landmarker.filling(width, height)


def _write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    encoded, content = cv2.imencode(".png", picture[..., ::-1])
    assert encoded
    with whole_file(path) as beside:
        beside.write_bytes(content.tobytes())
