"""What a sweep came to: its table, its curves, and what synthetic faces are worth, whole and by parts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import pose
from facemix.sweeps.grid import AXES, Result
from facemix.verdict import bootstrap, comparison, tuning, worth
from facemix.verdict.comparison import BASELINE, CONTROL
from facemix.verdict.tuning import Choice, MixName, Try
from facemix.verdict.worth import ALL

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
Key = tuple[str, float | None, int | None]
"""Strategy, alpha and number of real faces; None where they do not matter."""

COLUMNS = (
    "strategy",
    "alpha",
    "n_real",
    "seed",
    "n_synthetic",
    "val_nme",
    "test_nme",
    "experiment",
    "faces_seen",
    "seconds",
    "commit",
    "digest",
    "normalizer",
)
"""The columns of `table`, beside one of the failure rate, such as `fr8`. What else was swept has columns of its own."""


def table(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """One row a point; None where a key does not matter. NME in %; `n_real` and `n_synthetic` count faces.

    Args:
        total: number of real training faces: what `all` means.
    """
    extra = [key for key in dict.fromkeys(k for one in results for k, _ in one.point.settings) if key not in AXES]
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
                "n_synthetic": one.n_synthetic or None,
                **{key: settings.get(key) for key in extra},
                "val_nme": one.val_nme,
                "test_nme": one.test_nme,
                one.failures[0]: one.failures[1],
                "experiment": one.experiment,
                "faces_seen": one.faces_seen,
                "seconds": one.seconds,
                "commit": one.commit,
                "digest": one.digest,
                "normalizer": one.normalizer,
            }
        )
    return rows


def at_best_settings(results: Sequence[Result], total: int = 0) -> tuple[list[Result], list[Choice]]:
    """The points of each mix at its own best settings on validation, and which these are: see `tuning.at_best`.

    Args:
        total: number of real training faces: what `all` means.
    """
    tries = [
        Try(
            mix=_name(row),
            settings={key: value for key, value in one.point.settings if key not in AXES},
            seed=row["seed"],
            val_nme=row["val_nme"],
            faces_seen=row["faces_seen"],
        )
        for one, row in zip(results, table(results, total), strict=True)
    ]
    kept, choices = tuning.at_best(tries)
    return [results[i] for i in kept], choices


def synthetic_counts(results: Iterable[Result]) -> Counter[int]:
    """The numbers of synthetic faces that points have; how many pairs of strategy and `n_real` there are of each."""
    pairs = {(one.point.strategy, dict(one.point.settings).get("n_real"), one.n_synthetic) for one in results}
    return Counter(count for _, _, count in pairs if count)


def at_one_n_synthetic(results: Sequence[Result]) -> tuple[list[Result], int | None]:
    """The points at one number of synthetic faces, and that number; all of them and None where they have one.

    It is the number of which there are most pairs of strategy and `n_real`; of equals the greatest.
    """
    counts = synthetic_counts(results)
    if len(counts) < 2:
        return list(results), None
    chosen = max(counts, key=lambda count: (counts[count], count))
    return at_n_synthetic(results, chosen), chosen


def at_n_synthetic(results: Iterable[Result], count: int) -> list[Result]:
    """The points with a number of synthetic faces; those without any stay, each training once."""
    kept: dict[tuple[object, ...], Result] = {}
    for one in results:
        if one.n_synthetic in (0, count):
            settings = [(key, value) for key, value in one.point.settings if key != "n_synthetic"]
            kept.setdefault((one.point.strategy, one.point.seed, *settings), one)
    return list(kept.values())


def mixes(results: Iterable[Result]) -> set[tuple[object, ...]]:
    """The different strategies with their alpha and numbers of faces."""
    return {
        (one.point.strategy, settings.get("alpha"), settings.get("n_real"), one.n_synthetic)
        for one in results
        for settings in [dict(one.point.settings)]
    }


def curves(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """One row a strategy, alpha and `n_real`: mean NME over seeds, in %, on validation and on test.

    All results are at one number of synthetic faces; `n_synthetic` is None where a strategy uses none.
    From `low` to `high` goes the 95 % interval of the test NME over photographs and seeds: `bootstrap.compare` of the
    NMEs themselves. There is none where points are known by their means alone.
    """
    groups, (whole, own) = _groups(table(results, total)), _whole(results, total)
    intervals: dict[Key, bootstrap.Difference] = {}
    if own:
        part = parts(whole)[ALL]
        intervals = dict(zip(own, bootstrap.compare(_by_group(part.nme, own), part.photos), strict=True))
    return [
        {
            "strategy": name,
            "alpha": alpha,
            "n_real": n_real,
            "n_synthetic": results[points[0]].n_synthetic or None,
            "seeds": len(points),
            "val_nme": float(np.mean([results[i].val_nme for i in points])),
            "test_nme": one.mean
            if (one := intervals.get(key))
            else float(np.mean([results[i].test_nme for i in points])),
            "low": one.low if one else None,
            "high": one.high if one else None,
        }
        for key, points in groups.items()
        for name, alpha, n_real in [key]
    ]


def chosen_for(choices: Sequence[Choice], rows: Sequence[Mapping[str, Any]]) -> list[Choice]:
    """The choices of the mixes in some rows of `table`, and those that are left out for want of seeds."""
    there = {_name(row) for row in rows}
    return [one for one in choices if one.mix in there or one.missing]


def with_settings(curves: Sequence[Mapping[str, Any]], choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """The rows of `curves` with the settings that each mix stands at, and of how many tries these are the best."""
    chosen = {one.mix: one for one in choices}
    keys = dict.fromkeys(key for one in choices for key in one.settings)
    rows = []
    for row in curves:
        own = chosen.get(_name(row))
        rows.append({**row, **({key: own.settings.get(key) for key in keys} | {"tries": own.tries} if own else {})})
    return rows


def _name(row: Mapping[str, Any]) -> MixName:
    return MixName(
        strategy=row["strategy"],
        alpha=row["alpha"],
        n_real=row["n_real"] or 0,
        n_synthetic=row["n_synthetic"] or 0,
    )


def _whole(results: Sequence[Result], total: int) -> tuple[list[Result], dict[Key, list[int]]]:
    """The results of strategies, alphas and `n_real` of which every seed has the errors of single faces; grouped."""
    lacking = {i for i, one in enumerate(results) if one.errors is None}
    kept = [i for own in _groups(table(results, total)).values() if not lacking & {*own} for i in own]
    whole = [results[i] for i in sorted(kept)]
    return whole, _groups(table(whole, total))


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

    Regions are there where the training of every point wrote them, and head poses, where they have any face. A region
    is of the faces that have a labelled point in it.

    Raises:
        FacemixError: points that were tested on different faces.
    """
    tests = [one.tested() for one in results]
    first = tests[0]
    for one, test in zip(results, tests, strict=True):
        if not np.array_equal(test.faces, first.faces):
            raise FacemixError(
                f"{results[0].experiment} and {one.experiment} were tested on different faces ({len(first.faces)} and "
                f"{len(test.faces)}); run `dvc exp remove {one.experiment}`, then the sweep again, or leave it out"
            )
    shared = [name for name in first.nme if all(name in test.nme for test in tests)]
    nme = {name: np.stack([test.nme[name] for test in tests]) for name in shared}
    chosen = {name: (name, np.isfinite(of_part).all(axis=0)) for name, of_part in nme.items()}
    bins = pose.yaw_bin(first.yaw)
    chosen |= {name: (ALL, bins == name) for name in pose.BINS}
    return {
        name: Part(nme=nme[of][:, faces], photos=first.photos[faces])
        for name, (of, faces) in chosen.items()
        if faces.any()
    }


