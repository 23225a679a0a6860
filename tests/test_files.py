import errno
import fcntl
import subprocess
from pathlib import Path

import pytest

from facemix.files import file_lock, whole_file, whole_folder


def test_a_file_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in ("one", "two"):
        with whole_file(path) as beside:
            beside.write_text(content)
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for name in ("one", "two"):
        with whole_folder(folder) as beside:
            (beside / name).touch()
    assert [path.name for path in folder.iterdir()] == ["two"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_what_fails_half_way_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "former").touch()
    file.write_text("former")
    for whole, path in ((whole_folder, folder), (whole_file, file)):
        with pytest.raises(type(error)) as raised, whole(path) as beside:
            (beside / "half" if beside.is_dir() else beside).write_text("half")
            raise error
        if isinstance(error, OSError):
            assert str(raised.value).endswith(
                f"{path}: could not be written (No space left on device); nothing was changed"
            )
            assert raised.value.errno == errno.ENOSPC
    assert file.read_text() == "former"
    assert [path.name for path in folder.iterdir()] == ["former"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_is_stopped_between_its_renames_is_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "former").touch()
    rename = Path.rename

    def stopped(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith(".former"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), whole_folder(folder) as beside:
        (beside / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["former"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"pack: could not be written \(Not a directory\)"),
        whole_folder(tmp_path / "file" / "pack"),
    ):
        pass


def test_a_file_that_is_read_while_another_is_written_is_blamed_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing.json"), whole_folder(tmp_path / "figures"):
        (tmp_path / "missing.json").read_text()


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    path = tmp_path / "work.pt"
    path.write_text("whole")
    (tmp_path / ".work.pt.12345").write_text("ha")
    (tmp_path / ".work.pt.678" / "part").mkdir(parents=True)
    with file_lock(path):
        assert sorted(file.name for file in tmp_path.iterdir()) == ["work.lock", "work.pt"]


def test_a_lock_is_held_as_long_as_a_child_of_its_holder_lives(tmp_path: Path) -> None:
    with file_lock(tmp_path / "work"):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with (tmp_path / "work.lock").open("w") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.communicate()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
