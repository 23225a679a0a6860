"""The experiment: the strategies as one table. Everything else reads it; a new strategy is a new row.

dvc.yaml depends on single rows (`TABLE.mixing`), as DVC reads this file: a new row makes no other training stale. What
the keys mean stands in `facemix.training.strategy`.
"""

from typing import Any

from facemix.training.strategy import ADAPTER_FROM, MODELS, Strategy

__all__ = ["ADAPTER_FROM", "MODELS", "STRATEGIES", "TABLE", "Strategy"]

TABLE: dict[str, dict[str, Any]] = {
    "synthetic_only": {"synthetic_share": 1.0},
    "real_only": {"synthetic_share": 0.0},
    "label_adaptation": {
        "synthetic_share": 1.0,
        "shares_network_of": "synthetic_only",
        "adapts_predictions": True,
    },
    "data_adaptation": {"synthetic_share": 1.0, "adapts_labels": True},
    "mixing": {"synthetic_share": "alpha", "adapts_labels": True},
    "fine_tuning": {"synthetic_share": 0.0, "starts_from": "synthetic_only"},
    "control": {"synthetic_share": 0.0, "budgets": 2},
    "two_heads": {"synthetic_share": 0.5, "own_head": True, "budgets": 2},
}

STRATEGIES = {name: Strategy(name=name, **row) for name, row in TABLE.items()}
