"""Where people put the 68 points of a face, against where the generator's conventions put them.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro prepare train
    python scripts/measure_annotator_habits.py --detector models/real_only/seed-0

prints three tables, all in % of the outer-eye distance, for faces that look ahead, and for those turned by 8 to 15 and
by 15 to 35 degrees (turned to one side, as if all looked to their left):

- `on renders`: how far each convention's points lie from where a detector that was trained on photographs alone sees
  them on the same renders. It has learned what people do, and what it sees lies in the picture, whatever shape the
  generator's faces have. `labels.MOVED` and `labels.FAR_UP` come from it. Below, how far it errs on validation
  photographs.
- `against photographs`: how far the mean of each convention's points lies from that of photographs that the detector
  did not see, each of them matched with renders of like pose. Habits and the shapes of faces both count.
- `spacing`: where people set the points along the curves of a face: `labels.SPACING` and `labels.LIPS`.

`--detector` may be repeated: points are the mean of all. `--table src/facemix/render/data/annotator_habits.csv` writes
what is left between `steady` labels and the detector, point by point and by how far heads are turned: together with
what the table held before. `labels.habits` reads it.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from sklearn.linear_model import QuantileRegressor
from tqdm import tqdm

from facemix.config import RENDERED
from facemix.faces import packs, pose
from facemix.faces.schemes import ibug68
from facemix.files import whole_file
from facemix.render import labels
from facemix.render.folder import MANIFEST
from facemix.render.head import Head
from facemix.render.person import person
from facemix.render.population import POPULATIONS, changed
from facemix.render.studio import landmarks, sit
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack

Points = npt.NDArray[np.float64]

RENDERS = Path("data/renders/synthetic")
CONVENTIONS = ("mesh", "steady")
BINS = ((0, 8), (8, 15), (15, 35))  # degrees of yaw
NEIGHBOURS, NEAREST = 8, 6.0  # renders to a photograph; degrees that their poses may differ by
KNOTS = (0.0, 12.0, 25.0, 35.0)  # degrees of yaw between which `labels.habits` interpolates
SHOWN = 1.5  # smaller offsets than this everywhere are not shown
CURVES = {
    "jaw": range(9),
    "brow": range(17, 22),
    "upper lid": range(36, 40),
    "lower lid": (36, 41, 40, 39),
    "base of the nose": (31, 32, 33),
    "upper lip, outside": range(48, 55),
    "lower lip, outside": (48, 59, 58, 57, 56, 55, 54),
    "upper lip, inside": range(60, 65),
    "lower lip, inside": (60, 67, 66, 65, 64),
}


def mirrored(points: Points) -> Points:
    """Upright points (n, 68, 2) of faces that look the other way."""
    return np.asarray(points[:, ibug68().mirror] * [-1, 1])


def turned_left(points: Points, poses: Points) -> Points:
    """Upright points (n, 68, 2), those of heads that are turned right mirrored."""
    return np.where((poses[:, 0] < 0)[:, None, None], mirrored(points), points)


def upright(points: Points, faces: Points) -> Points:
    """Points (n, 68, 2) from the middle of the eyes of faces (n, 68, 2), in units of their distance, x along them."""
    right, left = faces[:, 36], faces[:, 45]
    across = left - right
    width = np.linalg.norm(across, axis=1)[:, None]
    x = across / width
    axes = np.stack([x, np.stack([-x[:, 1], x[:, 0]], 1)], 1)
    return np.asarray(np.einsum("nij,nkj->nki", axes, points - ((left + right) / 2)[:, None]) / width[:, :, None])


def binned(values: Points, poses: Points) -> Iterator[Points]:
    """Those of values (n, 68, 2) that are in each bin of yaw; faces that look ahead count with their mirror images."""
    yaw = np.abs(poses[:, 0])
    for low, high in BINS:
        chosen = values[(yaw >= low) & (yaw < high)]
        yield np.concatenate([chosen, mirrored(chosen)]) if low == 0 else chosen


def off_the_detector(convention: Points, seen: Points) -> list[Points]:
    """By bin, the median offset (68, 2) of a convention's points (n, 68, 2) from those seen on the same pictures."""
    poses = pose.estimate(seen, ibug68())
    off = turned_left(upright(convention, seen) - upright(seen, seen), poses)
    return [np.median(faces, axis=0) for faces in binned(off, poses)]


