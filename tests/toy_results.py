"""Trainings whose results are made up, as `facemix.verdict.results` reads them."""

from typing import Any

import numpy as np

from facemix.evaluation import metrics
from facemix.faces.schemes import ibug68
from facemix.verdict.comparison import Trained

FACES = [f"f{i:02d}" for i in range(40)]
BUDGETS = {"real_only": 1, "label_adaptation": 1, "synthetic_only": 1}  # the others saw two


def trained(strategy: str, seed: int, errors: Any, normalizer: str = "outer_eye", **changes: Any) -> Trained:
    """A training whose errors are known."""
    nme = np.asarray(errors, np.float64)
    test = {"nme": float(nme.mean()), "regions": {"jaw": float(nme.mean())}, "subsets": {"lfpw": float(nme.mean())}}
    thresholds = metrics.thresholds(ibug68(), normalizer)
    test |= metrics.rates(nme, thresholds)
    about = {
        "strategy": strategy,
        "seed": seed,
        "metrics": {
            "scheme": "ibug68",
            "normalizer": normalizer,
            "thresholds": list(thresholds),
            "val": {"nme": float(nme.mean()) + 1},
            "test": test,
        },
        "errors": dict(zip(FACES, nme.tolist(), strict=False)),
        "photos": {face: face for face in FACES[: len(nme)]},
        "box_jitter": {0.0: float(nme.mean()), 0.1: 2 * float(nme.mean())},
        "history": [{"step": 10.0, "val_error": float(nme.mean()) + 2}],
        "faces_seen": 320 * BUDGETS.get(strategy, 2),
    }
    return Trained(**about | changes)
