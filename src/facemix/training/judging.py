"""What chooses the best step of a training: real validation faces, or rendered ones where these cannot."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.order import nested_order
from facemix.faces.packs import Pack
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack, validation_error

HELD_OUT = 0.1
"""Share of the synthetic faces that choose the best step where real ones cannot."""

Rows = npt.NDArray[np.int64]


def hold_out(pack: Pack, rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Parts the rows (n,) of a pack in those that train and those that choose the best step.

    A tenth of the photographs is held out, by the seed.

    Raises:
        FacemixError: all faces are of one photograph.
    """
    photos = np.unique(pack.photos[rows])
    if len(photos) < 2:
        raise FacemixError(
            f"n_synthetic: found {len(rows)} synthetic faces of {len(photos)} photographs, expected two or more, as "
            "the best step is chosen on some of them; raise it"
        )
    held = photos[nested_order(photos, seed)[: max(1, int(HELD_OUT * len(photos)))]]
    holds = np.isin(pack.photos[rows], held)
    return rows[~holds], rows[holds]


def error_on(pack: Pack, rows: Rows) -> Callable[[Landmarker], float]:
    """The error of a detector on faces of a pack, in % of the longer side of their boxes: see `validation_error`.

    A detector of another scheme is judged by the points that both schemes name.
    """
    truth = pack.landmarks[rows]

    def error(landmarker: Landmarker) -> float:
        predicted = predict_pack(landmarker, pack, rows)
        _, named = schemes.shared(landmarker.scheme, pack.scheme)
        return validation_error(schemes.in_scheme(predicted, landmarker.scheme, pack.scheme), truth, named)

    return error
