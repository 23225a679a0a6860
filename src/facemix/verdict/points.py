"""A finished sweep's points, read: each mix of real and synthetic faces with the test errors of its trainings."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces.face import STAND_IN
from facemix.files import read_text
from facemix.strategies import ADAPTER_FROM, STRATEGIES
from facemix.verdict import tuning
from facemix.verdict.tuning import Choice, MixName, Try

Doubles = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

POINTS, ERRORS = "points.csv", "errors.parquet"
SWEEP = "facemix sweep n_real=25,50,100,all seeds=3"
"""What to run where there is no sweep; the faces of a fresh clone suffice for it."""
_KEYS = ("strategy", "alpha", "n_real", "n_synthetic", "seed")
_NEEDED = ("strategy", "alpha", "n_real", "seed", "val_nme", "test_nme")
_ALL = "all"  # what `n_synthetic` may hold in the place of a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The trainings of one strategy, alpha and numbers of faces, which differ in their seeds alone."""

    strategy: str
    alpha: float | None
    n_real: int
    """Real faces with their labels; 0 where it needs none."""
    n_synthetic: int
    """Synthetic faces; 0 where it needs none."""
    val_nme: float
    """Mean over the seeds, %."""
    errors: Doubles
    """(S, F) NME of each seed and test face, %."""
    faces_seen: int | None
    """By every network behind it; None where the sweep did not record it."""
    hours: float | None = None
    """Of training for one detector, with the networks behind it; None where the sweep did not record them."""

    @property
    def test_nme(self) -> float:
        """Mean over seeds and faces, %."""
        return float(self.errors.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep has measured: all mixes at the same seeds, tested on the same faces."""

    mixes: tuple[Mix, ...]
    seeds: tuple[int, ...]
    photos: Names
    """(F,) the photograph of each test face."""
    stand_in: bool
    """Whether the test faces are renders that stand in for photographs."""
    normalizer: str = ""
    """The face size under the NME; empty where the sweep did not record it."""
    choices: tuple[Choice, ...] = ()
    """The settings that each mix stands at, where several were tried."""


def renders_are_used(strategy: str) -> bool:
    """Whether a strategy learns from synthetic faces, itself or by the network that it starts from."""
    row = STRATEGIES[strategy]
    return row.synthetic_share != 0 or row.starts_from is not None


def budgets(strategy: str) -> int:
    """How many trainings' faces the networks behind a strategy see: the cost where a sweep did not record faces."""
    row = STRATEGIES[strategy]
    return row.budgets + (row.starts_from is not None) + row.adapts_labels


def behind(strategy: str) -> tuple[str, ...]:
    """The strategies that are trained for one detector of a strategy, itself the last."""
    row = STRATEGIES[strategy]
    first = row.starts_from or row.shares_network_of or (ADAPTER_FROM if row.adapts_labels else None)
    return (*(behind(first) if first else ()), strategy)


def hours(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Hours of training for one detector of each strategy, with all networks behind it, from points.csv's seconds.

    Of each strategy's own trainings the median counts, per face seen; one that saw other numbers of faces takes time in
    proportion. A strategy of whose own or other trainings no time was recorded is left out.
    """
    used = [row for row in rows if row.get("faces_seen") and not (row["alpha"] and float(row["alpha"]) == 0)]
    seen = {row["strategy"]: int(row["faces_seen"]) for row in used}
    paces: dict[str, list[float]] = {}
    for row in used:
        if row.get("seconds"):
            paces.setdefault(row["strategy"], []).append(float(row["seconds"]) / int(row["faces_seen"]))
    own = {name: float(np.median(pace)) * seen[name] for name, pace in paces.items()}
    return {
        name: sum(own[one] for one in behind(name)) / 3600 for name in seen if all(one in own for one in behind(name))
    }


def read(folder: Path, n_synthetic: int | None) -> Swept:
    """Reads `points.csv` and `errors.parquet`, which `facemix sweep` writes.

    `mixing` at alpha = 0 is left out: it is `real_only`. Where other settings vary, each mix stands at its own best
    ones: see `tuning.at_best`.

    Args:
        folder: where they are.
        n_synthetic: how many synthetic faces trainings use for which points.csv has no number; None: not known.

    Raises:
        FacemixError: a file is missing or has not what it should, tries of settings cannot be compared, or there are
            fewer than two seeds.
    """
    rows = _rows(folder / POINTS)
    errors, photos, subsets = _errors(folder / ERRORS, rows)
    measured = [
        (row, nme) for row, nme in zip(rows, errors, strict=True) if row["alpha"] == "" or float(row["alpha"]) > 0
    ]
    kept, choices = _at_best_settings(folder / POINTS, [row for row, _ in measured], n_synthetic)
    groups: dict[tuple[Any, ...], list[tuple[Mapping[str, str], Doubles]]] = {}
    for row, nme in (measured[i] for i in kept):
        groups.setdefault(_key({key: row.get(key) for key in _KEYS}, _KEYS[:-1]), []).append((row, nme))
    seeds = _common_seeds(folder / POINTS, [[row for row, _ in own] for own in groups.values()])
    mixes = []
    of_training = hours([measured[i][0] for i in kept])
    for own in groups.values():
        _check_once(folder / POINTS, [row for row, _ in own])
        chosen = sorted(
            ((row, nme) for row, nme in own if int(row["seed"]) in seeds), key=lambda one: int(one[0]["seed"])
        )
        first, _ = chosen[0]
        mixes.append(
            Mix(
                strategy=first["strategy"],
                alpha=float(first["alpha"]) if first["alpha"] else None,
                n_real=int(first["n_real"] or 0),
                n_synthetic=_synthetic_count(folder / POINTS, first, n_synthetic),
                val_nme=float(np.mean([float(row["val_nme"]) for row, _ in chosen])),
                errors=np.stack([nme for _, nme in chosen]),
                faces_seen=int(first["faces_seen"]) if first.get("faces_seen") else None,
                hours=of_training.get(first["strategy"]),
            )
        )
    normalizer = _normalizer(folder / POINTS, rows)
    return Swept(
        mixes=tuple(mixes),
        seeds=seeds,
        photos=photos,
        stand_in=STAND_IN in subsets,
        normalizer=normalizer,
        choices=tuple(choices),
    )


def _at_best_settings(
    path: Path, rows: Sequence[Mapping[str, str]], n_synthetic: int | None
) -> tuple[list[int], list[Choice]]:
    """Which rows are of the best settings of their mix, and which these are."""
    tries = [
        Try(
            mix=MixName(
                strategy=row["strategy"],
                alpha=float(row["alpha"]) if row["alpha"] else None,
                n_real=int(row["n_real"] or 0),
                n_synthetic=_synthetic_count(path, row, n_synthetic),
            ),
            settings=_settings(row),
            seed=int(row["seed"]),
            val_nme=float(row["val_nme"]),
            faces_seen=int(row["faces_seen"]) if row.get("faces_seen") else None,
        )
        for row in rows
    ]
    try:
        return tuning.at_best(tries)
    except FacemixError as error:
        raise FacemixError(f"{path}: {error}") from None


def _settings(row: Mapping[str, str]) -> dict[str, Any]:
    """What was swept beside the mix: dotted keys of params.yaml."""
    return {key: _value(value) for key, value in row.items() if "." in key and value}


def _normalizer(path: Path, rows: Sequence[Mapping[str, str]]) -> str:
    """The face size of all points; empty where there is no such column, as older code wrote none."""
    found = sorted({row.get("normalizer") or "" for row in rows})
    if len(found) > 1:
        raise FacemixError(
            f"{path}: found several face sizes under the NME ({', '.join(one or 'none' for one in found)}), expected "
            "one; run the sweep again with one evaluation.normalizer, which trains nothing anew"
        )
    return found[0]


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of points.csv."""
    if not path.exists():
        raise FacemixError(f"{path}: not found, expected the points of a finished sweep; run `{SWEEP}` first")
    reader = csv.DictReader(read_text(path).splitlines())
    missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
    rows = list(reader)
    if missing or not rows:
        found = f"no column {' and '.join(missing)}" if missing else "no points"
        raise FacemixError(f"{path}: found {found}, expected what `facemix sweep` writes; run the sweep again")
    for line, row in enumerate(rows, 2):
        check_row(f"{path}: line {line}", row)
    return rows


def check_row(place: str, row: Mapping[str, str | None]) -> None:
    """Raises FacemixError where a row of points.csv has a strategy, or numbers of it, that no sweep writes.

    Args:
        place: the file and line, for the message.
    """
    if None in row:
        raise FacemixError(f"{place}: found more fields than there are columns, expected one for each; mend the line")
    name = row["strategy"] or ""
    if name not in STRATEGIES:
        raise FacemixError(f"{place}: found strategy {name!r}, expected one of {', '.join(STRATEGIES)}")
    strategy = STRATEGIES[name]
    needs_real = strategy.synthetic_share != 1 or strategy.adapts_labels or strategy.adapts_predictions
    if strategy.synthetic_share == "alpha":
        number(place, row, "alpha", most=1)
    elif row["alpha"]:
        raise FacemixError(f"{place}: found alpha {row['alpha']!r} of {name}, expected none; empty the field")
    number(place, row, "n_real", int, least=1, needed=needs_real)
    for key, kind, needed in (
        ("seed", int, True),
        ("val_nme", float, True),
        ("test_nme", float, True),
        ("faces_seen", int, False),
        ("seconds", float, False),
    ):
        number(place, row, key, kind, needed=needed)


def number(
    place: str,
    row: Mapping[str, str | None],
    key: str,
    kind: type = float,
    *,
    least: float = 0,
    most: float = np.inf,
    needed: bool = True,
) -> Any:
    """A number of a row of points.csv; None where there is none and none is needed.

    Raises:
        FacemixError: it is no number, or less or more than it can be.
    """
    text = row.get(key) or ""
    if not text and not needed:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and least <= value <= most):
        wanted = "a number" if least == 0 and most == np.inf else f"a number from {least:g}"
        wanted += f" to {most:g}" if most < np.inf else ""
        raise FacemixError(f"{place}: found {key} {text!r}, expected {wanted}; run the sweep again, or mend the line")
    return value


def _key(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[Any, ...]:
    """What identifies a point: words of CSV and values of Parquet become the same."""
    return tuple(_value(row[key]) for key in keys)


def _value(value: Any) -> Any:
    """A value of CSV or Parquet: a number or a switch where it is one."""
    if value is None or value == "":
        return None
    if (word := str(value).lower()) in ("true", "false"):
        return word == "true"
    try:
        number = float(str(value))
    except ValueError:
        return str(value)
    return int(number) if number.is_integer() else number


def _errors(path: Path, rows: Sequence[Mapping[str, str]]) -> tuple[list[Doubles], Names, Names]:
    """The errors (F,) of the point in each row, and the photographs and subsets (F,) of the faces."""
    import pyarrow
    import pyarrow.parquet as parquet

    again = "run the same sweep again, which trains nothing anew and writes it"
    if not path.exists():
        raise FacemixError(f"{path}: not found, expected the errors of each test face; {again}")
    try:
        table = parquet.read_table(path)
        swept = table.column_names[: table.column_names.index("face")]
        faces, photos, subsets = (
            np.array(table[key].to_pylist(), dtype=np.str_) for key in ("face", "photo", "subset")
        )
        nme = table["nme"].to_numpy().astype(np.float64)
        shared = [key for key in swept if key in rows[0]]
        places: dict[tuple[Any, ...], list[int]] = {}
        for i, row in enumerate(table.select(shared).to_pylist()):
            places.setdefault(_key(row, shared), []).append(i)
    except (pyarrow.ArrowInvalid, KeyError, ValueError) as error:
        raise FacemixError(f"{path}: not what a sweep writes ({error}); {again}") from None
    if not places:
        raise FacemixError(f"{path}: found no rows, expected the errors of each test face; {again}")
    first = next(iter(places.values()))
    first = [first[i] for i in np.argsort(faces[first], kind="stable")]
    found = []
    for row in rows:
        own = places.get(_key(row, shared), [])
        if not own:
            raise FacemixError(
                f"{path}: found no errors of {_said(row)}, which {POINTS} has; {again}, or, where the point is known "
                f"from a file (--known), put its {ERRORS} beside that"
            )
        own = [own[i] for i in np.argsort(faces[own], kind="stable")]
        if not np.array_equal(faces[own], faces[first]):
            raise FacemixError(f"{path}: found other test faces for {_said(row)} than for the first point; {again}")
        found.append(nme[own])
    test_nme = np.array([float(row["test_nme"]) for row in rows])
    chosen = judged(np.stack(found), subsets[first], test_nme)
    if chosen is None:
        raise FacemixError(f"{path}: found other errors than those of which {POINTS} holds the mean; {again}")
    if len(set(photos[first][chosen].tolist())) < 2:
        raise FacemixError(
            f"{path}: found test faces of one photograph, expected two photographs or more; test on more"
        )
    return [errors[chosen] for errors in found], photos[first][chosen], subsets[first][chosen]


def judged(nme: Doubles, subsets: Names, test_nme: Doubles) -> npt.NDArray[np.bool_] | None:
    """Which faces (F,) have errors (p, F) whose mean is the `test_nme` (p,) of points.csv; None where no subsets fit.

    The errors of other subsets, such as Challenging, stand in the same file.
    """
    names = sorted(set(subsets.tolist()))
    for size in range(len(names), 0, -1):
        for some in combinations(names, size):
            inside = np.isin(subsets, some)
            if np.allclose(nme[:, inside].mean(axis=1), test_nme, rtol=1e-3, atol=0):
                return inside
    return None


def _said(row: Mapping[str, str]) -> str:
    keys = [*_KEYS, *(key for key in row if "." in key)]
    return ", ".join(f"{key} {row[key]}" for key in keys if row.get(key))


def _check_once(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Raises FacemixError where a mix has two trainings of one seed: their spread would count as that of seeds."""
    seeds = [int(row["seed"]) for row in rows]
    if twice := next((row for row in rows if seeds.count(int(row["seed"])) > 1), None):
        raise FacemixError(f"{path}: found {_said(twice)} twice, expected it once; remove the line that is wrong")


def _common_seeds(path: Path, groups: Sequence[Sequence[Mapping[str, str]]]) -> tuple[int, ...]:
    """The seeds that every mix has, two at least."""
    of_groups = [{int(row["seed"]) for row in rows} for rows in groups]
    common = sorted(set.intersection(*of_groups)) if of_groups else []
    if len(common) < 2:
        fewest = f" (fewest: {_said({**min(groups, key=len)[0], 'seed': ''})})" if groups else ""
        raise FacemixError(
            f"{path}: found {len(common) or 'no'} seed that all mixes share{fewest}, expected 2 or more, since one "
            "seed decides nothing; run the sweep again with seeds=3"
        )
    return tuple(common)


def _synthetic_count(path: Path, row: Mapping[str, str], otherwise: int | None) -> int:
    if not renders_are_used(row["strategy"]):
        return 0
    text = row.get("n_synthetic") or ""
    if text and text != _ALL:
        try:
            return int(text)
        except ValueError:
            raise FacemixError(f"{path}: found n_synthetic {text!r}, expected a number of faces, or {_ALL}") from None
    if otherwise is None:
        raise FacemixError(
            f"{path}: found no number of synthetic faces for {_said({**row, 'n_synthetic': ''})}, expected one in the "
            "column n_synthetic, in params.yaml, or a pack of synthetic faces in data/packs/synthetic; set n_synthetic "
            "in params.yaml to the number that the sweep used"
        )
    return otherwise
