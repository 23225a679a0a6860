"""`facemix render --on ray`: the same files as here, with a studio that draws, and what is checked before."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy_studio
from facemix import cluster as clusters
from facemix.cluster import Cluster, Node
from facemix.errors import FacemixError
from facemix.render import fingerprints, on_ray, sets
from facemix.stages import render
from toy_cluster import cluster, kill  # noqa: F401

SETTINGS = sets.Settings(seed=3, size=64, labels="mesh", population=toy_studio.Population(seconds=0.2))  # type: ignore[arg-type]
HERE = {"mitsuba": "3.9.1", "numpy": "2.4.6"}
NODE = Node(name="a1", resources={"CPU": 2.0}, host="one", python="3.11", packages=HERE | {"ray": "2.60.0"})


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The studio draws, and the generator has one version."""
    monkeypatch.setattr(sets, "STUDIO", "toy_studio")
    monkeypatch.setattr(fingerprints, "pixels", lambda: "toy")
    monkeypatch.setattr(on_ray, "version", HERE.get)
    monkeypatch.setattr(on_ray, "PACKAGES", tuple(HERE))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Machines(Cluster):
    """Machines that need no Ray: each is asked for its backend only."""

    __slots__ = ()

    def everywhere(self, _function: Any, *_arguments: object, gpus: float = 0) -> list[Any]:
        return [f"{'cuda' if gpus and node.resources.get('GPU') else 'llvm'}" for node in self.nodes]


def machines(*nodes: Node) -> Cluster:
    return Machines(ray=None, nodes=nodes)


def test_machines_that_render_alike_are_those_that_render() -> None:
    head = replace(NODE, resources={"CPU": 0.0})
    found, backend = on_ray.examined(machines(head, NODE), "auto")
    assert ([*found.nodes], backend) == ([NODE], "llvm")
    gpu = replace(NODE, resources={"CPU": 2.0, "GPU": 1.0})
    found, backend = on_ray.examined(machines(NODE, gpu), "cuda")
    assert ([*found.nodes], backend) == ([gpu], "cuda")


@pytest.mark.parametrize(
    ("node", "backend", "message"),
    [
        ({"packages": {"numpy": "2.4.6", "ray": "2.60.0"}}, "auto", "two: mitsuba not installed; install facemix"),
        ({"packages": NODE.packages | {"mitsuba": "3.8.0"}}, "auto", r"two: found mitsuba 3.8.0 \(here: 3.9.1\)"),
        ({"resources": {"CPU": 2.0, "GPU": 1.0}}, "auto", "would choose llvm on one, cuda on two; name one"),
        ({}, "cuda", "no machine of the cluster has a GPU and a CPU to render on"),
    ],
)
def test_machines_that_cannot_render_alike_are_refused(node: dict[str, Any], backend: str, message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        on_ray.examined(machines(NODE, replace(NODE, host="two", **node)), backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "ray", "processes": 2}, "--processes: on Ray each CPU of a machine renders a face"),
        ({"address": "head:6379"}, "--address is Ray's; add --on ray"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        render.render_folder(tmp_path, 1, **options)


@pytest.fixture
def workers_know_the_toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machines of a cluster that begins later find the studio that draws."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]))
    yield


@pytest.mark.end_to_end
@pytest.mark.xdist_group("ray")
def test_a_set_from_a_cluster_is_that_from_here_though_a_machine_dies(
    tmp_path: Path, workers_know_the_toys: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    made: Any = request.getfixturevalue("cluster")
    second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    here, there, n = tmp_path / "here", tmp_path / "there", 40
    sets.render_set(here, n, SETTINGS, 2)
    write, written = sets._Rendering.write, []

    def write_and_kill(self: Any, files: on_ray.Files) -> None:
        write(self, files)
        written.append(files)
        if len(written) == n // 4:
            kill(second)
            made.remove_node(second, allow_graceful=False)

    monkeypatch.setattr(sets._Rendering, "write", write_and_kill)
    monkeypatch.setattr(on_ray, "_choice", toy_studio.backend)
    with clusters.joined(made.address, HERE) as machines:
        assert len(machines.nodes) == 2
        told = [replace(node, packages=NODE.packages) for node in machines.nodes]
        sets.render_set(there, n, SETTINGS, cluster=replace(machines, nodes=told))
        assert len(written) == n and tree(there) == tree(here)
        quick = replace(SETTINGS, population=toy_studio.Population())  # type: ignore[arg-type]
        one = replace(machines, nodes=[node for node in told if node.name == made.head_node.node_id])
        sets.render_set(tmp_path / "shards here", 5, quick, 1, sharded=True)
        sets.render_set(tmp_path / "shards there", 5, quick, cluster=one, sharded=True)
        assert tree(tmp_path / "shards there") == tree(tmp_path / "shards here")
        shutil.rmtree(there)
        broken = replace(SETTINGS, population=toy_studio.Population(fails_at=2))  # type: ignore[arg-type]
        with pytest.raises(FacemixError, match="(?s)^face 2: could not be rendered.*no such hair"):
            sets.render_set(there, 3, broken, cluster=one)
