"""The served model: pictures as bytes in, points out, and what cannot be used is refused with what was found."""

import warnings
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from facemix.faces import schemes
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", PICTURE[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module", params=["ibug68", "five", "hand21"])
def served(request: pytest.FixtureRequest) -> Any:
    """A network that nobody trained."""
    scheme = schemes.load(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints
        from facemix.evaluation.served import ServedLandmarker
    model = ServedLandmarker()
    network = LandmarkNet(scheme, "mobilenetv3_small_050.lamb_in1k", 32, 8, mirror=False).eval()
    model.landmarker = Landmarker(network, 1.3, {"network": {"input_size": 32}, "scheme": scheme.as_dict()})
    return model


def predict(served: Any, *rows: dict[str, Any]) -> list[np.ndarray]:
    return [np.array(row["landmarks"]) for row in served.predict(None, pd.DataFrame(list(rows)))]


def test_each_picture_has_the_points_of_its_boxes(served: Any) -> None:
    boxes = [[5.0, 5.0, 35.0, 35.0], [-5.0, 0.0, 20.0, 30.0]]  # a face may be cut off by the picture's edge
    two, one, filled = predict(
        served, {"image": PNG, "boxes": boxes}, {"image": PNG, "boxes": boxes[1:]}, {"image": PNG}
    )
    assert np.array_equal(two, served.landmarker.predict(PICTURE, np.array(boxes)))
    assert np.allclose(one, two[1:], atol=1e-3)
    side = 60 / 1.3
    whole = np.array([[29.5 - side / 2, 19.5 - side / 2, 29.5 + side / 2, 19.5 + side / 2]])
    assert np.allclose(filled, served.landmarker.predict(PICTURE, whole), atol=1e-3)


def test_a_picture_without_faces_has_no_points(served: Any) -> None:
    assert [len(found) for found in predict(served, {"image": PNG, "boxes": []})] == [0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": b"text"}, "row 0, image: not an image that can be decoded, expected a JPEG or PNG"),
        ({"image": b""}, "row 0, image: not an image"),
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
