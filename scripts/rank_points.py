"""Ranks the strategies at one number of real faces from a sweep's points alone: no photograph and no model is needed.

    python scripts/rank_points.py docs/grid/points.csv --n-real 100
    python scripts/rank_points.py docs/grid/points.csv --n-real 100 --n-synthetic 1000
    python scripts/rank_points.py docs/grid/points.csv --n-real 100 --at training.learning_rate=0.02

The file is a `points.csv` as `facemix sweep` writes it, with `errors.parquet` beside it. The table is that of
`facemix compare`, by the same code; `mixing` stands at its best alpha on validation. Where there are several numbers of
synthetic faces and `--n-synthetic` names none, the table is of the one that most strategies have, of equals the
greatest; stderr says which.

Where other settings vary, such as `training.learning_rate`, each strategy stands at its own best ones on validation.
That is fair if all were tried as often: stderr says which are best of how many. Tries are judged over the seeds that
all tries of a strategy have, so it is enough to train the best one with the others. `--at` takes the points at one
value of a setting alone, wherever it matters.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.faces.schemes import Scheme
from facemix.sweeps import grid, known, tables
from facemix.sweeps.grid import Result
from facemix.verdict import comparison, tuning
from facemix.verdict.comparison import Trained
from facemix.verdict.worth import ALL


def ranked(
    path: Path, n_real: int, n_synthetic: int | None, scheme: Scheme, at: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of `comparison.rank` at one number of real faces and one of synthetic ones, with what needs none.

    Each has the `alpha` that its strategy stands at.

    Args:
        n_synthetic: None: see `tables.at_one_n_synthetic`.
        at: `KEY=VALUE`: settings at which alone points count.

    Raises:
        FacemixError: nothing was trained at such settings or on such a number of faces, points lack the errors of
            single faces, or tries of settings cannot be compared.
    """
    found = [one.result for one in known.read_points(path)]
    for setting in at:
        found = _at_setting(found, setting)
    tried = _at(found, n_real, n_synthetic)
    try:
        own, choices = tables.at_best_settings(tried)
    except FacemixError as error:
        raise FacemixError(f"{path}: {error}") from None
    for line in tuning.sentences(choices):
        print(line, file=sys.stderr)
    rows = tables.table(own, 0)
    _check_alphas(path, rows)
    kept = tables.at_best_alpha(rows)
    alphas = {row["strategy"]: row["alpha"] for row in kept}
    trained = [_trained(one, scheme) for one, row in zip(own, rows, strict=True) if row in kept]
    return [row | {"alpha": alphas[row["strategy"]]} for row in comparison.rank(trained)]


def _at_setting(found: Sequence[Result], setting: str) -> list[Result]:
    """The points at one value of a setting, and those to which it does not matter."""
    key, _, text = setting.partition("=")
    value, *others = grid.parse_values(key, text)
    there = {settings[key] for one in found if key in (settings := dict(one.point.settings))}
    if others or value not in there:
        expected = f"one of {', '.join(map(str, sorted(there, key=str)))}" if there else "a key that was swept"
        raise FacemixError(f"--at: found {setting}, expected {expected}")
    return [one for one in found if dict(one.point.settings).get(key, value) == value]


def _check_alphas(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Raises FacemixError where the alphas to choose among have not the same seeds."""
    seeds: dict[float, set[int]] = {}
    for row in rows:
        if row["alpha"] is not None:
            seeds.setdefault(row["alpha"], set()).add(row["seed"])
    if len({frozenset(own) for own in seeds.values()}) > 1:
        found = "; ".join(f"{', '.join(map(str, sorted(own)))} at {alpha:g}" for alpha, own in sorted(seeds.items()))
        raise FacemixError(
            f"{path}: found seeds {found} of alpha, expected the same seeds at each; sweep what is missing"
        )


def _at(found: Sequence[Result], n_real: int, n_synthetic: int | None) -> list[Result]:
    """The points at these numbers of faces; says of which number of synthetic ones they are where there are several."""
    own = [one for one in found if dict(one.point.settings).get("n_real", n_real) == n_real]
    if not any("n_real" in dict(one.point.settings) for one in own):
        counts = sorted({n for one in found if (n := dict(one.point.settings).get("n_real"))})
        raise FacemixError(f"--n-real: found {n_real}, expected one of {', '.join(map(str, counts))}")
    there = sorted(tables.synthetic_counts(own))
    if n_synthetic is None:
        kept, n_synthetic = tables.at_one_n_synthetic(own)
    elif n_synthetic in there:
        kept = tables.at_n_synthetic(own, n_synthetic)
    else:
        expected = f"one of {', '.join(map(str, there))}" if there else "none, as nothing has synthetic faces"
        raise FacemixError(f"--n-synthetic: found {n_synthetic}, expected {expected} at {n_real} real ones")
    if len(there) > 1:
        others = " and ".join(f"{count:,}" for count in there if count != n_synthetic)
        print(f"of {n_synthetic:,} synthetic faces; for --n-synthetic there are also {others}", file=sys.stderr)
    return kept


def _trained(one: Result, scheme: Scheme) -> Trained:
    if one.errors is None:
        raise FacemixError(f"{one.experiment}: found no errors of single faces; put errors.parquet beside points.csv")
    tested = one.tested()
    limits = metrics.thresholds(scheme, one.normalizer)
    test = {"nme": one.test_nme, "regions": {}, **metrics.rates(tested.nme[ALL], limits)}
    return Trained(
        strategy=one.point.strategy,
        seed=one.point.seed,
        metrics={"val": {"nme": one.val_nme}, "test": test, "thresholds": list(limits)},
        errors=dict(zip(tested.faces.tolist(), tested.nme[ALL].tolist(), strict=True)),
        photos=dict(zip(tested.faces.tolist(), tested.photos.tolist(), strict=True)),
        box_jitter={},
        history=[],
        faces_seen=one.faces_seen,
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The ranking as Markdown."""
    rates = [key for key in rows[0] if metrics.is_rate(key)]
    header = ["strategy", "faces seen", "test NME", "compared with", "difference, 95 %", "p (Holm)", "verdict"]
    lines = [[*header, *map(str.upper, rates), "val NME"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        spread = "" if row["test_nme_sd"] is None else f" ± {row['test_nme_sd']:.2f}"
        beside = ["", "", "", ""]
        if row["compared_with"]:
            interval = f"{row['difference']:+.2f} ({row['difference_low']:+.2f} to {row['difference_high']:+.2f})"
            p = row["p_adjusted"]
            sure = "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
            beside = [f"`{row['compared_with']}`", interval, sure, row["verdict"]]
        figures = [f"{row[key]:.3f}" if key.startswith("auc") else f"{row[key]:.2f}" for key in rates]
        seen = f"{row['faces_seen']:,}"
        name = f"`{row['strategy']}`" + ("" if row["alpha"] is None else f", alpha = {row['alpha']:g}")
        lines.append([name, seen, f"{row['test_nme']:.2f}{spread}", *beside, *figures, f"{row['val_nme']:.2f}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("--n-real", type=int, required=True, metavar="N")
    parser.add_argument("--n-synthetic", type=int, metavar="N")
    parser.add_argument("--at", action="append", default=[], metavar="KEY=VALUE", help="points at this setting alone")
    options = parser.parse_args()
    try:
        scheme = schemes.load("ibug68")
        print(table(ranked(options.points, options.n_real, options.n_synthetic, scheme, options.at)))
    except (FacemixError, OSError) as error:
        raise SystemExit(f"rank_points: {error}") from None
