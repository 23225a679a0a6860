import errno
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import toy
from facemix import config
from facemix.errors import FacemixError
from facemix.faces import tars
from facemix.faces.formats import read
from facemix.stages import import_source as stage
from facemix.stages.import_source import import_source, summary

PARAMS = Path(__file__).parents[2] / "params.yaml"
POINTS = np.round(4 * (24.75 * (toy.template() - [0, 0.22]) + 31.5)) / 4


def write_face(stem: Path, number: int) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(f"{stem}.jpg", np.full((64, 64, 3), number, np.uint8))
    rows = "\n".join(f"{x + number / 4} {y}" for x, y in POINTS)
    Path(f"{stem}.pts").write_text(f"version: 1\nn_points:  68\n{{\n{rows}\n}}\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A 300-W folder of three faces, with a licence, and files that an import leaves behind."""
    folder = tmp_path / "originals" / "my_300w"
    for number, name in enumerate(["afw/1_1", "helen/trainset/2_1", "helen/testset/3_1"]):
        write_face(folder / name, number)
    write_face(folder / "afw/1_1_mirror", 0)
    (folder / "LICENSE.txt").write_text("research only")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's root with params.yaml, not tracked by anything."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copyfile(PARAMS, folder / "params.yaml")
    config.update_params(folder / "params.yaml", {"sources.real": [], "sources.synthetic": []})
    return folder


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def dvc(*arguments: str, cwd: Path) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, cwd=cwd)


@pytest.fixture
def tracked(project: Path) -> Path:
    """The project under git and DVC, set up as a clone is."""
    run("git", "init", "-q", cwd=project)
    run("git", "config", "user.name", "tester", cwd=project)
    run("git", "config", "user.email", "tester@example.org", cwd=project)
    dvc("init", "-q", cwd=project)
    dvc("config", "cache.type", "reflink,hardlink,copy", cwd=project)
    dvc("config", "core.autostage", "true", cwd=project)
    run("git", "add", "-A", cwd=project)
    run("git", "commit", "-qm", "start", cwd=project)
    return project


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its content, but for locks and what an import shows."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".lock", ".png")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def state(folder: Path) -> dict[str, tuple[int, ...]]:
    """Inode, mode, links, size and time of every file below a folder."""
    stats = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*")}
    return {name: (s.st_ino, s.st_mode, s.st_nlink, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


IMPORTED = {
    "LICENSE.txt",
    *(
        f"{name}{suffix}"
        for name in ("afw/1_1", "helen/trainset/2_1", "helen/testset/3_1")
        for suffix in (".jpg", ".pts")
    ),
}


@pytest.mark.parametrize("link", [False, True])
def test_import_copies_or_links_tracks_and_leaves_the_originals_alone(tracked, source, link):
    before = state(source)
    folder = import_source("300w", source, link=link, root=tracked)
    assert folder == tracked / "data/sources/real/300w"
    assert tree(folder) == {name: content for name, content in tree(source).items() if name in IMPORTED}
    assert all(path.is_symlink() == link for path in folder.rglob("*") if not path.is_dir())
    assert config.load(tracked / "params.yaml").sources.real == (config.Source(name="300w", format="300w"),)
    assert "up to date" in dvc("status", cwd=tracked)
    assert state(source) == before
    # Another checkout, as `dvc exp run --temp` makes one, takes the files from the cache.
    shutil.rmtree(folder)
    dvc("checkout", cwd=tracked)
    assert tree(folder).keys() == IMPORTED
    assert state(source) == before


def test_name_and_role_can_be_chosen(tracked, source):
    import_source("300w", source, name="photos", role="synthetic", root=tracked)
    import_source("300w", source, name="more", role="synthetic", root=tracked)
    sources = config.load(tracked / "params.yaml").sources
    assert [source.name for source in sources.synthetic] == ["photos", "more"]
    assert sources.real == ()


def test_name_defaults_to_the_folder_except_for_300w(project, tmp_path, monkeypatch):
    folder = tmp_path / "team_renders"
    write_face(folder / "000000", 0)
    rows = "\n".join(f"{x} {y}" for x, y in POINTS)
    (folder / "000000_ldmks.txt").write_text(rows)
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    assert import_source("facesynthetics", folder, root=project).name == "team_renders"
    assert config.load(project / "params.yaml").sources.synthetic[0].name == "team_renders"


def test_real_faces_take_the_place_of_the_stand_in(project, source, monkeypatch, capsys):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    config.update_params(project / "params.yaml", {"render.stand_in.n": 5, "render.synthetic.n": 7})
    import_source("300w", source, name="drawn", role="synthetic", root=project)
    assert config.load(project / "params.yaml").render.stand_in.n == 5
    assert "render.stand_in.n" not in capsys.readouterr().out
    import_source("300w", source, root=project)
    render = config.load(project / "params.yaml").render
    assert (render.synthetic.n, render.stand_in.n) == (7, 0)
    assert "params.yaml: set render.stand_in.n to 0: rendered faces no longer stand in" in capsys.readouterr().out


def test_all_broken_faces_are_reported_at_once_and_nothing_is_written(project, source):
    before = tree(project)
    (source / "afw/1_1.jpg").write_bytes((source / "afw/1_1.jpg").read_bytes()[:-50])
    (source / "helen/trainset/2_1.pts").write_text("not points")
    write_face(source / "helen/trainset/4_1", 2)
    (source / "helen/trainset/4_1.pts").unlink()
    with pytest.raises(ValueError, match="3 broken faces") as error:
        import_source("300w", source, root=project)
    for name in ("afw/1_1.jpg: cut off", "2_1.pts: found 'not points'", "4_1.jpg: no 4_1.pts"):
        assert name in str(error.value)
    assert tree(project) == before
    assert not (project / "data").exists()


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"name": "../elsewhere"}, "letters, digits"),
        ({"name": "two words"}, "letters, digits"),
        ({"role": "reel"}, "one of real, synthetic"),
        ({"name": "stand_in"}, "this name stands for rendered faces; choose another with --name"),
        ({"format": "dgfaces_v1"}, "use the format 300w"),
    ],
)
def test_arguments_that_do_not_fit(project, source, arguments, reason):
    before = tree(project)
    with pytest.raises(ValueError, match=reason):
        import_source(**{"format": "300w", "path": source, "root": project, **arguments})
    assert tree(project) == before


