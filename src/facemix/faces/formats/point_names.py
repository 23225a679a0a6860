"""What annotation tools call points, and which points of a scheme they mean."""

import difflib
import re
from collections.abc import Collection

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.schemes import Scheme

_SHOWN = 5


def indices(names: Collection[str], scheme: Scheme, where: str, first: int | None = None) -> dict[str, int]:
    """For each name of a file the point of the scheme that it means. Not every point has to have a name.

    Names are the scheme's, where case and what divides words do not count, or numbers, all with the same prefix if
    any: from 0 to K - 1 where 0 is among them, from 1 to K where K is. `0` and `00` are one number.

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
            f"scheme {scheme.name}; {_other_scheme(numbers)}"
        )
    return {name: number - start for name, number in numbers.items()}


def fitting(names: Collection[str]) -> list[str]:
    """The schemes whose points have these names or numbers: all of them if some scheme has just these, else more."""
    loaded = {name: schemes.load(name) for name in schemes.names()}
    if not names:
        return []
    plain = {_plain(name) for name in names}
    same, more = [], []
    for name, scheme in loaded.items():
        points = {_plain(point) for point in scheme.points}
        if plain == points:
            same.append(name)
        elif plain < points:
            more.append(name)
    if same or more:
        return same or more
    return of_count(_count(numbers)) if (numbers := _numbers(names)) else []


def of_count(count: int) -> list[str]:
    """The schemes of so many points."""
    return [name for name in schemes.names() if len(schemes.load(name)) == count]


def required(scheme: Scheme | None, found: Collection[str], where: str) -> Scheme:
    """The scheme that was asked for, or the only one that fits.

    Raises:
        FacemixError: none was asked for, and none fits or several do.
    """
    if scheme is not None:
        return scheme
    if len(found) == 1:
        return schemes.load(next(iter(found)))
    fit = f"{' and '.join(sorted(found))} fit" if found else "none that is known fits"
    raise FacemixError(f"{where}: which scheme its points have is not certain: {fit}; say it with --scheme NAME")


def _numbers(names: Collection[str]) -> dict[str, int] | None:
    """Name -> number, or None where a name is none."""
    matches = {name: re.fullmatch(r"([a-z_. -]*?)[_. -]?([0-9]{1,6})", name.strip().lower()) for name in names}
    if not names or not all(matches.values()) or len({match[1] for match in matches.values() if match}) > 1:
        return None
    return {name: int(match[2]) for name, match in matches.items() if match}


def _count(numbers: dict[str, int]) -> int:
    return max(numbers.values()) + (0 in numbers.values())


def _other_scheme(numbers: dict[str, int]) -> str:
    found = of_count(_count(numbers))
    return f"use the scheme {' or '.join(found)}" if found else "use or write a scheme of these points"


def _unknown(names: Collection[str], scheme: Scheme) -> str:
    known = {_plain(point): point for point in scheme.points}
    unknown = sorted(name for name in names if _plain(name) not in known)
    near = difflib.get_close_matches(_plain(unknown[0]), list(known), n=1)
    hint = f" (did you mean {known[near[0]]!r}?)" if near else ""
    shown = ", ".join(map(repr, unknown[1:_SHOWN])) + (f" and {len(unknown) - _SHOWN} more" * (len(unknown) > _SHOWN))
    others = f", nor {shown}" if shown else ""
    expected = ", ".join(scheme.points[:_SHOWN])
    return (
        f"no point of the scheme {scheme.name} is called {unknown[0]!r}{hint}{others}; expected its names ({expected}, "
        f"...) or the numbers 0 to {len(scheme) - 1} or 1 to {len(scheme)}; rename them, or use another scheme"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
