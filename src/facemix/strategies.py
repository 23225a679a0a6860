"""The experiment: the strategies as one table. Everything else reads it; a new strategy is a new row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facemix.config import Params

MODELS = Path("models")
"""Where the pipeline keeps what was trained: `models/STRATEGY/seed-K`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one detector comes about. Architecture, budget and augmentation are the same for all."""

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
    """The label adapter is applied to what the network predicts."""

    def alpha(self, params: Params) -> float:
        """The expected share of synthetic faces in a batch."""
        return params.alpha if self.synthetic_share == "alpha" else self.synthetic_share

    def learning_rate(self, params: Params) -> float:
        """The peak learning rate: a trained network takes smaller steps."""
        return params.fine_tuning.learning_rate if self.starts_from else params.training.learning_rate


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
    )
}

ADAPTER_FROM = "label_adaptation"
"""The strategy that fits the label adapter which others adapt their synthetic labels with."""
