import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facemix.finding.found import merged

SQUARE = np.array([10.0, 10.0, 30.0, 30.0])


def test_sightings_of_one_face_become_their_mean_weighted_by_score() -> None:
    found = merged(np.stack([SQUARE, SQUARE + 4]), np.array([0.9, 0.6]))
    np.testing.assert_allclose(found.boxes, [SQUARE + 4 * 0.6 / 1.5])
    np.testing.assert_allclose(found.scores, [0.9])


def test_faces_apart_stay_and_the_surest_comes_first() -> None:
    found = merged(np.stack([SQUARE, SQUARE + 50]), np.array([0.6, 0.9]))
    np.testing.assert_allclose(found.boxes, [SQUARE + 50, SQUARE])
    np.testing.assert_allclose(found.scores, [0.9, 0.6])


def test_a_part_of_a_face_is_no_face_of_its_own() -> None:
    part = np.array([12.0, 12.0, 18.0, 18.0])
    np.testing.assert_allclose(merged(np.stack([SQUARE, part]), np.array([0.9, 0.8])).boxes, [SQUARE])


def test_neighbours_that_overlap_a_little_are_two() -> None:
    found = merged(np.stack([SQUARE, SQUARE + [12, 0, 12, 0]]), np.array([0.9, 0.8]))
    assert len(found.boxes) == 2


def test_nothing_seen_is_nobody() -> None:
    found = merged(np.zeros((0, 4)), np.zeros(0))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 2, st.integers(0, 30), st.floats(0.5, 1)), max_size=12))
def test_each_face_is_found_once_within_what_was_seen(seen: list[tuple[int, int, int, float]]) -> None:
    corners = np.array([one[:2] for one in seen], dtype=float).reshape(-1, 2)
    sides = np.array([one[2] for one in seen], dtype=float)
    boxes, scores = np.concatenate([corners, corners + sides[:, None]], axis=1), np.array([one[3] for one in seen])
    found = merged(boxes, scores)
    assert len(found.boxes) <= len(boxes) and (len(found.boxes) > 0) == (len(boxes) > 0)
    assert (np.diff(found.scores) <= 0).all() and set(found.scores) <= set(scores)
    if len(boxes):
        assert (found.boxes >= boxes.min(axis=0) - 1e-9).all() and (found.boxes <= boxes.max(axis=0) + 1e-9).all()
