"""Landmark schemes: which points a face, or another object, has, and all that follows from them.

A scheme is a small YAML file (docs/schemes.md): built in, or one of the user's own in data/schemes/. A pack and a model
carry theirs as a plain dict, so what reads those needs no YAML.
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.files import read_text

BUILT_IN = Path(__file__).parent / "schemes_data"
FOLDER = Path("data/schemes")
"""Where a user's own schemes are, from the project's root."""

BOX_SIZES = ("box_side", "box_diagonal")
"""Face sizes that every scheme has: those of the tight box around the points."""

TAKEN = frozenset(
    {"frontal", "turned", "face", "subset", "photo", "yaw", "nme", "digest", "strategy", "seed"}
    | {"alpha", "n_real", "n_synthetic"}
)
"""Names that no region has: a sweep's tables of errors by region have them beside the regions."""

_REQUIRED = ("name", "source", "points", "mirror", "regions", "skeleton", "normalizer")
_OPTIONAL = ("outline", "touching", "face_sizes", "layout", "derived")
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Neighbouring points in the order of the curve."""

    points: tuple[int, ...]
    closed: bool
    """The last point is a neighbour of the first."""

    def pairs(self, lag: int = 1) -> list[tuple[int, int]]:
        """Points that are `lag` places apart on the curve."""
        n = len(self.points)
        return [(self.points[i], self.points[(i + lag) % n]) for i in range(n if self.closed else n - lag)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSize:
    """A distance that errors are measured in."""

    between: tuple[tuple[int, ...], tuple[int, ...]]
    """Two groups of points: the distance is that between their means."""
    thresholds: tuple[float, ...]
    """Errors in % of the size above which a face counts as failed; the AUC reaches to the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scheme:
    """K points and what is known of them."""

    name: str
    points: tuple[str, ...]
    """Unique names; equal names in two schemes mean the same place. left_ and right_ are the person's own sides."""
    mirror: npt.NDArray[np.int64]
    """(K,) read-only left-right partners; a point without a partner is its own: mirrored[i] = points[mirror[i]]."""
    regions: Mapping[str, tuple[int, ...]]
    skeleton: tuple[Curve, ...]
    outline: tuple[int, ...]
    """Points on the visible outline, which wander over the head as it turns."""
    touching: tuple[tuple[int, ...], ...]
    """Pairs of points that may coincide beside neighbours of the skeleton, such as upper and lower lids; none stated:
    any two points of a region may."""
    face_sizes: Mapping[str, FaceSize]
    normalizer: str
    """The face size under the NME unless params.yaml says another: a key of `face_sizes`, or one of `BOX_SIZES`."""
    source: str
    """Where the scheme comes from."""

    def __len__(self) -> int:
        return len(self.points)

    def index(self, name: str) -> int:
        """The place of a point.

        Raises:
            FacemixError: no point has this name.
        """
        return _index({point: i for i, point in enumerate(self.points)}, name, f"scheme {self.name}")

    def mirrored(self, points: npt.NDArray[np.floating], width: int) -> npt.NDArray[np.floating]:
        """Points of the left-right mirrored image.

        Args:
            points: (..., K, 2) x, y in pixels, 0-based pixel centres.
            width: width of the image in pixels.
        """
        mirrored = points[..., self.mirror, :].copy()
        mirrored[..., 0] = width - 1 - mirrored[..., 0]
        return mirrored

    def sides(self) -> tuple[list[int], list[int]]:
        """Points of one side and, in their order, their partners on the other: of the eyes where it has such a region.

        Points of the outline are left out. Where nothing has a partner, both are empty.
        """
        inner = [i for i in range(len(self)) if i not in self.outline]
        own = self.regions.get("eyes", inner)
        first = sorted(i for i in own if i < self.mirror[i])
        return first, [int(self.mirror[i]) for i in first]

    def as_dict(self) -> dict[str, Any]:
        """The scheme as its YAML file states it, in plain types: `parse` makes the same scheme of it."""

        def named(indices: Iterable[int]) -> list[str]:
            return [self.points[i] for i in indices]

        return {
            "name": self.name,
            "source": self.source,
            "points": list(self.points),
            "mirror": [named((i, int(j))) for i, j in enumerate(self.mirror) if i < j],
            "regions": {name: named(points) for name, points in self.regions.items()},
            "skeleton": [named([*curve.points, *curve.points[:1]] if curve.closed else curve.points)
                         for curve in self.skeleton],
            "outline": named(self.outline),
            "touching": [named(pair) for pair in self.touching],
            "face_sizes": {
                name: {"between": [named(group) for group in size.between], "thresholds": list(size.thresholds)}
                for name, size in self.face_sizes.items()
            },
            "normalizer": self.normalizer,
        }  # fmt: skip


