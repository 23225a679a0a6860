from itertools import pairwise

import numpy as np
import pytest

from facemix.finding import pyramid


@pytest.mark.parametrize("shape", [(2000, 3000), (300, 400), (80, 80), (5, 7), (1, 3000), (3000, 1)])
def test_sizes_are_bounded_above_halve_and_end_small(shape: tuple[int, int]) -> None:
    sizes = [picture.shape[:2] for picture in pyramid.sizes(np.zeros((*shape, 3), np.uint8))]
    longer = [max(size) for size in sizes]
    assert longer[0] == min(max(shape), pyramid.LARGEST)
    assert longer[-1] <= pyramid.SMALLEST
    assert all(small == (large + 1) // 2 for large, small in pairwise(longer))
    assert all(picture.min() >= 1 for picture in map(np.array, sizes))


def test_the_whole_picture_is_in_each_size() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, 160:] = 200
    for picture in pyramid.sizes(image):
        middle = picture.shape[1] // 2
        assert picture[:, : middle - 1].max() == 0 and picture[:, middle + 1 :].min() == 200
