"""How far one human annotation of a face lies from another: src/facemix/render/data/annotator_noise.csv.

Source: 300-W (Sagonas et al., 2016) holds some photographs twice, in other sizes or files, that were annotated
independently. `--pairs` is a CSV of such faces, with the columns `face_a` and `face_b` (ids: paths below the 300-W
folder, without extension); `--images` is the 300-W folder. Measured on 74 pairs.

    python scripts/measure_annotator_noise.py --pairs PAIRS.csv --images 300w \\
        --out src/facemix/render/data/annotator_noise.csv

How: each pair is registered photograph to photograph (SIFT matches and a RANSAC similarity; landmarks are never looked
at), the second annotation is moved into the first photograph, and the difference is divided by the first one's
outer-eye distance and by sqrt(2), since both annotations deviate. It is split ALONG the curve that the point lies on
and ACROSS it (`facemix.faces.contours`), with tangents from the mean of the two annotations. Points that mirror each
other are pooled.

The standard deviations are those of the normal distribution with the measured mean absolute deviation, so
sqrt(pi / 2) x mean |deviation|. An outlier counts by its size, not by its square, and simulated annotators differ by
the mean NME that the real ones do: 2.94 % simulated, 2.96 % measured. What this leaves out are the tails: real pairs
differ far more from face to face (large poses disagree most), and their root mean square is about 20 % larger.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.evaluation import metrics
from facemix.faces import contours, formats, geometry, schemes
from facemix.faces.face import Face
from facemix.faces.images import read_image
from facemix.faces.schemes import ibug68
from facemix.files import whole_file, write_table

Doubles = npt.NDArray[np.float64]

FEATURES = 4000
LEAST_INLIERS = 25
DISTINCT = 0.8
"""A match must be this much closer than the second best (Lowe, "Distinctive image features...", IJCV 2004)."""
TOLERANCE = 3.0
"""Pixels of the first photograph that an inlier may be off."""
CLIP = 3.0
"""Standard deviations at which a deviation is clipped before it enters a correlation."""


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The ids of the paired faces.

    Raises:
        ValueError: a column is missing, or there are no rows.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if not rows or not {"face_a", "face_b"} <= set(reader.fieldnames or ()):
        raise ValueError(f"--pairs {path}: found columns {reader.fieldnames}, expected rows of face_a and face_b")
    return [(row["face_a"], row["face_b"]) for row in rows]


def read_faces(root: Path, pairs: Sequence[tuple[str, str]]) -> dict[str, Face]:
    """The faces of a 300-W folder by id.

    Raises:
        ValueError: a face of a pair is not there.
    """
    faces = {face.id: face for face in formats.read("300w", root)[0]}
    missing = sorted({id_ for pair in pairs for id_ in pair} - faces.keys())
    if missing:
        raise ValueError(f"--images {root}: {len(missing)} faces of the pairs are not there, such as {missing[0]}")
    return faces


def register(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> Doubles | None:
    """The similarity (2, 3) from the second image to the first, both (H, W, 3) RGB; None where too little agrees."""
    sift = cv2.SIFT_create(nfeatures=FEATURES)  # type: ignore[attr-defined]
    (to_keys, to_features), (from_keys, from_features) = (
        sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (first, second)
    )
    matches = [
        best
        for best, other in cv2.BFMatcher().knnMatch(from_features, to_features, k=2)
        if best.distance < DISTINCT * other.distance
    ]
    if len(matches) < LEAST_INLIERS:
        return None
    start = np.array([from_keys[match.queryIdx].pt for match in matches])
    end = np.array([to_keys[match.trainIdx].pt for match in matches])
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffinePartial2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=5000, confidence=0.999
    )
    return None if transform is None or inliers.sum() < LEAST_INLIERS else transform


def annotations(pairs: Sequence[tuple[str, str]], faces: dict[str, Face]) -> Doubles:
    """Both annotations of each pair in pixels of its first photograph: (2, n, 68, 2).

    Raises:
        ValueError: none of them could be registered.
    """
    both = []
    for a, b in pairs:
        transform = register(read_image(faces[a].image), read_image(faces[b].image))
        if transform is None:
            print(f"{a}, {b}: fewer than {LEAST_INLIERS} matches agree; left out")
        else:
            both.append((faces[a].landmarks, geometry.apply(transform, faces[b].landmarks)))
    if not both:
        raise ValueError(f"--pairs: none of the {len(pairs)} pairs could be registered, expected some that can")
    return np.array(both, dtype=np.float64).swapaxes(0, 1)


def deviations(both: Doubles) -> Doubles:
    """How far one annotation lies off, along and across the curves: (2n, 68, 2) shares of the outer-eye distance.

    Every pair stands there twice, the second time with mirror points exchanged.

    Args:
        both: (2, n, 68, 2) pixels.
    """
    size = metrics.face_size(both[0], ibug68())[:, None, None]
    deviation = (both[1] - both[0]) / size / np.sqrt(2)
    tangent = contours.tangents(both.mean(axis=0))
    parts = np.stack([(deviation * axis).sum(axis=-1) for axis in (tangent, contours.across(tangent))], axis=-1)
    return np.concatenate([parts, parts[:, ibug68().mirror]])


def spread(parts: Doubles) -> Doubles:
    """Standard deviations (68, 2) of parts (n, 68, 2), from their mean absolute value; their mean is zero."""
    return np.asarray(np.sqrt(np.pi / 2) * np.abs(parts).mean(axis=0))


def correlation(parts: Doubles, curves: Sequence[schemes.Curve], lag: int) -> Doubles:
    """Correlation (2,), along and across, of points `lag` places apart on curves, pooled over all of them."""
    units = np.clip(parts / spread(parts), -CLIP, CLIP)
    first, second = np.array([pair for curve in curves for pair in curve.pairs(lag)]).T
    product = (units[:, first] * units[:, second]).mean(axis=(0, 1))
    scale = np.sqrt((units[:, first] ** 2).mean(axis=(0, 1)) * (units[:, second] ** 2).mean(axis=(0, 1)))
    return np.asarray(product / scale)


def simulated_nme(sigma: Doubles, n: int = 10_000) -> float:
    """Mean NME in % between two simulated annotators whose points deviate by sigma (68, 2).

    Neighbours are drawn independently, which changes the spread of a face's NME but not its mean.
    """
    draws = np.random.default_rng(0).standard_normal((n, 2, len(ibug68()), 2)) * sigma
    return 100 * float(np.linalg.norm(draws[:, 1] - draws[:, 0], axis=-1).mean())


def face_offset(both: Doubles) -> Doubles:
    """Standard deviation (2,) in % of one annotation's mean point in x and y, as in `spread`."""
    size = metrics.face_size(both[0], ibug68())[:, None]
    return 100 * spread((both[1] - both[0]).mean(axis=1) / size / np.sqrt(2))


