"""Left and right, told from points alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemix.faces import schemes, sides
from facemix.faces.schemes import Scheme

LAYOUTS = {name: schemes.layout(name) for name in schemes.names()}
FACES = ("ibug68", "wflw98", "lapa106", "cofw29", "aflw19", "five")


def seen(scheme: Scheme, n: int = 12, seed: int = 0, yaw: float = 0.0) -> np.ndarray:
    """Faces (n, K, 2) like the layout, rotated in the picture by any angle and turned by `yaw` degrees at most."""
    rng = np.random.default_rng(seed)
    flat = LAYOUTS[scheme.name] + 0.01 * rng.normal(size=(n, len(scheme), 2)) - 0.5
    turn = rng.uniform(-1, 1, n) * np.radians(yaw)
    flat[..., 0] *= np.cos(turn)[:, None]
    angle = rng.uniform(-np.pi, np.pi, n)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return 200 * flat @ rotation + 500


def measured(points: np.ndarray, scheme: Scheme) -> sides.Sides | None:
    return sides.measure(points, scheme, LAYOUTS[scheme.name])


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("swapped", [False, True])
def test_swapped_sides_are_told_however_faces_are_rotated(name: str, swapped: bool) -> None:
    scheme = schemes.load(name)
    points = seen(scheme, yaw=40)
    found = measured(points[:, scheme.mirror] if swapped else points, scheme)
    assert found is not None and found.faces == 12 and found.swapped == swapped and found.pairs == ()
    assert bool(sides.remarks(found)) == swapped


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_mirrored_pictures_are_swapped_sides(seed: int) -> None:
    scheme = schemes.ibug68()
    found = measured(seen(scheme, seed=seed) * [-1, 1], scheme)
    assert found is not None and found.swapped == 1
    assert "left and right are swapped: in 100% of 12 faces" in sides.remarks(found)[0]


def test_faces_in_profile_say_nothing() -> None:
    scheme = schemes.ibug68()
    points = seen(scheme)
    flat = schemes.layout("ibug68") - 0.5
    profile = flat * [0.2, 1] * 200 + 500 + 0 * points
    assert measured(profile, scheme) is None
    assert measured(profile[:, scheme.mirror], scheme) is None


def test_people_seen_from_behind_are_no_warning_unless_nearly_all_are() -> None:
    scheme = schemes.load("coco17")
    points = seen(scheme, 20)
    points[:17] = points[:17, scheme.mirror]
    assert sides.remarks(measured(points, scheme)) == []
    points[17:] = points[17:, scheme.mirror]
    assert len(sides.remarks(measured(points, scheme))) == 1


def test_hands_and_few_faces_say_nothing() -> None:
    hand = schemes.load("hand21")
    assert measured(seen(hand), hand) is None
    scheme = schemes.ibug68()
    assert measured(seen(scheme, n=4)[:, scheme.mirror], scheme) is None
    assert sides.measure(seen(scheme), scheme, None) is None
    assert sides.remarks(None) == []


def test_single_pairs_in_another_order_are_named() -> None:
    scheme = schemes.ibug68()
    points = seen(scheme)
    a, b = scheme.index("left_mouth_corner"), scheme.index("right_mouth_corner")
    points[:, [a, b]] = points[:, [b, a]]
    found = measured(points, scheme)
    assert found is not None and found.swapped == 0 and found.pairs == (("left_mouth_corner", "right_mouth_corner"),)
    assert "left_mouth_corner and right_mouth_corner" in sides.remarks(found)[0]


def test_faces_are_upright_where_the_layout_is_level() -> None:
    pair = schemes.parse({
        "name": "pupils", "source": "a test", "points": ["left_pupil", "right_pupil"], "regions": {}, "skeleton": [],
        "mirror": [["left_pupil", "right_pupil"]], "normalizer": "box_side",
    }, "pupils")  # fmt: skip
    layout = np.array([[0.9, 0.5], [0.1, 0.5]])
    points = np.array([[[80.0, 20], [30, 22]]] * 6)
    for seen, swapped in ((points, 0), (points[:, ::-1], 1)):
        found = sides.measure(seen, pair, layout)
        assert found is not None and found.swapped == swapped


def test_unlabelled_points_are_left_out() -> None:
    scheme = schemes.ibug68()
    points = seen(scheme)[:, scheme.mirror]
    points[:, 20:45] = np.nan
    points[0] = np.nan
    found = measured(points, scheme)
    assert found is not None and found.faces == 11 and found.swapped == 1


def test_sides_are_told_by_names_or_else_by_places() -> None:
    scheme = schemes.load("five")
    assert sides.of_points(scheme, None) == ["right", "left", "middle", "right", "left"]
    plain = schemes.parse(scheme.as_dict() | {
        "points": list("abcde"), "mirror": [["a", "b"]], "regions": {}, "skeleton": [], "face_sizes": {},
        "normalizer": "box_side",
    }, "plain")  # fmt: skip
    assert sides.of_points(plain, None) == ["middle"] * 5
    assert sides.of_points(plain, schemes.layout("five")) == ["right", "left", "middle", "middle", "middle"]


@pytest.mark.parametrize("name", FACES)
def test_the_layouts_that_are_built_in_have_the_persons_left_on_the_right(name: str) -> None:
    layout = schemes.layout(name)
    left, right = sides.partners(schemes.load(name), layout).T
    assert (layout[left, 0] > layout[right, 0]).all()