def off_photographs(convention: Points, photographs: Points) -> list[Points]:
    """By bin, how far the mean of a convention's points lies from that of photographs (n, 68, 2) of like pose."""
    found = []
    for faces in (photographs, convention):
        poses = pose.estimate(faces, ibug68())
        found.append((turned_left(upright(faces, faces), poses), np.abs(poses[:, 0]), poses[:, 1]))
    (real, yaw, pitch), (rendered, its_yaw, its_pitch) = found
    far, near = cKDTree(np.column_stack([its_yaw, its_pitch])).query(np.column_stack([yaw, pitch]), k=NEIGHBOURS)
    matched = far.max(axis=1) < NEAREST
    off = rendered[near[matched]].mean(axis=1) - real[matched]
    return [faces.mean(axis=0) for faces in binned(off, np.column_stack([yaw[matched]] * 3))]


def fitted(off: Points, yaw: npt.NDArray[np.float64]) -> Points:
    """The median of offsets (n, 68, 2) at each of KNOTS, (68, k, 2), along straight lines between them.

    Faces that are turned right count as turned left, mirrored. So do those that are turned left, the other way round.

    Args:
        off: upright, of faces as they look.
        yaw: (n,) degrees that they are turned to their left.
    """
    off, yaw = np.concatenate([off, mirrored(off)]), np.concatenate([yaw, -yaw])
    knots = np.unique([*KNOTS, *(-knot for knot in KNOTS)])
    weights = np.stack([np.interp(yaw, knots, one) for one in np.eye(len(knots))], axis=1)
    median = QuantileRegressor(quantile=0.5, alpha=0, fit_intercept=False)
    columns = tqdm(off.reshape(len(off), -1).T, "medians", unit="number", disable=None)
    found = np.array([median.fit(weights, column).coef_ for column in columns]).reshape(68, 2, len(knots))
    by_knot = found.transpose(2, 0, 1)
    both = (by_knot + mirrored(by_knot[::-1])) / 2  # equal but for rounding
    return np.asarray(both[len(knots) // 2 :].transpose(1, 0, 2))


def write_habits(path: Path, off: Points) -> None:
    """Writes the table anew, with offsets (68, k, 2) at KNOTS taken off."""
    _, former = labels.habit_table()
    with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write("point,yaw,left,down\n")
        for point, by_yaw in enumerate((former - off).tolist()):
            file.writelines(f"{point},{yaw:g},{x:.5f},{y:.5f}\n" for yaw, (x, y) in zip(KNOTS, by_yaw, strict=True))


def say(title: str, offsets: dict[str, list[Points]]) -> None:
    """Prints the offsets (68, 2) of each convention and bin, those that are large, and their means."""
    names = [f"{name} {low}-{high}" for low, high in BINS for name in offsets]
    table = 100 * np.array([offsets[name][place] for place in range(len(BINS)) for name in offsets])
    print(f"\n{title}\n{'point':>5}" + "".join(f"{name:>16}" for name in names))
    for point in np.flatnonzero((np.linalg.norm(table, axis=2) > SHOWN).any(axis=0)):
        print(f"{point:5}" + "".join(f"{x:10.1f}{y:6.1f}" for x, y in table[:, point]))
    lengths = np.linalg.norm(table, axis=2)
    print(f"{'mean':>5}" + "".join(f"{length:16.2f}" for length in lengths.mean(axis=1)))
    print(f"{'most':>5}" + "".join(f"{length:16.2f}" for length in lengths.max(axis=1)))


def say_spacing(photographs: Points) -> None:
    """Prints the median share of the way along each curve, of faces that look ahead and of turned ones."""
    poses = pose.estimate(photographs, ibug68())
    print("\nspacing: shares of the way along curves of photographs")
    for name, curve in CURVES.items():
        faces = binned(turned_left(upright(photographs, photographs), poses), poses)
        shares = [np.median([labels.shares_of(face[list(curve)]) for face in each], axis=0)[1:-1] for each in faces]
        print(
            f"{name:20}"
            + "".join(f"  [{low}-{high}] {share.round(3)}" for (low, high), share in zip(BINS, shares, strict=True))
        )


def drawn_again(pack: packs.Pack, rows: npt.NDArray[np.int64]) -> tuple[dict[str, Points], npt.NDArray[np.float64]]:
    """The points (n, 68, 2) of each convention on the crops of rendered faces (n,), and their yaw (n,), degrees."""
    manifest = json.loads((RENDERS / MANIFEST).read_text(encoding="utf-8"))
    population = changed(POPULATIONS["synthetic"], manifest["population"])
    head = Head()
    outline = labels.Outline(head)
    found: dict[str, list[Points]] = {name: [] for name in CONVENTIONS}
    yaw = []
    for row in tqdm(rows, "people", unit="face", disable=None):
        sitting = sit(head, person(population, manifest["seed"], int(pack.ids[row].split("/")[1])), manifest["size"])
        known = landmarks(sitting, manifest["labels"], outline)
        yaw.append(sitting.pose.yaw)
        scale = np.ptp(pack.landmarks[row], axis=0).max() / np.ptp(known, axis=0).max()
        for name in CONVENTIONS:
            points = landmarks(sitting, name, outline)
            found[name].append((points - known.mean(axis=0)) * scale + pack.landmarks[row].mean(axis=0))
    return {name: np.array(points) for name, points in found.items()}, np.array(yaw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, action="append", required=True, help="a model folder; may be repeated")
    parser.add_argument("--table", type=Path, help="write what is left of `steady` labels to this file")
    options = parser.parse_args()
    real, synthetic = (packs.read(packs.FOLDER / role) for role in ("real", "synthetic"))
    photographs = np.char.find(real.ids, f"{RENDERED['real']}/") != 0
    training, validation = (np.flatnonzero(photographs & (real.splits == split)) for split in ("train", "validation"))
    rendered = np.flatnonzero(np.char.find(synthetic.ids, f"{RENDERED['synthetic']}/") == 0)
    for role, rows in (("real", training), ("real", validation), ("synthetic", rendered)):
        if not len(rows):
            raise SystemExit(f"{packs.FOLDER / role}: no photographs or no rendered faces; see --help")
    detectors = [Landmarker.load(folder) for folder in options.detector]
    conventions, yaw = drawn_again(synthetic, rendered)

    def seen(pack: packs.Pack, rows: npt.NDArray[np.int64]) -> Points:
        return np.mean([predict_pack(detector, pack, rows) for detector in detectors], axis=0).astype(float)

    held_out = np.asarray(real.landmarks[validation], float)
    on_renders, on_photographs = seen(synthetic, rendered), seen(real, validation)
    print(f"{len(rendered)} renders, {len(validation)} validation photographs, {len(detectors)} detectors")
    say("on renders", {name: off_the_detector(points, on_renders) for name, points in conventions.items()})
    say("the detector on photographs", {"people": off_the_detector(held_out, on_photographs)})
    say("against photographs", {name: off_photographs(points, held_out) for name, points in conventions.items()})
    say_spacing(np.asarray(real.landmarks[training], float))
    if options.table:
        steady = conventions["steady"]
        write_habits(options.table, fitted(upright(steady, steady) - upright(on_renders, steady), yaw))


if __name__ == "__main__":
    main()
