"""Advice from a sweep as a picture: NME against numbers of faces, the laws, and how far they are believed."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from facemix.reporting.advice import Advice
from facemix.reporting.figures import COLOURS, DPI, face_size
from facemix.verdict import advice, curve
from facemix.verdict.advice import Axis, Line
from facemix.verdict.offers import Offer, off_lines
from facemix.verdict.points import Mix

TITLES: dict[Axis, tuple[str, str]] = {
    "n_real": ("real training faces", "synthetic"),
    "n_synthetic": ("synthetic training faces", "real"),
}
_STYLES = ("o", "s", "^", "D", "v")  # of lines of one strategy beside other numbers of faces


def draw(path: Path, found: Advice) -> None:
    """A panel for real faces and one for synthetic ones, where these were swept; one for costs, where there are prices.

    Points are measured means, hollow ones of mixes on no line; bands are the 95 % intervals of the laws; dashed is what
    extrapolates. Where more faces are not shown to help, or the law fails, there is none, and bars are the intervals of
    the points. A star is the cheapest mix, on the line that it comes from.
    """
    axes_of = [axis for axis in TITLES if any(line.axis == axis for line in found.laid.lines)]
    count = len(axes_of) + bool(found.frontier)
    figure, panels = plt.subplots(
        1, count, figsize=(6.4 * count, 4.6), layout="constrained", squeeze=False, sharey=True
    )
    for axes, axis in zip(panels.flat, axes_of, strict=False):
        lines = [line for line in found.laid.lines if line.axis == axis]
        _panel(axes, lines, TITLES[axis], [line.fit.falls and not found.failure(line) for line in lines])
        if axis == "n_real":
            _draw_others(axes, [one for one in off_lines(found.laid, found.laid.lines) if one.n_real])
        if (target := found.question.target) is not None:
            axes.axhline(target, color="black", linestyle=":", linewidth=1, label=f"target {target:g}")
        for offer in found.offers[:1]:
            if offer.over in (None, axis) and (n := getattr(offer, axis)):
                axes.plot(
                    n, offer.nme.value, "*", color=COLOURS[offer.strategy], markersize=16, markeredgecolor="black"
                )
                axes.plot([], [], "*", color="grey", markersize=12, label="cheapest for the target")
        axes.legend(frameon=False, fontsize="small")
    if found.frontier:
        _costs(panels[0, -1], found.frontier)
    size = found.laid.swept.normalizer
    panels[0, 0].set_ylabel(f"test NME, % of the {face_size(size)}" if size else "test NME, %")
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def _panel(axes: Axes, lines: Sequence[Line], titles: tuple[str, str], with_law: Sequence[bool]) -> None:
    title, other = titles
    for line, law in zip(lines, with_law, strict=True):
        beside = sorted({one.fixed for one in lines if one.strategy == line.strategy})
        marker = _STYLES[beside.index(line.fixed) % len(_STYLES)]
        label = f"{line.strategy}, {line.fixed:,} {other}" if line.fixed else line.strategy
        _draw_line(axes, line, marker, label, law)
    ticks = sorted({n for line in lines for n in line.counts})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"{title}; dashed: extrapolated")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _costs(axes: Axes, frontier: Sequence[tuple[float, Offer]]) -> None:
    """The least cost of each target; colours say which strategy reaches it, hollow is what extrapolates."""
    targets, costs = [target for target, _ in frontier], [one.cost for _, one in frontier]
    axes.plot(costs, targets, color="grey", linewidth=1, drawstyle="steps-pre", zorder=1)
    for target, one in frontier:
        face = "none" if one.extrapolated else COLOURS[one.strategy]
        axes.plot(one.cost, target, "o", color=COLOURS[one.strategy], markerfacecolor=face, markersize=6)
    for strategy in dict.fromkeys(one.strategy for _, one in frontier):
        axes.plot([], [], "o", color=COLOURS[strategy], label=strategy)
    if min(costs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("cost of the cheapest mix; hollow: extrapolated")
    axes.legend(frameon=False, fontsize="small")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_others(axes: Axes, mixes: Sequence[Mix]) -> None:
    """Measured means of mixes that are on no line."""
    for strategy, n_synthetic in dict.fromkeys((one.strategy, one.n_synthetic) for one in mixes):
        own = [one for one in mixes if (one.strategy, one.n_synthetic) == (strategy, n_synthetic)]
        label = f"{strategy}, {n_synthetic:,} synthetic, no line" if n_synthetic else f"{strategy}, no line"
        axes.plot(
            [one.n_real for one in own],
            [one.test_nme for one in own],
            _STYLES[0],
            color=COLOURS[strategy],
            markerfacecolor="none",
            markersize=7,
            label=label,
        )


def _draw_line(axes: Axes, line: Line, marker: str, label: str, law: bool) -> None:
    colour, greatest = COLOURS[line.strategy], line.counts[-1]
    axes.plot(line.counts, line.means, marker, color=colour, markersize=5, label=label)
    if not law:
        axes.vlines(
            line.counts, *np.array([curve.interval(one) for one in line.resampled.T]).T, color=colour, alpha=0.4
        )
        return
    for start, stop, style in ((line.counts[0], greatest, "-"), (greatest, advice.REACH * greatest, "--")):
        x = np.geomspace(start, stop, 40)
        laws = curve.law(x[:, None], line.fit.resampled)
        low, high = np.array([curve.interval(one) for one in laws]).T
        axes.plot(x, curve.law(x, line.fit.parameters), style, color=colour, linewidth=1.3)
        axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
