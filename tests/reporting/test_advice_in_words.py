"""What a mix is worth, in words."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import toy_sweep
from facemix.reporting import advice
from facemix.verdict.advice import Worth, lay_out
from facemix.verdict.curve import Parameter
from facemix.verdict.offers import Prices

COUNTS = (100, 250, 1000)


@pytest.mark.parametrize(
    ("n_real", "faces", "said"),
    [
        (100, (194, 168, 229), "worth 94 labels (68 to 129)"),
        (100, (100, 0, 147), "not shown to be worth a label"),
        (250, (180, 150, 240), "shown to harm"),
        (100, (0, 0, 0), "shown to harm"),  # worse than 100 real faces alone
        (1000, (np.inf, np.inf, np.inf), "worth labels, but the curve ends there and cannot say how many"),
        (50, (0, 0, 147), "not known: real_only was not swept as far as 50"),
        (50, (0, 0, 0), "not known: real_only was not swept as far as 50"),  # 50 alone may be worse still
        (50, (147, 110, 200), "worth 97 labels (60 to 150)"),
        (1709, (np.inf, np.inf, np.inf), "not known: real_only was not swept as far as 1,709"),
        (1709, (800, 600, 950), "shown to harm"),
        (1709, (800, 600, np.inf), "not known: real_only was not swept as far as 1,709"),
    ],
)
def test_the_worth_of_synthetic_faces_is_said_where_the_curve_knows_it(
    n_real: int, faces: tuple[float, float, float], said: str
) -> None:
    (mix,) = toy_sweep.swept([toy_sweep.point("fine_tuning", 100, 1000)]).mixes
    value, low, high = faces
    found = Worth(
        mix=dataclasses.replace(mix, n_real=n_real),
        faces=Parameter(value=value, low=low, high=high),
        compared_with="real_only",
        counts=COUNTS,
        compared_saw="as many",
        at_equal_cost=None,
    )
    sentence = advice._said_worth(found)
    assert said in sentence and "-" not in sentence.replace("real_only", "")


@pytest.mark.parametrize(
    ("n_real", "faces", "said"),
    [
        (100, (194, 168, 229), "229; by real_only, which saw fewer faces). At equal cost that is not known: control"),
        (1000, (np.inf, np.inf, np.inf), ". At equal cost that is not known: control was not swept with 1,000 real"),
        (100, (194, 90, 229), "not shown to be worth a label"),
        (250, (180, 150, 240), "shown to harm"),  # in spite of more faces
    ],
)
def test_no_worth_is_claimed_of_what_saw_more_faces_than_real_ones_alone(
    n_real: int, faces: tuple[float, float, float], said: str
) -> None:
    (mix,) = toy_sweep.swept([toy_sweep.point("fine_tuning", n_real, 1000)]).mixes
    value, low, high = faces
    found = Worth(
        mix=mix,
        faces=Parameter(value=value, low=low, high=high),
        compared_with="real_only",
        counts=COUNTS,
        compared_saw="fewer",
        at_equal_cost=None,
    )
    sentence = advice._said_worth(found)
    assert said in sentence and "are worth" not in sentence


@pytest.mark.parametrize(
    ("above", "said"),
    [
        ((0.26, 0.16, 0.38), ": the synthetic ones are worth 94 labels (68 to 129). At the cost of the mix, 100 real"),
        ((0.03, -0.06, 0.12), ": there the synthetic ones are not shown to be worth a label."),
        ((-0.25, -0.29, -0.21), ": there the synthetic ones are shown to harm."),
    ],
)
def test_no_worth_is_claimed_that_the_control_takes_back(above: tuple[float, float, float], said: str) -> None:
    (mix,) = toy_sweep.swept([toy_sweep.point("mixing", 100, 1000, alpha=0.5)]).mixes
    found = Worth(
        mix=mix,
        faces=Parameter(value=194, low=168, high=229),
        compared_with="real_only",
        counts=COUNTS,
        compared_saw="fewer",
        at_equal_cost=Parameter(value=above[0], low=above[1], high=above[2]),
    )
    sentence = advice._said_worth(found)
    alone = f" At the cost of the mix, 100 real faces alone come to {mix.test_nme + above[0]:.2f}"
    assert alone in sentence
    assert said in sentence
    assert ("worth 94 labels" in sentence) == (above[1] > 0)


def test_a_worth_by_cheaper_trainings_is_said_beside_the_control() -> None:
    grid = [toy_sweep.point("real_only", n) for n in toy_sweep.REAL] + [toy_sweep.point("mixing", 100, 3000, alpha=0.5)]
    question = advice.Question(labels=100, more=100)
    controls = [toy_sweep.point("control", n) for n in (100, 1709)]  # no curve of their own
    swept = [toy_sweep.swept([*grid, *more], noise=0) for more in ([], controls)]
    alone, beside = (advice.text(advice.answer(lay_out(one, resamples=50), question)) for one in swept)
    said = f" At the cost of the mix, 100 real faces alone come to {toy_sweep.real(100):.2f}"
    assert said in beside and said not in alone


def asked(points: Sequence[dict[str, Any]], **more: Any) -> str:
    """The answers to a team with 100 labels; errors of a point are all its mean."""
    question = advice.Question(labels=100, more=100, **more)
    return advice.text(advice.answer(lay_out(toy_sweep.swept(points, noise=0), resamples=50), question))


def test_the_mix_that_is_named_is_the_best_on_validation_whatever_its_number_of_renders() -> None:
    grid = [toy_sweep.point("real_only", n) for n in toy_sweep.REAL]
    grid += [toy_sweep.point("mixing", 100, 1000, alpha=0.5, true=3.8)]
    grid += [toy_sweep.point("label_adaptation", 100, 3000, true=4.2)]
    named = [line for line in asked(grid).splitlines() if "real faces alone (" in line]
    assert len(named) == 1 and named[0].startswith("- mixing at alpha = 0.5 with 100 real and 1,000")


def renders(*true: float) -> list[dict[str, Any]]:
    """`mixing` with 100 real faces and growing numbers of synthetic ones."""
    numbers = (300, 1000, 3000, 10_000)
    return [toy_sweep.point("real_only", n) for n in toy_sweep.REAL] + [
        toy_sweep.point("mixing", 100, m, alpha=0.5, true=one) for m, one in zip(numbers, true, strict=False)
    ]


def test_more_renders_that_do_not_help_are_said_to_be_so_without_a_law() -> None:
    flat, worse = asked(renders(3.8, 3.8, 3.8)), asked(renders(3.6, 3.8, 3.9))
    assert "the NME goes from 3.80 to 3.80, lower by 0.000 (0.000 to 0.000): more of these renders are not" in flat
    assert "the NME goes from 3.60 to 3.90" in worse and "more of these renders are shown to harm." in worse
    for text in (flat, worse):
        assert "| mixing | n_synthetic | 100 | 300, 1,000, 3,000 | - | - | - |" in text
        assert "Different renders" not in text and "By its law" not in text


def test_three_numbers_of_renders_check_no_law_and_what_was_measured_is_said() -> None:
    three, four = asked(renders(4.2, 4.0, 3.9)), asked(renders(4.2, 4.0, 3.9, 3.87))
    assert "from 300 to 3,000 synthetic ones the NME goes from 4.20 to 3.90. By its law, which 3 numbers" in three
    assert "from 300 to 10,000 synthetic ones the NME goes from 4.20 to 3.87. By its law, twice as many" in four
    assert "This extrapolates." in three and "This extrapolates." in four
    assert "On 1 of 2 lines each number of faces was left out" in three
    assert "On 2 of 2 lines each number of faces was left out" in four


def test_nothing_is_asked_of_a_law_that_fails() -> None:
    points = toy_sweep.grid()[:6]
    points[3] = points[3] | {"true": points[3]["true"] + 0.6}
    text = asked(points, target=4.2, prices=Prices(label=2.0, render=0.02))
    assert re.search(r"real_only: refused: its law was wrong at \d of 6 numbers left out; believe what was", text)
    assert "The law of real_only over n_real beside 0 fails" in text
    offered = re.search(r"real_only with ([\d,]+) real .*: it costs", text)
    assert offered and int(offered[1].replace(",", "")) in toy_sweep.REAL


def test_where_more_faces_do_not_help_a_mix_is_offered_as_it_was_measured() -> None:
    text = asked(renders(3.6, 3.8, 3.9), target=3.7, prices=Prices(label=2.0, render=0.02))
    assert "mixing at alpha = 0.5 with 100 real and 300 synthetic faces: it costs 206.00" in text


def test_a_chance_that_is_not_certain_is_not_said_to_be() -> None:
    assert [advice._chance(one) for one in (1.0, 0.9999, 0.995, 0.994, 0.8)] == [
        "100 %",
        "> 99 %",
        "> 99 %",
        "99 %",
        "80 %",
    ]
