"""Hair grows where it should: on the head, not in it and not across the face."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from facemix.render.hair import HAT_LINE, Groom, brows, hair
from facemix.render.head import Head, Shape, shaped
from facemix.render.person import Person, person
from facemix.render.population import HAIR_STYLES, POPULATIONS, WIGS, changed
from facemix.render.strands import behind_skull, ribbons
from facemix.render.wigs import _loaded

AHEAD = np.array([0.0, 0, 1])
SINKING = -0.03  # decimetres: what the grid of distances may be wrong by
HALF = 0.5  # detail


@functools.cache
def head_and_groom() -> tuple[Head, Groom]:
    head = Head()
    return head, Groom(head)


def someone(**changes: object) -> Person:
    plain = {"hat": "none", "beard": "none", "male": 0.0, "age": 30.0, "identity": {}, "expression": {}}
    return dataclasses.replace(person(POPULATIONS["synthetic"], 0, 3), **(plain | changes))  # type: ignore[arg-type]


def hair_points(who: Person) -> np.ndarray:
    """All points of the hair of someone with the template's head."""
    head, groom = head_and_groom()
    meshes = hair(who, shaped(head, {}, {}), groom, AHEAD, HALF)
    return np.concatenate([mesh.points for mesh in meshes]) if meshes else np.zeros((0, 3))


def template() -> Shape:
    return shaped(head_and_groom()[0], {}, {})


def test_the_same_person_has_the_same_hair() -> None:
    np.testing.assert_array_equal(hair_points(someone(hair="curly")), hair_points(someone(hair="curly")))


@pytest.mark.parametrize("style", HAIR_STYLES + WIGS)
def test_no_strand_grows_into_the_head(style: str) -> None:
    points = hair_points(someone(hair=style, male=1.0, age=60.0))
    if len(points):
        distance, _ = head_and_groom()[1].around(points)
        assert (distance < SINKING).mean() < 0.004


@pytest.mark.parametrize("style", ("bob", "long"))
def test_long_hair_leaves_the_face_free(style: str) -> None:
    x, y, z = hair_points(someone(hair=style)).T
    assert not ((np.abs(x) < 0.35) & (y > 6.4) & (y < 7.5) & (z > 1.1)).any()


@pytest.mark.parametrize("style", WIGS)
def test_wigs_cover_the_crown_and_leave_chin_and_nose_free(style: str) -> None:
    x, y, z = hair_points(someone(hair=style, hair_tone=0)).T
    assert y.max() > 8.4
    assert not ((np.abs(x) < 0.12) & (y > 6.3) & (y < 6.8) & (z > 1.1)).any()


def test_wigs_follow_the_head_they_are_worn_on() -> None:
    head, groom = head_and_groom()
    who = someone(hair="short04")
    wide = shaped(head, {"head/head-scale-horiz-incr": 1.0}, {})
    usual, worn = (hair(who, shape, groom, AHEAD, HALF)[1].points for shape in (template(), wide))
    assert np.ptp(worn[:, 0]) > np.ptp(usual[:, 0]) + 0.05


def test_nobody_wears_a_wig_under_a_hat_and_all_do_where_asked_for() -> None:
    everybody = changed(POPULATIONS["synthetic"], {"wigs": 1.0, "hat": 0.5, "children": 0})
    for who in (person(everybody, 0, index) for index in range(200)):
        assert (who.hair in WIGS) == (who.hat == "none" and who.hair not in ("bald", "buzz"))


def test_a_bald_head_has_no_hair_in_front() -> None:
    for age in (25.0, 70.0):
        points = hair_points(someone(hair="bald", male=1.0, age=age))
        assert not ((points[:, 2] > 1.0) & (points[:, 1] > 7.6)).any()


@pytest.mark.parametrize("style", ("short", "curly", "long", "tied"))
def test_a_hat_presses_the_hair_flat(style: str) -> None:
    points = hair_points(someone(hair=style, hat="beanie"))
    distance, _ = head_and_groom()[1].around(points)
    assert distance[points[:, 1] > HAT_LINE + 0.05].max(initial=0) < 0.05


def test_brows_lie_on_their_landmarks() -> None:
    who, groom = someone(), head_and_groom()[1]
    points = brows(who, template(), groom, AHEAD, HALF)[0].points
    curve = groom.brow_marks
    for side, ends in ((-1, curve[:5]), (1, curve[5:])):
        brow = points[points[:, 0] * side > 0]
        inner = np.linspace(ends[1], ends[3], 50)
        middle = brow[np.abs(brow[:, 0] - ends[2, 0]) < 0.05].mean(0)
        assert np.linalg.norm(inner - middle, axis=1).min() < 0.06


def test_brows_rise_with_the_face() -> None:
    head, groom = head_and_groom()
    name = next(name for name in head.names if "browouterup" in name.lower())

    def height(expression: dict[str, float]) -> float:
        return float(brows(someone(), shaped(head, {}, expression), groom, AHEAD, HALF)[0].points[:, 1].mean())

    assert height({name: 1.0}) > height({}) + 0.005


@pytest.mark.parametrize("kind", ("stubble", "moustache", "goatee", "full"))
def test_beards_grow_on_the_lower_face(kind: str) -> None:
    points = hair_points(someone(hair="bald", male=1.0, beard=kind))
    assert len(points)
    assert points[:, 1].max() < 7.35
    assert points[:, 2].min() > 0.3


@pytest.mark.parametrize(("curled", "triangles"), [(False, 5), (True, 10)])
def test_a_ribbon_covers_its_strand(curled: bool, triangles: int) -> None:
    strand = np.stack([np.zeros(6), np.linspace(0, 1, 6), np.zeros(6)], 1).astype(np.float32)[None]
    mesh = ribbons(strand, np.full((1, 6), 0.1), np.ones((1, 6, 3)), strand * 0, AHEAD, strand, curled=curled)
    a, b, c = mesh.points[mesh.triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert len(mesh.triangles) == triangles
    assert area == pytest.approx(
        0.1 if curled else 0.09
    )  # where the edges take turns, half of the last step is missing


def test_what_the_skull_hides_lies_behind_it() -> None:
    behind, beside, before = np.array([[0, 7.5, -1.0], [1.2, 7.5, -1.0], [0, 7.5, 2.0]], np.float32)
    np.testing.assert_array_equal(behind_skull(np.stack([behind, beside, before]), AHEAD), [True, False, False])
    np.testing.assert_array_equal(behind_skull(np.stack([behind, before]), -AHEAD), [False, True])


@pytest.mark.parametrize("mirrored", (False, True))
def test_a_wig_is_worn_as_it_was_modelled_on_the_head_it_was_modelled_on(mirrored: bool) -> None:
    _, groom = head_and_groom()
    worn = _loaded("short04", 0.1, mirrored, groom)
    np.testing.assert_allclose(worn.weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(worn.anchors.carried(template(), groom), 0, atol=1e-6)
    outside, _ = groom.around(worn.points)
    assert (outside < SINKING).mean() < 0.004
