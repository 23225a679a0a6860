from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facemix.errors import FacemixError
from facemix.finding import blazeface
from facemix.finding.found import intersections

PORTRAITS = sorted((Path(blazeface.__file__).parents[1] / "render/data/bystanders").glob("*.webp"))[:4]
"""Rendered people."""

Picture = npt.NDArray[np.uint8]


def portraits(side: int = 240) -> list[Picture]:
    """Square pictures of heads; the box of a face is two fifths of one wide."""
    heads = [np.ascontiguousarray(cv2.imread(str(path))[50:190, 50:190, ::-1]) for path in PORTRAITS]
    return [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for head in heads]


def placed(people: list[Picture], height: int, width: int, at: list[tuple[int, int]]) -> Picture:
    """People on grey ground, each with its left upper corner at (x, y)."""
    picture = np.full((height, width, 3), 120, np.uint8)
    for one, (x, y) in zip(people, at, strict=True):
        picture[y : y + len(one), x : x + len(one)] = one
    return picture


def alone(person: Picture) -> npt.NDArray[np.float64]:
    (box,) = blazeface.find(person).boxes
    return box


def assert_near(boxes: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], share: float = 0.2) -> None:
    """Each corner within a share of the side of its face."""
    sides = expected[:, 2] - expected[:, 0]
    assert boxes.shape == expected.shape
    assert (np.abs(boxes - expected).max(axis=1) < share * sides).all()


def in_order(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return boxes[np.lexsort(boxes.T[:2].round(-2))]


def test_four_people_are_four_faces_each_where_it_is_found_alone() -> None:
    people, at = portraits(), [(0, 0), (300, 0), (0, 300), (300, 300)]
    found = blazeface.find(placed(people, 540, 540, at))
    expected = np.stack([alone(one) + [*corner, *corner] for one, corner in zip(people, at, strict=True)])
    assert_near(in_order(found.boxes), in_order(expected))
    assert (np.diff(found.scores) <= 0).all() and ((found.scores > 0.5) & (found.scores <= 1)).all()


def test_small_faces_of_a_large_picture_are_found() -> None:
    people, at = portraits(140), [(100, 900), (1700, 40), (900, 600), (1880, 1380)]
    found = blazeface.find(placed(people, 1530, 2048, at))
    expected = np.stack([alone(one) + [*corner, *corner] for one, corner in zip(people, at, strict=True)])
    assert_near(in_order(found.boxes), in_order(expected))


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (60, 60), (700, 500)])
def test_pictures_without_people_give_no_face(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for picture in (np.zeros_like(noise), np.full_like(noise, 255), noise):
        found = blazeface.find(picture)
        assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


def test_a_larger_picture_gives_larger_boxes() -> None:
    person = portraits()[0]
    twice = cv2.resize(person, None, fx=2, fy=2)
    assert_near(alone(twice)[None], 2 * alone(person)[None] + 0.5, 0.05)


def test_a_face_that_fills_the_picture_is_found() -> None:
    x0, y0, x1, y1 = alone(portraits()[0]).round().astype(int)
    face = np.ascontiguousarray(portraits()[0][y0:y1, x0:x1])
    assert_near(alone(face)[None], np.array([[0, 0, x1 - x0, y1 - y0]]), 0.2)


def test_boxes_lie_around_the_centres_of_the_networks_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    first, n = (128 // 8) * (208 // 8) * 2, (128 // 8) * (208 // 8) * 2 + (128 // 16) * (208 // 16) * 6
    found = np.zeros((1, n, 16), np.float32)
    found[0, :, :4] = [1, 2, 4, 6]  # right, down, width, height
    shown = []
    forward = {"setInput": shown.append, "forward": lambda names: (np.zeros((1, n, 1), np.float32), found)}
    monkeypatch.setattr(blazeface, "_network", lambda: SimpleNamespace(**forward))
    boxes, scores = blazeface.sightings(np.full((100, 200, 3), 255, np.uint8))
    assert boxes.shape == (n, 4) and (scores == 0.5).all()
    around = np.array([-2, -3, 2, 3]) + [1, 2, 1, 2] - 0.5
    cells = {0: (4, 4), 1: (4, 4), 2: (12, 4), first: (8, 8), first + 5: (8, 8), first + 6: (24, 8), n - 1: (200, 120)}
    for row, (x, y) in cells.items():
        np.testing.assert_allclose(boxes[row], around + [x, y, x, y])
    assert shown[0].shape == (1, 3, 128, 208)
    assert (shown[0][:, :, :100, :200] == 1).all() and shown[0][:, :, 100:].max() == shown[0][..., 200:].max() == -1


def test_threads_do_not_mix_up_their_pictures() -> None:
    people = portraits() * 3
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: blazeface.find(one).boxes, people))
    for boxes, person in zip(found, people, strict=True):
        np.testing.assert_array_equal(boxes, blazeface.find(person).boxes)


