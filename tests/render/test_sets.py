"""Rendered sets on disk, with a studio that draws: which files, what goes on after a stop, what is refused."""

import errno
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as parquet
import pytest

import toy_studio
from facemix.errors import FacemixError
from facemix.faces import formats
from facemix.render import fingerprints, sets

SETTINGS = sets.Settings(seed=3, size=64, labels="mesh", population=toy_studio.Population())  # type: ignore[arg-type]
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def drawn() -> Iterator[None]:
    """The studio draws, and the generator has one version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "STUDIO", "toy_studio")
        patch.setattr(fingerprints, "pixels", lambda: "toy")
        yield


def settings(**population: Any) -> sets.Settings:
    return replace(SETTINGS, population=toy_studio.Population(**population))  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, and its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def start(out: Path, n: int, **population: Any) -> subprocess.Popen[str]:
    """A run on two processes in a process of its own."""
    code = (
        "from pathlib import Path; from facemix.render import fingerprints, sets; import toy_studio; "
        "sets.STUDIO = 'toy_studio'; fingerprints.pixels = lambda: 'toy'; "
        f"settings = sets.Settings(seed=3, size=64, labels='mesh', population=toy_studio.Population(**{population})); "
        f"sets.render_set(Path({str(out)!r}), {n}, settings, 2)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(out: Path, n: int) -> None:
    """Until a set has so many images."""
    deadline = time.monotonic() + 60
    while len(list(out.glob("[0-9]*.png"))) < n:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_of(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def undisturbed(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of eight faces, rendered by one process without a break."""
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    sets.render_set(out, 8, SETTINGS, 1)
    return out


def test_a_set_is_a_folder_of_facesynthetics(undisturbed: Path) -> None:
    faces, broken = formats.read("facesynthetics", undisturbed)
    assert [face.id for face in faces] == [f"{i:06d}" for i in range(8)]
    assert not broken
    expected = toy_studio.Studio(64, "llvm").shoot(toy_studio.Population(), 3, 5, "mesh")
    np.testing.assert_array_equal(cv2.imread(str(faces[5].image))[..., ::-1], expected.image)
    np.testing.assert_allclose(np.loadtxt(faces[5].files[1]), expected.landmarks, atol=1e-4)


def test_the_table_has_a_row_a_face(undisturbed: Path) -> None:
    rows = parquet.read_table(undisturbed / "faces.parquet").to_pylist()
    assert [(row["index"], row["file"]) for row in rows] == [(i, f"{i:06d}.png") for i in range(8)]
    record = toy_studio.Studio(64, "llvm").shoot(toy_studio.Population(), 3, 5, "mesh").record
    assert rows[5] == {"index": 5, "file": "000005.png"} | record


def test_nothing_else_is_left_in_the_folder(undisturbed: Path) -> None:
    names = {f"{i:06d}{end}" for i in range(8) for end in (".png", "_ldmks.txt")}
    assert tree(undisturbed).keys() == names | {"faces.parquet", "render.json"}


def test_another_scheme_has_a_line_and_a_state_for_each_of_its_points(tmp_path: Path) -> None:
    sets.render_set(tmp_path, 1, replace(SETTINGS, scheme="five"), 1)
    assert np.loadtxt(tmp_path / "000000_ldmks.txt").shape == (5, 2)
    (row,) = parquet.read_table(tmp_path / "faces.parquet").to_pylist()
    assert len(row["visible"]) == 5
    assert json.loads((tmp_path / "render.json").read_text())["scheme"] == "five"


@pytest.mark.parametrize(
    ("labels", "scheme", "named"),
    [
        ("steady", "ibug68", "labels: found 'mesh', expected 'steady'"),
        ("mesh", "wflw98", "scheme: found 'ibug68', expected 'wflw98'"),
    ],
)
def test_pictures_with_other_labels_are_not_continued_but_can_have_new_ones(
    labels: str, scheme: str, named: str, undisturbed: Path
) -> None:
    command = f"facemix relabel {undisturbed} --labels {labels} --scheme {scheme}"
    with pytest.raises(FacemixError, match=f"holds these pictures with other labels: .*{named}.*; run `{command}`, or"):
        sets.render_set(undisturbed, 9, replace(SETTINGS, labels=labels, scheme=scheme), 1)


def test_labels_of_a_former_generator_are_not_continued_either(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "points", lambda: "later")
    with pytest.raises(FacemixError, match="points: found '.*', expected 'later'; run `facemix relabel "):
        sets.render_set(undisturbed, 9, SETTINGS, 1)


