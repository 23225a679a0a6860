import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.training import certainty


def drawn(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spreads (n, 3), and errors that are as large as the spread says, times 0.5, 1 and 3, on average."""
    rng = np.random.default_rng(seed)
    spreads = rng.uniform(0.5, 4, (n, 3))
    return spreads, spreads * [0.5, 1, 3] * rng.exponential(1, (n, 3))


def test_the_scale_of_each_point_makes_its_spread_the_expected_error() -> None:
    found = certainty.fit(*drawn())
    assert found is not None
    np.testing.assert_allclose(found.scale, [0.5, 1, 3], rtol=0.05)


def test_radii_are_those_of_the_distribution_of_errors() -> None:
    found = certainty.fit(*drawn())
    assert found is not None
    for level, radius in found.radius.items():
        assert radius == pytest.approx(-np.log(1 - level), rel=0.06)  # of an exponential distribution of mean 1


def test_other_faces_of_the_same_kind_lie_within_the_radii_as_often_as_is_said() -> None:
    found = certainty.fit(*drawn())
    assert found is not None
    spreads, errors = drawn(seed=1)
    for level, share in certainty.coverage(found.radius, found.scale * spreads, errors).items():
        assert share == pytest.approx(level, abs=0.02)


def test_unlabelled_points_do_not_count_and_one_that_none_labels_has_the_scale_of_all() -> None:
    spreads, errors = np.full((4, 3), 2.0), np.full((4, 3), 3.0)
    errors[:, 1], errors[0, 0] = np.nan, np.nan
    found = certainty.fit(spreads, errors)
    assert found is not None
    np.testing.assert_allclose(found.scale, 1.5)
    assert set(found.radius.values()) == {1.0}
    assert certainty.coverage(found.radius, found.scale * spreads, errors)[0.9] == 1


def test_nothing_labelled_calibrates_nothing() -> None:
    assert certainty.fit(np.ones((3, 2)), np.full((3, 2), np.nan)) is None
    assert certainty.fit(np.ones((0, 2)), np.ones((0, 2))) is None
    assert np.isnan(certainty.coverage({0.9: 1.0}, np.ones((3, 2)), np.full((3, 2), np.nan))[0.9])


@given(st.floats(0.01, 100), st.integers(0, 10))
def test_units_cancel(unit: float, seed: int) -> None:
    spreads, errors = drawn(20, seed)
    one, other = certainty.fit(spreads, errors), certainty.fit(unit * spreads, unit * errors)
    assert one is not None and other is not None
    np.testing.assert_allclose(one.scale, other.scale)
    np.testing.assert_allclose(list(one.radius.values()), list(other.radius.values()))


def test_usual_faces_are_those_in_the_middle() -> None:
    spreads = np.array([[1.0, 3], [2, 2], [50, 90]])
    found = certainty.fit(spreads, 2 * spreads)
    assert found is not None and found.usual == pytest.approx(4)


def test_what_is_written_is_read() -> None:
    found = certainty.fit(*drawn())
    assert found is not None
    again = certainty.read(found.as_dict())
    np.testing.assert_allclose(again.scale, found.scale, atol=1e-5)
    assert again.radius.keys() == found.radius.keys()
