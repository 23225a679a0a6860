import dataclasses

import numpy as np
import pytest
import torch

from facemix.config import Augmentation
from facemix.faces import geometry
from facemix.faces.schemes import ibug68
from facemix.training import augment

NOTHING = Augmentation(rotation=0, scale=0, shift=0, mirror=0, colour=0, grey=0, blur=0, noise=0, occlusion=0)
EVERYTHING = Augmentation(
    rotation=40, scale=0.2, shift=0.1, mirror=0.5, colour=0.4, grey=0.2, blur=0.5, noise=0.5, occlusion=0.5
)
GEOMETRY = dataclasses.replace(NOTHING, rotation=40, scale=0.2, shift=0.1)

MIRROR = torch.from_numpy(ibug68().mirror.copy())


def spots(n: int, size: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops that are dark but for a soft bright spot, and landmarks that all lie on it."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(size * 0.4, size * 0.6, (n, 2))
    y, x = np.mgrid[:size, :size]
    pictures = [200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18) for cx, cy in centres]
    crops = np.repeat(np.stack(pictures).astype(np.uint8)[..., None], 3, axis=3)
    landmarks = np.repeat(centres[:, None], 68, axis=1).astype(np.float32)
    return torch.from_numpy(crops), torch.from_numpy(landmarks)


def run(settings: Augmentation, seed: int = 0, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    crops, landmarks = spots(n)
    return augment.apply(crops, landmarks, changes(settings, n, seed), 64, MIRROR)


def changes(settings: Augmentation, n: int, seed: int = 0) -> augment.Changes:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[16.0, 25.0, 80.0, 71.0]]).expand(n, 4) - 0.5  # around the middle of a crop of 96 pixels
    return augment.draw(boxes, 96, context=1.0, size=64, settings=settings, generator=generator)


def centroids(images: torch.Tensor) -> torch.Tensor:
    light = images.mean(dim=1)
    pixels = torch.arange(images.shape[-1], dtype=torch.float32)
    total = light.sum(dim=(1, 2))
    return torch.stack([(light.sum(dim=1) @ pixels) / total, (light.sum(dim=2) @ pixels) / total], dim=-1)


@pytest.mark.parametrize("settings", [NOTHING, GEOMETRY, dataclasses.replace(GEOMETRY, mirror=1.0)])
def test_landmarks_stay_on_what_they_mark(settings: Augmentation) -> None:
    images, landmarks = run(settings)
    torch.testing.assert_close(landmarks[:, 0], centroids(images), atol=0.1, rtol=0)


def test_nothing_cuts_out_the_middle() -> None:
    crops, _ = spots(3)
    images, _ = run(NOTHING, n=3)
    torch.testing.assert_close(images, crops[:, 16:80, 16:80].permute(0, 3, 1, 2) / 255)


def test_opencv_and_grid_sample_see_the_same_also_beyond_the_border() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (6, 40, 40, 3), dtype=torch.uint8, generator=generator)
    input_to_crop = torch.randn(6, 2, 3, generator=generator) * torch.tensor([1.0, 1.0, 9.0])
    by_opencv, by_grid = (
        augment._sample_by_opencv(crops, input_to_crop, 24),
        augment._sample_by_grid(crops, input_to_crop, 24),
    )
    torch.testing.assert_close(by_opencv, by_grid, atol=0.02, rtol=0)  # of 255
    assert by_opencv.is_contiguous(memory_format=torch.channels_last)  # as the network wants it: no copy


