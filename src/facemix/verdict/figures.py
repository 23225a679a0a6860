"""The ranking, the CED and the dependence on the face box as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from facemix.strategies import STRATEGIES
from facemix.verdict.comparison import BASELINE, Trained, faces_shown

FACE_SIZES = {
    "outer_eye": "outer-eye distance",
    "inter_pupil": "inter-pupil distance",
    "box_side": "box side",
    "box_diagonal": "box diagonal",
}
COLOURS = dict(zip(STRATEGIES, plt.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]


def ranking(
    path: Path,
    ranked: Sequence[Mapping[str, Any]],
    trained: Sequence[Trained],
    normalizer: str,
    human_floor: float | None = None,
) -> None:
    """Test NME of each strategy, the best on top; beside it the difference to `real_only` with its interval.

    A ring for each seed where there are several. The interval of a tie is grey. Without `real_only` there are no
    differences, and an interval without ends (one photograph) is not drawn.

    Args:
        human_floor: NME in % between two annotators, a dashed line.
    """
    compared = [(place, row) for place, row in enumerate(ranked) if row["verdict"]]
    figure, panels = plt.subplots(
        ncols=2 if compared else 1,
        figsize=(11 if compared else 7, 0.5 * len(ranked) + 1.3),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    axes = panels[0, 0]
    for place, row in enumerate(ranked):
        name = row["strategy"]
        axes.plot(row["test_nme"], place, "o", color=COLOURS[name], markersize=9)
        _label(axes, f"{row['test_nme']:.2f}", row["test_nme"], place)
        seeds = [one.metrics["test"]["nme"] for one in trained if one.strategy == name]
        if len(seeds) > 1:
            axes.plot(seeds, [place] * len(seeds), "o", color=COLOURS[name], fillstyle="none", markersize=5)
    if human_floor is not None:
        axes.axvline(human_floor, color="grey", linestyle="--", label="between two people")
        axes.legend(frameon=False, loc="upper right")
    axes.set_yticks(range(len(ranked)), [row["strategy"] for row in ranked])
    axes.set_ylim(len(ranked) - 0.5, -0.8)
    axes.set_xlabel(f"NME on test, % of the {FACE_SIZES[normalizer]} (less is better)")
    _name_faces(axes, trained)
    if compared:
        axes = panels[0, 1]
        axes.axvline(0, color="black", linewidth=1, zorder=0)
        for place, row in compared:
            colour = "grey" if row["verdict"] == "tie" else COLOURS[row["strategy"]]
            ends = row["difference_low"], row["difference_high"]
            if np.all(np.isfinite(ends)):
                axes.plot(ends, [place] * 2, "|-", color=colour, linewidth=2, markersize=9, markeredgewidth=2)
            axes.plot(row["difference"], place, "o", color=colour, markersize=7)
            _label(axes, f"{row['difference']:+.2f} {row['verdict']}", row["difference"], place)
        over = "photographs, of one seed" if ranked[0]["seeds"] == 1 else "photographs and seeds"
        axes.set_xlabel(f"difference to {BASELINE}\n95 % interval over {over}")
    for axes in panels[0]:
        axes.margins(x=0.12)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _label(axes: Axes, text: str, x: float, y: float) -> None:
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.annotate(text, (x, y), (0, 9), textcoords="offset points", ha="center", bbox=ground)


def ced(
    path: Path,
    table: Sequence[Mapping[str, float]],
    trained: Sequence[Trained],
    normalizer: str,
    limit: float = 12,
) -> None:
    """Share of test faces up to each NME, a curve a strategy."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    shown = [row for row in table if row["nme"] <= limit]
    for name in [key for key in table[0] if key != "nme"]:
        axes.plot([row["nme"] for row in shown], [row[name] for row in shown], color=COLOURS[name], label=name)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"NME, % of the {FACE_SIZES[normalizer]}")
    axes.set_ylabel("share of test faces")
    _name_faces(axes, trained)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def box_jitter(path: Path, table: Sequence[Mapping[str, float]], trained: Sequence[Trained], normalizer: str) -> None:
    """Test NME against the jitter of the face boxes, a line a strategy."""
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    levels = [100 * row["jitter"] for row in table]
    for name in [key for key in table[0] if key != "jitter"]:
        axes.plot(levels, [row[name] for row in table], "o-", color=COLOURS[name], label=name)
    axes.set_xticks(levels)
    axes.set_xlabel("jitter of the face boxes: shift and scale up to ± % of the box side")
    axes.set_ylabel(f"NME on test, % of the {FACE_SIZES[normalizer]}")
    _name_faces(axes, trained)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # the lines leave no corner free
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _name_faces(axes: Axes, trained: Sequence[Trained]) -> None:
    """Says above a picture that its test faces are not real ones."""
    if shown := faces_shown(trained):
        axes.set_title(f"test: {shown}", fontsize="medium")
