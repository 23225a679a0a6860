"""Joining a Ray cluster, and what is checked of its machines: without Ray."""

import sys
from dataclasses import replace
from typing import Any

import pytest

from facemix import cluster
from facemix.cluster import Node
from facemix.errors import FacemixError

HERE = {"torch": "2.13.0", "timm": "1.0.20", "opencv-python": "5.0.0.93"}
NODE = Node(
    name="a1",
    resources={"CPU": 8.0, "GPU": 2.0},
    host="one",
    python="3.11",
    packages=HERE | {"dvc": "3.67.1", "ray": "2.60.0"},
)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"python": "3.12"}, "Python: found 3.11 on one, 3.12 on two; install the same version"),
        ({"packages": {**NODE.packages, "ray": "2.55.0"}}, "Ray: found 2.60.0 on one, 2.55.0 on two"),
        ({"packages": {**NODE.packages, "torch": "2.12.0"}}, r"two: found torch 2.12.0 \(here: 2.13.0\)"),
        ({"packages": HERE}, "two: dvc not installed"),
    ],
)
def test_machines_of_other_versions_are_refused(other: dict[str, Any], message: str) -> None:
    cluster.check_versions([NODE, replace(NODE, host="two")], HERE, ["dvc"])
    with pytest.raises(FacemixError, match=message):
        cluster.check_versions([NODE, replace(NODE, host="two", **other)], HERE, ["dvc"])


def test_without_ray_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(FacemixError, match=r"Ray is not installed; run `pip install .*'\.\[ray\]'"),
        cluster.joined(),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "the address of a Ray client, but this command runs on one of the cluster's machines"),
        ("127.0.0.1:9", "^Ray at 127.0.0.1:9: no answer .*Connection refused.*; start it there"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_named(address: str, message: str) -> None:
    cluster.check_answer("local")
    with pytest.raises(FacemixError, match=message):
        cluster.check_answer(address)


def test_a_machine_is_asked_for_versions_without_what_tells_builds_apart() -> None:
    told = cluster.look(["torch", "no-such-package"])
    assert told["packages"].keys() == {"torch"} and "+" not in told["packages"]["torch"]
