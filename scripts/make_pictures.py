"""Makes the pictures of docs/ that show the generator's faces.

    python scripts/make_pictures.py [sheet] [points] [extremes] [tables]

`sheet` is a contact sheet of 48 faces (docs/faces.jpg), `points` shows 16 of them with their points by both conventions
and their segmentation (docs/faces_points.jpg), `extremes` every point on extreme faces (docs/extremes/),
`tables` every scheme that can be rendered, from three sides (docs/label_tables.png).
"""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facemix.render import tables
from facemix.render.person import Person, person
from facemix.render.population import POPULATIONS
from facemix.render.studio import RenderedFace, Studio, landmarks, sit

PICTURES = ("sheet", "points", "extremes", "tables")
DOCS = Path(__file__).parents[1] / "docs"
SEED = 2022
SIZE = 256
MIDDLE, LARGE = 400, 512
PALETTE = np.array(
    [[40, 40, 40], [224, 172, 140], [92, 58, 40], [80, 150, 230], [200, 60, 70], [90, 160, 90], [230, 190, 60]],
    np.uint8,
)
MESH, ANNOTATOR = (80, 255, 120), (255, 90, 200)  # RGB of the points by each convention

JAW_OPEN = {"expression/jawOpen": 1.0}
SMILE = {
    f"expression/mouth{unit}{side}": amount
    for unit, amount in (("Smile", 1.0), ("UpperUp", 0.5))
    for side in ("Left", "Right")
}
BLINK = {"expression/eyeBlinkLeft": 1.0, "expression/eyeBlinkRight": 1.0}
EXPRESSIONS = {"neutral": {}, "open_jaw": JAW_OPEN, "smile": SMILE, "blink": BLINK}
SIDES = (0.0, 35.0, 85.0)  # yaw of the faces that show label tables
YAWS = (-75.0, -45.0, 45.0, 75.0)
CORNERS = {  # of the shape space: each with every other local shape at its own end
    "young_woman_slim": {
        "macrodetails/caucasian-female-young": 1.0,
        "macrodetails/universal-female-young-minmuscle-minweight": 1.0,
    },
    "old_woman_heavy": {
        "macrodetails/african-female-old": 1.0,
        "macrodetails/universal-female-old-averagemuscle-maxweight": 1.0,
    },
    "young_man_muscular": {
        "macrodetails/african-male-young": 1.0,
        "macrodetails/universal-male-young-maxmuscle-averageweight": 1.0,
    },
    "old_man_slim": {"macrodetails/asian-male-old": 1.0, "macrodetails/universal-male-old-minmuscle-minweight": 1.0},
    "child": {"macrodetails/asian-female-child": 0.8, "macrodetails/asian-female-young": 0.2},
    "heavy_man": {
        "macrodetails/caucasian-male-young": 1.0,
        "macrodetails/universal-male-young-averagemuscle-maxweight": 1.0,
        "head/head-square": 0.7,
        "nose/nose-scale-horiz-incr": 0.7,
        "chin/chin-width-incr": 0.7,
    },
}

LOOKS: dict[str, dict[str, Any]] = {
    "young_woman_slim": {"age": 22.0, "hair": "long", "hair_tone": 3, "makeup": True, "melanin": 0.08},
    "old_woman_heavy": {"age": 74.0, "hair": "bob", "grey_hair": 0.9, "ancestry": (0.1, 0.9, 0.0)},
    "young_man_muscular": {"age": 25.0, "hair": "buzz", "hair_tone": 0, "melanin": 0.75, "ancestry": (0.0, 0.0, 1.0)},
    "old_man_slim": {"age": 78.0, "hair": "bald", "grey_hair": 1.0, "eye_tone": 4, "melanin": 0.1},
    "child": {"age": 7.0, "hair": "fringe", "hair_tone": 2},
    "heavy_man": {"age": 45.0, "hair": "short", "beard": "full", "hair_tone": 1, "melanin": 0.25},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="default: all")
    wanted = parser.parse_args().pictures or list(PICTURES)
    if not set(wanted) <= set(PICTURES):
        parser.error(f"found {' '.join(wanted)}, expected some of: {', '.join(PICTURES)}")
    if "sheet" in wanted or "points" in wanted:
        studio = Studio(SIZE)
        faces = [
            studio.shoot(POPULATIONS["synthetic"], SEED, index, "mesh")
            for index in range(48 if "sheet" in wanted else 16)
        ]
        if "sheet" in wanted:
            write(DOCS / "faces.jpg", tiled([face.image for face in faces], columns=8), quality=88)
        if "points" in wanted:
            write(DOCS / "faces_points.jpg", tiled(list(explained(studio, faces[:16])), columns=4), quality=88)
    if "extremes" in wanted:
        extremes(Studio(LARGE))
    if "tables" in wanted:
        label_tables(Studio(MIDDLE))


