"""`facemix gate --min-gain 2%`: whether a strategy is better than real faces alone by enough, for a team's CI."""

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemix import tracking
from facemix.config import ANSWERS, PARAMS_FILE, Params
from facemix.errors import FacemixError
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.files import whole_file
from facemix.sweeps import grid, tables
from facemix.sweeps.grid import Axes, Result
from facemix.sweeps.run import Brought, How, bring
from facemix.verdict import gate as looking
from facemix.verdict import tuning
from facemix.verdict.comparison import BASELINE, CONTROL
from facemix.verdict.gate import Gain, Look
from facemix.verdict.points import budgets

FILE = ANSWERS / "gate.json"
STATUS = {"supported": 0, "refuted": 1, "undecided": 2}
"""Exit status of each verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look came to."""

    look: Look
    strategy: Sequence[Result]
    other: Sequence[Result]
    """One a seed, of the same seeds."""
    tries: tuple[int, int]
    """How many settings were tried for each."""
    total: int
    """Number of real training faces: what `all` means; 0 where it is not known."""
    gain: Gain
    settled: bool
    """Whether the interval decides. If the costs are not equal, the verdict is undecided all the same."""


def gate(strategy: str, settings: Sequence[str], min_gain: str, max_seeds: int, params: Params, how: How) -> int:
    """Adds seeds until the gain is shown to be above the bound or below it; says so in one line and in a file.

    Args:
        strategy: that is asked about.
        settings: `KEY=VALUE` in the place of what params.yaml says; `KEY=VALUE,VALUE` tries several.
        min_gain: the bound, such as `2%`.
        max_seeds: when to give up, three at least.

    Returns:
        The exit status, one of STATUS.

    Raises:
        FacemixError: an option that makes no sense, or as `run.bring` does.
    """
    bound = _share(min_gain)
    if max_seeds < looking.FIRST:
        raise FacemixError(f"--max-seeds: found {max_seeds}, expected {looking.FIRST} or more")
    axes = _axes(strategy, settings, params)
    how = dataclasses.replace(how, needs_errors=True, name=f"gate {strategy}")
    arms = _arms(axes, params, how)
    for look in looking.looks(max_seeds):
        seen = _look(arms, [*range(look.seeds)], look, bound, params, how)
        print(f"{look.seeds} seeds: {_said(seen)}", file=sys.stderr, flush=True)
        if seen.settled:
            break
    sentence = say(seen, bound, max_seeds)
    content = record(seen, bound, max_seeds) | {"sentence": sentence}
    with whole_file(FILE) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with tracking.start(
        name="gate",
        experiment=params.tracking.experiment,
        tags={"strategy": "gate", "verdict": sentence},
        description=sentence,
        params={key: content[key] for key in ("strategy", "alpha", "n_real", "n_synthetic", "min_gain", "max_seeds")},
        patience=tracking.LONG_PATIENCE,
    ) as run:
        run.metrics({"gain": seen.gain.value, "gain_low": seen.gain.low, "gain_high": seen.gain.high})
        run.artifact(FILE)
    print(sentence)
    return STATUS[seen.gain.verdict]


def _share(text: str) -> float:
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*%", text.strip())
    if not found or not -100 < float(found[1]) < 100:
        raise FacemixError(
            f"--min-gain: found {text!r}, expected a share of the NME between -100% and 100%, such as 2%"
        )
    return float(found[1]) / 100


def _axes(strategy: str, settings: Sequence[str], params: Params) -> Axes:
    """The strategy and what it is compared with, as a grid without seeds."""
    other = CONTROL if budgets(strategy) > budgets(BASELINE) else BASELINE
    if given := [one for one in settings if one.partition("=")[0] in ("seeds", "strategies")]:
        raise FacemixError(
            f"{given[0]}: expected a setting such as alpha=0.3; the gate chooses seeds, and --strategy one"
        )
    for key, values in grid.parse_axes(settings, params).items():
        if key in grid.AXES and len(values) > 1:
            raise FacemixError(f"{key}: found {len(values)} values, expected one; `facemix sweep` trains grids")
    if other == CONTROL and not params.control_seeds:
        raise FacemixError(
            f"{PARAMS_FILE}: found control_seeds: [], but {strategy} is compared with {CONTROL}, real faces alone at "
            f"equal cost; set control_seeds to some of the seeds, such as [{params.seeds[0]}], and commit that"
        )
    axes = grid.parse_axes([*settings, f"strategies={strategy},{other}"], params)
    tuning.check_architecture(_tried(axes))
    tuning.check_budget(_tried(axes))
    return axes


