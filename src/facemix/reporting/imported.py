"""What an import takes for faces, as pictures and in words, so that it is seen before it counts."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from facemix.errors import FacemixError
from facemix.evaluation.metrics import face_size
from facemix.faces import coordinates, geometry, offset, pose, reduction, schemes, sides
from facemix.faces.face import HIDDEN, UNLABELLED, BrokenFace, Face
from facemix.faces.images import read_image
from facemix.faces.parallel import on_all_cores
from facemix.faces.picture_size import picture_size
from facemix.faces.schemes import Scheme
from facemix.files import whole_folder
from facemix.reporting.numbered import coloured, numbered

FOLDER = Path("reports/import")
"""Of each source a folder with `numbered.png`, `faces.png` and `set.png`."""

COLUMNS, ROWS, TILE = 12, 5, 160
"""Of the sheet of many faces; pixels."""
LARGE, SIDE = 4, 900
"""Faces of the sheet with numbers; pixels of each."""
SIZED = 400
"""Pictures whose size is looked at."""
SINGLY = 30
"""Points of a scheme up to which each has a bar of its own; else regions have."""
LISTED = 8
"""Points or regions that are named for what is missing, the worst first."""
MARGIN = 1.3
"""Side of a tile / longer side of a face's box."""


def show(folder: Path, faces: Sequence[Face]) -> list[str]:
    """Writes the pictures to a folder, in place of former ones, and returns what there is to say, line by line.

    Args:
        faces: of one scheme; their pictures can be decoded.

    Raises:
        FacemixError: a picture can no longer be read.
        OSError: the disk is full or read-only.
    """
    scheme = faces[0].scheme
    layout = _layout(scheme)
    of_side = sides.of_points(scheme, layout)
    sheet = _spread(faces, COLUMNS * ROWS)
    large = _clearest(sheet)
    tiles = on_all_cores(lambda face: _tile(face, TILE), sheet, "drawing faces")
    big = [_tile(face, SIDE) for face in large]
    with whole_folder(folder) as beside:
        _write(
            beside / "numbered.png",
            _joined([numbered(*tile, of_side, scheme.skeleton, scheme.points) for tile in big], 2),
        )
        _write(beside / "faces.png", _joined([coloured(*tile, of_side) for tile in tiles], COLUMNS))
        _figure(beside / "set.png", faces)
    return [*described(faces), *warned(faces, sheet, layout), _where(folder)]


def _where(folder: Path) -> str:
    return (
        f"{folder}: look at numbered.png, faces.png and set.png: is every point where it belongs? Points of the "
        "person's left are blue, of the right red, others green, hidden ones yellow"
    )


# In words


def described(faces: Sequence[Face]) -> list[str]:
    """Face sizes, poses, and which points are missing."""
    scheme = faces[0].scheme
    sizes = _sizes(faces)
    known = sizes[np.isfinite(sizes)]
    words = f"face size ({scheme.normalizer.replace('_', ' ')})"
    without = f"; {len(sizes) - len(known)} faces have none" if len(known) < len(sizes) else ""
    lines = [
        f"{words}: {known.min():.0f} to {known.max():.0f} px, median {np.median(known):.0f}{without}"
        if len(known)
        else f"{words}: no face has one, as its points are unlabelled"
    ]
    bins = pose.yaw_bin(_yaw(faces))
    told = bins != ""
    if told.any():
        shares = ", ".join(f"{(bins[told] == name).mean():.0%} {name}" for name in pose.BINS)
        lines.append(f"pose: {shares}" + (f"; not told of {(~told).sum()} faces" if not told.all() else ""))
    else:
        lines.append(f"pose: cannot be told from points of the scheme {scheme.name}")
    for state, word in ((UNLABELLED, "unlabelled"), (HIDDEN, "hidden")):
        found = sorted(((share, name) for name, share in _shares(faces, state) if share > 0), reverse=True)
        if found:
            more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
            lines.append(f"{word}: " + ", ".join(f"{name} {share:.1%}" for share, name in found[:LISTED]) + more)
    return lines


def warned(faces: Sequence[Face], sheet: Sequence[Face], layout: npt.NDArray[np.float64] | None) -> list[str]:
    """What looks wrong: sides that are swapped, and a shift of all points."""
    scheme = faces[0].scheme
    points = np.stack([face.landmarks for face in faces])
    sized = _spread(faces, SIZED)
    found = sides.remarks(_measured_sides(points, scheme, layout))
    found += coordinates.remarks(sized, _picture_sizes(sized))
    return [f"warning: {text}" for text in found + _shifted(sheet)]


def _measured_sides(
    points: npt.NDArray[np.floating], scheme: Scheme, layout: npt.NDArray[np.float64] | None
) -> sides.Sides | None:
    """By the points themselves, or, where these have no names or places, by those of a scheme that is made of them."""
    if layout is None and (made := reduction.reachable(scheme)):
        scheme, groups = reduction.between(scheme, made[0][0])
        points, layout = reduction.means(points, groups), _layout(scheme)
    return sides.measure(points, scheme, layout)


def _shifted(faces: Sequence[Face]) -> list[str]:
    """A horizontal shift as far as few faces tell, by the symmetry of what is to be seen."""
    scheme = faces[0].scheme
    rows = np.flatnonzero(np.isfinite(_yaw(faces))).tolist()
    if len(rows) < offset.FEWEST:
        return []
    crops = [_crop(faces[row], TILE) for row in rows]
    images, points, scales = (np.array([crop[k] for crop in crops]) for k in range(3))
    found = offset.measure(images, points, scheme, scales, np.arange(len(rows)))
    if found is None or not found.significant:
        return []
    side = "right" if found.right > 0 else "left"
    return [
        f"points lie {abs(found.right):.1f} ± {found.error:.1f} px to the {side} of what they mark, by the symmetry of "
        f"{found.faces} faces; `facemix prepare` measures it on all of them, and says what to do"
    ]


