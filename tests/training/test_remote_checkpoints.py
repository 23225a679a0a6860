"""Checkpoints on a server: fsspec's own in memory stands for most of them, and one that talks S3."""

import uuid
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile
from s3fs import S3FileSystem
from test_loop import Killed, same, undisturbed  # noqa: F401

from facemix.errors import FacemixError
from facemix.files import RemoteFile
from facemix.training import checkpoint
from facemix.training.loop import Result
from toy_s3 import CREDENTIALS, s3  # noqa: F401
from toy_training import run


@pytest.fixture
def file() -> RemoteFile:
    """One that is not there yet."""
    return RemoteFile(f"memory://{uuid.uuid4().hex}/checkpoint.pt")


def test_a_training_goes_on_from_a_server_and_ends_in_the_same_weights(file: RemoteFile, undisturbed: Result) -> None:
    def kill(before: int) -> None:
        if before == 5:
            raise Killed

    with pytest.raises(Killed):
        run(file, before_step=kill)
    assert file.exists()
    steps: list[int] = []
    assert same(run(file, before_step=steps.append).weights, undisturbed.weights)
    assert steps[0] == 3  # where the last evaluation was


def test_what_is_not_written_whole_leaves_the_former_file(file: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"former")

    def fail(self: MemoryFile, content: bytes) -> int:
        super(MemoryFile, self).write(content[:2])
        raise ConnectionError("gone")

    monkeypatch.setattr(MemoryFile, "write", fail)
    with pytest.raises(OSError, match="^memory://.*/checkpoint.pt: could not be written .gone.; nothing was changed$"):
        file.write_bytes(b"later")
    assert file.read_bytes() == b"former"
    file.unlink()
    file.unlink(missing_ok=True)
    assert not file.exists()


def test_a_torn_or_foreign_checkpoint_is_refused_with_its_address(file: RemoteFile) -> None:
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(checkpoint.CheckpointError, match=f"^{file}: not a readable checkpoint .* delete it"):
        run(file)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://faces/a", "FACEMIX_CHECKPOINTS: nosuch://faces/a: nothing is installed for nosuch://"),
        ("s3://faces/a", r"s3://faces/a: cannot be written to \(Unable to locate credentials\); set AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_before_anything_starts(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    S3FileSystem.clear_instance_cache()  # that of other tests
    for name in (*CREDENTIALS, "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FACEMIX_CHECKPOINTS", url)
    with pytest.raises(FacemixError, match=message):
        checkpoint.check_shared()


def test_in_s3_a_missing_bucket_is_named_and_others_are_written_whole(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    S3FileSystem.clear_instance_cache()  # that of other tests
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FACEMIX_CHECKPOINTS", "s3://no-faces/a")
    with pytest.raises(FacemixError, match="s3://no-faces/a: cannot be written to .* make 'no-faces' first"):
        checkpoint.check_shared()
    monkeypatch.setenv("FACEMIX_CHECKPOINTS", "s3://faces/a")
    checkpoint.check_shared()
    file = checkpoint.checkpoint_path("s3://faces/a/", "mixing-seed-0", {"seed": 0})
    assert isinstance(file, RemoteFile) and file.url.startswith("s3://faces/a/mixing-seed-0-")
    for content in (b"one", b"two" * 3_000_000):  # the larger one goes in parts
        file.write_bytes(content)
        assert file.exists() and file.read_bytes() == content
    file.unlink()
    assert not file.exists()
