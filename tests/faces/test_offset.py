"""The symmetry of faces tells by how much their points are shifted to the side."""

import numpy as np
import pytest

import toy
from facemix.faces import geometry, offset
from facemix.faces.formats import read
from facemix.faces.images import read_image
from facemix.faces.schemes import ibug68

EVERY = np.arange(80)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    images, points = zip(*(toy.face(rng, size=120) for _ in EVERY), strict=True)
    return np.array(images), np.array(points, dtype=float)


@pytest.mark.parametrize("right", [-1.5, -0.5, 0.0, 1.0, 1.5])
def test_a_known_shift_is_read_back(drawn, right):
    images, points = drawn
    found = offset.measure(images, points + [right, 0.7], ibug68(), np.ones(len(points)), EVERY)
    assert found is not None
    assert abs(found.right - right) < max(3 * found.error, 0.1)
    assert found.error < 0.15
    assert found.significant == (right != 0)


def test_the_offset_is_in_pixels_of_the_photographs(drawn):
    images, points = drawn
    crop = offset.measure(images, points + [1.0, 0], ibug68(), np.ones(len(points)), EVERY)
    photograph = offset.measure(images, points + [1.0, 0], ibug68(), np.full(len(points), 0.5), EVERY)
    assert photograph.right == pytest.approx(2 * crop.right, abs=0.1)


def test_mirrored_faces_have_the_opposite_offset(drawn):
    images, points = drawn
    ones = np.ones(len(points))
    moved = points + [1.0, 0]
    there = offset.measure(images, moved, ibug68(), ones, EVERY)
    back = offset.measure(
        np.ascontiguousarray(images[:, :, ::-1]), ibug68().mirrored(moved, 120), ibug68(), ones, EVERY
    )
    assert there.right + back.right == pytest.approx(0, abs=0.1)


def test_few_faces_and_pictures_without_a_face_say_nothing(drawn):
    images, points = drawn
    assert offset.measure(images, points, ibug68(), np.ones(len(points)), EVERY[:29]) is None
    assert offset.measure(np.zeros_like(images), points, ibug68(), np.ones(len(points)), EVERY) is None


@pytest.mark.real_data
@pytest.mark.parametrize(
    "kind, folder, own",
    [("300w", "300w", 0.91), ("facesynthetics", "synthetic/open", 0.0), ("dgfaces_v2", "synthetic/dgfaces_v2", 0.0)],
)
def test_real_sets(shared_data, kind, folder, own):
    # 0.91 px of 300-W is what a trained detector's mirrored predictions say.
    faces = read(kind, shared_data / folder)[0]
    chosen = [faces[i] for i in np.linspace(0, len(faces) - 1, 100).astype(int)]
    points = np.stack([face.landmarks for face in chosen])
    transforms = geometry.crop_transform(geometry.landmark_box(points), 160, 2.0)
    images = np.stack([geometry.warp(read_image(f.image), t, 160) for f, t in zip(chosen, transforms, strict=True)])
    for right in (-1.0, 0.0, 1.0):
        moved = geometry.apply(transforms, points + np.array([right, 0]))
        found = offset.measure(images, moved, ibug68(), transforms[:, 0, 0], np.arange(100))
        assert found.error < 0.3
        assert abs(found.right - own - right) < 3 * found.error


@pytest.mark.parametrize(
    "right, error, worth", [(0.9, 0.1, True), (-0.9, 0.1, True), (0.9, 0.4, False), (0.2, 0.01, False)]
)
def test_only_what_is_large_and_sure_is_worth_a_word(right, error, worth):
    assert offset.Offset(right=right, error=error, faces=100).significant is worth