def report(both: Doubles, parts: Doubles, sigma: Doubles) -> None:
    """Prints what was measured."""
    nme = metrics.nme(both[1], both[0], ibug68())
    print(f"{len(nme)} pairs: NME {nme.mean():.2f} mean, {np.median(nme):.2f} median; in % of the outer-eye distance")
    print(f"two simulated annotators: NME {simulated_nme(sigma):.2f} mean\n")
    print("standard deviation of one annotation, %    along  across")
    for name, points in ibug68().regions.items():
        along, across = 100 * sigma[list(points)].mean(axis=0)
        print(f"{name:40s} {along:7.2f} {across:7.2f}")
    print("\ncorrelation of neighbours            along: lag 1  lag 2    across: lag 1  lag 2")
    for name, curves in contours.curves().items():
        (along1, across1), (along2, across2) = (correlation(parts, curves, lag) for lag in (1, 2))
        print(f"{name:40s} {along1:9.2f} {along2:6.2f} {across1:16.2f} {across2:6.2f}")
    offset = face_offset(both)
    print(f"\nwhole face: standard deviation of the mean point {offset[0]:.2f} % in x, {offset[1]:.2f} % in y")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how far two human annotations of one face lie apart.")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with the columns face_a and face_b")
    parser.add_argument("--images", type=Path, required=True, help="the 300-W folder")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write: point, along, across")
    options = parser.parse_args()
    pairs = read_pairs(options.pairs)
    both = annotations(pairs, read_faces(options.images, pairs))
    parts = deviations(both)
    sigma = spread(parts)
    rows = [{"point": i, "along": f"{a:.5f}", "across": f"{c:.5f}"} for i, (a, c) in enumerate(sigma.tolist())]
    with whole_file(options.out) as beside:
        write_table(beside, rows)
    report(both, parts, sigma)


if __name__ == "__main__":
    main()
