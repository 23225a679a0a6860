"""Points of one scheme made from those of another: by equal names, and as means of several."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, Face
from facemix.faces.schemes import Scheme

Groups = tuple[tuple[int, ...], ...]
"""For each point of the new scheme those of the old one whose mean it is; none: it cannot be made."""

FEWEST = 2
"""Points of a face."""


def groups(source: Scheme, target: Scheme, derived: Mapping[str, tuple[tuple[str, ...], ...]]) -> Groups:
    """What each point of `target` is made from: the point of its name, else the first derivation that is whole.

    Args:
        derived: of `target`, as `schemes.derived` returns it.
    """
    known = {name: i for i, name in enumerate(source.points)}

    def of(point: str) -> tuple[int, ...]:
        choices = ((point,), *derived.get(point, ()))
        found = next((names for names in choices if all(name in known for name in names)), ())
        return tuple(known[name] for name in found)

    return tuple(of(point) for point in target.points)


def between(source: Scheme, target: str) -> tuple[Scheme, Groups]:
    """A scheme and what each of its points is made from.

    Raises:
        FacemixError: there is no such scheme, or fewer than two of its points can be made, which are no face; the
            message says which schemes can.
    """
    scheme = schemes.load(target)
    found = groups(source, scheme, schemes.derived(target))
    made_of = sum(map(bool, found))
    if made_of < FEWEST:
        near = ", ".join(f"{name} ({made} of {total} points)" for name, made, total in reachable(source))
        raise FacemixError(
            f"scheme {target}: {made_of or 'none'} of its {len(scheme)} points can be made from {source.name}, "
            f"expected two or more: a point of the same name, or one that `derived` states; from {source.name} "
            f"can be made: {near or 'nothing'}. Choose one of these, or state `derived` in a scheme of your own"
        )
    return scheme, found


def reachable(source: Scheme) -> list[tuple[str, int, int]]:
    """Other schemes of which two points or more can be made, the most complete first: name, points made, all."""
    found = []
    for name in schemes.names():
        scheme = schemes.load(name)
        made = sum(map(bool, groups(source, scheme, schemes.derived(name))))
        if made >= FEWEST and name != source.name:
            found.append((name, made, len(scheme)))
    return sorted(found, key=lambda row: (-row[1] / row[2], row[0]))


def sources(target: str) -> list[tuple[str, int]]:
    """Other schemes that some point of `target` can be made from: name, points made; the most first.

    Raises:
        FacemixError: there is no such scheme.
    """
    scheme, derived = schemes.load(target), schemes.derived(target)
    made = {name: sum(map(bool, groups(schemes.load(name), scheme, derived))) for name in schemes.names()}
    found = [(name, count) for name, count in made.items() if count and name != target]
    return sorted(found, key=lambda row: (-row[1], row[0]))


def unknown_names(target: str) -> list[str]:
    """Names in the derivations of a scheme that no known scheme has: a mistake, or of a scheme that is elsewhere.

    Raises:
        FacemixError: there is no such scheme.
    """
    known = {point for name in schemes.names() for point in schemes.load(name).points}
    stated = (name for groups_ in schemes.derived(target).values() for group in groups_ for name in group)
    return sorted(set(stated) - known)


def reduced(face: Face, scheme: Scheme, made_of: Groups) -> Face:
    """The face with the points of another scheme.

    A mean is unlabelled where one of its points is, else hidden where one of them is.
    """
    landmarks = means(face.landmarks, made_of).astype(np.float32)
    hidden = np.array([any(face.states[i] == HIDDEN for i in group) for group in made_of])
    labelled = np.isfinite(landmarks).all(axis=1)
    states = np.where(labelled, np.where(hidden, HIDDEN, VISIBLE), UNLABELLED).astype(np.uint8)
    return replace(face, landmarks=landmarks, states=states, scheme=scheme)


def means(points: npt.NDArray[np.floating], made_of: Groups) -> npt.NDArray[np.float64]:
    """Points (..., M, 2) of the new scheme from those (..., K, 2) of the old; NaN where one is or none is used."""
    points = points.astype(np.float64)
    unknown = np.full_like(points[..., 0, :], np.nan)
    return np.stack([points[..., list(group), :].mean(axis=-2) if group else unknown for group in made_of], axis=-2)
