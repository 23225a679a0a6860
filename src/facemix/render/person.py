"""One person in one picture, drawn from a population.

Each topic has random numbers of its own, so what a new draw adds to one changes no other. What belongs to the person
(age, shape, hair, clothes) is drawn by the person's number, what belongs to the picture (pose, expression, light,
camera) by the picture's: `Population.pictures` in a row show one person.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemix.render.colour import cast
from facemix.render.expression import expression_units, gaze_units
from facemix.render.head import rotation
from facemix.render.identity import identity
from facemix.render.population import ANCESTRIES, HAIR_STYLES, HAIR_TONES, WIGS, Population

OF_THE_PERSON = (
    *("origin", "shape", "worn", "skin", "complexion", "eyes", "mouth", "hair", "wig", "brows", "lashes", "beard"),
    *("clothing", "hat", "glasses", "blood", "melanin", "shade", "hollows", "folds", "relief", "lips", "make-up"),
    "beard shadow",
)
"""The rooms and topics that are the same in all pictures of a person."""

MELANIN = (0.13, 0.3, 0.8)  # mean share of each ancestry
MELANIN_SD, PALE, DARK = 0.09, 0.0, 0.45  # from PALE to DARK hair and eyes get darker
GREY_FROM, GREY_SD, GREYING = 50.0, 9.0, 22.0  # years: of the first grey hair, and until the last
GROWN = 16.0  # years
SHAVEN_HEADS = (30.0, 0.25, 50.0)  # of men from this age on so many more are bald, so many years later
WIGS_FROM = 3.0  # years
SELFIE = (0.4, 0.7)  # metres
NEAREST = 0.3  # metres
AT_CAMERA_SD = 4.0  # degrees by which those who look at the camera miss it
TURN = np.array([30.0, 20.0])  # degrees that eyes turn aside, and up and down: who had to turn them farther looks ahead
AHEAD_SD = 8.0  # degrees
TORSO_SHARE, TORSO_SD = 0.55, 6.0  # of the head's yaw that the chest follows; degrees


@dataclass(frozen=True)
class Person:
    """One person in one picture: everything that was drawn, except the grain of skin, hair and background."""

    seed: int
    index: int  # of the picture
    person: int  # number of the person in the set
    people: int
    age: float  # years
    male: float  # 0 to 1
    ancestry: tuple[float, float, float]  # european, asian, african; adds up to 1
    melanin: float  # 0 to 1
    grey_hair: float  # 0 to 1
    hair_tone: int  # place in HAIR_TONES
    eye_tone: int  # 0 dark brown, 1 brown, 2 hazel, 3 green, 4 blue, 5 grey
    identity: Mapping[str, float]  # morph targets
    expression_name: str
    expression: Mapping[str, float]  # morph targets
    gaze_yaw: float  # degrees, of the eyes in the head
    gaze_pitch: float
    yaw: float
    pitch: float
    roll: float
    torso_yaw: float
    makeup: bool
    hair: str
    beard: str
    glasses: str  # none, clear, sun
    hat: str
    garment: str
    occluder: str
    light: str
    panorama: str
    light_yaw: float
    background: str
    distance: float  # metres from the camera to the face
    face_share: float
    shift_x: float  # of the face in the picture, share of its side
    shift_y: float
    exposure: float
    contrast: float
    saturation: float
    white_balance: tuple[float, float, float]
    noise: float
    blur: float
    jpeg: int
    grey: bool

    @property
    def brow_growth(self) -> float:
        """How far the brows are grown: 1 from 15 years on."""
        return min(1.0, 0.3 + 0.7 * self.age / 15)

    def rng(self, room: str) -> np.random.Generator:
        """The random numbers of one room: what another room draws does not change them."""
        return _rng(self.seed, self.person if room in OF_THE_PERSON else self.index, self.people, room)


def _rng(seed: int, number: int, people: int, topic: str) -> np.random.Generator:
    return np.random.default_rng([seed, number, zlib.crc32(topic.encode()), people])


def person(population: Population, seed: int, index: int) -> Person:
    """Draws face `index` of a set: a pure function of its arguments."""
    number = index // population.pictures

    def rng(topic: str) -> np.random.Generator:
        return _rng(seed, number if topic in OF_THE_PERSON else index, population.people, topic)

    origin = _origin(population, rng("origin"))
    worn = _worn(population, rng("worn"), **{key: origin[key] for key in ("male", "age", "ancestry")})
    pose = _pose(population, rng("pose"))
    shape = identity(
        rng("shape"),
        np.array(origin["ancestry"]),
        origin["male"],
        origin["age"],
        population.shape_sd,
        population.asymmetry_sd,
        population.asymmetry,
    )
    return Person(
        seed=seed,
        index=index,
        person=number,
        people=population.people,
        identity=shape,
        **origin,
        **worn,
        **pose,
        **_look(population, rng("gaze"), rng("expression"), pose),
        **_place(population, rng("place")),
        **_camera(population, rng("photograph")),
    )


def _origin(population: Population, rng: np.random.Generator) -> dict[str, Any]:
    """Age, sex, ancestry, and the colours that go with them."""
    weights = np.array([population.ancestry.get(name, 0.0) for name in ANCESTRIES])
    ancestry = rng.dirichlet(np.maximum(weights / weights.sum(), 1e-3) * 0.9)
    male = float(abs((rng.random() < population.male) - 0.5 * rng.beta(0.5, 3)))  # most faces look like one sex
    adult = float(np.clip(rng.normal(population.age_mean, population.age_sd), GROWN, 88))
    young = float(rng.uniform(0.5, 15))
    age = young if rng.random() < population.children else adult
    melanin = float(np.clip(ancestry @ MELANIN + rng.normal(0, MELANIN_SD), 0.02, 1))
    fair = float(np.clip(1 - (melanin - PALE) / (DARK - PALE), 0, 1))
    woman = male <= 0.5 and age >= GROWN
    tones = {name: weight * fair for name, weight in population.hair_tones.items() if name != "dyed"}
    tones["black"] = tones.get("black", 0.0) + 2 * (1 - fair)
    tones["dark_brown"] = tones.get("dark_brown", 0.0) + 0.5 * (1 - fair)
    tones["dyed"] = woman * population.hair_tones.get("dyed", 0.0) * sum(tones.values())
    eyes = [0.15 + 3 * melanin, 0.5, 0.25 * fair, 0.15 * fair, 0.5 * fair * fair, 0.15 * fair]
    return {
        "age": age,
        "male": male,
        "ancestry": tuple(ancestry.tolist()),
        "melanin": melanin,
        "grey_hair": float(np.clip((age - rng.normal(GREY_FROM, GREY_SD)) / GREYING, 0, 1)),
        "hair_tone": HAIR_TONES.index(_one_of(rng, tones)),
        "eye_tone": int(rng.choice(len(eyes), p=np.array(eyes) / sum(eyes))),
    }


def _worn(
    population: Population, rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, ...]
) -> dict[str, Any]:
    """Hair and beard, make-up, glasses, a hat, clothes."""
    man, grown = male > 0.5, age >= GROWN
    beard = _one_of(rng, population.beards) if rng.random() < population.beard else "none"
    makeup = bool(rng.random() < population.makeup)
    sun, clear = rng.random() < population.sunglasses, rng.random() < min(1, population.glasses * (0.6 + age / 90))
    hat = _one_of(rng, population.hats) if rng.random() < population.hat else "none"
    garment = _one_of(rng, population.garments)
    hair = _hair(population, rng, man, age)
    wig = _one_of(rng, _wigs(population, man, ancestry[2]))
    modelled = rng.random() < population.wigs and hat == "none" and hair not in ("bald", "buzz") and age >= WIGS_FROM
    return {
        "makeup": makeup and not man and grown,
        "hair": wig if modelled else hair,
        "beard": beard if man and grown else "none",
        "glasses": "sun" if sun else "clear" if clear else "none",
        "hat": hat,
        "garment": garment,
    }


def _hair(population: Population, rng: np.random.Generator, man: bool, age: float) -> str:
    if age < WIGS_FROM:
        return _one_of(rng, {"bald": 0.35, "buzz": 0.25, "short": 0.25, "side": 0.1, "fringe": 0.05})
    weights = dict(population.hair_of_men if man else population.hair_of_women)
    if man and age >= GROWN:
        since, more, later = SHAVEN_HEADS
        bald = population.bald + more * max(0.0, (age - since) / later) * (population.bald > 0)
        weights["bald"] = weights.get("bald", 0.0) + bald * sum(weights.values())
    return _one_of(rng, {name: weights.get(name, 0.0) for name in HAIR_STYLES})


def _wigs(population: Population, man: bool, african: float) -> dict[str, float]:
    """Modelled haircuts; curls are most common in Africa."""
    weights = population.wigs_of_men if man else population.wigs_of_women
    return {name: weights.get(name, 0.0) * (0.3 + 3.3 * african if name == "afro01" else 1) for name in WIGS}


def _pose(population: Population, rng: np.random.Generator) -> dict[str, Any]:
    def angle(sd: float, limit: float, mean: float = 0.0) -> float:
        far = population.far_factor if rng.random() < population.far_share else 1.0
        return float(np.clip(rng.normal(mean, far * sd), -limit, limit))

    yaw = angle(population.yaw_sd, population.yaw_limit)
    return {
        "yaw": yaw,
        "pitch": angle(population.pitch_sd, population.pitch_limit, population.pitch_mean),
        "roll": angle(population.roll_sd, population.roll_limit),
        "torso_yaw": TORSO_SHARE * yaw + float(rng.normal(0, TORSO_SD)),
    }


def _look(
    population: Population, gaze: np.random.Generator, face: np.random.Generator, pose: Mapping[str, float]
) -> dict[str, Any]:
    """Where the person looks, and what the face does."""
    yaw, pitch = gaze_in_head(population, gaze, pose["yaw"], pose["pitch"], pose["roll"])
    name = _one_of(face, population.expressions)
    expression = expression_units(name, face, population.eyes_closed, population.wink)
    return {
        "gaze_yaw": yaw,
        "gaze_pitch": pitch,
        "expression_name": name,
        "expression": expression | gaze_units(yaw, pitch),
    }


def gaze_in_head(
    population: Population, rng: np.random.Generator, yaw: float, pitch: float, roll: float
) -> tuple[float, float]:
    """How far the eyes turn in the head, degrees, to the person's left and up.

    Most people look at the camera, or nearly; eyes that cannot turn so far look ahead.
    """
    at_camera = rng.random() < population.gaze_at_camera
    aside, up = rng.normal(0, [1, 0.6]) * (AT_CAMERA_SD if at_camera else population.gaze_sd)
    ahead = np.clip(rng.normal(0, [AHEAD_SD, 0.6 * AHEAD_SD]), -TURN, TURN)
    x, y, z = rotation(yaw, pitch, roll).T @ rotation(aside, -up, 0) @ np.array([0.0, 0, 1])
    turn = np.degrees([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))])
    chosen = turn if (np.abs(turn) <= TURN).all() else ahead
    return float(chosen[0]), float(chosen[1])


def _place(population: Population, rng: np.random.Generator) -> dict[str, Any]:
    """Light, background, and what is held before the face."""
    occluder = _one_of(rng, population.occluders)
    return {
        "occluder": occluder if rng.random() < population.occluder else "none",
        "light": _one_of(rng, population.lights),
        "panorama": str(rng.choice(list(population.panoramas))),
        "light_yaw": float(rng.uniform(0, 360)),
        "background": _one_of(rng, population.backgrounds),
    }


def _camera(population: Population, rng: np.random.Generator) -> dict[str, Any]:
    """Where the camera stands, how it frames the face, and what it makes of the light."""
    selfie, arm = rng.random() < population.selfies, rng.uniform(*SELFIE)
    far = population.distance_median * np.exp(rng.normal(0, population.distance_spread))
    blurred = rng.random() < population.blur
    return {
        "distance": float(max(arm if selfie else far, NEAREST)),
        "face_share": float(rng.uniform(population.face_share_low, population.face_share_high)),
        "shift_x": float(rng.normal(0, population.shift_sd)),
        "shift_y": float(rng.normal(0, population.shift_sd)),
        "exposure": float(np.exp(rng.normal(0, population.exposure_sd))),
        "contrast": float(rng.uniform(population.contrast_low, population.contrast_high)),
        "saturation": float(rng.uniform(population.saturation_low, population.saturation_high)),
        "white_balance": tuple(cast(*rng.normal(0, [population.warmth_sd, population.tint_sd])).tolist()),
        "noise": _up_to(rng, population.noise_limit, 0.002),
        "blur": _up_to(rng, population.blur_limit, 0.001) * blurred,
        "jpeg": int(rng.integers(population.jpeg_low, 98)),
        "grey": bool(rng.random() < population.grey),
    }


def _one_of(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    values = np.maximum(np.array(list(weights.values()), float), 0)
    return str(rng.choice(list(weights), p=values / values.sum()))


def _up_to(rng: np.random.Generator, limit: float, least: float) -> float:
    return float(rng.uniform(min(least, limit), limit))
