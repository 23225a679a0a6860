"""Advice from a sweep in sentences, and as plain data for `reports/answers/advice.json`."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facemix.faces.face import STAND_IN_SHOWN
from facemix.reporting.figures import face_size
from facemix.verdict import advice, offers, tuning, worth
from facemix.verdict.advice import HeldOut, Laid, Left, Line, Worth
from facemix.verdict.comparison import BASELINE, CONTROL
from facemix.verdict.curve import LEAST_COUNTS, Parameter
from facemix.verdict.offers import Offer, Prices
from facemix.verdict.tuning import Choice

_NOT = "Not answered:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a team asks beside what the sweep says anyway."""

    labels: int
    """That it has."""
    more: int
    """How many more it may buy."""
    target: float | None = None
    """NME on test, %."""
    prices: Prices | None = None
    """Needed where there is a target; without one they ask what each error costs."""
    chance: float = 0.8
    """Of reaching the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """All answers."""

    question: Question
    laid: Laid
    worths: Sequence[Worth]
    lefts: Sequence[tuple[Line, Left | None]]
    """Of each line over synthetic faces; None where its law fails."""
    gains: Sequence[tuple[Line, Parameter | None]]
    """Of each line over real faces: what more labels bring; None where that is too far off or the law fails."""
    held_out: Sequence[tuple[Line, Sequence[HeldOut]]]
    """Of each line; see `advice.held_out`."""
    offers: Sequence[Offer]
    """The cheapest first; none where there is no target."""
    frontier: Sequence[tuple[float, Offer]]
    """Targets, ascending, and the cheapest mix for each; none where there are no prices."""

    def failure(self, line: Line) -> str | None:
        """How the law of a line fails, in words; None: it does not, as far as is known."""
        tests = dict(self.held_out)[line]
        wrong = sum(one.wrong for one in tests)
        return f"its law was wrong at {wrong} of {len(tests)} numbers left out" if advice.fails(tests) else None


def answer(laid: Laid, question: Question) -> Advice:
    """Asks the sweep.

    Raises:
        FacemixError: the target is out of reach.
    """
    n, more = question.labels, question.more
    target, prices = question.target, question.prices
    tests = [(line, advice.held_out(line)) for line in laid.lines]
    failing = {line for line, own in tests if advice.fails(own)}
    believed = dataclasses.replace(laid, lines=tuple(line for line in laid.lines if line not in failing))
    frontier = offers.frontier(believed, prices, question.chance) if prices else []

    def gain(line: Line) -> Parameter | None:
        refused = "refused" in (line.standing(n), line.standing(n + more)) or line in failing
        return None if refused else advice.gain(line, n, more)

    return Advice(
        question=question,
        laid=laid,
        worths=advice.worths(laid),
        lefts=[
            (line, None if line in failing else advice.left(line)) for line in laid.lines if line.axis == "n_synthetic"
        ],
        gains=[(line, gain(line)) for line in laid.lines if line.axis == "n_real"],
        held_out=tests,
        offers=offers.cheapest(believed, target, prices, question.chance, frontier) if target and prices else [],
        frontier=frontier,
    )


# --- In sentences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer in words."""

    title: str
    sentences: Sequence[str]
    listed: bool = True
    """One below the other; else they are one paragraph."""
    table: Sequence[Sequence[str]] = ()
    """Header and rows, if any."""


def answers(found: Advice) -> list[Answer]:
    """All answers; the first says what they rest on."""
    question = found.question
    offered = [_said_offers(found)] if found.offers else []
    priced = [_said_frontier(found, question.prices)] if question.prices else []
    return [
        Answer(title="Advice", sentences=[_about(found.laid)], listed=False),
        Answer(title="What synthetic faces are worth in labels", sentences=_said_worths(found)),
        Answer(title="More renders, or different ones", sentences=_said_lefts(found)),
        Answer(
            title="What one more label brings" if question.more == 1 else f"What {question.more:,} more labels bring",
            sentences=_said_gains(found),
        ),
        *offered,
        *priced,
        *_said_settings(found.laid.swept.choices),
        _said_laws(found),
    ]


