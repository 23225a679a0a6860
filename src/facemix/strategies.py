"""The experiment: the strategies as one table. Everything else reads it; a new strategy is a new row."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facemix.config import Params, Training

MODELS = Path("models")
"""Where the pipeline keeps what was trained: `models/STRATEGY/seed-K`."""


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
    budgets: int = 1
    """Training takes this many times `training.steps`."""

    def __post_init__(self) -> None:
        assert not self.shares_network_of or self.adapts_predictions, f"{self.name}: trains nothing"
        assert not (self.shares_network_of and self.starts_from), f"{self.name}: of two networks"

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

    def needs_adapter(self, params: Params) -> bool:
        """Whether it trains on labels that an adapter, fitted before, has adapted."""
        return self.trains and self.adapts_labels and self.alpha(params) > 0

    def training(self, params: Params) -> Training:
        """How long it trains and at which peak learning rate: a trained network has one of its own."""
        settings = params.training.lasting(self.budgets * params.training.steps)
        if not self.starts_from:
            return settings
        return dataclasses.replace(settings, learning_rate=params.fine_tuning.learning_rate)


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy(name="synthetic_only", synthetic_share=1.0),
        Strategy(name="real_only", synthetic_share=0.0),
        Strategy(
            name="label_adaptation",
            synthetic_share=1.0,
            shares_network_of="synthetic_only",
            adapts_predictions=True,
        ),
        Strategy(name="data_adaptation", synthetic_share=1.0, adapts_labels=True),
        Strategy(name="mixing", synthetic_share="alpha", adapts_labels=True),
        Strategy(name="fine_tuning", synthetic_share=0.0, starts_from="synthetic_only"),
        Strategy(name="control", synthetic_share=0.0, budgets=2),
    )
}

ADAPTER_FROM = "label_adaptation"
"""The strategy that fits the label adapter which others adapt their synthetic labels with."""
