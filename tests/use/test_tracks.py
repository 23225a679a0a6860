"""Faces followed from frame to frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_video
from facemix.errors import FacemixError
from facemix.use import tracks
from facemix.use.credible import credible, doubled, overlaps
from facemix.use.tracks import LOOK_EVERY, TrackedFace, Tracker, assigned
from toy_video import Box, Detector, Faces, picture

LEFT: Box = (10, 10, 29, 33)
RIGHT: Box = (60, 20, 79, 43)


def moved(box: Box, x: float, y: float = 0) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def followed(detector: Detector, frames: list[list[Box]], boxes: list[Box] | None = None) -> list[list[TrackedFace]]:
    tracker = Tracker(detector, None if boxes is None else np.array(boxes, dtype=float))
    return [tracker.next(picture(frame)) for frame in frames]


def numbers(found: list[list[TrackedFace]]) -> list[list[int]]:
    return [[face.track for face in faces] for faces in found]


def test_overlap_is_intersection_by_union() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 2, 0], [np.nan, 0, 1, 1]], dtype=float)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], dtype=float)
    np.testing.assert_allclose(overlaps(a, b), [[1, 1 / 3, 0], [0, 0, 0], [0, 0, 0]])
    assert overlaps(np.zeros((0, 4)), b).shape == (0, 3)


@given(
    st.integers(0, 5).flatmap(
        lambda n: st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=n, max_size=n)
    )
)
def test_pairs_are_apart_and_none_is_left_out_that_could_be_one(table: list[list[float]]) -> None:
    scores = np.array(table).reshape(-1, 4)
    pairs = assigned(scores, 0.4)
    assert len(set(pairs.values())) == len(pairs)
    assert all(scores[row, column] >= 0.4 for row, column in pairs.items())
    free = np.delete(np.delete(scores, list(pairs), axis=0), list(pairs.values()), axis=1)
    assert (free < 0.4).all()


def test_the_best_pair_comes_first() -> None:
    assert assigned(np.array([[0.8, 0.9], [0.1, 0.8]]), 0.3) == {0: 1}
    assert assigned(np.array([[0.9, 0.8], [0.8, 0.1]]), 0.3) == {0: 0}


def test_of_boxes_of_one_face_the_first_stays() -> None:
    face, other = np.array([0, 0, 10, 10.0]), np.array([20, 0, 30, 10.0])
    assert doubled(np.array([face, other, face + 1, face])).tolist() == [False, False, True, True]
    # Of a row each of which overlaps the next, the second is double, so the third is not.
    row = np.array([face, face + [2, 0, 2, 0], face + [4, 0, 4, 0]])
    assert doubled(row).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("points", "error"),
    [
        ([[-20, 5], [10, 30]], 0.1),  # the middle is outside
        ([[10, 10], [14, 14]], 0.1),  # too small
        ([[10, 10], [40, 10]], 0.1),  # no height
        ([[-1e4, -1e4], [1e4, 1e4]], 0.1),  # far larger than the picture
        ([[10, 10], [np.nan, 40]], 0.1),
        ([[10, 10], [40, 40]], 10.0),  # unsure
    ],
)
def test_points_that_cannot_be_a_face(points: list[list[float]], error: float) -> None:
    def known(points: list[list[float]], error: float) -> bool:
        one = np.array([points], dtype=float)
        return bool(credible(one, np.full((1, 2), error), 96, 64, 0.02)[0])

    assert not known(points, error)
    assert known([[10, 10], [40, 40]], 0.1)
    assert known([[10, 10], [40, 40]], np.nan)


def test_faces_keep_their_numbers_while_they_move() -> None:
    frames = [[moved(LEFT, k / 2), moved(RIGHT, -k / 2, k)] for k in range(0, 2 * LOOK_EVERY, 2)]
    found = followed(Detector(), frames)
    assert numbers(found) == [[0, 1]] * LOOK_EVERY
    for faces, frame in zip(found, frames, strict=True):
        np.testing.assert_allclose(toy_video.boxes(faces), frame)


def test_the_network_is_shown_the_tight_box_of_the_points_before() -> None:
    found = followed(Detector(), [[LEFT], [moved(LEFT, 3)], [moved(LEFT, 6)]])
    np.testing.assert_allclose([faces[0].box for faces in found[1:]], [LEFT, moved(LEFT, 3)])
    np.testing.assert_allclose(toy_video.boxes(found[2]), [moved(LEFT, 6)])


def test_a_new_face_is_found_at_the_next_look() -> None:
    found = numbers(followed(Detector(), [[LEFT]] * 3 + [[LEFT, RIGHT]] * LOOK_EVERY))
    assert found[:LOOK_EVERY] == [[0]] * LOOK_EVERY
    assert found[LOOK_EVERY:] == [[0, 1]] * 3


def test_a_face_that_the_finder_gives_twice_is_one() -> None:
    detector = Detector()
    find = detector.find

    def twice(image: np.ndarray) -> Faces:
        faces = find(image)
        return Faces(*(np.repeat(getattr(faces, name), 2, axis=0) for name in ("boxes", "points", "errors", "visible")))

    detector.find = twice
    assert numbers(followed(detector, [[LEFT, RIGHT]] * (LOOK_EVERY + 2))) == [[0, 1]] * (LOOK_EVERY + 2)


def test_a_lost_face_ends_the_finder_looks_at_once_and_its_number_never_comes_again() -> None:
    detector = Detector()
    found = numbers(followed(detector, [[LEFT]] * 3 + [[RIGHT]] * 3 + [[]] * 2 + [[LEFT]] * LOOK_EVERY))
    assert found[:8] == [[0]] * 3 + [[1]] * 3 + [[]] * 2
    assert found[LOOK_EVERY:] == [[2]] * 8
    assert len(detector.looks) == 4  # frame 0, both losses, and frame 10


def test_a_face_that_is_unsure_goes_on_where_the_finder_sees_it() -> None:
    detector = Detector()
    unsure = detector.predict

    def once_unsure(image: np.ndarray, boxes: np.ndarray) -> Faces:
        faces = unsure(image, boxes)
        return Faces(faces.boxes, faces.points, faces.errors + 100 * (len(detector.frames) == 2), faces.visible)

    detector.predict = once_unsure
    assert numbers(followed(detector, [[LEFT]] * 5)) == [[0]] * 5
    assert len(detector.looks) == 2


def test_two_tracks_on_one_face_become_the_older_one() -> None:
    given = [LEFT, moved(LEFT, 2)]
    assert numbers(followed(Detector(), [[LEFT]] * 2, given)) == [[0], [0]]


def test_a_face_that_leaves_the_picture_ends() -> None:
    frames = [[moved(LEFT, -3 * k)] for k in range(12)]
    found = numbers(followed(Detector(), frames))
    assert found[0] == [0]
    assert found[-1] == []


def test_given_boxes_are_followed_and_nothing_else() -> None:
    detector = Detector(has_finder=False)
    found = followed(detector, [[LEFT, moved(RIGHT, -k)] for k in range(2 * LOOK_EVERY)], [RIGHT])
    assert numbers(found) == [[0]] * (2 * LOOK_EVERY)
    np.testing.assert_allclose(toy_video.boxes(found[-1]), [moved(RIGHT, 1 - 2 * LOOK_EVERY)])


def test_without_boxes_and_without_a_finder_the_detector_says_so() -> None:
    with pytest.raises(FacemixError, match="boxes are needed"):
        followed(Detector(has_finder=False), [[LEFT]])


def test_without_expected_errors_a_face_that_the_finder_keeps_missing_ends() -> None:
    frames = [[LEFT]] * ((tracks.UNSEEN + 1) * LOOK_EVERY)
    missing = Detector(knows_errors=False, blind=lambda look: look > 0)
    assert numbers(followed(missing, frames)) == [[0]] * (tracks.UNSEEN * LOOK_EVERY) + [[]] * LOOK_EVERY
    once = Detector(knows_errors=False, blind=lambda look: look % 2 == 1)
    assert numbers(followed(once, frames)) == [[0]] * len(frames)
    sure = Detector(blind=lambda look: look > 0)
    assert numbers(followed(sure, frames)) == [[0]] * len(frames)
