"""What the face does: weights of the expression units of a smile, a blink, a look."""

from __future__ import annotations

import numpy as np

EXPRESSIONS = ("neutral", "smile", "laugh", "talk", "shout", "surprise", "frown", "pucker", "random")
STRONGEST = 1.4  # of a unit's full weight: broad smiles need more than the data's


def expression_units(name: str, rng: np.random.Generator, eyes_closed: float, wink: float) -> dict[str, float]:
    """Weights of the expression units of one named expression, 0 to STRONGEST."""
    units: dict[str, float] = {}
    draw = rng.uniform

    def both(unit: str, amount: float, spread: float = 0.2) -> None:
        for side in ("Left", "Right"):
            units[unit + side] = float(np.clip(amount * (1 + rng.normal(0, spread)), 0, STRONGEST))

    if name == "neutral":
        both("mouthSmile", draw(0, 0.2))  # few look sad when a camera looks
    elif name in ("smile", "laugh"):
        # The broader, the more open: in photographs the width of the mouth and its opening go together.
        strength = draw(0.2, 0.8) if name == "smile" else draw(0.7, STRONGEST)
        both("mouthSmile", strength)
        both("cheekSquint", 0.6 * strength)
        both("eyeSquint", 0.3 * strength * draw())
        if name == "smile" and draw() < 0.4:  # lips part
            both("mouthUpperUp", draw(0.1, 0.5))
            units["jawOpen"] = draw(0.01, 0.05)
        if name == "laugh":
            both("mouthUpperUp", strength * draw(0.5, 1.0))
            both("mouthLowerDown", strength * draw(0.1, 0.5))
            units["jawOpen"] = draw(0.08, 0.2) if draw() < 0.7 else draw(0.2, 0.4)
    elif name == "talk":
        units |= {"jawOpen": draw(0.02, 0.25), "mouthFunnel": draw(0, 0.5) * (draw() < 0.4)}
        both("mouthStretch", draw(0, 0.5))
        both("mouthUpperUp", draw(0, 0.4))
        both("mouthLowerDown", draw(0, 0.4))
    elif name == "shout":
        units["jawOpen"] = draw(0.45, 1)
        both("mouthStretch", draw(0, 0.6))
        both("mouthUpperUp", draw(0.1, 0.6))
        both("eyeSquint", draw(0, 0.6))
        if draw() < 0.25:
            units["tongueOut"] = draw(0.5, 1)
    elif name == "surprise":
        units |= {"jawOpen": draw(0.1, 0.7), "browInnerUp": draw(0.3, 1)}
        both("browOuterUp", draw(0.2, 1))
        both("eyeWide", draw(0.2, 1))
    elif name == "frown":
        both("browDown", draw(0.3, 1))
        both("mouthFrown", draw(0, 1))
        both("eyeSquint", draw(0, 0.6))
        both("noseSneer", draw(0, 0.5) * (draw() < 0.5))
    elif name == "pucker":
        units["mouthPucker"] = draw(0.3, 1)
    elif name == "random":
        for unit in RANDOM_UNITS:
            if draw() < 0.25:
                units[unit] = draw(0, 0.8)
    if name not in ("surprise", "frown") and draw() < 0.3:
        units["browInnerUp"] = draw(0, 0.6)
        both("browOuterUp", draw(0, 0.5))
    for unit in OWN_UNITS:  # no two people smile alike, and no face is the same on both sides
        if draw() < 0.3:
            units[unit] = units.get(unit, 0.0) + abs(rng.normal(0, 0.1))
    chance = draw()
    if chance < eyes_closed:
        both("eyeBlink", draw(0.85, 1), 0.01)
    elif chance < eyes_closed + wink:
        units["eyeBlinkLeft" if draw() < 0.5 else "eyeBlinkRight"] = draw(0.85, 1)
    elif chance < 0.3:
        both("eyeBlink", draw(0.03, 0.25), 0.05)
    return {f"expression/{unit}": float(min(amount, STRONGEST)) for unit, amount in units.items() if amount > 0}


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


OWN_UNITS = tuple(
    """
    browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekSquintLeft cheekSquintRight
    eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawRight mouthDimpleLeft
    mouthDimpleRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight
    mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthStretchLeft
    mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight
    """.split()  # noqa: SIM905
)

RANDOM_UNITS = (
    "mouthLeft",
    "mouthRight",
    "jawLeft",
    "jawRight",
    "mouthPressLeft",
    "mouthRollLower",
    "mouthRollUpper",
    "cheekPuff",
    "mouthShrugLower",
    "mouthDimpleLeft",
    "browInnerUp",
    "noseSneerLeft",
)
