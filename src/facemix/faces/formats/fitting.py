"""Which schemes fit what files say of their points: the number of points, and their names where they are stated."""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.schemes import Scheme


def of_count(counts: Iterable[int]) -> list[str]:
    """The names of the schemes that have one of these numbers of points."""
    wanted = set(counts)
    return [name for name, scheme in _known(schemes.FOLDER.absolute()).items() if len(scheme) in wanted]


@functools.cache
def _known(folder: Path) -> Mapping[str, Scheme]:
    return {name: schemes.load(name, folder) for name in schemes.names(folder)}


def of_points(points: Sequence[str]) -> list[str]:
    """The names of the schemes that have these points, in any order; by their number where the names say nothing."""
    return [
        name for name in of_count([len(points)]) if order(points, _known(schemes.FOLDER.absolute())[name]) is not None
    ]


def only(fitting: Sequence[str], where: str) -> Scheme:
    """The scheme that was told from files.

    Raises:
        FacemixError: no scheme fits, or several do.
    """
    if len(fitting) == 1:
        return schemes.load(fitting[0])
    found = f"{' and '.join(fitting)} fit" if fitting else "none that is known fits"
    raise FacemixError(f"{where}: which scheme its points have is not certain: {found}; say it with --scheme NAME")


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


def order(points: Sequence[str], scheme: Scheme) -> list[int] | None:
    """For each point of the scheme its place among `points`, or None where the names do not fit.

    Case and what divides words do not count. Names without a word (`0`, `kp_1`) say nothing but the order.
    """
    if len(points) != len(scheme):
        return None
    if _numbered(points):
        return list(range(len(points)))
    places = {_plain(name): i for i, name in enumerate(points)}
    if len(places) != len(points) or {_plain(name) for name in scheme.points} != places.keys():
        return None
    return [places[_plain(name)] for name in scheme.points]


def checked_order(points: Sequence[str], scheme: Scheme, where: str) -> list[int]:
    """As `order`, for names that must fit.

    Raises:
        FacemixError: they do not; the message has names that are near.
    """
    found = order(points, scheme)
    if found is not None:
        return found
    known = {_plain(name): name for name in scheme.points}
    if unknown := [name for name in points if _plain(name) not in known and not _numbered(points)]:
        near = difflib.get_close_matches(_plain(unknown[0]), list(known), n=1)
        hint = f" (did you mean {known[near[0]]!r}?)" if near else ""
        raise FacemixError(
            f"{where}: no point of the scheme {scheme.name} is called {unknown[0]!r}{hint}, nor are {len(unknown) - 1} "
            f"others of {len(points)}; rename them, empty the list if the order is the scheme's, or use another scheme"
        )
    if twice := sorted({name for name in points if list(points).count(name) > 1}):
        raise FacemixError(f"{where}: {twice[0]!r} stands there twice, expected each point once; correct the names")
    missing = sorted(set(scheme.points) - {known.get(_plain(name), "") for name in points})
    lacks = f" ({', '.join(missing[:5])} missing)" if missing and not _numbered(points) else ""
    raise FacemixError(
        f"{where}: {len(points)} points, expected {len(scheme)} of the scheme {scheme.name}{lacks}; "
        f"{_others(len(points))}"
    )


def _others(count: int) -> str:
    fitting = of_count([count])
    return f"use the scheme {' or '.join(fitting)}" if fitting else "use or write a scheme of these points"


def wrong_count(counts: Iterable[int], scheme: Scheme, where: str) -> FacemixError:
    """The error for a file none of whose faces has the scheme's number of points."""
    found = sorted(set(counts))
    fitting = of_count(found)
    advice = f"use the scheme {' or '.join(fitting)}" if fitting else "use or write a scheme of so many points"
    return FacemixError(
        f"{where}: faces of {' or '.join(map(str, found))} points, expected {len(scheme)} as in the scheme "
        f"{scheme.name}; {advice}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _numbered(points: Sequence[str]) -> bool:
    """Names that are one prefix and consecutive numbers."""
    matches = [re.fullmatch(r"([a-zA-Z_. -]*?)[_ -]?([0-9]+)", str(name)) for name in points]
    if not points or not all(matches) or len({match[1] for match in matches if match}) != 1:
        return False
    numbers = [int(match[2]) for match in matches if match]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))
