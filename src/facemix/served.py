"""The landmark detector as MLflow serves it: MLflow copies this file into each logged model and runs it there."""

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel


class ServedLandmarker(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """`facemix.Landmarker` behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint folder that was logged with the model."""
        from facemix import Landmarker

        self.landmarker = Landmarker.load(context.artifacts["model"])

    def predict(
        self,
        context: Any,  # noqa: ARG002  # MLflow's signature
        model_input: np.ndarray,  # a dict, as the model's signature says; but of any hint other than this MLflow warns
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray:
        """Find the points of each boxed face.

        Args:
            model_input: `image` (H, W, 3) uint8 RGB and `boxes` (n, 4) float32 xyxy, pixels.

        Returns:
            Points (n, 68, 2) float32, pixels of the image.
        """
        points: np.ndarray = self.landmarker.predict(model_input["image"], model_input["boxes"])
        return points.astype(np.float32, copy=False)


mlflow.models.set_model(ServedLandmarker())
