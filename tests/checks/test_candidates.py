import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.checks import candidates
from facemix.faces.parallel import single_threaded_opencv


def alike(n: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Patches (n, 72, 72) mixed of six, some of them as their mirror image: many pairs are alike."""
    rng = np.random.default_rng(seed)
    basis = np.kron(rng.normal(size=(6, 24, 24)), np.ones((3, 3)))
    mixed = np.tensordot(rng.normal(size=(n, 6)), basis, 1)
    mixed[::3] = mixed[::3, :, ::-1]
    return np.clip(128 + 20 * mixed, 0, 255).astype(np.uint8)


def by_all_pairs(patches: npt.NDArray[np.uint8], n: int) -> set[tuple[int, int, int]]:
    """The plain way."""
    small = patches.reshape(-1, 24, 3, 24, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    contrast = np.array([candidates.local_contrast(patch) for patch in small])
    straight, mirrored = candidates.units(contrast), candidates.units(contrast[:, :, ::-1])
    return {
        (i, j, int(others is mirrored))
        for others in (straight, mirrored)
        for i in range(n)
        for j in range(i + 1, len(patches))
        if straight[i] @ others[j] >= candidates.CANDIDATE
    }


@pytest.mark.parametrize("n", [0, 1, 11, 30])
def test_candidates_are_those_of_all_pairs_whatever_the_blocks(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = alike(30)
    expected = by_all_pairs(patches, n)
    assert len({mirrored for _, _, mirrored in expected}) == 2 or n < 2
    for block, queries in ((7, 3), (30, 30), (64, 1)):
        monkeypatch.setattr(candidates, "_BLOCK", block)
        monkeypatch.setattr(candidates, "_QUERIES", queries)
        found = [tuple(row) for row in candidates.find(patches, n).tolist()]
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_few_directions_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_KEPT", 2)
    patches = alike(30)
    assert {tuple(row) for row in candidates.find(patches, 30).tolist()} == by_all_pairs(patches, 30)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_a_short_vector_is_as_long_and_never_less_alike(seed: int, length: int, kept: int) -> None:
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(length, min(kept, length))))
    vectors = rng.normal(size=(5, length)).astype(np.float32)
    short = candidates._short(vectors, directions.astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-4)
    assert np.all(short @ short.T >= vectors @ vectors.T - 1e-3)


def test_what_is_flat_is_alike_nothing() -> None:
    patches = np.concatenate([np.full((3, 72, 72), 90, np.uint8), alike(2), np.zeros((2, 72, 72), np.uint8)])
    assert not {0, 1, 2, 5, 6} & set(candidates.find(patches, 7)[:, :2].ravel().tolist())


def test_opencv_gets_its_threads_back() -> None:
    import cv2

    before = cv2.getNumThreads()
    with single_threaded_opencv():
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
