"""Clothing, glasses, hats and things held before the face: geometry, without a renderer."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from facemix.render import occluders as occluder_room
from facemix.render.camera import Camera
from facemix.render.clothing import clothing
from facemix.render.glasses import OUTLINE, frame, glasses
from facemix.render.hats import hat
from facemix.render.head import Head, rotation, shaped
from facemix.render.lens import glazed, panes
from facemix.render.noise import Noise
from facemix.render.occluders import occluder
from facemix.render.person import person
from facemix.render.population import GARMENTS, HATS, OCCLUDERS, POPULATIONS
from facemix.render.surfaces import joined

BROWS = slice(17, 27)


@pytest.fixture(scope="module")
def head():
    return Head()


@pytest.fixture(scope="module")
def noise():
    return Noise()


def drawn(head, index, **forced):
    """Person `index` with some choices forced, and the shape of the head."""
    someone = dataclasses.replace(person(POPULATIONS["synthetic"], 0, index), **forced)
    return someone, shaped(head, someone.identity, someone.expression)


def everything(someone, shape, noise):
    view = rotation(someone.yaw, someone.pitch, someone.roll).T @ np.array([0.0, 0, 1])
    frames, lenses = glasses(someone, shape)
    return [
        *clothing(someone, shape, noise), *frames, *lenses, *hat(someone, shape),
        *occluder(someone, shape, view),
    ]  # fmt: skip


def test_the_same_person_wears_the_same(head, noise):
    choices = {"glasses": "sun", "hat": "beanie", "occluder": "phone"}
    first, second = (everything(*drawn(head, 3, **choices), noise) for _ in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.colours, other.colours)


def test_nothing_is_worn_by_who_wears_nothing(head):
    someone, shape = drawn(head, 0, glasses="none", hat="none", occluder="none")
    assert glasses(someone, shape) == ([], [])
    assert hat(someone, shape) == []
    assert occluder(someone, shape, np.array([0.0, 0, 1])) == []


def test_meshes_are_sound(head, noise):
    for index in range(100):
        choices = {
            "glasses": ("clear", "sun")[index % 2],
            "hat": HATS[1:][index % 4],
            "occluder": OCCLUDERS[1:][index % 4],
        }
        for mesh in everything(*drawn(head, index, **choices), noise):
            n = len(mesh.points)
            assert mesh.normals.shape == mesh.rest.shape == (n, 3)
            assert mesh.colours.shape[0] == n
            assert mesh.triangles.dtype == np.uint32
            assert mesh.triangles.max() < n
            for values in (mesh.points, mesh.rest, mesh.colours):
                assert np.isfinite(values).all()
            assert mesh.colours.min() >= 0
            assert mesh.colours.max() <= 1
            used = np.unique(mesh.triangles)
            np.testing.assert_allclose(np.linalg.norm(mesh.normals[used], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("garment", [name for name in GARMENTS if name != "bare"])
def test_each_garment_covers_the_shoulders_and_leaves_the_chin(head, noise, garment):
    for index in range(4):
        someone, shape = drawn(head, index, garment=garment)
        cloth = joined(clothing(someone, shape, noise))
        worn = cloth.points[np.unique(cloth.triangles)]
        assert worn[:, 0].min() < -0.8 and worn[:, 0].max() > 0.8
        assert worn[:, 1].min() < 1.5  # it hangs down farther than the template's body goes
        _, nearest = cKDTree(worn).query(shape.marks)
        assert (worn[nearest, 2] < shape.marks[:, 2] + 0.1).all()


@pytest.mark.parametrize("kind", ["clear", "sun"])
def test_lenses_stand_before_the_eyeballs_and_the_skin(head, kind):
    for index in range(30):
        someone, shape = drawn(head, index, glasses=kind)
        skin, _ = shape.skin
        tree = cKDTree(skin)
        for side, lens in zip(("l", "r"), glasses(someone, shape)[1], strict=True):
            centre, radius = shape.eye(side)
            assert lens.points[:, 2].mean() > centre[2] + 1.06 * radius
            near = np.linalg.norm(lens.points[:, :2] - centre[:2], axis=1) < 0.1
            assert near.any() and (lens.points[near, 2] > centre[2] + 1.06 * radius + 0.05).all()
            distance, nearest = tree.query(lens.points)
            before = lens.points[:, 2] - skin[nearest, 2]
            assert (before[distance < 0.1] > -0.02).all()


def test_frames_do_not_enter_the_face(head):
    for index in range(40):
        someone, shape = drawn(head, index, glasses="clear")
        fit = frame(someone, shape)
        skin, normals = shape.skin
        tree = cKDTree(skin)
        for outline in fit.outlines.values():
            assert outline.shape == (OUTLINE, 3)
            beside_nose = np.abs(outline[:, 0]) < 0.2
            _, nearest = tree.query(outline)
            outside = ((outline - skin[nearest]) * normals[nearest]).sum(1) - fit.radii.max()
            assert (outside[~beside_nose] > -0.02).all()


def test_arms_reach_the_ears(head):
    rest, _ = head.skin_rest
    for index in range(20):
        someone, shape = drawn(head, index, glasses="clear")
        skin, _ = head.parts["skin"].shaped(shape.neutral)
        for side, arm in frame(someone, shape).arms.items():
            ear = skin[(head.skin_mask("ears") > 0.5) & (side * rest[:, 0] > 0)]
            assert cKDTree(ear).query(arm)[0].min() < 0.1


def test_hats_leave_the_brows_free(head):
    free = []
    for index in range(50):
        someone, shape = drawn(head, index, hat=HATS[1:][index % 4])
        covering = joined(hat(someone, shape))
        free.append(not hidden(covering, shape.marks[BROWS]).any())
    assert np.mean(free) >= 0.9


def hidden(mesh, points):
    """Which points (n, 3) lie behind a mesh for someone far in front, (n,)."""
    a, b, c = (mesh.points[mesh.triangles[:, k]] for k in range(3))
    twice_area = cross(b - a, c - a)
    found = []
    for point in points:
        shares = np.stack([cross(b - point, c - point), cross(c - point, a - point), cross(a - point, b - point)], 1)
        inside = (shares * np.sign(twice_area)[:, None] >= 0).all(1) & (np.abs(twice_area) > 1e-12)
        z = (shares[inside] * np.stack([a[inside, 2], b[inside, 2], c[inside, 2]], 1)).sum(1) / twice_area[inside]
        found.append((z > point[2]).any())
    return np.array(found)


def cross(u, v):
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def test_hats_hold_the_skull(head):
    rest, _ = head.skin_rest
    crown = np.argmax(rest[:, 1])
    for index in range(12):
        someone, shape = drawn(head, index, hat=HATS[1:][index % 4])
        skin, _ = head.parts["skin"].shaped(shape.neutral)
        covering = joined(hat(someone, shape))
        assert hidden(turned_up(covering), turned_up_points(skin[crown : crown + 1])).all()


def turned_up(mesh):
    return dataclasses.replace(mesh, points=turned_up_points(mesh.points))


def turned_up_points(points):
    """So that up becomes forward."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1)