def test_existing_name(project, source, monkeypatch):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    import_source("300w", source, root=project)
    before = tree(project)
    for role in ("real", "synthetic"):
        with pytest.raises(ValueError, match="a source named '300w' already exists; choose another with --name"):
            import_source("300w", source, role=role, root=project)
    assert tree(project) == before


def test_of_two_imports_at_once_none_is_lost(project, source, monkeypatch):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    other, check = [], stage.check

    def slow(*given):
        if not other:
            other.append(threading.Thread(target=import_source, args=("300w", source, "two"), kwargs={"root": project}))
            other[0].start()
            other[0].join(0.5)
        return check(*given)

    monkeypatch.setattr(stage, "check", slow)
    import_source("300w", source, "one", root=project)
    other[0].join()
    assert {one.name for one in config.load(project / "params.yaml").sources.real} == {"one", "two"}


def test_failing_dvc_leaves_nothing(project, source):
    before = tree(project)
    with pytest.raises(FacemixError, match="not inside of a DVC repository"):
        import_source("300w", source, root=project)
    assert tree(project) == before
    assert list((project / "data/sources/real").iterdir()) == []


def test_full_disk_leaves_nothing(project, source, monkeypatch):
    before = tree(project)
    copied = []

    def copy_until_full(origin: Path, target: Path) -> None:
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(target.write_bytes(origin.read_bytes()))

    monkeypatch.setattr(shutil, "copyfile", copy_until_full)
    with pytest.raises(OSError, match="No space left"):
        import_source("300w", source, root=project)
    assert tree(project) == before
    assert list((project / "data/sources/real").iterdir()) == []


def test_summary_names_what_is_missing_from_300w(source):
    assert summary("300w", read("300w", source)[0]) == [
        "afw: 1 of 337, 336 missing",
        "helen/trainset: 1 of 2000, 1999 missing",
        "lfpw/trainset: 0 of 811, 811 missing",
        "helen/testset: 1 of 330, 329 missing",
        "lfpw/testset: 0 of 224, 224 missing",
        "ibug: 0 of 135, 135 missing",
    ]


