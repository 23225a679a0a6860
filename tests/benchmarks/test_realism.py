"""What synthetic sets are worth as they are, on drawn faces."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import toy
from facemix import config
from facemix.benchmarks import realism
from facemix.benchmarks.realism import Folder
from facemix.benchmarks.records import COLUMNS, Finished, Row
from facemix.cli import main
from facemix.faces import formats, packing, packs
from facemix.faces.face import Face
from facemix.faces.packs import Pack
from facemix.training import tasks

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with drawn real faces and two synthetic sets of 10 and 6 faces."""
    toy.write_300w(tmp_path / "photos", n=36)
    toy.write_facesynthetics(tmp_path / "ours", n=10)
    toy.write_facesynthetics(tmp_path / "theirs", n=6, seed=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def params(params: config.Params) -> config.Params:
    return dataclasses.replace(
        params,
        pack=config.Pack(crop_size=48, margin=2.0),
        model=dataclasses.replace(params.model, input_size=32, width=8),
        training=dataclasses.replace(
            params.training, steps=2, batch_size=4, warmup_steps=1, evaluate_every=1, ema_decay=0.5, device="cpu"
        ),
        adaptation=dataclasses.replace(params.adaptation, epochs=2),
    )


REAL = Folder(name="300w", format="300w", path=Path("photos"))
SETS = [Folder(name=name, format="facesynthetics", path=Path(name)) for name in ("ours", "theirs")]


def test_each_set_is_trained_with_each_n_and_seed_and_what_is_too_small_is_noted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = cast(Pack, SimpleNamespace(splits=np.array(["train"] * 9 + ["validation"] * 5)))
    faces = cast(dict[str, list[Face]], {"ours": range(10), "theirs": range(6)})
    groups = [("ours", 4), ("theirs", 4), ("real", 4), ("ours", 8), ("real", 8)]
    assert list(realism._plan(faces, real, [8, 4], 2)) == [(*group, seed) for group in groups for seed in (0, 1)]
    assert capsys.readouterr().out == "theirs: 6 faces, left out at n 8\n"


def test_each_training_is_said_and_kept_and_what_they_say_together(
    params: config.Params, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = realism.realism(params, REAL, SETS, [4], seeds=1, steps=[2, 1], picture=Path("new/curve.png"))
    keys = [(one.row.set, one.row.n, one.row.seed, one.row.steps) for one in finished]
    assert keys == [(name, 4, 0, steps) for name in ("ours", "theirs", "real") for steps in (1, 2)]
    for one in finished:
        assert (one.row.synthetic_only, one.row.label_adaptation) == pytest.approx(
            (one.errors.synthetic_only.mean(), one.errors.label_adaptation.mean()), abs=1e-4
        )
        assert max(one.errors.steps) <= one.row.steps
    said, table, pairs = capsys.readouterr().out.split("\n\n")
    line = r"^ours, n 4, steps [12], seed 0: NME [0-9.]+ synthetic_only, [0-9.]+ label_adaptation$"
    assert len(re.findall(line, said, re.M)) == 2
    assert len(table.splitlines()) == 1 + 6
    assert len(pairs.splitlines()) == 1 + 2 * 2 * 3  # steps, measures, pairs
    assert Path("new/curve.png").read_bytes().startswith(b"\x89PNG")


def rows(finished: list[Finished]) -> list[Row]:
    return [one.row for one in finished]


def test_an_interrupted_bench_goes_on(params: config.Params, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path("results/realism.csv")
    whole = rows(realism.realism(params, REAL, SETS, [4], seeds=1, out=out))
    content = out.read_text().splitlines(keepends=True)
    assert len(content) == 4

    trained: list[str] = []
    train = tasks.train_network

    def noted(task: tasks.Task, *arguments: object) -> tasks.Outcome:
        assert task.synthetic is not None
        trained.append(str(task.synthetic.ids[0]).split("/")[0])
        return train(task, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "train_network", noted)
    out.write_text("".join([*content[:2], content[3]]))
    assert rows(realism.realism(params, REAL, SETS, [4], seeds=1, out=out)) == whole
    assert trained == ["theirs"]
    assert out.read_text().splitlines(keepends=True) == [*content[:2], content[3], content[2]]

    realism.realism(params, REAL, SETS[:1], [4], seeds=1, steps=[1], out=out)  # another training, not a known one
    assert trained == ["theirs", "ours", "300w"]
    assert len(out.read_text().splitlines()) == 6


def test_it_says_what_decided_which_faces_validate(params: config.Params, capsys: pytest.CaptureFixture[str]) -> None:
    realism.realism(params, REAL, SETS[:1], [4], seeds=1)
    said = capsys.readouterr().out
    reason = "drawn by hash, because no data/splits/real/300w.yaml lists them"
    halves = r"300w: \d+ and \d+ of the validation faces choose step and epoch for each other\n"
    assert re.match(rf"300w: \d+ training and \d+ validation faces, {reason}\n{halves}", said)
    faces, _ = formats.read("300w", Path("photos"))
    validation = [face.id for face in faces if "trainset" in face.id][:3]
    listed = "\n".join(f"- {id_}" for id_ in validation)
    Path("data/splits/real").mkdir(parents=True)
    Path("data/splits/real/300w.yaml").write_text(f"excluded: []\nvalidation:\n{listed}\n")
    realism.realism(params, REAL, SETS[:1], [4], seeds=1)
    said = capsys.readouterr().out
    assert re.match(r"300w: \d+ training and 3 validation faces, those of data/splits/real/300w.yaml\n", said)


def test_real_test_faces_are_not_touched(params: config.Params) -> None:
    before = rows(realism.realism(params, REAL, SETS[:1], [4], seeds=1))
    for image in Path("photos").glob("*/testset/*.jpg"):
        image.write_bytes(b"not an image")
    assert rows(realism.realism(params, REAL, SETS[:1], [4], seeds=1)) == before


def test_the_faces_are_those_of_the_experiment_and_nested(params: config.Params, tmp_path: Path) -> None:
    faces, _ = formats.read("facesynthetics", Path("ours"))
    entries = [packing.Entry(face=face, source="ours", split="train") for face in faces]
    packing.write(tmp_path / "all", entries, size=48, margin=2.0)
    whole = packs.read(tmp_path / "all")
    drawn = [realism._pack_synthetic(tmp_path / "some", "ours", faces, n, 1, params).ids.tolist() for n in (4, 8)]
    assert drawn == [whole.ids[tasks.choose(whole, n, 1, "n_synthetic")].tolist() for n in (4, 8)]
    assert set(drawn[0]) < set(drawn[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--real", "photos"], "--real: found 'photos', expected FORMAT:PATH"),
        (["--real", "w300:photos"], "--real: found the format 'w300', expected one of 300w, 300w_lp"),
        (["--real", "300w:nowhere"], "--real: nowhere: no such folder"),
        (["--set", "real=facesynthetics:ours"], "--set: found the name 'real', the name of the real training faces"),
        (["--set", "facesynthetics:ours"], "--set: found 'facesynthetics:ours', expected NAME=FORMAT:PATH"),
        (["--set", "a=cocos:ours"], "--set: found the format 'cocos', expected one of"),
        (["--set", "a=facesynthetics:photos"], "--set: photos: no faces in the format facesynthetics"),
        (["--n", "0"], "--n: found 0, expected at least 1"),
        (["--n", "2000"], "--n: no set has that many faces, expected one at least; lower it"),
        (["--seeds", "0"], "--seeds: found 0, expected at least 1"),
        (["--steps", "0"], "--steps: found 0, expected at least 1"),
        (["--out", "other.csv"], "--out other.csv: found the columns a, b, expected set, n, steps, seed"),
        (["--out", "torn.csv"], "--out torn.csv: line 2: found 'ours,4', expected set,n,steps,seed.*; delete the line"),
    ],
)
def test_bad_input_is_named(arguments: list[str], message: str, project: Path) -> None:
    (project / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    (project / "other.csv").write_text("a,b\n1,2\n")
    (project / "torn.csv").write_text(",".join(COLUMNS) + "\nours,4\n")
    needed = {"--real": "300w:photos", "--set": "ours=facesynthetics:ours", "--n": "4"}
    given = [part for key, value in needed.items() if key not in arguments for part in (key, value)]
    with pytest.raises(SystemExit, match=f"facemix bench: {message}"):
        main(["bench", "realism", *given, *arguments])


def test_a_set_without_real_training_faces_is_refused(params: config.Params) -> None:
    for image in Path("photos").glob("*/trainset/*"):
        image.unlink()
    with pytest.raises(ValueError, match="--real: photos: found no train faces among 12, expected some"):
        realism.realism(params, REAL, SETS, [4], seeds=1)
