import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import toy
from facemix.faces import landmarks
from facemix.faces.landmarks import MIRROR, REGIONS


@given(arrays(np.float64, (68, 2), elements=st.floats(-100, 500)), st.integers(1, 400))
def test_mirroring_twice_is_the_identity(points: np.ndarray, width: int) -> None:
    np.testing.assert_allclose(landmarks.mirror(landmarks.mirror(points, width), width), points, atol=1e-9)


def test_a_symmetric_face_is_its_own_mirror_image() -> None:
    shape = toy.template()
    mirrored = shape[MIRROR] * [-1, 1]
    np.testing.assert_allclose(mirrored, shape, atol=1e-12)


def test_regions_cover_every_point_once_and_mirror_into_themselves() -> None:
    assert sorted(i for region in REGIONS.values() for i in region) == list(range(68))
    for region in REGIONS.values():
        assert sorted(MIRROR[list(region)].tolist()) == list(region)
