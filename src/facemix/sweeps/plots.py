"""A sweep as pictures: NME against alpha and the number of real faces, and what synthetic faces are worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from facemix.reporting.figures import COLOURS, DPI, finish
from facemix.sweeps import tables

EDGE = 1.5
"""By which factor pictures of numbers of faces reach beyond the least and the greatest."""


def nme_by_alpha(path: Path, curves: Sequence[Mapping[str, Any]], normalizer: str, title: str) -> None:
    """Test NME of `mixing` against alpha, a line a number of real faces, with its interval.

    A star marks the best alpha by validation.

    Args:
        curves: the rows of `tables.curves`.
        title: what holds for all of it, or nothing.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    mixing = [row for row in curves if row["alpha"] is not None]
    counts = sorted({row["n_real"] for row in mixing})
    for place, n in enumerate(counts):
        own = sorted((row for row in mixing if row["n_real"] == n), key=lambda row: row["alpha"])
        colour = plt.get_cmap("viridis")(0.85 * place / max(1, len(counts) - 1))
        _curve(axes, [row["alpha"] for row in own], own, colour, f"{n} real faces")
        best = next(row for row in own if row["alpha"] == tables.best_alpha(own))
        axes.plot(best["alpha"], best["test_nme"], "*", color=colour, markersize=14)
    axes.plot([], [], "*", color="grey", markersize=11, label="best by validation")
    axes.set_xlabel("alpha: share of synthetic faces in a batch")
    _name_interval(axes, curves)
    axes.set_title(title, fontsize="medium")
    finish(path, figure, axes, normalizer, "")


def nme_by_n_real(path: Path, curves: Sequence[Mapping[str, Any]], normalizer: str, title: str) -> None:
    """Test NME against the number of real faces, a line a strategy, with its interval.

    `mixing` is shown at its best alpha by validation; a dashed line is what needs no real faces.

    Args:
        curves: the rows of `tables.curves`.
        title: what holds for all of it, or nothing.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    shown = tables.at_best_alpha(curves)
    ticks = sorted({row["n_real"] for row in shown} - {None})
    for name in dict.fromkeys(row["strategy"] for row in shown):
        own = sorted((row for row in shown if row["strategy"] == name), key=lambda row: row["n_real"] or 0)
        if own[0]["n_real"] is None:
            _curve(axes, [ticks[0], ticks[-1]], own * 2, COLOURS[name], name, "--")
        else:
            _curve(axes, [row["n_real"] for row in own], own, COLOURS[name], name)
    _count_axis(axes, ticks)
    _name_interval(axes, curves)
    axes.set_title(title, fontsize="medium")
    finish(path, figure, axes, normalizer, "")


SWEPT = {"alpha": nme_by_alpha, "n_real": nme_by_n_real}
"""What is drawn where a key varies."""


def _curve(
    axes: Axes, x: Sequence[float], rows: Sequence[Mapping[str, Any]], colour: Any, label: str, style: str = "o-"
) -> None:
    """Mean test NME, and its interval as a band, or as a line where there is one point.

    Where an interval is missing or has no ends (one photograph), neither is drawn.
    """
    axes.plot(x, [row["test_nme"] for row in rows], style, color=colour, markersize=4, label=label)
    if all(row["low"] is not None and np.isfinite(row["low"]) for row in rows):
        low, high = ([row[end] for row in rows] for end in ("low", "high"))
        if len(x) > 1:
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        else:
            axes.vlines(x, low, high, color=colour, alpha=0.5, linewidth=2)


def _count_axis(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("real training faces")


def _name_interval(axes: Axes, curves: Sequence[Mapping[str, Any]]) -> None:
    over = "photographs,\nof one seed" if curves[0]["seeds"] == 1 else "photographs\nand seeds"
    axes.fill_between([], [], [], color="grey", alpha=0.25, linewidth=0, label=f"95 % over {over}")


def worth_by_part(path: Path, worth: Sequence[Mapping[str, Any]], counts: Sequence[int], title: str) -> None:
    """How many real faces alone are as good as N and synthetic ones, against N: a panel a part, a line a strategy.

    The dotted line is where synthetic faces change nothing. Bars are the intervals of the rows. A triangle at the
    edge lies beyond the learning curve of `real_only`, and so does a bar that reaches the edge. What needs no real
    faces stands at 0.

    Args:
        worth: the rows of `tables.worth_table`.
        counts: numbers of faces that `real_only` was trained on, ascending.
        title: what holds for all of it, or nothing.
    """
    parts = list(dict.fromkeys(row["part"] for row in worth))
    names = list(dict.fromkeys(row["strategy"] for row in worth))
    columns = min(3, len(parts))
    rows = -(-len(parts) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.4 * columns + 1.6, 2.9 * rows + 0.4), layout="constrained", squeeze=False
    )
    low, high = counts[0] / EDGE, counts[-1] * EDGE
    none = counts[0] / EDGE**2  # where N = 0 stands
    for axes, part in zip(panels.flat, parts, strict=False):
        own = [row for row in worth if row["part"] == part]
        axes.plot([counts[0], counts[-1]], [counts[0], counts[-1]], ":", color="black", linewidth=1)
        for place, name in enumerate(names):
            shown = sorted((row for row in own if row["strategy"] == name), key=lambda row: row["n_real"])
            aside = 1.05 ** (place - (len(names) - 1) / 2)  # bars of equal N stand side by side
            x = np.array([(row["n_real"] or none) * aside for row in shown])
            y, bottom, top = (np.clip([row[key] for row in shown], low, high) for key in ("worth", "low", "high"))
            axes.vlines(x, bottom, top, color=COLOURS[name], alpha=0.5, linewidth=2)
            axes.plot(x, y, "-", color=COLOURS[name], linewidth=1)
            for marker, chosen in (("v", y == low), ("^", y == high), ("o", (y > low) & (y < high))):
                if np.any(chosen):  # nothing that is not clipped has no place, and the layout fails
                    axes.plot(x[chosen], y[chosen], marker, color=COLOURS[name], markersize=5, clip_on=False)
        axes.set_title(f"{part}, {own[0]['faces']} faces", fontsize="medium")
        _count_axis(axes, counts)
        if any(not row["n_real"] for row in worth):
            axes.set_xticks([none, *counts], ["0", *map(str, counts)])
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(parts) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("worth in real faces alone")
    handles = [Line2D([], [], marker="o", color=COLOURS[name], label=name) for name in names]
    handles += [
        Line2D([], [], marker="^", linestyle="", color="grey", label="beyond the curve"),
        Line2D([], [], linestyle=":", color="black", label="as real faces alone"),
    ]
    figure.legend(handles=handles, frameon=False, loc="outside right center")
    if title:
        figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)
