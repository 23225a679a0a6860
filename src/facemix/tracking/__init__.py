"""MLflow, and nothing else knows it."""

from facemix.tracking.run import (
    Dataset,
    Finished,
    Run,
    deliver,
    finished,
    flatten,
    shown_uri,
    start,
    store_uri,
    workspace,
)

__all__ = [
    "Dataset",
    "Finished",
    "Run",
    "deliver",
    "finished",
    "flatten",
    "shown_uri",
    "start",
    "store_uri",
    "workspace",
]
