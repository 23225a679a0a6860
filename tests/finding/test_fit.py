from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from facemix.errors import FacemixError
from facemix.faces import formats, geometry
from facemix.faces.images import read_image
from facemix.finding import finders
from facemix.finding.fit import fit_frame
from facemix.finding.found import Found
from facemix.training.frame import Frame

Boxes = npt.NDArray[np.float64]

SEEN = np.array([[x, x / 2, x + side, x / 2 + side] for x, side in zip(range(30), range(20, 80, 2), strict=True)])
"""Boxes of the finder, of faces of many sizes."""


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Fits a finder that finds in the n-th picture what is given for it."""

    def fitted(seen: list[Boxes], labelled: Boxes) -> dict:
        def find(image: npt.NDArray[np.uint8]) -> Found:
            boxes = seen[int(image[0, 0, 0])]
            return Found(boxes=boxes, scores=np.ones(len(boxes)))

        monkeypatch.setitem(finders.FINDERS, "drawn", find)
        return fit_frame((np.full((1, 1, 3), k, np.uint8) for k in range(len(seen))), labelled, "drawn")

    return fitted


def test_the_frame_between_found_and_labelled_boxes_is_fitted(fit: Callable[..., dict]) -> None:
    frame = Frame(0.06, 0.9)
    found = fit([box[None] for box in SEEN], frame.of(SEEN))
    assert found == {"name": "drawn", "down": 0.06, "scale": 0.9, "found": 30, "of": 30}


def test_other_faces_in_a_picture_have_no_say(fit: Callable[..., dict]) -> None:
    others = [np.stack([box + 300, box, box - 200]) for box in SEEN]
    assert fit(others, SEEN) == {"name": "drawn", "down": 0, "scale": 1, "found": 30, "of": 30}


def test_a_flat_box_of_two_points_has_a_frame(fit: Callable[..., dict]) -> None:
    eyes = SEEN.copy()
    eyes[:, 1::2] = SEEN[:, 1:2] + 0.3 * (SEEN[:, 3:] - SEEN[:, 1:2])
    found = fit([box[None] for box in SEEN], eyes)
    assert found == {"name": "drawn", "down": -0.2, "scale": 1, "found": 30, "of": 30}


@pytest.mark.parametrize(("n", "known"), [(15, True), (14, False)])
def test_a_frame_needs_half_of_the_faces(fit: Callable[..., dict], n: int, known: bool) -> None:
    found = fit([box[None] if k < n else np.zeros((0, 4)) for k, box in enumerate(SEEN)], SEEN)
    assert (found["found"], found["of"]) == (n, 30)
    assert (found["scale"], found["down"]) == ((1, 0) if known else (None, None))


def test_boxes_that_lie_anywhere_make_no_frame(fit: Callable[..., dict]) -> None:
    side = (SEEN[:, 2] - SEEN[:, 0])[:, None]
    away = SEEN + np.random.default_rng(0).normal(0, 3, (30, 2))[:, [0, 1, 0, 1]] * side
    found = fit([box[None] for box in SEEN], away)
    assert found["found"] < 10 and found["down"] is found["scale"] is None


@pytest.mark.parametrize("n", [0, 3])
def test_without_any_found_face_boxes_are_needed(fit: Callable[..., dict], n: int) -> None:
    found = fit([np.zeros((0, 4))] * n, SEEN[:n])
    assert found == {"name": "drawn", "down": None, "scale": None, "found": 0, "of": n}


def test_an_unknown_finder_is_named_with_those_that_there_are() -> None:
    with pytest.raises(FacemixError, match="finder: found 'other', expected one of blazeface_short_range; give boxes"):
        finders.find("other", np.zeros((4, 4, 3), np.uint8))
    assert len(finders.find(finders.DEFAULT, np.zeros((4, 4, 3), np.uint8)).boxes) == 0


@pytest.mark.real_data
def test_photographed_faces_are_found_where_people_have_marked_them(shared_data: Path) -> None:
    faces = [
        face for face in islice(formats.FORMATS["300w"].read(shared_data / "300w", None), 40) if face.split == "train"
    ]
    boxes = np.stack([geometry.landmark_box(face.landmarks) for face in faces])
    found = fit_frame((read_image(face.image) for face in faces), boxes)
    assert found["found"] == found["of"] == len(faces) > 0
    assert abs(found["down"] - 0.06) < 0.03 and abs(found["scale"] - 0.96) < 0.05
