"""The 68 marks by which the head is modelled, dressed and framed: vertices of the MakeHuman hm08 base mesh.

They are in the order of the points of 300-W, and were chosen by hand on the template head. Where labels lie is said by
label tables (`facemix.render.tables`). Those may move; the marks stay, so that new labels change no picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from facemix.render.surfaces import Array

# fmt: off
MARKS = (
    # jaw
    (5237,), (5236, 868), (5098,), (869, 5242), (895,), (893,), (891,), (914, 727), (747,), (7616, 7449), (7593,),
    (7595,), (7597,), (7574, 11851), (11713,), (11845, 7573), (11846,),
    # brows
    (255, 5262), (206, 224), (204, 222), (205, 223), (208, 228), (6983, 7001), (6980, 6997), (6979, 6996),
    (6981, 6998), (7024, 11870),
    # nose
    (133,), (131,), (201,), (297,), (286,), (313,), (317,), (7076,), (7055,),
    # eyes
    (24,), (0,), (54,), (69,), (47,), (41,), (6853,), (6838,), (6784,), (6808,), (6825,), (6831,),
    # outer lip
    (425,), (5354,), (450,), (455,), (7210,), (11956,), (7185,), (7166,), (7241,), (492,), (486,), (406,),
    # inner lip
    (3708,), (470,), (474,), (7226,), (10376,), (7236,), (493,), (481,),
)
# fmt: on
"""Of each mark the numbers of one vertex, or of two whose middle it is."""


@cache
def vertex_rows() -> Mapping[int, int]:
    """The row in `Head.vertices` of each vertex of the base mesh that the head has."""
    with (files("facemix.render") / "data" / "head.npz").open("rb") as file, np.load(file) as data:
        return {int(number): row for row, number in enumerate(data["original_ids"])}


def of(vertices: Array) -> Array:
    """The marks (68, 3) on a head of these vertices (v, 3)."""
    middle: Array = (vertices[_rows()[:, 0]] + vertices[_rows()[:, 1]]) / 2
    return middle


@cache
def _rows() -> NDArray[np.int64]:
    """Two rows (68, 2) of `Head.vertices` for each mark; one twice where it is a vertex."""
    rows = vertex_rows()
    return np.array([[rows[mark[0]], rows[mark[-1]]] for mark in MARKS])
