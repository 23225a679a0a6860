"""Makes src/facemix/render/data/bystanders/*.webp: people who stand behind others, rendered by the generator itself.

Run without arguments; the same people come out again, looking as the generator makes them by then.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix.render.colour import to_srgb
from facemix.render.light import BYSTANDER
from facemix.render.person import person
from facemix.render.population import Population
from facemix.render.studio import Studio, sit

OUT = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "bystanders"
PEOPLE, SIZE, SEED, QUALITY = 24, 240, 0, 80
SHOULDERS, HEM = 0.6, 9  # what lies lower is clothing, share of the picture; its ragged edge, pixels
POPULATION = Population(people=2, yaw_sd=35, yaw_limit=60, occluder=0, sunglasses=0, exposure_sd=0)


def clothed_further_down(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A bust (S, S, 4) that goes on to the lower edge of the picture: renders end below the shoulders."""
    longer = image.copy()
    for column in range(SIZE):
        covered = np.flatnonzero(image[:, column, 3] > 0.9)
        if len(covered) > HEM and covered[-1] > SHOULDERS * SIZE:
            longer[covered[-1] - HEM :, column] = image[covered[-1] - HEM, column]
    return longer


def main() -> None:
    OUT.mkdir(exist_ok=True)
    studio = Studio(SIZE)
    for index in range(PEOPLE):
        one = dataclasses.replace(
            person(POPULATION, SEED, index), face_share=0.9 * BYSTANDER, shift_x=0.0, shift_y=0.0, distance=2.5
        )
        image = clothed_further_down(studio.cut_out(sit(studio.head, one, SIZE)))
        cover = np.clip(image[..., 3:], 0, 1)
        colour = to_srgb(np.clip(image[..., :3] / np.maximum(cover, 1e-3), 0, 1)) * (cover > 0)
        encoded = np.round(255 * np.dstack([colour[..., ::-1], cover])).astype(np.uint8)
        path = OUT / f"{index:02}.webp"
        cv2.imwrite(str(path), encoded, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        print(path, f"{path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