def test_what_names_a_photograph_is_kept_with_the_source(project, source, monkeypatch, capsys):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    import_source("300w", source, root=project)
    import_source("300w", source, name="days", group="^(afw|helen)", root=project)
    assert "3 faces of 3 photographs" in capsys.readouterr().out
    found = config.load(project / "params.yaml").sources.real
    assert found == (
        config.Source(name="300w", format="300w"),
        config.Source(name="days", format="300w", group="^(afw|helen)"),
    )
    assert "{name: 300w, format: 300w}, {name: days, format: 300w, group: " in (project / "params.yaml").read_text()


def test_a_group_that_fits_no_face_is_refused(project, source):
    before = tree(project)
    with pytest.raises(FacemixError, match="group 'x': found no photograph in 'afw/1_1'"):
        import_source("300w", source, group="x", root=project)
    assert tree(project) == before


def test_an_offset_of_another_source_survives_an_import(project, source, monkeypatch):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    import_source("300w", source, root=project)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("format: 300w}", "format: 300w, offset: [-0.9, 0]}"))
    import_source("300w", source, name="two", root=project)
    assert [one.offset for one in config.load(params).sources.real] == [(-0.9, 0.0), None]


def test_copies_of_one_photograph_count_as_one(project, source, monkeypatch, capsys):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    shutil.copy(source / "afw/1_1.jpg", source / "afw/other.jpg")
    (source / "afw/other.pts").write_text("\n".join(f"{x + 1} {y}" for x, y in POINTS))
    import_source("300w", source, root=project)
    assert "4 faces of 3 photographs: afw/1_1 and afw/other count as one" in capsys.readouterr().out


