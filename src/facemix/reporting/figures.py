"""What the results say, as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facemix.evaluation.metrics import BOX_SIZES
from facemix.strategies import STRATEGIES
from facemix.verdict.comparison import BASELINE, Trained, faces_shown

DPI = 150
_TABLEAU = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
COLOURS = dict(zip(STRATEGIES, (*_TABLEAU[:7], *_TABLEAU[8:]), strict=False))
"""Of the strategies; none is grey, which says that nothing is decided."""


def face_size(normalizer: str) -> str:
    """The words for a face size: `outer-eye distance`, `box side`."""
    return normalizer.replace("_", " ") if normalizer in BOX_SIZES else f"{normalizer.replace('_', '-')} distance"


def ranking(
    path: Path,
    ranked: Sequence[Mapping[str, Any]],
    trained: Sequence[Trained],
    normalizer: str,
    human_floor: float | None = None,
) -> None:
    """Test NME of each strategy, the best on top; beside it the difference to real faces alone with its interval.

    A ring for each seed where there are several. An interval that shows no difference, or decides nothing, is grey.
    Without `real_only` there are no differences, and an interval without ends (one photograph) is not drawn.

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
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    axes.set_yticks(range(len(ranked)), [row["strategy"] for row in ranked])
    axes.set_ylim(len(ranked) - 0.5, -0.8)
    axes.set_xlabel(f"NME on test, % of the {face_size(normalizer)} (less is better)")
    _name_faces(axes, trained)
    if compared:
        axes = panels[0, 1]
        axes.axvline(0, color="black", linewidth=1, zorder=0)
        for place, row in compared:
            colour = COLOURS[row["strategy"]] if row["verdict"] in ("better", "worse") else "grey"
            ends = row["difference_low"], row["difference_high"]
            if np.all(np.isfinite(ends)):
                axes.plot(ends, [place] * 2, "|-", color=colour, linewidth=2, markersize=9, markeredgewidth=2)
            axes.plot(row["difference"], place, "o", color=colour, markersize=7)
            than = "" if row["compared_with"] == BASELINE else f" ({row['compared_with']})"
            _label(axes, f"{row['difference']:+.2f} {row['verdict']}{than}", row["difference"], place)
        over = "photographs, of one seed" if ranked[0]["seeds"] == 1 else "photographs and seeds"
        axes.set_xlabel(f"difference to {BASELINE}, or to what stands in brackets\n95 % interval over {over}")
    for axes in panels[0]:
        axes.margins(x=0.12)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def _label(axes: Axes, text: str, x: float, y: float) -> None:
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.annotate(text, (x, y), (0, 9), textcoords="offset points", ha="center", bbox=ground)


def ced(
    path: Path,
    table: Sequence[Mapping[str, float]],
    trained: Sequence[Trained],
    normalizer: str,
) -> None:
    """Share of test faces up to each NME, a curve a strategy: to 1.5 times the error at which a face has failed."""
    limit = 1.5 * trained[0].metrics["thresholds"][0]
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    shown = [row for row in table if row["nme"] <= limit]
    for name in [key for key in table[0] if key != "nme"]:
        axes.plot([row["nme"] for row in shown], [row[name] for row in shown], color=COLOURS[name], label=name)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"NME, % of the {face_size(normalizer)}")
    axes.set_ylabel("share of test faces")
    _name_faces(axes, trained)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def box_jitter(path: Path, table: Sequence[Mapping[str, float]], trained: Sequence[Trained], normalizer: str) -> None:
    """Test NME against the jitter of the face boxes, a line a strategy."""
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    levels = [100 * row["jitter"] for row in table]
    for name in [key for key in table[0] if key != "jitter"]:
        axes.plot(levels, [row[name] for row in table], "o-", color=COLOURS[name], label=name)
    axes.set_xticks(levels)
    axes.set_xlabel("jitter of the face boxes: shift and scale up to ± % of the box side")
    axes.set_ylabel(f"NME on test, % of the {face_size(normalizer)}")
    _name_faces(axes, trained)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # the lines leave no corner free
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def nme_by_group(path: Path, table: Mapping[str, Mapping[str, float]], normalizer: str, test_faces: str) -> None:
    """Test NME of each strategy in each group of faces or points: a column of dots a group.

    Args:
        table: group -> strategy -> NME in %.
        test_faces: what they are called, where they are not real ones.
    """
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    names = list(next(iter(table.values())))
    for place, name in enumerate(names):
        aside = 0.6 * ((place + 0.5) / len(names) - 0.5)  # dots of equal height stay apart
        heights = [group[name] for group in table.values()]
        axes.plot(np.arange(len(table)) + aside, heights, "o", color=COLOURS[name], label=name, markersize=7)
    axes.set_xticks(range(len(table)), list(table))
    axes.set_xlim(-0.5, len(table) - 0.5)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", length=0)
    finish(path, figure, axes, normalizer, test_faces)


