import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.faces import geometry

BOXES = st.tuples(st.floats(-500, 4000), st.floats(-500, 4000), st.floats(4, 3000), st.floats(4, 3000)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])
)


@given(BOXES, st.integers(32, 512), st.floats(1, 3))
def test_a_crops_inverse_brings_points_back(box: np.ndarray, size: int, margin: float) -> None:
    points = np.random.default_rng(0).uniform(box[:2], box[2:], (68, 2))
    transform = geometry.crop_transform(box, size, margin)
    in_crop = geometry.apply(transform, points).astype(np.float32)  # as packs keep them
    back = geometry.apply(geometry.invert(transform), in_crop)
    np.testing.assert_allclose(back, points, atol=1e-3)


@given(BOXES)
def test_the_crop_is_the_square_around_the_boxs_centre(box: np.ndarray) -> None:
    transform = geometry.crop_transform(box, 100, 2.0)
    half = (box[2:] - box[:2]).max()
    centre = (box[:2] + box[2:]) / 2
    corners = geometry.apply(transform, np.array([centre - half, centre + half]))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [99.5, 99.5]], atol=1e-6)  # the outer edges of its pixels


def test_a_box_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="positive width and height"):
        geometry.crop_transform(np.array([5.0, 5, 5, 5]), 64, 2.0)


@pytest.mark.parametrize("side", [24.0, 60.0, 100.0, 200.0, 333.0])
def test_warped_pixels_land_where_the_transform_says(side: float) -> None:
    y, x = np.mgrid[:400, :400]
    centre = np.array([211.0, 190.0])
    spot = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (side / 12) ** 2))
    image = np.repeat(spot.astype(np.uint8)[..., None], 3, axis=2)
    box = np.array([centre[0] - side * 0.6, centre[1] - side * 0.4, centre[0] + side * 0.4, centre[1] + side * 0.3])
    transform = geometry.crop_transform(box, 64, 1.5)
    crop = geometry.warp(image, transform, 64)[..., 0].astype(float)
    yy, xx = np.mgrid[:64, :64]
    found = [(crop * xx).sum() / crop.sum(), (crop * yy).sum() / crop.sum()]
    np.testing.assert_allclose(found, geometry.apply(transform, centre[None])[0], atol=0.05)


@pytest.mark.parametrize("factor", [2, 3, 5, 8, 12])
def test_shrinking_does_not_alias(factor: int) -> None:
    stripes = np.zeros((600, 600, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    transform = geometry.crop_transform(np.array([100.0, 100, 400, 400]), 300 // factor, 1.0)
    crop = geometry.warp(stripes, transform, 300 // factor)
    assert abs(float(crop.mean()) - 127.5) < 2
    assert crop.std() < (60 if factor == 3 else 45)  # sampling every third stripe would give 127


def test_a_crop_far_larger_than_the_image_takes_no_more_memory() -> None:
    image = np.full((50, 60, 3), 77, dtype=np.uint8)
    crop = geometry.warp(image, geometry.crop_transform(np.array([0.0, 0, 1e9, 1e9]), 64, 1.3), 64)
    assert np.all(crop == 77)


def test_borders_are_replicated() -> None:
    image = np.full((50, 50, 3), 77, dtype=np.uint8)
    crop = geometry.warp(image, geometry.crop_transform(np.array([-30.0, -30, 90, 90]), 64, 2.0), 64)
    assert np.all(crop == 77)
