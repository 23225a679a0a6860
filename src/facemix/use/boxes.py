"""Boxes of faces that somebody gives: on the command line, or as a CSV for many pictures."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError

Boxes = npt.NDArray[np.float64]

HEADER = ["image", "x0", "y0", "x1", "y1"]
"""Of a CSV of boxes."""


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


def read_boxes(path: Path, places: set[Path]) -> dict[Path, Boxes]:
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
        place = place_of(Path(image))
        if place in places:
            boxes.setdefault(place, []).append(box)
        else:
            unknown.append(f"line {number} has {image}")
    if unknown:
        raise FacemixError(f"{path}: {unknown[0]}, which is not among the images" + and_more(unknown))
    return {place: np.array(found) for place, found in boxes.items()}


def and_more(listed: Sequence[object]) -> str:
    """How many there are beside the first, in words."""
    return f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""


def place_of(image: Path) -> Path:
    """Where an image is: equal for `a.jpg`, `./a.jpg` and `b/../a.jpg`; links are other places than what they link."""
    return Path(os.path.normpath(image.absolute()))
