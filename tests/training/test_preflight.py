import sysconfig
from pathlib import Path

import pytest

from facemix.config import Params, changed, parse, plain
from facemix.errors import FacemixError
from facemix.training import preflight


@pytest.mark.parametrize(
    ("device", "message"),
    [("cpu", r"needs a C\+\+ compiler \(g\+\+\), not found here"), ("cuda", r"needs a C compiler \(gcc or clang\)")],
)
def test_a_missing_compiler_is_told_before_a_training_compiles(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FacemixError, match=f"training.compile: true {message}"):
        preflight.check_compiler(device)
    for name in ("g++", "gcc"):
        (tmp_path / name).touch(mode=0o755)
    preflight.check_compiler(device)
    (tmp_path / "Python.h").unlink()
    with pytest.raises(FacemixError, match=r"true needs Python's headers \(.+/Python.h\), not found here"):
        preflight.check_compiler(device)


def test_a_compiler_that_the_user_chose_is_the_one_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(FacemixError, match=r"a C\+\+ compiler \(no-such-compiler\)"):
        preflight.check_compiler("cpu")


def test_settings_are_tried_before_packs_are_opened(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.check(params)
    asked: list[str] = []
    monkeypatch.setattr(preflight, "check_compiler", asked.append)
    settings = {"training.compile": True, "training.device": "cpu"}
    preflight.check(parse(changed(plain(params), settings)))
    assert asked == ["cpu"]
    with pytest.raises(FacemixError, match="model.backbone: timm has no model 'resnet81'"):
        preflight.check(parse(changed(plain(params), {"model.backbone": "resnet81"})))
