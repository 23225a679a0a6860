"""Who is drawn: shares, what belongs together, and whose random numbers are whose."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.render.expression import EXPRESSIONS, LIMITS, STRONGEST, expression_units
from facemix.render.eyes import pupil
from facemix.render.head import Head, shaped
from facemix.render.identity import identity
from facemix.render.person import OF_THE_PERSON, SELFIE, Person, person
from facemix.render.population import POPULATIONS, Population, changed
from facemix.render.studio import sit
from facemix.render.surfaces import unit

SYNTHETIC = POPULATIONS["synthetic"]


@pytest.fixture(scope="module")
def head() -> Head:
    return Head()


def drawn(n: int, changes: dict[str, object] | None = None, seed: int = 0) -> list[Person]:
    population = changed(SYNTHETIC, changes or {})
    return [person(population, seed, index) for index in range(n)]


def differing(one: Person, other: Person) -> set[str]:
    """The fields in which two people differ."""
    return {
        field.name for field in dataclasses.fields(Person) if getattr(one, field.name) != getattr(other, field.name)
    }


@pytest.mark.parametrize(
    ("change", "may_differ"),
    [
        ({"yaw_sd": 40.0}, {"yaw", "torso_yaw", "gaze_yaw", "gaze_pitch", "expression"}),
        ({"glasses": 1.0}, {"glasses"}),
        ({"beards": {"full": 1}}, {"beard"}),
        ({"occluder": 1.0}, {"occluder"}),
        ({"distance_median": 5.0}, {"distance"}),
        ({"warmth_sd": 0.0}, {"white_balance"}),
        ({"shape_sd": 0.1}, {"identity"}),
        ({"expressions": {"smile": 1}}, {"expression", "expression_name"}),
    ],
)
def test_what_changes_in_one_topic_leaves_the_others(change: dict[str, object], may_differ: set[str]) -> None:
    for one, other in zip(drawn(30), drawn(30, change), strict=True):
        assert differing(one, other) <= may_differ


def test_some_pictures_in_a_row_show_one_person() -> None:
    pictures = drawn(9, {"pictures": 3})
    assert [one.person for one in pictures] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    first, second, _, stranger = pictures[:4]
    assert not {"identity", "age", "hair", "glasses", "garment", "melanin"} & differing(first, second)
    assert {"expression", "yaw", "light_yaw", "distance", "exposure"} <= differing(first, second)
    assert {"identity", "age", "melanin"} <= differing(second, stranger)
    for room in OF_THE_PERSON:
        assert first.rng(room).random() == second.rng(room).random() != stranger.rng(room).random()
    for room in ("light", "camera", "annotator"):
        assert first.rng(room).random() != second.rng(room).random()


def test_the_camera_stands_where_the_person_says(head: Head) -> None:
    for someone in drawn(12):
        sitting = sit(head, someone, 128)
        marks = sitting.pose.applied(sitting.shape.marks, head.marks_rest)
        middle = (marks.min(0) + marks.max(0)) / 2
        assert sitting.camera.position[2] - middle[2] == pytest.approx(10 * someone.distance)


def test_distances_are_those_of_photographers_and_of_arms() -> None:
    metres = np.array([one.distance for one in drawn(500, {"distance_spread": 0.0, "distance_median": 2.0})])
    assert set(metres[metres > SELFIE[1]]) == {2.0}
    assert np.mean(metres < SELFIE[1]) == pytest.approx(SYNTHETIC.selfies, abs=0.05)
    assert np.median([one.distance for one in drawn(500, {"selfies": 0.0})]) == pytest.approx(1.7, abs=0.12)


def test_people_look_at_the_camera_however_their_heads_are_turned(head: Head) -> None:
    looking = drawn(40, {"gaze_at_camera": 1.0, "yaw_limit": 20.0, "pitch_limit": 12.0, "roll_limit": 15.0})
    for someone in looking:
        sitting = sit(head, someone, 64)
        eyes = []
        for side in ("left", "right"):
            looks_at, centre = pupil(someone, sitting.shape, side)
            eyes.append(np.diff(sitting.pose.applied(np.array([centre, looks_at]), np.array([centre, centre])), axis=0))
        gaze = unit(np.sum(eyes, 0)[0])
        assert np.degrees(np.arccos(gaze[2])) < 15  # from the line to the camera
    turned = [one for one in drawn(400, {"gaze_at_camera": 1.0, "yaw_sd": 40.0}) if abs(one.yaw) > 45]
    assert turned and all(abs(one.gaze_yaw) <= 30 for one in turned)


@given(st.sampled_from(EXPRESSIONS), st.integers(0, 10**6))
def test_units_that_pull_at_the_same_skin_stay_within_limits(name: str, seed: int) -> None:
    units = expression_units(name, np.random.default_rng(seed), 0.05, 0.01)
    assert all(0 < weight <= STRONGEST for weight in units.values())
    for pair, limit in LIMITS.items():
        for side in ("Left", "Right"):
            total = sum(units.get(f"expression/{unit_name}{side}", 0.0) for unit_name in pair)
            assert total <= 1.5 * limit  # sides differ a little


def test_no_face_is_the_same_on_both_sides_and_none_differs_everywhere() -> None:
    counts = [sum(name.startswith("asym/") for name in one.identity) for one in drawn(300)]
    assert 4 <= np.median(counts) <= 14
    assert sum(name.startswith("asym/") for name in drawn(1, {"asymmetry": 0.0})[0].identity) == 0


def test_an_expression_moves_the_face_of_a_child_as_far_as_its_size_allows(head: Head) -> None:
    def moved(age: float) -> tuple[float, float]:
        weights = identity(np.random.default_rng(0), np.full(3, 1 / 3), 0.5, age, 0.0, 0.0, 0.0)
        rest, smiling = (shaped(head, weights, units).marks for units in ({}, {"expression/mouthSmileLeft": 1.0}))
        return float(np.linalg.norm(smiling[54] - rest[54])), float(np.linalg.norm(rest[36] - rest[45]))

    (baby, small), (adult, large) = moved(0.6), moved(30.0)
    assert small < 0.85 * large
    assert baby / small == pytest.approx(adult / large, rel=0.05)


def test_women_differ_from_men_more_than_the_data_says(head: Head) -> None:
    def brows_lips_and_length(male: float) -> np.ndarray:
        weights = identity(np.random.default_rng(0), np.array([1.0, 0, 0]), male, 30.0, 0.0, 0.0, 0.0)
        points = shaped(head, weights, {}).marks
        pairs = ((19, 37), (51, 62), (27, 8))
        lengths = [np.linalg.norm(points[a] - points[b]) for a, b in pairs]
        return np.array(lengths) / np.linalg.norm(points[36] - points[45])

    woman, man = brows_lips_and_length(0.0), brows_lips_and_length(1.0)
    assert woman[0] > 1.2 * man[0]
    assert woman[1] > 1.15 * man[1]
    assert woman[2] < 0.97 * man[2]


def test_every_weight_of_a_population_can_be_set() -> None:
    forced: dict[str, object] = {
        "hats": {"hood": 1}, "hat": 1, "garments": {"suit": 1}, "occluders": {"cup": 1}, "occluder": 1,
        "beards": {"goatee": 1}, "beard": 1, "male": 1, "children": 0, "hair_of_men": {"tied": 1}, "bald": 0,
        "hair_tones": {"red": 1}, "ancestry": {"european": 1},
    }  # fmt: skip
    for one in drawn(20, forced):
        assert (one.hat, one.garment, one.occluder, one.beard, one.hair) == ("hood", "suit", "cup", "goatee", "tied")


@given(st.floats(0, 1), st.floats(0, 1))
def test_low_and_high_of_a_range_must_be_in_order(low: float, high: float) -> None:
    if low <= high:
        Population(contrast_low=low, contrast_high=high)
    else:
        with pytest.raises(ValueError, match=r"population\.contrast_low: found .*; expected at most contrast_high"):
            Population(contrast_low=low, contrast_high=high)
