"""Sweeps as plain data: which points a grid has, how long they take, and what their curves say."""

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
from facemix.errors import FacemixError
from facemix.faces import pose
from facemix.faces.landmarks import REGIONS
from facemix.strategies import STRATEGIES
from facemix.verdict import bootstrap

Value = int | float | str
Axes = dict[str, list[Value]]
Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
Key = tuple[str, float | None, int | None]
"""Strategy, alpha and number of real faces; None where they do not matter."""

SECTIONS = ("model", "augmentation", "training", "fine_tuning", "adaptation")
"""Sections of params.yaml whose keys may be swept, dotted; the others change the packs, which a sweep shares."""
AXES = ("alpha", "n_real", "n_synthetic")
ALL = "all"
"""The part that is the whole: all points of all test faces."""
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
    metrics: Mapping[str, Any]
    errors: Errors

    def tested(self) -> Errors:
        """The errors of test faces (Common) only."""
        return self.errors.at(np.isin(self.errors.subsets, list(self.metrics["test"]["subsets"])))


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
    if "control" in given.get("strategies", []) and not params.control_seeds:
        raise ConfigError(
            "strategies: found control, but control_seeds in params.yaml is []; set it to the seeds first"
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
    config.parse(config.changed(plain, {"seeds": axes["seeds"]}))
    for values in itertools.product(*(axes[key] for key in keys)):
        config.parse(config.changed(plain, dict(zip(keys, values, strict=True))))
    for key in keys:
        kind = type(config.lookup(plain, key))
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
            whole = int(steps)
        except (ValueError, IndexError, InvalidOperation, ZeroDivisionError, OverflowError):
            raise ConfigError(f"{key}: found {text!r}, expected a count such as 0,0.1,...,1") from None
        if steps != whole or not 0 < steps <= 10_000:
            raise ConfigError(f"{key}: found {text!r}, but counting from {first} by {second - first} misses {last}")
        words[at : at + 2] = [str(second + i * (second - first)) for i in range(1, whole + 1)]
    return [_value(word) for word in words]


def _value(word: str) -> Value:
    if word in ("true", "false"):
        return word == "true"
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
            Point(strategy=name, seed=int(seed), settings=tuple(zip(own, values, strict=True)))
            for values in itertools.product(*(axes[key] for key in own))
            for seed in axes["seeds"]
        ]
    points = [*dict.fromkeys([*points, *(trained_as(point, inputs) for point in points)])]
    order = {name: (len(inputs[name].needs), i) for i, name in enumerate(STRATEGIES) if name in inputs}
    return sorted(points, key=lambda point: order[point.strategy])


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


def levels(points: Sequence[Point], inputs: Mapping[str, Inputs]) -> list[list[Point]]:
    """The points in groups: what a point needs stands in an earlier group; those of one group may run at once."""
    return [list(group) for _, group in itertools.groupby(points, key=lambda point: len(inputs[point.strategy].needs))]


def experiment_name(point: Point, plain: Mapping[str, Any], inputs: Inputs, content: Mapping[str, str]) -> str:
    """The name of a point's experiment: readable, and of the same inputs always the same.

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
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:7]
    short = {"alpha": "a", "n_real": "n"}
    settings = [
        f"{short.get(key, f'{key}=')}{f'{value:g}' if isinstance(value, float) else value}"
        for key, value in point.settings
    ]
    return re.sub(r"[^A-Za-z0-9._=-]", "_", "-".join(["sweep", point.strategy, *settings, f"s{point.seed}", digest]))


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


def curves(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """One row a strategy, alpha and `n_real`: mean NME over seeds, in %, on validation and on test.

    From `low` to `high` goes the 95 % interval of the test NME over photographs and seeds: `bootstrap.compare` of the
    NMEs themselves.
    """
    groups = _groups(table(results, total))
    part = parts(results)[ALL]
    found = bootstrap.compare(_by_group(part.nme, groups), part.photos)
    return [
        {
            "strategy": name,
            "alpha": alpha,
            "n_real": n_real,
            "seeds": len(points),
            "val_nme": float(np.mean([results[i].metrics["val"]["nme"] for i in points])),
            "test_nme": one.mean,
            "low": one.low,
            "high": one.high,
        }
        for ((name, alpha, n_real), points), one in zip(groups.items(), found, strict=True)
    ]


def _groups(rows: Sequence[Mapping[str, Any]]) -> dict[Key, list[int]]:
    """Which rows of `table` are of one strategy, alpha and `n_real`, in the order of their seeds."""
    groups: dict[Key, list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: rows[i]["seed"]):
        groups.setdefault((rows[i]["strategy"], rows[i]["alpha"], rows[i]["n_real"]), []).append(i)
    return groups


def _by_group(nme: Array, groups: Mapping[Key, Sequence[int]]) -> Array:
    """NME (groups, seeds, n) of points (p, n)."""
    return np.asarray(nme[np.array(list(groups.values()))])


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of what was tested: all of it, a region of all faces, or the faces of a head pose."""

    nme: Array
    """(p, n) of each point of the sweep and face, in %."""
    photos: Names
    """(n,) the photograph of each face."""


