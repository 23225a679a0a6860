"""Each mix of faces at its own best settings, where a sweep tried several, such as `training.learning_rate`.

What suits one strategy may hold another back, so trainings at one learning rate may compare learning rates. Each mix
stands at what is best for it on validation; the test set has no say. That is fair where each was tried as often: the
law is *equal search*. `unequal` says where it was not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemix.errors import FacemixError

ARCHITECTURE = "model."
"""What no strategy may have of its own: all share one architecture."""

BUDGET = ("training.steps", "training.batch_size")
"""What decides how many faces a training sees. Settings of equal budgets compete alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixName:
    """A strategy with its numbers of faces."""

    strategy: str
    alpha: float | None
    n_real: int
    """0 where it needs none."""
    n_synthetic: int
    """0 where it needs none."""

    def __str__(self) -> str:
        name = self.strategy if self.alpha is None else f"{self.strategy} at alpha = {self.alpha:g}"
        counts = ((self.n_real, "real"), (self.n_synthetic, "synthetic"))
        faces = " and ".join(f"{n:,} {kind}" for n, kind in counts if n)
        return f"{name} with {faces} faces" if faces else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One training of a mix."""

    mix: MixName
    settings: Mapping[str, Any]
    """What was swept beside the mix: dotted keys of params.yaml that matter to the strategy."""
    seed: int
    val_nme: float
    faces_seen: int | None
    """By every network behind it; None: not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The settings that a mix stands at."""

    mix: MixName
    settings: Mapping[str, Any]
    """Of the keys that vary between the tries of all mixes."""
    tries: int
    """How many settings were tried."""


def at_best(tries: Sequence[Try]) -> tuple[list[int], list[Choice]]:
    """Which trainings are of the best settings of their mix, in their order; and what these are.

    Tries of a mix are judged by their mean over the seeds that all of them have, so it is enough to train the best one
    with the others. No choice is told where nothing varies.

    Raises:
        FacemixError: what varies is the architecture or the number of faces seen, tries of a mix have no seed in
            common, or its best settings lack seeds that other tries have.
    """
    varied = _varied(tries)
    if not varied:
        return list(range(len(tries))), []
    _check_alike(tries, varied)
    groups: dict[MixName, dict[tuple[tuple[str, Any], ...], list[int]]] = {}
    for i, one in enumerate(tries):
        settings = tuple((key, one.settings[key]) for key in varied if key in one.settings)
        groups.setdefault(one.mix, {}).setdefault(settings, []).append(i)
    kept: list[int] = []
    choices = []
    for mix, own in groups.items():
        best = _best(mix, {settings: {tries[i].seed: tries[i].val_nme for i in of} for settings, of in own.items()})
        kept += own[best]
        choices.append(Choice(mix=mix, settings=dict(best), tries=len(own)))
    return sorted(kept), choices


def _varied(tries: Iterable[Try]) -> list[str]:
    """The settings of which there are several values."""
    values: dict[str, list[Any]] = {}
    for one in tries:
        for key, value in one.settings.items():
            if value not in values.setdefault(key, []):
                values[key].append(value)
    return [key for key, own in values.items() if len(own) > 1]


def _check_alike(tries: Sequence[Try], varied: Sequence[str]) -> None:
    """Raises FacemixError where trainings differ in more than what each strategy may have of its own."""
    check_architecture(varied)
    budget = [key for key in varied if key in BUDGET]
    if any(one.faces_seen is None for one in tries):
        check_budget(varied)
    seen: dict[tuple[str, float | None], set[int]] = {}
    for one in tries:
        seen.setdefault((one.mix.strategy, one.mix.alpha), set()).add(one.faces_seen or 0)
    for (strategy, _), counts in seen.items():
        if len(counts) > 1:
            raise FacemixError(
                f"found trainings of {strategy} that saw {_listed([f'{n:,}' for n in sorted(counts)])} faces, expected "
                f"as many of each, though {_listed(budget or varied)} varies; sweep each budget by itself"
            )


def check_architecture(varied: Iterable[str]) -> None:
    """Raises FacemixError where what varies is the network."""
    if architecture := [key for key in varied if key.startswith(ARCHITECTURE)]:
        raise FacemixError(
            f"found several values of {_listed(architecture)}, expected one, since all strategies share one "
            "architecture; sweep each by itself"
        )


def check_budget(varied: Iterable[str]) -> None:
    """Raises FacemixError where what varies may change the number of faces seen."""
    if budget := [key for key in varied if key in BUDGET]:
        raise FacemixError(
            f"found several values of {_listed(budget)}, expected one, since settings of equal budgets alone compete; "
            "sweep each by itself"
        )


def _best(
    mix: MixName, tries: Mapping[tuple[tuple[str, Any], ...], Mapping[int, float]]
) -> tuple[tuple[str, Any], ...]:
    """The settings of the least validation NME, given by seed."""
    seeds = [own.keys() for own in tries.values()]
    shared = set.intersection(*map(set, seeds))
    if not shared:
        raise FacemixError(f"{mix}: found tries without a common seed, expected one that all have; sweep it")
    best = min(tries, key=lambda settings: float(np.mean([tries[settings][seed] for seed in sorted(shared)])))
    if missing := set.union(*map(set, seeds)) - tries[best].keys():
        raise FacemixError(
            f"{mix}: found {said(dict(best))} best on validation, but not trained with seed "
            f"{' and '.join(map(str, sorted(missing)))}, as others are; sweep that"
        )
    return best


def said(settings: Mapping[str, Any]) -> str:
    """Settings in words."""
    return ", ".join(f"{key} = {value}" for key, value in settings.items()) or "the usual settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Mixes of a strategy and alpha that stand at the same settings, of as many tries: each number with each other."""

    strategy: str
    alpha: float | None
    n_real: Sequence[int]
    n_synthetic: Sequence[int]
    """Both ascending, empty where they do not matter."""
    settings: Mapping[str, Any]
    tries: int

    def __str__(self) -> str:
        alpha = "" if self.alpha is None else f" at alpha = {self.alpha:g}"
        counts = ((self.n_real, "real"), (self.n_synthetic, "synthetic"))
        faces = [f"{_listed([f'{n:,}' for n in own], 'or')} {kind}" for own, kind in counts if own]
        beside = f" with {_listed(faces)} faces" if faces else ""
        tried = f"best of {self.tries} on validation" if self.tries > 1 else "the only ones tried"
        return f"{self.strategy}{alpha}{beside}: {said(self.settings)}, {tried}"


