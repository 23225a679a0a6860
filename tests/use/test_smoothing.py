"""The One Euro filter: laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.use.jitter import jitter
from facemix.use.smoothing import BETA, MIN_CUTOFF, OneEuro, share

SIZE = 100.0
RATE = 30.0


def smoothed(times: np.ndarray, points: np.ndarray, **settings: float) -> np.ndarray:
    one_euro = OneEuro(**settings)
    return np.array([one_euro(time, frame, SIZE) for time, frame in zip(times, points, strict=True)])


def test_points_that_stay_are_left_where_they_are() -> None:
    points = np.tile(np.random.default_rng(0).normal(0, 9, (68, 2)), (20, 1, 1))
    np.testing.assert_allclose(smoothed(np.arange(20) / RATE, points), points)


def apart(x: np.ndarray) -> np.ndarray:
    """Two points (T, 2, 2), one x to the right of the middle of the face and the other as far to the left."""
    return x[:, None, None] * np.array([[1.0, 0], [-1, 0]])


def test_a_step_is_reached_without_overshooting() -> None:
    points = apart(np.concatenate([np.zeros(5), np.full(90, 8.0)]))
    steps = np.diff(smoothed(np.arange(95) / RATE, points)[:, 0, 0])
    assert (steps >= -1e-9).all()
    assert steps.sum() == pytest.approx(8, abs=0.01)
    assert steps.max() < 6


@pytest.mark.parametrize("speed", [1.0, 5.0])
def test_a_point_that_moves_fast_in_the_face_lags_no_more_than_the_inverse_of_beta(speed: float) -> None:
    times = np.arange(300) / RATE
    points = apart(speed * SIZE * times)
    lag = np.linalg.norm((points - smoothed(times, points))[-1, 0]) / SIZE
    assert 0 < lag <= 1 / (2 * np.pi * BETA)


def test_a_face_that_moves_as_a_whole_does_not_lag() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 30, (68, 2)) + np.cumsum(rng.normal(0, 9, (60, 1, 2)), axis=0)
    np.testing.assert_allclose(smoothed(np.arange(60) / RATE, points), points)


def test_noise_is_less_jitter_and_stays_around_the_truth() -> None:
    noise, times = np.random.default_rng(0).normal(0, 0.3, (600, 68, 2)), np.arange(600) / RATE
    after = smoothed(times, noise)
    assert jitter(times, after, np.full(600, SIZE)) < 0.6 * jitter(times, noise, np.full(600, SIZE))
    assert np.abs(after.mean(axis=0)).max() < 0.15


def test_it_does_the_same_at_any_scale() -> None:
    points, times = np.random.default_rng(0).normal(0, 1, (20, 3, 2)), np.arange(20) / RATE
    first, second = OneEuro(), OneEuro()
    for time, frame in zip(times, points, strict=True):
        np.testing.assert_allclose(7 * first(time, frame, 50), second(time, 7 * frame, 350))


def test_a_fast_point_does_not_make_others_tremble() -> None:
    """Each point has its own cut-off frequency."""
    noise, times = np.random.default_rng(0).normal(0, 0.3, (200, 8, 2)), np.arange(200) / RATE
    fast = noise + np.concatenate([apart(2 * SIZE * times), np.zeros((200, 6, 2))], axis=1)
    sizes = np.full(200, SIZE)
    slow = [jitter(times, smoothed(times, points)[:, 2:], sizes) for points in (noise, fast)]
    assert slow[1] == pytest.approx(slow[0], rel=0.01)


@given(cutoff=st.floats(0.1, 100), step=st.floats(1e-4, 1))
def test_a_longer_step_counts_more(cutoff: float, step: float) -> None:
    assert 0 < share(cutoff, step) < share(cutoff, 2 * step) < 1


def test_the_time_between_frames_counts_not_their_number() -> None:
    """After a long pause the new value counts more."""
    short, long = OneEuro(beta=0), OneEuro(beta=0)
    for one_euro in (short, long):
        one_euro(0.0, np.zeros((2, 2)), SIZE)
    later = apart(np.ones(1))[0]
    assert short(0.01, later, SIZE)[0, 0] == pytest.approx(float(share(MIN_CUTOFF, 0.01)))
    assert long(1.0, later, SIZE)[0, 0] == pytest.approx(float(share(MIN_CUTOFF, 1.0)))
