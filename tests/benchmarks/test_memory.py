import dataclasses
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facemix import config
from facemix.benchmarks import made_up, memory
from facemix.faces import packing, packs


def test_a_made_up_pack_is_a_pack_of_black_crops_that_take_no_disk(tmp_path: Path) -> None:
    made_up.write_pack(tmp_path / "pack", ["train", "test", "train"], 200)
    pack = packs.read(tmp_path / "pack")
    assert pack.splits.tolist() == ["train", "test", "train"]
    assert not pack.images[1].any() and np.all(np.isfinite(pack.landmarks))
    (shard,) = (tmp_path / "pack/images").iterdir()
    assert shard.stat().st_blocks * 512 < np.prod(pack.images.shape) / 2


def test_a_made_up_pack_has_as_many_shards_as_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", 2 * 20 * 20 * 3)
    made_up.write_pack(tmp_path / "pack", ["train"] * 5, 20)
    assert len(list((tmp_path / "pack/images").iterdir())) == 3
    pack = packs.read(tmp_path / "pack")
    assert len(pack.images) == 5 and pack.rows_of(pack.ids.tolist()).tolist() == list(range(5))


def test_the_memory_of_training_is_measured_on_each_pack(
    params: config.Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = SimpleNamespace(apply=lambda work, given: work(*given))  # in place of a process for each
    pool = SimpleNamespace(Pool=lambda *_, **__: nullcontext(here))
    monkeypatch.setattr(memory, "get_context", lambda _: pool)
    monkeypatch.setattr(memory, "TIMES", (2,))
    monkeypatch.setattr(memory, "_BATCHES", 2)
    small = dataclasses.replace(
        params,
        pack=config.Pack(crop_size=32, margin=2.0),
        model=dataclasses.replace(params.model, input_size=32),
        training=dataclasses.replace(params.training, batch_size=4, device="cpu"),
    )
    memory.memory(small, faces=4, steps=1)
    printed = capsys.readouterr().out
    measured = re.findall(r"^ *(\d+) +0\.0 +(\d+) +(\d+) +(\d+)$", printed, re.MULTILINE)
    assert [int(n) for n, *_ in measured] == [8]
    assert all(0 < int(reading) <= int(adapting) <= int(training) for _, reading, adapting, training in measured)
