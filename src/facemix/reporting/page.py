"""A report as plain data, and the one self-contained HTML file that it becomes.

A report is a list of sections, a section a list of pieces; what a piece looks like is the template's (`report.html`).
Text may hold `code` in backticks; everything is escaped.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import cv2
import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from facemix.errors import FacemixError
from facemix.reporting import figures

QUALITY = 82
"""Of JPEG pictures."""
_CSS_DPI = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """In the place of a piece that is not there."""

    kind: ClassVar[str] = "missing"
    what: str
    command: str
    """What makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    kind: ClassVar[str] = "picture"
    data: str
    """A data URI."""
    width: int
    """As shown, pixels."""
    height: int
    alt: str
    """What it shows, for those who cannot see it."""
    caption: str
    wide: bool = False
    """Too wide to shrink to the width of a phone: it scrolls in a box of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Small pictures beside each other."""

    kind: ClassVar[str] = "gallery"
    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell of each is its header."""
    words: bool = False
    """Of sentences, not of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text to be shown as it is."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Pieces that are seen when their summary is clicked."""

    kind: ClassVar[str] = "more"
    summary: str
    pieces: Sequence["Piece"]


Piece = Text | Missing | Picture | Gallery | Table | Code | More


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str
    """Its anchor."""
    title: str
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    question: str
    answer: str
    """In words."""
    status: str
    """supported, refuted or undecided."""
    picture: Picture | Missing
    """That shows it."""
    advice: str
    """What to do next."""
    notes: Sequence[str]
    """What must be known before anything else is read."""
    sections: Sequence[Section]


def html(report: Report) -> str:
    """The report as one file that loads nothing; equal reports give equal text."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["inline"] = inline
    template = (files("facemix.reporting") / "report.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(report=report) + "\n"


def inline(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    parts = [Markup("<code>{}</code>" if i % 2 else "{}").format(part) for i, part in enumerate(text.split("`"))]
    return Markup("").join(parts)


def photograph(image: npt.NDArray[np.uint8], *, alt: str, caption: str, wide: bool = False) -> Picture:
    """An image (H, W, 3) RGB as a JPEG."""
    quality = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, data = cv2.imencode(".jpg", image[..., ::-1], quality)
    height, width = image.shape[:2]
    return Picture(data=_uri("jpeg", data.tobytes()), width=width, height=height, alt=alt, caption=caption, wide=wide)


def chart(path: Path, *, alt: str, caption: str, wide: bool = True) -> Picture:
    """A picture of `figures` as it is, its letters as large as those of the text.

    Raises:
        FacemixError: it is no readable picture.
    """
    data = path.read_bytes()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise FacemixError(f"{path}: not a readable picture; run `dvc repro`")
    height, width = (round(pixels * _CSS_DPI / figures.DPI) for pixels in image.shape[:2])
    return Picture(data=_uri("png", data), width=width, height=height, alt=alt, caption=caption, wide=wide)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
