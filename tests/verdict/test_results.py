import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces import packs, schemes
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme
from facemix.files import write_table
from facemix.training import predictions
from facemix.training.predictions import Predictions
from facemix.verdict import comparison, results
from toy_pack import pack


@pytest.fixture
def judging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """The real pack: four validation faces and eight test faces."""
    faces = pack(12)
    faces.splits[:] = ["validation"] * 4 + ["test"] * 8
    monkeypatch.setattr(packs, "read", lambda _folder: faces)
    monkeypatch.chdir(tmp_path)
    return faces


def write(
    strategy: str, seed: int, faces: Pack, off: float = 1.0, scheme: Scheme | None = None, **made_of: object
) -> Path:
    """What a training leaves whose points are all off to the right by some pixels."""
    folder = Path("models") / strategy / f"seed-{seed}"
    folder.mkdir(parents=True)
    points = {level: (faces.landmarks + [off + level, 0]).astype(np.float32) for level in (0.0, 0.1)}
    if scheme:
        points = {
            level: schemes.in_scheme(schemes.in_scheme(own, faces.scheme, scheme), scheme, faces.scheme)
            for level, own in points.items()
        }
    predictions.write(folder, Predictions(ids=faces.ids, points=points))
    write_table(folder / "history.csv", [{"step": 10, "val_error": 2.5}])
    about = {
        "training": {"steps": 10, "faces_seen": {strategy: 320}},
        "adapter": None,
        "scheme": (scheme or faces.scheme).as_dict(),
        "made_of": {"inputs": {"real": faces.digest}, "packages": {"torch": "1"}, "code": "c", "n_real": 4} | made_of,
    }
    (folder / "model.json").write_text(json.dumps(about))
    return folder


def test_errors_are_those_of_the_predictions_on_the_test_faces(judging: Pack) -> None:
    write("real_only", 0, judging, 2.0)
    write("mixing", 0, judging, 4.0, n_synthetic=7)
    real, mixed = results.read(Path("models"), [0], "outer_eye")
    assert (real.strategy, mixed.strategy) == ("real_only", "mixing")
    assert real.errors.keys() == {f"toy/{i}" for i in range(4, 12)}
    size = np.linalg.norm(judging.landmarks[0, 36] - judging.landmarks[0, 45])
    assert list(real.errors.values()) == pytest.approx([100 * 2 / size] * 8, rel=1e-4)
    assert mixed.box_jitter == pytest.approx({0.0: 100 * 4 / size, 0.1: 100 * 4.1 / size}, rel=1e-4)
    assert mixed.faces_seen == 320
    assert mixed.settings["n_synthetic"] == 7
    assert mixed.packages == {"torch": "1"}


def test_points_within_what_is_said_are_counted_for_each_set_of_faces(judging: Pack) -> None:
    judging.transforms[:] = [[0.5, 0, 0], [0, 0.5, 0]]  # labels lie at twice their place in the images
    folder = write("real_only", 0, judging, 0.0)
    points = (2 * judging.landmarks).astype(np.float32)
    points[4:6, :, 1] += 3  # of eight test faces, two are 3 pixels off
    expected = np.full(points.shape[:2], 2, np.float32)
    predictions.write(folder, Predictions(ids=judging.ids, points={0.0: points, 0.1: points}, expected=expected))
    assert "within" not in results.load(folder, judging, "outer_eye").figures  # not calibrated
    about = json.loads((folder / "model.json").read_text())
    about["certainty"] = {"scale": [1] * 68, "radius": {"0.5": 1.4, "0.9": 1.6}, "usual": 0.02}
    (folder / "model.json").write_text(json.dumps(about))
    figures = results.load(folder, judging, "outer_eye").figures
    assert figures["within_90"] == {"val": 1, "test": 1}
    assert figures["within"]["test"] == [[0.5, 0.75], [0.9, 1.0]]