def best_alpha(rows: Sequence[Mapping[str, Any]]) -> float:
    """The alpha of the least validation NME, mean over seeds; the test set has no say."""
    alphas = sorted({row["alpha"] for row in rows})
    return float(min(alphas, key=lambda alpha: np.mean([row["val_nme"] for row in rows if row["alpha"] == alpha])))


def at_best_alpha(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows without those of `mixing` at any but the best alpha of their `n_real`."""
    mixing = [row for row in rows if row["alpha"] is not None]
    best = {n: best_alpha([row for row in mixing if row["n_real"] == n]) for n in {row["n_real"] for row in mixing}}
    return [row for row in rows if row["alpha"] is None or row["alpha"] == best[row["n_real"]]]


def worth_table(results: Sequence[Result], total: int) -> list[dict[str, Any]]:
    """How many real faces alone each way of using synthetic ones equals: a row a part, strategy and `n_real`.

    Empty where `real_only` has fewer than two numbers of faces. `mixing` stands at its best alpha by validation, of all
    points and faces. The curve that is read backwards is that of `compared_with`: of real faces alone with as many
    faces seen, where it can be read there (`comparison.curves_at`), else of `real_only`; `counts` are its numbers of
    faces, and `faces_seen` and `compared_faces_seen` say what both saw. Numbers of faces are 0 and infinite as in
    `worth.faces_worth`; from `low` to `high` goes the interval of the row's `confidence`, in %: see
    `worth.confidence_of`.
    """
    results, _ = _whole(results, total)
    rows = table(results, total)
    kept = at_best_alpha(rows)
    counts = {name: real_counts(rows, name) for name in (BASELINE, CONTROL)}
    groups: dict[Key, list[int]] = {key: points for key, points in _groups(rows).items() if rows[points[0]] in kept}
    if len(counts[BASELINE]) < 2:
        return []
    seen = {key: results[points[0]].faces_seen for key, points in groups.items()}
    alone: dict[str, dict[Key, list[int]]] = {
        name: {(name, None, n): groups[name, None, n] for n in own} for name, own in counts.items()
    }
    of_curve = {name: seen[next(iter(own))] for name, own in alone.items() if own}
    groups = {key: points for key, points in groups.items() if key[0] not in (BASELINE, CONTROL)}
    found, tested = [], parts(results)
    for name, part in tested.items():
        confidence = worth.confidence_of(name, list(tested))
        for key, points in groups.items():
            strategy, alpha, n_real = key
            readable = {curve: of_curve[curve] for curve in comparison.curves_at(n_real or 0, counts)}
            other = comparison.reference(strategy, readable | {strategy: seen[key]})
            assert other is not None
            nme = _by_group(part.nme, {key: points})
            real = _by_group(part.nme, alone[other])
            n = np.array(counts[other], np.float64)
            ((equal, low, high),) = worth.worth_intervals(n, real, nme, part.photos, confidence=confidence).tolist()
            found.append(
                {
                    "part": name,
                    "faces": len(part.photos),
                    "strategy": strategy,
                    "alpha": alpha,
                    "n_real": n_real or 0,
                    "n_synthetic": results[points[0]].n_synthetic,
                    "seeds": len(points),
                    "test_nme": float(nme.mean()),
                    "worth": equal,
                    "low": low,
                    "high": high,
                    "confidence": round(100 * confidence, 3),
                    "compared_with": other,
                    "counts": counts[other],
                    "faces_seen": seen[key],
                    "compared_faces_seen": of_curve[other],
                }
            )
    return found


def real_counts(rows: Iterable[Mapping[str, Any]], strategy: str = BASELINE) -> list[int]:
    """The numbers of faces that a strategy was trained on, ascending: where its learning curve is known."""
    return sorted({row["n_real"] for row in rows if row["strategy"] == strategy})
