"""How far the generator's faces are from photographs in what can be measured on both: what to change next.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro prepare
    python scripts/compare_with_photographs.py

Takes the real training faces and the rendered ones of the packs at hand. For each quantity it prints the 10th, 50th and
90th percentile of both, and the greatest distance between their cumulative distributions (Kolmogorov's, 0 to 1), the
farthest first. Grey levels are 0 to 255, lengths shares of the outer-eye distance. The two label conventions differ, so
a length may be off by some hundredths for no fault of the faces.
"""

import argparse

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp
from tqdm import tqdm

from facemix.config import RENDERED
from facemix.faces import packs, pose

Points = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
OPEN = 0.08  # of the outer-eye distance: from here on a mouth shows what is in it


def appearance(image: Image, points: Points) -> dict[str, float]:
    """Grey levels around and within one face; NaN where there is nothing to measure."""
    grey = cv2.GaussianBlur(image.astype(np.float32) @ GREY, (0, 0), 1)
    unit = float(np.linalg.norm(points[36] - points[45]))
    middle, up = points[27:36].mean(axis=0), points[27] - points[8]
    up /= np.linalg.norm(up)

    def at(point: Points) -> float:
        (x, y), reach = point.astype(int), max(2, int(0.06 * unit))
        spot = grey[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        return float(spot.mean()) if spot.size else np.nan

    found = {}
    for name, point in (("temple", 1), ("jaw", 4), ("jaw near the chin", 6), ("chin", 8)):
        steps = []
        for k in {point, 16 - point}:
            along = points[k + 1] - points[k - 1]
            outward = np.array([-along[1], along[0]]) / np.linalg.norm(along)
            outward *= np.sign(outward @ (points[k] - middle)) * 0.2 * unit
            steps.append(at(points[k] + outward) - at(points[k] - outward))
        found[f"step from inside to outside: {name}"] = float(np.mean(steps))
    cheeks = (at((points[41] + points[48]) / 2) + at((points[46] + points[54]) / 2)) / 2
    found["forehead less cheeks"] = at(points[27] + 0.35 * unit * up) - cheeks
    found["brows less cheeks"] = float(np.mean([at(points[k]) for k in range(17, 27)])) - cheeks
    found["eyes less cheeks"] = (at(points[36:42].mean(axis=0)) + at(points[42:48].mean(axis=0))) / 2 - cheeks
    found["nostrils less cheeks"] = min(at(points[32]), at(points[34])) - cheeks
    found["lips less cheeks"] = (at((points[51] + points[62]) / 2) + at((points[57] + points[66]) / 2)) / 2 - cheeks
    inside = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(points.astype(np.int32)), 1)
    face = grey[inside > 0]
    found |= {"face: mean": face.mean(), "face: deviation": face.std()}
    found |= {f"face: {q} % are darker": np.percentile(face, q) for q in (5, 95)}
    found["face: fine detail"] = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 3))[inside > 0].mean()
    size, cross = float(np.ptp(points, axis=0).max()), np.ones((3, 3), np.uint8)
    near, far = (cv2.dilate(inside, cross, iterations=int(share * size)) for share in (0.05, 0.25))
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    height = ((columns - middle[0]) * up[0] + (rows - middle[1]) * up[1]) / unit
    for name, part in (("above", height > 0.6), ("beside", np.abs(height) <= 0.6), ("below", height < -0.6)):
        around = grey[(far > near) & part]
        found[f"around the face: {name}"] = around.mean() if around.size else np.nan
    mouth = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mouth, points[60:68].astype(np.int32), 1)
    shown = np.linalg.norm(points[62] - points[66]) / unit > OPEN and mouth.sum() > 6
    found["open mouth: grey / that of the face"] = grey[mouth > 0].mean() / max(face.mean(), 5) if shown else np.nan
    return {name: float(value) for name, value in found.items()}


