"""The ranking, the CED and the dependence on the face box as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from facemix.strategies import STRATEGIES
from facemix.verdict.comparison import Trained, faces_shown

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
    """Test NME of each strategy, the best on top; a ring for each seed where there are several.

    Args:
        human_floor: NME in % between two annotators, a dashed line.
    """
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(ranked) + 1.3), layout="constrained")
    for place, row in enumerate(ranked):
        name = row["strategy"]
        axes.plot(row["test_nme"], place, "o", color=COLOURS[name], markersize=9)
        axes.annotate(
            f"{row['test_nme']:.2f}", (row["test_nme"], place), (0, 8), textcoords="offset points", ha="center"
        )
        seeds = [one.metrics["test"]["nme"] for one in trained if one.strategy == name]
        if len(seeds) > 1:
            axes.plot(seeds, [place] * len(seeds), "o", color=COLOURS[name], fillstyle="none", markersize=5)
    if human_floor is not None:
        axes.axvline(human_floor, color="grey", linestyle="--", label="between two people")
        axes.legend(frameon=False, loc="lower right")
    axes.set_yticks(range(len(ranked)), [row["strategy"] for row in ranked])
    axes.set_ylim(len(ranked) - 0.5, -0.8)
    axes.margins(x=0.08)
    axes.set_xlabel(f"NME on test, % of the {FACE_SIZES[normalizer]} (less is better)")
    _name_faces(axes, trained)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


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
