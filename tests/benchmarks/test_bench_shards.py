"""`facemix bench shards` on a tiny rendered set."""

from pathlib import Path

import pytest

import toy
from facemix import cli
from facemix.render import shards


def test_kinds_of_pictures_and_shards_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shards, "FACES", 4)
    folder = toy.write_facesynthetics(tmp_path / "set", 3)
    cli.main(["bench", "shards", "--set", f"facesynthetics:{folder}", "--faces", "6"])
    lines = capsys.readouterr().out.splitlines()
    size = {" ".join(line.split()[:-6]): float(line.split()[-6]) for line in lines[2:8]}
    assert list(size) == ["png", "jpeg 95", "jpeg 90", "jpeg 75", "webp 90", "webp 75"]
    assert size["png"] > size["jpeg 95"] > size["jpeg 90"] > size["jpeg 75"]
    assert size["png"] == round(sum(path.stat().st_size for path in folder.glob("*.png")) / 3)
    assert len(lines) == 15 and all(line.endswith(" min") for line in lines[10:])


def test_less_than_a_shard_is_refused(tmp_path: Path) -> None:
    folder = toy.write_facesynthetics(tmp_path / "set", 1)
    with pytest.raises(SystemExit, match="--faces 6: expected at least 1000"):
        cli.main(["bench", "shards", "--set", f"facesynthetics:{folder}", "--faces", "6"])
