"""`facemix scheme`: what landmark schemes there are, and a picture of one, to see a mistake before training."""

import textwrap
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import reduction, schemes
from facemix.faces.schemes import Scheme
from facemix.files import whole_file
from facemix.reporting.numbered import NAMED, labels

SIDE, LEGEND = 1400, 460  # pixels of the picture's square, and of the column of words beside it
MARGIN = 40  # pixels around the points of the square
MIRROR, BONE, INK = (214, 214, 214), (120, 120, 120), (0, 0, 0)  # RGB, on white
REGIONS = ((31, 119, 180), (214, 39, 40), (44, 140, 44), (148, 60, 189), (200, 110, 0), (0, 140, 150), (140, 86, 75))
"""RGB of the regions in their order, again from the first where there are more."""

_SHIFT = 4  # OpenCV draws at fractions of 1 / 2**4 pixels


def show(name: str | None, out: Path | None = None) -> None:
    """Prints all schemes, or one scheme and what follows from it, and draws that where its positions are stated.

    Raises:
        FacemixError: no such scheme, a mistake in its file, or a picture is asked for and it states no positions.
        OSError: the disk is full or read-only.
    """
    if name is None:
        if out:
            raise FacemixError(f"--out {out}: found no scheme to draw; expected facemix scheme NAME --out FILE.png")
        for known in schemes.names():
            scheme = schemes.load(known)
            print(f"{known:14} {len(scheme):3} points  {textwrap.shorten(scheme.source, 90, placeholder=' ...')}")
        return
    if out and out.suffix != ".png":
        raise FacemixError(f"--out {out}: expected a file that ends in .png")
    scheme, positions = schemes.load(name), schemes.layout(name)
    print(described(scheme))
    made_from = [f"{other} ({made})" for other, made in reduction.sources(name)]
    print(f"  made from    {', '.join(made_from) or 'no other scheme'}")
    if unknown := reduction.unknown_names(name):
        print(f"  no scheme has {', '.join(unknown)}, which stand in its derived points")
    if positions is None and out:
        raise FacemixError(f"{name}: states no positions, so it cannot be drawn; add x and y of each point as `layout`")
    if positions is not None:
        out = out or Path(f"{name}.png")
        _, data = cv2.imencode(".png", drawn(scheme, positions)[..., ::-1])  # `imwrite` hides a full disk
        with whole_file(out) as beside:
            beside.write_bytes(data.tobytes())
        print(f"{out}: written; mirror partners are joined by light lines, neighbours by dark ones")


def described(scheme: Scheme) -> str:
    """A scheme in a few lines."""
    pairs = int((scheme.mirror > np.arange(len(scheme))).sum())
    sizes = [f"{key} ({', '.join(f'{x:g}' for x in size.thresholds)} %)" for key, size in scheme.face_sizes.items()]
    regions = [f"{region} {len(points)}" for region, points in scheme.regions.items()]
    return "\n".join([
        f"{scheme.name}: {len(scheme)} points, {pairs} mirror pairs, {len(scheme) - 2 * pairs} without a partner",
        f"  regions      {', '.join(regions) or 'none'}",
        f"  outline      {len(scheme.outline)} points",
        f"  face sizes   {', '.join([*sizes, *schemes.BOX_SIZES])}",
        f"  normalizer   {scheme.normalizer}",
        f"  source       {scheme.source}",
    ])  # fmt: skip


def drawn(scheme: Scheme, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The picture (SIDE, SIDE + LEGEND, 3) RGB of a scheme.

    Args:
        positions: (K, 2) x and y of its points, from 0 to 1.
    """
    canvas = np.full((SIDE, SIDE + LEGEND, 3), 255, dtype=np.uint8)
    at = MARGIN + positions * (SIDE - 1 - 2 * MARGIN)
    for i, partner in enumerate(scheme.mirror):
        if i < partner:
            _line(canvas, at[i], at[partner], MIRROR, 1)
    for curve in scheme.skeleton:
        for a, b in curve.pairs():
            _line(canvas, at[a], at[b], BONE, 2)
    colours, size = _colours(scheme), 0.8 if len(scheme) <= NAMED else 0.5
    for i, (place, label) in enumerate(zip(at, labels(scheme.points), strict=True)):
        x, y = _fixed(place)
        cv2.circle(canvas, (x, y), 5 << _SHIFT, colours[i], -1, cv2.LINE_AA, _SHIFT)
        _write(canvas, label, place + np.array([7, -7]), size, colours[i])
    _write(canvas, f"{scheme.name}, {len(scheme)} points", np.array([SIDE + 160, 40]), 0.6, INK)
    for row, region in enumerate(scheme.regions):
        _write(canvas, region, np.array([SIDE + 160, 75 + 30 * row]), 0.6, REGIONS[row % len(REGIONS)])
    return canvas


def _colours(scheme: Scheme) -> list[tuple[int, int, int]]:
    """RGB of each point: that of the first region that has it, black outside all of them."""
    colours = [INK] * len(scheme)
    for row, points in reversed(list(enumerate(scheme.regions.values()))):
        for i in points:
            colours[i] = REGIONS[row % len(REGIONS)]
    return colours


def _fixed(place: npt.NDArray[np.float64]) -> tuple[int, int]:
    """A point (2,) in OpenCV's fixed-point numbers."""
    x, y = np.round(place * 2**_SHIFT).astype(int).tolist()
    return x, y


def _line(
    canvas: npt.NDArray[np.uint8],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    cv2.line(canvas, _fixed(start), _fixed(end), colour, thickness, cv2.LINE_AA, _SHIFT)


def _write(
    canvas: npt.NDArray[np.uint8],
    text: str,
    place: npt.NDArray[np.float64],
    size: float,
    colour: tuple[int, int, int],
) -> None:
    x, y = np.round(place).astype(int).tolist()
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
