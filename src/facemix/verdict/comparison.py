"""Which strategy wins, from the files that the trainings left; never from the tracking server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facemix.evaluation import metrics
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.strategies import STRATEGIES
from facemix.verdict import bootstrap

BASELINE = "real_only"
COMBINED = tuple(name for name in STRATEGIES if name not in (BASELINE, "synthetic_only", "control"))
"""What the headline question is about: the strategies that learn from real and synthetic faces."""
CED_THRESHOLDS = np.linspace(0, 20, 101)


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
    settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""


def champion(trained: Sequence[Trained]) -> Trained:
    """The best single model by validation; the test faces have no say in it."""
    return min(trained, key=lambda one: float(one.metrics["val"]["nme"]))


def faces_shown(trained: Sequence[Trained]) -> str:
    """What the test faces are to be called where results show them; empty for real ones."""
    return STAND_IN_SHOWN if STAND_IN in trained[0].metrics["test"]["subsets"] else ""


def rank(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """One row a strategy, the best mean test NME first; NME in % of the face size, means over seeds.

    `difference` is the mean paired difference of NME to `real_only` over the test faces (negative is better), from
    `difference_low` to `difference_high` with 95 % confidence, each strategy taken by itself. `p_better` is the share
    of resamples in which the strategy beats `real_only`. `p_adjusted` is Holm's over all strategies; `verdict` is
    better or worse where it is below 5 %, else tie. None of these where `real_only` was not trained.

    `faces_seen` counts the faces of all training steps behind a detector: strategies have equal budgets of their own,
    but `fine_tuning` starts from a network that had one before.
    """
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
            "fr8": _mean(one["fr8"] for one in test),
            "fr10": _mean(one["fr10"] for one in test),
            "auc8": _mean(one["auc8"] for one in test),
            **(differences.get(name) or _NO_DIFFERENCE | {"difference": 0.0 if name == BASELINE else None}),
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


_NO_DIFFERENCE: dict[str, Any] = dict.fromkeys(
    ("difference", "difference_low", "difference_high", "p_better", "p_adjusted", "verdict")
)


def _differences(trained: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """What is known of each strategy's difference to the baseline, by strategy; empty where there is none."""
    names = [name for name in dict.fromkeys(one.strategy for one in trained) if name != BASELINE]
    baseline = _errors(trained, BASELINE)
    if not names or not len(baseline):
        return {}
    faces = sorted(trained[0].errors)
    photos = np.array([trained[0].photos[face] for face in faces])
    found = bootstrap.compare(np.stack([_errors(trained, name) for name in names]) - baseline, photos)
    adjusted = bootstrap.holm(np.array([one.p_value for one in found])).tolist()
    return {
        name: {
            "difference": one.mean,
            "difference_low": one.low,
            "difference_high": one.high,
            "p_better": one.p_below,
            "p_adjusted": p,
            "verdict": "tie" if p >= 1 - bootstrap.CONFIDENCE else "better" if one.mean < 0 else "worse",
        }
        for name, one, p in zip(names, found, adjusted, strict=True)
    }


