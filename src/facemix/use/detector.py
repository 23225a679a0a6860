"""A trained detector in use: a picture in, faces with points out. Knows torch only where it must."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.images import check_inside
from facemix.faces.looking import Look, Seen, look_each
from facemix.faces.schemes import Scheme
from facemix.finding import finders
from facemix.training.frame import Frame
from facemix.use import runtime
from facemix.use.credible import doubled, unsure

Boxes = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The faces of one picture."""

    boxes: Boxes
    """(n, 4) xyxy pixels, tight around the landmarks: what the network was shown."""
    points: Floats
    """(n, K, 2) pixels of the picture, 0-based, integers at pixel centres."""
    errors: Floats
    """(n, K) expected distance of each point from the truth, pixels; NaN of a detector that is not calibrated."""
    visible: Floats
    """(n, K) probability that a point is seen and not hidden; NaN where the detector has not learned it."""
    scores: Floats
    """(n,) of what found the faces, 0 to 1; NaN where boxes were given."""

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A trained detector in use."""

    look: Look
    """What looks at crops."""
    scheme: Scheme
    """Of the points that it finds."""
    input_size: int
    """Side of what the network sees, pixels."""
    context: float
    """Side of the network's field of view / longer side of the face box."""
    frame: Frame
    """Where the network expects the face in the box that it is given."""
    finder: Mapping[str, Any] | None
    """What finds faces, and how the boxes of landmarks lie to what it finds; None of a model without."""
    radius: Mapping[float, float]
    """Level -> radius that holds this share of points / expected error; empty of a detector that is not calibrated."""
    usual: float
    """Expected error of usual faces, mean over the points / longer side of the box around them; NaN likewise."""
    where: Path
    """What it was loaded from."""

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> "Detector":
        """Opens a trained model.

        Args:
            path: a folder as `facemix train` writes it, or a file as `facemix export` does.
            device: `auto` takes the exported file beside the model, where there is one of these very weights, and ONNX
                Runtime: it starts in a tenth of the time. Otherwise, and for `cpu` and `cuda`, it is torch.

        Raises:
            FacemixError: it cannot be read.
        """
        path = Path(path)
        exported = path if path.suffix == ".onnx" else path / "model.onnx"
        if exported == path or (device == "auto" and exported.is_file() and find_spec("onnxruntime")):
            described, session = runtime.read(exported)
            if exported == path or described["made_from"] == _digest(path):
                return _described(described, runtime.look_by(session), path)
            print(
                f"{exported}: not used, as it was made from other weights; run "
                f"`facemix export {shlex.quote(str(path))}`",
                file=sys.stderr,
            )
        from facemix.training.landmarker import Landmarker
        from facemix.training.processes import choose_device

        landmarker = Landmarker.load(path, str(choose_device(device)))
        return _described(runtime.description(landmarker.about), landmarker.look, path)

    def predict(self, image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.floating]) -> Faces:
        """The landmarks of boxed faces of one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (n, 4) xyxy in pixels, tight around the landmarks of each face.

        Raises:
            BrokenFace: a box outside of the picture, or far larger than it.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        check_inside(Path("image"), image, boxes)
        transforms = geometry.crop_transform(self.frame.of(boxes), self.input_size, self.context)
        seen = look_each(self.look, (image for _ in boxes), transforms, self.input_size, len(self.scheme))
        return _faces(boxes, seen, is_calibrated=bool(self.radius))

    def find(self, image: npt.NDArray[np.uint8]) -> Faces:
        """The faces of one picture (H, W, 3) uint8 RGB, the surest first, and their landmarks.

        Each is looked at twice: in the box where it was found, and in that of the points that were seen there. What
        then looks like no face, or like one of the others, is left out.

        Raises:
            FacemixError: nothing is known that finds what this model looks for.
        """
        finder = self.require_finder()
        found = finders.find(finder["name"], image)
        expected = Frame(finder["down"], finder["scale"]).of(found.boxes)
        first = self.predict(image, expected)
        again = self.predict(image, _inside(image, geometry.landmark_box(first.points), expected))
        shown = ~unsure(again.points, again.errors, self.usual)
        shown[shown] = ~doubled(geometry.landmark_box(again.points[shown]))
        return Faces(
            boxes=again.boxes[shown],
            points=again.points[shown],
            errors=again.errors[shown],
            visible=again.visible[shown],
            scores=found.scores[shown],
        )

    def require_finder(self) -> Mapping[str, Any]:
        """What finds faces for this model.

        Raises:
            FacemixError: there is nothing, so boxes are needed.
        """
        if self.finder is None:
            raise FacemixError(
                f"{self.where}: no face finder fits this model of {self.scheme.name}, so boxes are needed; give one, "
                "tight around the landmarks, for each face"
            )
        return self.finder


def listed(values: npt.NDArray[np.floating], decimals: int = 2) -> list[Any]:
    """Nested lists of numbers as JSON has them: rounded, and None for NaN."""
    rounded = values.astype(np.float64).round(decimals).astype(object)
    rounded[np.isnan(values)] = None
    plain: list[Any] = rounded.tolist()
    return plain


def _inside(image: npt.NDArray[np.uint8], boxes: Boxes, otherwise: Boxes) -> Boxes:
    """Boxes (n, 4), and others in place of those that have no extent or no pixel of the picture."""
    height, width = image.shape[:2]
    low, high = boxes[:, :2], boxes[:, 2:]
    good = (high > low) & (high >= 0) & (low <= [width - 1, height - 1])
    return np.where(good.all(axis=1, keepdims=True), boxes, otherwise)


def _faces(boxes: Boxes, seen: Seen, is_calibrated: bool) -> Faces:
    errors = seen.errors.astype(np.float64)
    return Faces(
        boxes=boxes,
        points=seen.points.astype(np.float64),
        errors=errors if is_calibrated else np.full_like(errors, np.nan),
        visible=seen.visible.astype(np.float64),
        scores=np.full(len(boxes), np.nan),
    )


def _digest(folder: Path) -> str:
    try:
        return runtime.digest(folder)
    except OSError:
        return ""


def _described(described: Mapping[str, Any], look: Look, where: Path) -> Detector:
    """A detector of a description, as `runtime.description` gives it."""
    try:
        finder = described["finder"]
        return Detector(
            look=look,
            scheme=schemes.parse(described["scheme"], str(where)),
            input_size=int(described["input_size"]),
            context=float(described["context"]),
            frame=Frame(**described["frame"]),
            finder=finder if finder and finder.get("scale") else None,
            radius={float(level): float(value) for level, value in described["radius"].items()},
            usual=float(described["usual"] if described["radius"] else "nan"),
            where=where,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FacemixError(
            f"{where}: not a readable model ({error!r}); expected what `facemix train` writes"
        ) from error
