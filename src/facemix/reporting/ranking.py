"""The ranking as people read it: which columns, and each value as text."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from facemix.evaluation.metrics import is_rate

_SHOWN = {
    "rank": "rank",
    "strategy": "strategy",
    "test_nme": "test NME",
    "test_nme_sd": "± seeds",
    "compared_with": "compared with",
    "difference": "difference",
    "difference_low": "95 % interval",
    "resamples_below": "resamples below 0",
    "p_adjusted": "p (Holm)",
    "verdict": "verdict",
    "val_nme": "val NME",
    "challenging_nme": "challenging",
    "full_nme": "full",
    "faces_seen": "faces seen",
    "compared_faces_seen": "of the compared",
}


def headings(ranked: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The columns that a ranking has, with their headings: failure rates and AUC before validation."""
    rates = {key: re.sub(r"^\D+", lambda kind: f"{kind[0].upper()}@", key) for key in ranked[0] if is_rate(key)}
    before = list(_SHOWN).index("val_nme")
    shown = dict([*list(_SHOWN.items())[:before], *rates.items(), *list(_SHOWN.items())[before:]])
    return {key: name for key, name in shown.items() if any(row.get(key) is not None for row in ranked)}


def table(ranked: Sequence[Mapping[str, Any]]) -> str:
    """The ranking as text, columns aligned; what no strategy has is left out."""
    columns = headings(ranked)
    cells = [list(columns.values())] + [[cell(key, row) for key in columns] for row in ranked]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if key == "strategy" else cell.rjust(width)
            for key, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    )


def cell(key: str, row: Mapping[str, Any]) -> str:
    """A value of a row of the ranking as text."""
    value = row.get(key)
    if value is None:
        return "-"
    if key == "p_adjusted" and value < 0.001:
        return "< 0.001"
    if key == "difference_low":
        return f"{value:+.2f} to {row['difference_high']:+.2f}"
    if isinstance(value, float):
        return (
            f"{value:+.2f}"
            if key == "difference"
            else f"{value:.3f}"
            if key.startswith("auc") or key in ("resamples_below", "p_adjusted")
            else f"{value:.2f}"
        )
    return f"{value:,}" if key.endswith("faces_seen") else str(value)
