"""Jitter: closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.use.jitter import Jitter, jitter, overall

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.uniform(0.01, 0.08, 400))


def test_white_noise_gives_its_standard_deviation_in_per_cent_of_the_face() -> None:
    points = RNG.normal(0, 0.7, (400, 68, 2))
    assert jitter(np.arange(400.0), points, np.full(400, 200.0)) == pytest.approx(0.35, rel=0.01)
    assert jitter(TIMES, points, np.full(400, 200.0)) == pytest.approx(0.35, rel=0.01)


def test_constant_motion_gives_none_whatever_the_frame_times() -> None:
    points = np.array([3.0, -5.0]) * TIMES[:, None, None] + RNG.normal(0, 9, (1, 68, 2))
    assert jitter(TIMES, points, np.ones(400)) == pytest.approx(0, abs=1e-9)


def test_it_is_the_root_mean_square_of_second_differences_by_the_root_of_six() -> None:
    points = RNG.normal(0, 1, (30, 5, 2))
    expected = np.sqrt((np.diff(points, 2, axis=0) ** 2).mean() / 6)
    assert jitter(np.arange(30.0), points, np.ones(30)) == pytest.approx(100 * expected)


@given(scale=st.floats(0.01, 100), speed=st.floats(0.1, 10), turn=st.floats(0, 6))
def test_neither_scale_nor_rate_nor_a_turned_picture_changes_it(scale: float, speed: float, turn: float) -> None:
    points, sizes = np.random.default_rng(1).normal(0, 1, (9, 4, 2)), np.full(9, 7.0)
    turned = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert jitter(speed * TIMES[:9], scale * turned, scale * sizes) == pytest.approx(jitter(TIMES[:9], points, sizes))


def test_faces_count_by_their_frames() -> None:
    still, trembling = Jitter(), Jitter()
    for frame in range(12):
        trembling.add(frame, RNG.normal(0, 1, (3, 2)), 1)
    for frame in range(42):
        still.add(frame, np.zeros((3, 2)), 1)
    assert overall([still, trembling]) == pytest.approx(trembling.percent * np.sqrt(10 / 50))


def test_fewer_than_three_frames_have_none() -> None:
    assert np.isnan(jitter(np.arange(2.0), np.zeros((2, 3, 2)), np.ones(2)))
    assert np.isnan(overall([]))
