"""How far the generator's faces are from photographs in what can be measured on both: what to change next.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro prepare
    python scripts/compare_with_photographs.py --picture mean_faces.png

Takes the real training faces and the rendered ones of the packs at hand. For each quantity it prints the 10th, 50th and
90th percentile of both, and the greatest distance between their cumulative distributions (Kolmogorov's, 0 to 1), the
farthest first. Grey levels are 0 to 255, lengths shares of the outer-eye distance. The two label conventions differ, so
a length may be off by some hundredths for no fault of the faces.

The picture shows the mean of the frontal photographs, that of the frontal renders, and where the renders are lighter or
darker: light that comes from elsewhere, features too faint or too strong, hair that is missing.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp
from tqdm import tqdm

from facemix.config import RENDERED
from facemix.faces import packs, pose
from facemix.faces.schemes import ibug68

Points = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
OPEN = 0.08  # of the outer-eye distance: from here on a mouth shows what is in it
FRONTAL = 0.12  # the tip of the nose lies no farther from the middle between the eyes, of their distance

# Frontal faces are laid over each other with eyes and mouth at these places of a square; what is measured in it: x, y,
# and how far it reaches to either side. Both halves of the face are taken together.
SIDE = 109
EYES_AND_MOUTH = np.array([[38, 38], [70, 38], [54, 75]], np.float32)
PLACES = {
    "between the brows": (54, 29, 4, 3),
    "brows, inner ends": (46, 30, 3, 2),
    "brows, outer ends": (25, 30, 3, 2),
    "upper lids": (38, 34, 5, 1),
    "eyes": (38, 38, 4, 1),
    "eyes, outer corners": (30, 38, 2, 1),
    "beside the root of the nose": (48, 39, 2, 4),
    "tip of the nose": (54, 56, 3, 2),
    "nostrils": (50, 61, 2, 1),
    "under the nose": (54, 67, 3, 2),
    "upper lip": (54, 72, 5, 1),
    "between the lips": (54, 75, 6, 1),
    "corners of the mouth": (42, 75, 2, 2),
    "lower lip": (54, 79, 5, 1),
    "below the lips": (54, 83, 5, 2),
    "chin": (54, 90, 5, 3),
    "cheeks": (32, 58, 5, 4),
    "cheeks, outside": (20, 58, 2, 4),
    "temples": (17, 30, 2, 5),
    "forehead": (54, 18, 8, 3),
    "forehead, sides": (28, 12, 4, 4),
}


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


def aligned(image: Image, points: Points) -> npt.NDArray[np.float64]:
    """The grey levels (SIDE, SIDE) of a frontal face around those beside its nose, in their deviation; NaN where the
    face is turned."""
    eyes, mouth = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)], points[48:60].mean(axis=0)
    across = eyes[1] - eyes[0]
    if abs((points[30] - eyes[0]) @ across / (across @ across) - 0.5) > FRONTAL:
        return np.full((SIDE, SIDE), np.nan)
    move = cv2.getAffineTransform(np.array([*eyes, mouth], np.float32), EYES_AND_MOUTH)
    grey = image.astype(np.float32) @ GREY
    if (scale := float(np.hypot(*move[:, 0]))) < 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.45 / scale)
    face = cv2.warpAffine(grey, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    return np.asarray((face - np.median(face[48:66, 30:78])) / max(face[20:95, 20:88].std(), 1))


def shading(faces: npt.NDArray[np.float64]) -> dict[str, Points]:
    """How light (n,) the places of aligned faces (n, SIDE, SIDE) are."""
    both = (faces + faces[..., ::-1]) / 2
    return {
        f"shading: {name}": both[:, y - high : y + high + 1, x - wide : x + wide + 1].mean(axis=(1, 2))
        for name, (x, y, wide, high) in PLACES.items()
    }


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
    yaw, pitch, roll = pose.estimate(points, ibug68()).T
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


def measured(
    pack: packs.Pack, rows: npt.NDArray[np.int64], what: str
) -> tuple[dict[str, Points], npt.NDArray[np.float64]]:
    """All quantities (n,) of the chosen faces, and their mean face (SIDE, SIDE)."""
    points = np.asarray(pack.landmarks[rows], np.float64)
    images = [pack.images[row] for row in tqdm(rows, what, unit="face", disable=None)]
    looks = [appearance(image, one) for image, one in zip(images, points, strict=True)]
    faces = np.array([aligned(image, one) for image, one in zip(images, points, strict=True)])
    found = {name: np.array([look[name] for look in looks]) for name in looks[0]}
    return proportions(points) | found | shading(faces), np.nanmean(faces, axis=0)


def drawn(photographs: npt.NDArray[np.float64], renders: npt.NDArray[np.float64]) -> Image:
    """Both mean faces (SIDE, SIDE) and their difference, side by side."""
    shown = [(photographs + 2) / 3.5, (renders + 2) / 3.5, (renders - photographs + 1) / 2]
    grey = np.clip(np.hstack(shown) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(grey, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=800, help="faces of each at most (default: 800)")
    parser.add_argument("--picture", type=Path, help="write the mean faces and their difference here, a PNG file")
    options = parser.parse_args()
    real, synthetic = (packs.read(packs.FOLDER / role) for role in ("real", "synthetic"))
    training = np.flatnonzero((real.splits == "train") & (np.char.find(real.ids, f"{RENDERED['real']}/") != 0))
    rendered = np.flatnonzero(np.char.find(synthetic.ids, f"{RENDERED['synthetic']}/") == 0)
    for role, rows in (("real", training), ("synthetic", rendered)):
        if not len(rows):
            raise SystemExit(f"{packs.FOLDER / role}: no photographs or no rendered faces; see --help")
    chosen = np.sort(np.random.default_rng(0).permutation(training)[: options.n])
    photographs, mean_photograph = measured(real, chosen, "photographs")
    renders, mean_render = measured(synthetic, rendered[: options.n], "renders")
    kept = {name: [values[~np.isnan(values)] for values in (photographs[name], renders[name])] for name in photographs}
    apart = {name: float(ks_2samp(*values).statistic) for name, values in kept.items()}
    print(f"{'':42}{f'photographs ({len(chosen)})':>24}{f'renders ({len(rendered[: options.n])})':>24}  distance")
    for name in sorted(apart, key=lambda name: -apart[name]):
        shown = ["".join(f"{value:8.2f}" for value in np.percentile(values, (10, 50, 90))) for values in kept[name]]
        print(f"{name:42}{''.join(shown)}{apart[name]:10.2f}")
    print(f"{'mean':90}{np.mean(list(apart.values())):10.2f}")
    if options.picture:
        cv2.imwrite(str(options.picture), drawn(mean_photograph, mean_render))


if __name__ == "__main__":
    main()
