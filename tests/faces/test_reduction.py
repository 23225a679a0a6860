"""Points of one scheme made from those of another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemix.errors import FacemixError
from facemix.faces import reduction, schemes
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, Face

EYES = ("right_eye_centre", "left_eye_centre")
ALL = {name: (schemes.load(name), schemes.derived(name)) for name in schemes.names()}
IBUG68 = schemes.ibug68()
FIVE = reduction.between(IBUG68, "five")


def face(points: np.ndarray, states: np.ndarray, scheme: schemes.Scheme = IBUG68) -> Face:
    points = np.where(states[:, None] == UNLABELLED, np.nan, points).astype(np.float32)
    return Face(
        id="a", subset="", photo="a", image="a.png", landmarks=points, states=states, scheme=scheme, files=()
    )  # fmt: skip


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_five_of_300w_are_its_own_points_and_the_means_of_its_eyes(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 1000, (68, 2)).astype(np.float32)
    five = reduction.reduced(face(points, np.full(68, VISIBLE)), *FIVE)
    expected = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
    np.testing.assert_allclose(five.landmarks, expected, rtol=1e-5)
    assert five.scheme.name == "five" and five.landmarks.dtype == np.float32 and five.states.tolist() == [VISIBLE] * 5


def test_all_eight_points_of_an_eye_count_where_there_are_eight() -> None:
    wflw = schemes.load("wflw98")
    scheme, made_of = reduction.between(wflw, "five")
    assert made_of[scheme.index(EYES[0])] == tuple(range(60, 68)) and set(made_of[scheme.index(EYES[1])]) == {
        *range(68, 76)
    }


def test_a_mean_is_unlabelled_or_hidden_as_its_points_are() -> None:
    states = np.full(68, VISIBLE, dtype=np.uint8)
    states[36], states[45], states[54] = UNLABELLED, HIDDEN, UNLABELLED
    points = np.random.default_rng(0).uniform(1, 99, (68, 2))
    five = reduction.reduced(face(points, states), *FIVE)
    assert five.states.tolist() == [UNLABELLED, HIDDEN, VISIBLE, VISIBLE, UNLABELLED]
    assert np.isnan(five.landmarks).all(axis=1).tolist() == [True, False, False, False, True]


def test_what_cannot_be_made_is_unlabelled() -> None:
    coco = schemes.load("coco17")
    points = np.random.default_rng(0).uniform(1, 99, (17, 2))
    five = reduction.reduced(face(points, np.full(17, VISIBLE), coco), *reduction.between(coco, "five"))
    assert five.states.tolist() == [VISIBLE] * 3 + [UNLABELLED] * 2


def test_a_point_of_the_same_name_comes_before_what_it_is_derived_from() -> None:
    found = reduction.groups(IBUG68, FIVE[0], {"nose_tip": (("chin",),), "left_eye_centre": (("chin", "pupil"),)})
    assert found == ((), (), (30,), (48,), (54,))


def test_a_scheme_reduced_to_itself_stays() -> None:
    points = np.random.default_rng(0).uniform(1, 99, (68, 2))
    same = face(points, np.full(68, HIDDEN, dtype=np.uint8))
    again = reduction.reduced(same, *reduction.between(IBUG68, "ibug68"))
    assert np.array_equal(again.landmarks, same.landmarks) and np.array_equal(again.states, same.states)


@pytest.mark.parametrize("name", ALL)
def test_mirrored_points_are_derived_from_mirrored_points(name: str) -> None:
    target, derived = ALL[name]
    for other, _ in ALL.values():
        made_of = reduction.groups(other, target, derived)
        for i, j in enumerate(target.mirror):
            assert sorted(int(other.mirror[k]) for k in made_of[i]) == sorted(made_of[j]), target.points[i]


@pytest.mark.parametrize("name", ["five", "aflw19", "cofw29"])
def test_derivations_that_are_built_in_name_points_that_there_are(name: str) -> None:
    assert ALL[name][1] and reduction.unknown_names(name) == []


def test_a_scheme_that_shares_nothing_is_refused_with_those_that_do() -> None:
    with pytest.raises(FacemixError, match=r"scheme hand21: none of its 21 points .* five \(5 of 5 points\)"):
        reduction.between(IBUG68, "hand21")
    with pytest.raises(FacemixError, match="did you mean 'five'"):
        reduction.between(IBUG68, "fiv")
    content = schemes.load("five").as_dict() | {
        "name": "alone", "points": ["left_eye_centre"], "mirror": [], "regions": {}, "skeleton": [], "outline": [],
        "face_sizes": {}, "normalizer": "box_side",
    }  # fmt: skip
    with pytest.raises(FacemixError, match=r"scheme five: 1 of its 5 points can be made from alone, expected two"):
        reduction.between(schemes.parse(content, "alone"), "five")


def test_it_is_said_what_a_scheme_can_be_made_from() -> None:
    assert ("coco17", 3) in reduction.sources("five") and ("ibug68", 5) in reduction.sources("five")
    assert reduction.sources("hand21") == []
    assert reduction.reachable(schemes.load("coco17")) == [("five", 3, 5)]
