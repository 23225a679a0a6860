"""Which strategy wins: statistics on what `results` read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.strategies import STRATEGIES
from facemix.verdict import bootstrap

BASELINE = "real_only"
CONTROL = "control"
"""Real faces alone, like the baseline, with as many faces seen as strategies that cost two trainings."""
COMBINED = tuple(name for name in STRATEGIES if name not in (BASELINE, "synthetic_only", CONTROL))
"""What the headline question is about: the strategies that learn from real and synthetic faces."""
NO_DIFFERENCE = "no difference shown"
UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One strategy at one seed: what its folder says."""

    strategy: str
    seed: int
    metrics: dict[str, Any]
    errors: dict[str, float]
    """Face -> NME in %, test faces (Common) only."""
    photos: dict[str, str]
    """Face -> the photograph that it was cut from."""
    box_jitter: dict[float, float]
    """Level of box jitter -> NME of the test faces in %; 0: in tight boxes."""
    history: list[dict[str, float]]
    faces_seen: int
    """By every network behind it: its own, the one that it started from, and the one behind its label adapter."""
    packages: dict[str, str] = field(default_factory=dict)
    """Package -> its version in training."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What it was trained with: alpha, numbers of faces (0: it uses none), parameters; None: does not use it."""
    code: str = ""
    """A digest of the code that trained it."""


def champion(trained: Sequence[Trained]) -> Trained:
    """The best single model by validation; the test faces have no say in it."""
    return min(trained, key=lambda one: float(one.metrics["val"]["nme"]))


def faces_shown(trained: Sequence[Trained]) -> str:
    """What the test faces are to be called where results show them; empty for real ones."""
    return STAND_IN_SHOWN if STAND_IN in trained[0].metrics["test"]["subsets"] else ""


# --- What may be compared ---------------------------------------------------------------------------------------------


def check_alike(trained: Sequence[Trained]) -> None:
    """Refuses trainings that differ in more than strategy and seed: no mean and no ranking of them means anything.

    A setting that a strategy does not use (None, or no faces of a set) does not count. What the table of strategies
    gives it as its own (see `own_settings`) must be equal among its seeds only.

    Raises:
        FacemixError: it names what differs, and where.
    """
    found: dict[str, dict[object, list[tuple[str, int]]]] = {}
    for one in trained:
        own = own_settings(one.strategy)
        known = {key: value for key, value in _flat(one.settings).items() if _used(key, value)}
        recorded = {"code": one.code} | {f"version of {name}": version for name, version in one.packages.items()}
        for key, value in {**known, **recorded}.items():
            label = f"{key} of {one.strategy}" if key in own else key
            found.setdefault(label, {}).setdefault(str(value), []).append((one.strategy, one.seed))
    for package in {name for one in trained for name in one.packages}:
        if lacking := [(one.strategy, one.seed) for one in trained if package not in one.packages]:
            found[f"version of {package}"]["not recorded"] = lacking
    different = {
        key: ", ".join(f"{value} ({named(where[:3])}{', ...' if where[3:] else ''})" for value, where in values.items())
        for key, values in found.items()
        if len(values) > 1
    }
    if different:
        said = "; ".join(f"{key}: {values}" for key, values in different.items())
        raise FacemixError(
            f"trainings that differ in more than strategy and seed are not averaged or ranked together: found {said}; "
            "expected one value of each: run `dvc repro`"
        )


def own_settings(strategy: str) -> frozenset[str]:
    """The settings in which a strategy is meant to differ from the others, as its row in the table says."""
    about = STRATEGIES[strategy]
    own = {"learning_rate"} if about.starts_from else set()
    own |= {"steps", "warmup_steps", "evaluate_every"} if about.budgets > 1 else set()
    return frozenset({"alpha"} | {f"training.{key}" for key in own})


def _used(key: str, value: object) -> bool:
    return value is not None and not (key in ("n_real", "n_synthetic") and value == 0)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


# --- The ranking ------------------------------------------------------------------------------------------------------