@pytest.mark.parametrize("place", occluder_room.PLACES)
def test_hands_stay_out_of_the_face(head, monkeypatch, place):
    monkeypatch.setattr(occluder_room, "PLACES", {name: float(name == place) for name in occluder_room.PLACES})
    for index in range(4):
        someone, shape = drawn(head, index, occluder="hand")
        hand = occluder(someone, shape, np.array([0.0, 0, 1]))[0]
        skin, normals = shape.skin
        distance, nearest = cKDTree(skin).query(hand.points)
        outside = ((hand.points - skin[nearest]) * normals[nearest]).sum(1)
        assert np.mean((outside < -0.05) & (distance < 0.3)) < 0.1


def test_the_other_hand_is_a_mirror_image(head):
    sides = set()
    for index in range(12):
        someone, shape = drawn(head, index, occluder="hand")
        hand = occluder(someone, shape, np.array([0.0, 0, 1]))[0]
        corners = hand.points[hand.triangles]
        volume = (np.cross(corners[:, 0], corners[:, 1]) * corners[:, 2]).sum()
        outward = np.mean(((corners.mean(1) - hand.points.mean(0)) * hand.normals[hand.triangles[:, 0]]).sum(1))
        sides.add(someone.rng("occluder").random() < 0.5)
        assert np.isfinite(volume) and outward > 0
    assert sides == {True, False}


SIZE = 64


@pytest.fixture
def camera():
    return Camera(np.array([0.0, 7.2, 9.0]), 14.0, SIZE)


def test_dark_lenses_hide_and_clear_ones_do_not(head, camera):
    depth, grey = np.zeros((SIZE, SIZE), np.float32), np.full((SIZE, SIZE, 3), 0.5, np.float32)
    night = np.zeros((8, 16, 3), np.float32)
    for kind, passing in (("clear", (0.8, 1.0)), ("sun", (0.0, 0.3))):
        glass = panes(joined(glasses(*drawn(head, 0, glasses=kind))[1]), camera, depth)
        inside = glass.share > 0.99
        assert inside.sum() > 50
        assert glass.dark[inside].all() == (kind == "sun")
        picture = glazed(grey, glass, camera, night)
        assert passing[0] <= picture[inside].mean() / 0.5 <= passing[1]
        np.testing.assert_array_equal(picture[glass.share == 0], grey[glass.share == 0])


def test_lenses_mirror_the_light_behind_the_camera(head, camera):
    depth, black = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE, 3), np.float32)
    glass = panes(joined(glasses(*drawn(head, 0, glasses="clear"))[1]), camera, depth)
    before, behind = np.zeros((8, 16, 3), np.float32), np.zeros((8, 16, 3), np.float32)
    before[:, 4:12], behind[:, :4] = 1, 1
    assert glazed(black, glass, camera, before).max() > 0.02
    assert glazed(black, glass, camera, behind).max() < 0.02


def test_lenses_vanish_behind_what_is_nearer(head, camera):
    near = np.full((SIZE, SIZE), 5.0, np.float32)
    assert panes(joined(glasses(*drawn(head, 0, glasses="clear"))[1]), camera, near).share.max() == 0


def test_no_glasses_leave_the_picture_as_it_is(camera):
    picture = np.random.default_rng(0).random((SIZE, SIZE, 3)).astype(np.float32)
    glass = panes(joined([]), camera, np.zeros((SIZE, SIZE), np.float32))
    assert not glass.dark.any()
    np.testing.assert_array_equal(glazed(picture, glass, camera, np.ones((8, 16, 3), np.float32)), picture)
