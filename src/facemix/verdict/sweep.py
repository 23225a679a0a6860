"""Sweeps as plain data: which points a grid has, how long they take, and what their curves say."""

import dataclasses
import difflib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

SECTIONS = ("model", "augmentation", "training", "adaptation")
"""Sections of params.yaml whose keys may be swept, dotted; the others change the packs, which a sweep shares."""
AXES = ("alpha", "n_real", "n_synthetic")
LARGE = 1000
"""Trainings above which a sweep asks first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a strategy's training depends on, itself or by what comes before it: what dvc.yaml says."""

    params: tuple[str, ...]
    """Dotted keys of params.yaml."""
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
class Result:
    """What a point came to."""

    point: Point
    experiment: str
    metrics: Mapping[str, Any]
    errors: Mapping[str, tuple[str, float]]
    """Face -> its subset and NME in %."""

    def test_errors(self) -> dict[str, float]:
        """Face -> NME in %, test faces (Common) only."""
        subsets = set(self.metrics["test"]["subsets"])
        return {face: nme for face, (subset, nme) in self.errors.items() if subset in subsets}


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
            raise ConfigError(f"{key}: cannot be swept; {hint}")
        if key in given:
            raise ConfigError(f"{key}: given twice; write all its values behind one {key}=")
        values = parse_values(key, text)
        given[key] = _seeds(values) if key == "seeds" else values
    if given.get("strategies") == ["all"]:
        del given["strategies"]
    for name in given.get("strategies", []):
        if name not in STRATEGIES:
            near = difflib.get_close_matches(str(name), STRATEGIES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"strategies: found {name!r}, expected some of {', '.join(STRATEGIES)}{hint}")
    axes: Axes = {
        "alpha": [params.alpha],
        "n_real": [params.n_real],
        "seeds": [*params.seeds],
        "strategies": [*STRATEGIES],
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
    config.parse(changed(plain, {"seeds": axes["seeds"]}))
    for values in itertools.product(*(axes[key] for key in keys)):
        config.parse(changed(plain, dict(zip(keys, values, strict=True))))
    for key in keys:
        kind = type(_get(plain, key))
        checked[key] = [kind(value) if kind is float else value for value in axes[key]]
    return checked


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
        raise ConfigError(f"{key}: found {text!r}, expected values with single commas between")
    while "..." in words:
        at = words.index("...")
        try:
            first, second, last = (Decimal(words[i]) for i in (at - 2, at - 1, at + 1) if i >= 0)
            steps = (last - second) / (second - first)
        except (ValueError, IndexError, InvalidOperation, ZeroDivisionError):
            raise ConfigError(f"{key}: found {text!r}, expected a count such as 0,0.1,...,1") from None
        if steps != int(steps) or not 0 < steps <= 10_000:
            raise ConfigError(f"{key}: found {text!r}, but counting from {first} by {second - first} misses {last}")
        words[at : at + 2] = [str(second + i * (second - first)) for i in range(1, int(steps) + 1)]
    return [_value(word) for word in words]


def _value(word: str) -> Value:
    for kind in (int, float):
        try:
            number = kind(word)
        except ValueError:
            continue
        if math.isfinite(number):
            return int(number) if number == int(number) and "e" not in word.lower() else number
    return word


def _seeds(values: list[Value]) -> list[Value]:
    if len(values) == 1 and isinstance(values[0], int):
        if values[0] < 1:
            raise ConfigError(
                f"seeds: found {values[0]}, expected a number of seeds, at least 1, or a list such as 0,1,2"
            )
        return list(range(values[0]))
    return values


def changed(plain: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """The mapping of params.yaml with dotted keys changed; lists where the file has lists."""
    result: dict[str, Any] = json.loads(json.dumps(plain))
    for dotted, value in changes.items():
        *parents, name = dotted.split(".")
        node = result
        for parent in parents:
            node = node[parent]
        node[name] = value
    return result


def plan(axes: Axes, inputs: Mapping[str, Inputs]) -> list[Point]:
    """Every point of a grid once, and what they need before them.

    A key that does not matter to a strategy does not multiply its points.
    """
    wanted = {str(name) for name in axes["strategies"]}
    wanted |= {need for name in wanted for need in inputs[name].needs}
    keys = [key for key in axes if key not in ("seeds", "strategies")]
    points = []
    for name in sorted(wanted, key=lambda name: (len(inputs[name].needs), list(STRATEGIES).index(name))):
        own = [key for key in keys if matters(key, inputs[name])]
        points += [
            Point(strategy=name, seed=int(seed), settings=tuple(zip(own, values, strict=True)))
            for values in itertools.product(*(axes[key] for key in own))
            for seed in axes["seeds"]
        ]
    return points


def matters(key: str, inputs: Inputs) -> bool:
    """Whether a training depends on a dotted key: on itself or on the whole section."""
    return any(key == param or key.startswith(f"{param}.") for param in inputs.params)


def needed(point: Point, inputs: Mapping[str, Inputs]) -> list[Point]:
    """The points whose models a point reads."""
    return [
        dataclasses.replace(
            point,
            strategy=name,
            settings=tuple((key, value) for key, value in point.settings if matters(key, inputs[name])),
        )
        for name in inputs[point.strategy].needs
    ]


def levels(points: Sequence[Point], inputs: Mapping[str, Inputs]) -> list[list[Point]]:
    """The points in groups: what a point needs stands in an earlier group; those of one group may run at once."""
    return [list(group) for _, group in itertools.groupby(points, key=lambda point: len(inputs[point.strategy].needs))]


def experiment_name(point: Point, plain: Mapping[str, Any], inputs: Inputs, content: Mapping[str, str]) -> str:
    """The name of a point's experiment: readable, and of the same inputs always the same.

    Args:
        plain: params.yaml.
        content: git's id of each of the inputs' paths.
    """
    full = changed(plain, dict(point.settings))
    identity = {
        "strategy": point.strategy,
        "seed": point.seed,
        "params": {key: _get(full, key) for key in inputs.params},
        "content": {path: content.get(path) for path in inputs.paths},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:7]
    short = {"alpha": "a", "n_real": "n"}
    settings = [
        f"{short.get(key, f'{key}=')}{f'{value:g}' if isinstance(value, float) else value}"
        for key, value in point.settings
    ]
    return re.sub(r"[^A-Za-z0-9._=-]", "_", "-".join(["sweep", point.strategy, *settings, f"s{point.seed}", digest]))


def _get(node: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        node = node[name]
    return node


def check_counts(axes: Axes, total: int) -> None:
    """Raises ConfigError where `n_real` asks for more faces than there are, or names all of them twice."""
    for value in axes["n_real"]:
        if isinstance(value, int) and value > total:
            raise ConfigError(f"n_real: found {value}, but there are {total} training faces; leave it out, or say all")
    if total in axes["n_real"] and "all" in axes["n_real"]:
        raise ConfigError(f"n_real: found both {total} and all, but all are {total}; leave one out")


def estimate(missing: Iterable[Point], seconds: Mapping[str, Sequence[float]], jobs: int) -> float | None:
    """Seconds that the missing points will take; None where no training like them was measured.

    Args:
        seconds: how long earlier trainings of each strategy took. A strategy without takes what the others do.
    """
    medians = {name: float(np.median(values)) for name, values in seconds.items() if len(values)}
    if not medians:
        return None
    longest = max(medians.values())
    return sum(medians.get(point.strategy, longest) for point in missing) / jobs


def shown_time(seconds: float) -> str:
    """45 s, 12 min, 3.5 h."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


# --- Tables -----------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """One row a point; None where a key does not matter. NME in %; `n_real` counts faces.

    Args:
        total: number of real training faces: what `all` means.
    """
    extra = [key for key in dict.fromkeys(k for one in results for k, _ in one.point.settings) if key not in AXES[:2]]
    rows = []
    for one in results:
        settings = dict(one.point.settings)
        n_real = settings.get("n_real")
        rows.append(
            {
                "strategy": one.point.strategy,
                "alpha": settings.get("alpha"),
                "n_real": total if n_real == "all" else n_real,
                "seed": one.point.seed,
                **{key: settings.get(key) for key in extra},
                "val_nme": one.metrics["val"]["nme"],
                "test_nme": one.metrics["test"]["nme"],
                "fr8": one.metrics["test"]["fr8"],
                "experiment": one.experiment,
            }
        )
    return rows


# --- Curves -----------------------------------------------------------------------------------------------------------


def over_seeds(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[Array, Array, Array, Array]:
    """A curve: the values of `key` (k,), ascending, and mean, least and greatest test NME over seeds (k,) at each."""
    values = sorted({row[key] for row in rows})
    nmes = [np.array([row["test_nme"] for row in rows if row[key] == value]) for value in values]
    return (
        np.array(values, np.float64),
        np.array([of.mean() for of in nmes]),
        np.array([of.min() for of in nmes]),
        np.array([of.max() for of in nmes]),
    )


def best_alpha(rows: Sequence[Mapping[str, Any]]) -> float:
    """The alpha of the least validation NME, mean over seeds; the test set has no say."""
    alphas = sorted({row["alpha"] for row in rows})
    return float(min(alphas, key=lambda alpha: np.mean([row["val_nme"] for row in rows if row["alpha"] == alpha])))


def at_best_alpha(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows without those of `mixing` at any but the best alpha of their `n_real`."""
    mixing = [row for row in rows if row["alpha"] is not None]
    best = {n: best_alpha([row for row in mixing if row["n_real"] == n]) for n in {row["n_real"] for row in mixing}}
    return [row for row in rows if row["alpha"] is None or row["alpha"] == best[row["n_real"]]]


def faces_worth(n: Array, nme: Array, target: float | Array) -> Array:
    """How many real faces alone reach an NME: the learning curve read backwards, straight in log n and log NME.

    A curve that rises somewhere counts as flat there: what fewer faces reach, more faces do.

    Args:
        n: numbers of faces (k,), ascending, k >= 2.
        nme: NME with each (..., k), in %.
        target: NME to reach, (...).

    Returns:
        Numbers of faces (...); infinite where not even the greatest n is as good, 0 where the least n is better.
    """
    log_n = np.log(n)
    goal = np.log(np.asarray(target, np.float64))
    curve = np.broadcast_to(np.log(np.minimum.accumulate(nme, axis=-1)), (*goal.shape, len(n)))
    reached = curve <= goal[..., None]
    last = np.argmax(reached, axis=-1)
    before = np.maximum(last - 1, 0)
    high, low = (np.take_along_axis(curve, at[..., None], axis=-1)[..., 0] for at in (before, last))
    share = np.where(high > low, (high - goal) / np.where(high > low, high - low, 1), 1.0)
    found = np.exp(log_n[before] + share * (log_n[last] - log_n[before]))
    found = np.where(last == 0, np.where(curve[..., 0] < goal, 0.0, n[0]), found)
    return np.where(reached.any(axis=-1), found, np.inf)


def worth_interval(
    n: Array, real: Array, target: Array, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """`faces_worth` of mean curves, with a percentile bootstrap interval over faces and seeds.

    Faces and seeds are drawn with replacement, the same faces for all; the seeds of both are drawn apart.

    Args:
        n: numbers of real faces (k,), ascending.
        real: NME of each test face with real faces alone (k, seeds, faces), in %.
        target: the same for what is to be matched (seeds', faces).
        seed: of the draws.
        draws: number of them.
        level: of the interval.

    Returns:
        The number of faces, and the ends of its interval; 0 and infinity as in `faces_worth`.
    """
    rng = np.random.default_rng(seed)
    k, n_seeds, n_faces = real.shape
    faces = rng.multinomial(n_faces, np.full(n_faces, 1 / n_faces), draws) / n_faces
    own = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), draws) / n_seeds
    others = rng.multinomial(len(target), np.full(len(target), 1 / len(target)), draws) / len(target)
    curves = (faces @ real.reshape(-1, n_faces).T).reshape(draws, k, n_seeds)
    drawn = faces_worth(n, np.einsum("dks,ds->dk", curves, own), ((faces @ target.T) * others).sum(axis=-1))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")  # none between infinities
    worth = faces_worth(n, real.mean(axis=(1, 2)), np.float64(target.mean()))
    return float(worth), float(low), float(high)


def worth_table(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """How many real faces alone each way of using synthetic ones equals, a row a strategy and `n_real`.

    Empty where `real_only` has fewer than two numbers of faces. `mixing` stands at its best alpha by validation.
    """
    rows = table(results, total)
    of = {row["experiment"]: one.test_errors() for row, one in zip(rows, results, strict=True)}
    faces = sorted(next(iter(of.values())))
    groups: dict[tuple[str, float | None, int | None], list[list[float]]] = {}
    for row in at_best_alpha(rows):
        own = of[row["experiment"]]
        groups.setdefault((row["strategy"], row["alpha"], row["n_real"]), []).append([own[face] for face in faces])
    counts = sorted(n for name, _, n in groups if name == "real_only" and n is not None)
    if len(counts) < 2:
        return []
    real = np.array([groups["real_only", None, n] for n in counts])
    found = []
    for (name, alpha, n_real), errors in groups.items():
        if name == "real_only":
            continue
        worth, low, high = worth_interval(np.array(counts, np.float64), real, np.array(errors))
        found.append(
            {
                "strategy": name,
                "alpha": alpha,
                "n_real": n_real or 0,
                "test_nme": float(np.mean(errors)),
                "worth": say_count(worth, counts),
                "low": say_count(low, counts),
                "high": say_count(high, counts),
            }
        )
    return found


def say_count(worth: float, counts: Sequence[int]) -> str:
    """A number of faces in words where the curve ends: `fewer than 50`, `more than 1709`."""
    if math.isinf(worth):
        return f"more than {max(counts)}"
    return f"{worth:.0f}" if worth else f"fewer than {min(counts)}"


def say_worth(row: Mapping[str, Any]) -> str:
    """One row of `worth_table` as a sentence."""
    alpha = "" if row["alpha"] is None else f" at alpha = {row['alpha']:g}"
    return (
        f"{row['n_real']} real faces + synthetic ({row['strategy']}{alpha}, NME {row['test_nme']:.2f}) are as good as "
        f"{row['worth']} real alone (95 %: {row['low']} to {row['high']})"
    )
