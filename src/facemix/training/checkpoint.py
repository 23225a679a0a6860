"""Checkpoints: where they lie, how they are written, and which of them a training may go on from."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facemix.errors import FacemixError
from facemix.files import File, RemoteFile, check_remote_folder, whole_file
from facemix.training.state import State

SHARED = "FACEMIX_CHECKPOINTS"
"""The variable that names where machines share their checkpoints: a folder, or a URL such as s3://BUCKET/PATH."""


class CheckpointError(FacemixError):
    """A checkpoint that cannot be continued from."""


def is_remote(folder: str | Path) -> bool:
    """Whether checkpoints lie on a server, and not in a folder."""
    return "://" in str(folder)


def checkpoints(root: Path) -> str | Path:
    """Where trainings keep their checkpoints: where machines share them, or else below a root."""
    return os.environ.get(SHARED) or root / "checkpoints"


def check_shared() -> None:
    """Raises FacemixError where checkpoints shall lie on a server and cannot, before hours go into a training."""
    if is_remote(shared := os.environ.get(SHARED, "")):
        check_remote_folder(shared, SHARED)


def checkpoint_path(folder: str | Path, name: str, identity: Mapping[str, Any]) -> File:
    """Where the training of this identity keeps its checkpoint: one of another identity has another file.

    Args:
        folder: of all checkpoints; may be a URL.
        name: what people call the training.
        identity: all that its result depends on.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    file = f"{name}-{digest}.pt"
    return RemoteFile(f"{str(folder).rstrip('/')}/{file}") if is_remote(folder) else Path(folder) / file


def adopt_checkpoint(given: Path, path: File, identity: Mapping[str, Any]) -> None:
    """Copies a given checkpoint to where a training looks for its own.

    Raises:
        CheckpointError: there is no such file, or it is not a checkpoint of this identity.
    """
    if not given.exists():
        raise CheckpointError(
            f"--resume {given}: no such file, expected a checkpoint of an earlier run of this training"
        )
    content = read_checkpoint(given, given.read_bytes(), identity, torch.device("cpu"))
    if not isinstance(path, Path) or given.resolve() != path.resolve():
        write_checkpoint(path, identity, content)


def write_checkpoint(path: File, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Writes a checkpoint; a crash in the middle leaves the former one as it was."""
    content = {**content, "identity": dict(identity)}
    if isinstance(path, RemoteFile):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        path.write_bytes(buffer.getvalue())
        return
    with whole_file(path) as beside, beside.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(f"{error}") from error
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: File, content: bytes, identity: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What a checkpoint of this very training holds.

    Args:
        path: of the file, for messages.
        content: of the file.
        identity: what the checkpoint must be of.
        device: where its tensors go.

    Raises:
        CheckpointError: it is torn, not a checkpoint, or of another configuration (the keys that differ are named).
    """
    try:
        if damaged := zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch does not look at the sums
            raise CheckpointError(f"{damaged} is damaged")
        saved: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        found, expected = _leaves(saved["identity"]), _leaves(identity)
    except Exception as error:
        reason = str(error).split(". ")[0]  # torch goes on to advise unsafe loading
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); delete it to start again") from error
    different = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    if different:
        listed = "; ".join(f"{key}: found {found.get(key)!r}, expected {expected.get(key)!r}" for key in different)
        raise CheckpointError(f"{path}: a checkpoint of another configuration: {listed}")
    return saved


def restore(state: State, path: File, content: bytes, identity: Mapping[str, Any], device: torch.device) -> None:
    """Takes a training to where a checkpoint has it; the arguments are those of `read_checkpoint`.

    Raises:
        CheckpointError: it cannot be read, or is of another configuration or model.
    """
    saved = read_checkpoint(path, content, identity, device)
    try:
        state.restore(saved)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: not the state of this model ({reason}); delete it to start again") from error


def _leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
