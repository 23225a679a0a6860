"""The landmark detector as MLflow serves it: MLflow copies this file into each logged model and runs it there."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from facemix.errors import FacemixError


class ServedLandmarker(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """`facemix.Landmarker` behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint folder that was logged with the model."""
        from facemix import Landmarker

        self.landmarker = Landmarker.load(context.artifacts["model"])

    def predict(
        self,
        context: Any,  # noqa: ARG002  # MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Find the points of each boxed face.

        Args:
            model_input: A row a picture: `image`, the bytes of a JPEG or PNG file (in JSON base64 of them), and `boxes`
                (n, 4) xyxy in pixels; without boxes the picture is treated as one face that fills it.

        Returns:
            For each picture `{"landmarks": points}`, points (n, K, 2) in pixels of it, as lists.

        Raises:
            MlflowException: what cannot be used, with what was found and expected; a server answers with status 400.
        """
        try:
            return [self._find(f"row {number}", row) for number, row in enumerate(model_input.to_dict("records"))]
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None

    def _find(self, where: str, row: dict[str, Any]) -> dict[str, Any]:
        from facemix.faces import images

        if not isinstance(row.get("image"), bytes):
            raise FacemixError(
                f"{where}, image: found {type(row.get('image')).__name__}, expected the bytes of an image file"
            )
        image = images.decode(Path(f"{where}, image"), row["image"])
        height, width = image.shape[:2]
        given = row.get("boxes")
        if given is None or (isinstance(given, float) and np.isnan(given)):  # pandas fills what only other rows have
            boxes = self.landmarker.filling(width, height)
        else:
            boxes = _boxes(where, given)
            images.check_inside(Path(where), image, boxes)
        return {"landmarks": self.landmarker.predict(image, boxes).tolist()}


def _boxes(where: str, given: Any) -> npt.NDArray[np.float64]:
    try:
        boxes = np.array([[float(value) for value in box] for box in given]).reshape(len(given), 4)
    except (TypeError, ValueError):
        boxes = np.full((1, 4), np.nan)
    if not np.isfinite(boxes).all() or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise FacemixError(
            f"{where}, boxes: found {given}, expected a list of [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1"
        )
    return boxes


mlflow.models.set_model(ServedLandmarker())
