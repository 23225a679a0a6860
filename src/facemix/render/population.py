"""Who may stand before the camera, and how: every distribution of the generator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from facemix.errors import FacemixError
from facemix.render.expression import EXPRESSIONS

ANCESTRIES = ("european", "asian", "african")
HAIR_TONES = ("black", "dark_brown", "brown", "blond", "red", "dyed")
HAIR_STYLES = ("bald", "buzz", "short", "side", "fringe", "curly", "bob", "long", "tied")
WIGS = ("afro01", "bob02", "long01", "ponytail01", "short01", "short02", "short03", "short04")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
HATS = ("none", "cap", "beanie", "brim", "hood")
OCCLUDERS = ("none", "hand", "phone", "microphone", "cup")
GARMENTS = ("tshirt", "vneck", "shirt", "hoodie", "turtleneck", "suit", "tank", "bare")
LIGHTS = ("panorama", "studio", "flash", "sun")
BACKGROUNDS = ("panorama", "wall", "clutter")
LAMPS = (
    *("apartment", "bridge", "city", "dawn", "esplanade", "forest", "hall", "lab", "lobby", "night", "park", "sky"),
    *("studio", "sunrise", "sunset", "venice", "warehouse", "workshop"),
)

Weights = Mapping[str, float]


def _weights(**weights: float) -> Callable[[], Weights]:
    """A default of a field: weights, new for each population."""
    return lambda: dict(weights)


@dataclass(frozen=True)
class Population:
    """Every distribution of the generator. Shares are probabilities, angles degrees, weights need not add up to 1.

    Raises:
        FacemixError: a value is out of its range; names the key.
    """

    people: int = 0  # sets of other `people` share no one, whatever their seeds
    pictures: int = 1  # of each person: so many faces of a set in a row show one person
    ancestry: Weights = field(default_factory=_weights(european=0.55, asian=0.23, african=0.22))
    male: float = 0.5
    children: float = 0.16  # up to 15 years, babies among them
    age_mean: float = 38.0  # years, of adults
    age_sd: float = 16.0
    hair_tones: Weights = field(  # of the fair; the dark have darker hair
        default_factory=_weights(black=0.1, dark_brown=0.3, brown=0.8, blond=0.6, red=0.12, dyed=0.08)
    )
    shape_sd: float = 0.28  # of each local morph target
    asymmetry_sd: float = 0.25  # of each part of the face whose sides differ
    asymmetry: float = 0.4  # share of such parts
    yaw_sd: float = 15.0  # of most heads
    yaw_limit: float = 75.0
    pitch_mean: float = -2.7  # down; people lift their chins for a camera
    pitch_sd: float = 8.0
    pitch_limit: float = 32.0
    roll_sd: float = 6.5
    roll_limit: float = 40.0
    far_share: float = 0.12  # of heads, that are turned, nodded or tilted farther
    far_factor: float = 2.2
    gaze_at_camera: float = 0.65  # share of people who look at it, or nearly
    gaze_sd: float = 18.0  # of the others, away from it
    expressions: Weights = field(
        default_factory=_weights(
            neutral=0.22,
            smile=0.22,
            laugh=0.28,
            talk=0.1,
            shout=0.03,
            surprise=0.03,
            frown=0.06,
            pucker=0.04,
            random=0.02,
        )
    )
    eyes_closed: float = 0.05
    wink: float = 0.015
    makeup: float = 0.45  # of women
    beard: float = 0.3  # of men
    beards: Weights = field(default_factory=_weights(stubble=0.45, moustache=0.13, goatee=0.22, full=0.2))
    glasses: float = 0.18
    sunglasses: float = 0.03
    hat: float = 0.12
    hats: Weights = field(default_factory=_weights(cap=1, beanie=1, brim=1, hood=1))
    hair_of_men: Weights = field(
        default_factory=_weights(buzz=0.18, short=0.25, side=0.2, fringe=0.2, curly=0.1, bob=0.02, long=0.04, tied=0.02)
    )
    hair_of_women: Weights = field(
        default_factory=_weights(
            bald=0.004, buzz=0.01, short=0.05, side=0.07, fringe=0.2, curly=0.12, bob=0.18, long=0.31, tied=0.15
        )
    )
    bald: float = 0.04  # of young men, and of older ones more
    wigs: float = 0.35  # share of modelled hair, beside hair that is grown
    wigs_of_men: Weights = field(
        default_factory=_weights(
            afro01=0.18, long01=0.02, ponytail01=0.02, short01=0.35, short02=0.3, short03=0.06, short04=0.35
        )
    )
    wigs_of_women: Weights = field(
        default_factory=_weights(
            afro01=0.18, bob02=0.1, long01=0.45, ponytail01=0.25, short01=0.05, short02=0.03, short03=0.12, short04=0.05
        )
    )
    garments: Weights = field(
        default_factory=_weights(
            tshirt=0.24, vneck=0.1, shirt=0.2, hoodie=0.14, turtleneck=0.12, suit=0.12, tank=0.05, bare=0.03
        )
    )
    occluder: float = 0.08
    occluders: Weights = field(default_factory=_weights(hand=0.64, phone=0.1, microphone=0.16, cup=0.1))
    lights: Weights = field(default_factory=_weights(panorama=0.34, studio=0.26, flash=0.2, sun=0.2))
    panoramas: tuple[str, ...] = LAMPS
    backgrounds: Weights = field(default_factory=_weights(panorama=0.5, wall=0.2, clutter=0.3))
    distance_median: float = 1.7  # metres from the camera to the face
    distance_spread: float = 0.45  # standard deviation of its logarithm
    selfies: float = 0.15  # share of pictures from an arm's length: SELFIE metres
    face_share_low: float = 0.42  # side of the landmark box / side of the picture
    face_share_high: float = 0.68
    shift_sd: float = 0.04  # of the face from the middle, share of the picture's side
    exposure_sd: float = 0.35  # of the logarithm
    contrast_low: float = 0.5  # 1 is the camera's own curve
    contrast_high: float = 1.5
    saturation_low: float = 1.0
    saturation_high: float = 1.5
    warmth_sd: float = 18.0  # of the white balance, mired
    tint_sd: float = 0.02  # of the white balance from green to magenta, of the logarithm
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
        for key, (least, most, limit) in _WHOLE.items():
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise FacemixError(
                    f"population.{key}: found {value!r}; expected a whole number from {least} to {limit}"
                )
        listed = isinstance(self.panoramas, tuple | list) and all(isinstance(name, str) for name in self.panoramas)
        if not listed or not self.panoramas or not set(self.panoramas) <= set(LAMPS):
            raise FacemixError(f"population.panoramas: found {self.panoramas!r}; expected some of {', '.join(LAMPS)}")
        for key in ("face_share", "contrast", "saturation"):
            low, high = getattr(self, f"{key}_low"), getattr(self, f"{key}_high")
            if low > high:
                raise FacemixError(f"population.{key}_low: found {low}; expected at most {key}_high, {high}")


_CHOICES = {
    "ancestry": ANCESTRIES,
    "hair_tones": HAIR_TONES,
    "expressions": EXPRESSIONS,
    "beards": BEARDS[1:],
    "hats": HATS[1:],
    "hair_of_men": HAIR_STYLES,
    "hair_of_women": HAIR_STYLES,
    "wigs_of_men": WIGS,
    "wigs_of_women": WIGS,
    "garments": GARMENTS,
    "occluders": OCCLUDERS[1:],
    "lights": LIGHTS,
    "backgrounds": BACKGROUNDS,
}
_SHARES = (
    *("male", "children", "asymmetry", "far_share", "gaze_at_camera", "eyes_closed", "wink", "makeup", "beard"),
    *("glasses", "sunglasses", "hat", "bald", "wigs", "occluder", "selfies", "blur", "grey"),
)
_WHOLE = {"people": (0, 2**63 - 1, "2^63 - 1"), "pictures": (1, 1000, "1000"), "jpeg_low": (10, 97, "97")}
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
    "far_factor": (1, 5),
    "gaze_sd": (0, 30),
    "distance_median": (0.3, 20),
    "distance_spread": (0, 1.5),
    "face_share_low": (0.1, 0.9),
    "face_share_high": (0.1, 0.9),
    "shift_sd": (0, 0.2),
    "exposure_sd": (0, 1),
    "contrast_low": (0, 2),
    "contrast_high": (0, 2),
    "saturation_low": (0, 2),
    "saturation_high": (0, 2),
    "warmth_sd": (0, 100),
    "tint_sd": (0, 0.2),
    "noise_limit": (0, 0.2),
    "blur_limit": (0, 0.05),
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
        distance_median=1.1,
        selfies=0.3,
        warmth_sd=25.0,
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