def shared(one: Scheme, other: Scheme) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places (s,) in each of two schemes of the points that both name, in the order of the other one."""
    places = {name: place for place, name in enumerate(one.points)}
    pairs = [(places[name], place) for place, name in enumerate(other.points) if name in places]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def in_scheme(points: npt.NDArray[np.floating], scheme: Scheme, other: Scheme) -> npt.NDArray[np.floating]:
    """What belongs to points (..., K, d) of a scheme for those (..., M, d) of another one: by their names, else NaN."""
    if scheme.points == other.points:
        return points
    own, theirs = shared(scheme, other)
    found = np.full((*points.shape[:-2], len(other), points.shape[-1]), np.nan, dtype=points.dtype)
    found[..., theirs, :] = points[..., own, :]
    return found


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all schemes: built in, and the user's own in `folder`."""
    found = {path.stem for place in (BUILT_IN, folder) for path in place.glob("*.yaml")}
    return sorted(name for name in found if not name.endswith(".mesh"))  # these place points on the rendered head


def load(name: str, folder: Path = FOLDER) -> Scheme:
    """A scheme, built in or of the user's own folder.

    Raises:
        FacemixError: no such scheme, or its file does not describe one.
    """
    path = _file(name, folder)
    scheme = parse(_content(path), str(path))
    if scheme.name != name:
        raise FacemixError(f"{path}: name: found {scheme.name!r}, expected {name!r}, as the file is called")
    return scheme


@functools.cache
def ibug68() -> Scheme:
    """The 68 points of 300-W."""
    return load("ibug68")


def layout(name: str, folder: Path = FOLDER) -> npt.NDArray[np.float64] | None:
    """Typical positions (K, 2) of a scheme's points for pictures of it: x and y from 0 to 1, y down; None: not stated.

    They are no part of the scheme: nothing that is trained or measured depends on them.
    """
    found = _content(_file(name, folder)).get("layout")
    return None if found is None else np.array(found, dtype=np.float64)


