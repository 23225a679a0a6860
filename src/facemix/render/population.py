"""Who stands before the camera: the distributions, and one person drawn from them."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from facemix.errors import FacemixError
from facemix.render.expression import EXPRESSIONS, expression_units, gaze_units
from facemix.render.identity import identity

HAIR_STYLES = ("bald", "buzz", "short", "side", "fringe", "curly", "bob", "long", "tied")
WIGS = ("afro01", "bob02", "long01", "ponytail01", "short01", "short02", "short03", "short04")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
HATS = ("none", "cap", "beanie", "brim", "hood")
OCCLUDERS = ("none", "hand", "phone", "microphone", "cup")
FAR_SHARE, FAR = 0.12, 2.2
LIGHTS = ("panorama", "studio", "flash", "sun")
BACKGROUNDS = ("panorama", "wall", "clutter")
LAMPS = (
    *("apartment", "bridge", "city", "dawn", "esplanade", "forest", "hall", "lab", "lobby", "night", "park", "sky"),
    *("studio", "sunrise", "sunset", "venice", "warehouse", "workshop"),
)


@dataclass(frozen=True)
class Population:
    """Every distribution of the generator. Shares are probabilities, angles degrees, weights need not add up to 1.

    Raises:
        FacemixError: a value is out of its range; names the key.
    """

    people: int = 0  # sets of other `people` share no one, whatever their seeds
    ancestry: Mapping[str, float] = field(default_factory=lambda: {"european": 0.55, "asian": 0.23, "african": 0.22})
    male: float = 0.5
    children: float = 0.16  # up to 15 years, babies among them
    age_mean: float = 36.0  # years, of adults
    age_sd: float = 14.0
    shape_sd: float = 0.28  # of each local morph target
    asymmetry_sd: float = 0.25
    yaw_sd: float = 15.0  # of most heads: FAR_SHARE of them are held FAR times as far from straight
    yaw_limit: float = 75.0
    pitch_mean: float = -3.0  # down; people lift their chins for a camera
    pitch_sd: float = 9.0
    pitch_limit: float = 32.0
    roll_sd: float = 6.5
    roll_limit: float = 40.0
    gaze_sd: float = 11.0  # away from the camera
    expressions: Mapping[str, float] = field(
        default_factory=lambda: {
            "neutral": 0.22,
            "smile": 0.22,
            "laugh": 0.28,
            "talk": 0.1,
            "shout": 0.03,
            "surprise": 0.03,
            "frown": 0.06,
            "pucker": 0.04,
            "random": 0.02,
        }
    )
    eyes_closed: float = 0.05
    wink: float = 0.015
    makeup: float = 0.45  # of women
    beard: float = 0.3  # of men
    glasses: float = 0.18
    sunglasses: float = 0.03
    hat: float = 0.12
    wigs: float = 0.35  # share of modelled hair, beside hair that is grown
    occluder: float = 0.08
    lights: Mapping[str, float] = field(
        default_factory=lambda: {"panorama": 0.34, "studio": 0.26, "flash": 0.2, "sun": 0.2}
    )
    panoramas: tuple[str, ...] = LAMPS
    backgrounds: Mapping[str, float] = field(default_factory=lambda: {"panorama": 0.5, "wall": 0.2, "clutter": 0.3})
    field_of_view_median: float = 26.0  # of the picture's side
    field_of_view_spread: float = 0.4  # standard deviation of its logarithm
    face_share_low: float = 0.42  # side of the landmark box / side of the picture
    face_share_high: float = 0.68
    exposure_sd: float = 0.35  # of the logarithm
    white_balance_sd: float = 0.08
    noise_limit: float = 0.02  # standard deviation, of white
    blur: float = 0.05  # share of blurred pictures
    blur_limit: float = 0.006  # standard deviation / side of the picture
    jpeg_low: int = 55
    grey: float = 0.09  # share of grey pictures

    def __post_init__(self) -> None:
        for key, names in _CHOICES.items():
            _check_weights(key, getattr(self, key), names)
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise FacemixError(f"population.{key}: found {value!r}; expected a number from {low} to {high}")
        if isinstance(self.people, bool) or not isinstance(self.people, int) or not 0 <= self.people < 2**63:
            raise FacemixError(f"population.people: found {self.people!r}; expected a whole number from 0 to 2^63 - 1")
        listed = isinstance(self.panoramas, tuple | list) and all(isinstance(name, str) for name in self.panoramas)
        if not listed or not self.panoramas or not set(self.panoramas) <= set(LAMPS):
            raise FacemixError(f"population.panoramas: found {self.panoramas!r}; expected some of {', '.join(LAMPS)}")
        if self.face_share_low > self.face_share_high:
            raise FacemixError(
                f"population.face_share_low: found {self.face_share_low}; expected at most face_share_high, "
                f"{self.face_share_high}"
            )


_CHOICES = {
    "ancestry": ("european", "asian", "african"),
    "expressions": EXPRESSIONS,
    "lights": LIGHTS,
    "backgrounds": BACKGROUNDS,
}
_SHARES = tuple(
    "male children eyes_closed wink makeup beard glasses sunglasses hat wigs occluder blur grey".split()  # noqa: SIM905
)
_RANGES: dict[str, tuple[float, float]] = dict.fromkeys(_SHARES, (0, 1)) | {
    "age_mean": (16, 90),
    "age_sd": (0, 40),
    "shape_sd": (0, 0.6),
    "asymmetry_sd": (0, 0.6),
    "yaw_sd": (0, 90),
    "yaw_limit": (0, 90),
    "pitch_mean": (-30, 30),
    "pitch_sd": (0, 60),
    "pitch_limit": (0, 60),
    "roll_sd": (0, 90),
    "roll_limit": (0, 180),
    "gaze_sd": (0, 30),
    "field_of_view_median": (8, 70),
    "field_of_view_spread": (0, 1),
    "face_share_low": (0.1, 0.9),
    "face_share_high": (0.1, 0.9),
    "exposure_sd": (0, 1),
    "white_balance_sd": (0, 0.3),
    "noise_limit": (0, 0.2),
    "blur_limit": (0, 0.05),
    "jpeg_low": (10, 97),
}


def _check_weights(key: str, weights: object, names: tuple[str, ...]) -> None:
    known = f"expected weights of at least 0, not all 0, for some of {', '.join(names)}"
    if not isinstance(weights, Mapping) or not weights or not set(weights) <= set(names):
        raise FacemixError(f"population.{key}: found {weights!r}; {known}")
    values = list(weights.values())
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < math.inf for v in values) or not (
        0 < sum(values) < math.inf
    ):
        raise FacemixError(f"population.{key}: found {dict(weights)!r}; {known}")


_STAND_IN_LAMPS = ("apartment", "dawn", "hall", "night", "park", "venice")

POPULATIONS = {
    "synthetic": Population(panoramas=tuple(name for name in LAMPS if name not in _STAND_IN_LAMPS)),
    # The stand-in real domain: other people, other light, other cameras.
    "stand_in": Population(
        people=1,
        ancestry={"european": 0.35, "asian": 0.35, "african": 0.3},
        age_mean=42.0,
        panoramas=_STAND_IN_LAMPS,
        lights={"panorama": 0.7, "flash": 0.3},
        backgrounds={"panorama": 0.9, "clutter": 0.1},
        field_of_view_median=34.0,
        exposure_sd=0.35,
        white_balance_sd=0.1,
        noise_limit=0.035,
        blur=0.5,
        jpeg_low=35,
        glasses=0.2,
    ),
}


def changed(population: Population, changes: Mapping[str, object]) -> Population:
    """The population with some keys replaced.

    Raises:
        FacemixError: a key is unknown or a value out of its range.
    """
    known = [entry.name for entry in dataclasses.fields(Population)]
    for key in changes:
        if key not in known:
            raise FacemixError(f"population.{key}: no such distribution; expected one of {', '.join(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return dataclasses.replace(population, **values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Person:
    """One person in one picture: everything that was drawn, except the grain of skin, hair and background."""

    seed: int
    index: int
    people: int
    age: float  # years
    male: float  # 0 to 1
    ancestry: tuple[float, float, float]  # european, asian, african; adds up to 1
    melanin: float  # 0 to 1
    grey_hair: float  # 0 to 1
    hair_tone: int  # 0 black, 1 dark brown, 2 brown, 3 blond, 4 red, 5 dyed
    eye_tone: int  # 0 dark brown, 1 brown, 2 hazel, 3 green, 4 blue, 5 grey
    identity: Mapping[str, float]  # morph targets
    expression_name: str
    expression: Mapping[str, float]  # morph targets
    gaze_yaw: float
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
    occluder: str
    light: str
    panorama: str
    light_yaw: float
    background: str
    field_of_view: float
    face_share: float
    shift_x: float  # of the face in the picture, share of its side
    shift_y: float
    exposure: float
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
        return np.random.default_rng([self.seed, self.index, zlib.crc32(room.encode()), self.people])


def person(population: Population, seed: int, index: int) -> Person:
    """Draws face `index` of a set: a pure function of its arguments."""
    rng = np.random.default_rng([seed, index, population.people])
    weights = np.array([population.ancestry.get(name, 0.0) for name in ("european", "asian", "african")])
    ancestry = rng.dirichlet(np.maximum(weights / weights.sum(), 1e-3) * 0.9)
    male = float(abs((rng.random() < population.male) - 0.5 * rng.beta(0.5, 3)))  # most faces look like one sex
    child = rng.random() < population.children
    age = float(rng.uniform(0.5, 15) if child else np.clip(rng.normal(population.age_mean, population.age_sd), 16, 88))
    melanin = float(np.clip(ancestry @ [0.13, 0.3, 0.8] + rng.normal(0, 0.09), 0.02, 1))
    grown_man, woman = male > 0.5 and not child, male <= 0.5 and not child
    grey_hair = float(np.clip((age - rng.normal(52, 9)) / 25, 0, 1))
    fair = np.clip(1 - melanin / 0.3, 0, 1)
    dyed = 0.12 * woman
    hair_tone = _choice(rng, [0.12 + 2 * melanin, 0.35, 0.45 * fair, 0.35 * fair, 0.08 * fair, dyed])
    eye_tone = _choice(rng, [0.15 + 3 * melanin, 0.5, 0.25 * fair, 0.15 * fair, 0.5 * fair * fair, 0.15 * fair])
    expression_name = str(rng.choice(*_weighted(population.expressions)))
    expression = expression_units(expression_name, rng, population.eyes_closed, population.wink)
    gaze_yaw, gaze_pitch = np.clip(rng.normal(0, [population.gaze_sd, 0.6 * population.gaze_sd]), [-30, -20], [30, 20])
    expression |= gaze_units(float(gaze_yaw), float(gaze_pitch))
    yaw = _clipped(rng, population.yaw_sd, population.yaw_limit)
    beard = (
        str(rng.choice(BEARDS[1:], p=[0.45, 0.13, 0.22, 0.2]))
        if grown_man and rng.random() < population.beard
        else "none"
    )
    sun = rng.random() < population.sunglasses
    clear = rng.random() < min(1, population.glasses * (0.6 + age / 90))
    light = str(rng.choice(*_weighted(population.lights)))
    wide = float(
        np.clip(population.field_of_view_median * np.exp(rng.normal(0, population.field_of_view_spread)), 8, 70)
    )
    near = min(float(np.interp(age, [3, 8], [0.62, 0.3])), population.face_share_high)  # the bust of a baby is short
    hat = str(rng.choice(HATS[1:])) if rng.random() < population.hat else "none"
    hair = _hair(rng, male, age, child)
    if rng.random() < population.wigs and hat == "none" and hair not in ("bald", "buzz") and age >= 3:
        hair = _wig(rng, male, ancestry[2])
    return Person(
        seed=seed,
        index=index,
        people=population.people,
        age=age,
        male=male,
        ancestry=(float(ancestry[0]), float(ancestry[1]), float(ancestry[2])),
        melanin=melanin,
        grey_hair=grey_hair,
        hair_tone=hair_tone,
        eye_tone=eye_tone,
        identity=identity(rng, ancestry, male, age, population.shape_sd, population.asymmetry_sd),
        expression_name=expression_name,
        expression=expression,
        gaze_yaw=float(gaze_yaw),
        gaze_pitch=float(gaze_pitch),
        yaw=yaw,
        pitch=_clipped(rng, population.pitch_sd, population.pitch_limit, population.pitch_mean),
        roll=_clipped(rng, population.roll_sd, population.roll_limit),
        torso_yaw=0.55 * yaw + float(rng.normal(0, 6)),
        makeup=bool(woman and rng.random() < population.makeup),
        hair=hair,
        beard=beard,
        glasses="sun" if sun else "clear" if clear else "none",
        hat=hat,
        occluder=str(rng.choice(OCCLUDERS[1:], p=[0.64, 0.1, 0.16, 0.1]))
        if rng.random() < population.occluder
        else "none",
        light=light,
        panorama=str(rng.choice(population.panoramas)),
        light_yaw=float(rng.uniform(0, 360)),
        background=str(rng.choice(*_weighted(population.backgrounds))),
        field_of_view=wide,
        face_share=max(float(rng.uniform(population.face_share_low, population.face_share_high)), near),
        shift_x=float(rng.normal(0, 0.04)),
        shift_y=float(rng.normal(0, 0.04)),
        exposure=float(np.exp(rng.normal(0, population.exposure_sd))),
        white_balance=tuple(np.exp(rng.normal(0, population.white_balance_sd, 3)).tolist()),
        noise=_up_to(rng, population.noise_limit, 0.002),
        blur=_up_to(rng, population.blur_limit, 0.001) if rng.random() < population.blur else 0.0,
        jpeg=int(rng.integers(population.jpeg_low, 98)),
        grey=bool(rng.random() < population.grey),
    )


def _choice(rng: np.random.Generator, weights: list[float]) -> int:
    p = np.maximum(weights, 0)
    return int(rng.choice(len(p), p=p / p.sum()))


def _weighted(weights: Mapping[str, float]) -> tuple[list[str], int | None, bool, np.ndarray]:
    """Arguments of `Generator.choice`."""
    values = np.array(list(weights.values()), float)
    return list(weights), None, True, values / values.sum()


def _up_to(rng: np.random.Generator, limit: float, least: float) -> float:
    return float(rng.uniform(min(least, limit), limit))


def _clipped(rng: np.random.Generator, sd: float, limit: float, mean: float = 0.0) -> float:
    far = FAR if rng.random() < FAR_SHARE else 1.0
    return float(np.clip(rng.normal(mean, far * sd), -limit, limit))


def _hair(rng: np.random.Generator, male: float, age: float, child: bool) -> str:
    if age < 3:
        return HAIR_STYLES[_choice(rng, [0.35, 0.25, 0.25, 0.1, 0.05])]
    if male > 0.5:
        bald = 0.0 if child else 0.04 + 0.25 * max(0.0, (age - 30) / 50)
        return HAIR_STYLES[_choice(rng, [bald, 0.18, 0.25, 0.2, 0.2, 0.1, 0.02, 0.04, 0.02])]
    return HAIR_STYLES[_choice(rng, [0.004, 0.01, 0.05, 0.07, 0.2, 0.12, 0.18, 0.31, 0.15])]


def _wig(rng: np.random.Generator, male: float, african: float) -> str:
    """One of WIGS. `bob02` and `short03` can cover an eye, so they are rarer than the others."""
    afro = 0.05 + 0.6 * african
    if male > 0.5:
        return WIGS[_choice(rng, [afro, 0, 0.02, 0.02, 0.35, 0.3, 0.06, 0.35])]
    return WIGS[_choice(rng, [afro, 0.1, 0.45, 0.25, 0.05, 0.03, 0.12, 0.05])]
