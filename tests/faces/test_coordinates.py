"""What the numbers tell of a shift."""

import numpy as np
import pytest

from facemix.faces import coordinates
from facemix.faces.face import Face
from toy_five import FACE, FIVE


def told(points: np.ndarray, size: tuple[int, int] = (100, 80)) -> str:
    faces = [
        Face(id="a", subset="", photo="a", image="a.png", landmarks=one.astype(np.float32),
             states=np.full(5, 2), scheme=FIVE, files=())
        for one in points
    ]  # fmt: skip
    return " ".join(coordinates.remarks(faces, np.array([size] * len(faces))))


def faces(n: int = 10) -> np.ndarray:
    return FACE + np.random.default_rng(0).uniform(-9, 9, (n, 1, 2)).round(1) + 0.03


def cut(low: float, beyond: float) -> np.ndarray:
    """Faces some of whose points lie on the borders: at `low`, and `beyond` the last pixels of 100 x 80."""
    points = faces(12)
    points[:6, 0, 0], points[6:, 1, 1] = low, 79 + beyond
    return points


def test_usual_numbers_say_nothing() -> None:
    assert told(faces()) == ""
    assert told(faces().round()) == ""
    assert told(faces() - 200) == ""


def test_whole_numbers_and_a_half_are_told() -> None:
    points = np.floor(faces()) + 0.5
    assert "half a pixel" in told(points)
    points[2, 1] = np.nan
    assert "half a pixel" in told(points)
    points[:3] += 0.2
    assert told(points) == ""


@pytest.mark.parametrize(
    ("low", "beyond", "words"),
    [(0, 0, ""), (1, 1, "from 1. Set offset: [-1, -1]"), (-1, -1, "counts from 1. Set offset: [1, 1]"),
     (0, 1, "corner of the first pixel"), (1, 0, ""), (0.5, 0.5, "")],
)  # fmt: skip
def test_borders_where_points_were_cut_off_are_told(low: float, beyond: float, words: str) -> None:
    found = told(cut(low, beyond))
    assert words in found and bool(found) == bool(words)


def test_a_set_with_points_on_the_right_border_is_not_suspected() -> None:
    points = cut(1, 1)
    points[:3, 2, 0], points[3:6, 3, 0], points[6:, 4] = 0, 0, [99, 79]
    assert told(points) == ""
