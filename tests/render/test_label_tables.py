"""Label tables: where the points of each scheme are on the head, and what a user's own table may say."""

import dataclasses
import textwrap
from pathlib import Path

import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.render import labels, marks, tables, visibility
from facemix.render.eyes import eyes
from facemix.render.head import Head, Pose, Shape, shaped
from facemix.render.person import Person, person
from facemix.render.population import POPULATIONS, changed
from facemix.render.studio import Studio, landmarks, sit

FRONTAL = Pose(0.0, 0.0, 0.0, 0.0)
SCHEME = schemes.parse(
    {
        "name": "mine",
        "source": "made here",
        "points": ["left", "tip", "right"],
        "mirror": [["left", "right"]],
        "regions": {"all": ["left", "tip", "right"]},
        "skeleton": [],
        "normalizer": "box_side",
    },
    "mine.yaml",
)
PLACES = {"left": {"pupil": "left"}, "tip": 297, "right": [6, 7]}


@pytest.fixture(scope="module")
def template() -> Shape:
    return shaped(Head(), {}, {})


@pytest.fixture(scope="module")
def nobody() -> Person:
    """Looks straight ahead, with nothing before the face."""
    bare = {"occluder": 0, "hat": 0, "glasses": 0, "sunglasses": 0, "wigs": 0}
    drawn = person(changed(POPULATIONS["synthetic"], bare), 0, 0)
    return dataclasses.replace(
        drawn, identity={}, expression={}, gaze_yaw=0.0, gaze_pitch=0.0, pitch=0.0, roll=0.0, hair="bald", beard="none"
    )


@pytest.fixture(params=tables.names())
def table(request: pytest.FixtureRequest) -> tables.Table:
    return tables.load(request.param)


def test_the_68_points_are_where_the_head_is_modelled_by_them(template: Shape) -> None:
    # Vertices of the base mesh, chosen by hand when the head was made: ends of the jaw, brows, nose, eyes and lips.
    by_hand = {0: [5237], 1: [5236, 868], 8: [747], 13: [7574, 11851], 17: [255, 5262], 26: [7024, 11870],
               30: [297], 36: [24], 45: [6808], 48: [425], 54: [7185], 62: [474], 67: [481]}  # fmt: skip
    for point, numbers in by_hand.items():
        rows = [marks.vertex_rows()[number] for number in numbers]
        np.testing.assert_array_equal(template.head.marks_rest[point], template.head.vertices[rows].mean(0))
        np.testing.assert_array_equal(template.marks[point], template.smooth[rows].mean(0))


def test_mirror_partners_are_mirror_images_on_the_template(
    table: tables.Table, template: Shape, nobody: Person
) -> None:
    points = labels.posed_points(table, nobody, template, FRONTAL)
    width = np.ptp(template.marks[:, 0])
    assert np.abs(points[table.scheme.mirror] * [-1, 1, 1] - points).max() < 1e-4 * width


def test_points_of_one_name_have_one_place(template: Shape) -> None:
    places: dict[str, np.ndarray] = {}
    for name in tables.names():
        table = tables.load(name)
        for point, place in zip(table.scheme.points, table.of(template.smooth), strict=True):
            np.testing.assert_array_equal(places.setdefault(point, place), place)


def test_no_two_points_of_the_dense_scheme_are_close(template: Shape) -> None:
    points = tables.load("dense").of(template.smooth)
    distance = np.linalg.norm(points[:, None] - points, axis=2) + 10 * np.eye(len(points))
    nearest = distance.min(1)
    assert len(points) >= 500
    assert nearest.min() > 0.25 * np.median(nearest)
    assert nearest.max() < 3 * np.median(nearest)


def test_a_jaw_of_33_points_runs_through_the_17_and_between_them(template: Shape) -> None:
    jaw = tables.load("wflw98").of(template.smooth)[:33]
    np.testing.assert_array_equal(jaw[::2], template.marks[:17])
    before, after = (np.linalg.norm(jaw[1::2] - end, axis=1) for end in (jaw[:-2:2], jaw[2::2]))
    np.testing.assert_allclose(before, after, rtol=0.15)


