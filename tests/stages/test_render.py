"""`facemix render`, for a folder and for the pipeline, with a studio that draws."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from facemix import cli, config
from facemix.errors import FacemixError
from facemix.faces import packs
from facemix.faces.face import STAND_IN
from facemix.render import fingerprints, folder, labels, sets
from facemix.stages import former
from facemix.stages.prepare import prepare
from facemix.stages.render import render_stage

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
NONE = config.RenderedSet(n=0, seed=0, image_size=64, population={})


def params(synthetic: int = 0, stand_in: int = 0, **changes: object) -> config.Params:
    render = config.Render(
        synthetic=dataclasses.replace(NONE, **{"n": synthetic} | changes),
        stand_in=dataclasses.replace(NONE, n=stand_in, seed=1),
    )
    sources = config.Sources(real=(), synthetic=())
    pack = config.Pack(crop_size=48, margin=2.0)
    return dataclasses.replace(config.load(PARAMS), render=render, sources=sources, pack=pack)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder whose studio draws."""
    monkeypatch.setattr(sets, "STUDIO", "toy_studio")
    monkeypatch.setattr(fingerprints, "pixels", lambda: "toy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    return tmp_path


def test_the_stage_writes_a_whole_set_and_leaves_no_checkpoint(project: Path) -> None:
    render_stage("synthetic", params(synthetic=2))
    out = project / "data/renders/synthetic"
    assert parquet.read_table(out / "faces.parquet").num_rows == 2
    assert json.loads((out / "render.json").read_text())["labels"] == "mesh"
    assert not list((project / "checkpoints").glob("render-*/"))


def test_the_stand_in_is_labelled_as_a_person_would(project: Path) -> None:
    render_stage("stand_in", params(stand_in=1))
    assert json.loads((project / "data/renders/stand_in/render.json").read_text())["labels"] == "annotator"


def test_a_stage_that_was_stopped_goes_on_from_the_main_workspace(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table = folder.write_table
    monkeypatch.setattr(folder, "write_table", lambda *_: sys.exit(143))  # stopped when all faces are there
    with pytest.raises(SystemExit):
        render_stage("synthetic", params(synthetic=2))
    (work,) = (project / "checkpoints").glob("render-synthetic-*/")
    first = (work / "000000.png").stat().st_mtime_ns
    assert not (project / "data/renders/synthetic").exists()
    monkeypatch.setattr(folder, "write_table", write_table)
    temporary = project / "temporary"  # as `dvc exp run --temp` has it
    temporary.mkdir()
    monkeypatch.chdir(temporary)
    render_stage("synthetic", params(synthetic=2))
    assert (temporary / "data/renders/synthetic/000000.png").stat().st_mtime_ns == first


def as_last_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stage wrote, as DVC's cache has it; DVC takes the output away before the stage runs again."""
    cache = Path(shutil.move(project / "data/renders/synthetic", project / "cache"))
    files = {path.name: path for path in cache.iterdir()}
    monkeypatch.setattr(former, "files", lambda out: files if out.name == "synthetic" else {})
    return cache


def test_new_labels_and_more_faces_keep_the_pictures_of_the_last_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render_stage("synthetic", params(synthetic=3, labels="steady"))
    wanted = Path(shutil.move(project / "data/renders/synthetic", project / "wanted"))
    render_stage("synthetic", params(synthetic=2))
    cache = as_last_written(project, monkeypatch)
    (cache / "000001.png").write_bytes(b"as it was")
    render_stage("synthetic", params(synthetic=3, labels="steady"))
    assert "data/renders/synthetic: 2 pictures of the last run stay as they are\n" in capsys.readouterr().out
    files = {path.name: path.read_bytes() for path in (project / "data/renders/synthetic").iterdir()}
    assert files == {path.name: path.read_bytes() for path in wanted.iterdir()} | {"000001.png": b"as it was"}


@pytest.mark.parametrize("changes", [{"seed": 5}, {"image_size": 48}, {"population": {"glasses": 1.0}}, {"n": 1}])
def test_other_pictures_are_rendered_anew(
    changes: dict[str, object], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_stage("synthetic", params(synthetic=2))
    as_last_written(project, monkeypatch)
    monkeypatch.setattr(sets, "render_set", lambda work, *_: pytest.fail("taken over") if work.exists() else sys.exit())
    with pytest.raises(SystemExit):
        render_stage("synthetic", params(**{"synthetic": 2} | changes))


def test_the_pictures_of_a_run_that_was_stopped_take_labels_that_changed_since(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_table", lambda *_: sys.exit(143))
        with pytest.raises(SystemExit):
            render_stage("synthetic", params(synthetic=2))
    (work,) = (project / "checkpoints").glob("render-synthetic-*/")
    first = (work / "000000.png").stat().st_mtime_ns
    render_stage("synthetic", params(synthetic=2, labels="annotator"))
    out = project / "data/renders/synthetic"
    assert (out / "000000.png").stat().st_mtime_ns == first
    assert json.loads((out / "render.json").read_text())["labels"] == "annotator"


def test_labels_that_cannot_be_are_named_by_their_key_in_params() -> None:
    with pytest.raises(FacemixError, match=r"params\.yaml: render\.synthetic\.labels: found 'human', expected one of"):
        render_stage("synthetic", params(synthetic=1, labels="human"))
    with pytest.raises(FacemixError, match=r"params\.yaml: render\.synthetic\.labels: steady is known of ibug68 only"):
        render_stage("synthetic", params(synthetic=1, labels="steady", scheme="five"))


def test_other_settings_do_not_go_on_from_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "render_set", lambda work, n, settings: work.mkdir())
    for n, changes in ((2, {}), (1, {}), (2, {"seed": 5}), (2, {"population": {"glasses": 1.0}})):
        monkeypatch.setattr(shutil, "move", lambda *_: None)
        render_stage("synthetic", params(synthetic=n, **changes))
    assert len(list((project / "checkpoints").glob("render-synthetic-*/"))) == 4


def test_no_faces_are_a_folder_with_an_empty_table_and_no_renderer(project: Path) -> None:
    code = (
        "import sys; from facemix import config; from facemix.stages.render import render_stage; "
        "config.update_params(config.PARAMS_FILE, {'render.synthetic.n': 0}); "
        "render_stage('synthetic', config.load()); print('mitsuba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, check=True, capture_output=True, text=True)
    assert done.stdout == "data/renders/synthetic: no faces, because render.synthetic.n is 0\nFalse\n"
    out = project / "data/renders/synthetic"
    assert [path.name for path in out.iterdir()] == ["faces.parquet"]
    assert parquet.read_table(out / "faces.parquet").column_names == ["index", "file"]


def test_what_dvc_records_is_rendered_by_the_code_of_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_code() -> None:
        raise FacemixError("the imported facemix is another")

    monkeypatch.setattr("facemix.workspace.check", other_code)
    monkeypatch.setattr("facemix.stages.render.render_stage", lambda *_: None)
    with pytest.raises(SystemExit, match="facemix render: the imported facemix is another"):
        cli.main(["render", "--stage", "synthetic"])


def test_a_distribution_that_cannot_be_is_named_by_its_key_in_params() -> None:
    with pytest.raises(ValueError, match=r"params.yaml: render.synthetic.population.glases: no such distribution"):
        render_stage("synthetic", params(synthetic=1, population={"glases": 1.0}))


def test_rendered_sets_become_packs_and_the_stand_in_is_called_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = params(synthetic=3, stand_in=30)
    render_stage("synthetic", both)
    render_stage("stand_in", both)
    prepare("synthetic", both)
    prepare("real", both)
    synthetic, real = packs.read(Path("data/packs/synthetic")), packs.read(Path("data/packs/real"))
    assert synthetic.ids.tolist() == [f"rendered/{i:06d}" for i in range(3)]
    assert set(synthetic.splits) == {"train"}
    assert real.ids[0] == "stand_in/000000"
    assert set(real.subsets) == {STAND_IN}
    assert set(real.splits) == {"train", "validation", "test"}
    assert "validation; stand-in (rendered, not real photographs)\n" in capsys.readouterr().out


def test_a_set_that_is_not_rendered_yet_is_answered_with_how_to() -> None:
    with pytest.raises(ValueError, match=r"data/renders/stand_in: not found, expected rendered faces; run `dvc repro`"):
        prepare("real", params(stand_in=30))


def test_the_command_renders_into_a_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "people.yaml").write_text("glasses: 1.0\n")
    command = "render --out faces --n 2 --size 64 --domain stand_in --population people.yaml --seg --processes 1"
    cli.main(command.split())
    assert capsys.readouterr().out == "faces: 2 faces\n"
    assert (project / "faces/000001_seg.png").exists()
    assert parquet.read_table(project / "faces/faces.parquet").column("glasses").to_pylist() == [True, True]
    about = json.loads((project / "faces/render.json").read_text())
    assert (about["seed"], about["size"], about["labels"]) == (0, 64, "annotator")


def test_the_command_offers_the_conventions_that_there_are() -> None:
    assert cli.LABELS == labels.CONVENTIONS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--n 5", "found no --out or no --n, expected both"),
        ("--stage synthetic --n 5 --seed 0", "--stage takes its settings from params.yaml; leave out --n, --seed"),
        ("--out faces --n 1 --size 8", "size: found 8, expected 32 to 2048 pixels"),
        ("--out faces --n 1 --population people.yaml", "people.yaml: population.glases: no such distribution"),
        ("--out faces --n 1 --population list.yaml", r"list.yaml: found \[1\], expected a mapping of keys to values"),
        ("--out faces --n 1 --population no.yaml", "No such file or directory: 'no.yaml'"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(arguments: str, message: str, project: Path) -> None:
    (project / "people.yaml").write_text("glases: 1.0\n")
    (project / "list.yaml").write_text("[1]\n")
    with pytest.raises(SystemExit, match=f"^facemix render: .*{message}"):
        cli.main(["render", *arguments.split()])
    assert not (project / "faces").exists()