@pytest.mark.parametrize(("name", "named"), [("wflw98", 66), ("hand21", 0)])
def test_a_detector_of_another_scheme_is_judged_by_what_both_name_and_not_ranked(
    name: str, named: int, judging: Pack
) -> None:
    write("real_only", 0, judging)
    folder = write("synthetic_only", 0, judging, 2.0, scheme=schemes.load(name))
    (ranked,) = results.read(Path("models"), [0], "outer_eye")
    assert ranked.strategy == "real_only"
    found = results.load(folder, judging, "outer_eye")
    assert found.figures["judged_points"] == named
    assert ("test" in found.figures) == bool(named)
    if named:
        assert found.figures["test"]["nme"] == pytest.approx(2 * ranked.metrics["test"]["nme"], rel=1e-4)
    (why,) = results.unranked(Path("models"), [0], judging.scheme).values()
    judged = "66 of the 68 points of ibug68" if named else "no point of ibug68"
    assert why == f"synthetic_only is not ranked: it finds the points of {name}, and so {judged}"
    assert results.unranked(Path("models"), [0], results.scheme_of(Path("models/real_only/seed-0"))).keys() == {
        "synthetic_only"
    }


def test_nothing_to_rank_is_told(judging: Pack) -> None:
    write("synthetic_only", 0, judging, scheme=schemes.load("hand21"))
    with pytest.raises(FacemixError, match="models: nothing to rank; synthetic_only is not ranked: .* hand21"):
        results.read(Path("models"), [0], "outer_eye")


def test_another_normaliser_needs_no_training(judging: Pack) -> None:
    write("real_only", 0, judging)
    by_eye, by_box = (results.read(Path("models"), [0], name)[0] for name in ("outer_eye", "box_diagonal"))
    assert by_box.metrics["test"]["nme"] < by_eye.metrics["test"]["nme"]
    assert by_box.metrics["normalizer"] == "box_diagonal"


def test_trainings_on_other_faces_are_not_ranked_together(judging: Pack) -> None:
    write("real_only", 0, judging)
    write("fine_tuning", 0, judging, inputs={"real": "other"})
    with pytest.raises(FacemixError, match="real faces"):
        comparison.rank(results.read(Path("models"), [0], "outer_eye"))


def test_seeds_that_all_have_are_read_and_the_control_may_have_fewer(judging: Pack) -> None:
    for strategy, seeds in {"real_only": (0, 1, 2), "fine_tuning": (0, 2), "control": (2,)}.items():
        for seed in seeds:
            write(strategy, seed, judging)
    found = [(one.strategy, one.seed) for one in results.read(Path("models"), [0, 1, 2], "outer_eye")]
    assert found == [("real_only", 0), ("real_only", 2), ("fine_tuning", 0), ("fine_tuning", 2), ("control", 2)]
    assert results.missing(Path("models"), [0, 1, 2]) == [("fine_tuning", 1)]
    write("mixing", 1, judging)
    with pytest.raises(FacemixError, match="no seed that every strategy was trained with.*mixing seed 0"):
        results.read(Path("models"), [0, 1, 2], "outer_eye")


def test_without_any_training_the_message_says_what_to_run(judging: Pack) -> None:
    with pytest.raises(FacemixError, match="models: no trained strategy, .*run `dvc repro`"):
        results.read(Path("models"), [0], "outer_eye")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json is missing"),
        (lambda folder: (folder / "history.csv").unlink(), "history.csv is missing"),
        (lambda folder: (folder / "model.json").write_text("{"), "damaged results"),
        (lambda folder: (folder / "model.json").write_text('{"training": {}}'), "damaged results"),
        (lambda folder: (folder / predictions.FILE).unlink(), "predictions.npz: not found"),
    ],
)
def test_damaged_results_are_named(spoil: Callable[[Path], object], message: str, judging: Pack) -> None:
    spoil(write("real_only", 0, judging))
    with pytest.raises(FacemixError, match=rf"models/real_only/seed-0.*{re.escape(message)}"):
        results.read(Path("models"), [0], "outer_eye")


def test_points_that_are_not_finite_are_named(judging: Pack) -> None:
    folder = write("real_only", 0, judging)
    found = predictions.read(folder)
    found.points[0.0][5, 3] = np.nan
    predictions.write(folder, found)
    with pytest.raises(FacemixError, match="the points of toy/5 are not finite"):
        results.read(Path("models"), [0], "outer_eye")