def test_no_face_lies_in_another() -> None:
    for person in portraits():
        boxes = blazeface.find(cv2.resize(person, (700, 700))).boxes
        assert len(boxes) == 1 and (intersections(boxes[0], boxes) > 0).all()


def seeing(monkeypatch: pytest.MonkeyPatch, seen: dict[int, list[tuple[list[float], float]]]) -> None:
    """Instead of the network: boxes and scores by the width of the picture that is looked at."""

    def sightings(picture: Picture) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        boxes, scores = zip(*seen.get(picture.shape[1], [([0.0] * 4, 0.0)]), strict=True)
        return np.array(boxes), np.array(scores)

    monkeypatch.setattr(blazeface, "sightings", sightings)


def test_boxes_are_carried_from_the_pixels_of_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seeing(monkeypatch, {80: [([9.5, 9.5, 29.5, 29.5], 0.6)]})
    found = blazeface.find(np.zeros((100, 160, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[19.5, 19.5, 59.5, 59.5]])


def test_what_is_seen_beside_the_picture_or_has_no_extent_is_no_face(monkeypatch: pytest.MonkeyPatch) -> None:
    face = [50.0, 10, 79, 40]
    boxes = [face, [90, 10, 120, 40], [-30, 10, 28, 40], [10, 40, 20, 62], [60, 10, 50, 20], [30, 20, 30, 40]]
    seeing(monkeypatch, {80: [(list(map(float, box)), 0.9) for box in boxes]})
    np.testing.assert_allclose(blazeface.find(np.zeros((50, 80, 3), np.uint8)).boxes, [face])


@pytest.mark.parametrize(
    ("width", "side", "score", "counts"),
    [(80, 60, 0.55, True), (80, 60, 0.45, False), (160, 60, 0.65, False), (160, 60, 0.75, True), (160, 99, 0.9, False)],
)
def test_larger_sizes_are_for_small_faces_of_which_it_is_surer(
    monkeypatch: pytest.MonkeyPatch, width: int, side: float, score: float, counts: bool
) -> None:
    seeing(monkeypatch, {width: [([1.0, 1.0, 1.0 + side, 1.0 + side], score)]})
    assert len(blazeface.find(np.zeros((120, 160, 3), np.uint8)).boxes) == counts


@pytest.fixture
def other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "network.tflite"
    monkeypatch.setattr(blazeface, "FILE", file)
    blazeface._network.cache_clear()
    yield file
    blazeface._network.cache_clear()


def test_a_missing_network_is_named(other_file: Path) -> None:
    with pytest.raises(FacemixError, match=r"network.tflite: cannot be read \(no such file.*; install facemix again"):
        blazeface.find(portraits()[0])


def test_a_damaged_network_is_named(other_file: Path) -> None:
    other_file.write_bytes(b"\0" * 229032)
    with pytest.raises(FacemixError, match=r"network.tflite: found 229032 bytes with SHA-256 .*, expected 3bc182"):
        blazeface.find(portraits()[0])
