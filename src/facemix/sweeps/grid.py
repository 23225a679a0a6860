"""Sweeps as plain data: which points a grid has, and how long they take. What they came to: `tables`."""

import dataclasses
import difflib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix import config
from facemix.config import ConfigError, Params
from facemix.strategies import STRATEGIES

Value = int | float | str
Axes = dict[str, list[Value]]
Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

SECTIONS = ("model", "augmentation", "training", "fine_tuning", "adaptation")
"""Sections of params.yaml whose keys may be swept, dotted; the others change the packs, which a sweep shares."""
AXES = ("alpha", "n_real", "n_synthetic")
LARGE = 1000
"""Trainings above which a sweep asks first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a strategy's training depends on, itself or by what comes before it: what dvc.yaml says."""

    params: tuple[str, ...]
    """Dotted keys of params.yaml."""
    other_params: Mapping[str, Any] = field(default_factory=dict)
    """What it depends on in other files: `FILE:KEY` -> value."""
    paths: tuple[str, ...]
    """Files and folders that no stage makes: code, sources, splits."""
    needs: tuple[str, ...]
    """The strategies whose models it reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One training of a sweep."""

    strategy: str
    seed: int
    settings: tuple[tuple[str, Value], ...]
    """The swept keys that matter to it, with their values."""

    @property
    def stage(self) -> str:
        return f"{self.strategy}@{self.seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """What a model errs on the faces that it was tested on, in their order."""

    faces: Names
    """(n,) ids, sorted."""
    subsets: Names
    photos: Names
    """(n,) the photograph of each face."""
    yaw: Array
    """(n,) degrees."""
    nme: Mapping[str, Array]
    """NME (n,) in % of `all` points and of each region."""

    def at(self, chosen: npt.NDArray[np.bool_]) -> "Errors":
        """The part of some faces, chosen (n,)."""
        return Errors(
            faces=self.faces[chosen],
            subsets=self.subsets[chosen],
            photos=self.photos[chosen],
            yaw=self.yaw[chosen],
            nme={part: nme[chosen] for part, nme in self.nme.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a point came to."""

    point: Point
    experiment: str
    commit: str
    """That the experiment hangs on."""
    digest: str
    """Of all that the training depends on: see `digest`."""
    val_nme: float
    test_nme: float
    """% of the face size."""
    failures: tuple[str, float]
    """The name of the failure rate on test, such as fr8, and what it is, %."""
    normalizer: str
    """The face size."""
    subsets: frozenset[str]
    """Those of the faces that test NME is over."""
    faces_seen: int
    """By every network behind it."""
    n_synthetic: int
    """Synthetic training faces that were really used, by it or by the network that it stands on."""
    seconds: float | None
    """Of its own training, by its own clock; None: not recorded."""
    errors: Errors | None
    """None of a point that is known by its means only."""

    def tested(self) -> Errors:
        """The errors of test faces (Common) only."""
        assert self.errors is not None
        return self.errors.at(np.isin(self.errors.subsets, sorted(self.subsets)))


# --- The grid ---------------------------------------------------------------------------------------------------------


def parse_axes(arguments: Sequence[str], params: Params) -> Axes:
    """The values of each swept key: `alpha`, `n_real`, `seeds` and `strategies` always, in that order, then others.

    Args:
        arguments: `KEY=VALUES`, the values with commas between; `0,0.1,...,1` counts on. `seeds=3` means 0, 1 and 2.
        params: says the one value of what is not given.

    Raises:
        ConfigError: an unknown key, no values, a value twice or out of range, or a key twice.
    """
    keys = swept_keys(params)
    given: Axes = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise ConfigError(f"{argument}: expected KEY=VALUES, such as alpha=0,0.1,...,1")
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(keys[:5])} and e.g. training.steps"
            raise ConfigError(f"{key}: not a key that can be swept; {hint}")
        if key in given:
            raise ConfigError(f"{key}: given twice; write all its values after one {key}=")
        values = parse_values(key, text)
        given[key] = _seeds(values) if key == "seeds" else values
    if given.get("strategies") == ["all"]:
        del given["strategies"]
    for name in given.get("strategies", []):
        if name not in STRATEGIES:
            near = difflib.get_close_matches(str(name), STRATEGIES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"strategies: found {name!r}, expected some of {', '.join(STRATEGIES)}{hint}")
    if "control" in given.get("strategies", []) and not params.control_seeds:
        raise ConfigError(
            "strategies: found control, with which those of two budgets are compared, but control_seeds in params.yaml "
            f"is []; set it to some of the seeds, such as [{params.seeds[0]}], and commit that"
        )
    axes: Axes = {
        "alpha": [params.alpha],
        "n_real": [params.n_real],
        "seeds": [*params.seeds],
        "strategies": [name for name in STRATEGIES if name != "control" or params.control_seeds],
    }
    axes |= given
    axes |= _checked({key: values for key, values in axes.items() if key != "strategies"}, config.plain(params))
    for key, values in axes.items():
        for value in values:
            if values.count(value) > 1:
                raise ConfigError(f"{key}: found {value} twice, expected each value once")
    return axes


