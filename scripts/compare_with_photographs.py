"""How far the generator's faces are from photographs in what can be measured on both: what to change next.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro prepare
    python scripts/compare_with_photographs.py --picture mean_faces.png

Takes the real training faces and the rendered ones of the packs at hand. For each quantity it prints the 10th, 50th and
90th percentile of both, and the greatest distance between their cumulative distributions (Kolmogorov's, 0 to 1), the
farthest first. Grey levels are 0 to 255, lengths shares of the outer-eye distance. The two label conventions differ, so
a length may be off by some hundredths for no fault of the faces.

- Colour: hue (degrees) and chroma of both cheeks in CIE Lab. Grey pictures do not count.
- Camera: the lines from eye to eye and from one corner of the mouth to the other are parallel in space, so without
  perspective they are parallel in the picture, too, whichever way a head is turned. The nearer the camera, the more
  they run apart towards the nearer side of a turned head. Points that people set higher, they set higher on both sides.
  One face says little, as faces are not symmetric; below the table stands what all of them say together.
- Gaze: where the dark part of the open eyes lies between their corners, corrected for how the head is turned, in
  degrees away from the camera. Heads turned further than 30 degrees do not count.
- Shape: the median distance of a photograph's points to the nearest of as many other photographs, and to the nearest of
  as many renders, by the similarity that fits best. With the means of both laid on each other, labels that people set
  elsewhere do not count.

Where `data/renders` tells what was drawn for the renders, it also prints how well camera and gaze are found from the
pictures: Spearman's correlation with the truth, and what the camera's measure is in thirds by the true distance.

The picture shows the mean of the frontal photographs, that of the frontal renders, and where the renders are lighter or
darker: light that comes from elsewhere, features too faint or too strong, hair that is missing.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet
from scipy.stats import ks_2samp, spearmanr
from tqdm import tqdm

from facemix.config import RENDERED
from facemix.faces import packs, pose, sources
from facemix.faces.schemes import ibug68

Points = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Image = npt.NDArray[np.uint8]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
OPEN = 0.08  # of the outer-eye distance: from here on a mouth shows what is in it
FRONTAL = 0.12  # the tip of the nose lies no farther from the middle between the eyes, of their distance

GREY_CHROMA = 3  # a picture whose cheeks have less is a grey one
TURNED = (10, 35)  # degrees: of less turned heads no side is nearer, of more turned ones the other is not seen
PERSPECTIVE = 0.8  # how much of the truth `closeness` finds before it is divided by this: 1000 renders
LINES = "camera: eyes and mouth run apart"
NAME = 46  # width of the first column
EYE = (48, 24)  # width and height of an eye laid flat, corners at the middle of its left and right edge
DARK = 0.35  # share of an eye's outline that is taken for its iris
# sin(gaze) = place of the iris x the first + sin(angle of the head) x the second + the third; least squares over the
# 825 of 1000 renders with open eyes and heads turned by less than 35 degrees. It is sure to some 6 degrees.
SIDEWAYS, UPWARD = (1.49, 0.66, 0.0), (-1.66, -0.52, -0.08)

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


def cheek_colour(image: Image, points: Points) -> dict[str, float]:
    """Hue in degrees and chroma of both cheeks in CIE Lab; NaN in a grey picture."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    reach = max(2, int(0.06 * np.linalg.norm(points[36] - points[45])))
    found = []
    for lid, corner in ((41, 48), (46, 54)):
        x, y = ((points[lid] + points[corner]) / 2).astype(int)
        found.append(lab[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1, 1:].reshape(-1, 2))
    if not sum(map(len, found)):
        return {"cheeks: hue, degrees": np.nan, "cheeks: chroma": np.nan}
    a, b = np.median(np.concatenate(found), axis=0)
    chroma = float(np.hypot(a, b))
    if chroma < GREY_CHROMA:
        return {"cheeks: hue, degrees": np.nan, "cheeks: chroma": np.nan}
    return {"cheeks: hue, degrees": float(np.degrees(np.arctan2(b, a))), "cheeks: chroma": chroma}


