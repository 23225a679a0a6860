"""Two heads on one network: real and synthetic faces train points of their own, and share all the rest.

Rendered labels mean something else than human ones. With a head for each, neither disturbs the other, and no label has
to be adapted. While it trains, the network finds the points of both; a face is unlabelled where they are not its own.
Afterwards the head of synthetic faces is thrown away.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facemix.faces.schemes import Scheme
from facemix.training.model import LandmarkNet


def joint(real: Scheme, synthetic: Scheme) -> Scheme:
    """The points of both, real ones first; the two schemes may be the same, or share nothing."""
    mirror = np.concatenate([real.mirror, synthetic.mirror + len(real)])
    mirror.flags.writeable = False
    return Scheme(
        name="two_heads",
        points=(*(f"real_{name}" for name in real.points), *(f"synthetic_{name}" for name in synthetic.points)),
        mirror=mirror,
        regions={},
        skeleton=(),
        outline=(),
        touching=(),
        face_sizes={},
        normalizer="box_side",
        source="points of real and synthetic faces, each with a head of its own",
    )


def weights(real: Scheme, synthetic: Scheme) -> npt.NDArray[np.float32]:
    """How much each point of the joint scheme (K,) counts, so that a synthetic face counts as much as a real one."""
    return np.repeat([1.0, len(real) / len(synthetic)], [len(real), len(synthetic)]).astype(np.float32)


def real_head(network: LandmarkNet, scheme: Scheme, architecture: dict[str, Any]) -> LandmarkNet:
    """The network without its head of synthetic faces.

    Args:
        network: of a joint scheme.
        scheme: of the real faces.
        architecture: of the network, as `model.json` states it.
    """
    alone = LandmarkNet.of(architecture, scheme, visibility=network.probe is not None)
    expected = alone.state_dict()
    # What belongs to points has rows in their order, real ones first.
    alone.load_state_dict(
        {key: value[: len(expected[key])] if value.ndim else value for key, value in network.state_dict().items()}
    )
    device = next(network.parameters()).device
    return alone.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
