"""Advice from sweeps whose true curves are known."""

import dataclasses
from collections.abc import Callable

import pytest

import toy_sweep
from facemix.verdict import advice
from facemix.verdict.advice import HeldOut, Laid
from facemix.verdict.curve import Parameter


@pytest.fixture(scope="module")
def exact() -> Laid:
    """The grid, measured without any noise."""
    return advice.lay_out(toy_sweep.swept(toy_sweep.grid(), noise=0), resamples=50)


@pytest.fixture(scope="module")
def laid() -> Laid:
    return advice.lay_out(toy_sweep.swept(toy_sweep.grid()), resamples=200)


def test_lines_are_what_varies_in_one_number_of_faces(laid: Laid) -> None:
    assert [(line.strategy, line.axis, line.fixed, line.counts) for line in laid.lines] == [
        ("real_only", "n_real", 0, toy_sweep.REAL),
        ("mixing", "n_real", 3000, toy_sweep.REAL),
        ("mixing", "n_synthetic", 100, (100, 300, 1000, 3000)),
    ]


def test_alpha_is_chosen_on_validation_and_test_has_no_say() -> None:
    good = toy_sweep.point("mixing", 100, 300, alpha=0.25, bias=0.0)
    lucky_on_test = good | {"alpha": 0.75, "true": good["true"] - 0.5, "bias": 1.0}
    (chosen,) = advice.at_best_alpha(toy_sweep.swept([lucky_on_test, good]).mixes)
    assert chosen.alpha == 0.25


def test_a_number_between_has_the_alpha_of_its_nearest(laid: Laid) -> None:
    line = dataclasses.replace(laid.lines[1], alphas=(0.9, 0.8, 0.7, 0.6, 0.5, 0.1))
    assert [line.alpha_at(n) for n in (25, 60, 158, 159, 5000)] == [0.9, 0.8, 0.7, 0.6, 0.1]


def test_without_noise_the_laws_are_the_true_ones(exact: Laid) -> None:
    real, mixing, renders = exact.lines
    assert real.fit.parameters == pytest.approx([8, 0.45, 3], rel=1e-2)
    assert real.nme(3000).value == pytest.approx(toy_sweep.real(3000), rel=1e-3)
    gain = advice.gain(mixing, 200, 100).value
    assert gain == pytest.approx(toy_sweep.mixed(200, 3000) - toy_sweep.mixed(300, 3000), rel=1e-2)
    left = advice.left(renders)
    assert (left.n, left.more.value) == (3000, pytest.approx(3 * 3000**-0.4, rel=1e-2))
    assert left.floor.value == pytest.approx(3 + 3 * 100**-0.4, rel=1e-2)
    assert left.more.value + left.floor.value == pytest.approx(renders.nme(3000).value)


def test_a_line_is_believed_to_twice_its_greatest_number_and_half_its_least(laid: Laid) -> None:
    (line, *_) = laid.lines
    numbers = (12, 13, 25, 1709, 1710, 3418, 3419)
    refused, beyond, within = "refused", "extrapolated", "measured"
    assert [line.standing(n) for n in numbers] == [refused, beyond, within, within, beyond, beyond, refused]


@pytest.mark.parametrize(
    ("law", "verdict"),
    [
        (lambda m: 3 + 8 * m**-0.3, "more"),
        (lambda m: 3.5 + 50 * m**-1.0, "different"),
        (lambda m: 3.5, "different"),
    ],
)
def test_more_renders_are_told_from_different_ones(law: Callable[[float], float], verdict: str) -> None:
    points = [toy_sweep.point("mixing", 100, m, alpha=0.5, true=law(m)) for m in (100, 300, 1000, 3000)]
    (line,) = advice.lay_out(toy_sweep.swept(points), resamples=300).lines
    assert advice.left(line).verdict == verdict


def test_where_noise_hides_what_renders_bring_it_is_undecided() -> None:
    points = [toy_sweep.point("mixing", 100, m, alpha=0.5, true=3 + 8 * m**-0.3) for m in (100, 300, 1000, 3000)]
    (line,) = advice.lay_out(toy_sweep.swept(points, noise=15), resamples=300).lines
    assert advice.left(line).verdict == "undecided"


