"""Which scheme a file's points are of, and which of its points each one means: by their number, and by their names.

Names are the scheme's, where case and what divides words do not count, or numbers, all with the same prefix if any; `0`
and `00` are one number.
"""

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.schemes import Scheme

_SHOWN = 5


# Which scheme


def of_count(counts: Iterable[int]) -> list[str]:
    """The names of the schemes that have one of these numbers of points."""
    wanted = set(counts)
    return [name for name, scheme in _known().items() if len(scheme) in wanted]


def of_names(names: Collection[str]) -> list[str]:
    """The names of the schemes whose points have these names or numbers: those that have just these, else more."""
    if not names:
        return []
    plain = {_plain(name) for name in names}
    of_scheme = {name: {_plain(point) for point in scheme.points} for name, scheme in _known().items()}
    same = [name for name, points in of_scheme.items() if plain == points]
    more = [name for name, points in of_scheme.items() if plain < points]
    numbers = _numbers(names)
    return same or more or (of_count([_count(numbers)]) if numbers else [])


def required(
    scheme: Scheme | None,
    fitting: Collection[str],
    where: str,
    *,
    names: Collection[str] = (),
    counts: Iterable[int] = (),
) -> Scheme:
    """The scheme that was asked for, or the only one that fits.

    Args:
        fitting: the names of the schemes that fit.
        where: a file or folder, for messages.
        names: what the files call the points; for messages.
        counts: how many points their faces have; for messages.

    Raises:
        FacemixError: none was asked for, and none fits or several do.
    """
    if scheme is not None:
        return scheme
    if len(fitting) == 1:
        return schemes.load(next(iter(fitting)))
    if any(not name.strip() for name in names):
        found = ["points without a name"]
    else:
        found = [f"{len(names)} points called {_listed(sorted(names))}"] if names else []
    if numbers := sorted(counts):
        found.append(f"faces of {' or '.join(map(str, numbers))} points")
    stated = " and ".join(found) or "no points"
    result = f"{', '.join(sorted(fitting))} fit" if fitting else f"none that is known fits{_nearest(names)}"
    raise FacemixError(
        f"{where}: cannot tell the scheme of its points: found {stated}, {result}; say it with --scheme NAME"
        + ("" if fitting else ", or describe your own first, in data/schemes/NAME.yaml (docs/schemes.md)")
    )


def own(name: str, scheme: Scheme | None, format: str) -> Scheme:  # noqa: A002
    """The one scheme of a format, whatever a user's own scheme of as many points is called.

    Raises:
        FacemixError: another scheme was asked for, with another number of points.
    """
    expected = schemes.load(name)
    if scheme is not None and len(scheme) != len(expected):
        raise FacemixError(
            f"scheme {scheme.name}: has {len(scheme)} points, but the format {format} has {len(expected)}; "
            f"use the scheme {name}"
        )
    return scheme or expected


def wrong_count(counts: Iterable[int], scheme: Scheme, where: str) -> FacemixError:
    """The error for a file none of whose faces has the scheme's number of points."""
    found = sorted(set(counts))
    return FacemixError(
        f"{where}: faces of {' or '.join(map(str, found))} points, expected {len(scheme)} as in the scheme "
        f"{scheme.name}; {_other_scheme(*found)}"
    )


# Which point


def indices(names: Collection[str], scheme: Scheme, where: str, first: int | None = None) -> dict[str, int]:
    """For each name of a file the point of the scheme that it means. Not every point has to have a name.

    Numbers run from 0 to K - 1 where 0 is among them, from 1 to K where K is.

    Args:
        names: all names in the file.
        where: the file, for messages.
        first: what a tool calls its first point, where neither 0 nor K is among the numbers.

    Raises:
        FacemixError: names that the scheme does not have, or numbers that are not those of its points.
    """
    known = {_plain(name): i for i, name in enumerate(scheme.points)}
    if all(_plain(name) in known for name in names):
        return {name: known[_plain(name)] for name in names}
    numbers = _numbers(names)
    if numbers is None:
        raise FacemixError(f"{where}: {_unknown(names, scheme)}")
    low, high, count = min(numbers.values()), max(numbers.values()), len(scheme)
    start = 0 if low == 0 else 1 if high == count else first
    enough = 2 * len(set(numbers.values())) > count
    if start is None or low < start or high >= start + count or not enough:
        raise FacemixError(
            f"{where}: points with numbers from {low} to {high}, expected 0 to {count - 1} or 1 to {count} for the "
            f"scheme {scheme.name}; {_other_scheme(_count(numbers))}"
        )
    return {name: number - start for name, number in numbers.items()}


