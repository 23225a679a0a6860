"""README, CONTRIBUTING and docs/: what they point to is there, what they tell people to type is understood."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from facemix.cli import _parser
from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]
WIDTH = 120
WORDS = range(900, 1201)

CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INLINE = re.compile(r"`facemix ([^`]+)`")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return CODE.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `facemix` that stands in a block of shell code."""
    for language, code in CODE.findall(text(page)):
        for line in code.replace("\\\n", " ").splitlines() if language == "sh" else ():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, "&&"]:
                if re.fullmatch(r"[;&|<>()]+", word):
                    yield from _of_facemix(words)
                    words = []
                else:
                    words.append(word)


def _of_facemix(words: list[str]) -> Iterator[list[str]]:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # variables of the environment
        words = words[1:]
    if words[:1] == ["facemix"]:
        yield words[1:]
    elif "facemix.cli" in words:  # torchrun ... -m facemix.cli train ...
        yield words[words.index("facemix.cli") + 1 :]


@page
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading in {found.name}"


@page
def test_commands_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = _parser()
    for arguments in commands(page):
        try:
            parser.parse_args(arguments)
        except SystemExit:
            pytest.fail(f"facemix {' '.join(arguments)}: {capsys.readouterr().err}")


@page
def test_commands_named_in_sentences_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in INLINE.findall(prose(page)):
        name = command.split()[0]
        if name.isupper():  # COMMAND stands for any
            continue
        with pytest.raises(SystemExit):
            _parser().parse_args([name, "--help"])
        assert "invalid choice" not in capsys.readouterr().err, f"facemix {command}"


@page
def test_lines_of_prose_fit(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > WIDTH and not line.startswith(("|", "!", "[!"))]
    assert not long


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(text(README).split()) in WORDS


def test_the_readme_names_every_strategy_and_every_page() -> None:
    tables = re.findall(r"^\| `(\w+)`", text(README), re.MULTILINE)
    assert set(STRATEGIES) <= set(tables)
    linked = {target.partition("#")[0] for target in LINK.findall(prose(README))}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= linked


def test_the_page_on_schemes_lists_them_as_their_files_say() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| ([\d, ]+) \|", text(ROOT / "docs" / "schemes.md"), re.MULTILINE
    )
    known = [schemes.load(name, ROOT / "none") for name in schemes.names(ROOT / "none")]
    limits = [(scheme, metrics.thresholds(scheme, metrics.AUTO)) for scheme in known]
    assert sorted(rows) == [
        (scheme.name, str(len(scheme)), scheme.normalizer, ", ".join(f"{limit:g}" for limit in found))
        for scheme, found in limits
    ]


def test_the_two_commands_stand_in_lines_of_their_own() -> None:
    """What checks the project takes the second from the README by this pattern."""
    pattern = re.search(r"grep -E '([^']+)' README.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern
    assert len(re.findall(pattern[1], text(README), re.MULTILINE)) == 1
    assert len(re.findall(r"^python3 -m venv .*&& dvc repro$", text(README), re.MULTILINE)) == 1


def test_the_table_of_mutations_is_that_of_the_script() -> None:
    script = (ROOT / "scripts" / "mutants.py").read_text(encoding="utf-8")
    tests = "".join(text(path) for path in (ROOT / "tests").rglob("test_*.py"))
    listed = dict(re.findall(r"^\| (.+) \| `(test_\w+)` \|$", text(CONTRIBUTING), re.MULTILINE))
    stated = set(re.findall(r'what="(.+)"', script))
    trained_without = {
        what for what in listed if what.startswith("`mixing` trains without ")
    }  # by a function of the script
    assert set(listed) - trained_without == stated
    assert f"All {len(listed)} are killed" in text(CONTRIBUTING)
    assert [test for test in listed.values() if f"def {test}(" not in tests] == []


def test_the_map_names_every_room() -> None:
    package = ROOT / "src" / "facemix"
    rooms = [path.name for path in package.iterdir() if (path / "__init__.py").exists()]
    modules = [path.name for path in package.glob("*.py") if path.stem != "__init__"]
    drawn = next(code for language, code in CODE.findall(text(CONTRIBUTING)) if not language)
    assert [name for name in [f"{room}/" for room in rooms] + modules if name not in drawn] == []
