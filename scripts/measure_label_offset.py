"""By how many pixels the points of a set of photographs lie beside what they mark, to the right or to the left.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro real_only
    python scripts/measure_label_offset.py models/real_only/seed-0

A detector that is trained with mirrored pictures cannot prefer a side: if points are to the right of what they mark, in
one half of its pictures they are to the left. So in photographs that it was not trained on it finds the middle, and the
points lie to the right of what it finds; in the mirrored photographs as far to the left. Half of the difference is the
offset, in pixels of the photograph. A detector that prefers a side for another reason does so in both and drops out.

`facemix prepare` measures the same by the symmetry of faces, without a detector; this is the second opinion.

Prints it for each subset of the validation faces with its standard error, and what it costs: the NME, and the NME with
each prediction moved by that many pixels.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.evaluation import metrics
from facemix.faces import geometry, packs
from facemix.faces.packs import Pack
from facemix.faces.schemes import ibug68
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack


def offsets(
    detector: Landmarker, pack: Pack, rows: npt.NDArray[np.int64], found: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """How far right of the detector's unbiased opinion the points of each face (n,) lie, pixels of its photograph.

    `found` (n, 68, 2) is what it predicts, pixels of the crops.
    """
    true = pack.landmarks[rows].astype(float)
    size = pack.images.shape[2]
    opposite = ibug68().mirrored(true, size)
    turned = detector.look_each(
        (np.ascontiguousarray(pack.images[row][:, ::-1]) for row in rows), geometry.landmark_box(opposite)
    )
    right = ((true - found) - (opposite - turned))[..., 0].mean(axis=1) / 2
    pixels: npt.NDArray[np.float64] = right / pack.transforms[rows, 0, 0]
    return pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of a trained detector")
    detector = Landmarker.load(parser.parse_args().model)
    detector.network.mirror = False  # the mean with the mirror image has no side to measure
    pack = packs.read(packs.FOLDER / "real")
    rows = np.flatnonzero(pack.splits == "validation")
    if not len(rows):
        raise SystemExit(f"{packs.FOLDER / 'real'}: no validation faces; see --help")
    predicted = predict_pack(detector, pack, rows).astype(float)
    found = offsets(detector, pack, rows, predicted)
    unit = np.linalg.norm(pack.landmarks[rows, 36] - pack.landmarks[rows, 45], axis=1) / pack.transforms[rows, 0, 0]
    print(f"{'subset':20}{'faces':>7}{'right, px':>12}{'+-':>7}{'% of the outer-eye distance':>30}")
    subsets = pack.subsets[rows]
    for subset in [*np.unique(subsets), "all"]:
        chosen = (subsets == subset) | (subset == "all")
        n = int(chosen.sum())
        error = found[chosen].std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        share = (100 * found / unit)[chosen].mean()
        print(f"{subset:20}{n:7}{found[chosen].mean():12.2f}{error:7.2f}{share:30.2f}")
    moved = predicted + [1, 0] * (found.mean() * pack.transforms[rows, 0, 0])[:, None, None]
    before, after = (metrics.nme(points, pack.landmarks[rows], pack.scheme).mean() for points in (predicted, moved))
    print(f"\nNME {before:.2f}, with all predictions moved by {found.mean():.2f} px {after:.2f}")


if __name__ == "__main__":
    main()
