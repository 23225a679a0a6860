"""The law error = D n^-a + C, on curves whose parameters are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from facemix.verdict import curve

COUNTS = [100, 300, 1000, 3000, 10_000]
COUNTS_STRATEGY = st.lists(st.integers(10, 20_000), min_size=4, max_size=8, unique=True).map(sorted)


@given(gain=st.floats(0.1, 20), a=st.floats(0.1, 2), c=st.floats(0, 10), n=COUNTS_STRATEGY)
def test_the_parameters_of_a_curve_that_follows_the_law_are_found(
    gain: float, a: float, c: float, n: list[int]
) -> None:
    if n[-1] < 5 * n[0] or min(np.diff(np.log(n))) < 0.1:  # no curve to be seen
        return
    d = gain * n[0] ** a
    errors = curve.law(n, np.array([d, a, c]))
    (found,) = curve.fit(n, errors[None])
    assert found == pytest.approx([d, a, c], rel=2e-3, abs=2e-3 * gain)
    assert curve.law(n, found) == pytest.approx(errors, abs=1e-6 * gain)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_a_noisy_curve_is_fitted_as_well_as_by_a_general_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = curve.law(COUNTS, np.array([30.0, 0.5, 4.0])) + rng.normal(0, 0.1, len(COUNTS))

    def rest(parameters: np.ndarray) -> np.ndarray:
        gain, a, c = parameters
        return gain * (np.array(COUNTS) / 100) ** -a + c - errors

    general = least_squares(rest, [3, 0.5, 4], bounds=([0, 0.01, 0], [np.inf, 5, np.inf]), xtol=1e-14, ftol=1e-14)
    (found,) = curve.fit(COUNTS, errors[None])
    assert ((curve.law(COUNTS, found) - errors) ** 2).sum() == pytest.approx(2 * general.cost, rel=1e-4, abs=1e-9)


def test_nothing_falls_below_zero() -> None:
    sinking, rising = np.log10(COUNTS)[::-1] - 2, np.log10(COUNTS)
    (d, _, c), (no_d, no_a, mean) = curve.fit(COUNTS, np.stack([sinking, rising]))
    assert d > 0 and c == 0
    assert no_d == 0 and np.isnan(no_a) and mean == pytest.approx(rising.mean())
    assert curve.law(7, np.array([no_d, no_a, mean])) == pytest.approx(mean)


def errors(parameters: tuple[float, float, float], n: list[int], seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Errors (k, seeds, 200) of faces that differ much from each other and trainings that differ little."""
    rng = np.random.default_rng(0)
    means = curve.law(n, np.array(parameters))[:, None, None]
    faces, trainings = rng.normal(0, 1, 200), rng.normal(0, 0.02, (len(n), seeds, 1))
    noise = rng.normal(0, 0.2, (len(n), seeds, 200))
    return means + faces - faces.mean() + trainings + noise, np.array([f"photo {i // 2}" for i in range(200)])


def test_intervals_hold_the_parameters() -> None:
    fit = curve.fitted(COUNTS, *errors((30, 0.5, 4.0), COUNTS))
    for found, true in ((fit.d, 30), (fit.a, 0.5), (fit.c, 4.0)):
        assert found.low < true < found.high
        assert found.low <= found.value <= found.high
    assert fit.falls and fit.notes == ()


def test_a_flat_curve_determines_nothing() -> None:
    fit = curve.fitted(COUNTS, *errors((0.0, 0.5, 4.0), COUNTS))
    assert not fit.falls
    (note,) = fit.notes
    assert note.startswith("not determined: the curve is flat, the error at n 10000 is not shown to be below that")
    assert note.endswith("smaller n or more seeds are needed")


@pytest.mark.parametrize(
    ("parameters", "n", "note"),
    [
        ((30, 0.5, 4.0), [100, 1000, 10_000], "a fourth n is needed"),
        ((30, 0.5, 0.0), COUNTS, "C is not told from 0"),
        ((4e13, 6.0, 4.0), COUNTS, "a and D have no upper end: all may be won at n 300; smaller n are needed"),
    ],
)
def test_what_is_not_determined_is_said_with_what_is_needed(
    parameters: tuple[float, float, float], n: list[int], note: str
) -> None:
    fit = curve.fitted(n, *errors(parameters, n))
    assert fit.falls
    assert any(note in one for one in fit.notes)
