"""Draws the pipeline as the README shows it: docs/pipeline.png.

    python scripts/make_diagrams.py

Faces go from left to right: sources, packs, a training for each strategy and seed, predictions, comparison, report.
The rows are those of the table of strategies; the script stops where one of them has no words here.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from facemix.strategies import STRATEGIES

FILE = Path(__file__).parents[1] / "docs" / "pipeline.png"
WIDTH, HEIGHT = 10.0, 4.75
"""Inches, which are the units of the drawing, too."""
DPI = 160

INK, QUIET, LINE = "#22303c", "#5c6b78", "#9aa7b2"
REAL, SYNTHETIC, RESULT, PLAIN = "#d9772b", "#3a78b8", "#3f8f6b", "#f5f7f9"
TINTS = {REAL: "#fdf0e5", SYNTHETIC: "#e8f1fa", RESULT: "#e8f5ee", LINE: PLAIN}

ROWS = {
    "real_only": "real faces alone",
    "control": "the same, trained twice as long",
    "two_heads": "both in each batch, a head for each",
    "fine_tuning": "synthetic faces first, then real ones",
    "mixing": "both in each batch, labels adapted",
    "data_adaptation": "synthetic faces, labels adapted",
    "label_adaptation": "synthetic faces, predictions adapted",
    "synthetic_only": "synthetic faces as they are",
}
"""What each strategy trains on, from the top of the panel to its bottom."""
COLOURS = {
    "real_only": [REAL],
    "control": [REAL],
    "two_heads": [SYNTHETIC, REAL],
    "fine_tuning": [SYNTHETIC, REAL],
    "mixing": [SYNTHETIC, REAL],
}
"""Of the faces that a network sees; those that are not named see synthetic ones."""
TOP, STEP = 3.8, 0.42
"""Height of the first row, and of each."""


def box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, title: str, text: str = "") -> None:
    """A rounded box with a title and text below it; x, y is its lower left corner."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.09", fc=TINTS[colour], ec=colour, lw=1.4
        )
    )
    centre = x + width / 2, y + height / 2
    lift = 0.085 * (1 + text.count("\n")) if text else 0.0
    axes.text(centre[0], centre[1] + lift + 0.02, title, ha="center", va="center", size=10.5, weight="bold", color=INK)
    if text:
        axes.text(centre[0], centre[1] - 0.12, text, ha="center", va="center", size=8.8, color=QUIET, linespacing=1.25)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = LINE) -> None:
    """A straight arrow."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, lw=1.5, color=colour, shrinkA=0, shrinkB=0)
    )


def panel(axes: Axes, x: float, width: float) -> None:
    """The trainings: a row a strategy, a dot for each kind of faces, and what one strategy takes from another."""
    bottom, top = TOP - STEP * (len(ROWS) - 1) - 0.68, TOP + 0.66
    box(axes, x, bottom, width, top - bottom, LINE, "")
    title = "a training for each strategy and seed"
    axes.text(x + width / 2, top - 0.22, title, ha="center", va="center", size=10.5, weight="bold", color=INK)
    place = {name: TOP - STEP * i for i, name in enumerate(ROWS)}
    dots = x + 0.7
    for name, y in place.items():
        colours = COLOURS.get(name, [SYNTHETIC])
        for i, colour in enumerate(colours):
            axes.add_patch(Circle((dots + 0.15 * (i - (len(colours) - 1) / 2), y), 0.062, color=colour))
        axes.text(dots + 0.27, y + 0.085, name, va="center", size=9.6, family="monospace", weight="bold", color=INK)
        axes.text(dots + 0.27, y - 0.105, ROWS[name], va="center", size=8.6, color=QUIET)
    edge = dots - 0.2
    for giver, takers, at, colour, drop in (
        ("synthetic_only", ("label_adaptation", "fine_tuning"), x + 0.2, SYNTHETIC, 0.06),
        ("label_adaptation", ("data_adaptation", "mixing"), x + 0.34, RESULT, -0.06),
    ):
        axes.plot([edge, at, at], [place[giver] - drop] * 2 + [place[takers[-1]]], color=colour, lw=1.4)
        for taker in takers:
            y = place[taker] - (drop if taker == "label_adaptation" else 0)
            arrow(axes, (at, y), (edge, y), colour)
    for at, colour, text in (
        (x + 0.2, SYNTHETIC, "trained network"),
        (x + 1.52, RESULT, "label adapter"),
    ):
        axes.plot([at, at + 0.2], [bottom + 0.19] * 2, color=colour, lw=1.8)
        axes.text(at + 0.27, bottom + 0.185, text, va="center", size=8.4, color=QUIET)


def main() -> None:
    """Writes docs/pipeline.png."""
    if set(ROWS) != set(STRATEGIES):
        raise SystemExit(f"strategies: found {sorted(STRATEGIES)}, expected those of ROWS: {sorted(ROWS)}")
    figure = plt.figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")

    box(axes, 0.12, 2.72, 1.5, 1.05, REAL, "real faces", "your photographs, or\na rendered stand-in")
    box(axes, 0.12, 0.92, 1.5, 1.05, SYNTHETIC, "synthetic faces", "imported, or\nrendered by facemix")
    box(axes, 2.05, 2.72, 1.36, 1.05, REAL, "real pack", "train, validation\nand test")
    box(axes, 2.05, 0.92, 1.36, 1.05, SYNTHETIC, "synthetic pack", "train")
    for y, colour in ((3.245, REAL), (1.445, SYNTHETIC)):
        arrow(axes, (1.62, y), (2.05, y), colour)
        arrow(axes, (3.41, y), (3.84, y), colour)
    panel(axes, 3.84, 3.6)

    box(axes, 7.88, 3.0, 2.0, 1.0, RESULT, "predictions", "on the same validation\nand test faces")
    box(axes, 7.88, 1.6, 2.0, 1.0, RESULT, "compare", "errors, differences,\nhow sure they are")
    box(axes, 7.88, 0.2, 2.0, 1.0, RESULT, "report", "one page, one verdict")
    arrow(axes, (7.44, 3.5), (7.88, 3.5))
    arrow(axes, (8.88, 3.0), (8.88, 2.6), RESULT)
    arrow(axes, (8.88, 1.6), (8.88, 1.2), RESULT)
    # The faces that judge come from the real pack, past all trainings.
    axes.plot([2.73, 2.73, 8.88], [3.77, 4.62, 4.62], color=REAL, lw=1.5)
    arrow(axes, (8.88, 4.62), (8.88, 4.0), REAL)
    axes.text(2.6, 4.33, "faces that judge\nevery detector", ha="right", va="center", size=8.6, color=QUIET)
    figure.savefig(FILE, dpi=DPI, facecolor="white")
    print(FILE)


if __name__ == "__main__":
    main()
