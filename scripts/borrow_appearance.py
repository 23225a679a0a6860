"""A rendered set whose pictures borrow from real photographs: the same points, other pictures.

    facemix preset 300w && facemix import 300w ~/300w
    facemix render --n 1000 --seed 0 --size 256 --seg --out sets/plain
    python scripts/borrow_appearance.py sets/plain --how colour --share 0.5 --out sets/colour

`--how` says what is borrowed of a random real training face:

colour       mean and standard deviation of each channel of CIELAB (Reinhard et al., "Color transfer between images",
             IEEE CG&A 2001), measured on what a detector sees of both faces
fourier      the amplitudes of low frequencies, the phases stay (Yang and Soatto, arXiv 2004.05498); each picture has a
             beta of its own, uniform between the two of `--beta`
background   the person is pasted onto a part of a photograph in which no face is annotated; needs segmentations

Photographs are the training ones of the real sources in params.yaml. Of their labels only the boxes are used: a donor
is framed as the rendered face is, and backgrounds keep away from faces. A set like 300-W annotates one face of each
picture, so other people may be seen in a background, and of the annotated person hair and shoulders.

What happens to a face hangs on `--seed` and its name alone: of equal seed, every `--how` changes the same faces, and a
larger share changes those of a smaller one and more. docs/appearance.md says what came out.
"""

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemix import config
from facemix.errors import FacemixError
from facemix.faces import formats, geometry, packing, sources
from facemix.faces.face import STAND_IN, BrokenFace, Face
from facemix.faces.images import read_image
from facemix.files import whole_folder, write_table
from facemix.render import folder

Image = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

STRETCHED = 3
"""How many times a channel is stretched at most: the little colour that a grey picture has is noise."""
BACKGROUND = 0
"""The class of pixels of a segmentation that show no person."""
EDGE = 2
"""Pixels of a person beside the background in which they fade into the new one."""
KEPT_FREE = 1.5
"""Side of what a background keeps away from / side of a face's box."""
ENLARGED = 5
"""How many times a part of a photograph is enlarged at most to become a background."""
BORROWED = "borrowed.csv"
"""Which picture was changed, and by which photograph."""


# --- Pictures ---------------------------------------------------------------------------------------------------------


def with_colours(image: Image, donor: Image, seen: tuple[slice, slice] = (slice(None), slice(None))) -> Image:
    """A picture with the mean and standard deviation of a donor in each channel of CIELAB.

    The deviation is at most STRETCHED times that of the picture.

    Args:
        image: (H, W, 3) RGB.
        donor: (H, W, 3) RGB.
        seen: rows and columns in which both are measured.
    """
    lab, other = (cv2.cvtColor(np.float32(one) / 255, cv2.COLOR_RGB2LAB) for one in (image, donor))
    mean, deviation = _moments(lab[seen])
    new_mean, new_deviation = _moments(other[seen])
    factor = np.minimum(new_deviation / np.maximum(deviation, 1e-6), STRETCHED)
    changed = np.float32((lab - mean) * factor + new_mean)
    return _rounded(cv2.cvtColor(changed, cv2.COLOR_LAB2RGB) * 255.0)