def reliability(path: Path, shares: Mapping[str, Sequence[tuple[float, float]]], test_faces: str) -> None:
    """How many points lie as near as is said, a line a strategy; on the diagonal all is as it is said.

    Args:
        shares: strategy -> pairs of the share that is said, and the share of test points within that radius.
        test_faces: what they are called where they are no photographs, else empty.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle="--", zorder=0)
    for name, pairs in shares.items():
        axes.plot(*(100 * np.array(pairs)).T, "o-", color=COLOURS[name], label=name, markersize=4)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("points said to lie within a radius, %")
    axes.set_ylabel("test points that do, %")
    _with_legend_beside(path, figure, axes, test_faces)


def label_gap(
    path: Path, image: npt.NDArray[np.uint8], points: npt.NDArray[np.floating], shift: npt.NDArray[np.floating]
) -> None:
    """Arrows on the mean face from where the synthetic convention has each point to where the real one has it.

    Args:
        image: (S, S, 3) RGB.
        points: (K, 2) of the real convention, pixels of the image.
        shift: (K, 2) from the synthetic to the real convention as it is to be drawn, pixels; NaN: no arrow.
    """
    figure, axes = plt.subplots(figsize=(5.5, 5.5))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.imshow(image, alpha=0.75)
    start = points - shift
    axes.quiver(
        *start.T, *shift.T, angles="xy", scale_units="xy", scale=1, color="#b3004b", width=0.004, headwidth=5, zorder=3
    )
    axes.plot(*start.T, "o", color="white", markeredgecolor="#b3004b", markersize=4, zorder=4)
    axes.set_axis_off()
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def faces_of_a_set(path: Path, poses: npt.NDArray[np.floating], sizes: npt.NDArray[np.floating]) -> None:
    """Histograms of a set's head poses and face sizes, on the same axes for every set.

    Args:
        poses: (m, 3) yaw, pitch and roll in degrees, of the faces of which they can be told.
        sizes: (n,) longer side of the landmark box in pixels of the original image.
    """
    figure, panels = plt.subplots(ncols=4, figsize=(10, 2), layout="constrained")
    bins = [*((np.arange(-90, 91, 10)),) * 3, 2.0 ** np.arange(4, 12.1, 0.5)]
    names = ("yaw, degrees", "pitch, degrees", "roll, degrees", "face size, pixels")
    for axes, values, edges, name in zip(panels, [*poses.T, sizes], bins, names, strict=True):
        axes.hist(np.clip(values, edges[0], edges[-1]), edges, color="#33658a")
        axes.set_xlabel(name)
        axes.set_xlim(edges[0], edges[-1])
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:3]:
        axes.set_xticks([-90, -45, 0, 45, 90])
        if not np.isfinite(poses).any():
            axes.set_yticks([])
            axes.text(0.5, 0.5, "cannot be told", transform=axes.transAxes, ha="center", va="center")
    panels[3].set_xscale("log", base=2)
    panels[3].set_xticks([16, 64, 256, 1024, 4096], ["16", "64", "256", "1024", "4096"])
    panels[3].minorticks_off()
    panels[0].set_ylabel("faces")
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def _name_faces(axes: Axes, trained: Sequence[Trained]) -> None:
    """Says above a picture that its test faces are not real ones."""
    if shown := faces_shown(trained):
        axes.set_title(f"test: {shown}", fontsize="medium")


def finish(path: Path, figure: Figure, axes: Axes, normalizer: str, test_faces: str) -> None:
    """Labels a picture of NME with its legend beside it, and writes it as PNG.

    Args:
        test_faces: what they are called where they are no photographs, else empty.
    """
    axes.set_ylabel(f"NME on test, % of the {face_size(normalizer)}")
    _with_legend_beside(path, figure, axes, test_faces)


def _with_legend_beside(path: Path, figure: Figure, axes: Axes, test_faces: str) -> None:
    if test_faces:
        axes.set_title(f"test: {test_faces}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)
