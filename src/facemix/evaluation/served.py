"""The landmark detector as MLflow serves it: MLflow copies this file into each logged model and runs it there."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from facemix.errors import FacemixError


class ServedLandmarker(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """`facemix.use.detector.Detector` behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint folder that was logged with the model."""
        from facemix.use.detector import Detector

        self.detector = Detector.load(context.artifacts["model"])

    def predict(
        self,
        context: Any,  # noqa: ARG002  # MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Find the points of the faces of each picture.

        Args:
            model_input: A row a picture: `image`, the bytes of a JPEG or PNG file (in JSON base64 of them), and `boxes`
                (n, 4) xyxy in pixels, tight around the landmarks of each face; without boxes the faces are found.

        Returns:
            For each picture `landmarks`, `boxes`, `errors`, `visible` and `scores`, as `facemix.use.answer.answer`
            has them.

        Raises:
            MlflowException: what cannot be used, with what was found and expected; a server answers with status 400.
        """
        try:
            return [self._find(f"row {number}", row) for number, row in enumerate(model_input.to_dict("records"))]
        except ValueError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None

    def _find(self, where: str, row: dict[str, Any]) -> dict[str, Any]:
        from facemix.use import uploads
        from facemix.use.answer import answer, boxes_of

        if not isinstance(row.get("image"), bytes):
            raise FacemixError(
                f"{where}, image: found {type(row.get('image')).__name__}, expected the bytes of an image file"
            )
        image = uploads.decode(Path(f"{where}, image"), row["image"])
        given = row.get("boxes")
        if given is None or (isinstance(given, float) and np.isnan(given)):  # pandas fills what only other rows have
            if self.detector.finder is None:
                raise FacemixError(f"{where}, boxes: found none, but this model has no face finder: boxes are needed")
            return answer(self.detector.find(image))
        boxes = boxes_of(f"{where}, boxes", given)
        return answer(self.detector.predict(image, boxes))


mlflow.models.set_model(ServedLandmarker())
