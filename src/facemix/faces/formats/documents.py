"""Annotation files in XML, JSON and YAML: found, parsed or refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from facemix.errors import FacemixError
from facemix.faces.face import BrokenFace
from facemix.faces.formats.listing import visible

_HEAD = 4096
"""Bytes of an XML file in which its first element begins."""


def below(folder: Path, *suffixes: str) -> Iterator[Path]:
    """The files below a folder with one of these suffixes (in lower case), sorted within each folder."""
    for path in visible(folder):
        if path.is_dir():
            yield from below(path, *suffixes)
        elif path.suffix.lower() in suffixes:
            yield path


def xml_root(path: Path, tag: str) -> ElementTree.Element | None:
    """The outermost element of an XML file, or None where it is not `tag`: the file is of another kind.

    Raises:
        FacemixError: the file cannot be read, is cut off or not well-formed, or defines a document type: entities of
            it can blow up a small file to any size, and no tool writes them.
    """
    try:
        with path.open("rb") as file:
            if f"<{tag}".encode() not in file.read(_HEAD):
                return None
            file.seek(0)
            data = file.read()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise FacemixError(f"{path}: cannot be read ({reason}); restore the file") from None
    if b"<!DOCTYPE" in data:
        raise FacemixError(f"{path}: found a document type (<!DOCTYPE ...>), expected none; remove it from the file")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise FacemixError(f"{path}: not well-formed XML ({error}), expected <{tag}>; export the file again") from None
    return root if root.tag == tag else None


def json_content(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        BrokenFace: the file cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise BrokenFace(path, f"not JSON that can be read ({reason}); restore or remove the file") from None


def yaml_content(path: Path, key: str = "") -> object:
    """What a YAML file holds, in plain types; None where the text has no `key`: the file is of another kind.

    Raises:
        FacemixError: the file cannot be read, or is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8-sig")
        return YAML(typ="safe").load(text) if key in text else None
    except (OSError, ValueError, YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise FacemixError(f"{path}: not YAML that can be read ({reason}); correct the file") from None
