"""Whose head it is: weights of the morph targets that shape a face."""

from __future__ import annotations

import numpy as np

SEX = 1.3  # how far apart men and women are, of the distance between MakeHuman's
SAME_SIDE = 0.75  # share of the parts of an uneven face that lean to its one side
OPPOSITES = {
    "incr": "decr",
    "up": "down",
    "in": "out",
    "forward": "backward",
    "concave": "convex",
    "compress": "uncompress",
}


def identity(
    rng: np.random.Generator,
    ancestry: np.ndarray,
    male: float,
    age: float,
    shape_sd: float,
    asymmetry_sd: float,
    asymmetry: float,
) -> dict[str, float]:
    """Weights of the shape targets: broad ones by sex, age, ancestry and build; local ones at random.

    Args:
        rng: what is random.
        ancestry: shares (3,) of european, asian, african; add up to 1.
        male: 0 to 1.
        age: years.
        shape_sd: standard deviation of each local target.
        asymmetry_sd: of each part of the face whose sides differ.
        asymmetry: share of such parts.
    """
    weights: dict[str, float] = {}
    old = float(np.clip((age - 28) / 50, 0, 1))
    baby = float(np.clip((10 - age) / 9, 0, 1))  # MakeHuman's babies are one year old, its children ten
    child = (1 - baby) * float(np.clip((18 - age) / 8, 0, 1))
    grown = 1 - baby - child
    ages = {"baby": baby, "child": child, "young": grown * (1 - old), "old": grown * old}
    muscle, fat = rng.uniform(-0.8, 0.8), np.clip(rng.normal(0.1, 0.5), -0.9, 1)
    builds = {"averagemuscle": 1 - abs(muscle), "maxmuscle": max(muscle, 0), "minmuscle": max(-muscle, 0)}
    fats = {"averageweight": 1 - abs(fat), "maxweight": max(fat, 0), "minweight": max(-fat, 0)}
    masculine = 0.5 + SEX * (male - 0.5)
    for sex, sex_weight in (("male", masculine), ("female", 1 - masculine)):
        for stage, stage_weight in ages.items():
            for race, race_weight in zip(("caucasian", "asian", "african"), ancestry, strict=True):
                weights[f"macrodetails/{race}-{sex}-{stage}"] = sex_weight * stage_weight * race_weight
            for build, build_weight in builds.items() if stage != "baby" else ():
                for load, load_weight in fats.items():
                    if (build, load) == ("averagemuscle", "averageweight"):
                        continue  # the template's own build
                    weights[f"macrodetails/universal-{sex}-{stage}-{build}-{load}"] = (
                        sex_weight * stage_weight * build_weight * load_weight
                    )
    for name in LOCAL_TARGETS:
        usual = USUAL.get(name, 0) + (1 - grown) * YOUNG.get(name, 0) + grown * (1 - 2 * male) * FEMALE.get(name, 0)
        amount = float(np.clip(rng.normal(usual, shape_sd * SPREAD.get(name, 1.0)), -0.75, 0.75))
        if name.startswith(("head/", "neck/")):
            amount *= 0.6
        stem, end = name.rsplit("-", 1)
        for side in ("l-", "r-") if "/l-" in name else ("",):
            here = amount + (rng.normal(0, 0.05) if side else 0.0)
            chosen = f"{stem}-{end if here > 0 else OPPOSITES[end]}"
            weights[chosen.replace("/l-", f"/{side}") if side else chosen] = abs(here)
    for name in HEAD_FORMS:
        weights[name] = max(0.0, rng.normal(-0.05, 0.22))
    weights |= _asymmetries(rng, asymmetry_sd, asymmetry)
    for name, (mean, sd) in BROWS.items():
        weights[name] = float(np.clip(rng.normal(mean, sd), -0.08, 0.08))
    return {name: float(weight) for name, weight in weights.items() if abs(weight) > 1e-3}


def _asymmetries(rng: np.random.Generator, sd: float, share: float) -> dict[str, float]:
    """Weights of the targets that move one side of a part: a few parts, and mostly towards one side of the face."""
    weights = {}
    side, other = rng.permutation(["l", "r"])
    for part, count in ASYMMETRIES.items():
        amount = abs(rng.normal(0, sd)) * (rng.random() < share)
        towards = side if rng.random() < SAME_SIDE else other
        for number, own in enumerate(rng.uniform(0, 1, count), start=1):
            weights[f"asym/asym-{part}-{number}-{towards}"] = amount * own
    return weights


