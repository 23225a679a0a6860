"""`facemix experiment STRATEGY [KEY=VALUE ...]`: a strategy as a DVC experiment with other parameters."""

import sys
from collections.abc import Sequence

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from facemix import config
from facemix.errors import FacemixError


def command(strategy: str, settings: Sequence[str]) -> list[str]:
    """The command of DVC that trains a strategy and what it needs.

    Args:
        strategy: its stage.
        settings: `KEY=VALUE`; without a value the key is as params.yaml says.

    Raises:
        FacemixError: a setting of another form, or one that params.yaml cannot have.
    """
    given, params = [], config.changed(config.plain(config.load()), {})
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise FacemixError(f"{setting}: expected KEY=VALUE, such as alpha=0.3")
        if value:
            given += ["-S", setting]
            try:
                params = config.changed(params, {key: YAML(typ="safe").load(value)})
            except (KeyError, YAMLError):
                raise FacemixError(f"{setting}: expected a key of params.yaml, and a value as it has them") from None
    config.parse(params)
    return [sys.executable, "-m", "dvc", "exp", "run", *given, strategy]