# Measured


def _layout(scheme: Scheme) -> npt.NDArray[np.float64] | None:
    """Where the scheme's points typically are, if its file says so."""
    try:
        return schemes.layout(scheme.name)
    except FacemixError:
        return None  # the scheme has no file here


def _sizes(faces: Sequence[Face]) -> npt.NDArray[np.float64]:
    return face_size(np.stack([face.landmarks for face in faces]), faces[0].scheme)


def _yaw(faces: Sequence[Face]) -> npt.NDArray[np.float64]:
    yaw: npt.NDArray[np.float64] = pose.estimate(np.stack([face.landmarks for face in faces]), faces[0].scheme)[:, 0]
    return yaw


def _shares(faces: Sequence[Face], state: int) -> list[tuple[str, float]]:
    """The share of points in a state: of each point, or of each region of a scheme of many."""
    scheme = faces[0].scheme
    of_point = (np.stack([face.states for face in faces]) == state).mean(axis=0)
    if len(scheme) <= SINGLY or not scheme.regions:
        return list(zip(scheme.points, of_point.tolist(), strict=True))
    return [(name, float(of_point[list(points)].mean())) for name, points in scheme.regions.items()]


def _picture_sizes(faces: Sequence[Face]) -> npt.NDArray[np.int64]:
    return np.array([picture_size(face.image) for face in faces], dtype=np.int64)


# Chosen and drawn


def _spread(faces: Sequence[Face], count: int) -> list[Face]:
    """Up to so many faces, evenly chosen."""
    return [faces[i] for i in np.unique(np.linspace(0, len(faces) - 1, count).round().astype(int)).tolist()]


def _clearest(faces: Sequence[Face]) -> list[Face]:
    """The faces with the most labelled points, of these the largest."""

    def rank(face: Face) -> tuple[int, float]:
        side = float(geometry.square_side(geometry.landmark_box(face.landmarks)))
        return -int((face.states != UNLABELLED).sum()), -side

    return sorted(faces, key=rank)[:LARGE]


Tile = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.uint8]]
"""Picture (S, S, 3) RGB, points (K, 2) in it, states (K,)."""


def _tile(face: Face, side: int) -> Tile:
    image, points, _ = _crop(face, side)
    return image, points, face.states


def _crop(face: Face, side: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], float]:
    """A face in a square of so many pixels, its points there, and the scale."""
    try:
        image = read_image(face.image)
    except BrokenFace as error:
        raise FacemixError(str(error)) from None
    transform = geometry.crop_transform(geometry.landmark_box(face.landmarks), side, MARGIN)
    return geometry.warp(image, transform, side), geometry.apply(transform, face.landmarks), float(transform[0, 0])


def _joined(tiles: Sequence[npt.NDArray[np.uint8]], columns: int) -> npt.NDArray[np.uint8]:
    """Tiles (S, S, 3) in rows."""
    side, columns = tiles[0].shape[0], min(columns, len(tiles))
    sheet = np.zeros((-(-len(tiles) // columns) * side, columns * side, 3), dtype=np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // columns * side, k % columns * side
        sheet[y : y + side, x : x + side] = tile
    return sheet


def _write(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    _, data = cv2.imencode(".png", picture[..., ::-1])  # `imwrite` hides a full disk
    path.write_bytes(data.tobytes())


def _figure(path: Path, faces: Sequence[Face]) -> None:
    """Histograms of face sizes and of yaw, and the shares of unlabelled and hidden points."""
    scheme = faces[0].scheme
    figure, (left, middle, right) = plt.subplots(ncols=3, figsize=(15, 5), layout="constrained")
    sizes, yaw = _sizes(faces), _yaw(faces)
    _histogram(left, sizes, f"face size ({scheme.normalizer.replace('_', ' ')}), px", 0, None)
    if np.isfinite(yaw).any():
        _histogram(middle, yaw, "yaw, degrees to the person's left", -90, 90)
    else:
        middle.set_axis_off()
        middle.text(0.5, 0.5, f"pose cannot be told\nfrom points of {scheme.name}", ha="center", va="center")
    _bars(right, faces)
    figure.suptitle(f"{len(faces)} faces, scheme {scheme.name}")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _histogram(axes: Axes, values: npt.NDArray[np.float64], label: str, low: float | None, high: float | None) -> None:
    known = values[np.isfinite(values)]
    axes.hist(known, bins=30, range=None if high is None or low is None else (low, high), color="tab:blue")
    axes.set(xlabel=label, ylabel="faces", xlim=(low, high))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _bars(axes: Axes, faces: Sequence[Face]) -> None:
    unlabelled, hidden = (_shares(faces, state) for state in (UNLABELLED, HIDDEN))
    rows = np.arange(len(unlabelled))
    first, second = (100 * np.array([share for _, share in shares]) for shares in (unlabelled, hidden))
    axes.barh(rows, first, color="tab:red", label="unlabelled")
    axes.barh(rows, second, left=first, color="gold", label="hidden")
    axes.set_yticks(rows, [name for name, _ in unlabelled], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="% of faces", xlim=(0, 100))
    axes.legend()
