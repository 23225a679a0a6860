"""What the face does: weights of the expression units of a smile, a blink, a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRONGEST = 1.3  # of a unit's full weight: broad smiles need more than the data's
UNEVEN = 0.12  # by which the two sides of a face differ, standard deviation, of the weight
OWN_SHARE, OWN_SD = 0.15, 0.1  # of the units in OWN_UNITS that a face has besides; standard deviation of their weight


@dataclass(frozen=True)
class Unit:
    """One unit of an expression; `low` and `high` bound its weight, and are multiplied by the expression's strength."""

    name: str  # without a side: both sides of the face, or the middle
    low: float
    high: float


@dataclass(frozen=True)
class Move:
    """Units that come together, in a share of the faces of an expression."""

    units: tuple[Unit, ...]
    chance: float = 1.0


@dataclass(frozen=True)
class Expression:
    """How strong an expression is, from `weak` to `strong`, and its moves."""

    weak: float
    strong: float
    moves: tuple[Move, ...]


def _moves(*units: tuple[str, float, float], chance: float = 1.0) -> Move:
    return Move(tuple(Unit(*unit) for unit in units), chance)


# In photographs the width of the mouth and its opening go together: the broader a laugh, the more open.
TABLE = {
    # Few look sad or angry when a camera looks.
    "neutral": Expression(1, 1, (_moves(("mouthSmile", 0.1, 0.35), ("browInnerUp", 0.1, 0.4)),)),
    "smile": Expression(
        0.2,
        0.8,
        (
            _moves(("mouthSmile", 1, 1), ("cheekSquint", 0.6, 0.6), ("eyeSquint", 0, 0.3)),
            _moves(("mouthUpperUp", 0.2, 0.8), ("jawOpen", 0.02, 0.08), chance=0.4),  # lips part
        ),
    ),
    "laugh": Expression(
        0.6,
        1.2,
        (
            _moves(("mouthSmile", 1, 1), ("cheekSquint", 0.6, 0.6), ("eyeSquint", 0, 0.3)),
            _moves(("mouthUpperUp", 0.4, 0.8), ("mouthLowerDown", 0.1, 0.4), ("jawOpen", 0.08, 0.2)),
            _moves(("jawOpen", 0.08, 0.2), chance=0.3),  # aloud
        ),
    ),
    "talk": Expression(
        1,
        1,
        (
            _moves(("jawOpen", 0.02, 0.25), ("mouthStretch", 0, 0.5), ("mouthUpperUp", 0, 0.4)),
            _moves(("mouthLowerDown", 0, 0.4)),
            _moves(("mouthFunnel", 0, 0.5), chance=0.4),
        ),
    ),
    "shout": Expression(
        1,
        1,
        (
            _moves(("jawOpen", 0.45, 1), ("mouthStretch", 0, 0.6), ("mouthUpperUp", 0.1, 0.6), ("eyeSquint", 0, 0.6)),
            _moves(("tongueOut", 0.5, 1), chance=0.25),
        ),
    ),
    "surprise": Expression(
        1,
        1,
        (_moves(("jawOpen", 0.1, 0.7), ("browInnerUp", 0.3, 1), ("browOuterUp", 0.2, 1), ("eyeWide", 0.2, 0.8)),),
    ),
    "frown": Expression(
        0.3,
        1,
        (
            _moves(("browDown", 1, 1), ("mouthFrown", 0, 0.8), ("eyeSquint", 0, 0.5)),
            _moves(("noseSneer", 0, 0.4), chance=0.5),
        ),
    ),
    "pucker": Expression(1, 1, (_moves(("mouthPucker", 0.3, 1)),)),
    "random": Expression(
        1,
        1,
        tuple(
            _moves((name, 0, 0.8), chance=0.25)
            for name in (
                *("mouthLeft", "mouthRight", "jawLeft", "jawRight", "mouthPress", "mouthRollLower", "mouthRollUpper"),
                *("cheekPuff", "mouthShrugLower", "mouthDimpleLeft", "browInnerUp"),
            )
        ),
    ),
}
EXPRESSIONS = tuple(TABLE)