def _tried(axes: Axes) -> list[str]:
    """The settings of which several values are tried."""
    return [key for key, values in axes.items() if "." in key and len(values) > 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two that are compared."""

    strategy: str
    axes: Axes
    """One value of each key, and no seeds."""
    tries: int = 1
    """How many settings were tried."""


def _arms(axes: Axes, params: Params, how: How) -> tuple[Arm, Arm]:
    """The strategy and what it is compared with, each at its own best settings on validation where several are tried.

    All are tried with the first seed alone.
    """
    names = [str(name) for name in axes["strategies"]]
    if not _tried(axes):
        own, other = (Arm(strategy=name, axes=axes) for name in names)
        return own, other
    brought = _bring(axes | {"seeds": [0]}, params, how)
    tested = [one for one in brought.results if one.point.strategy in names]
    kept, choices = tables.at_best_settings(tested, brought.total)
    for line in tuning.sentences(choices):
        print(line, file=sys.stderr, flush=True)
    tries = {one.mix.strategy: one.tries for one in choices}
    best = {one.point.strategy: {key: [value] for key, value in one.point.settings} for one in kept}
    first, second = (best[name] for name in names)
    if all(first[key] == second[key] for key in first.keys() & second.keys()):
        grids = [axes | first | second] * 2
    else:
        grids = [_alone(axes, name, best[name]) for name in names]
    own, other = (
        Arm(strategy=name, axes=own_axes, tries=tries.get(name, 1)) for name, own_axes in zip(names, grids, strict=True)
    )
    return own, other


def _alone(axes: Axes, strategy: str, settings: Axes) -> Axes:
    """A grid of one strategy, of the keys that matter to it; the number of real faces stays, as it is checked."""
    return {"strategies": [strategy], "n_real": axes["n_real"], **settings}


def _bring(axes: Axes, params: Params, how: How) -> Brought:
    with contextlib.redirect_stdout(sys.stderr):  # of progress; the answer alone is the output
        brought = bring(axes, params, how)
    brought.check()
    if {str(name) for name in axes["strategies"]} - {one.point.strategy for one in brought.results}:
        raise FacemixError("; ".join(brought.unranked))
    return brought


def _look(arms: tuple[Arm, Arm], seeds: Sequence[int], look: Look, bound: float, params: Params, how: How) -> Seen:
    """What the first seeds say."""
    if arms[0].axes == arms[1].axes:
        brought = [_bring(arms[0].axes | {"seeds": [*seeds]}, params, how)] * 2
    else:
        brought = [_bring(arm.axes | {"seeds": [*seeds]}, params, how) for arm in arms]
    own, alone = (
        sorted((one for one in of.results if one.point.strategy == arm.strategy), key=lambda one: one.point.seed)
        for arm, of in zip(arms, brought, strict=True)
    )
    tests = [one.tested() for one in (*own, *alone)]
    if any(not np.array_equal(test.faces, tests[0].faces) for test in tests):
        raise FacemixError(f"{own[0].experiment} and others were tested on different faces; remove the experiments")
    nme = np.stack([test.nme["all"] for test in tests])
    found = looking.gain(nme[: len(own)], nme[len(own) :], tests[0].photos, bound, look.confidence)
    settled = found.verdict != "undecided"
    advantage = own[0].faces_seen - alone[0].faces_seen  # as with mixing at alpha = 0
    if (advantage > 0 and found.verdict == "supported") or (advantage < 0 and found.verdict == "refuted"):
        found = dataclasses.replace(found, verdict="undecided")
    return Seen(
        look=look,
        strategy=own,
        other=alone,
        tries=(arms[0].tries, arms[1].tries),
        total=max(one.total for one in brought),
        gain=found,
        settled=settled,
    )


def say(seen: Seen, bound: float, max_seeds: int) -> str:
    """The answer in one line."""
    verdict, fair = seen.gain.verdict, seen.strategy[0].faces_seen == seen.other[0].faces_seen
    asked = f"{100 * bound:zg} %"
    claim = {
        "supported": f"more than {asked}",
        "refuted": f"less than {asked}",
        "undecided": f"not shown to be above or below {asked}"
        + ("" if fair else ", as they have not seen as many faces")
        + (f" with {max_seeds} seeds" if seen.look.seeds == max_seeds else ""),
    }[verdict]
    return f"{verdict}: {_said(seen)}: {claim}"


def _said(seen: Seen) -> str:
    """The gain with its interval."""
    own, gain = seen.strategy[0], seen.gain
    alpha = dict(own.point.settings).get("alpha")
    name = own.point.strategy + ("" if alpha is None else f" at alpha = {alpha:g}")
    shown = f", {STAND_IN_SHOWN}" if STAND_IN in own.subsets else ""
    ends = f"{_per_cent(gain.low)} to {_per_cent(gain.high)}"
    return (
        f"the gain of {name} with {_faces(seen)} over {seen.other[0].point.strategy}{_tuned(seen)}, the share by which "
        f"its NME is lower, is {_per_cent(gain.value)} ({ends} by the {100 * seen.look.confidence:.1f} % interval of "
        f"{seen.look.seeds} seeds and {len(own.tested().faces)} test faces{shown})"
    )


def _tuned(seen: Seen) -> str:
    own, other = seen.tries
    if own == other == 1:
        return ""
    tried = f"the best of {own}" if own == other else f"its best, of {own} and of {other},"
    return f", each at {tried} settings on validation"


def _faces(seen: Seen) -> str:
    """The numbers of faces that are learned from."""
    n_real = dict(seen.other[0].point.settings)["n_real"]
    real = n_real if n_real != "all" else seen.total or "all"
    synthetic = seen.strategy[0].n_synthetic
    counted = f"{real:,}" if isinstance(real, int) else real
    return f"{counted} real" + (f" and {synthetic:,} synthetic" if synthetic else "") + " faces"


def _per_cent(share: float) -> str:
    return f"{100 * share:z.2f} %"


def record(seen: Seen, bound: float, max_seeds: int) -> dict[str, Any]:
    """The answer as what JSON holds; an end of the interval that is infinite is null."""
    own, other = seen.strategy[0], seen.other[0]
    settings = dict(own.point.settings)
    ends = {key: getattr(seen.gain, key) for key in ("value", "low", "high")}
    return {
        "verdict": seen.gain.verdict,
        "min_gain": bound,
        "gain": {key: end if np.isfinite(end) else None for key, end in ends.items()},
        "confidence": seen.look.confidence,
        "seeds": [one.point.seed for one in seen.strategy],
        "max_seeds": max_seeds,
        "strategy": own.point.strategy,
        "compared_with": other.point.strategy,
        "alpha": settings.get("alpha"),
        "n_real": dict(other.point.settings)["n_real"],
        "n_synthetic": own.n_synthetic,
        "settings": settings,
        "compared_settings": dict(other.point.settings),
        "tries": dict(zip((own.point.strategy, other.point.strategy), seen.tries, strict=True)),
        "test_nme": {one[0].point.strategy: [each.test_nme for each in one] for one in (seen.strategy, seen.other)},
        "faces_seen": {one.point.strategy: one.faces_seen for one in (own, other)},
        "normalizer": own.normalizer,
        "test_faces": len(own.tested().faces),
        "photographs": len(set(own.tested().photos.tolist())),
        "stand_in": STAND_IN in own.subsets,
        "experiments": {
            one.experiment: {"digest": one.digest, "commit": one.commit} for one in (*seen.strategy, *seen.other)
        },
    }
