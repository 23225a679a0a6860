"""`facemix import` and `prepare --on ray`: the same faces are broken, and the pack is the same, as here."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

import toy
from facemix import cluster as clusters
from facemix.cluster import Cluster, Node
from facemix.errors import FacemixError
from facemix.faces import formats, on_ray, packing
from facemix.faces.packing import Entry
from toy_cluster import cluster  # noqa: F401

HERE = dict.fromkeys(on_ray.PACKAGES, "1")
NODE = Node(name="a1", resources={"CPU": 2.0}, host="one", python="3.11", packages=HERE | {"ray": "2"})


@pytest.fixture(autouse=True)
def versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "version", HERE.get)
    monkeypatch.setattr(on_ray, "RANGE", 4)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    faces, _ = formats.read("facesynthetics", toy.write_facesynthetics(tmp_path / "set", n=18))
    return [Entry(face=face, source="toy", split="train") for face in faces]


class Machines(Cluster):
    """Machines that need no Ray, and of which the last to begin is the first to end."""

    __slots__ = ()

    def finished(
        self, function: Callable[[Any, Any], Any], shared: object, items: Iterable[Any], **_: Any
    ) -> Iterator[tuple[Any, Any]]:
        yield from [(item, function(shared, item)) for item in items][::-1]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_pack_is_the_same_in_whatever_order_machines_end(tmp_path: Path, entries: list[Entry]) -> None:
    elsewhere = on_ray.cutting(Machines(ray=None, nodes=[NODE]))
    there = packing.write(tmp_path / "there", entries, size=48, margin=2.0, cut_all=elsewhere)
    here = packing.write(tmp_path / "here", entries, size=48, margin=2.0)
    assert there == here
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_broken_faces_are_those_that_are_broken_here(tmp_path: Path, entries: list[Entry]) -> None:
    entries[1].face.image.write_bytes(b"no picture")
    for lost in (*range(8, 12), 17):  # a whole range, and one more
        entries[lost].face.image.unlink()
    said = []
    for more in ({}, {"cut_all": on_ray.cutting(Machines(ray=None, nodes=[NODE]))}):
        with pytest.raises(FacemixError, match="6 of 18 faces are broken") as error:
            packing.write(tmp_path / "pack", entries, size=48, margin=2.0, **more)  # type: ignore[arg-type]
        said.append(str(error.value))
    assert said[0] == said[1]


def test_an_import_refuses_the_same_faces_wherever_they_are_inspected(tmp_path: Path, entries: list[Entry]) -> None:
    faces = [entry.face for entry in entries]
    faces[1].image.unlink()
    for number, keep in ((2, 200), (9, 0)):
        faces[number].image.write_bytes(faces[number].image.read_bytes()[:keep])
    picture = cv2.imread(str(faces[3].image))
    jpeg = bytearray(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes())
    jpeg[jpeg.index(b"\xff\xd0") + 1] = 0xD5  # libjpeg complains, and decodes it all the same
    faces[3].image.write_bytes(jpeg)
    faces[5] = replace(faces[5], landmarks=faces[5].landmarks + 10_000)
    faces[12].image.write_bytes(faces[11].image.read_bytes())
    faces[12] = replace(faces[12], landmarks=faces[11].landmarks)
    said = [str(one) for one in formats.check(faces)]
    elsewhere = on_ray.inspecting(Machines(ray=None, nodes=[NODE]))
    assert [str(one) for one in formats.check(faces, elsewhere)] == said
    for number, part in ((1, "no such file"), (2, "cut off"), (3, "the JPEG decoder says"), (9, "0 bytes")):
        assert any(str(faces[number].image) in one and part in one for one in said)
    assert len(said) == 6


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"packages": HERE | {"opencv-python": "0", "ray": "2"}}, "two: found opencv-python 0 .here: "),
        ({"packages": {"numpy": HERE["numpy"], "ray": "2"}}, "two: opencv-python not installed"),
    ],
)
def test_machines_that_would_decode_otherwise_are_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(FacemixError, match=message):
        on_ray.cutting(Cluster(ray=None, nodes=[NODE, replace(NODE, host="two", **node)]))
    with pytest.raises(FacemixError, match="no machine of the cluster has a CPU"):
        on_ray.cutting(Cluster(ray=None, nodes=[replace(NODE, resources={})]))


@pytest.mark.end_to_end
@pytest.mark.xdist_group("ray")
def test_a_pack_from_a_cluster_is_that_from_here(
    tmp_path: Path, entries: list[Entry], request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    made: Any = request.getfixturevalue("cluster")
    here = packing.write(tmp_path / "here", entries, size=48, margin=2.0)
    with clusters.joined(made.address, on_ray.PACKAGES) as joined:
        told = replace(joined, nodes=[replace(node, packages=NODE.packages) for node in joined.nodes])
        there = packing.write(tmp_path / "there", entries, size=48, margin=2.0, cut_all=on_ray.cutting(told))
        faces = [entry.face for entry in entries]
        faces[2].image.write_bytes(b"no picture")
        broken = formats.check(faces, on_ray.inspecting(told))
    assert [str(one) for one in broken] == [str(one) for one in formats.check(faces)] != []
    assert there == here
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