def proportions(points: Points) -> dict[str, Points]:
    """Lengths (n,) of faces (n, 68, 2), and which way they look."""
    unit = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    down = points[:, 8] - points[:, 27]
    down /= np.linalg.norm(down, axis=1, keepdims=True)

    def between(a: int, b: int) -> Points:
        return np.asarray(np.linalg.norm(points[:, a] - points[:, b], axis=1) / unit)

    def below(a: Points, b: Points) -> Points:
        return np.asarray(((a - b) * down).sum(axis=1) / unit)

    brows = [(points[:, k] + points[:, k + 4]) / 2 - points[:, k + 2] for k in (17, 22)]
    eyes = [(between(k + 1, k + 5) + between(k + 2, k + 4)) / 2 / between(k, k + 3) for k in (36, 42)]
    corners = (points[:, 48] + points[:, 54]) / 2
    yaw, pitch, roll = pose.estimate(points).T
    return {
        "width of the face": between(0, 16),
        "width of the jaw": between(4, 12),
        "height of the face": between(8, 27),
        "lower lip to chin": below(points[:, 8], points[:, 57]),
        "arch of the brows": np.asarray(sum((brow * down).sum(axis=1) for brow in brows) / unit / 2),
        "brows to eyes": below((points[:, 37] + points[:, 44]) / 2, (points[:, 19] + points[:, 24]) / 2),
        "eyes: height / width": np.asarray(sum(eyes) / 2),
        "width of the eyes": (between(36, 39) + between(42, 45)) / 2,
        "length of the nose": between(27, 33),
        "width of the nose": between(31, 35),
        "tip of the nose above its base": below(points[:, 33], points[:, 30]),
        "width of the mouth": between(48, 54),
        "opening of the mouth": between(62, 66),
        "thickness of the upper lip": between(51, 62),
        "thickness of the lower lip": between(57, 66),
        "corners of the mouth lifted": below((points[:, 51] + points[:, 57]) / 2, corners),
        "head: yaw, degrees": yaw,
        "head: pitch, degrees": pitch,
        "head: roll, degrees": roll,
    }


def measured(pack: packs.Pack, rows: npt.NDArray[np.int64], what: str) -> dict[str, Points]:
    """All quantities (n,) of the chosen faces."""
    points = np.asarray(pack.landmarks[rows], np.float64)
    faces = [
        appearance(pack.images[row], one)
        for row, one in zip(tqdm(rows, what, unit="face", disable=None), points, strict=True)
    ]
    return proportions(points) | {name: np.array([face[name] for face in faces]) for name in faces[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=800, help="faces of each at most (default: 800)")
    options = parser.parse_args()
    real, synthetic = (packs.read(packs.FOLDER / role) for role in ("real", "synthetic"))
    training = np.flatnonzero((real.splits == "train") & (np.char.find(real.ids, f"{RENDERED['real']}/") != 0))
    rendered = np.flatnonzero(np.char.find(synthetic.ids, f"{RENDERED['synthetic']}/") == 0)
    for role, rows in (("real", training), ("synthetic", rendered)):
        if not len(rows):
            raise SystemExit(f"{packs.FOLDER / role}: no photographs or no rendered faces; see --help")
    chosen = np.sort(np.random.default_rng(0).permutation(training)[: options.n])
    photographs, renders = measured(real, chosen, "photographs"), measured(synthetic, rendered[: options.n], "renders")
    kept = {name: [values[~np.isnan(values)] for values in (photographs[name], renders[name])] for name in photographs}
    apart = {name: float(ks_2samp(*values).statistic) for name, values in kept.items()}
    print(f"{'':42}{f'photographs ({len(chosen)})':>24}{f'renders ({len(rendered[: options.n])})':>24}  distance")
    for name in sorted(apart, key=lambda name: -apart[name]):
        shown = ["".join(f"{value:8.2f}" for value in np.percentile(values, (10, 50, 90))) for values in kept[name]]
        print(f"{name:42}{''.join(shown)}{apart[name]:10.2f}")
    print(f"{'mean':90}{np.mean(list(apart.values())):10.2f}")


if __name__ == "__main__":
    main()