def test_the_two_blurs_agree() -> None:
    images, deviation = torch.rand(3, 3, 20, 24), torch.tensor([0.3, 1.0, 1.8])
    by_opencv, by_convolution = (
        blur(images, deviation, 3) for blur in (augment._blur_by_opencv, augment._blur_by_convolution)
    )
    torch.testing.assert_close(by_opencv, by_convolution, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_colours_are_a_matrix_and_a_shift(layout: torch.memory_format) -> None:
    images, matrix, shift = torch.rand(4, 3, 8, 9) * 255, torch.rand(4, 3, 3), torch.rand(4, 3, 1)
    expected = torch.einsum("nij,njhw->nihw", matrix, images / 255) + shift[..., None]
    torch.testing.assert_close(augment._apply_colours(images.contiguous(memory_format=layout), matrix, shift), expected)


def test_a_mirrored_face_has_its_points_renamed() -> None:
    crops, _ = spots(1)
    landmarks = torch.rand(1, 68, 2) * 40 + 28
    mirrored = dataclasses.replace(NOTHING, mirror=1.0)
    _, moved = augment.apply(crops, landmarks, changes(mirrored, 1), 64, MIRROR)
    expected = landmarks[:, torch.from_numpy(ibug68().mirror.copy())] - 16
    expected[..., 0] = 63 - expected[..., 0]
    torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize("context", [1.0, 1.2])
def test_undisturbed_a_face_fills_what_evaluation_shows_of_it(context: float) -> None:
    crops = torch.randint(0, 256, (3, 96, 96, 3), dtype=torch.uint8)
    boxes = torch.tensor([[30.0, 35.0, 70.0, 60.0], [20.0, 40.0, 50.0, 75.0], [28.0, 28.0, 66.0, 66.0]])
    drawn = augment.draw(
        boxes, 96, context=context, size=48, settings=NOTHING, generator=torch.Generator().manual_seed(0)
    )
    points = torch.stack([boxes[:, :2], boxes[:, 2:]], dim=1).repeat(1, 34, 1)
    _, moved = augment.apply(crops, points, drawn, 48, MIRROR)
    expected = geometry.apply(geometry.crop_transform(boxes.numpy(), 48, context), points.numpy())
    np.testing.assert_allclose(moved.numpy(), expected, atol=1e-4)


def test_the_same_seed_gives_the_same_batch_bit_for_bit() -> None:
    for one, other in zip(run(EVERYTHING, seed=3), run(EVERYTHING, seed=3), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(run(EVERYTHING, seed=3)[0], run(EVERYTHING, seed=4)[0])


@pytest.mark.parametrize("shares", [(6, 6), (1, 11), (4, 4, 4)])
def test_parts_of_a_batch_are_changed_as_in_the_whole(shares: tuple[int, ...]) -> None:
    crops, landmarks = spots(12)
    drawn = changes(EVERYTHING, 12)
    whole = augment.apply(crops, landmarks, drawn, 64, MIRROR)
    ends = np.cumsum(shares).tolist()
    parts = [
        augment.apply(crops[end - n : end], landmarks[end - n : end], drawn.part(end - n, end), 64, MIRROR)
        for n, end in zip(shares, ends, strict=True)
    ]
    for joined, expected in zip(map(torch.cat, zip(*parts, strict=True)), whole, strict=True):
        torch.testing.assert_close(joined, expected, rtol=0, atol=1e-5)  # kernels round by the number of faces


def test_images_stay_between_0_and_1() -> None:
    images, _ = run(EVERYTHING, n=64)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


@pytest.mark.parametrize("name", ["colour", "grey", "blur", "noise", "occlusion"])
def test_each_change_of_the_picture_leaves_the_landmarks(name: str) -> None:
    strength = 0.5 if name == "colour" else 1.0
    images, landmarks = run(dataclasses.replace(NOTHING, **{name: strength}))
    plain_images, plain_landmarks = run(NOTHING)
    assert torch.equal(landmarks, plain_landmarks)
    if name != "grey":  # the spots are grey already
        assert not torch.equal(images, plain_images)


def test_grey_pictures_have_equal_channels() -> None:
    crops = torch.randint(0, 256, (4, 96, 96, 3), dtype=torch.uint8)
    grey = changes(dataclasses.replace(NOTHING, grey=1.0), 4)
    images, _ = augment.apply(crops, torch.zeros(4, 68, 2), grey, 64, MIRROR)
    torch.testing.assert_close(images[:, 0], images[:, 2])