def grouped(choices: Sequence[Choice]) -> list[Alike]:
    """The choices, those together that are alike."""
    rows: dict[tuple[Any, ...], set[int]] = {}
    for one in choices:
        alike = (one.mix.strategy, one.mix.alpha, tuple(one.settings.items()), one.tries)
        rows.setdefault((*alike, one.mix.n_synthetic), set()).add(one.mix.n_real)
    groups: dict[tuple[Any, ...], set[int]] = {}
    for (*about, n_synthetic), n_real in rows.items():
        groups.setdefault((*about, frozenset(n_real)), set()).add(n_synthetic)
    return [
        Alike(
            strategy=strategy,
            alpha=alpha,
            n_real=sorted(n_real - {0}),
            n_synthetic=sorted(n_synthetic - {0}),
            settings=dict(settings),
            tries=tries,
        )
        for (strategy, alpha, settings, tries, n_real), n_synthetic in groups.items()
    ]


def sentences(choices: Sequence[Choice]) -> list[str]:
    """What each mix stands at, and a warning where not all were tried as often; nothing where nothing varies."""
    warning = unequal(choices)
    return [*map(str, grouped(choices)), *([warning] if warning else [])]


def unequal(choices: Sequence[Choice]) -> str | None:
    """The sentence that warns where not all mixes beside one number of real faces were tried as often; else None."""
    tries: dict[int, set[int]] = {}
    for one in choices:
        tries.setdefault(one.mix.n_real, set()).add(one.tries)
    everywhere = tries.get(0, set())  # what needs no real faces stands beside all numbers of them
    uneven = sorted(n for n, own in tries.items() if len(own | everywhere) > 1)
    if not uneven:
        return None
    where = f" with {_listed([f'{n:,}' for n in uneven if n])} real faces" if any(uneven) else ""
    return f"Not all mixes{where} were tried as often. What was tried more often has an advantage."


def _listed(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
