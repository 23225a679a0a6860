"""A Ray cluster on this machine, for tests."""

import warnings
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from facemix.cluster import SETTINGS


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node with one CPU."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield made
        made.shutdown()


def kill(node: Any) -> None:
    """Ends all processes of a node at once, as a power cut does."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    processes = [raylet, *raylet.children(recursive=True)]
    for process in processes:
        process.suspend()  # so that nobody tidies up after another
    for process in processes:
        process.kill()
