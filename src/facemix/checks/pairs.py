"""Leaks: faces that are judged on and whose photograph was also learned from, or chosen by."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from facemix.config import REPORTS

TABLE, SHEET = REPORTS / "leaks.csv", REPORTS / "leaks.png"
"""Where `facemix leaks` writes the pairs, and the worst of them as pictures."""
SHOWN = 24
"""Pairs on the sheet at most: leaks first."""
COLUMNS = ("kind", "split_a", "split_b", "face_a", "face_b", "similarity")
"""Of the table of pairs. kind: `exact` (equal pixels), `near`, `mirrored`, or `person` (one rendered person)."""

PURPOSES = {
    "train": "training",
    "synthetic": "training",
    "validation": "validation",
    "test": "test",
    "challenging": "test",
    "excluded": "none",
}
"""What the faces of each split are there for, in the order in which a pair names its splits."""

Row = Mapping[str, str]

_CELL = 160  # pixels
_CAPTION = 34
_COLUMNS = 4


def row(kind: str, faces: Sequence[str], splits: Mapping[str, str], similarity: float | None) -> dict[str, str]:
    """A row of the table; its faces stand in the order of `PURPOSES`, then of their names.

    Args:
        faces: the ids of both.
        splits: the split of every face.
        similarity: of their patches; None where they were not compared.
    """
    face_a, face_b = sorted(faces, key=lambda face: (list(PURPOSES).index(splits[face]), face))
    shown = "" if similarity is None else f"{similarity:.4f}"
    return dict(zip(COLUMNS, (kind, splits[face_a], splits[face_b], face_a, face_b, shown), strict=True))


def is_leak(pair: Row) -> bool:
    """Whether the two faces are there for different purposes; an excluded face is there for none."""
    purposes = {PURPOSES[pair["split_a"]], PURPOSES[pair["split_b"]]}
    return len(purposes) == 2 and "none" not in purposes


def rank(pair: Row) -> tuple[bool, float, str, str]:
    """Sorts pairs: leaks first, the most alike first."""
    return not is_leak(pair), -float(pair["similarity"] or 0), pair["face_a"], pair["face_b"]


def counts(pairs: Sequence[Row]) -> dict[tuple[str, str], int]:
    """Pairs by their two splits, leaks first."""
    return dict(Counter((pair["split_a"], pair["split_b"]) for pair in sorted(pairs, key=rank)))


def leaking(pairs: Sequence[Row], purpose: str) -> list[str]:
    """The faces, sorted, that are there for this purpose and part of a leak."""
    return sorted(
        {
            pair[f"face_{side}"]
            for pair in pairs
            for side in "ab"
            if is_leak(pair) and PURPOSES[pair[f"split_{side}"]] == purpose
        }
    )


def sheet(pairs: Sequence[Row], images: Sequence[Sequence[npt.NDArray[np.uint8]]]) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) RGB of pairs side by side, their splits, similarity and names above them.

    Args:
        images: the crops (S, S, 3) RGB of both faces of each pair.
    """
    cells = [_cell(pair, both) for pair, both in zip(pairs, images, strict=True)] or [_caption("no pairs", "")]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % _COLUMNS)
    return np.concatenate([np.concatenate(cells[i : i + _COLUMNS], axis=1) for i in range(0, len(cells), _COLUMNS)])


def _cell(pair: Row, both: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    about = f"{pair['split_a']} / {pair['split_b']}  {pair['kind']} {pair['similarity']}"
    names = "  ".join(pair[key].split("/", 1)[-1][-26:] for key in ("face_a", "face_b"))
    faces = [cv2.resize(image, (_CELL, _CELL), interpolation=cv2.INTER_AREA) for image in both]
    return np.concatenate([_caption(about, names), np.concatenate(faces, axis=1)])


def _caption(*lines: str) -> npt.NDArray[np.uint8]:
    canvas = np.full((_CAPTION, 2 * _CELL, 3), 255, dtype=np.uint8)
    for i, line in enumerate(lines):
        cv2.putText(canvas, line, (3, 13 + 15 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def read() -> list[dict[str, str]] | None:
    """The pairs that the stage found; None where it has not run."""
    if not TABLE.exists():
        return None
    with TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