def _errors(trained: Sequence[Trained], strategy: str) -> npt.NDArray[np.float64]:
    """NME of each test face (seeds, n) of a strategy; of no seeds where it was not trained."""
    faces = sorted(trained[0].errors)
    runs = [one for one in trained if one.strategy == strategy]
    return np.array([[one.errors[face] for face in faces] for one in sorted(runs, key=lambda one: one.seed)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer to the headline question: do real and synthetic faces together beat real faces alone?"""

    status: Literal["supported", "refuted", "undecided"]
    sentence: str


def headline(
    ranked: Sequence[Mapping[str, Any]],
    *,
    n_real: int | str,
    test_faces: str,
    missing: Sequence[tuple[str, int]] = (),
) -> Headline:
    """The verdict in one sentence, with the numbers.

    Supported: a combined training is better than `real_only` after Holm's adjustment. Refuted: every combined training
    is worse. Undecided: anything else. What rests on one seed says so in its first words.

    Args:
        ranked: the rows of `rank`.
        n_real: the real training faces, as params.yaml says.
        test_faces: what NME was measured on, as `554 test faces`.
        missing: trainings that are not there.
    """
    rows = {row["strategy"]: row for row in ranked}
    combined = [rows[name] for name in COMBINED if name in rows]
    where = f"at n_real = {n_real} on {test_faces}"
    if BASELINE not in rows:
        return Headline(status="undecided", sentence=f"Undecided {where}: {BASELINE} was not trained.")
    if not combined:
        return Headline(status="undecided", sentence=f"Undecided {where}: no combined training is there to compare.")
    by_verdict = {
        verdict: sorted((row for row in combined if row["verdict"] == verdict), key=lambda row: row["difference"])
        for verdict in ("better", "tie", "worse")
    }
    status: Literal["supported", "refuted", "undecided"] = "undecided"
    if by_verdict["better"]:
        status, best = "supported", by_verdict["better"][0]
        claim = f"{best['strategy']} beats {BASELINE}"
    elif by_verdict["tie"]:
        best = by_verdict["tie"][0]
        claim = f"no combined training is shown to beat {BASELINE}, {best['strategy']} ties with it"
    elif len(combined) == len(COMBINED):
        status, best = "refuted", by_verdict["worse"][0]
        claim = f"every combined training loses to {BASELINE}, {best['strategy']} by least"
    else:
        best = by_verdict["worse"][0]
        claim = f"no combined training that is there beats {BASELINE}, {best['strategy']} loses by least"
    notes = [f"{row['strategy']} beats it too ({row['difference']:+.2f})" for row in by_verdict["better"][1:]]
    one_seed = best["seeds"] == 1
    if one_seed:
        notes.append("with one seed the interval knows nothing of other seeds")
    if untrained := [name for name in COMBINED if name not in rows]:
        notes.append(f"not trained: {', '.join(untrained)}")
    if missing:
        notes.append(f"missing: {named(missing)}")
    by = " by one seed" if one_seed else ""
    sentence = f"{status.capitalize()}{by} {where}: {claim} ({_numbers(best, rows[BASELINE])})"
    return Headline(status=status, sentence="; ".join([sentence, *notes]) + ".")


def _numbers(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    p, n_seeds = row["p_adjusted"], row["seeds"]
    return (
        f"NME {row['test_nme']:.2f} against {baseline['test_nme']:.2f}, difference {row['difference']:+.2f}, "
        f"95 % interval {row['difference_low']:+.2f} to {row['difference_high']:+.2f}, "
        f"{'p < 0.001' if p < 0.001 else f'p = {p:.3f}'} after Holm, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    )


def named(trainings: Sequence[tuple[str, int]]) -> str:
    """`mixing seed 1, fine_tuning seed 1`."""
    return ", ".join(f"{name} seed {seed}" for name, seed in trainings)


def ced_table(trained: Sequence[Trained]) -> list[dict[str, float]]:
    """Share of test faces with an NME up to each threshold, a column a strategy: for `dvc plots`."""
    names = dict.fromkeys(one.strategy for one in trained)
    curves = {
        name: np.mean(
            [
                metrics.ced(np.array(list(one.errors.values())), CED_THRESHOLDS)
                for one in trained
                if one.strategy == name
            ],
            axis=0,
        )
        for name in names
    }
    return [
        {"nme": round(float(threshold), 3), **{name: float(curve[i]) for name, curve in curves.items()}}
        for i, threshold in enumerate(CED_THRESHOLDS)
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
    """Validation NME at each evaluation of each training, mean over seeds, a column a strategy: for `dvc plots`."""
    curves: dict[int, dict[str, list[float]]] = {}
    for one in trained:
        for row in one.history:
            if "step" in row:
                curves.setdefault(int(row["step"]), {}).setdefault(one.strategy, []).append(row["val_nme"])
    names = [name for name in STRATEGIES if any(name in at for at in curves.values())]
    return [
        {"step": step, **{name: _mean(curves[step][name]) if name in curves[step] else "" for name in names}}
        for step in sorted(curves)
    ]
