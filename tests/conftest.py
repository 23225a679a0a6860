"""What every test may ask for."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import toy_project
from facemix import config
from toy_project import Shell

# A slow or busy machine is no failure, and every run tries the same examples.
hypothesis.settings.register_profile("facemix", deadline=None, derandomize=True)
hypothesis.settings.load_profile("facemix")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The runs of the real commands first: of several processes none is left alone with the longest."""
    items.sort(key=lambda item: "end_to_end" not in item.keywords)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of 300-W (`300w/`) and the synthetic sets (`synthetic/`); the test is skipped without it."""
    if "FACEMIX_DATA" not in os.environ:
        pytest.skip("no real data: set FACEMIX_DATA to the folder that holds 300w/ and synthetic/")
    return Path(os.environ["FACEMIX_DATA"]).resolve(strict=True)


@pytest.fixture(scope="session")
def params() -> config.Params:
    """The committed parameters."""
    return config.load(toy_project.REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of the files that git knows. What a test changes there, it puts back."""
    return toy_project.fresh(tmp_path_factory.mktemp("clone") / "facemix")


@pytest.fixture(scope="session")
def shell(project: Path) -> Shell:
    """Runs a command in the clone, as a user with the environment activated would; returns what it prints."""
    return toy_project.shell_in(project)


@pytest.fixture(scope="session")
def reproduced(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `dvc repro` prints after two imports and `facemix preset smoke`."""
    toy_project.begin(shell, tmp_path_factory.mktemp("data"))
    shell("git add -A && git commit -qm smoke")
    printed = shell("dvc repro")
    shell("git add -A && git commit -qm results")
    return printed


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormal numbers in the whole process; the next test wants them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
