"""Landmark schemes: laws of those that are built in, and a message for every mistake in a file."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.stages import scheme as stage

BUILT_IN = [path.stem for path in sorted(schemes.BUILT_IN.glob("*.yaml"))]
ALL = {name: schemes.load(name) for name in BUILT_IN}

built_in = pytest.mark.parametrize("scheme", ALL.values(), ids=ALL)

GOOD: dict[str, Any] = {
    "name": "mine",
    "source": "drawn by hand",
    "points": ["left_eye", "right_eye", "nose", "chin"],
    "mirror": [["left_eye", "right_eye"]],
    "regions": {"eyes": ["left_eye", "right_eye"], "nose": ["nose"]},
    "skeleton": [["left_eye", "nose", "right_eye", "left_eye"], ["nose", "chin"]],
    "outline": ["chin"],
    "face_sizes": {"eyes": {"between": [["left_eye"], ["right_eye"]], "thresholds": [8, 10]}},
    "normalizer": "eyes",
}


def test_ibug68_is_what_300w_labels() -> None:
    scheme = schemes.ibug68()
    jaw = list(range(16, -1, -1))
    assert scheme.mirror[:17].tolist() == jaw and scheme.outline == tuple(range(17))
    assert {name: (points[0], points[-1]) for name, points in scheme.regions.items()} == {
        "jaw": (0, 16), "brows": (17, 26), "nose": (27, 35), "eyes": (36, 47), "mouth": (48, 67)
    }  # fmt: skip
    assert sorted(i for points in scheme.regions.values() for i in points) == list(range(68))
    for a, b in [(17, 26), (31, 35), (36, 45), (37, 44), (39, 42), (40, 47), (48, 54), (59, 55), (60, 64), (67, 65)]:
        assert (scheme.mirror[a], scheme.mirror[b]) == (b, a)
    outer_eye, inter_pupil = scheme.face_sizes["outer_eye"], scheme.face_sizes["inter_pupil"]
    assert outer_eye.between == ((36,), (45,)) and outer_eye.thresholds == (8, 10)
    assert inter_pupil.between == (tuple(range(36, 42)), tuple(range(42, 48))) and inter_pupil.thresholds == (10,)
    ends = [(0, 16), (17, 21), (22, 26), (27, 30), (31, 35), (36, 41), (42, 47), (48, 59), (60, 67)]
    assert [c.points for c in scheme.skeleton] == [tuple(range(first, last + 1)) for first, last in ends]
    assert [c.closed for c in scheme.skeleton] == [False] * 5 + [True] * 4


@built_in
def test_mirroring_twice_changes_nothing(scheme: schemes.Scheme) -> None:
    assert scheme.mirror[scheme.mirror].tolist() == list(range(len(scheme)))
    with pytest.raises(ValueError, match="read-only"):
        scheme.mirror[0] = 0


@built_in
def test_every_index_is_one_of_a_point(scheme: schemes.Scheme) -> None:
    used = [scheme.outline, *scheme.regions.values(), *(curve.points for curve in scheme.skeleton)]
    used += [group for size in scheme.face_sizes.values() for group in size.between]
    assert all(0 <= i < len(scheme) for indices in used for i in indices)


@built_in
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_face_has_the_same_sizes_in_the_mirror(scheme: schemes.Scheme, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(len(scheme), 2))
    mirrored = points[scheme.mirror] * [-1, 1]
    for size in scheme.face_sizes.values():
        a, b = ([face[list(group)].mean(axis=0) for group in size.between] for face in (points, mirrored))
        assert np.linalg.norm(a[0] - a[1]) == pytest.approx(np.linalg.norm(b[0] - b[1]))


@built_in
def test_a_plain_dict_makes_the_same_scheme_again(scheme: schemes.Scheme) -> None:
    again = schemes.parse(scheme.as_dict(), "a pack")
    for field in ("name", "points", "regions", "skeleton", "outline", "face_sizes", "normalizer", "source"):
        assert getattr(again, field) == getattr(scheme, field)
    assert again.mirror.tolist() == scheme.mirror.tolist()


@built_in
def test_partners_are_called_by_the_two_sides(scheme: schemes.Scheme) -> None:
    sides = [(name, scheme.points[scheme.mirror[i]]) for i, name in enumerate(scheme.points) if "left_" in name]
    assert all(partner == name.replace("left_", "right_") for name, partner in sides)


@built_in
def test_the_picture_of_a_face_is_symmetric_and_has_the_person_s_left_to_the_right(scheme: schemes.Scheme) -> None:
    positions = schemes.layout(scheme.name)
    if positions is None or scheme.name == "hand21":
        pytest.skip("states no positions, or is a hand")
    assert positions[scheme.mirror] * [-1, 1] + [1, 0] == pytest.approx(positions, abs=0.01)
    assert all(x > 0.5 for name, (x, _) in zip(scheme.points, positions, strict=True) if name.startswith("left_"))


def test_points_may_be_numbered() -> None:
    content = {**copy.deepcopy(GOOD), "points": {"count": 3, "prefix": "p"}, "mirror": [["p0", "p2"]], "outline": []}
    content |= {"regions": {}, "skeleton": [], "face_sizes": {}, "normalizer": "box_side"}
    scheme = schemes.parse(content, "f.yaml")
    assert scheme.points == ("p0", "p1", "p2")
    assert scheme.mirror.tolist() == [2, 1, 0]


def test_a_curve_that_ends_where_it_begins_is_closed() -> None:
    closed, open_ = schemes.parse(GOOD, "f.yaml").skeleton
    assert (closed.points, closed.closed) == ((0, 2, 1), True)
    assert closed.pairs() == [(0, 2), (2, 1), (1, 0)]
    assert open_.pairs() == [(2, 3)]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("points", ["nose", "nose"], "points: nose stands there twice"),
        ("points", [], "points: found [], expected at least one point"),
        ("points", "nose", "points: found 'nose', expected a list of names"),
        ("points", ["Left eye"], "points[0]: found 'Left eye', expected a name of small letters, digits and _"),
        ("points", [3], "points[0]: found 3, expected a name"),
        ("points", {"count": 0, "prefix": "p"}, "points: count: found 0, expected a number of points"),
        ("points", {"count": 2}, "points: prefix: found None, expected a name"),
        ("points", {"number": 2}, "points: number: no such key"),
        ("mirror", [["nose", "rihgt_eye"]], "mirror[0]: no point is called 'rihgt_eye' (did you mean 'right_eye'?)"),
        ("mirror", [["nose", "chin"], ["chin", "nose"]], "mirror[1]: chin already has a partner in pair 0"),
        ("mirror", [["nose", "chin"], ["left_eye", "nose"]], "mirror[1]: nose already has a partner in pair 0"),
        ("mirror", [["nose", "nose"]], "mirror[0]: nose stands there twice"),
        ("mirror", [["left_eye"]], "mirror[0]: found ['left_eye'], expected two points"),
        ("mirror", None, "mirror: found None, expected a list of pairs, [] if"),
        ("regions", {"eyes": ["eye"]}, "regions: eyes: no point is called 'eye'"),
        ("regions", {"eyes": ["nose", "nose"]}, "regions: eyes: nose stands there twice"),
        ("regions", {"eyes": []}, "regions: eyes: found [], expected at least one point"),
        ("regions", {"my eyes": ["nose"]}, "regions: found 'my eyes', expected a name"),
        ("regions", {"all": ["nose", "chin"]}, "regions: all: found ['nose', 'chin'], expected all points"),
        ("regions", {"nme": ["nose"]}, "regions: nme: tables of errors have a column of this name; give it another"),
        ("regions", ["eyes"], "regions: found ['eyes'], expected regions with their points"),
        ("skeleton", [["nose"]], "skeleton[0]: found ['nose'], expected at least two points"),
        ("skeleton", [["nose", "chn"]], "skeleton[0]: no point is called 'chn' (did you mean 'chin'?)"),
        ("skeleton", [["nose", "chin", "nose", "left_eye"]], "skeleton[0]: nose stands there twice"),
        ("outline", ["jaw"], "outline: no point is called 'jaw'"),
        ("face_sizes", {"box_side": {}}, "face_sizes: box_side: every scheme has this size already"),
        ("face_sizes", {"eyes": {"betwen": []}}, "face_sizes: eyes: betwen: no such key (did you mean 'between'?)"),
        ("normalizer", "eye", "normalizer: found 'eye', expected one of eyes, box_side, box_diagonal (did you mean"),
        ("normalizer", 3, "normalizer: found 3, expected one of"),
        ("source", " ", "source: found ' ', expected a text"),
        ("name", "My scheme", "name: found 'My scheme', expected a name"),
        ("layout", [[0.5, 0.5]], "layout: found 1 positions, expected 4"),
        ("layout", [[0, 0], [1, 0], [0.5, 2], [0.5, 1]], "layout[2]: found [0.5, 2], expected [x, y], both from"),
        ("symmetry", [], "symmetry: no such key"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key(key: str, value: object, message: str) -> None:
    content = copy.deepcopy(GOOD) | {key: value}
    with pytest.raises(FacemixError, match=re.escape(f"f.yaml: {message}")):
        schemes.parse(content, "f.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("between", [["left_eye"], ["nose"]], "the size would change in it"),
        ("between", [["left_eye"], ["left_eye"]], "left_eye stands there twice"),
        ("between", [["left_eye"]], "expected two lists of points"),
        ("between", [["left_eye"], []], "expected two lists of points"),
        ("between", [["left_eye"], "right_eye"], "expected a list of points"),
        ("between", None, "expected two lists of points"),
        ("thresholds", [], "expected at least one error in %, above 0"),
        ("thresholds", [0], "expected at least one error in %, above 0"),
        ("thresholds", ["8"], "expected at least one error in %, above 0"),
        ("thresholds", [True], "expected at least one error in %, above 0"),
        ("thresholds", [float("nan")], "expected at least one error in %, above 0"),
        ("thresholds", [8, 8], "8 stands there twice"),
        ("thresholds", None, "expected a list of errors in %"),
    ],
)
def test_a_mistake_in_a_face_size_is_named_with_its_key(key: str, value: object, message: str) -> None:
    content = copy.deepcopy(GOOD)
    content["face_sizes"]["eyes"][key] = value
    with pytest.raises(FacemixError, match=re.escape(f"f.yaml: face_sizes: eyes: {key}: ") + ".*" + re.escape(message)):
        schemes.parse(content, "f.yaml")


@pytest.mark.parametrize("key", ["name", "source", "points", "mirror", "regions", "skeleton", "normalizer"])
def test_a_missing_key_is_named(key: str) -> None:
    content = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(FacemixError, match=f"f.yaml: {key} is missing"):
        schemes.parse(content, "f.yaml")


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_a_file_without_keys_is_refused(content: object) -> None:
    with pytest.raises(FacemixError, match="f.yaml: found .*, expected keys with values"):
        schemes.parse(content, "f.yaml")


MINE = """\
name: mine
source: drawn by hand
points: [left, right]
mirror: [[left, right]]
regions: {all: [left, right]}
skeleton: [[left, right]]
normalizer: box_side
layout: [[1, 0.5], [0, 0.5]]
"""


def test_a_scheme_of_one_s_own_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    assert schemes.load("mine", tmp_path).points == ("left", "right")
    assert schemes.names(tmp_path) == sorted([*BUILT_IN, "mine"])
    assert np.array_equal(schemes.layout("mine", tmp_path), [[1, 0.5], [0, 0.5]])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other", MINE, "other.yaml: name: found 'mine', expected 'other', as the file is called"),
        ("mine", "points: [", "mine.yaml: not valid YAML"),
        ("mine", MINE + "name: mine\n", "mine.yaml: not valid YAML"),
        ("mine", "", "mine.yaml: found None, expected keys with values"),
        ("ibug68", MINE, "ibug68.yaml: a scheme of this name is built in; give yours another name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FacemixError, match=re.escape(message)):
        schemes.load(name, tmp_path)


def test_near_matches_of_an_unknown_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match="'ibug86': not found .did you mean 'ibug68'"):
        schemes.load("ibug86", tmp_path)
    with pytest.raises(FacemixError, match="no point is called 'nose_tpi' .did you mean 'nose_tip'"):
        schemes.ibug68().index("nose_tpi")
    assert schemes.ibug68().index("nose_tip") == 30


def test_points_in_the_corners_are_whole() -> None:
    scheme = schemes.parse(GOOD, "f.yaml")
    dots = stage.drawn(scheme, np.array([[0, 0], [1, 0], [0, 1], [1, 1]]))[:, : stage.SIDE] < 255
    assert not (dots[:3].any() or dots[-3:].any() or dots[:, :3].any())


def test_a_picture_shows_every_point_in_the_colour_of_its_region() -> None:
    scheme, positions = schemes.parse(GOOD, "f.yaml"), np.array([[0.75, 0.25], [0.25, 0.25], [0.5, 0.5], [0.5, 0.75]])
    picture = stage.drawn(scheme, positions)
    places = np.round(stage.MARGIN + positions * (stage.SIDE - 1 - 2 * stage.MARGIN)).astype(int)
    assert [tuple(picture[y, x]) for x, y in places] == [
        stage.REGIONS[0],
        stage.REGIONS[0],
        stage.REGIONS[1],
        stage.INK,
    ]


def test_the_command_lists_describes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage.show(None)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == schemes.names()
    stage.show("five", tmp_path / "five.png")
    assert "5 points, 2 mirror pairs, 1 without a partner" in capsys.readouterr().out
    assert (tmp_path / "five.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        (None, "a.png", "found no scheme to draw"),
        ("five", "a.jpg", "expected a file that ends in .png"),
        ("mediapipe478", "a.png", "states no positions"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused(tmp_path: Path, name: str | None, out: str, message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        stage.show(name, tmp_path / out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("closed", "expected"), [(False, [(3, 4), (4, 5)]), (True, [(3, 4), (4, 5), (5, 3)])])
def test_only_closed_curves_go_round(closed: bool, expected: list[tuple[int, int]]) -> None:
    assert schemes.Curve(points=(3, 4, 5), closed=closed).pairs() == expected


def test_derived_points_are_no_part_of_a_scheme_but_checked_with_it() -> None:
    found = schemes.derived("five")
    assert found["nose_tip"] == (("vertex_1",), ("nose",)) and found["left_mouth_corner"] == (("vertex_291",),)
    assert "derived" not in schemes.load("five").as_dict()
    schemes.parse(GOOD | {"derived": {"nose": ["a", "b"], "chin": [["a"], ["b", "c"]]}}, "mine.yaml")


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ({"nos": ["a"]}, "no point is called 'nos' (did you mean 'nose'?)"),
        ({"nose": "a"}, "nose: found 'a', expected names of another scheme's points"),
        ({"nose": []}, "at least one name"),
        ({"nose": [["a"], []]}, "at least one name"),
        ({"nose": ["a", "a"]}, "a stands there twice"),
        ({"nose": ["A b"]}, "a name of small letters"),
        ({"nose": [["a"], "b"]}, "expected"),
        (["nose"], "expected points with the names whose mean they are"),
    ],
)
def test_mistakes_in_derived_points_are_named(derived: object, message: str) -> None:
    with pytest.raises(FacemixError, match=re.escape(message)) as error:
        schemes.parse(GOOD | {"derived": derived}, "mine.yaml")
    assert "mine.yaml: derived" in str(error.value)