@pytest.fixture
def videos(tmp_path):
    """300-VW with a licence, two videos of two frames, and one frame that is broken."""
    folder = tmp_path / "originals" / "my_videos"
    for name in ("001", "203"):
        (folder / name / "annot").mkdir(parents=True)
        video = cv2.VideoWriter(str(folder / name / "vid.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 64))
        for number in (1, 2):
            video.write(np.full((64, 64, 3), int(name[-1]) + number, np.uint8))
            rows = "\n".join(f"{x} {y}" for x, y in POINTS + number / 2)
            (folder / name / f"annot/{number:06d}.pts").write_text(rows)
        video.release()
    (folder / "203/annot/000002.pts").write_text("nothing")
    (folder / "LICENSE.txt").write_text("research only")
    return folder


def test_pictures_inside_of_videos_are_written_out_and_imported(project, videos, monkeypatch, capsys):
    monkeypatch.setattr(stage, "_track", lambda *_: None)
    folder = import_source("300vw", videos, root=project, skip_broken=True)
    assert f"{videos}/203/annot/000002.pts: found 'nothing'" in capsys.readouterr().out
    assert tree(folder).keys() == {
        "LICENSE.txt", "points.csv", "001/000001.jpg", "001/000002.jpg", "203/000001.jpg",
    }  # fmt: skip
    assert config.load(project / "params.yaml").sources.real == (
        config.Source(name="my_videos", format="csv", scheme="ibug68", skip_broken=True),
    )
    again, broken = read("csv", folder)
    assert (broken, [face.photo for face in again]) == ([], ["001", "001", "203"])
    assert not list((project / "checkpoints").glob(".extracted-*"))


def test_what_is_broken_in_videos_stops_their_import(project, videos):
    before = tree(project)
    with pytest.raises(FacemixError, match=rf"{videos}: 1 broken faces.*\n.*203/annot/000002.pts: found 'nothing'"):
        import_source("300vw", videos, root=project)
    assert tree(project) == before


@pytest.mark.parametrize(
    "kind, arguments, reason",
    [
        ("300vw", {"link": True}, "--link: the pictures of 300vw are inside of other files; leave it out"),
        ("300vw", {"every": 0}, "--every: found 0, expected 1 or more"),
        ("cofw", {"every": 2}, "--every: found 2, expected none, as cofw has no videos"),
        ("csv", {"every": 2}, "--every: the format csv has no videos"),
        ("cofw", {}, "my_videos: no COFW_train_color.mat or COFW_test_color.mat"),
    ],
)
def test_what_does_not_fit_pictures_inside_of_files(project, videos, kind, arguments, reason):
    with pytest.raises(FacemixError, match=reason):
        import_source(kind, videos, root=project, **arguments)


@pytest.mark.end_to_end
def test_linked_source_reaches_a_temporary_experiment(tracked, source):
    import_source("300w", source, link=True, root=tracked)
    stage = "{cmd: ls data/sources/real/300w/afw > listing, deps: [data/sources/real/300w], outs: [listing]}"
    (tracked / "dvc.yaml").write_text(f"stages:\n  count: {stage}\n")
    run("git", "add", "-A", cwd=tracked)
    run("git", "commit", "-qm", "imported", cwd=tracked)
    dvc("exp", "run", "--temp", "--name", "trial", cwd=tracked)
    dvc("exp", "apply", "trial", cwd=tracked)
    assert (tracked / "listing").read_text().split() == ["1_1.jpg", "1_1.pts"]


def test_check_shows_everything_and_imports_nothing(project, source, capsys):
    before = tree(project)
    folder = import_source("300w", source, check_only=True, root=project)
    assert folder == project / "reports/import/300w"
    assert {path.name for path in folder.iterdir()} == {"numbered.png", "faces.png", "set.png"}
    assert tree(project) == before and not (project / "data").exists()
    printed = capsys.readouterr().out
    assert "face size (outer eye)" in printed and "nothing was imported" in printed


def test_check_needs_no_project_and_shows_what_is_usable_of_a_broken_set(tmp_path, source, capsys):
    (source / "afw/1_1.pts").write_text("1 2\n")
    with pytest.raises(FacemixError, match=r"1 broken faces, nothing was imported(.|\n)*1_1\.pts"):
        import_source("300w", source, check_only=True, root=tmp_path)
    assert (tmp_path / "reports/import/300w/numbered.png").exists()
    import_source("300w", source, check_only=True, skip_broken=True, root=tmp_path)
    assert "1 broken faces are left out" in capsys.readouterr().out


def test_what_is_imported_is_shown_before(tracked, source, capsys):
    import_source("300w", source, root=tracked)
    printed = capsys.readouterr().out
    assert printed.index("look at numbered.png") < printed.index("imported 3 faces")
    assert (tracked / "reports/import/300w/faces.png").exists()
    assert "reports" not in run("git", "status", "--short", "--untracked-files=all", cwd=tracked).split()


def write_shards(folder: Path, n: int) -> Path:
    """A set of the pictures that `toy` draws, in shards of WebDataset."""
    loose = toy.write_facesynthetics(folder / "loose", n)
    for path in sorted(loose.iterdir()):
        path.rename(path.with_name(path.name.replace("_ldmks", ".ldmks")))
    (folder / "shards").mkdir()
    for k in range(2):
        members = [(path.name, path.read_bytes()) for path in sorted(loose.iterdir()) if int(path.name[:6]) % 2 == k]
        tars.write(folder / f"shards/{k:06d}.tar", members)
    return folder / "shards"


@pytest.mark.parametrize("link", [False, True])
def test_shards_are_imported_as_they_are(tracked, tmp_path, link):
    shards = write_shards(tmp_path, 4)
    folder = import_source("facesynthetics", shards, name="large", link=link, root=tracked)
    assert tree(folder) == tree(shards)
    assert [path.is_symlink() for path in folder.iterdir()] == [link] * 2
    faces, broken = read("facesynthetics", folder)
    assert [face.id for face in faces] == [f"{k:06d}" for k in range(4)] and not broken
    assert "up to date" in dvc("status", cwd=tracked)


def test_a_damaged_picture_in_a_shard_cannot_be_left_out(project, tmp_path):
    shards = write_shards(tmp_path, 4)
    members = [(one.member, one.read_bytes()) for one in tars.members(shards / "000001.tar")]
    tars.write(shards / "000001.tar", [(name, data[:-40] if name.endswith(".png") else data) for name, data in members])
    with pytest.raises(FacemixError, match=r"--skip-broken: .*000001\.tar: 00000\d\.png: .* only be imported whole"):
        import_source("facesynthetics", shards, name="large", skip_broken=True, root=project)
    with pytest.raises(FacemixError, match=r"broken faces, nothing was imported(.|\n)*000001\.tar: 000003\."):
        import_source("facesynthetics", shards, name="large", root=project)
    assert not (project / "data").exists()
