"""Complexions: how the colour of photographed skin varies over a face, beside what is painted."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.colour import to_linear
from facemix.render.person import Person

Image = NDArray[np.floating[Any]]

AGES = {"young": 0, "middleage": 38, "old": 58}  # years from which on a photograph suits
AGE_SPREAD = 8.0  # people look older or younger than they are
STRENGTH = (0.5, 1.1)  # how much of a photograph is seen, least and most
DARKEST, BRIGHTEST = -1.5, 0.5  # of it, logarithms


@cache
def photographs() -> dict[str, list[Image]]:
    """By age_ancestry_sex, the logarithm of linear RGB (348, 205, 3) float32 of skins on the head's texture."""
    found: dict[str, list[Image]] = {}
    for file in sorted((files("facemix.render") / "data" / "complexions").iterdir(), key=lambda file: file.name):
        picture = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        linear = to_linear(np.maximum(picture[..., ::-1], 4) / 255.0)
        found.setdefault(file.name.removesuffix(".jpg").rstrip("2"), []).append(np.log(linear).astype(np.float32))
    return found


def complexion(person: Person, shape: tuple[int, int], cheeks: NDArray[np.bool_]) -> Image:
    """What the colour of skin like the person's is multiplied by, as a logarithm (rows, columns, 3).

    A mix of two photographs of people of about this age, ancestry and sex.

    Args:
        person: whose skin it is.
        shape: rows and columns of the head's texture.
        cheeks: where the skin has its plain colour (rows, columns); there the median is 0.
    """
    rng = person.rng("complexion")
    mixed = np.zeros((*shape, 3), np.float32)
    share = rng.random()
    for weight in (share, 1 - share):
        age = max(person.age + rng.normal(0, AGE_SPREAD), 0)
        group = [name for name, least in AGES.items() if age >= least][-1]
        ancestry = rng.choice(["european", "asian", "african"], p=person.ancestry)
        sex = "male" if person.male > 0.5 else "female"
        choice = photographs()[f"{group}_{ancestry}_{sex}"]
        photograph = choice[rng.integers(len(choice))]
        drawn = cv2.resize(photograph, shape[::-1], interpolation=cv2.INTER_CUBIC)
        mixed += np.float32(weight) * (drawn - np.median(drawn[cheeks], axis=0))
    return np.float32(rng.uniform(*STRENGTH)) * np.clip(mixed, DARKEST, BRIGHTEST)