def test_a_scheme_without_a_table_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match=r"scheme 'wflw89': not found \(did you mean 'wflw98'\?\)"):
        sets.render_set(tmp_path / "set", 1, replace(SETTINGS, scheme="wflw89"), 1)
    assert not (tmp_path / "set").exists()


def test_only_of_ibug68_is_it_known_where_people_set_the_points() -> None:
    for labels in ("annotator", "steady"):
        with pytest.raises(FacemixError, match=f"{labels} is known of ibug68 only, found scheme 'wflw98'"):
            replace(SETTINGS, labels=labels, scheme="wflw98")
    assert sets.usual_labels("stand_in", "ibug68") == "annotator"
    assert sets.usual_labels("stand_in", "wflw98") == "mesh"


def test_segmentations_are_written_where_asked_for(tmp_path: Path) -> None:
    sets.render_set(tmp_path, 1, replace(SETTINGS, segmentation=True), 1)
    expected = toy_studio.Studio(64, "llvm").shoot(toy_studio.Population(), 3, 0, "mesh")
    found = cv2.imread(str(tmp_path / "000000_seg.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, expected.segmentation)


def test_the_number_of_processes_changes_no_byte(undisturbed: Path, tmp_path: Path) -> None:
    sets.render_set(tmp_path / "set", 8, SETTINGS, 3)
    assert tree(tmp_path / "set") == tree(undisturbed)


def test_a_larger_n_extends_a_set(undisturbed: Path, tmp_path: Path) -> None:
    sets.render_set(tmp_path / "set", 3, SETTINGS, 1)
    first = (tmp_path / "set/000000.png").stat().st_mtime_ns
    sets.render_set(tmp_path / "set", 8, SETTINGS, 2)
    assert tree(tmp_path / "set") == tree(undisturbed)
    assert (tmp_path / "set/000000.png").stat().st_mtime_ns == first


def test_a_smaller_n_is_refused(undisturbed: Path) -> None:
    before = tree(undisturbed)
    with pytest.raises(ValueError, match=r"found faces up to 000007, .* n = 5; set n to 8 or more"):
        sets.render_set(undisturbed, 5, SETTINGS, 1)
    assert tree(undisturbed) == before


def test_a_complete_set_is_not_rendered_again(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()}
    sets.render_set(undisturbed, 8, SETTINGS, 1)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()} == before
    assert capsys.readouterr().err == ""


def test_what_the_backend_has_to_say_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sets.render_set(tmp_path, 2, SETTINGS, 2)
    assert capfd.readouterr().err == f"{toy_studio.SENTENCE}\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_and_ends_in_the_same_bytes(number: signal.Signals, tmp_path: Path) -> None:
    out, same = tmp_path / "set", {"seconds": 0.2}
    process = start(out, 10, **same)
    wait_for(out, 2)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: -2}[number]
    there = len(list(out.glob("[0-9]*.png")))
    assert 2 <= there < 10
    assert not (out / "faces.parquet").exists()
    if number != signal.SIGKILL:
        assert f"{out}: stopped, " in printed
        assert "of 10 faces are there; the same command goes on where it stopped" in printed
        assert not list(out.glob(".0*"))
    deadline = time.monotonic() + 20
    while processes_of(process.pid):
        assert time.monotonic() < deadline, "processes are left over"
        time.sleep(0.05)
    (out / ".000003.png.4711").write_text("half")  # as a kill in the middle of writing leaves it
    sets.render_set(out, 10, settings(**same), 2)
    sets.render_set(tmp_path / "again", 10, settings(**same), 1)
    assert tree(out) == tree(tmp_path / "again")


