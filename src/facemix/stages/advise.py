"""`facemix advise`: what a finished sweep says of more faces, and of the cheapest mix for a target."""

import json
import math

import numpy as np

from facemix import tracking
from facemix.config import ANSWERS, REPORTS, Params
from facemix.errors import FacemixError
from facemix.faces import packs
from facemix.files import whole_file
from facemix.reporting import advice as said
from facemix.reporting.advice import Question
from facemix.verdict import advice, points
from facemix.verdict.advice import Laid
from facemix.verdict.curve import LEAST_COUNTS
from facemix.verdict.offers import Prices
from facemix.verdict.points import Swept

FOLDER = REPORTS / "sweep"


def advise(
    params: Params,
    *,
    labels: int | None,
    more_labels: int,
    target: float | None,
    price_label: float | None,
    price_render: float | None,
    price_hour: float | None,
    chance: float,
) -> None:
    """Reads the sweep's points, answers, and writes `reports/answers/advice.json`, `advice.md` and `advice.png`.

    Args:
        params: says how many synthetic faces trainings use where the sweep has no number.
        labels: that there are; None: the most that were swept.
        more_labels: how many more are thought of.
        target: NME on test, %; None: no mix is looked for.
        price_label, price_render: of one; both or none, and both where there is a target. They ask what each NME costs.
        price_hour: of training; None: it costs nothing.
        chance: of reaching the target.

    Raises:
        FacemixError: there is no sweep that says anything, a number makes no sense, or the target is out of reach.
    """
    prices = _checked(labels, more_labels, target, price_label, price_render, price_hour, chance)
    swept = points.read(FOLDER, _n_synthetic(params))
    if prices and prices.hour:
        _check_hours(swept)
    laid = advice.lay_out(swept, advice.RESAMPLES)
    _check_lines(laid)
    greatest = max(one.n_real for one in swept.mixes)
    question = Question(labels=labels or greatest, more=more_labels, target=target, prices=prices, chance=chance)
    found = said.answer(laid, question)
    text = said.text(found)
    with whole_file(ANSWERS / "advice.json") as beside:
        beside.write_text(json.dumps(said.record(found), indent=2) + "\n", encoding="utf-8")
    with whole_file(ANSWERS / "advice.md") as beside:
        beside.write_text(text, encoding="utf-8")
    from facemix.reporting import advice_figure

    with whole_file(ANSWERS / "advice.png") as beside:
        advice_figure.draw(beside, found)
    print(text, end="")
    with tracking.start(
        name="advise",
        experiment=params.tracking.experiment,
        tags={"strategy": "advise"},
        description=text,
        params=said.plain_question(question),
        patience=tracking.LONG_PATIENCE,
    ) as run:
        for file in sorted(ANSWERS.glob("advice.*")):
            run.artifact(file)


def _checked(
    labels: int | None,
    more_labels: int,
    target: float | None,
    price_label: float | None,
    price_render: float | None,
    price_hour: float | None,
    chance: float,
) -> Prices | None:
    """The prices, if any were given, once all numbers make sense."""
    for name, count in (("--labels", labels), ("--more-labels", more_labels)):
        if count is not None and count < 1:
            raise FacemixError(f"{name}: found {count}, expected a number of faces, at least 1")
    if not 0 < chance < 1:
        raise FacemixError(f"--chance: found {chance:g}, expected a share above 0 and below 1, such as 0.8")
    if target is not None and not (math.isfinite(target) and target > 0):
        raise FacemixError(f"--target-nme: found {target:g}, expected an NME in %, above 0")
    asked = {"--target-nme": target, "--price-label": price_label, "--price-render": price_render}
    given = [name for name, one in (asked | {"--price-hour": price_hour}).items() if one is not None]
    if not given:
        return None
    prices = {"--price-label": price_label, "--price-render": price_render, "--price-hour": price_hour or 0.0}
    for name, price in prices.items():
        if price is None:
            raise FacemixError(f"{name}: not given, expected the price of one face beside {given[0]}; add {name} 2.0")
        if not (math.isfinite(price) and price >= 0):
            raise FacemixError(f"{name}: found {price:g}, expected a price, 0 or more")
    assert price_label is not None and price_render is not None
    return Prices(label=price_label, render=price_render, hour=price_hour or 0.0)


def _check_hours(swept: Swept) -> None:
    """Raises FacemixError where an hour has a price and the sweep has no hours."""
    if without := sorted({one.strategy for one in swept.mixes if one.hours is None}):
        raise FacemixError(
            f"{FOLDER / points.POINTS}: found no seconds of training of {' or '.join(without)}, or of what they stand "
            "on, expected some for --price-hour; older code recorded none, and nothing is trained where DVC's cache "
            "has the model: sweep one more seed, or leave --price-hour out"
        )


def _n_synthetic(params: Params) -> int | None:
    """How many synthetic faces a training uses: as params.yaml says, all of the pack where it says all."""
    if params.n_synthetic != "all":
        return int(params.n_synthetic)
    folder = packs.FOLDER / "synthetic"
    if not (folder / "pack.json").exists():
        return None
    return int(np.sum(packs.read(folder, images=False).splits == "train"))


def _check_lines(laid: Laid) -> None:
    """Raises FacemixError where nothing was swept at enough numbers of faces for a law."""
    if not laid.lines:
        most = max(
            len({getattr(one, axis) for one in laid.mixes if one.strategy == mix.strategy} - {0})
            for mix in laid.mixes
            for axis in ("n_real", "n_synthetic")
        )
        raise FacemixError(
            f"{FOLDER / points.POINTS}: found {most} number{'s' * (most != 1)} of real or of synthetic faces for each "
            f"strategy at most, expected {LEAST_COUNTS} or more beside one number of the others, "
            f"{advice.LEAST_TO_CHECK} to check the law; run `{points.SWEEP}`"
        )