def _moments(pixels: npt.NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation (3,) of pixels (h, w, 3)."""
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return flat.mean(axis=0), flat.std(axis=0)


def with_amplitudes(image: Image, donor: Image, beta: float) -> Doubles:
    """A picture with a donor's amplitudes at low frequencies and its own phases, not yet clipped to 0 .. 255.

    Args:
        image: (H, W, 3).
        donor: (H, W, 3).
        beta: frequencies below it are low, in cycles per pixel along both axes; 0: none is, and the picture stays.
    """
    own, other = (np.fft.fft2(one.astype(np.float64), axes=(0, 1)) for one in (image, donor))
    rows, columns = (np.abs(np.fft.fftfreq(n)) < beta for n in image.shape[:2])
    low = (rows[:, None] & columns)[..., None]
    amplitude = np.where(low, np.abs(other), np.abs(own))
    return np.asarray(np.fft.ifft2(amplitude * np.exp(1j * np.angle(own)), axes=(0, 1)).real)


def before(image: Image, person: npt.NDArray[np.bool_], background: Image) -> Image:
    """The person of a picture before another background.

    The outermost EDGE pixels of the person fade, for they show some of the old background, too.

    Args:
        image: (H, W, 3).
        person: (H, W) which pixels show the person.
        background: (H, W, 3).
    """
    depth = cv2.distanceTransform(np.pad(person, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    opacity = np.clip(depth[1:-1, 1:-1, None] / (EDGE + 1), 0, 1)
    return _rounded(opacity * image + (1 - opacity) * background)


def _rounded(image: npt.NDArray[np.floating]) -> Image:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


# --- Where faces are --------------------------------------------------------------------------------------------------


def framed(photograph: Image, its_box: Doubles, box: Doubles, shape: tuple[int, int]) -> Image:
    """A photograph moved and scaled so that its face is where another picture has one.

    Args:
        photograph: (H, W, 3).
        its_box: (4,) xyxy of its face.
        box: (4,) xyxy of the face in the other picture.
        shape: height and width of the other picture.
    """
    scale = geometry.square_side(box) / geometry.square_side(its_box)
    shift = (box[:2] + box[2:]) / 2 - scale * (its_box[:2] + its_box[2:]) / 2
    transform = np.column_stack([scale * np.eye(2), shift])
    return geometry.warp(photograph, transform, max(shape))[: shape[0], : shape[1]]


def field_of_view(box: Doubles, context: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a picture that a detector sees of a face.

    Args:
        box: (4,) xyxy of the face.
        context: side of the field of view / longer side of the box.
        shape: height and width of the picture.
    """
    half = context * geometry.square_side(box) / 2
    x, y = (box[:2] + box[2:]) / 2
    rows, columns = (
        slice(int(np.clip(np.floor(centre - half), 0, n - 1)), int(np.clip(np.ceil(centre + half) + 1, 1, n)))
        for centre, n in zip((y, x), shape, strict=True)
    )
    return rows, columns


def free_square(
    rng: np.random.Generator, shape: tuple[int, int], boxes: Doubles, smallest: float
) -> tuple[slice, slice] | None:
    """Rows and columns of a square of a photograph in which no face is: around a random middle, as large as it can be.

    Args:
        rng: draws the middle.
        shape: height and width of the photograph.
        boxes: (n, 4) xyxy of all its faces; the square touches none of them, each KEPT_FREE times as large.
        smallest: pixels of a side at least.

    Returns:
        None where there is no such square.
    """
    free = np.pad(np.ones(shape, np.uint8), 1)
    for x0, y0, x1, y1 in _grown(boxes, KEPT_FREE).tolist():
        columns, rows = (
            slice(max(int(np.floor(a)), 0) + 1, max(int(np.ceil(b)), -1) + 2) for a, b in ((x0, x1), (y0, y1))
        )
        free[rows, columns] = 0
    reach = cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1].astype(int) - 1  # pixels to each side of a middle
    middles = np.argwhere(2 * reach + 1 >= smallest)
    if not len(middles):
        return None
    row, column = middles[rng.integers(len(middles))].tolist()
    around = int(reach[row, column])
    return slice(row - around, row + around + 1), slice(column - around, column + around + 1)


def _grown(boxes: Doubles, factor: float) -> Doubles:
    """Boxes (n, 4) xyxy whose sides are `factor` times as long, around the same middles."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, factor * (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


# --- Photographs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Real faces that others borrow from."""

    training: Sequence[Face]
    """Those that train, by source and id."""
    mates: Mapping[Path, Sequence[Face]]
    """Picture -> all annotated faces of its photograph, whichever picture of it they are annotated in."""

    def boxes(self, face: Face) -> Doubles | None:
        """Boxes (n, 4) of all annotated faces in the picture of one.

        None where another face of the photograph was cut out into another picture: it may be seen in this one, too.
        """
        mates = self.mates[face.image]
        content = face.image.read_bytes() if len(mates) > 1 else b""
        if any(mate.image != face.image and mate.image.read_bytes() != content for mate in mates):
            return None
        return geometry.landmark_box(np.stack([mate.landmarks for mate in mates]))


def photographs(entries: Sequence[packing.Entry]) -> Photographs:
    """The real photographs among the faces of the real role.

    Raises:
        FacemixError: none of them trains.
    """
    real = [entry for entry in entries if entry.face.subset != STAND_IN]
    training = [entry.face for entry in sorted(real, key=_place) if entry.split == "train"]
    if not training:
        raise FacemixError(
            f"{config.PARAMS_FILE}: sources.real: found no photographs that train, expected some to borrow from; add "
            "them with `facemix import FORMAT PATH`"
        )
    shown: dict[tuple[str, str], list[Face]] = defaultdict(list)
    for entry in real:
        shown[entry.source, entry.face.photo].append(entry.face)
    return Photographs(training=training, mates={face.image: mates for mates in shown.values() for face in mates})


