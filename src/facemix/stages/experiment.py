"""`facemix experiment STRATEGY [KEY=VALUE ...]`: a strategy as a DVC experiment with other parameters."""

import sys
from collections.abc import Sequence

from facemix.errors import FacemixError


def command(strategy: str, settings: Sequence[str]) -> list[str]:
    """The command of DVC that trains a strategy and what it needs.

    Args:
        strategy: its stage.
        settings: `KEY=VALUE`; without a value the key is as params.yaml says.

    Raises:
        FacemixError: a setting of another form.
    """
    given = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise FacemixError(f"{setting}: expected KEY=VALUE, such as alpha=0.3")
        if value:
            given += ["-S", setting]
    return [sys.executable, "-m", "dvc", "exp", "run", *given, strategy]
