"""`facemix preset NAME`: changes params.yaml in place and keeps its comments."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from facemix.config import PARAMS_FILE, ConfigError, Render, RenderedSet, load, update_params
from facemix.errors import FacemixError
from facemix.files import read_text

PRESETS = Path("presets")
OPTIONAL = tuple(
    f"render.{rendered.name}.{field.name}"
    for rendered in dataclasses.fields(Render)
    for field in dataclasses.fields(RenderedSet)
    if field.default is None
)
"""Keys that params.yaml may lack."""


def preset(name: str, params_file: Path = PARAMS_FILE) -> dict[str, object]:
    """Sets the keys that `presets/NAME.yaml` names; returns them, dotted. Optional ones that it lacks are None.

    Where real faces are imported, no stand-in is rendered, whatever the preset says.

    Raises:
        FacemixError: there is no such preset, or it names a key or value that params.yaml cannot have.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    imported = load(params_file).sources.real  # which also says where the project's root is
    path = PRESETS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise FacemixError(f"{path}: no such preset; there are: {known}")
    try:
        content = YAML(typ="safe").load(read_text(path))
    except YAMLError as error:
        raise FacemixError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise FacemixError(f"{path}: found {content!r}, expected keys of params.yaml and their values")
    changes = dict.fromkeys(OPTIONAL) | dict(_leaves(content))
    if imported:
        changes["render.stand_in.n"] = 0
    try:
        update_params(params_file, changes)
    except ConfigError as error:
        raise FacemixError(f"{path}: {error}") from None
    return changes


def _leaves(node: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