def _place(entry: packing.Entry) -> tuple[str, str]:
    return entry.source, entry.face.id


# --- One face ---------------------------------------------------------------------------------------------------------

Change = Callable[[np.random.Generator, Face, Image], tuple[Image, Face]]
"""Changes the picture of a rendered face; what comes out, and the real face that it borrowed from."""


def borrow_colours(
    rng: np.random.Generator, face: Face, image: Image, *, real: Photographs, context: float
) -> tuple[Image, Face]:
    donor, crop = _crop(rng, face, image, real)
    seen = field_of_view(geometry.landmark_box(face.landmarks), context, crop.shape[:2])
    return with_colours(image, crop, seen), donor


def borrow_amplitudes(
    rng: np.random.Generator, face: Face, image: Image, *, real: Photographs, beta: tuple[float, float]
) -> tuple[Image, Face]:
    donor, crop = _crop(rng, face, image, real)
    return _rounded(with_amplitudes(image, crop, rng.uniform(*beta))), donor


def _crop(rng: np.random.Generator, face: Face, image: Image, real: Photographs) -> tuple[Face, Image]:
    """A random training face, and its photograph framed as a rendered face is."""
    donor = real.training[int(rng.integers(len(real.training)))]
    its_box, box = (geometry.landmark_box(one.landmarks) for one in (donor, face))
    return donor, framed(read_image(donor.image), its_box, box, image.shape[:2])


def borrow_background(rng: np.random.Generator, face: Face, image: Image, *, real: Photographs) -> tuple[Image, Face]:
    """
    Raises:
        FacemixError: the segmentation has another size than the picture, or no photograph has a part without a face.
    """
    side = max(image.shape[:2])
    for place in rng.permutation(len(real.training)).tolist():
        donor = real.training[place]
        boxes = real.boxes(donor)
        if boxes is None:
            continue
        photograph = read_image(donor.image)
        if square := free_square(rng, photograph.shape[:2], boxes, side / ENLARGED):
            part = photograph[square]
            method = cv2.INTER_AREA if len(part) > side else cv2.INTER_CUBIC
            background = cv2.resize(part, (side, side), interpolation=method)[: image.shape[0], : image.shape[1]]
            return before(image, _person(face, image.shape[:2]), background), donor
    raise FacemixError(
        f"{len(real.training)} training photographs: found none with a square of {side / ENLARGED:.0f} pixels that no "
        "annotated face touches, expected some for backgrounds; import photographs that show more than a face, or "
        "render smaller pictures"
    )


def _points(face: Face) -> Path:
    return face.image.with_name(f"{face.id}{folder.POINTS}")


def _segmentation(face: Face) -> Path:
    return face.image.with_name(f"{face.id}{folder.SEGMENTS}")


