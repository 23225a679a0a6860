"""The face finders that there are. Another one is a function and a row here."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.finding import blazeface
from facemix.finding.found import Found

Finder = Callable[[npt.NDArray[np.uint8]], Found]
"""A picture (H, W, 3) uint8 RGB in, its faces out."""

FINDERS: dict[str, Finder] = {"blazeface_short_range": blazeface.find}
DEFAULT = "blazeface_short_range"
"""The one that new models are made for."""


def find(name: str, image: npt.NDArray[np.uint8]) -> Found:
    """The faces that the finder of a name finds in a picture (H, W, 3) uint8 RGB.

    Raises:
        FacemixError: there is none of this name, or its files are missing or damaged.
    """
    if name not in FINDERS:
        raise FacemixError(f"finder: found {name!r}, expected one of {', '.join(FINDERS)}; give boxes instead")
    return FINDERS[name](image)
