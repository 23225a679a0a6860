"""The served model: pictures as bytes in, faces out, and what cannot be used is refused with what was found."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from facemix.faces import schemes
from facemix.finding import finders
from facemix.finding.found import Found
from facemix.training.frame import Frame
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet
from facemix.use.detector import Detector

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", PICTURE[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module", params=["ibug68", "five", "hand21"])
def served(request: pytest.FixtureRequest) -> Any:
    """A network that nobody trained."""
    scheme = schemes.load(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints
        from facemix.evaluation.served import ServedLandmarker
    network = LandmarkNet(scheme, "mobilenetv3_small_050.lamb_in1k", 32, 8, mirror=False).eval()
    landmarker = Landmarker(network, 1.3, {"network": {"input_size": 32}, "scheme": scheme.as_dict()})
    model = ServedLandmarker()
    model.detector = Detector(
        look=landmarker.look,
        scheme=scheme,
        input_size=32,
        context=1.3,
        frame=Frame(),
        finder=None,
        radius={},
        usual=float("nan"),
        where=Path("model"),
    )
    return model


def predict(served: Any, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return served.predict(None, pd.DataFrame(list(rows)))


def test_each_picture_has_the_points_of_its_boxes(served: Any) -> None:
    boxes = [[5.0, 5.0, 35.0, 35.0], [-5.0, 0.0, 20.0, 30.0]]  # a face may be cut off by the picture's edge
    two, one = predict(served, {"image": PNG, "boxes": boxes}, {"image": PNG, "boxes": boxes[1:]})
    expected = served.detector.predict(PICTURE, np.array(boxes)).points
    assert np.abs(two["landmarks"] - expected).max() < 0.0051
    assert np.allclose(one["landmarks"], expected[1:], atol=0.01)
    assert two["boxes"] == boxes and two["scores"] == [None, None]


def test_what_the_model_does_not_know_is_null_in_json(served: Any) -> None:
    (face,) = predict(served, {"image": PNG, "boxes": [[5.0, 5.0, 35.0, 35.0]]})
    unknown = [[None] * len(served.detector.scheme)]
    assert face["errors"] == unknown and face["visible"] == unknown
    json.dumps(face, allow_nan=False)


def test_without_boxes_faces_are_found(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Found(boxes=np.array([[5.0, 5.0, 35.0, 35.0], [30.0, 0.0, 50.0, 20.0]]), scores=np.array([0.9, 0.7]))
    monkeypatch.setattr(finders, "find", lambda name, image: found)
    finder = {"name": "any", "down": 0.0, "scale": 1.0}
    monkeypatch.setattr(served, "detector", dataclasses.replace(served.detector, finder=finder))
    face, other = predict(served, {"image": PNG}, {"image": PNG, "boxes": [[5.0, 5.0, 35.0, 35.0]]})
    assert np.shape(face["landmarks"]) == (2, len(served.detector.scheme), 2) and face["scores"] == [0.9, 0.7]
    assert np.shape(other["landmarks"])[0] == 1


def test_without_boxes_and_finder_boxes_are_asked_for(served: Any) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=r"row 0, boxes: found none, .* no face finder: boxes are needed"):
        predict(served, {"image": PNG})


def test_a_picture_without_faces_has_no_points(served: Any) -> None:
    (face,) = predict(served, {"image": PNG, "boxes": []})
    assert face == {"landmarks": [], "boxes": [], "errors": [], "visible": [], "scores": []}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": b"text"}, "row 0, image: not an image that can be read, expected a JPEG, PNG or WebP picture"),
        ({"image": b""}, "row 0, image: 0 bytes"),
        ({"image": PNG[:-20]}, "row 0, image: cut off"),
        (
            {"image": PNG, "boxes": [[1.0, 2.0, 3.0]]},
            r"boxes: found \[\[1.0, 2.0, 3.0\]\], expected a list of \[x0, y0, x1, y1\]",
        ),
        ({"image": PNG, "boxes": [[1.0, 2.0, 3.0, 4.0], [1.0]]}, "expected"),
        ({"image": PNG, "boxes": [1, 2, 3, 4]}, r"boxes: found \[1, 2, 3, 4\], expected"),
        ({"image": PNG, "boxes": {"x": 1}}, "boxes: found {'x': 1}, expected"),
        ({"image": PNG, "boxes": [[30.0, 5.0, 10.0, 35.0]]}, "with x0 < x1 and y0 < y1"),
        ({"image": PNG, "boxes": [[0.0, 0.0, np.inf, 9.0]]}, "expected"),
        ({"image": PNG, "boxes": [[61.0, 5.0, 90.0, 35.0]]}, "box 61,5,90,35 lies outside the picture of 60 x 40"),
    ],
)
def test_what_cannot_be_used_is_refused(served: Any, row: dict[str, Any], message: str) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=message) as refused:
        predict(served, row)
    assert refused.value.get_http_status_code() == 400