def derived(name: str, folder: Path = FOLDER) -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Points of a scheme -> groups of points of other schemes, of which each has its place at the mean.

    They are no part of the scheme: nothing that is trained or measured depends on them.
    """
    found = _content(_file(name, folder)).get("derived") or {}
    return {point: _groups(groups) for point, groups in found.items()}


def parse(content: object, where: str) -> Scheme:
    """The scheme of a mapping as it stands in a YAML file.

    Args:
        content: what the file holds, or `Scheme.as_dict`.
        where: its file, for messages.

    Raises:
        FacemixError: a key is missing or unknown, or has a value that cannot be; the message names `where` and the key.
    """
    found = _mapping(content, where, "keys with values")
    _known(found, (*_REQUIRED, *_OPTIONAL), where)
    for key in _REQUIRED:
        if key not in found:
            raise FacemixError(f"{where}: {key} is missing")
    points = _points(found["points"], f"{where}: points")
    known = {point: i for i, point in enumerate(points)}
    mirror = _mirror(found["mirror"], known, f"{where}: mirror")
    face_sizes = _face_sizes(found.get("face_sizes") or {}, known, mirror, f"{where}: face_sizes")
    _check_layout(found.get("layout"), len(points), f"{where}: layout")
    _check_derived(found.get("derived") or {}, known, f"{where}: derived")
    return Scheme(
        name=_name(found["name"], f"{where}: name"),
        points=points,
        mirror=mirror,
        regions=_regions(found["regions"], known, f"{where}: regions"),
        skeleton=_skeleton(found["skeleton"], known, f"{where}: skeleton"),
        outline=_indices(found.get("outline") or [], known, f"{where}: outline"),
        touching=_touching(found.get("touching") or [], known, f"{where}: touching"),
        face_sizes=face_sizes,
        normalizer=_normalizer(found["normalizer"], face_sizes, f"{where}: normalizer"),
        source=_text(found["source"], f"{where}: source"),
    )


def _file(name: str, folder: Path) -> Path:
    found = [path for place in (BUILT_IN, folder) for path in place.glob("*.yaml") if path.stem == name]
    if len(found) == 2:
        raise FacemixError(f"{found[1]}: a scheme of this name is built in; give yours another name")
    if not found:
        raise FacemixError(
            f"scheme {name!r}: not found{_hint(name, names(folder))}; `facemix scheme` lists all, and a new one is a "
            f"file {folder}/NAME.yaml"
        )
    return found[0]


def _content(path: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML  # late: a training reads its scheme from its pack and has no YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(read_text(path))
    except YAMLError as error:
        raise FacemixError(f"{path}: not valid YAML: {error}") from None
    return _mapping(content, str(path), "keys with values")


def _refuse(where: str, found: object, expected: str) -> FacemixError:
    return FacemixError(f"{where}: found {found!r}, expected {expected}")


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _mapping(value: object, where: str, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(where, value, expected)
    return value


def _list(value: object, where: str, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse(where, value, expected)
    return value


def _known(keys: Iterable[object], expected: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in expected:
            hint = _hint(str(key), expected) or f"; known here: {', '.join(expected)}"
            raise FacemixError(f"{where}: {key}: no such key{hint}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _refuse(where, value, "a text")
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _refuse(where, value, "a name of small letters, digits and _")
    return value


def _index(known: Mapping[str, int], name: object, where: str) -> int:
    if not isinstance(name, str) or name not in known:
        raise FacemixError(f"{where}: no point is called {name!r}{_hint(str(name), known)}")
    return known[name]


def _points(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return _numbered(value, where)
    found = _list(value, where, "a list of names, or a count and a prefix")
    points = tuple(_name(name, f"{where}[{i}]") for i, name in enumerate(found))
    _check_once(points, where)
    if not points:
        raise _refuse(where, found, "at least one point")
    return points


def _numbered(value: Mapping[str, Any], where: str) -> tuple[str, ...]:
    keys = ("count", "prefix")
    _known(value, keys, where)
    count, prefix = (value.get(key) for key in keys)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise _refuse(f"{where}: count", count, "a number of points, at least 1")
    return tuple(f"{_name(prefix, f'{where}: prefix')}{i}" for i in range(count))


def _check_once(points: Iterable[object], where: str) -> None:
    seen: set[object] = set()
    for point in points:
        if point in seen:
            raise FacemixError(f"{where}: {point} stands there twice")
        seen.add(point)


def _indices(value: object, known: Mapping[str, int], where: str) -> tuple[int, ...]:
    found = _list(value, where, "a list of points")
    indices = tuple(_index(known, name, where) for name in found)
    _check_once(found, where)
    return indices


def _mirror(value: object, known: Mapping[str, int], where: str) -> npt.NDArray[np.int64]:
    order = np.arange(len(known))
    taken: dict[int, int] = {}
    for i, pair in enumerate(_list(value, where, "a list of pairs, [] if all points are on the midline")):
        indices = _indices(pair, known, f"{where}[{i}]")
        if len(indices) != 2:
            raise _refuse(f"{where}[{i}]", pair, "two points")
        for name, a, b in zip(pair, indices, indices[::-1], strict=True):
            if a in taken:
                raise FacemixError(f"{where}[{i}]: {name} already has a partner in pair {taken[a]}")
            taken[a], order[a] = i, b
    order.flags.writeable = False
    return order


def _touching(value: object, known: Mapping[str, int], where: str) -> tuple[tuple[int, ...], ...]:
    pairs = tuple(_indices(pair, known, f"{where}[{i}]") for i, pair in enumerate(_list(value, where, "pairs")))
    for i, pair in enumerate(pairs):
        if len(pair) != 2:
            raise _refuse(f"{where}[{i}]", list(pair), "two points")
    return pairs


def _regions(value: object, known: Mapping[str, int], where: str) -> dict[str, tuple[int, ...]]:
    regions = {}
    for key, points in _mapping(value, where, "regions with their points").items():
        if _name(key, where) in TAKEN:
            raise FacemixError(f"{where}: {key}: tables of errors have a column of this name; give it another name")
        regions[key] = _indices(points, known, f"{where}: {key}")
        if key == "all" and len(regions[key]) < len(known):
            raise _refuse(f"{where}: {key}", points, "all points, as tables call the whole so; give it another name")
        if not points:
            raise _refuse(f"{where}: {key}", points, "at least one point")
    return regions


def _skeleton(value: object, known: Mapping[str, int], where: str) -> tuple[Curve, ...]:
    return tuple(
        _curve(curve, known, f"{where}[{i}]") for i, curve in enumerate(_list(value, where, "a list of curves"))
    )


def _curve(value: object, known: Mapping[str, int], where: str) -> Curve:
    found = _list(value, where, "a list of neighbouring points")
    closed = len(found) > 3 and found[0] == found[-1]
    points = _indices(found[:-1] if closed else found, known, where)
    if len(points) < 2:
        raise _refuse(where, found, "at least two points")
    return Curve(points=points, closed=closed)


def _face_sizes(
    value: object, known: Mapping[str, int], mirror: npt.NDArray[np.int64], where: str
) -> dict[str, FaceSize]:
    sizes = {}
    for key, content in _mapping(value, where, "face sizes with their points").items():
        here = f"{where}: {key}"
        if _name(key, where) in BOX_SIZES:
            raise FacemixError(f"{here}: every scheme has this size already; give it another name")
        stated = _mapping(content, here, "between and thresholds")
        _known(stated, ("between", "thresholds"), here)
        sizes[key] = FaceSize(
            between=_between(stated.get("between"), known, mirror, f"{here}: between"),
            thresholds=_thresholds(stated.get("thresholds"), f"{here}: thresholds"),
        )
    return sizes


def _between(
    value: object, known: Mapping[str, int], mirror: npt.NDArray[np.int64], where: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    found = _list(value, where, "two lists of points")
    if len(found) != 2 or not all(found):
        raise _refuse(where, value, "two lists of points")
    first, second = (_indices(group, known, where) for group in found)
    _check_once([name for group in found for name in group], where)
    mirrored = [{int(mirror[i]) for i in group} for group in (first, second)]
    if mirrored not in ([set(first), set(second)], [set(second), set(first)]):
        raise FacemixError(f"{where}: the mirror image of {value} is between other points: the size would change in it")
    return first, second


def _thresholds(value: object, where: str) -> tuple[float, ...]:
    found = _list(value, where, "a list of errors in %")
    usable = all(isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < float("inf") for x in found)
    if not found or not usable:
        raise _refuse(where, value, "at least one error in %, above 0")
    _check_once(found, where)
    return tuple(found)


def _normalizer(value: object, face_sizes: Mapping[str, FaceSize], where: str) -> str:
    choices = (*face_sizes, *BOX_SIZES)
    if not isinstance(value, str) or value not in choices:
        raise _refuse(where, value, f"one of {', '.join(choices)}{_hint(str(value), choices)}")
    return value


def _check_layout(value: object, n: int, where: str) -> None:
    if value is None:
        return
    found = _list(value, where, "x and y of each point")
    if len(found) != n:
        raise FacemixError(f"{where}: found {len(found)} positions, expected {n}, one of each point")
    for i, position in enumerate(found):
        numbers = isinstance(position, list) and all(type(x) in (int, float) and 0 <= x <= 1 for x in position)
        if not numbers or len(position) != 2:
            raise _refuse(f"{where}[{i}]", position, "[x, y], both from 0 to 1")


def _groups(value: list[Any]) -> tuple[tuple[str, ...], ...]:
    """Groups of names from a list of lists, or from one list of names."""
    return tuple(map(tuple, value)) if value and isinstance(value[0], list) else (tuple(value),)


def _check_derived(value: object, known: Mapping[str, int], where: str) -> None:
    for point, groups in _mapping(value, where, "points with the names whose mean they are").items():
        _index(known, point, where)
        here, expected = f"{where}: {point}", "names of another scheme's points, or several lists of them"
        if len({isinstance(group, list) for group in _list(groups, here, expected)}) > 1:
            raise _refuse(here, groups, expected)
        for group in _groups(groups):
            if not group:
                raise _refuse(here, groups, "at least one name in each list")
            for name in group:
                _name(name, here)
            _check_once(group, here)
