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
        FacemixError: there is no such scheme, or none of its points can be made; the message has those that can.
    """
    scheme = schemes.load(target)
    found = groups(source, scheme, schemes.derived(target))
    if not any(found):
        near = ", ".join(f"{name} ({made} of {total} points)" for name, made, total in reachable(source))
        raise FacemixError(
            f"scheme {target}: none of its {len(scheme)} points has the name of a point of {source.name} or is derived "
            f"from such points; from {source.name} can be made: {near or 'nothing'}. Choose one of these, or state "
            "`derived` in a scheme of your own"
        )
    return scheme, found


def reachable(source: Scheme) -> list[tuple[str, int, int]]:
    """Other schemes of which some point can be made, the most complete first: name, points made, all its points."""
    found = []
    for name in schemes.names():
        scheme = schemes.load(name)
        made = sum(map(bool, groups(source, scheme, schemes.derived(name))))
        if made and name != source.name:
            found.append((name, made, len(scheme)))
    return sorted(found, key=lambda row: (-row[1] / row[2], row[0]))


def reduced(face: Face, scheme: Scheme, made_of: Groups) -> Face:
    """The face with the points of another scheme.

    A mean is unlabelled where one of its points is, else hidden where one of them is.
    """
    landmarks = np.full((len(scheme), 2), np.nan, dtype=np.float32)
    states = np.full(len(scheme), UNLABELLED, dtype=np.uint8)
    for i, group in enumerate(map(list, made_of)):
        if group and (face.states[group] != UNLABELLED).all():
            landmarks[i] = _mean(face.landmarks[group])
            states[i] = HIDDEN if (face.states[group] == HIDDEN).any() else VISIBLE
    return replace(face, landmarks=landmarks, states=states, scheme=scheme)


def _mean(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = points.astype(np.float64).mean(axis=0)
    return mean
