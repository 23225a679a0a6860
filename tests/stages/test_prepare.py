import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import toy
from facemix import config
from facemix.faces import packing, packs
from facemix.finding import finders
from facemix.finding.found import Found
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
    with pytest.raises(ValueError, match="no validation faces among 2 of 2 photographs; expected some in each of"):
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
    said = "2 of the 3 faces that data/splits/real/300w.yaml lists under validation are missing: 2 of afw"
    assert said in capsys.readouterr().out
    pack = packs.read(Path("data/packs/real"))
    assert pack.ids[pack.splits == "validation"].tolist() == ["toy/helen/trainset/00000_1"]


def test_all_broken_faces_of_a_source_are_reported_at_once(project: Path) -> None:
    source = toy.write_300w(project / "data/sources/real/toy", n=12)
    (source / "helen/trainset/00000_1.pts").write_text("nonsense")
    (source / "lfpw/trainset/00001_1.pts").write_text("n_points: 3\n{\n1 2\n3 4\n5 6\n}\n")
    with pytest.raises(ValueError, match=r"2 of 12 faces are broken(.|\n)*00000_1(.|\n)*00001_1"):
        prepare("real", params())


def moved(by: tuple[float, float] | None, offset: tuple[float, float] | None = None) -> config.Params:
    """Faces in `data/sources/real/toy` whose points are shifted by some pixels, and what params.yaml says of them."""
    rng = np.random.default_rng(0)
    for i in range(90):
        folder = Path("data/sources/real/toy") / ("helen/testset" if i % 9 == 0 else "helen/trainset")
        folder.mkdir(parents=True, exist_ok=True)
        image, points = toy.face(rng)
        cv2.imwrite(str(folder / f"{i:05d}_1.jpg"), image)
        toy.write_pts(folder / f"{i:05d}_1.pts", points + np.array(by or (0, 0)))
    source = config.Source(name="toy", format="300w", offset=offset)
    found = params()
    sources = dataclasses.replace(found.sources, real=(source,))
    return dataclasses.replace(found, sources=sources, pack=config.Pack(crop_size=96, margin=2.0))


def reported() -> dict[str, object]:
    return json.loads(Path("reports/packs/real.json").read_text())["label_offsets"]["toy"]  # type: ignore[no-any-return]


def test_points_beside_what_they_mark_are_measured_said_and_left(capsys: pytest.CaptureFixture[str]) -> None:
    prepare("real", moved((1, 0)))
    said = capsys.readouterr().out
    assert "toy: points lie " in said
    assert " px to the right of what they mark" in said
    assert "add offset: [-" in said
    found = reported()
    assert found["applied"] is None
    assert 0.7 < found["right"] < 1.3  # type: ignore[operator]


def test_an_offset_of_params_moves_the_points(capsys: pytest.CaptureFixture[str]) -> None:
    prepare("real", moved(None))
    straight = packs.read(Path("data/packs/real"))
    assert "points lie" not in capsys.readouterr().out
    prepare("real", moved((1, 0), offset=(-1, 0)))
    said = capsys.readouterr().out
    assert "toy: points moved by [-1, 0] px, the offset given in params.yaml" in said
    assert "points lie" not in said
    assert reported()["applied"] == [-1, 0]
    corrected = packs.read(Path("data/packs/real"))
    np.testing.assert_allclose(corrected.landmarks, straight.landmarks, atol=1e-3)
    np.testing.assert_allclose(corrected.boxes, straight.boxes, atol=1e-3)


def test_shards_of_the_last_run_stay_but_for_what_has_changed(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SHARD", 8 * 48 * 48 * 3)
    source = toy.write_300w(project / "data/sources/real/toy", n=40)

    def taken() -> tuple[int, int]:
        prepare("real", params())
        found = re.search(r"real: (\d+) of (\d+) shards are those of the last run", capsys.readouterr().out)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    assert taken() == (0, 0)
    kept, of = taken()
    assert kept == of > 5
    file = source / "helen/trainset/00000_1.pts"
    toy.write_pts(file, np.array([line.split() for line in file.read_text().split("\n")[3:71]], float))  # by a pixel
    assert taken() == (of - 1, of)
    made_of = project / "data/packs/real.made_of.json"
    for content in ("", "{}", '{"shards": [{"name": "a"}]}'):
        made_of.write_text(content)
        assert taken() == (0, 0)
    made_of.unlink()
    assert taken() == (0, 0)
    assert taken() == (of, of)


def test_one_photograph_cannot_be_split_and_the_way_out_is_true(project: Path) -> None:
    toy.write_300w(project / "data/sources/real/toy", n=40)
    one = config.Source(name="toy", format="300w", group="^helen|^lfpw")
    found = params()
    few = dataclasses.replace(found, sources=dataclasses.replace(found.sources, real=(one,)))
    with pytest.raises(ValueError, match="faces among 40 of 2 photographs; .*set group of the source in params.yaml"):
        prepare("real", few)
    each = dataclasses.replace(one, group=".*")
    prepare("real", dataclasses.replace(few, sources=dataclasses.replace(found.sources, real=(each,))))


def test_a_pack_of_real_faces_says_how_found_boxes_lie_to_labelled_ones(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write_300w(project / "data/sources/real/toy", n=30)

    def find(image: np.ndarray) -> Found:  # the middle half of a crop: its landmark box, as the margin is two
        return Found(boxes=np.array([[11.5, 11.5, 35.5, 35.5]]), scores=np.ones(1))

    monkeypatch.setitem(finders.FINDERS, finders.DEFAULT, find)
    prepare("real", params())
    pack = packs.read(Path("data/packs/real"))
    n = int((pack.splits == "train").sum())
    assert pack.finder == {"name": finders.DEFAULT, "down": 0, "scale": 1, "found": n, "of": n}
    assert "need boxes" not in capsys.readouterr().out


def test_where_the_finder_finds_nothing_it_is_said_that_boxes_are_needed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write_300w(project / "data/sources/real/toy", n=30)
    nobody = Found(boxes=np.zeros((0, 4)), scores=np.zeros(0))
    monkeypatch.setitem(finders.FINDERS, finders.DEFAULT, lambda image: nobody)
    prepare("real", params())
    finder = packs.read(Path("data/packs/real")).finder
    assert finder is not None and finder["scale"] is None
    assert f"tells where 0 of {finder['of']} training faces are; expected half" in capsys.readouterr().out
