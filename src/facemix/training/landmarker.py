"""`Landmarker`: a trained network, with its label adapter where it has one, applied to images."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from facemix.errors import FacemixError
from facemix.faces import geometry, schemes
from facemix.faces.images import check_inside
from facemix.faces.looking import Seen, look_each
from facemix.faces.schemes import Scheme
from facemix.files import whole_file
from facemix.training import certainty
from facemix.training.adaptation import LabelAdapter
from facemix.training.detector_net import DetectorNet
from facemix.training.frame import Frame
from facemix.training.model import LandmarkNet


@dataclass
class Landmarker:
    """A landmark detector: faces in boxes in, the points of a scheme out."""

    network: LandmarkNet
    context: float
    """Side of the network's field of view / longer side of the face box."""
    about: dict[str, Any]
    """What model.json holds: all that is needed to rebuild the network, and how it was trained."""
    adapter: LabelAdapter | None = None

    @property
    def scheme(self) -> Scheme:
        """Of the points that it finds."""
        return schemes.parse(self.about["scheme"], "model.json")

    @property
    def network_scheme(self) -> Scheme:
        """Of the points that its network finds, which the label adapter may translate to another scheme."""
        return schemes.parse(self.about.get("network_scheme", self.about["scheme"]), "model.json")

    @property
    def frame(self) -> Frame:
        """Where its network expects the face."""
        return Frame(**self.about.get("frame", {}))

    @property
    def input_size(self) -> int:
        """Side of what the network sees, pixels."""
        return int(self.about["network"]["input_size"])

    @cached_property
    def net(self) -> DetectorNet:
        """Network, label adapter and calibration as one module."""
        told = self.about.get("certainty")
        scale = None if told is None else torch.from_numpy(certainty.read(told).scale)
        made = DetectorNet(self.network, self.adapter, scale)
        return made.to(next(self.network.parameters()).device).eval()

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> "Landmarker":
        """Rebuilds a detector from `model.json` and `model.safetensors`.

        Raises:
            ValueError: a file is missing or damaged, or the two do not belong together.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            architecture, hidden = about["network"], about["adapter"]
            scheme = schemes.parse(about["scheme"], str(folder / "model.json"))
            own = schemes.parse(about.get("network_scheme", about["scheme"]), str(folder / "model.json"))
            network = LandmarkNet.of(architecture, own, visibility=about.get("visibility", False))
            context = float(architecture["context"])
            adapter = None if hidden is None else LabelAdapter(own, scheme, hidden["hidden"])
            state = load_file(folder / "model.safetensors")
            network.load_state_dict(_under("network.", state))
            if adapter is not None:
                adapter.load_state_dict(_under("adapter.", state))
        except Exception as error:
            raise FacemixError(
                f"{folder}: not a readable model ({error}); expected model.json and model.safetensors "
                "as `facemix train` writes them"
            ) from error
        network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return cls(network, context, about, adapter)

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `model.safetensors`, each beside and then renamed."""
        state = {f"network.{key}": value for key, value in self.network.state_dict().items()}
        if self.adapter is not None:
            state |= {f"adapter.{key}": value for key, value in self.adapter.state_dict().items()}
        state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        with whole_file(folder / "model.safetensors") as beside:
            save_file(state, beside)
        with whole_file(folder / "model.json") as beside:
            beside.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")

    def predict(self, image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Landmarks (n, K, 2) of the faces of one image: the points of `detect`."""
        return self.detect(image, boxes).points.astype(np.float32)

    def detect(self, image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.floating]) -> Seen:
        """Landmarks of the faces of one image, and how sure each of them is.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (n, 4) xyxy in pixels, tight around the landmarks of each face.

        Returns:
            points (n, K, 2) in pixels of the image, 0-based pixel centres; their expected errors (n, K) in pixels; and
            the probability (n, K) that each is seen.

        Raises:
            ValueError: an image or boxes of another shape or type; a box that is not finite, without extent, outside of
                the image or far larger than it.
        """
        image, boxes = np.asarray(image), np.asarray(boxes, dtype=np.float64)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise FacemixError(f"image: found {image.dtype} of shape {image.shape}, expected uint8 (H, W, 3) RGB")
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise FacemixError(f"boxes: found shape {boxes.shape}, expected (n, 4) xyxy in pixels")
        good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        if not good.all():
            raise FacemixError(f"boxes: found {boxes[good.argmin()].tolist()}, expected x0 < x1 and y0 < y1, finite")
        check_inside(Path("image"), image, np.asarray(boxes, dtype=np.float64))
        return self.look_each((image for _ in boxes), boxes)

    def look_each(self, images: Iterable[npt.NDArray[np.uint8]], boxes: npt.NDArray[np.floating]) -> Seen:
        """The same of one face in each of n images; boxes (n, 4)."""
        transforms = geometry.crop_transform(self.frame.of(boxes), self.input_size, self.context)
        return look_each(self.look, images, transforms, self.input_size, len(self.net.scale))

    def look(self, crops: npt.NDArray[np.uint8]) -> Seen:
        """What is seen in crops (n, S, S, 3) uint8 RGB, in pixels of the crops."""
        self.network.eval()
        pixels = torch.from_numpy(crops).to(self.net.scale.device).permute(0, 3, 1, 2).float().mul_(1 / 255)
        with torch.inference_mode():
            points, errors, visible = (
                None if part is None else part.double().cpu().numpy() for part in self.net(pixels)
            )
        assert points is not None and errors is not None
        return Seen(points, errors, np.full(errors.shape, np.nan) if visible is None else visible)


def _under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