def _checked(axes: Axes, plain: Mapping[str, Any]) -> Axes:
    """The values as params.yaml would hold them; every combination is one that it may hold."""
    keys = [key for key in axes if key != "seeds"]
    checked = axes.copy()
    config.parse(config.changed(plain, {"seeds": axes["seeds"], "control_seeds": axes["seeds"]}))
    for values in itertools.product(*(axes[key] for key in keys)):
        config.parse(config.changed(plain, dict(zip(keys, values, strict=True))))
    for key in keys:
        checked[key] = [typed(key, value, plain) for value in axes[key]]
    return checked


def typed(key: str, value: Value, plain: Mapping[str, Any]) -> Value:
    """A value as params.yaml would hold it: 0 is 0.0 where that has a fraction."""
    kind = type(config.lookup(plain, key))
    return kind(value) if kind is float else value


def swept_keys(params: Params) -> list[str]:
    """The keys that may be swept."""
    plain = config.plain(params)
    dotted = [f"{section}.{name}" for section in SECTIONS for name in plain[section]]
    return ["alpha", "n_real", "seeds", "strategies", "n_synthetic", *dotted]


def parse_values(key: str, text: str) -> list[Value]:
    """`50,100,all` -> [50, 100, "all"]; `0,0.1,...,1` counts on from the first two to the last.

    Raises:
        ConfigError: no values, an empty one, or a count that does not meet its end.
    """
    words = [word.strip() for word in text.split(",")]
    if "" in words:
        raise ConfigError(f"{key}: found {text!r}, expected values separated by single commas")
    while "..." in words:
        at = words.index("...")
        try:
            first, second, last = (Decimal(words[i]) for i in (at - 2, at - 1, at + 1) if i >= 0)
            steps = (last - second) / (second - first)
            whole = int(steps)
        except (ValueError, IndexError, InvalidOperation, ZeroDivisionError, OverflowError):
            raise ConfigError(f"{key}: found {text!r}, expected a count such as 0,0.1,...,1") from None
        if steps != whole or not 0 < steps <= 10_000:
            raise ConfigError(
                f"{key}: found {text!r}, but counting from {first} by {second - first} does not reach {last}"
            )
        words[at : at + 2] = [str(second + i * (second - first)) for i in range(1, whole + 1)]
    return [_value(word) for word in words]


def _value(word: str) -> Value:
    if word in ("true", "false", "True", "False"):  # as they are typed, and as tables have them
        return word in ("true", "True")
    for kind in (int, float):
        try:
            number = kind(word)
        except ValueError:
            continue
        if math.isfinite(number):
            return int(number) if number == int(number) and "e" not in word.lower() else number
    return word


def _seeds(values: list[Value]) -> list[Value]:
    if len(values) == 1 and isinstance(values[0], int) and not isinstance(values[0], bool):
        if values[0] < 1:
            raise ConfigError(
                f"seeds: found {values[0]}, expected a number of seeds, at least 1, or a list such as 0,1,2"
            )
        return list(range(values[0]))
    return values


def plan(axes: Axes, inputs: Mapping[str, Inputs]) -> list[Point]:
    """Every point of a grid once, and what they need before them: other models, or the training that they share.

    A key that does not matter to a strategy does not multiply its points.
    """
    wanted = {str(name) for name in axes["strategies"]}
    wanted |= {need for name in wanted for need in inputs[name].needs}
    keys = [key for key in axes if key not in ("seeds", "strategies")]
    points = []
    for name in wanted:
        own = [key for key in keys if matters(key, inputs[name])]
        points += [
            _of_what_matters(
                Point(strategy=name, seed=int(seed), settings=tuple(zip(own, values, strict=True))), inputs
            )
            for values in itertools.product(*(axes[key] for key in own))
            for seed in axes["seeds"]
        ]
    points = [*dict.fromkeys([*points, *(trained_as(point, inputs) for point in points)])]
    order = {name: (len(inputs[name].needs), i) for i, name in enumerate(STRATEGIES) if name in inputs}
    return sorted(points, key=lambda point: order[point.strategy])