def iris(image: Image, outline: Points) -> Points:
    """Where the dark part of an eye is: shares of its width to the right of the middle between its corners, and below.

    Args:
        image: (H, W, 3) RGB.
        outline: (6, 2) from the corner at the left of the image over the upper lid to the other, and back.

    Returns:
        (2,); NaN where the outline is too small.
    """
    width, height = EYE
    along = (outline[3] - outline[0]) / width
    to_eye = np.linalg.inv(np.stack([along, [-along[1], along[0]]], axis=1))
    start = np.array([0, height / 2])
    flat = (outline - outline[0]) @ to_eye.T + start
    move = np.column_stack([to_eye, start - to_eye @ outline[0]])
    eye = cv2.warpAffine(image.astype(np.float32) @ GREY, move, EYE, flags=cv2.INTER_CUBIC)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(16 * flat).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside[:, : width // 10] = inside[:, -(width // 10) :] = 0  # corners are dark, too
    if inside.sum() < 0.08 * inside.size:
        return np.full(2, np.nan)
    dark = np.where(inside > 0, np.maximum(np.quantile(eye[inside > 0], DARK) - eye, 0), 0)
    rows, columns = np.mgrid[:height, :width]
    if not dark.sum() > 0:
        return np.full(2, np.nan)
    return np.array(
        [(dark * columns).sum() / dark.sum() / width - 0.5, ((dark * rows).sum() / dark.sum() - start[1]) / width]
    )


def gaze(irises: Points, points: Points) -> dict[str, Points]:
    """Degrees (n,) by which people look past the camera; NaN where eyes are shut or the head is turned far.

    Args:
        irises: (n, 2) as of `iris`, the mean of both eyes.
        points: (n, 68, 2).
    """
    yaw, pitch, _ = np.radians(pose.estimate(points, ibug68())).T
    seen = (proportions(points)["eyes: height / width"] > 0.2) & (np.abs(yaw) < np.radians(TURNED[1]))
    irises = np.where(seen[:, None], irises, np.nan)

    def degrees(place: Points, head: Points, by: tuple[float, float, float]) -> Points:
        return np.asarray(np.degrees(np.arcsin(np.clip(by[0] * place + by[1] * np.sin(head) + by[2], -1, 1))))

    aside, up = degrees(irises[:, 0], yaw, SIDEWAYS), degrees(irises[:, 1], pitch, UPWARD)
    return {"gaze: to the person's left": aside, "gaze: up": up, "gaze: past the camera": np.hypot(aside, up)}


def apart(points: Points) -> tuple[Points, Points]:
    """How far eyes and mouth run apart, to the right of the image, and the tangent of the yaw of faces (n, 68, 2).

    The first (n,) is the angle between the two lines over their distance, in outer-eye distances; NaN for heads that
    are turned too little or too far. In perspective it is the second times outer-eye distance / distance of the camera.
    """
    yaw = np.radians(pose.estimate(points, ibug68())[:, 0])
    eyes = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)
    corners = points[:, 48], points[:, 54]
    (eyes_x, eyes_y), (mouth_x, mouth_y) = ((right - left).T for left, right in (eyes, corners))
    angle = np.arctan2(eyes_x * mouth_y - eyes_y * mouth_x, eyes_x * mouth_x + eyes_y * mouth_y)
    height = np.linalg.norm(sum(corners) - sum(eyes), axis=1) / 2
    unit = np.linalg.norm(points[:, 36] - points[:, 45], axis=1) / np.cos(yaw)
    turned = np.degrees(np.abs(yaw))
    fits = (turned >= TURNED[0]) & (turned <= TURNED[1])
    return np.where(fits, angle * unit / height, np.nan), -np.tan(yaw)


def closeness(points: Points) -> tuple[float, float]:
    """The mean of outer-eye distance / distance of the camera over faces (n, 68, 2), and its standard error."""
    angle, turn = apart(points)
    known = ~np.isnan(angle)
    fit, covariance = np.polyfit(turn[known], angle[known], 1, cov=True)
    return float(fit[0] / PERSPECTIVE), float(np.sqrt(covariance[0, 0]) / PERSPECTIVE)


def complex_shapes(points: Points) -> Complex:
    """Faces (n, K, 2) as complex vectors (n, K), centred and of length 1."""
    shapes = points[..., 0] + 1j * points[..., 1]
    shapes -= shapes.mean(axis=1, keepdims=True)
    return np.asarray(shapes / np.linalg.norm(shapes, axis=1, keepdims=True))


def nearest(points: Points, others: Points) -> Points:
    """For each face (n, K, 2) the distance to the nearest of others (m, K, 2), in % of its outer-eye distance.

    The distance of two faces is the root mean square over their points after the similarity that fits best: in complex
    numbers sqrt(1 - |a* b|^2) of the centred shapes, times the size of the face.
    """
    centred = points - points.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=(1, 2)) / points.shape[1])
    alike = np.abs(complex_shapes(points).conj() @ complex_shapes(others).T).max(axis=1)
    unit = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    return np.asarray(100 * size / unit * np.sqrt(np.maximum(1 - alike**2, 0)))


def moved_onto(points: Points, others: Points) -> Points:
    """Faces (n, K, 2), turned and scaled alike, moved so that their mean shape is that of others (m, K, 2)."""

    def mean_and_turned(shapes: Complex) -> tuple[Complex, Complex]:
        mean = shapes[0]
        for _ in range(5):
            turned = shapes * np.exp(-1j * np.angle(shapes @ mean.conj()))[:, None]
            mean = turned.mean(axis=0) / np.linalg.norm(turned.mean(axis=0))
        return mean, turned

    mean, turned = mean_and_turned(complex_shapes(points))
    target, _ = mean_and_turned(complex_shapes(others))
    target *= np.exp(1j * np.angle(mean @ target.conj()))
    moved = turned + (target - mean)
    return np.stack([moved.real, moved.imag], axis=-1)


