"""facemix: how much is synthetic face data worth for a landmark detector, and how should it be mixed in?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facemix.training.landmarker import Landmarker
    from facemix.use.detector import Detector

__all__ = ["Detector", "Landmarker"]


def __getattr__(name: str) -> Any:
    # Late, so that `facemix --help` and everything else that needs no network does not wait for torch.
    if name == "Landmarker":
        from facemix.training.landmarker import Landmarker

        return Landmarker
    if name == "Detector":
        from facemix.use.detector import Detector

        return Detector
    raise AttributeError(f"module 'facemix' has no attribute {name!r}")
