"""Every text is UTF-8, whatever the locale."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facemix import config

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "scripts").glob("*.py")])
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
OF_TEXT = {"read_text": 0, "write_text": 1}
"""Methods of a path, with the number of their arguments before the encoding."""


def by_locale(tree: ast.AST) -> Iterator[int]:
    """Lines of calls that read or write text in the encoding of the locale."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        keywords = {word.arg: word.value for word in call.keywords}
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if "encoding" in keywords:
            continue
        if name in OF_TEXT and len(call.args) == OF_TEXT[name]:
            yield call.lineno
        elif name == "open" and not _is_of_tarfile(call.func):
            place = 1 if isinstance(call.func, ast.Name) else 0
            mode = keywords.get("mode") or (call.args[place] if len(call.args) > place else ast.Constant("r"))
            if isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" not in mode.value:
                yield call.lineno
        elif any(getattr(keywords.get(key), "value", None) is True for key in ("text", "universal_newlines")):
            yield call.lineno


def _is_of_tarfile(function: ast.expr) -> bool:
    """Archives are bytes, whatever the mode."""
    return isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "tarfile"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_no_text_is_read_or_written_by_the_locale(file: Path) -> None:
    assert list(by_locale(ast.parse(file.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "call",
    ["p.read_text()", "p.write_text(x)", "p.open()", "p.open('w')", "open(p)", "open(p, 'a')", "run(c, text=True)"],
)
def test_calls_that_go_by_the_locale_are_found(call: str) -> None:
    assert list(by_locale(ast.parse(call))) == [1]


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user whose locale is ISO-8859-1; plain ASCII where such a locale cannot be made."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ASCII
    return ASCII | {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> bytes:
    ours = {key: value for key, value in os.environ.items() if key not in ("PYTHONIOENCODING", "LANG")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=ours | {"PYTHONPATH": str(REPOSITORY / "src")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_preset_writes_utf8_in_any_locale(tmp_path: Path, latin: dict[str, str]) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/smoke.yaml").write_bytes((REPOSITORY / "presets/smoke.yaml").read_bytes())
    for environment in (latin, ASCII):
        (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes() + "# Größe\n".encode())
        run(["-m", "facemix.cli", "preset", "smoke"], tmp_path, environment)
        assert (tmp_path / "params.yaml").read_bytes().endswith("# Größe\n".encode())
        assert config.load(tmp_path / "params.yaml").training.steps == 12


def test_what_a_user_wrote_into_a_file_stays_in_any_locale(tmp_path: Path, latin: dict[str, str]) -> None:
    code = (
        "from facemix import workspace; from facemix.faces import splits; from pathlib import Path; "
        "workspace.record_packages(); splits.exclude(Path('split.yaml'), ['a'])"
    )
    for environment in (latin, ASCII):
        (tmp_path / "packages.yaml").write_bytes("# Größe\n".encode() + b"torch: 1\n")
        (tmp_path / "split.yaml").write_bytes("# Größe\n".encode() + b"excluded: []\nvalidation: []\n")
        run(["-c", code], tmp_path, environment)
        assert all(
            (tmp_path / name).read_text("utf-8").startswith("# Größe") for name in ("packages.yaml", "split.yaml")
        )


def test_a_terminal_without_a_sign_shows_a_question_mark(tmp_path: Path) -> None:
    code = "from facemix import cli; cli._preset = lambda _: print('3.5 \\xb1 0.1'); cli.main(['preset', 'x'])"
    assert run(["-c", code], tmp_path, ASCII) == b"3.5 ? 0.1\n"


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("alpha: 1\n# Größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"params.yaml: line 2 is not UTF-8; save the file in that encoding"):
        config.load(tmp_path / "params.yaml")