def test_a_pupil_is_on_the_cornea_and_follows_the_gaze(template: Shape, nobody: Person) -> None:
    table = tables.load("wflw98")
    pupils = [table.scheme.index(f"{side}_pupil") for side in tables.SIDES]
    looking = dataclasses.replace(nobody, gaze_yaw=20.0)
    ahead, aside = (labels.posed_points(table, one, template, FRONTAL)[pupils] for one in (nobody, looking))
    for mesh, point in zip(eyes(looking, template), aside, strict=True):
        assert np.linalg.norm(mesh.points - point, axis=1).min() < 1e-9
    assert (aside[:, 0] > ahead[:, 0]).all()  # to the own left


def test_equal_points_of_two_schemes_fall_on_equal_pixels(template: Shape, nobody: Person) -> None:
    sitting, outline = sit(template.head, nobody, 64), labels.Outline(template.head)
    wflw = landmarks(sitting, "mesh", outline, tables.load("wflw98"))
    np.testing.assert_array_equal(wflw[76:96], landmarks(sitting, "mesh", outline)[48:68])
    with pytest.raises(FacemixError, match="labels 'annotator': expected one of mesh for scheme wflw98"):
        landmarks(sitting, "annotator", outline, tables.load("wflw98"))


def test_steady_labels_are_those_of_an_annotator_without_tremor(template: Shape, nobody: Person) -> None:
    sitting, outline = sit(template.head, nobody, 64), labels.Outline(template.head)
    steady, annotator = (landmarks(sitting, name, outline) for name in ("steady", "annotator"))
    tremor = labels.tremor(steady, nobody.rng("annotator"))
    np.testing.assert_allclose(annotator - steady, tremor, atol=1e-9)
    assert np.abs(tremor).max() > 0.01


def test_in_profile_the_near_eye_is_seen_and_the_far_one_is_not(nobody: Person) -> None:
    studio = Studio(96, "scalar", tables.load("wflw98"))
    profile = dataclasses.replace(nobody, yaw=75.0, torso_yaw=75.0)  # to the own left: the right side is near
    visible = np.array(studio.photograph(sit(studio.head, profile, 96), "mesh").record["visible"])
    scheme = studio.table.scheme
    near, far = (
        [scheme.index(f"{side}_eye_{corner}_corner") for corner in ("outer", "inner")] for side in ("right", "left")
    )
    assert visible[[near[0], scheme.index("right_pupil")]].all()
    assert not visible[[*far, scheme.index("left_pupil")]].any()
    assert not visible[scheme.index("left_jaw_6")]


def test_a_place_is_a_vertex_the_mean_of_several_a_place_on_a_triangle_or_a_pupil() -> None:
    triangle = {"triangle": [6, 7, 8], "weights": [0.2, 0.3, 0.5]}
    stated = {"scheme": "mine", "places": PLACES | {"tip": triangle}}
    table = tables.parse(stated, SCHEME, "mine.mesh.yaml")
    vertices = np.random.default_rng(0).normal(size=(len(marks.vertex_rows()), 3))
    six, seven, eight = (vertices[marks.vertex_rows()[number]] for number in (6, 7, 8))
    _, tip, right = table.of(vertices)
    np.testing.assert_allclose(tip, 0.2 * six + 0.3 * seven + 0.5 * eight)
    np.testing.assert_allclose(right, (six + seven) / 2)
    assert table.pupils == {0: "left"}