def rank(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """One row a strategy, the best mean test NME first; NME in % of the face size, means over seeds.

    `difference` is the mean paired difference of NME to the strategy that it is `compared_with`, over the test faces
    and the `compared_seeds` that both have (negative is better), from `difference_low` to `difference_high` with 95 %
    confidence, each strategy taken by itself. `compared_nme` is the NME of that other strategy. `resamples_below` is
    the share of resamples in which the difference is below zero. `p_adjusted` is Holm's over all strategies that learn
    from synthetic faces; the control asks a question of its own, what twice the training is worth, and its p-value is
    not adjusted. With one seed there are neither: they would know nothing of other seeds. `verdict`: see `judge`. None
    of these where there is nothing to compare with.

    `faces_seen` counts the faces of all training steps behind a detector, `compared_faces_seen` those behind what it is
    compared with: see `reference`.

    Raises:
        FacemixError: trainings that cannot be ranked together: see `check_alike`.
    """
    check_alike(trained)
    rows = []
    differences = _differences(trained)
    for name in dict.fromkeys(one.strategy for one in trained):
        runs = [one for one in trained if one.strategy == name]
        test = [one.metrics["test"] for one in runs]
        row: dict[str, Any] = {
            "strategy": name,
            "seeds": len(runs),
            "faces_seen": runs[0].faces_seen,
            "val_nme": _mean(one.metrics["val"]["nme"] for one in runs),
            "test_nme": _mean(one["nme"] for one in test),
            "test_nme_sd": float(np.std([one["nme"] for one in test], ddof=1)) if len(test) > 1 else None,
            **{key: _mean(one[key] for one in test) for key in metrics.rate_names(runs[0].metrics["thresholds"])},
            **(differences.get(name) or _NOT_COMPARED | {"difference": 0.0 if name == BASELINE else None}),
        }
        row |= {
            f"{split}_nme": _mean(one.metrics[split]["nme"] for one in runs)
            for split in ("challenging", "full")
            if split in runs[0].metrics
        }
        row |= {region: _mean(one["regions"][region] for one in test) for region in test[0]["regions"]}
        rows.append(row)
    rows.sort(key=lambda row: row["test_nme"])
    return [{"rank": place, **row} for place, row in enumerate(rows, start=1)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


_NOT_COMPARED: dict[str, Any] = dict.fromkeys(
    (
        "compared_with",
        "compared_nme",
        "compared_faces_seen",
        "compared_seeds",
        "difference",
        "difference_low",
        "difference_high",
        "resamples_below",
        "p_adjusted",
        "verdict",
    )
)


def reference(strategy: str, faces_seen: Mapping[str, int]) -> str | None:
    """What a strategy is compared with: the training on real faces alone that saw as many faces, else the baseline.

    Args:
        strategy: its name. The control is compared with the baseline, whatever it saw.
        faces_seen: of every strategy that was trained.
    """
    equal = [
        name
        for name in (BASELINE, CONTROL)
        if strategy != CONTROL and name in faces_seen and faces_seen[name] == faces_seen[strategy]
    ]
    return next((name for name in (*equal, BASELINE) if name in faces_seen and name != strategy), None)


def curves_at(n_real: int, counts: Mapping[str, Sequence[int]]) -> list[str]:
    """The trainings on real faces alone by whose learning curve a mix can be read: the baseline always.

    The control, where it was trained on two numbers or more, of which n_real lies between the least and the greatest,
    and at no number between them of the baseline's is missing: a curve of few numbers far apart is a poor one.

    Args:
        n_real: of the mix that is read off the curve.
        counts: numbers of real faces that each of both was trained on, ascending.
    """
    alone, control = (counts.get(name, ()) for name in (BASELINE, CONTROL))
    if len(control) < 2 or not control[0] <= n_real <= control[-1]:
        return [BASELINE]
    missing = [n for n in alone if control[0] <= n <= control[-1] and n not in control]
    return [BASELINE] if missing else [BASELINE, CONTROL]


def judge(difference: float, p_value: float, n_seeds: int, faces_seen: int, compared_faces_seen: int) -> str:
    """`better`, `worse`, `no difference shown`, or `undecided` where the question cannot be answered.

    One seed decides nothing: it knows of other photographs, but not of how far trainings differ by chance alone. Two
    seeds can decide: t with one degree of freedom makes the interval as wide as they deserve, as far as the means of
    seeds are normally distributed, which two cannot show. To win by seeing more faces, or to lose by seeing fewer, is
    no fair comparison.

    Args:
        difference: of NME; below zero is better.
        p_value: of no difference, adjusted where there are several comparisons.
        n_seeds: that the comparison rests on.
        faces_seen, compared_faces_seen: by the strategy, and by what it is compared with.
    """
    if n_seeds < 2:
        return UNDECIDED
    if p_value >= 1 - bootstrap.CONFIDENCE:
        return NO_DIFFERENCE
    advantage = faces_seen - compared_faces_seen
    if difference < 0:
        return "better" if advantage <= 0 else UNDECIDED
    return "worse" if advantage >= 0 else UNDECIDED


def _differences(trained: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """What is known of each strategy's difference to its reference, by strategy; empty where there is none."""
    seen = {one.strategy: one.faces_seen for one in trained}
    compared = {name: other for name in seen if (other := reference(name, seen))}
    found: dict[str, dict[str, Any]] = {}
    p_values: dict[str, float] = {}
    pairs = {name: (other, _common(trained, name, other)) for name, other in compared.items()}
    for other, seeds in dict.fromkeys(pair for pair in pairs.values() if pair[1]):
        names = [name for name, pair in pairs.items() if pair == (other, seeds)]
        nme = _errors(trained, other, seeds)
        differences = np.stack([_errors(trained, name, seeds) for name in names]) - nme
        for name, one in zip(names, bootstrap.compare(differences, _photos(trained)), strict=True):
            p_values[name] = one.p_value
            found[name] = {
                "compared_with": other,
                "compared_nme": float(nme.mean()),
                "compared_faces_seen": seen[other],
                "compared_seeds": len(seeds),
                "difference": one.mean,
                "difference_low": one.low,
                "difference_high": one.high,
                "resamples_below": one.below,
            }
    family = [name for name, row in found.items() if name != CONTROL and row["compared_seeds"] > 1]
    p_values |= dict(zip(family, bootstrap.holm(np.array([p_values[name] for name in family])).tolist(), strict=True))
    for name, row in found.items():
        p, n_seeds = p_values[name], row["compared_seeds"]
        # The control sees more on purpose: that is its question.
        more = row["compared_faces_seen"] if name == CONTROL else seen[name]
        row["verdict"] = judge(row["difference"], p, n_seeds, more, row["compared_faces_seen"])
        row["p_adjusted"] = p if n_seeds > 1 else None
        row["resamples_below"] = row["resamples_below"] if n_seeds > 1 else None
    return found


def _common(trained: Sequence[Trained], *strategies: str) -> tuple[int, ...]:
    """The seeds that all of these strategies were trained with."""
    return tuple(
        sorted(set.intersection(*({one.seed for one in trained if one.strategy == name} for name in strategies)))
    )


def _errors(trained: Sequence[Trained], strategy: str, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
    """NME (seeds, n) of each test face of a strategy."""
    runs = {one.seed: one for one in trained if one.strategy == strategy}
    return np.array([[runs[seed].errors[face] for face in sorted(runs[seed].errors)] for seed in seeds])


def _photos(trained: Sequence[Trained]) -> npt.NDArray[np.str_]:
    """The photograph (n,) of each test face."""
    return np.array([trained[0].photos[face] for face in sorted(trained[0].errors)])


# --- The headline -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer to the headline question: do real and synthetic faces together beat real faces alone?"""

    status: Literal["supported", "refuted", "undecided"]
    answer: str
    """In words, for who knows no statistics."""
    sentence: str
    """With the numbers."""
    advice: str
    """What to run so that the question can be answered; empty where nothing is lacking."""


def headline(
    ranked: Sequence[Mapping[str, Any]],
    *,
    n_real: int | str,
    test_faces: str,
    missing: Sequence[tuple[str, int]] = (),
) -> Headline:
    """The verdict in one sentence, with the numbers; where it is undecided, with the reason and what to run.

    Supported: a combined training is better than real faces alone that saw as many faces, after Holm's adjustment.
    Refuted: every combined training is worse though it saw at least as many. Undecided: anything else, and always with
    one seed.

    Args:
        ranked: the rows of `rank`.
        n_real: the real training faces, as params.yaml says.
        test_faces: what NME was measured on, as `554 test faces`.
        missing: trainings that are not there.
    """
    rows = {row["strategy"]: row for row in ranked}
    combined = sorted(
        (rows[name] for name in COMBINED if name in rows and rows[name]["compared_with"]),
        key=lambda row: float(row["difference"]),
    )
    status, claim = _claim(combined, rows)
    winners = [row for row in combined if row["verdict"] == "better"]
    notes = [f"{row['strategy']} beats {row['compared_with']} too ({row['difference']:+.2f})" for row in winners[1:]]
    if combined and (untrained := [name for name in COMBINED if name not in rows]):
        notes.append(f"not trained: {', '.join(untrained)}")
    if missing:
        notes.append(f"missing: {named(missing)}")
    advice = _needed(combined) if combined and status == "undecided" else ""
    sentence = f"{status.capitalize()} at n_real = {n_real} on {test_faces}: {claim}"
    return Headline(
        status=status,
        answer=_answer(status, combined),
        sentence="; ".join([sentence, *notes, *([advice] if advice else [])]) + ".",
        advice=advice,
    )


def _answer(status: str, combined: Sequence[Mapping[str, Any]]) -> str:
    """The answer in plain words."""
    if status == "supported":
        winner = _first(combined, "better")
        assert winner is not None
        return f"Yes: synthetic faces help. {winner['strategy']} is better than real faces alone at equal cost."
    if status == "refuted":
        return "No: every way of using synthetic faces is worse than real faces alone."
    if not combined:
        return "Undecided: there is nothing to compare yet."
    if all(row["compared_seeds"] == 1 for row in combined):
        return (
            "Undecided: one training each. Two trainings of one strategy differ by chance, and one training cannot "
            "show by how much."
        )
    if any(row["verdict"] == UNDECIDED and row["difference"] < 0 for row in combined):
        return "Undecided: what does best has seen more faces than the real faces alone that it is compared with."
    return "Undecided: no way of using synthetic faces is shown to be better than real faces alone."


def _claim(
    combined: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]
) -> tuple[Literal["supported", "refuted", "undecided"], str]:
    """The status, and what is claimed of the combined trainings, the least difference first."""
    if BASELINE not in rows:
        return "undecided", f"{BASELINE} was not trained"
    if not combined:
        return "undecided", "no combined training is there to compare"
    best = combined[0]
    if row := _first(combined, "better"):
        return "supported", f"{row['strategy']} beats {row['compared_with']} ({_numbers(row)})"
    if {row["verdict"] for row in combined} == {"worse"}:
        least = f"{best['strategy']} by least ({_numbers(best)})"
        if len(combined) == len(COMBINED):
            return "refuted", f"every combined training loses to real faces alone, {least}"
        return "undecided", f"every combined training that is there loses to real faces alone, {least}"
    if best["compared_seeds"] == 1:
        reason = "one seed says nothing of how far trainings differ by chance"
        return "undecided", f"{reason}; so far the best combined training is {_against(best)}"
    if best["verdict"] == UNDECIDED:
        return "undecided", f"the comparison is not at equal cost; {_against(best)}"
    row = _first(combined, NO_DIFFERENCE) or best
    return "undecided", f"no combined training is shown to beat real faces alone; closest is {_against(row)}"


def _first(rows: Sequence[Mapping[str, Any]], verdict: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["verdict"] == verdict), None)


def _against(row: Mapping[str, Any]) -> str:
    """`mixing against real_only (...)`, with the faces that both saw where those differ."""
    name, other, seen, other_seen = (
        row[key] for key in ("strategy", "compared_with", "faces_seen", "compared_faces_seen")
    )
    cost = "" if seen == other_seen else f"; {name} saw {seen:,} faces, {other} {other_seen:,}"
    return f"{name} against {other} ({_numbers(row)}){cost}"


def _needed(combined: Sequence[Mapping[str, Any]]) -> str:
    """What to train so that the question can be answered; empty where nothing is lacking but a difference."""
    seeds = any(row["compared_seeds"] == 1 for row in combined)
    control = any(row["faces_seen"] > row["compared_faces_seen"] and row["verdict"] == UNDECIDED for row in combined)
    control |= any(row["compared_seeds"] == 1 and row["compared_with"] == CONTROL for row in combined)
    if seeds and control:
        return (
            "set seeds and control_seeds to [0, 1, 2] in params.yaml and run `dvc repro`, or run "
            "`dvc exp run -S 'seeds=[0,1,2]' -S 'control_seeds=[0,1,2]'`"
        )
    if seeds:
        return "set seeds: [0, 1, 2] in params.yaml and run `dvc repro`, or run `dvc exp run -S 'seeds=[0,1,2]'`"
    if control:
        return (
            "train real faces alone on as many faces: set control_seeds in params.yaml to the list that seeds has, and "
            "run `dvc repro`"
        )
    return ""


def _numbers(row: Mapping[str, Any]) -> str:
    p, n_seeds, other = row["p_adjusted"], row["compared_seeds"], row["compared_nme"]
    sure = "over photographs alone" if p is None else f"{'p < 0.001' if p < 0.001 else f'p = {p:.3f}'} after Holm"
    return (
        f"NME {other + row['difference']:.2f} against {other:.2f}, difference {row['difference']:+.2f}, "
        f"95 % interval {row['difference_low']:+.2f} to {row['difference_high']:+.2f}"
        f"{' ' if p is None else ', '}{sure}, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    )


def named(trainings: Sequence[tuple[str, int]]) -> str:
    """`mixing seed 1, fine_tuning seed 1`."""
    return ", ".join(f"{name} seed {seed}" for name, seed in trainings)


def ced_table(trained: Sequence[Trained]) -> list[dict[str, float]]:
    """Share of test faces with an NME up to each threshold, a column a strategy: for `dvc plots`.

    The curve goes on to 2.5 times the error at which a face counts as failed.
    """
    thresholds = np.linspace(0, 2.5 * trained[0].metrics["thresholds"][0], 101)
    names = dict.fromkeys(one.strategy for one in trained)
    curves = {
        name: np.mean(
            [metrics.ced(np.array(list(one.errors.values())), thresholds) for one in trained if one.strategy == name],
            axis=0,
        )
        for name in names
    }
    return [
        {"nme": round(float(threshold), 3), **{name: float(curve[i]) for name, curve in curves.items()}}
        for i, threshold in enumerate(thresholds)
    ]


def error_table(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """NME of each test face, in %: a row a training and face."""
    return [
        {"strategy": one.strategy, "seed": one.seed, "face": face, "photo": one.photos[face], "nme": f"{nme:.6f}"}
        for one in trained
        for face, nme in one.errors.items()
    ]


def box_jitter_table(trained: Sequence[Trained]) -> list[dict[str, float]]:
    """Test NME at each level of box jitter, mean over seeds, a column a strategy: for `dvc plots`."""
    runs: dict[str, list[Trained]] = {}
    for one in trained:
        runs.setdefault(one.strategy, []).append(one)
    return [
        {"jitter": level, **{name: _mean(one.box_jitter[level] for one in own) for name, own in runs.items()}}
        for level in trained[0].box_jitter
    ]


def validation_table(trained: Sequence[Trained]) -> list[dict[str, float | str]]:
    """Error on validation at each evaluation, in % of the longer side of the face box: mean over seeds, a column each.

    For `dvc plots`.
    """
    curves: dict[int, dict[str, list[float]]] = {}
    for one in trained:
        for row in one.history:
            if "step" in row:
                curves.setdefault(int(row["step"]), {}).setdefault(one.strategy, []).append(row["val_error"])
    names = [name for name in STRATEGIES if any(name in at for at in curves.values())]
    return [
        {"step": step, **{name: _mean(curves[step][name]) if name in curves[step] else "" for name in names}}
        for step in sorted(curves)
    ]
