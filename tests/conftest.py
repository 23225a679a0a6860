"""What every test may ask for."""

import fcntl
import os
import signal
import sys

# Several test processes share the cores: threads of each that wait for a core of the others would burn it meanwhile.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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

ORDER = ("test_repro_trains_and_ranks", "test_commands.py", "test_generator.py", "test_realism.py", "end_to_end")
"""Parts of tests' names, or markers: what runs first. Whatever matches none comes last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that of several processes none is left alone with them.

    While one process makes the pipeline that most end-to-end tests look at, the others do what needs none.
    """

    def place(item: pytest.Item) -> int:
        known = (number for number, part in enumerate(ORDER) if part in item.nodeid or part in item.keywords)
        return next(known, len(ORDER))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def interruptible() -> None:
    """Ctrl-C reaches the commands that a test starts, which inherit an ignored SIGINT.

    It is ignored in the background of a shell, and libraries in the test process may do so too. Python does not see
    what they do beside it, so nothing is asked first.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project after `dvc repro`, made by the first test process that asks for it.

    `facemix`: two sets imported, trained and compared by the preset `smoke`; `printed`: what `dvc repro` said. Nobody
    changes it.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "pipeline"
    folder.mkdir(exist_ok=True)
    printed, failure = folder / "printed", folder / "failure"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if failure.exists():
            pytest.fail(f"`dvc repro` failed in another test process: {failure.read_text()}", pytrace=False)
        if not printed.exists():
            try:
                said = toy_project.reproduce(toy_project.fresh(folder / "facemix"), folder / "data")
            except BaseException as error:
                failure.write_text(str(error))
                raise
            printed.write_text(said)
    return folder


@pytest.fixture(scope="session")
def project(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after `dvc repro` for the tests of one process. What a test changes there, it puts back."""
    return toy_project.copy(pipeline / "facemix", tmp_path_factory.mktemp("clone") / "facemix")


@pytest.fixture(scope="session")
def reproduced(pipeline: Path) -> str:
    """What `dvc repro` printed in the project."""
    return (pipeline / "printed").read_text()


@pytest.fixture(scope="session")
def shell(project: Path) -> Shell:
    """Runs a command in the project, as a user with the environment activated would; returns what it prints."""
    return toy_project.shell_in(project)


@pytest.fixture(scope="session")
def facemix(project: Path) -> Shell:
    """Runs `facemix ...` in the project, but in this process; returns what it prints."""
    return toy_project.facemix_in(project)


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormal numbers in the whole process; the next test wants them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