def text(found: Advice) -> str:
    """All answers as Markdown."""
    parts = []
    for i, one in enumerate(answers(found)):
        bullet = "- " if one.listed and not one.sentences[0].startswith(_NOT) else ""
        said = [("\n" if bullet else " ").join(f"{bullet}{sentence}" for sentence in one.sentences)]
        if one.table:
            header, *rows = one.table
            said.append("\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)))
        parts.append("\n\n".join([f"{'##' if i else '#'} {one.title}", *said]))
    return "\n\n".join(parts) + "\n"


def _about(laid: Laid) -> str:
    photos, seeds = laid.swept.photos, ", ".join(map(str, laid.swept.seeds))
    shown = f"renders ({STAND_IN_SHOWN})" if laid.swept.stand_in else "photographs"
    unit = f"% of the {face_size(laid.swept.normalizer)}" if laid.swept.normalizer else "%"
    return (
        f"From a sweep of {len(laid.swept.mixes)} mixes at seeds {seeds}, tested on {len(photos)} faces of "
        f"{len(set(photos.tolist()))} {shown}. NME in {unit}; in brackets 95 % intervals over photographs and seeds. "
        "Alpha is the best on validation; so is the strategy that is named for a number of real faces. An interval "
        "takes the law for granted; the last section checks it where it can."
    )


def _said_worths(found: Advice) -> list[str]:
    if not found.worths:
        return [f"{_NOT} this needs {BASELINE} at two or more numbers of real faces, and mixes with synthetic ones."]
    numbers = {one.mix.n_real for one in found.worths}
    best = {(mix.n_real, mix.strategy) for n in numbers if (mix := advice.best_at(found.laid, n))}
    shown = [one for one in found.worths if (one.mix.n_real, one.mix.strategy) in best]
    shown.sort(key=lambda one: (one.mix.n_real, one.mix.n_synthetic))
    return [_said_worth(one) for one in shown]


def _said_worth(one: Worth) -> str:
    value, low, high = (worth.say_count(n, one.counts, ",") for n in (one.faces.value, one.faces.low, one.faces.high))
    sentence = (
        f"{offers.say_mix(one.mix)} (NME {one.mix.test_nme:.2f}) is as good as {value} real faces alone ({low} to "
        f"{high}; by {one.compared_with}, which saw {one.compared_saw} faces)"
    )
    if not one.mix.n_real:
        return f"{sentence}."
    if one.at_equal_cost is None:
        return f"{sentence}{_extra(one)}."
    alone = one.mix.test_nme + one.at_equal_cost.value
    beside = f" At the cost of the mix, {one.mix.n_real:,} real faces alone come to {alone:.2f}"
    if one.at_equal_cost.low > 0:
        return f"{sentence}{_extra(one)}.{beside}."
    harm = "are shown to harm" if one.at_equal_cost.high < 0 else "are not shown to be worth a label"
    return f"{sentence}.{beside}: there the synthetic ones {harm}."


def _extra(one: Worth) -> str:
    """What follows for the synthetic faces from what they and the real ones are worth together."""
    (least, *_, greatest), n = one.counts, one.mix.n_real
    # 0 and infinity stand for what lies beyond the curve, and say nothing of an n that lies there, too.
    beyond_end = n == greatest and math.isinf(one.faces.low)
    more = one.faces.low > n and (n < greatest or math.isfinite(one.faces.low))
    if (beyond_end or more) and one.compared_saw == "fewer" and one.at_equal_cost is None:
        # A longer training of real faces alone might do as well.
        return f". At equal cost that is not known: {CONTROL} was not swept with {n:,} real faces"
    if beyond_end:
        return ": the synthetic ones are worth labels, but the curve ends there and cannot say how many"
    if more:
        beyond = [count - n for count in one.counts]
        extra, low, high = (
            worth.say_count(end - n, beyond, ",") for end in (one.faces.value, one.faces.low, one.faces.high)
        )
        return f": the synthetic ones are worth {extra} labels ({low} to {high})"
    if one.faces.high < n and (n >= least or one.faces.high):
        return ": the synthetic ones are shown to harm"
    if not least <= n <= greatest:
        curve = one.compared_with
        return f". What the synthetic ones are worth is not known: {curve} was not swept as far as {n:,}"
    return ": the synthetic ones are not shown to be worth a label"


def _said_lefts(found: Advice) -> list[str]:
    if not found.lefts:
        return [
            f"{_NOT} this needs {LEAST_COUNTS} or more numbers of synthetic faces beside one number of real ones. "
            "Run `facemix sweep n_synthetic=300,1000,3000,10000 n_real=100 seeds=3`."
        ]
    return [_said_left(line, left, found.failure(line)) for line, left in found.lefts]


def _said_left(line: Line, left: Left | None, failure: str | None) -> str:
    share = f"{100 * advice.MATTERS:g} %"
    beside = f"{line.fixed:,} real faces" if line.fixed else "no real faces"
    measured = (
        f"{line.strategy}{_at_alpha(line.alphas)} with {beside}: from {line.counts[0]:,} to {line.counts[-1]:,} "
        f"synthetic ones the NME goes from {line.means[0]:.2f} to {line.means[-1]:.2f}"
    )
    if left is None:
        return f"{measured}. What more of these renders bring is not said: {failure}."
    verdict = {
        "more": f"More renders help: twice as many are shown to bring more than {share} of the NME.",
        "different": f"Different renders are needed: twice as many of these bring less than {share} of the NME.",
        "undecided": f"Undecided: it is not shown whether twice as many bring {share} of the NME. More seeds or "
        "numbers are needed.",
    }[left.verdict]
    if not line.fit.falls:
        shown = "are shown to harm" if left.won.high < 0 else "are not shown to help"
        return f"{measured}, lower by {_number(left.won, 3)}: more of these renders {shown}."
    unchecked = "" if len(line.counts) >= advice.LEAST_TO_CHECK else f", which {len(line.counts)} numbers cannot check"
    return (
        f"{measured}. By its law{unchecked}, twice as many would take away another {_number(left.doubling, 3)}, and no "
        f"number of these renders more than {_number(left.more, 3)}; {_number(left.floor)} is left. This extrapolates. "
        f"{verdict}"
    )


def _at_alpha(alphas: Sequence[float | None]) -> str:
    """The alphas of a line in words: the best on validation at each number of faces."""
    each = sorted({alpha for alpha in alphas if alpha is not None})
    if not each:
        return ""
    return f" at alpha = {each[0]:g}" if len(each) == 1 else f" at alphas from {each[0]:g} to {each[-1]:g}"


def _number(one: Parameter, digits: int = 2) -> str:
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def _said_gains(found: Advice) -> list[str]:
    question = found.question
    if not found.gains:
        return [f"{_NOT} this needs {LEAST_COUNTS} or more numbers of real faces."]
    lines = []
    for line, gain in found.gains:
        beside = f" with {line.fixed:,} synthetic faces" if line.fixed else ""
        said = f"{line.strategy}{_at_alpha(line.alphas)}{beside}"
        after = question.labels + question.more
        if failure := found.failure(line):
            lines.append(f"{said}: refused: {failure}; believe what was measured, and not what lies between.")
            continue
        if gain is None:
            lines.append(
                f"{said}: refused: {question.labels:,} to {after:,} labels are too far from the {line.counts[0]:,} to "
                f"{line.counts[-1]:,} that were swept; sweep numbers nearer to these."
            )
            continue
        beyond = {line.standing(question.labels), line.standing(after)} != {"measured"}
        lines.append(
            f"{said}: from {question.labels:,} to {after:,} labels the NME falls from "
            f"{line.expected(question.labels):.2f} by {_number(gain, 3)}"
            f"{'; this extrapolates' if beyond else ''}."
        )
    return lines


def _said_offers(found: Advice) -> Answer:
    question, (best, *_) = found.question, found.offers
    beyond = " It extrapolates beyond what was swept." if best.extrapolated else ""
    assert question.target is not None
    reached = all(one.test_nme <= question.target for one in found.laid.mixes)
    easy = " Every mix of the sweep reaches it, so fewer faces than were swept may do." if reached else ""
    hours = f", including {best.hours:.2f} hours of training" if question.prices and question.prices.hour else ""
    sentence = (
        f"{offers.say_mix(best)}: it costs {best.cost:,.2f}{hours}, its NME is expected at {_number(best.nme)}, and it "
        f"reaches {question.target:g} with a chance of {_chance(best.chance)} (asked for: "
        f"{100 * question.chance:g} %).{beyond}{easy}"
    )
    title = f"The cheapest mix for NME {question.target:g}"
    return Answer(title=title, sentences=[sentence], listed=False, table=_offered(found.offers, question.prices))


def _said_frontier(found: Advice, prices: Prices) -> Answer:
    title, chance = "What each NME costs", f"{100 * found.question.chance:g} %"
    hour = f", {prices.hour:g} for an hour of training" if prices.hour else ""
    paid = f"{prices.label:g} for a label, {prices.render:g} for a render{hour}"
    if not found.frontier:
        sentence = f"{_NOT} no mix is shown to reach any NME with a chance of {chance} at {paid}."
        return Answer(title=title, sentences=[sentence], listed=False)
    targets, mixes = zip(*found.frontier, strict=True)
    header, *rows = _offered(mixes, prices)
    sentence = (
        f"The cheapest mix that reaches each target with a chance of {chance}, at {paid}. Below {targets[0]:g} nothing "
        "is offered."
    )
    table = [["target", *header], *([f"{target:g}", *row] for target, row in zip(targets, rows, strict=True))]
    return Answer(title=title, sentences=[sentence], listed=False, table=table)


def _offered(mixes: Sequence[Offer], prices: Prices | None) -> list[list[str]]:
    """Header and a row for each offer, with hours where these have a price."""
    timed = bool(prices and prices.hour)
    header = ["strategy", "alpha", "labels", "renders", *(["hours"] if timed else []), "cost", "chance", "NME"]
    rows = [
        [
            one.strategy,
            "" if one.alpha is None else f"{one.alpha:g}",
            f"{one.n_real:,}",
            f"{one.n_synthetic:,}",
            *([f"{one.hours:.2f}"] if timed else []),
            f"{one.cost:,.2f}",
            _chance(one.chance),
            _number(one.nme),
            "yes" if one.extrapolated else "",
        ]
        for one in mixes
    ]
    return [[*header, "extrapolates"], *rows]


def _said_settings(choices: Sequence[Choice]) -> list[Answer]:
    """What each mix stands at; nothing where one value of each setting was swept."""
    if not choices:
        return []
    header = ["strategy", "alpha", "real faces", "synthetic faces", "settings", "tried"]
    rows = [
        [
            one.strategy,
            "" if one.alpha is None else f"{one.alpha:g}",
            *(", ".join(f"{n:,}" for n in own) for own in (one.n_real, one.n_synthetic)),
            tuning.said(one.settings) + ("; left out, as seeds are missing" if one.missing else ""),
            f"{one.tries}",
        ]
        for one in tuning.grouped(choices)
    ]
    warning = tuning.unequal(choices)
    sentences = ["Each mix stands at the settings that are best for it on validation.", *([warning] if warning else [])]
    return [Answer(title="Settings of its own for each mix", sentences=sentences, listed=False, table=[header, *rows])]


def _said_laws(found: Advice) -> Answer:
    header = ["strategy", "over", "beside", "numbers", "C", "D", "a", "left out and held", "not determined"]
    rows = [
        [
            line.strategy,
            line.axis,
            f"{line.fixed:,}",
            ", ".join(f"{n:,}" for n in line.counts),
            *([_number(line.fit.c), _rough(line.fit.d), _rough(line.fit.a)] if line.fit.falls else "---"),
            f"{sum(one.covered for one in tests)} of {len(tests)}" if tests else "too few numbers",
            "; ".join(line.fit.notes),
        ]
        for line, tests in found.held_out
    ]
    tests = [one for _, own in found.held_out for one in own]
    checked = (
        f"On {sum(bool(own) for _, own in found.held_out)} of {len(rows)} lines each number of faces was left out and "
        f"predicted from the others: {sum(one.covered for one in tests)} of {len(tests)} intervals hold what was "
        "measured."
        + "".join(
            f" The law of {line.strategy} over {line.axis} beside {line.fixed:,} fails: {failure}. Nothing above rests "
            "on it; its mixes count as they were measured."
            for line, _ in found.held_out
            if (failure := found.failure(line))
        )
        if tests
        else f"Not checked: a line needs {advice.LEAST_TO_CHECK} numbers of faces or more for one to be left out."
    )
    return Answer(
        title="The laws behind it: NME = C + D n^-a", sentences=[checked], listed=False, table=[header, *rows]
    )


def _chance(chance: float) -> str:
    """In %; what is not certain is not said to be."""
    return "> 99 %" if 0.995 <= chance < 1 else f"{100 * chance:.0f} %"


def _rough(one: Parameter) -> str:
    return f"{one.value:.2g} ({one.low:.2g} to {one.high:.2g})"


# --- As plain data ----------------------------------------------------------------------------------------------------


def record(found: Advice) -> dict[str, Any]:
    """All answers as what JSON holds; what is infinite or not determined is null."""
    plain = {
        "question": plain_question(found.question),
        "answers": [dataclasses.asdict(one) for one in answers(found)],
        "seeds": list(found.laid.swept.seeds),
        "settings": [
            {**_mix(one.mix), "settings": dict(one.settings), "tries": one.tries} for one in found.laid.swept.choices
        ],
        "worth": [
            {
                **_mix(one.mix),
                "test_nme": one.mix.test_nme,
                "worth": dataclasses.asdict(one.faces),
                "compared_with": one.compared_with,
                "compared_saw": one.compared_saw,
            }
            for one in found.worths
        ],
        "renders": [{**_named(line), **(dataclasses.asdict(left) if left else {})} for line, left in found.lefts],
        "labels": [
            {**_named(line), "gain": None if gain is None else dataclasses.asdict(gain)} for line, gain in found.gains
        ],
        "offers": [dataclasses.asdict(one) for one in found.offers],
        "frontier": [{"target": target, **dataclasses.asdict(one)} for target, one in found.frontier],
        "laws": [
            {
                **_named(line),
                "counts": list(line.counts),
                "alphas": list(line.alphas),
                "test_nme": line.means.tolist(),
                **{key: dataclasses.asdict(getattr(line.fit, key)) for key in ("c", "d", "a")},
                "notes": list(line.fit.notes),
                "held_out": [{**dataclasses.asdict(one), "covered": one.covered} for one in tests],
                "fails": found.failure(line) is not None,
            }
            for line, tests in found.held_out
        ],
    }
    finite: dict[str, Any] = _finite(plain)
    return finite


def plain_question(question: Question) -> dict[str, Any]:
    """What was asked, as what JSON holds."""
    prices = question.prices
    return dataclasses.asdict(question) | {"prices": prices._asdict() if prices else None}


def _mix(one: Any) -> dict[str, Any]:
    return {key: getattr(one, key) for key in ("strategy", "alpha", "n_real", "n_synthetic")}


def _named(line: Line) -> dict[str, Any]:
    return {"strategy": line.strategy, "over": line.axis, "beside": line.fixed}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
