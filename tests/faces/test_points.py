"""Points that are no places on the face are refused; what is valid passes."""

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from facemix.faces import schemes
from facemix.faces.face import BrokenFace
from facemix.faces.formats import points
from facemix.faces.formats.pts import parse
from facemix.faces.schemes import ibug68
from toy_five import FACE as FIVE_POINTS
from toy_five import FIVE

FACE = 100 * toy.template() + [300.5, 250.25]
PATH = Path("face.pts")


def with_points(rows, place, face=FACE):
    changed = face.copy()
    changed[list(rows)] = place
    return changed


@pytest.mark.parametrize("place", [(0, 0), (-1, -1), (1, 1)])
@pytest.mark.parametrize("rows", [[3], [0, 1], range(0, 9), range(34)])
def test_what_stands_for_a_missing_point_is_refused_with_its_number(place, rows):
    with pytest.raises(BrokenFace, match=rf"points? {rows[0]}\b.* at \({place[0]}, {place[1]}\), .*hidden or missing"):
        points.checked(PATH, with_points(rows, place), ibug68(), origin=1)


def test_a_missing_point_is_found_close_to_the_face_too():
    face = FACE - FACE.min(axis=0) + 2
    assert points.checked(PATH, face, ibug68())[0].shape == (68, 2)
    with pytest.raises(BrokenFace, match=r"point 17 is at \(0, 0\)"):
        points.checked(PATH, with_points([17], 0, face), ibug68())


@pytest.mark.parametrize("rows", [range(0, 8), [0, 16], [5, 30], [36, 37, 38, 39, 40, 41], range(48, 68)])
def test_points_in_one_place_that_cannot_touch_are_refused(rows):
    with pytest.raises(BrokenFace, match=f"points {rows[0]}, {rows[1]}.* are all at .*expected different places"):
        points.checked(PATH, with_points(rows, FACE.mean(axis=0)), ibug68())


@pytest.mark.parametrize("pairs", [[(61, 67), (62, 66), (63, 65)], [(37, 41), (38, 40), (43, 47), (44, 46)], [(4, 5)]])
def test_closed_lips_and_lids_and_neighbours_may_coincide(pairs):
    face = FACE.copy()
    for a, b in pairs:
        face[a] = face[b]
    np.testing.assert_allclose(points.checked(PATH, face, ibug68())[0], face)


def test_whole_pixels_of_a_small_face_may_coincide():
    assert points.checked(PATH, np.round(12 * toy.template() + 40), ibug68())[0].shape == (68, 2)


@pytest.mark.parametrize("signs", [(-1, -1), (-1, 1), (1, -1)])
@pytest.mark.parametrize("rows", [[5], [5, 6, 7], range(0, 8), [30], [41]])
def test_negated_coordinates_are_refused(signs, rows):
    with pytest.raises(BrokenFace, match=rf"points? {rows[0]}\b.* without the (negative )?sign"):
        points.checked(PATH, with_points(rows, FACE[list(rows)] * signs), ibug68())


@pytest.mark.parametrize("signs", [(-1, -1), (-1, 1), (1, -1)])
@pytest.mark.parametrize("row", range(5))
def test_a_negated_point_of_a_scheme_of_few_is_refused(signs, row):
    face = FIVE_POINTS + 90
    with pytest.raises(BrokenFace, match=rf"point {row} is at .*fits the face without the negative sign.*a hidden"):
        points.checked(PATH, with_points([row], face[row] * signs, face), FIVE)


@functools.cache
def placed(name):
    return schemes.load(name), schemes.layout(name)


@pytest.mark.parametrize("name", ["five", "aflw19", "cofw29", "hand21", "coco17"])
@given(x=st.floats(-0.2, 1.2), y=st.floats(-0.2, 1.2), size=st.floats(5, 500))
def test_a_face_of_few_points_across_the_border_of_its_picture_is_valid(name, x, y, size):
    scheme, layout = placed(name)
    assert points.checked(PATH, size * (layout - [x, y] + 1e-6), scheme)[0].shape == layout.shape


def test_four_of_five_points_in_one_place_are_refused_and_three_are_not():
    assert points.checked(PATH, with_points([2, 3, 4], 7, FIVE_POINTS), FIVE)[0].shape == (5, 2)
    with pytest.raises(BrokenFace, match=r"points 1, 2, 3, 4 are all at \(7, 7\), expected different places"):
        points.checked(PATH, with_points([1, 2, 3, 4], 7, FIVE_POINTS), FIVE)


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(5, 500))
def test_a_face_across_the_border_of_its_picture_is_valid(x, y, size):
    face = size * (toy.template() + [x, y])
    assert points.checked(PATH, face, ibug68())[0].shape == (68, 2)


@pytest.mark.parametrize("place, reason", [((2000, 300), "far from"), ((300, 560), "from its neighbour")])
def test_a_point_away_from_the_face_is_refused(place, reason):
    with pytest.raises(BrokenFace, match=rf"point 37, \[{place[0]}.*, {place[1]}.*{reason}"):
        points.checked(PATH, with_points([37], place), ibug68())


# Dialects of .pts


def read(tmp_path, text):
    path = tmp_path / "face.pts"
    path.write_text(text)
    return parse(path)


def lines(form, rows=FACE):
    return "\n".join(form.format(*row, i=i) for i, row in enumerate(rows)) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        lines("{0},{1}"),
        lines("{0}, {1}"),
        lines("{0};{1}"),
        lines("{0}\t{1}"),
        lines("{0} {1} 0.000"),
        lines("{0} {1} -{i}.5"),
        "68\n" + lines("{0} {1}"),
        "# made by a tool\nversion: 1\nn_points: 68 # iBUG\n{\n" + lines("{0} {1} // {i}") + "}\n",
        "version: 1\r\nn_points: 68\r\n{\r\n" + lines("{0} {1}").replace("\n", "\r\n") + "}\r\n",
        "\ufeffn_points: 68\n" + lines("{0} {1}"),
    ],
)
def test_dialects_of_certain_meaning_are_read(tmp_path, text):
    np.testing.assert_allclose(read(tmp_path, text), FACE, atol=1e-4)


@pytest.mark.parametrize(
    "text, reason",
    [
        (lines("{0} {1}").replace(".", ",", 2), "expected a point 'x y'"),
        (
            lines("{0} {1} 1", FACE[:60]) + lines("{0} {1} 0", FACE[60:]),
            "a third column .* from 0 to 1, which may mark",
        ),
        (lines("{0} {1} 0.9", FACE[:60]) + lines("{0} {1} 0.2", FACE[60:]), "a third column"),
        ("70\n" + lines("{0} {1}"), "the first line says 70 points, found 68"),
        ("n_points: 39\n" + lines("{0} {1}"), "its header says 39 points, found 68"),
        (lines("{i} {0} {1} 1"), "expected a point 'x y'"),
    ],
)
def test_dialects_of_uncertain_meaning_are_refused(tmp_path, text, reason):
    with pytest.raises(BrokenFace, match=reason):
        read(tmp_path, text)