def test_a_point_is_seen_where_most_of_it_lies_on_vertices_that_are() -> None:
    triangle = {"triangle": [6, 7, 8], "weights": [0.2, 0.3, 0.5]}
    table = tables.parse({"scheme": "mine", "places": PLACES | {"tip": triangle}}, SCHEME, "mine.mesh.yaml")

    def visible(*vertices: int, pupils: tuple[bool, bool] = (False, False)) -> list[bool]:
        seen = np.zeros(len(marks.vertex_rows()) + 2, bool)
        seen[[marks.vertex_rows()[number] for number in vertices]] = True
        seen[-2:] = pupils
        packed = visibility.packed(seen)
        np.testing.assert_array_equal(visibility.unpacked(packed), seen)
        return table.visible(visibility.unpacked(packed))

    assert visible() == [False, False, False]
    assert visible(6, 7, 8, pupils=(True, False)) == [True, True, True]  # the left pupil, a triangle, two vertices
    assert visible(8, 7, pupils=(False, True)) == [False, True, False]
    assert visible(8) == [False, False, False]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"tip": 99999}, "places: tip: found 99999, expected the number of a vertex of the hm08 base mesh"),
        ({"tip": "nose"}, "places: tip: found 'nose'"),
        ({"tip": []}, r"places: tip: found \[\], expected a vertex"),
        ({"tip": {"pupil": "middle"}}, "places: tip: pupil: found 'middle', expected left or right"),
        ({"tip": {"triangle": [6, 7], "weights": [0.5, 0.5]}}, "tip: triangle: found .* expected three vertices"),
        ({"tip": {"triangle": [6, 7, 8], "weights": [0.5, 0.5, 0.5]}}, "tip: weights: .* add up to 1; .* 1.5"),
        ({"tip": {"triangle": [6, 7, 8], "weights": [1.5, -0.5, 0]}}, "tip: weights: .* three numbers, at least 0"),
        ({"tip": {"triangle": [6, 7, 8], "weights": [float("nan"), 0.5, 0.5]}}, "tip: weights"),
        ({"tips": 297}, r"places: tips: scheme mine has no such point \(did you mean 'tip'\?\)"),
    ],
)
def test_a_place_that_cannot_be_is_named(places: dict[str, object], message: str) -> None:
    with pytest.raises(FacemixError, match=f"mine.mesh.yaml: .*{message}"):
        tables.parse({"scheme": "mine", "places": PLACES | places}, SCHEME, "mine.mesh.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"scheme": "mine", "places": {"tip": 297}}, "found 1 points, expected the 3 of mine; missing: left, right"),
        ({"scheme": "yours", "places": PLACES}, "scheme: found 'yours', expected 'mine'"),
        ({"scheme": "mine", "places": [1, 2, 3]}, r"places: found \[1, 2, 3\]"),
        ({"scheme": "mine", "place": PLACES}, "place: no such key"),
        (None, "found None, expected the keys scheme, source and places"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_its_scheme_is_refused(content: object, message: str) -> None:
    with pytest.raises(FacemixError, match=f"mine.mesh.yaml.*{message}"):
        tables.parse(content, SCHEME, "mine.mesh.yaml")


def test_a_table_of_ones_own_is_found_beside_its_scheme(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        textwrap.dedent("""\
            name: mine
            source: made here
            points: [left, tip, right]
            mirror: [[left, right]]
            regions: {all: [left, tip, right]}
            skeleton: []
            normalizer: box_side
        """)
    )
    with pytest.raises(FacemixError, match=r"scheme 'mine': no table .* yours is a file .*mine\.mesh\.yaml"):
        tables.load("mine", tmp_path)
    (tmp_path / "mine.mesh.yaml").write_text("scheme: mine\nplaces: {left: {pupil: left}, tip: 297, right: [6, 7]}\n")
    assert tables.load("mine", tmp_path).scheme.points == ("left", "tip", "right")
    assert "mine" in tables.names(tmp_path)
    assert "mine.mesh" not in schemes.names(tmp_path)


def test_a_table_may_not_take_the_place_of_one_that_is_built_in(tmp_path: Path) -> None:
    (tmp_path / "five.mesh.yaml").write_text("scheme: five\nplaces: {}\n")
    with pytest.raises(FacemixError, match=r"five\.mesh\.yaml: a table of this scheme is built in"):
        tables.load("five", tmp_path)


def test_the_digest_of_a_table_follows_each_place() -> None:
    one, other = (
        tables.parse({"scheme": "mine", "places": PLACES | {"tip": tip}}, SCHEME, "mine.mesh.yaml")
        for tip in (297, 317)
    )
    assert one.digest() != other.digest()
