"""The scene: meshes are joined by their surface, and what a ray hit is told by the triangle's number."""

import numpy as np

from facemix.render.materials import MATERIALS, SHAPES, SURFACES, SkinTexture
from facemix.render.scene import _bodies
from facemix.render.surfaces import Mesh
from facemix.render.tracing import finite

ROUGHNESS = 0.4


def fan(triangles: int) -> Mesh:
    """A mesh of so many triangles."""
    points = np.random.default_rng(triangles).random((triangles + 2, 3))
    corners = np.arange(triangles, dtype=np.uint32)[:, None] + np.arange(3, dtype=np.uint32)
    return Mesh(points, points, corners, points, points, points[:, :2])


def test_every_triangle_keeps_its_kind_its_corners_and_its_gloss() -> None:
    meshes = {kind: fan(3 + number) for number, kind in enumerate(MATERIALS)}
    skin = SkinTexture(np.zeros((2, 2, 3)), np.zeros((2, 2)), ROUGHNESS)
    bodies = _bodies(meshes, skin)
    assert list(bodies) == list(SURFACES)
    for name, body in bodies.items():
        kinds = [kind for kind, material in MATERIALS.items() if material.surface == name]
        owners = np.repeat(kinds, [len(meshes[kind].triangles) for kind in kinds])
        faces = body.buffers["faces"].reshape(-1, 3)
        found = [SHAPES[number - 1] for number in body.kind(np.arange(len(faces)))]
        assert found == list(owners)
        expected = np.concatenate([meshes[kind].points[meshes[kind].triangles] for kind in kinds])
        corners = body.buffers["vertex_positions"].reshape(-1, 3)[faces]
        np.testing.assert_array_equal(corners, expected.astype(np.float32))
        gloss = body.buffers["vertex_roughness"][faces[:, 0]]
        rough = [ROUGHNESS if kind == "skin" else MATERIALS[kind].roughness for kind in owners]
        np.testing.assert_allclose(gloss, rough, rtol=1e-6)


def test_a_sample_that_is_not_a_number_counts_as_black_and_spoils_no_other() -> None:
    samples = np.array([[0.5, np.nan], [np.inf, 2.0]], np.float32)
    assert np.array_equal(finite(samples), np.array([[0.5, 0], [0, 2]], np.float32))
    assert finite(samples).dtype == np.float32