def unused(axes: Axes, points: Iterable[Point], plain: Mapping[str, Any]) -> list[str]:
    """The keys of a grid that are not as params.yaml says, and matter to none of its points."""
    used = {key for point in points for key, _ in point.settings} | {"seeds", "strategies"}
    return [key for key, values in axes.items() if key not in used and values != [config.lookup(plain, key)]]


def trained_as(point: Point, inputs: Mapping[str, Inputs]) -> Point:
    """The point whose training this one is, bit for bit: `mixing` at alpha = 0 is `real_only`, at 1 `data_adaptation`.

    So no share of synthetic faces is trained twice. The table of strategies says which.
    """
    strategy, alpha = STRATEGIES[point.strategy], dict(point.settings).get("alpha")
    if strategy.synthetic_share != "alpha" or alpha not in (0, 1):
        return point
    fixed = dataclasses.replace(
        strategy, synthetic_share=float(alpha), adapts_labels=strategy.adapts_labels and alpha > 0
    )
    twins = [name for name, one in STRATEGIES.items() if one == dataclasses.replace(fixed, name=name)]
    return _as(point, twins[0], inputs) if twins else point


def _of_what_matters(point: Point, inputs: Mapping[str, Inputs]) -> Point:
    """The same point without what does not matter to the training that it is, such as synthetic faces at alpha = 0."""
    matter = dict(trained_as(point, inputs).settings)
    settings = tuple((key, value) for key, value in point.settings if key == "alpha" or key in matter)
    return dataclasses.replace(point, settings=settings)


def _as(point: Point, strategy: str, inputs: Mapping[str, Inputs]) -> Point:
    """A strategy's point at the settings of another: those that matter to it."""
    settings = tuple((key, value) for key, value in point.settings if matters(key, inputs[strategy]))
    return dataclasses.replace(point, strategy=strategy, settings=settings)


def matters(key: str, inputs: Inputs) -> bool:
    """Whether a training depends on a dotted key: on itself or on the whole section."""
    return any(key == param or key.startswith(f"{param}.") for param in inputs.params)


def needed(point: Point, inputs: Mapping[str, Inputs]) -> list[Point]:
    """The points whose models a point reads."""
    return [_as(point, name, inputs) for name in inputs[point.strategy].needs]


def digest(point: Point, plain: Mapping[str, Any], inputs: Inputs, content: Mapping[str, str]) -> str:
    """A digest of all that a point's training depends on: 128 bits as 32 hexadecimal digits.

    Args:
        plain: params.yaml.
        content: git's id of each of the inputs' paths.
    """
    full = config.changed(plain, dict(point.settings))
    identity = {
        "strategy": point.strategy,
        "seed": point.seed,
        "params": {key: config.lookup(full, key) for key in inputs.params},
        "other_params": dict(inputs.other_params),
        "content": {path: content.get(path) for path in inputs.paths},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def experiment_name(point: Point, digest: str) -> str:
    """The name of a point's experiment: readable, and of the same inputs always the same."""
    short = {"alpha": "a", "n_real": "n"}
    settings = [
        f"{short.get(key, f'{key}=')}{f'{value:g}' if isinstance(value, float) else value}"
        for key, value in point.settings
    ]
    return re.sub(
        r"[^A-Za-z0-9._=-]", "_", "-".join(["sweep", point.strategy, *settings, f"s{point.seed}", digest[:7]])
    )


def check_counts(key: str, values: Sequence[Value], total: int) -> None:
    """Raises ConfigError where a key asks for more faces than there are, or names all of them twice.

    Args:
        key: `n_real` or `n_synthetic`.
        values: that are asked for.
        total: how many training faces there are.
    """
    for value in values:
        if isinstance(value, int) and value > total:
            raise ConfigError(f"{key}: found {value}, but there are {total} training faces; lower it, or use all")
    if total in values and "all" in values:
        raise ConfigError(f"{key}: found both {total} and all, which are the same; leave one out")


def estimate(missing: Iterable[Point], seconds: Mapping[str, Sequence[float]], jobs: int) -> float | None:
    """Seconds that the missing points will take; None where no training like them was measured.

    Args:
        seconds: how long earlier trainings of each strategy took. A strategy without takes what others do that train a
            network.
    """
    medians = {name: float(np.median(values)) for name, values in seconds.items() if len(values)}
    trained = [time for name, time in medians.items() if STRATEGIES[name].trains]
    if not trained:
        return None
    return sum(medians.get(point.strategy, max(trained)) for point in missing) / jobs


def shown_time(seconds: float) -> str:
    """45 s, 12 min, 3.5 h."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
