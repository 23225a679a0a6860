import numpy as np
import numpy.typing as npt
import pytest

from facemix.errors import FacemixError
from facemix.evaluation import measure
from facemix.faces.packs import Pack
from facemix.training.predictions import Predictions
from toy_pack import pack


def off_by(*pixels: float) -> Predictions:
    """Predictions of ten faces, each of them off to the right by a number of pixels of its image."""
    faces = judged()
    points = {level: truth_in_images() + [off, 0] for level, off in enumerate(pixels)}
    return Predictions(ids=faces.ids[::-1], points={float(level): value[::-1] for level, value in points.items()})


def judged() -> Pack:
    faces = pack(10)
    faces.splits[:] = ["validation"] * 2 + ["test"] * 5 + ["challenging"] * 3
    faces.transforms[:] = [[0.5, 0, 3], [0, 0.5, -2]]
    return faces


def truth_in_images() -> npt.NDArray[np.float64]:
    return (judged().landmarks - [3, -2]) / 0.5


def test_errors_are_measured_in_the_images_and_belong_to_their_faces() -> None:
    found = measure.measure(off_by(2.0, 4.0), judged(), "outer_eye")
    size = np.linalg.norm(truth_in_images()[0, 36] - truth_in_images()[0, 45])
    assert found[0.0].nme == pytest.approx(np.full(10, 100 * 2 / size), rel=1e-4)
    assert found[1.0].nme == pytest.approx(np.full(10, 100 * 4 / size), rel=1e-4)
    assert found[0.0].splits.tolist() == judged().splits.tolist()[::-1]


def test_figures_are_made_for_each_set_that_is_there() -> None:
    faces = judged()
    errors = measure.measure(off_by(2.0, 4.0), faces, "outer_eye")
    figures = measure.figures(errors, faces, "outer_eye")
    assert {name: figures[name]["faces"] for name in measure.SETS} == {
        "val": 2,
        "test": 5,
        "challenging": 3,
        "full": 8,
    }
    assert figures["test"]["box_jitter"] == {"1.00": pytest.approx(2 * figures["test"]["nme"])}
    faces.splits[faces.splits == "challenging"] = "test"
    figures = measure.figures(measure.measure(off_by(2.0), faces, "outer_eye"), faces, "outer_eye")
    assert {"val", "test"} == set(measure.SETS) & set(figures)


def test_predictions_of_other_faces_are_refused() -> None:
    faces = judged()
    faces.ids[3] = "toy/new"
    with pytest.raises(FacemixError, match="predictions of 1 faces that the real pack does not hold, such as toy/3"):
        measure.measure(off_by(1.0), faces, "outer_eye")


def test_thresholds_go_with_the_face_size() -> None:
    faces = judged()
    assert measure.figures(measure.measure(off_by(2.0), faces, "outer_eye"), faces, "outer_eye")["test"].keys() >= {
        "fr8",
        "fr10",
        "auc8",
    }
    assert "fr7" in measure.figures(measure.measure(off_by(2.0), faces, "box_side"), faces, "box_side")["test"]
