"""MLflow, and nothing else knows it."""

from facemix.tracking.delivery import deliver, put_unsent, take_unsent
from facemix.tracking.registry import Benchmark, Champion, champion, model_digest
from facemix.tracking.run import DVC_TAGS, LONG_PATIENCE, Dataset, Finished, Run, finished, flatten, start
from facemix.tracking.store import StoreAwayError, shown_uri, store_uri, workspace

__all__ = [
    "DVC_TAGS",
    "LONG_PATIENCE",
    "Benchmark",
    "Champion",
    "Dataset",
    "Finished",
    "Run",
    "StoreAwayError",
    "champion",
    "deliver",
    "finished",
    "flatten",
    "model_digest",
    "put_unsent",
    "shown_uri",
    "start",
    "store_uri",
    "take_unsent",
    "workspace",
]