# The template's proportions are not those of most faces in photographs: where it is off, the local targets' mean.
USUAL = {
    "chin/chin-bones-incr": -0.4,
    "chin/chin-jaw-drop-incr": -0.37,
    "chin/chin-width-incr": -0.4,
    "chin/chin-height-incr": -0.07,
    "eyebrows/eyebrows-trans-up": -0.25,
    "eyebrows/eyebrows-angle-up": 0.05,
    "eyes/l-eye-height2-incr": 0.3,
    "eyes/l-eye-scale-incr": -0.29,
    "eyes/l-eye-push1-in": 0.23,
    "eyes/l-eye-trans-in": 0.15,
    "eyes/l-eye-push2-in": 0.09,
    "eyes/l-eye-trans-up": 0.09,
    "eyes/l-eye-height3-incr": 0.08,
    "head/head-fat-incr": -0.72,
    "head/head-scale-horiz-incr": 0.19,
    "mouth/mouth-upperlip-height-incr": -0.75,
    "mouth/mouth-upperlip-volume-incr": -0.5,
    "mouth/mouth-lowerlip-height-incr": -0.25,
    "mouth/mouth-lowerlip-volume-incr": -0.2,
    "mouth/mouth-upperlip-middle-up": -0.15,
    "mouth/mouth-scale-vert-incr": -0.13,
    "mouth/mouth-trans-forward": -0.13,
    "mouth/mouth-trans-up": -0.12,
    "mouth/mouth-cupidsbow-width-incr": 0.08,
    "mouth/mouth-scale-horiz-incr": 0.07,
    "nose/nose-point-up": 0.4,
    "nose/nose-scale-horiz-incr": -0.27,
    "nose/nose-scale-vert-incr": 0.13,
    "nose/nose-nostrils-width-incr": -0.08,
    "nose/nose-scale-depth-incr": 0.07,
    "nose/nose-trans-forward": 0.07,
    "nose/nose-width3-incr": 0.07,
}

# By how much women differ from the mean of women and men; men as much the other way.
FEMALE = {
    "cheek/l-cheek-bones-incr": 0.15,
    "chin/chin-bones-incr": -0.1,
    "chin/chin-height-incr": -0.12,
    "chin/chin-width-incr": -0.15,
    "eyebrows/eyebrows-trans-up": 0.15,
    "eyes/l-eye-height2-incr": 0.1,
    "eyes/l-eye-scale-incr": 0.1,
    "forehead/forehead-trans-forward": 0.15,
    "mouth/mouth-lowerlip-height-incr": 0.15,
    "mouth/mouth-lowerlip-volume-incr": 0.15,
    "mouth/mouth-upperlip-height-incr": 0.2,
    "mouth/mouth-upperlip-volume-incr": 0.2,
    "nose/nose-hump-incr": -0.12,
    "nose/nose-scale-horiz-incr": -0.1,
    "nose/nose-scale-vert-incr": -0.08,
    "neck/neck-scale-horiz-incr": -0.2,
}

# Targets in which people differ less than in others: factors of their standard deviation, so that the points of nose,
# mouth and chin lie as far apart as in photographs.
SPREAD = {
    "chin/chin-height-incr": 0.6,
    "mouth/mouth-angles-up": 0.6,
    "mouth/mouth-trans-up": 0.7,
    "nose/nose-base-up": 0.5,
    "nose/nose-hump-incr": 0.6,
    "nose/nose-point-up": 0.6,
    "nose/nose-scale-vert-incr": 0.6,
    "nose/nose-trans-up": 0.5,
}

# What the targets of childhood lack, to full height at six years.
YOUNG = {"eyes/l-eye-scale-incr": 0.5, "eyes/l-eye-height2-incr": 0.2, "mouth/mouth-upperlip-height-incr": 0.4}

# Brows differ more between people than the local targets let them: mean and standard deviation, decimetres.
BROWS = {"brows/apart": (0.0, 0.03), "brows/inner-up": (-0.045, 0.025), "brows/long": (0.01, 0.035)}

