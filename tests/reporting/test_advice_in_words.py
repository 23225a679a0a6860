"""What a mix is worth, in words."""

import dataclasses

import numpy as np
import pytest

import toy_sweep
from facemix.reporting import advice
from facemix.verdict.advice import Worth, lay_out
from facemix.verdict.curve import Parameter

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
        compared_saw="fewer",
    )
    sentence = advice._said_worth(found, COUNTS)
    assert said in sentence and "-" not in sentence.replace("real_only", "")


def test_a_worth_by_cheaper_trainings_is_said_beside_the_control() -> None:
    grid = [toy_sweep.point("real_only", n) for n in toy_sweep.REAL] + [toy_sweep.point("mixing", 100, 3000, alpha=0.5)]
    question = advice.Question(labels=100, more=100)
    controls = [toy_sweep.point("control", n) for n in (100, 1709)]  # no curve of their own
    swept = [toy_sweep.swept([*grid, *more], noise=0) for more in ([], controls)]
    alone, beside = (advice.text(advice.answer(lay_out(one, resamples=50), question)) for one in swept)
    said = f" At the cost of the mix, 100 real faces alone come to {toy_sweep.real(100):.2f}."
    assert said in beside and said not in alone
