"""Label tables: where the points of a scheme are on the head's mesh.

A table is a YAML file: built in (`data/labels/NAME.yaml`), or a user's own (`data/schemes/NAME.mesh.yaml`). For each
point of the scheme it says one of

    nose_tip: 297                                             a vertex of the MakeHuman hm08 base mesh
    jaw_2: [5236, 868]                                        several: their mean
    jaw_3: {triangle: [5, 6, 7], weights: [0.2, 0.3, 0.5]}    a place on the triangle of three vertices
    right_pupil: {pupil: right}                               the pupil of the person's own right eye
"""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.schemes import Scheme
from facemix.files import read_text
from facemix.render.marks import vertex_rows
from facemix.render.surfaces import Array

BUILT_IN = Path(__file__).parent / "data" / "labels"
OWN = ".mesh.yaml"
"""How the files of a user's own tables end."""
ANNOTATED = "ibug68"
"""The scheme of which it is known where people set the points (`facemix.render.labels`)."""
SIDES = ("left", "right")
TOLERANCE = 1e-3  # by which the weights of a triangle may miss 1; they are scaled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The places of a scheme's K points on the head."""

    scheme: Scheme
    vertices: NDArray[np.int64]
    """(K, m) rows of `Head.vertices`."""
    weights: Array
    """(K, m), adding up to 1 for each point; pupils have only 0."""
    pupils: Mapping[int, str]
    """The points that are pupils, and of which eye, `left` or `right`: eyes turn, so no vertex follows them."""

    def of(self, vertices: Array) -> Array:
        """The points (K, 3) on a head of these vertices (v, 3); a pupil's are 0."""
        points: Array = (self.weights[:, :, None] * vertices[self.vertices]).sum(1)
        return points

    def visible(self, seen: NDArray[np.bool_]) -> list[bool]:
        """Whether each point can be seen: more than half of its weight lies on vertices that can.

        Args:
            seen: (v + 2,) of the vertices and both pupils, as `facemix.render.visibility` has it.
        """
        share = (self.weights * seen[self.vertices]).sum(1)
        share[list(self.pupils)] = [seen[len(seen) - len(SIDES) + SIDES.index(side)] for side in self.pupils.values()]
        return [bool(value) for value in share > 0.5 + TOLERANCE]

    def digest(self) -> str:
        """Changes when a point, its place or the order does."""
        content = hashlib.sha256("\n".join(self.scheme.points).encode())
        content.update(self.vertices.tobytes() + self.weights.tobytes() + repr(sorted(self.pupils.items())).encode())
        return content.hexdigest()[:8]


@functools.cache
def ibug68() -> Table:
    """The 68 points of 300-W."""
    return load("ibug68")


def names(folder: Path = schemes.FOLDER) -> list[str]:
    """The schemes that have a table: built in, and the user's own in `folder`."""
    return sorted(
        {path.stem for path in BUILT_IN.glob("*.yaml")} | {path.name[: -len(OWN)] for path in folder.glob(f"*{OWN}")}
    )


def load(name: str, folder: Path = schemes.FOLDER) -> Table:
    """The table of a scheme, built in or of the user's own folder.

    Raises:
        FacemixError: no such table or scheme, or the two do not fit.
    """
    path = _file(name, folder)
    return parse(_content(path), schemes.load(name, folder), str(path))


def parse(content: object, scheme: Scheme, where: str) -> Table:
    """The table of a mapping as it stands in a YAML file.

    Args:
        content: what the file holds.
        scheme: whose points it places.
        where: its file, for messages.

    Raises:
        FacemixError: another scheme's, a point is missing or unknown, a place cannot be; names `where` and the key.
    """
    found = _mapping(content, where, "the keys scheme, source and places")
    for key in found:
        if key not in ("scheme", "source", "places"):
            raise FacemixError(f"{where}: {key}: no such key; known here: scheme, source, places")
    if found.get("scheme") != scheme.name:
        _refuse(f"{where}: scheme", found.get("scheme"), f"{scheme.name!r}, as the file is called")
    stated = _mapping(found.get("places"), f"{where}: places", "the points of the scheme with their places")
    _check_points(stated, scheme, f"{where}: places")
    places = [_place(stated[point], f"{where}: places: {point}") for point in scheme.points]
    width = max(len(vertices) for vertices, _, _ in places)
    rows, weights = np.zeros((len(places), width), np.int64), np.zeros((len(places), width))
    for k, (vertices, shares, _) in enumerate(places):
        rows[k, : len(vertices)], weights[k, : len(vertices)] = vertices, shares
    pupils = {k: side for k, (_, _, side) in enumerate(places) if side}
    return Table(scheme=scheme, vertices=rows, weights=weights, pupils=pupils)