def coverage(photographs: Points, renders: Points) -> dict[str, float]:
    """Median distances of photographs to their nearest face, each among equally many.

    Args:
        photographs: (n, 68, 2); in random order.
        renders: (m, 68, 2).
    """
    count = min(len(photographs) // 2, len(renders))
    asked, others, own = photographs[:count], photographs[count : 2 * count], renders[:count]
    return {
        "photograph to nearest photograph": float(np.median(nearest(asked, others))),
        "photograph to nearest render": float(np.median(nearest(asked, own))),
        "photograph to nearest render, equal means": float(np.median(nearest(asked, moved_onto(own, photographs)))),
        "render to nearest photograph, equal means": float(np.median(nearest(moved_onto(own, photographs), others))),
    }


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
    pairs = list(zip(images, points, strict=True))
    looks = [appearance(*pair) | cheek_colour(*pair) for pair in pairs]
    faces = np.array([aligned(*pair) for pair in pairs])
    irises = np.array([[iris(image, one[start : start + 6]) for start in (36, 42)] for image, one in pairs]).mean(
        axis=1
    )
    found = {name: np.array([look[name] for look in looks]) for name in looks[0]}
    angle, turn = apart(points)
    camera = {LINES: angle / turn}
    return proportions(points) | camera | gaze(irises, points) | found | shading(faces), np.nanmean(faces, axis=0)


def say_checks(found: dict[str, Points], points: Points, names: npt.NDArray[np.str_]) -> None:
    """Prints how well camera and gaze are found in the renders of these names (n,), where it is known what was drawn.

    Args:
        found: what was measured.
        points: (n, 68, 2).
        names: `source/number`.
    """
    file = sources.RENDERS / "synthetic" / "faces.parquet"
    if not file.exists():
        return
    table = parquet.read_table(file).to_pydict()
    distance_column = "distance" if "distance" in table else "camera_distance"
    places = [int(name.rpartition("/")[2]) for name in names]
    yaw, pitch, gaze_yaw, gaze_pitch, distance = (
        np.asarray(table[name])[places] for name in ("yaw", "pitch", "gaze_yaw", "gaze_pitch", distance_column)
    )
    truth = {
        LINES: 1 / distance,
        "width of the face": distance,
        "gaze: to the person's left": gaze_yaw + yaw,
        "gaze: up": gaze_pitch - pitch,
    }
    print("\nfound in renders against what was drawn: Spearman's correlation")
    for name, true in truth.items():
        print(f"{name:{NAME}}{spearmanr(found[name], true, nan_policy='omit').statistic:8.2f}")
    for name, third in zip(("nearest", "middle", "farthest"), np.array_split(np.argsort(distance), 3), strict=True):
        say_closeness(f"{name} third of the renders", points[third])


def say_closeness(what: str, points: Points) -> None:
    print("{:{}}{:8.3f} ± {:.3f}".format(what, NAME, *closeness(points)))


def say_distributions(found: dict[str, tuple[Points, Points]], counts: tuple[int, int]) -> None:
    """Prints percentiles of what was found in photographs and renders, what lies farthest apart first."""
    kept = {name: [values[~np.isnan(values)] for values in both] for name, both in found.items()}
    apart = {name: float(ks_2samp(*values).statistic) for name, values in kept.items()}
    print(f"{'':{NAME}}{f'photographs ({counts[0]})':>24}{f'renders ({counts[1]})':>24}  distance")
    for name in sorted(apart, key=lambda name: -apart[name]):
        shown = ["".join(f"{value:8.2f}" for value in np.percentile(values, (10, 50, 90))) for values in kept[name]]
        print(f"{name:{NAME}}{''.join(shown)}{apart[name]:10.2f}")
    print(f"{'mean':{NAME + 48}}{np.mean(list(apart.values())):10.2f}")


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
    training = np.random.default_rng(0).permutation(training)
    chosen, shown = np.sort(training[: options.n]), rendered[: options.n]
    photographs, mean_photograph = measured(real, chosen, "photographs")
    renders, mean_render = measured(synthetic, shown, "renders")
    both = {name: (photographs[name], renders[name]) for name in photographs}
    say_distributions(both, (len(chosen), len(shown)))
    shapes = [np.asarray(pack.landmarks[rows], np.float64) for pack, rows in ((real, training), (synthetic, rendered))]
    print("\nouter-eye distance / distance of the camera, mean and standard error")
    for what, points in zip(("photographs", "renders"), shapes, strict=True):
        say_closeness(what, points)
    print("\nshape: median distance to the nearest face, % of the outer-eye distance")
    for name, value in coverage(*shapes).items():
        print(f"{name:{NAME}}{value:8.2f}")
    say_checks(renders, shapes[1][: options.n], synthetic.ids[shown])
    if options.picture:
        cv2.imwrite(str(options.picture), drawn(mean_photograph, mean_render))


if __name__ == "__main__":
    main()