# Local targets come in opposite pairs, of which one is named here, and the left side stands for both.
LOCAL_TARGETS = """
    cheek/l-cheek-bones-incr cheek/l-cheek-inner-incr cheek/l-cheek-trans-up cheek/l-cheek-volume-incr
    chin/chin-bones-incr chin/chin-cleft-incr chin/chin-height-incr chin/chin-jaw-drop-incr
    chin/chin-prognathism-incr chin/chin-prominent-incr chin/chin-width-incr ears/l-ear-flap-incr
    ears/l-ear-lobe-incr ears/l-ear-rot-forward ears/l-ear-scale-depth-incr ears/l-ear-scale-incr
    ears/l-ear-scale-vert-incr ears/l-ear-wing-incr eyebrows/eyebrows-angle-up eyebrows/eyebrows-trans-forward
    eyebrows/eyebrows-trans-up eyes/l-eye-bag-height-incr eyes/l-eye-bag-in eyes/l-eye-bag-incr
    eyes/l-eye-corner1-up eyes/l-eye-corner2-up eyes/l-eye-epicanthus-in eyes/l-eye-eyefold-angle-up
    eyes/l-eye-eyefold-concave eyes/l-eye-eyefold-up eyes/l-eye-height1-incr eyes/l-eye-height2-incr
    eyes/l-eye-height3-incr eyes/l-eye-push1-in eyes/l-eye-push2-in eyes/l-eye-scale-incr eyes/l-eye-trans-in
    eyes/l-eye-trans-up forehead/forehead-nubian-incr forehead/forehead-scale-vert-incr
    forehead/forehead-temple-incr forehead/forehead-trans-forward head/head-age-incr head/head-angle-in
    head/head-back-scale-depth-incr head/head-fat-incr head/head-scale-depth-incr head/head-scale-horiz-incr
    head/head-scale-vert-incr mouth/mouth-angles-up mouth/mouth-cupidsbow-incr mouth/mouth-cupidsbow-width-incr
    mouth/mouth-dimples-in mouth/mouth-laugh-lines-in mouth/mouth-lowerlip-ext-up
    mouth/mouth-lowerlip-height-incr mouth/mouth-lowerlip-middle-up mouth/mouth-lowerlip-volume-incr
    mouth/mouth-lowerlip-width-incr mouth/mouth-philtrum-volume-incr mouth/mouth-scale-depth-incr
    mouth/mouth-scale-horiz-incr mouth/mouth-scale-vert-incr mouth/mouth-trans-forward mouth/mouth-trans-in
    mouth/mouth-trans-up mouth/mouth-upperlip-ext-up mouth/mouth-upperlip-height-incr
    mouth/mouth-upperlip-middle-up mouth/mouth-upperlip-volume-incr mouth/mouth-upperlip-width-incr
    neck/measure-neck-circ-incr neck/measure-neck-height-incr neck/neck-back-scale-depth-incr
    neck/neck-double-incr neck/neck-scale-depth-incr neck/neck-scale-horiz-incr neck/neck-scale-vert-incr
    nose/nose-base-up nose/nose-compression-compress nose/nose-curve-concave nose/nose-flaring-incr
    nose/nose-greek-incr nose/nose-hump-incr nose/nose-nostrils-angle-up nose/nose-nostrils-width-incr
    nose/nose-point-up nose/nose-point-width-incr nose/nose-scale-depth-incr nose/nose-scale-horiz-incr
    nose/nose-scale-vert-incr nose/nose-septumangle-incr nose/nose-trans-forward nose/nose-trans-in
    nose/nose-trans-up nose/nose-volume-incr nose/nose-width1-incr nose/nose-width2-incr nose/nose-width3-incr
""".split()  # noqa: SIM905
HEAD_FORMS = """
    head/head-diamond head/head-invertedtriangular head/head-oval head/head-rectangular head/head-round
    head/head-square head/head-triangular
""".split()  # noqa: SIM905
# How many targets make each part of one side differ from the other.
ASYMMETRIES = {"brown": 2, "cheek": 2, "ear": 4, "eye": 8, "jaw": 3, "mouth": 2, "nose": 4, "temple": 2, "top": 2}