def _person(face: Face, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which pixels (H, W) of a rendered face show no background."""
    classes = read_image(_segmentation(face))[..., 0]
    if classes.shape != shape:
        found, expected = (" x ".join(map(str, reversed(one))) for one in (classes.shape, shape))
        raise FacemixError(
            f"{_segmentation(face)}: found {found} pixels, expected {expected} as the picture has; render the set again"
        )
    return np.asarray(classes != BACKGROUND)


# --- A set ------------------------------------------------------------------------------------------------------------


def borrow(
    rendered: Path, out: Path, faces: Sequence[Face], change: Change, share: float, seed: int, note: Mapping[str, Any]
) -> int:
    """Writes a set anew, some of its pictures changed; the folder appears when it is complete.

    Args:
        rendered: the folder of the set.
        out: the new folder.
        faces: of the set.
        change: what happens to those that are changed.
        share: how probable that is.
        seed: of all that is drawn.
        note: what `render.json` is to say of it.

    Returns:
        how many were changed.
    """
    rows = []
    with whole_folder(out) as beside:
        for face in tqdm(faces, str(note["how"]), unit="face", disable=None):
            rng = np.random.default_rng([seed, *face.id.encode()])
            is_changed = rng.random() < share
            for file in (face.image, _points(face), _segmentation(face)):
                if file.exists() and not (is_changed and file == face.image):
                    shutil.copyfile(file, beside / file.name)
            if is_changed:
                image, donor = change(rng, face, read_image(face.image))
                _, data = cv2.imencode(".png", image[..., ::-1])  # `imwrite` hides a full disk
                (beside / f"{face.id}.png").write_bytes(data.tobytes())
                rows.append({"file": f"{face.id}.png", "photograph": donor.id})
        if (rendered / folder.TABLE).exists():
            shutil.copyfile(rendered / folder.TABLE, beside / folder.TABLE)
        write_table(beside / BORROWED, rows, ("file", "photograph"))
        former = rendered / folder.MANIFEST
        about = {
            "scheme": faces[0].scheme.name,  # readers look for it here; the rest keeps `facemix render` away
            "borrowed": note,
            "rendered": folder.read_json(former) if former.exists() else None,
        }
        folder.write_manifest(beside / folder.MANIFEST, about)
    return len(rows)


def rendered_faces(rendered: Path, needs_segmentation: bool) -> list[Face]:
    """The faces of a set.

    Raises:
        FacemixError: it is no such set, faces are broken, or segmentations are missing.
    """
    faces, broken = formats.read("facesynthetics", rendered)
    packing.raise_broken(broken, len(faces) + len(broken))
    if not all(isinstance(face.image, Path) and _points(face).exists() for face in faces):
        raise FacemixError(f"{rendered}: found shards, or what was in them; expected a set rendered without --shards")
    missing = [file for file in map(_segmentation, faces) if not file.exists()] if needs_segmentation else []
    if missing:
        raise FacemixError(
            f"{missing[0]}: not found, expected a segmentation of each face ({len(missing)} of {len(faces)} have "
            "none); render the set with them into a new folder: `facemix render --seg`, else with the same options"
        )
    return faces


def _changes(options: argparse.Namespace, params: config.Params, real: Photographs) -> Change:
    return {
        "colour": partial(borrow_colours, real=real, context=params.model.context),
        "fourier": partial(borrow_amplitudes, real=real, beta=tuple(options.beta)),
        "background": partial(borrow_background, real=real),
    }[options.how]


def _check(options: argparse.Namespace) -> None:
    low, high = options.beta
    if not 0 <= options.share <= 1:
        raise FacemixError(f"--share: found {options.share:g}, expected a probability, 0 to 1")
    if options.seed < 0:
        raise FacemixError(f"--seed: found {options.seed}, expected 0 or more")
    if not 0 <= low <= high <= 0.5:
        raise FacemixError(f"--beta: found {low:g} {high:g}, expected two numbers from 0 to 0.5, the smaller one first")
    if options.out.exists():
        raise FacemixError(f"{options.out}: there is something already; use another folder, or remove this one")


def run(options: argparse.Namespace) -> str:
    """Does what the command says; what came of it, in a line.

    Raises:
        FacemixError: an option, the set or the photographs cannot be used.
        BrokenFace: a picture is damaged; no folder appears.
        OSError: the disk is full or read-only; no folder appears.
    """
    _check(options)
    params = config.load()
    faces = rendered_faces(options.rendered, needs_segmentation=options.how == "background")
    real = photographs(sources.entries("real", params))
    note = {"how": options.how, "share": options.share, "seed": options.seed, "photographs": len(real.training)}
    if options.how == "fourier":
        note["beta"] = options.beta
    change = _changes(options, params, real)
    count = borrow(options.rendered, options.out, faces, change, options.share, options.seed, note)
    return f"{options.out}: {count} of {len(faces)} pictures changed, from {len(real.training)} real training faces"


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rendered", type=Path, help="folder of the set, in the layout of FaceSynthetics")
    parser.add_argument("--how", choices=("colour", "fourier", "background"), required=True, help="what is borrowed")
    parser.add_argument("--out", type=Path, required=True, help="the new folder")
    parser.add_argument("--share", type=float, default=0.5, help="probability that a picture is changed (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument(
        "--beta",
        type=float,
        nargs=2,
        default=[0.01, 0.05],
        metavar=("LOW", "HIGH"),
        help="for fourier: the least and the largest frequency that counts as the end of the low ones, in cycles per "
        "pixel (default: 0.01 0.05)",
    )
    return parser.parse_args(arguments)


def main() -> None:
    try:
        print(run(parsed()))
    except (FacemixError, BrokenFace, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")


if __name__ == "__main__":
    main()
