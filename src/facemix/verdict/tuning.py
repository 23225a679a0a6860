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

Settings = tuple[tuple[str, Any], ...]

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
    missing: tuple[int, ...] = ()
    """Seeds that other tries of the mix have and these settings lack: what has any is left out."""


def at_best(tries: Sequence[Try]) -> tuple[list[int], list[Choice]]:
    """Which trainings are of the best settings of their mix, in their order; and what these are.

    Tries of a mix are judged by their mean over the seeds that all of them have, so it is enough to train the best one
    with the others. A mix whose best settings lack seeds is left out. No choice is told where nothing varies.

    Raises:
        FacemixError: what varies is the architecture or the number of faces seen, tries of a mix have no seed in
            common, or trainings cannot be told apart by their settings.
    """
    varied = _varied(tries)
    if varied:
        _check_alike(tries, varied)
    groups: dict[MixName, dict[Settings, dict[int, list[int]]]] = {}
    for i, one in enumerate(tries):
        settings = tuple((key, one.settings[key]) for key in varied if key in one.settings)
        groups.setdefault(one.mix, {}).setdefault(settings, {}).setdefault(one.seed, []).append(i)
    kept: list[int] = []
    choices = []
    for mix, own in groups.items():
        errors = {
            settings: {seed: _one_of(mix, [tries[i] for i in of]) for seed, of in seeds.items()}
            for settings, seeds in own.items()
        }
        best = _best(mix, errors)
        missing = set().union(*own.values()) - own[best].keys()
        kept += [] if missing else [i for of in own[best].values() for i in of]
        choices.append(Choice(mix=mix, settings=dict(best), tries=len(own), missing=tuple(sorted(missing))))
    return sorted(kept), choices if varied else []


def _varied(tries: Iterable[Try]) -> list[str]:
    """The settings of which there are several values."""
    values: dict[str, list[Any]] = {}
    for one in tries:
        for key, value in one.settings.items():
            if value not in values.setdefault(key, []):
                values[key].append(value)
    return [key for key, own in values.items() if len(own) > 1]


def _one_of(mix: MixName, own: Sequence[Try]) -> float:
    """The validation NME of trainings of one mix, settings and seed; one may stand there twice."""
    if len({one.val_nme for one in own}) > 1:
        raise FacemixError(
            f"{mix}: found two trainings with seed {own[0].seed} and the same settings, expected one, or settings that "
            "tell them apart; leave one out"
        )
    return own[0].val_nme


def _check_alike(tries: Sequence[Try], varied: Sequence[str]) -> None:
    """Raises FacemixError where trainings differ in more than what each strategy may have of its own."""
    check_architecture(varied)
    named: dict[tuple[str, str], set[bool]] = {}
    for one in tries:
        for key in varied:
            named.setdefault((one.mix.strategy, key), set()).add(key in one.settings)
    for (strategy, key), with_it in named.items():
        if len(with_it) > 1:
            raise FacemixError(
                f"found trainings of {strategy} with and without a value of {key}, expected one for each; fill it in"
            )
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
                f"as many of each; sweep each value of {_listed(budget or varied)} by itself"
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


def _best(mix: MixName, tries: Mapping[Settings, Mapping[int, float]]) -> Settings:
    """The settings of the least validation NME, given by seed; of equals what has most seeds."""
    shared = sorted(set.intersection(*(set(own) for own in tries.values())))
    if not shared:
        keys = _listed([key for key, _ in next(iter(tries))])
        raise FacemixError(
            f"{mix}: found values of {keys} without a common seed, expected one seed that all have; sweep it"
        )
    return min(
        tries,
        key=lambda one: (float(np.mean([tries[one][seed] for seed in shared])), -len(tries[one]), repr(one)),
    )


def said(settings: Mapping[str, Any]) -> str:
    """Settings in words."""
    return ", ".join(f"{key} = {value}" for key, value in settings.items()) or "the usual settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Mixes of a strategy and alpha with the same choice: each number of real faces with each of synthetic ones."""

    strategy: str
    alpha: float | None
    n_real: Sequence[int]
    n_synthetic: Sequence[int]
    """Both ascending, empty where they do not matter."""
    settings: Mapping[str, Any]
    tries: int
    missing: tuple[int, ...]

    def __str__(self) -> str:
        alpha = "" if self.alpha is None else f" at alpha = {self.alpha:g}"
        counts = ((self.n_real, "real"), (self.n_synthetic, "synthetic"))
        faces = [f"{_listed([f'{n:,}' for n in own], 'or')} {kind}" for own, kind in counts if own]
        beside = f" with {_listed(faces)} faces" if faces else ""
        tried = f"best of {self.tries} on validation" if self.tries > 1 else "the only ones tried"
        left_out = ""
        if self.missing:
            seeds = _listed([str(seed) for seed in self.missing])
            left_out = f", but left out: not trained with seed {seeds}, as others are; sweep that"
        return f"{self.strategy}{alpha}{beside}: {said(self.settings)}, {tried}{left_out}"


def grouped(choices: Sequence[Choice]) -> list[Alike]:
    """The choices, those together that are alike."""
    rows: dict[tuple[Any, ...], set[int]] = {}
    for one in choices:
        alike = (one.mix.strategy, one.mix.alpha, tuple(one.settings.items()), one.tries, one.missing)
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
            missing=missing,
        )
        for (strategy, alpha, settings, tries, missing, n_real), n_synthetic in groups.items()
    ]


def sentences(choices: Sequence[Choice]) -> list[str]:
    """What each mix stands at, and a warning where not all were tried as often; nothing where nothing varies."""
    warning = unequal(choices)
    return [*map(str, grouped(choices)), *([warning] if warning else [])]


def unequal(choices: Sequence[Choice]) -> str | None:
    """The sentence that warns where not all numbers of faces of all strategies were tried as often; else None.

    Each alpha is a try, too.
    """
    tries: dict[tuple[str, int, int], int] = {}
    for one in choices:
        key = (one.mix.strategy, one.mix.n_real, one.mix.n_synthetic)
        tries[key] = tries.get(key, 0) + one.tries
    least, most = (end(tries.values(), default=0) for end in (min, max))
    if least == most:
        return None
    alphas = ", each alpha a try" if len({one.mix.alpha for one in choices} - {None}) > 1 else ""
    return f"Not all were tried as often: {least} to {most} times{alphas}. What was tried more often has an advantage."


def _listed(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
