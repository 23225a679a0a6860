"""New labels for old pictures: the same bytes as a rendering with these labels, after a stop at any point too."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

import toy_studio
from facemix import cli
from facemix.errors import FacemixError
from facemix.faces import formats
from facemix.render import fingerprints, folder, relabel, sets, workers
from facemix.render.population import POPULATIONS, Population, changed

PROCESSES = workers.finished
SETTINGS = sets.Settings(seed=3, size=48, labels="mesh", population=POPULATIONS["synthetic"])


@pytest.fixture(scope="module", autouse=True)
def drawn() -> Iterator[None]:
    """The studio draws, in this process, and the generator has one version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "STUDIO", "toy_studio")
        patch.setattr(fingerprints, "pixels", lambda: "toy")
        patch.setattr(workers, "finished", toy_studio.one_by_one)
        yield


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def rendered(drawn: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sets of four faces by labels."""
    made = {}
    for labels, scheme in [("mesh", "ibug68"), ("annotator", "ibug68"), ("steady", "ibug68"), ("mesh", "wflw98")]:
        made[f"{labels} {scheme}"] = out = tmp_path_factory.mktemp("set") / "faces"
        sets.render_set(out, 4, replace(SETTINGS, labels=labels, scheme=scheme), 1)
    return made


@pytest.fixture
def faces(rendered: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the set with labels of the mesh."""
    return Path(shutil.copytree(rendered["mesh ibug68"], tmp_path / "faces"))


@pytest.mark.parametrize(("labels", "scheme"), [("annotator", "ibug68"), ("steady", "ibug68"), ("mesh", "wflw98")])
def test_the_result_is_that_of_a_rendering_with_these_labels(
    labels: str, scheme: str, rendered: dict[str, Path], faces: Path
) -> None:
    pictures = {path: path.stat().st_mtime_ns for path in faces.glob("*.png")}
    assert relabel.relabel(faces, labels, scheme, 1) == (labels, scheme, 4)
    assert tree(faces) == tree(rendered[f"{labels} {scheme}"])
    assert {path: path.stat().st_mtime_ns for path in faces.glob("*.png")} == pictures
    relabel.relabel(faces, "mesh", "ibug68", 1)
    assert tree(faces) == tree(rendered["mesh ibug68"])


def test_the_number_of_processes_changes_no_byte(
    rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "finished", PROCESSES)
    relabel.relabel(faces, "steady", processes=2)
    assert tree(faces) == tree(rendered["steady ibug68"])


def test_rendered_heads_take_labels_and_visibility_of_another_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "STUDIO", "facemix.render.studio")
    small = replace(SETTINGS, size=32, backend="scalar")
    sets.render_set(tmp_path / "wanted", 2, replace(small, labels="annotator"), 1)
    sets.render_set(tmp_path / "faces", 2, replace(small, scheme="wflw98"), 1)
    relabel.relabel(tmp_path / "faces", "annotator", "ibug68", 1)
    assert tree(tmp_path / "faces") == tree(tmp_path / "wanted")