def explained(studio: Studio, faces: Sequence[RenderedFace]) -> Iterable[np.ndarray]:
    """Beside each other: the picture with its points, and its segmentation."""
    for index, face in enumerate(faces):
        sitting = sit(studio.head, person(POPULATIONS["synthetic"], SEED, index), SIZE)
        pointed = with_points(face.image, landmarks(sitting, "annotator", studio.outline), ANNOTATOR)
        yield np.hstack([with_points(pointed, face.landmarks, MESH), PALETTE[face.segmentation]])


def extremes(studio: Studio) -> None:
    """Large pictures with numbered points of expressions, turned heads and corners of the shape space."""
    plain = plain_person()
    for name, expression in EXPRESSIONS.items():
        show(studio, name, dataclasses.replace(plain, expression=expression))
    for yaw in YAWS:
        show(studio, f"yaw_{yaw:+.0f}", dataclasses.replace(plain, yaw=yaw, torso_yaw=0.55 * yaw))
    for name, identity in CORNERS.items():
        person_ = dataclasses.replace(plain, identity=identity, male=float("-male" in str(identity)), **LOOKS[name])
        show(studio, name, person_)


def label_tables(studio: Studio) -> None:
    """A row a scheme, turned further from left to right: green what can be seen, magenta what is hidden."""
    images = []
    for name in tables.names():
        studio.table = tables.load(name)
        for yaw in SIDES:
            turned = dataclasses.replace(plain_person(), yaw=yaw, torso_yaw=0.55 * yaw)
            face = studio.photograph(sit(studio.head, turned, MIDDLE), "mesh")
            visible = np.array(face.record["visible"])
            pointed = with_points(face.image, face.landmarks[~visible], ANNOTATOR)
            images.append(with_points(pointed, face.landmarks[visible], MESH))
    write(DOCS / "label_tables.png", few_colours(tiled(images, columns=len(SIDES))))


def few_colours(image: np.ndarray) -> np.ndarray:
    """The picture in 5 bits a colour: half the size as a PNG."""
    return image & 0b11111000


def plain_person() -> Person:
    """Nothing that hides the face, even light, and a head that looks at the camera."""
    drawn = person(POPULATIONS["synthetic"], SEED, 1)
    return dataclasses.replace(
        drawn,
        age=30.0,
        male=1.0,
        melanin=0.2,
        identity={},
        expression={},
        gaze_yaw=0.0,
        gaze_pitch=0.0,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        torso_yaw=0.0,
        hair="buzz",
        beard="none",
        glasses="none",
        hat="none",
        occluder="none",
        light="panorama",
        panorama="studio",
        background="wall",
        distance=1.7,
        face_share=0.7,
        shift_x=0.0,
        shift_y=0.0,
        exposure=1.0,
        contrast=0.8,
        saturation=1.2,
        noise=0.002,
        blur=0.0,
        jpeg=95,
        grey=False,
        makeup=False,
        white_balance=(1.0, 1.0, 1.0),
        eye_tone=1,
        hair_tone=1,
        grey_hair=0.0,
    )


def show(studio: Studio, name: str, shown: Person) -> None:
    """Writes docs/extremes/NAME.jpg: the true points, and where they differ the annotator's, joined by lines."""
    sitting = sit(studio.head, shown, LARGE)
    face = studio.photograph(sitting, "mesh")
    marked = landmarks(sitting, "annotator", studio.outline)
    image = with_points(with_points(face.image, marked, ANNOTATOR), face.landmarks, MESH, numbered=True)
    write(DOCS / "extremes" / f"{name}.jpg", image, quality=85)


def with_points(
    image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], numbered: bool = False
) -> np.ndarray:
    """The picture with a dot on each point, drawn at an eighth of a pixel, and its number beside it."""
    drawn = np.ascontiguousarray(image)
    radius = image.shape[0] / 256
    for number, point in enumerate(points):
        at = tuple(np.round(point * 8).astype(int).tolist())
        cv2.circle(drawn, at, int(radius * 8), colour, -1, cv2.LINE_AA, 3)
        if numbered:
            corner = tuple(np.round(point + np.array([3, -3])).astype(int).tolist())
            cv2.putText(drawn, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.28, colour, 1, cv2.LINE_AA)
    return drawn


def tiled(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of equal size in rows of `columns`."""
    return np.vstack([np.hstack(images[row : row + columns]) for row in range(0, len(images), columns)])


def write(path: Path, image: np.ndarray, quality: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1], [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality])
    print(path)


if __name__ == "__main__":
    main()
