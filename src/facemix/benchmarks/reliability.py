"""`facemix bench reliability`: whether a detector knows how sure it is of each point, on real and rendered faces.

A detector says of each point what error it expects, and so the radius that holds the true point with any probability.
Here are the shares of points that really lie within these radii.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix.benchmarks.realism import Folder, of_split, read
from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.face import Face
from facemix.faces.images import read_image
from facemix.reporting.figures import DPI
from facemix.training import certainty
from facemix.use.detector import Detector

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHOWN = (0.5, 0.8, 0.9, 0.95)
"""Levels in the table."""

Shares = Mapping[float, float]


def reliability(
    model: Path, real: Folder | None, sets: Sequence[Folder], picture: Path | None = None
) -> dict[str, Shares]:
    """Measures a detector in the true boxes of faces, and prints what comes out.

    Args:
        model: folder of the detector.
        real: real faces, of which those of the test split are looked at.
        sets: other faces, such as rendered ones; all of each are looked at.
        picture: file for the curves, as a PNG.

    Returns:
        name of the set -> level -> share of points within its radius.

    Raises:
        FacemixError: a face or the model cannot be used, or the model is not calibrated.
    """
    detector = Detector.load(model)
    if not detector.radius:
        raise FacemixError(f"{model}: is not calibrated; train it again, with validation faces")
    chosen = [] if real is None else [(f"{real.name} test", of_split(real, "test"))]
    chosen += [(folder.name, read("--set", folder)) for folder in sets]
    found = {name: shares(detector, faces, name) for name, faces in chosen}
    print(said(found))
    if picture:
        draw(picture, found)
    return found


def shares(detector: Detector, faces: Sequence[Face], name: str) -> Shares:
    """Level -> share of the points of faces that lie within its radius; of those that both schemes name."""
    expected, distances = [], []
    for face in tqdm(faces, name, unit="face", disable=None):
        found = detector.predict(read_image(face.image), geometry.landmark_box(face.landmarks)[None])
        truth = schemes.in_scheme(face.landmarks, face.scheme, detector.scheme)
        distances.append(np.linalg.norm(found.points[0] - truth, axis=-1))
        expected.append(found.errors[0])
    return certainty.coverage(detector.radius, np.stack(expected), np.stack(distances))


def said(found: Mapping[str, Shares]) -> str:
    """The table that is printed."""
    rows = {"said to lie within the radius": dict(zip(SHOWN, SHOWN, strict=True)), **found}
    width = max(len(name) for name in rows)
    return "\n".join(
        f"{name:{width}}" + "".join(f"{100 * one[level]:8.1f} %" for level in SHOWN) for name, one in rows.items()
    )


def draw(path: Path, found: Mapping[str, Shares]) -> None:
    """The shares of all levels, a line a set; on the diagonal what is said is true."""
    figure, axes = plt.subplots(figsize=(5, 4.6), layout="constrained")
    axes.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle="--", zorder=0)
    for name, one in found.items():
        pairs: npt.NDArray[np.float64] = 100 * np.array(sorted(one.items()))
        axes.plot(*pairs.T, "o-", label=name, markersize=4)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("points said to lie within a radius, %")
    axes.set_ylabel("points that do, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)
