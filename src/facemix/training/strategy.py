"""What a row of the table of strategies means: to training, to the report and to the verdict alike."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facemix.config import Params, Training

MODELS = Path("models")
"""Where the pipeline keeps what was trained: `models/STRATEGY/seed-K`."""
ADAPTER_FROM = "label_adaptation"
"""The strategy that fits the label adapter which others adapt their synthetic labels with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one detector comes about. Architecture and augmentation are the same for all."""

    name: str
    synthetic_share: float | Literal["alpha"]
    """Expected share of synthetic faces in a training batch; a set of share 0 is not even opened."""
    adapts_labels: bool = False
    """Synthetic faces are trained on with adapted labels, else with their labels as rendered."""
    starts_from: Literal["synthetic_only"] | None = None
    """The trained strategy whose network training starts from; else from scratch (or ImageNet)."""
    shares_network_of: Literal["synthetic_only"] | None = None
    """The strategy whose trained network is used as it is: nothing is trained but the label adapter."""
    adapts_predictions: bool = False
    """The label adapter is fitted on what the network predicts on real training faces, and applied to predictions."""
    own_head: bool = False
    """Synthetic faces have a head of their own, on the shared rest of the network; it is thrown away afterwards."""
    budgets: int = 1
    """Training takes this many times `training.steps`."""

    def __post_init__(self) -> None:
        assert not self.shares_network_of or self.adapts_predictions, f"{self.name}: trains nothing"
        assert not (self.shares_network_of and self.starts_from), f"{self.name}: of two networks"
        mixes = self.synthetic_share not in ("alpha", 0, 1)  # alpha may be 0 or 1, where one head would learn nothing
        assert not self.own_head or mixes, f"{self.name}: two heads for faces of one kind"
        assert not (self.own_head and (self.adapts_labels or self.starts_from)), f"{self.name}: a head begins anew"

    @property
    def trains(self) -> bool:
        """Whether a network is trained, not one of another strategy used as it is."""
        return self.shares_network_of is None

    def alpha(self, params: Params) -> float:
        """The expected share of synthetic faces in a batch."""
        return params.alpha if self.synthetic_share == "alpha" else self.synthetic_share

    def uses_real(self, params: Params) -> bool:
        """Whether it learns from real training faces: by its batches, or by what its label adapter is fitted on."""
        return self.adapts_predictions or self.alpha(params) < 1

    def keeps_labels(self, params: Params) -> bool:
        """Whether the points of its detector are trained on synthetic faces with their labels as rendered."""
        return self.trains and not self.adapts_labels and not self.own_head and self.alpha(params) > 0

    def needs_adapter(self, params: Params) -> bool:
        """Whether it trains on labels that an adapter, fitted before, has adapted."""
        return self.trains and self.adapts_labels and self.alpha(params) > 0

    def training(self, params: Params) -> Training:
        """How long it trains and at which peak learning rate: a trained network has one of its own."""
        settings = lasting(params.training, self.budgets * params.training.steps)
        if not self.starts_from:
            return settings
        return dataclasses.replace(settings, learning_rate=params.fine_tuning.learning_rate)


def lasting(settings: Training, steps: int) -> Training:
    """The same over another number of steps: warm-up and the distance of evaluations keep their share of them."""
    return dataclasses.replace(
        settings,
        steps=steps,
        warmup_steps=settings.warmup_steps * steps // settings.steps,
        evaluate_every=max(1, settings.evaluate_every * steps // settings.steps),
    )
