"""A face: an image, the points of a scheme on it, and where both came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from facemix.faces.schemes import Scheme

UNLABELLED, HIDDEN, VISIBLE = 0, 1, 2
"""States of a point, as COCO counts them."""

STAND_IN = "stand-in"
"""Subset of rendered faces that stand in for real ones."""
STAND_IN_SHOWN = "stand-in (rendered, not real photographs)"
"""What they are called wherever a result shows them."""


class File(Protocol):
    """A file of a set, which is only read: a `Path`, or a member of a tar (`facemix.faces.tars.Member`).

    As text it is what messages call it.
    """

    @property
    def name(self) -> str:
        """Without its folder."""

    def exists(self) -> bool:
        """Whether it, or the tar that holds it, is there."""

    def read_bytes(self) -> bytes:
        """All of it.

        Raises:
            OSError: it cannot be read.
            BrokenFace: the tar holds something else there.
        """

    def read_text(self, encoding: str) -> str:
        """All of it, as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One annotated face of a source, as a format's reader yields it; the image is not decoded yet."""

    id: str
    """Name within the source: the image's path without extension, with `/` (`helen/trainset/2908549_1`)."""
    subset: str
    """The source's own subset (`helen/trainset`); empty where the format has none."""
    photo: str
    """Faces with equal `photo` were cut from one photograph or one rendered identity: a split never parts them."""
    image: File
    landmarks: npt.NDArray[np.float32]
    """(K, 2) x, y in pixels of the image; 0-based, integers at pixel centres; in the order of the scheme; NaN where
    unlabelled."""
    states: npt.NDArray[np.uint8]
    """(K,) UNLABELLED, HIDDEN or VISIBLE."""
    scheme: Scheme
    split: str = ""
    """The format's official split: train, validation, test or challenging; empty where it has none."""
    files: tuple[Path, ...]
    """Every file on disk that the reader needs for this face, the image or its tar first: what an import copies."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What else the files say of the face or its picture by name: columns, fields, attributes."""


class BrokenFace(ValueError):  # noqa: N818 - a finding about a face, as often listed as raised
    """A face that cannot be used: which file, what was found, what was expected."""

    def __init__(self, path: File, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