def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    sets.render_set(out, 1, SETTINGS, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))  # processes started from here on write no larger file
    try:
        with pytest.raises(OSError, match=r"000001\.png: could not be written .*; the same command goes on") as error:
            sets.render_set(out, 8, SETTINGS, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert [path.name for path in out.glob("*.png")] == ["000000.png"]
    assert not list(out.glob(".0*"))
    sets.render_set(out, 8, SETTINGS, 1)
    assert tree(out) == tree(undisturbed)


@pytest.mark.parametrize("name", ["000003.png", "000003_ldmks.txt", "faces.parquet"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_or_empty_file_is_rendered_again_or_named(
    name: str, empty: bool, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    shutil.copytree(undisturbed, out)
    (out / name).write_bytes(b"") if empty else (out / name).unlink()
    if empty and name == "faces.parquet":
        with pytest.raises(ValueError, match=r"faces\.parquet: damaged .*remove the folder"):
            sets.render_set(out, 8, SETTINGS, 1)
        return
    sets.render_set(out, 8, SETTINGS, 1)
    assert tree(out) == tree(undisturbed)


def test_a_smaller_set_after_a_full_disk_holds_its_faces_alone(tmp_path: Path) -> None:
    wanted, out = tmp_path / "wanted", tmp_path / "set"
    sets.render_set(wanted, 2, SETTINGS, 1)
    sets.render_set(out, 3, SETTINGS, 1)
    (out / "000002.png").unlink()
    sets.render_set(out, 2, SETTINGS, 1)
    assert tree(out) == tree(wanted)


def test_a_process_that_is_killed_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match="face 2: the process that rendered it ended with exit code -9, killed"):
        sets.render_set(tmp_path, 4, settings(dies_at=2), 1)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["000000.png", "000001.png"]
    assert multiprocessing.active_children() == []


def test_a_failure_of_the_generator_shows_where_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match=r"face 1: could not be rendered\n(.|\n)*in shoot(.|\n)*no such hair"):
        sets.render_set(tmp_path, 4, settings(fails_at=1), 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SETTINGS, seed=4), "seed: found 3, expected 4; use another folder, or remove this one"),
        (replace(SETTINGS, size=32, labels="annotator"), "labels: found 'mesh', expected 'annotator'; size: found 64"),
        (replace(SETTINGS, backend="llvm"), "backend: found 'scalar', expected 'llvm'"),
        (settings(glasses=0.5), r"population.glasses: found 0\.1, expected 0\.5"),
        (settings(lights={"flash": 1.0}), "population.lights: found {'sun': 1.0}, expected {'flash': 1.0}"),
    ],
)
def test_the_folder_of_another_set_is_refused(other: sets.Settings, message: str, undisturbed: Path) -> None:
    before = tree(undisturbed)
    with pytest.raises(
        ValueError, match=f"{undisturbed}: holds a set that was rendered with other settings: .*{message}"
    ):
        sets.render_set(undisturbed, 8, other, 1)
    assert tree(undisturbed) == before


def test_a_set_of_another_generator_is_refused(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "pixels", lambda: "later")
    with pytest.raises(ValueError, match=r"rendered with other settings: pixels: found 'toy', expected 'later'"):
        sets.render_set(undisturbed, 9, SETTINGS, 1)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        ValueError, match=r"not empty, and it has no render.json, so it is no set of faces; use another folder"
    ):
        sets.render_set(tmp_path, 1, SETTINGS, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_second_process_is_kept_from_the_same_folder(tmp_path: Path) -> None:
    process = start(tmp_path, 8, seconds=0.5)
    wait_for(tmp_path, 1)
    with pytest.raises(FacemixError, match="another process writes into this folder"):
        sets.render_set(tmp_path, 8, settings(seconds=0.5), 1)
    process.terminate()
    process.communicate(timeout=30)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_manifest_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "render.json").write_text(text)
    with pytest.raises(ValueError, match=r"render\.json: damaged .*remove the folder"):
        sets.render_set(tmp_path, 1, SETTINGS, 1)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "0 to 2^63 - 1"),
        ("seed", 2**63, "0 to 2^63 - 1"),
        ("size", 16, "32 to 2048 pixels"),
        ("size", 4096, "32 to 2048 pixels"),
    ]
    + [("labels", "human", "one of mesh, annotator, steady"), ("backend", "metal", "one of auto, cuda, llvm, scalar")],
)
def test_a_setting_out_of_range_is_refused(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{key}: found {value!r}, expected {expected}")):
        replace(SETTINGS, **{key: value})


@pytest.mark.parametrize(
    ("n", "processes", "message"), [(0, 1, "n: found 0, expected at least 1"), (1, 0, "processes: fo")]
)
def test_no_faces_or_no_processes_are_refused(n: int, processes: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        sets.render_set(tmp_path / "set", n, SETTINGS, processes)
    assert not (tmp_path / "set").exists()


def test_the_manifest_says_what_decides_a_picture_and_its_labels(undisturbed: Path) -> None:
    content = json.loads((undisturbed / "render.json").read_text())
    assert content["population"]["lights"] == {"sun": 1.0}
    assert content["backend"] == "scalar"
    assert {"seed", "size", "labels", "segmentation", "pixels", "points", "mitsuba"} <= content.keys()
    assert "n" not in content