def test_a_set_takes_the_labels_of_a_new_generator_and_goes_on(
    rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as former:
        former.setattr(fingerprints, "points", lambda: "former")
        relabel.relabel(faces, processes=1)
        with pytest.raises(FacemixError, match="facemix relabel"):
            sets.render_set(faces, 4, replace(SETTINGS, labels="annotator"), 1)
    relabel.relabel(faces, processes=1)
    sets.render_set(faces, 4, SETTINGS, 1)
    assert tree(faces) == tree(rendered["mesh ibug68"])


def test_labels_that_are_there_already_are_not_written_again(faces: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in faces.iterdir()}
    relabel.relabel(faces, processes=1)
    assert {path: path.stat().st_mtime_ns for path in faces.iterdir()} == before


def stop_after(count: int, patch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    """A function works so many times, and then the process is stopped."""
    works, left = getattr(where, name), iter(range(count))

    def stopped(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return works(*arguments)

    patch.setattr(where, name, stopped)


@pytest.mark.parametrize("written", range(0, 13, 2))
def test_a_stop_while_labels_are_replaced_is_told_and_made_good(
    written: int, rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # Six files are made beside, then the manifest is marked, then the six take their places.
        stop_after(written, patch, Path, "replace")
        with pytest.raises(KeyboardInterrupt):
            relabel.relabel(faces, "steady", processes=1)
    if written >= 7:
        for read in (lambda: formats.read("facesynthetics", faces), lambda: sets.render_set(faces, 5, SETTINGS, 1)):
            with pytest.raises(FacemixError, match=r"facemix relabel"):
                read()
    relabel.relabel(faces, "steady", processes=1)
    assert tree(faces) == tree(rendered["steady ibug68"])


def test_a_stop_while_labels_are_made_leaves_the_old_ones_and_goes_on(
    rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_after(0, patch, folder, "write_table")
        with pytest.raises(KeyboardInterrupt):
            relabel.relabel(faces, "annotator", processes=1)
    assert f"{faces}: stopped, 4 of 4 faces are there; the same command goes on" in capsys.readouterr().err
    visible = {name: content for name, content in tree(faces).items() if not name.startswith(".")}
    assert visible == tree(rendered["mesh ibug68"])
    made = (faces / ".labels/000001_ldmks.txt").stat().st_ino
    relabel.relabel(faces, "annotator", processes=1)
    assert (faces / "000001_ldmks.txt").stat().st_ino == made
    assert tree(faces) == tree(rendered["annotator ibug68"])


def test_what_was_made_of_other_labels_is_not_mixed_in(
    rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(0, patch, folder, "write_table")
        with pytest.raises(KeyboardInterrupt):
            relabel.relabel(faces, "annotator", processes=1)
    relabel.relabel(faces, "steady", processes=1)
    assert tree(faces) == tree(rendered["steady ibug68"])


def test_new_labels_that_are_lost_half_way_are_made_again(
    rendered: dict[str, Path], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(9, patch, Path, "replace")
        with pytest.raises(KeyboardInterrupt):
            relabel.relabel(faces, "steady", processes=1)
    shutil.rmtree(faces / ".labels")
    relabel.relabel(faces, processes=1)
    assert tree(faces) == tree(rendered["steady ibug68"])


def test_a_set_whose_rendering_was_stopped_can_be_relabelled_and_goes_on(
    rendered: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    with monkeypatch.context() as patch:
        stop_after(0, patch, folder, "write_table")
        with pytest.raises(KeyboardInterrupt):
            sets.render_set(out, 2, SETTINGS, 1)
    assert relabel.relabel(out, scheme="wflw98", processes=1) == ("mesh", "wflw98", 2)
    sets.render_set(out, 4, replace(SETTINGS, scheme="wflw98"), 1)
    assert tree(out) == tree(rendered["mesh wflw98"])


def test_pictures_of_another_generator_are_refused(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(faces)
    monkeypatch.setattr(fingerprints, "pixels", lambda: "later")
    with pytest.raises(
        FacemixError, match=r"render\.json: pixels: found 'toy', expected 'later': .*would not fit.*render .* again"
    ):
        relabel.relabel(faces, "annotator")
    assert tree(faces) == before


def test_other_folders_and_labels_that_cannot_be_are_refused(faces: Path, tmp_path: Path) -> None:
    before = tree(faces)
    with pytest.raises(FacemixError, match=r"nothing: found no render.json, expected a folder of `facemix render`"):
        relabel.relabel(tmp_path / "nothing", "annotator")
    with pytest.raises(FacemixError, match="labels: steady is known of ibug68 only, found scheme 'wflw98'; use mesh"):
        relabel.relabel(faces, "steady", "wflw98")
    with pytest.raises(FacemixError, match=r"scheme 'wflw89': not found \(did you mean 'wflw98'\?\)"):
        relabel.relabel(faces, scheme="wflw89")
    with pytest.raises(FacemixError, match="processes: found 0, expected at least 1"):
        relabel.relabel(faces, processes=0)
    assert tree(faces) == before


def without(key: str, content: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in content.items() if name != key})


def test_damaged_files_are_named(faces: Path) -> None:
    manifest, table = faces / "render.json", faces / "faces.parquet"
    content, found = json.loads(manifest.read_text()), parquet.read_table(table)
    for text, message in (("{", "damaged"), (without("seed", content), r"damaged \(KeyError\('seed'\)\); remove")):
        manifest.write_text(text)
        with pytest.raises(FacemixError, match=rf"render\.json: {message}"):
            relabel.relabel(faces, "steady", processes=1)
    manifest.write_text(json.dumps(content))
    for column, message in (
        (pyarrow.array(["AAAA"] * 4), r"face 0: seen: damaged \(found 3 bytes, expected"),
        (pyarrow.array([None] * 4, pyarrow.string()), "face 0: seen: damaged"),
    ):
        parquet.write_table(found.set_column(found.column_names.index("seen"), "seen", column), table)
        with pytest.raises(FacemixError, match=rf"faces\.parquet: {message}"):
            relabel.relabel(faces, "steady", processes=1)


@pytest.mark.parametrize("name", POPULATIONS)
def test_a_population_comes_back_from_a_manifest_as_it_was(name: str) -> None:
    recorded = sets.manifest(replace(SETTINGS, population=POPULATIONS[name]))["population"]
    assert changed(Population(), recorded) == POPULATIONS[name]
    assert list(recorded["lights"]) == list(POPULATIONS[name].lights)  # draws follow the order


def test_the_command_says_what_came_out_and_shows_nothing_without_a_terminal(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["relabel", str(faces), "--labels", "steady", "--processes", "1"])
    assert capsys.readouterr() == (f"{faces}: 4 faces, labels steady, scheme ibug68\n", "")
    with pytest.raises(SystemExit, match=r"^facemix relabel: .*labels: steady is known of ibug68 only"):
        cli.main(["relabel", str(faces), "--scheme", "five"])


def test_a_face_that_cannot_be_labelled_is_told(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "finished", PROCESSES)
    monkeypatch.setattr(sets, "STUDIO", "no_such_studio")
    with pytest.raises(FacemixError, match="face 0: could not be labelled\n(.|\n)*No module named 'no_such_studio'"):
        relabel.relabel(faces, "steady", processes=1)
    assert [path.name for path in (faces / ".labels").iterdir()] == ["render.json"]