RAISED_BROWS = _moves(("browInnerUp", 0, 0.6), ("browOuterUp", 0, 0.5), chance=0.3)
KEEP_BROWS = ("surprise", "frown")  # expressions that say themselves what the brows do

# Units that pull at the same skin: together they are no stronger than this, or the mouth tears.
LIMITS = {("mouthSmile", "mouthUpperUp"): 1.6, ("mouthStretch", "mouthUpperUp"): 1.0, ("mouthSmile", "noseSneer"): 1.3}

# No two people smile alike: what a face may do besides.
OWN_UNITS = (
    *("browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeSquint", "eyeWide", "jawForward", "jawLeft"),
    *("jawRight", "mouthDimple", "mouthFunnel", "mouthLeft", "mouthLowerDown", "mouthPress", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthStretch"),
    *("mouthUpperUp", "noseSneer"),
)
ONE_SIDED = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown"),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
"""The units that the data has for each side of the face."""
BLINKS = {"closed": (0.85, 1.0), "heavy": (0.03, 0.25)}
HEAVY_LIDS = 0.3  # share of people whose lids hang, less the closed and the winking


def expression_units(name: str, rng: np.random.Generator, eyes_closed: float, wink: float) -> dict[str, float]:
    """Weights of the expression units of one named expression, 0 to STRONGEST.

    Args:
        name: one of EXPRESSIONS.
        rng: what is random.
        eyes_closed: share of faces with closed eyes.
        wink: share of faces with one eye closed.
    """
    expression = TABLE[name]
    strength = rng.uniform(expression.weak, expression.strong)
    units: dict[str, float] = {}
    for move in expression.moves if name in KEEP_BROWS else (*expression.moves, RAISED_BROWS):
        happens = rng.random() < move.chance
        for unit in move.units:
            units[unit.name] = units.get(unit.name, 0.0) + happens * strength * rng.uniform(unit.low, unit.high)
    for unit_name in OWN_UNITS:
        own = abs(rng.normal(0, OWN_SD)) * (rng.random() < OWN_SHARE)
        units[unit_name] = units.get(unit_name, 0.0) + own
    for pair, limit in LIMITS.items():
        total = sum(units.get(unit_name, 0.0) for unit_name in pair)
        units |= {unit_name: units[unit_name] * limit / total for unit_name in pair if total > limit}
    sided = _sided(units, rng) | _lids(rng, eyes_closed, wink)
    return {f"expression/{unit}": float(min(amount, STRONGEST)) for unit, amount in sided.items() if amount > 0}


def _sided(units: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """The units by their names in the data: those of the two sides differ a little."""
    sided = {}
    for name, amount in units.items():
        sides = ("Left", "Right") if name in ONE_SIDED else ("",)
        for side in sides:
            sided[name + side] = amount * float(np.clip(1 + rng.normal(0, UNEVEN), 0, 2) if side else 1.0)
    return sided


def _lids(rng: np.random.Generator, eyes_closed: float, wink: float) -> dict[str, float]:
    chance, closed, heavy = rng.random(), rng.uniform(*BLINKS["closed"]), rng.uniform(*BLINKS["heavy"])
    one = rng.choice(["Left", "Right"])
    if chance < eyes_closed:
        return {"eyeBlinkLeft": closed, "eyeBlinkRight": closed}
    if chance < eyes_closed + wink:
        return {f"eyeBlink{one}": closed}
    lowered = heavy * (chance < HEAVY_LIDS)
    return {"eyeBlinkLeft": lowered, "eyeBlinkRight": lowered}


def gaze_units(yaw: float, pitch: float) -> dict[str, float]:
    """Expression units of the lids that go with a gaze, degrees; +yaw looks to the person's left, +pitch up."""
    amounts = {
        "eyeLookOutLeft": yaw / 30,
        "eyeLookInRight": yaw / 30,
        "eyeLookInLeft": -yaw / 30,
        "eyeLookOutRight": -yaw / 30,
        "eyeLookUpLeft": pitch / 25,
        "eyeLookUpRight": pitch / 25,
        "eyeLookDownLeft": -pitch / 25,
        "eyeLookDownRight": -pitch / 25,
    }
    return {f"expression/{unit}": amount for unit, amount in amounts.items() if amount > 0}