def order(names: Sequence[str], scheme: Scheme, where: str) -> list[int]:
    """For each point of the scheme its place in a file's list of all names.

    Raises:
        FacemixError: as `indices`; a name stands there twice, or is missing.
    """
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise FacemixError(f"{where}: {twice!r} stands there twice, expected each point once; correct the names")
    places = {index: names.index(name) for name, index in indices(names, scheme, where).items()}
    if len(places) < len(scheme):
        missing = [point for i, point in enumerate(scheme.points) if i not in places]
        raise FacemixError(
            f"{where}: {len(names)} points, expected {len(scheme)} of the scheme {scheme.name} ({_listed(missing)} "
            f"missing); {_other_scheme(len(names))}"
        )
    return [places[i] for i in range(len(scheme))]


def _known() -> Mapping[str, Scheme]:
    return _loaded(schemes.FOLDER.absolute())


@functools.cache
def _loaded(folder: Path) -> Mapping[str, Scheme]:
    return {name: schemes.load(name, folder) for name in schemes.names(folder)}


def _numbers(names: Collection[str]) -> dict[str, int] | None:
    """Name -> number, or None where a name is none."""
    matches = {name: re.fullmatch(r"([a-z_. -]*?)[_. -]?([0-9]{1,6})", name.strip().lower()) for name in names}
    if not names or not all(matches.values()) or len({match[1] for match in matches.values() if match}) > 1:
        return None
    return {name: int(match[2]) for name, match in matches.items() if match}


def _count(numbers: Mapping[str, int]) -> int:
    return max(numbers.values()) + (0 in numbers.values())


def _other_scheme(*counts: int) -> str:
    found = of_count(counts)
    return f"use the scheme {' or '.join(found)}" if found else "use or write a scheme of these points"


def _unknown(names: Collection[str], scheme: Scheme) -> str:
    known = {_plain(point) for point in scheme.points}
    unknown = sorted(name for name in names if _plain(name) not in known)
    expected = f"expected its names ({', '.join(scheme.points[:_SHOWN])}, ...) or numbers, 0 to {len(scheme) - 1} or 1 "
    expected += f"to {len(scheme)}"
    if not unknown[0].strip():
        return f"points without a name, {expected}; name them"
    called = repr(unknown[0]) + _near(unknown[0], scheme) + (f", nor {_listed(unknown[1:])}" if unknown[1:] else "")
    return f"no point of the scheme {scheme.name} is called {called}; {expected}; rename them, or use another scheme"


def _nearest(names: Collection[str]) -> str:
    """The scheme that shares most names, and a name that is near, for a message; "" where none shares any."""
    plain = {_plain(name) for name in names}
    shared = {name: len(plain & {_plain(point) for point in scheme.points}) for name, scheme in _known().items()}
    best = max(shared, key=lambda name: (shared[name], -abs(len(_known()[name]) - len(plain))), default="")
    if not best or not shared[best]:
        return ""
    scheme = _known()[best]
    known = {_plain(point) for point in scheme.points}
    unknown = next(name for name in sorted(names) if _plain(name) not in known)
    return f" (the nearest, {best}, has {shared[best]} of them, but not {unknown!r}{_near(unknown, scheme)})"


def _near(name: str, scheme: Scheme) -> str:
    known = {_plain(point): point for point in scheme.points}
    near = difflib.get_close_matches(_plain(name), list(known), n=1)
    return f" (did you mean {known[near[0]]!r}?)" if near else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
