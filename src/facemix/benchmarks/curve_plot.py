"""The curves of `facemix bench realism` as a picture."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from facemix.benchmarks import findings
from facemix.benchmarks.findings import Trainings
from facemix.benchmarks.halves import MEASURES
from facemix.reporting.figures import DPI
from facemix.verdict import bootstrap, curve
from facemix.verdict.curve import Fit

BEYOND = 3.0
"""How far fits are drawn: to this many times the greatest n."""


def draw(path: Path, trainings: Trainings) -> None:
    """Mean NME against n: a panel for each measure and number of steps, points with their intervals and fits.

    A dashed line is the fit beyond the greatest n, a dotted one its C.
    """
    all_steps = sorted({steps for _, _, steps in trainings})
    figure, panels = plt.subplots(
        len(all_steps),
        len(MEASURES),
        figsize=(5.2 * len(MEASURES), 3.8 * len(all_steps)),
        layout="constrained",
        squeeze=False,
    )
    for row, steps in zip(panels, all_steps, strict=True):
        for axes, measure in zip(row, MEASURES, strict=True):
            _panel(axes, trainings, measure, steps)
            axes.set_title(measure if len(all_steps) == 1 else f"{measure}, steps {steps}", fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def _panel(axes: Axes, trainings: Trainings, measure: str, steps: int) -> None:
    fits = findings.curves(trainings, measure)
    names = list(dict.fromkeys(name for name, _, own in trainings if own == steps))
    for place, name in enumerate(names):
        counts = sorted(n for own, n, own_steps in trainings if (own, own_steps) == (name, steps))
        colour, aside = f"C{place}", 1.02 ** (place - (len(names) - 1) / 2)  # bars of equal n stand side by side
        for n in counts:
            own = trainings[name, n, steps]
            errors = findings.errors_of(own, measure)[None]
            low, high = curve.interval(bootstrap.resampled_means(errors, own[0].errors.photos)[:, 0])
            axes.vlines(n * aside, low, high, color=colour, alpha=0.5, linewidth=2)
            axes.plot(n * aside, errors.mean(), "o", color=colour, markersize=5, label=name if n == counts[0] else None)
        if (name, steps) in fits and (fit := fits[name, steps][1]).falls:
            _draw_fit(axes, fit, counts, colour)
    axes.set_xscale("log")
    ticks = sorted({n for _, n, own in trainings if own == steps})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("faces trained on, n")
    axes.set_ylabel("NME on real validation faces, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _draw_fit(axes: Axes, fit: Fit, counts: list[int], colour: str) -> None:
    parameters = np.array([fit.d.value, fit.a.value, fit.c.value])
    for start, stop, style in ((counts[0], counts[-1], "-"), (counts[-1], BEYOND * counts[-1], "--")):
        x = np.geomspace(start, stop, 100)
        axes.plot(x, curve.law(x, parameters), style, color=colour, linewidth=1.2)
    axes.axhline(fit.c.value, linestyle=":", color=colour, linewidth=1)
