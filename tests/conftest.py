"""What every test may ask for."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from facemix import config

# A slow or busy machine is no failure, and every run tries the same examples.
hypothesis.settings.register_profile("facemix", deadline=None, derandomize=True)
hypothesis.settings.load_profile("facemix")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of 300-W (`300w/`) and the synthetic sets (`synthetic/`); the test is skipped without it."""
    if "FACEMIX_DATA" not in os.environ:
        pytest.skip("no real data: set FACEMIX_DATA to the folder that holds 300w/ and synthetic/")
    return Path(os.environ["FACEMIX_DATA"]).resolve(strict=True)


@pytest.fixture(scope="session")
def params() -> config.Params:
    """The committed parameters."""
    return config.load(REPOSITORY / "params.yaml")


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormal numbers in the whole process; the next test wants them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
