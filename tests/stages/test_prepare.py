import dataclasses
from pathlib import Path

import pytest

import toy
from facemix import config
from facemix.faces import packs
from facemix.stages.prepare import prepare

PARAMS = config.load(Path(__file__).resolve().parents[2] / "params.yaml")


def params(real: str = "toy", fmt: str = "300w") -> config.Params:
    sources = config.Sources(real=(config.Source(name=real, format=fmt),), synthetic=())
    pack = config.Pack(crop_size=48, margin=2.0)
    return dataclasses.replace(PARAMS, sources=sources, render=toy.NO_RENDERS, pack=pack)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_source_is_answered_with_how_to_add_one() -> None:
    with pytest.raises(
        ValueError, match="sources.synthetic: found no source; add one with `facemix import FORMAT PATH`"
    ):
        prepare("synthetic", params())


def test_a_source_without_validation_faces_is_refused(project: Path) -> None:
    source = project / "data/sources/real/toy"
    toy.write_300w(source, n=6)
    for folder in ("helen/trainset", "lfpw/trainset"):
        for file in (source / folder).iterdir():
            file.unlink()
    with pytest.raises(ValueError, match="no validation faces among 2; expected some in each of validation, train"):
        prepare("real", params())
    assert not (project / "data/packs/real").exists()


def test_what_is_missing_of_the_committed_validation_set_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write_300w(project / "data/sources/real/toy", n=30)
    splits = project / "data/splits/real"
    splits.mkdir(parents=True)
    (splits / "300w.yaml").write_text("validation: [helen/trainset/00000_1, afw/1, afw/2]\nexcluded: []\n")
    prepare("real", params())
    assert "2 of the 3 validation faces of data/splits/real/300w.yaml are missing: 2 of afw" in capsys.readouterr().out
    pack = packs.read(Path("data/packs/real"))
    assert pack.ids[pack.splits == "validation"].tolist() == ["toy/helen/trainset/00000_1"]


def test_all_broken_faces_of_a_source_are_reported_at_once(project: Path) -> None:
    source = toy.write_300w(project / "data/sources/real/toy", n=12)
    (source / "helen/trainset/00000_1.pts").write_text("nonsense")
    (source / "lfpw/trainset/00001_1.pts").write_text("n_points: 3\n{\n1 2\n3 4\n5 6\n}\n")
    with pytest.raises(ValueError, match=r"2 of 12 faces are broken(.|\n)*00000_1(.|\n)*00001_1"):
        prepare("real", params())