def test_worth_is_the_curve_of_real_faces_read_backwards(exact: Laid) -> None:
    found = {(one.mix.n_real, one.mix.n_synthetic): one for one in advice.worths(exact)}
    assert len(found) == 9
    equal = (8 / (toy_sweep.mixed(100, 3000) - 3)) ** (1 / 0.45)
    assert found[100, 3000].faces.value == pytest.approx(equal, rel=0.1)  # the curve is straight between its points
    assert {one.compared_with for one in found.values()} == {"real_only"}
    assert {one.compared_saw for one in found.values()} == {"fewer"}  # mixing stands on two networks


def test_worth_is_by_real_faces_that_saw_as_many() -> None:
    control = [toy_sweep.point("control", n, true=toy_sweep.real(n) - 0.2) for n in toy_sweep.REAL]
    grid = [*toy_sweep.grid(), *control]
    by_control = advice.worths(advice.lay_out(toy_sweep.swept(grid), resamples=50))
    assert {(one.compared_with, one.compared_saw) for one in by_control} == {("control", "as many")}
    recorded = [one | {"faces_seen": 20 if one["strategy"] == "control" else 10} for one in grid]
    by_real_only = advice.worths(advice.lay_out(toy_sweep.swept(recorded), resamples=50))
    assert {(one.compared_with, one.compared_saw) for one in by_real_only} == {("real_only", "as many")}


# --- Whether the law holds --------------------------------------------------------------------------------------------


def test_a_number_that_is_left_out_is_predicted_from_the_others(exact: Laid) -> None:
    tests = advice.held_out(exact.lines[0])
    assert [one.n for one in tests] == list(toy_sweep.REAL)
    assert [one.extrapolated for one in tests] == [True, False, False, False, False, True]
    for one in tests[1:-1]:
        assert one.predicted.value == pytest.approx(toy_sweep.real(one.n), rel=2e-3)


def test_a_number_that_is_left_out_has_no_say_in_its_prediction() -> None:
    points = toy_sweep.grid()[:6]
    points[3] = points[3] | {"true": points[3]["true"] + 0.6}
    (line,) = advice.lay_out(toy_sweep.swept(points, noise=0), resamples=20).lines
    assert advice.held_out(line)[3].predicted.value == pytest.approx(toy_sweep.real(toy_sweep.REAL[3]), rel=2e-3)


def test_photographs_that_are_hard_at_every_number_do_not_widen_a_prediction(laid: Laid) -> None:
    line = laid.lines[0]
    for one in advice.held_out(line)[1:-1]:
        mean = line.nme(one.n)
        assert one.predicted.high - one.predicted.low < (mean.high - mean.low) / 3


def test_what_does_not_follow_the_law_is_not_covered(laid: Laid) -> None:
    assert sum(one.covered for one in advice.held_out(laid.lines[0])) >= 5
    points = toy_sweep.grid()[:6]
    points[3] = points[3] | {"true": points[3]["true"] + 0.6}
    (line,) = advice.lay_out(toy_sweep.swept(points), resamples=200).lines
    tests = advice.held_out(line)
    assert tests[3].wrong and advice.fails(tests)
    assert not advice.fails(advice.held_out(laid.lines[0]))


@pytest.mark.parametrize(("numbers", "wrong", "fails"), [(4, 0, False), (4, 1, False), (4, 2, True), (0, 0, False)])
def test_a_law_fails_where_more_is_wrong_than_chance_allows(numbers: int, wrong: int, fails: bool) -> None:
    def predicted(value: float) -> HeldOut:
        at = Parameter(value=value, low=value - 0.001, high=value + 0.001)
        return HeldOut(n=100, measured=4.0, predicted=at, extrapolated=False)

    assert not predicted(4.01).covered and not predicted(4.01).wrong  # by less than is worth speaking of
    assert advice.fails([predicted(4.5 if i < wrong else 4.01) for i in range(numbers)]) == fails


def test_three_numbers_are_no_check() -> None:
    (line,) = advice.lay_out(toy_sweep.swept(toy_sweep.grid()[:3]), resamples=50).lines
    assert advice.held_out(line) == []