def parts(results: Sequence[Result]) -> dict[str, Part]:
    """The test errors of all points, whole and in parts.

    Regions are there where the training of every point wrote them, head poses where they have any face.

    Raises:
        FacemixError: points that were tested on different faces.
    """
    tests = [one.tested() for one in results]
    first = tests[0]
    for one, test in zip(results, tests, strict=True):
        if not np.array_equal(test.faces, first.faces):
            raise FacemixError(
                f"{results[0].experiment} and {one.experiment} were tested on different faces ({len(first.faces)} and "
                f"{len(test.faces)}); run dvc exp remove {one.experiment} and this again"
            )
    shared = [name for name in (ALL, *REGIONS) if all(name in test.nme for test in tests)]
    found = {name: Part(nme=np.stack([test.nme[name] for test in tests]), photos=first.photos) for name in shared}
    bins = pose.yaw_bin(first.yaw)
    for name in pose.BINS:
        if np.any(chosen := bins == name):
            found[name] = Part(nme=found[ALL].nme[:, chosen], photos=first.photos[chosen])
    return found


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


def worth_intervals(
    n: Array, real: Array, targets: Array, photos: Names, *, resamples: int = bootstrap.RESAMPLES, seed: int = 0
) -> Array:
    """`faces_worth` of mean curves, with percentile bootstrap intervals over photographs and seeds.

    All curves see the same resamples: see `bootstrap.resampled_means`. With one seed the interval is over photographs
    alone, with one photograph nothing is known.

    Args:
        n: numbers of real faces (k,), ascending.
        real: NME of each test face with real faces alone (k, S, faces), in %.
        targets: the same for what is to be matched (m, S, faces), of the same seeds.
        photos: (faces,) the photograph of each face.
        resamples: their number.
        seed: of the resampling.

    Returns:
        (m, 3): the number of faces, and the ends of its 95 % interval; 0 and infinity as in `faces_worth`.
    """
    worth = faces_worth(n, real.mean(axis=(1, 2)), targets.mean(axis=(1, 2)))
    if len(np.unique(photos)) < 2:
        return np.stack([worth, np.zeros(len(worth)), np.full(len(worth), np.inf)], axis=1)
    means = bootstrap.resampled_means(np.concatenate([real, targets]), photos, resamples=resamples, seed=seed)
    means = np.maximum(means, np.finfo(np.float64).tiny)  # with two seeds a few fall below zero
    drawn = faces_worth(n, means[:, None, : len(n)], means[:, len(n) :])
    tail = (1 - bootstrap.CONFIDENCE) / 2
    ends = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")  # not between infinities
    return np.stack([worth, *ends], axis=1)


def worth_table(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """How many real faces alone each way of using synthetic ones equals: a row a part, strategy and `n_real`.

    Empty where `real_only` has fewer than two numbers of faces. `mixing` stands at its best alpha by validation, of all
    points and faces. Numbers of faces are 0 and infinite as in `faces_worth`.
    """
    rows = table(results, total)
    kept = at_best_alpha(rows)
    groups = {key: points for key, points in _groups(rows).items() if rows[points[0]] in kept}
    counts = real_counts(rows)
    if len(counts) < 2:
        return []
    keys: list[Key] = [("real_only", None, n) for n in counts]
    real = {key: groups.pop(key) for key in keys}
    if not groups:
        return []
    found = []
    for name, part in parts(results).items():
        nme = _by_group(part.nme, groups)
        n = np.array(counts, np.float64)
        worths = worth_intervals(n, _by_group(part.nme, real), nme, part.photos)
        found += [
            {
                "part": name,
                "faces": len(part.photos),
                "strategy": strategy,
                "alpha": alpha,
                "n_real": n_real or 0,
                "test_nme": mean,
                "worth": worth,
                "low": low,
                "high": high,
            }
            for (strategy, alpha, n_real), mean, (worth, low, high) in zip(
                groups, nme.mean(axis=(1, 2)).tolist(), worths.tolist(), strict=True
            )
        ]
    return found


def real_counts(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """The numbers of faces that `real_only` was trained on, ascending: where its learning curve is known."""
    return sorted({row["n_real"] for row in rows if row["strategy"] == "real_only"})


def say_count(worth: float, counts: Sequence[int]) -> str:
    """A number of faces in words where the curve ends: `fewer than 50`, `more than 1709`."""
    if math.isinf(worth):
        return f"more than {max(counts)}"
    return f"{worth:.0f}" if worth else f"fewer than {min(counts)}"


def say_worths(row: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """One row of `worth_table` with its numbers of faces in words where the curve ends."""
    return {**row, **{key: say_count(row[key], counts) for key in ("worth", "low", "high")}}


def say_worth(row: Mapping[str, Any], counts: Sequence[int]) -> str:
    """One row of `worth_table` as a sentence."""
    said = say_worths(row, counts)
    alpha = "" if row["alpha"] is None else f" at alpha = {row['alpha']:g}"
    return (
        f"{row['n_real']} real faces + synthetic ({row['strategy']}{alpha}, NME {row['test_nme']:.2f}) are as good as "
        f"{said['worth']} real alone (95 %: {said['low']} to {said['high']})"
    )