def _file(name: str, folder: Path) -> Path:
    built_in, own = BUILT_IN / f"{name}.yaml", folder / f"{name}{OWN}"
    known = names(folder)
    if name not in known:
        listed = f"those of {', '.join(known)} do; yours is a file {own}"
        if name in schemes.names(folder):
            raise FacemixError(f"scheme {name!r}: no table says where its points are on the rendered head; {listed}")
        raise FacemixError(f"scheme {name!r}: not found{_hint(name, known)}; rendered faces need a table, and {listed}")
    if built_in.exists() and own.exists():
        raise FacemixError(f"{own}: a table of this scheme is built in; give your scheme another name")
    return own if own.exists() else built_in


def _content(path: Path) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(read_text(path))
    except YAMLError as error:
        raise FacemixError(f"{path}: not valid YAML: {error}") from None


def _check_points(stated: Mapping[Any, Any], scheme: Scheme, where: str) -> None:
    unknown = [str(point) for point in stated if point not in scheme.points]
    if unknown:
        hint = _hint(unknown[0], scheme.points)
        raise FacemixError(f"{where}: {unknown[0]}: scheme {scheme.name} has no such point{hint}")
    missing = [point for point in scheme.points if point not in stated]
    if missing:
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise FacemixError(
            f"{where}: found {len(stated)} points, expected the {len(scheme)} of {scheme.name}; missing: {listed}"
        )


def _place(value: object, where: str) -> tuple[list[int], list[float], str]:
    """Rows of vertices, their weights, and the side of a pupil or nothing."""
    if isinstance(value, Mapping) and set(value) == {"pupil"}:
        if value["pupil"] not in SIDES:
            _refuse(f"{where}: pupil", value["pupil"], "left or right")
        return [], [], str(value["pupil"])
    if isinstance(value, Mapping) and set(value) == {"triangle", "weights"}:
        rows = _rows(value["triangle"], f"{where}: triangle")
        if len(rows) != 3:
            _refuse(f"{where}: triangle", value["triangle"], "three vertices")
        return rows, _weights(value["weights"], f"{where}: weights"), ""
    rows = _rows(value if isinstance(value, list) else [value], where)
    return rows, [1 / len(rows)] * len(rows), ""


def _rows(value: object, where: str) -> list[int]:
    known = vertex_rows()
    if not isinstance(value, list) or not value:
        _refuse(where, value, "a vertex, a list of vertices, {triangle: ..., weights: ...} or {pupil: left or right}")
    for number in value:
        if not isinstance(number, int) or isinstance(number, bool) or number not in known:
            _refuse(where, number, "the number of a vertex of the hm08 base mesh that belongs to the head")
    return [known[number] for number in value]


def _weights(value: object, where: str) -> list[float]:
    if not isinstance(value, list) or len(value) != 3 or any(type(x) not in (int, float) or not x >= 0 for x in value):
        _refuse(where, value, "three numbers, at least 0")
    total = sum(value)
    if not abs(total - 1) <= TOLERANCE:
        _refuse(where, value, f"numbers that add up to 1; these add up to {total:g}")
    return [x / total for x in value]


def _mapping(value: object, where: str, expected: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        _refuse(where, value, expected)
    return value


def _refuse(where: str, found: object, expected: str) -> NoReturn:
    raise FacemixError(f"{where}: found {found!r}, expected {expected}")


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
