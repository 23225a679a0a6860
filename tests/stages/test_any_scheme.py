"""From annotation files in any scheme to a ranked, exported detector."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

import toy
from facemix import config
from facemix.evaluation.export import metadata
from facemix.faces import packs, schemes
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme
from facemix.stages.compare import compare
from facemix.stages.export import export
from facemix.stages.leaks import leaks
from facemix.stages.prepare import prepare
from facemix.stages.report import report
from facemix.stages.train import train
from facemix.strategies import STRATEGIES
from facemix.sweeps import results as sweeps
from facemix.sweeps.grid import Point, Result
from facemix.sweeps.results import Unranked
from facemix.training.landmarker import Landmarker
from facemix.verdict import results

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 64
EXPORTED = ("hand21",)
"""The schemes whose detectors are exported, which takes longest: one that is not even of faces."""


def write_coco(root: Path, scheme: Scheme, n: int, seed: int, stretch: float = 1.0) -> None:
    """Pictures of dots, each point of the scheme in a colour of its own; every third one hides or lacks a point."""
    rng = np.random.default_rng(seed)
    layout = schemes.layout(scheme.name)
    if layout is None:
        layout = np.random.default_rng(7).random((len(scheme), 2))  # the same for all sets of a scheme
    sized = {i for size in scheme.face_sizes.values() for group in size.between for i in group}
    spare = next(i for i in range(len(scheme)) if i not in sized)
    colours = np.random.default_rng(3).integers(60, 256, (len(scheme), 3)).tolist()
    images, annotations = [], []
    root.mkdir(parents=True)
    for i in range(n):
        points = (layout - 0.5) * [36, 36 * stretch] * rng.uniform(0.7, 1) + SIDE / 2 + rng.normal(0, 2, 2)
        picture = np.full((SIDE, SIDE, 3), rng.integers(0, 40), np.uint8)
        for (x, y), colour in zip(points, colours, strict=True):
            cv2.circle(picture, (round(x), round(y)), 1, colour, -1)
        picture[0, 0] = i % 256, seed, 0  # no two files are the same
        cv2.imwrite(str(root / f"{i:03}.png"), picture)
        states = np.full(len(scheme), 2)
        states[spare] = (2, 1, 0)[i % 3]
        keypoints = np.concatenate([points, states[:, None]], axis=1)
        keypoints[states == 0] = 0
        images.append({"id": i, "file_name": f"{i:03}.png", "width": SIDE, "height": SIDE})
        annotations.append({"id": i, "image_id": i, "category_id": 1, "keypoints": keypoints.ravel().tolist()})
    categories = [{"id": 1, "name": "face", "keypoints": list(scheme.points)}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "points.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("hand21", "hand21"),
        ("wflw98", "wflw98"),
        ("cofw29", "wflw98"),  # two schemes that name points alike,
        ("coco17", "five"),  # and two that do not
    ],
)
def test_sets_in_any_schemes_become_a_ranked_and_exported_detector(
    name: str, rendered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scheme, other = schemes.load(name), schemes.load(rendered)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens
    write_coco(tmp_path / "data/sources/real/dots", scheme, 40, 1)
    write_coco(tmp_path / "data/sources/synthetic/drawn", other, 16, 2, stretch=0.8)
    params = config.load(REPOSITORY / "params.yaml")
    params = dataclasses.replace(
        params,
        sources=config.Sources(
            real=(config.Source(name="dots", format="coco", scheme=name),),
            synthetic=(config.Source(name="drawn", format="coco", scheme=rendered),),
        ),
        render=toy.NO_RENDERS,
        pack=config.Pack(crop_size=48, margin=2.0),
        model=dataclasses.replace(params.model, input_size=32, width=8),
        training=dataclasses.replace(
            params.training, steps=2, batch_size=8, warmup_steps=1, evaluate_every=1, ema_decay=0.5, device="cpu"
        ),
        adaptation=dataclasses.replace(params.adaptation, epochs=2),
        evaluation=config.Evaluation(normalizer="auto"),
    )
    for role in ("real", "synthetic"):
        prepare(role, params)
    pack = packs.read(tmp_path / "data/packs/real")
    assert pack.scheme.as_dict() == scheme.as_dict()
    assert np.array_equal(np.isnan(pack.landmarks).all(axis=2), pack.states == 0)
    assert {0, 1, 2} == set(np.unique(pack.states).tolist())
    for strategy in STRATEGIES.values():
        train(strategy, 0, params)
    leaks(params)
    compare(params)
    report(params)
    figures = json.loads((tmp_path / "reports/metrics.json").read_text(encoding="utf-8"))
    assert figures["normalizer"] == scheme.normalizer
    assert all(np.isfinite(nme) for nme in figures["test_nme"].values())
    assert ("synthetic_only" in figures["test_nme"]) == (name == rendered)
    said, text = capsys.readouterr().out, (tmp_path / "reports/report.html").read_text(encoding="utf-8")
    assert f"{len(scheme)} landmarks" in text
    if name != rendered:
        named = len(schemes.shared(scheme, other)[0])
        judged = f"{named} of the {len(scheme)} points" if named else "no point"
        why = f"synthetic_only is not ranked: it finds the points of {rendered}, and so {judged} of {name}"
        assert why in said
        assert why in text
    assert_in_sweeps(pack, ranked=name == rendered)
    landmarker = Landmarker.load("models/mixing/seed-0")
    found = landmarker.predict(pack.images[0], np.array([[8.0, 8, 40, 40]]))
    assert found.shape == (1, len(scheme), 2)
    assert metadata(landmarker)["points"].split() == list(scheme.points)
    if name in EXPORTED:
        assert_exported(scheme)


def assert_in_sweeps(pack: Pack, ranked: bool) -> None:
    """A sweep ranks what finds the points of the real faces, and measures its regions by their scheme."""
    for strategy in ("synthetic_only", "mixing"):
        found = sweeps.measured(
            results.load(Path(f"models/{strategy}/seed-0"), pack, "auto"),
            pack.scheme,
            dict.fromkeys(pack.ids.tolist(), 0.0),
            point=Point(strategy=strategy, seed=0, settings=()),
            experiment="",
            commit="",
            digest="",
            seconds=None,
        )
        assert found.n_synthetic
        if strategy == "synthetic_only" and not ranked:
            assert isinstance(found, Unranked) and found.reason.startswith("synthetic_only is not ranked: it finds")
        else:
            assert isinstance(found, Result) and found.errors is not None
            assert found.errors.nme.keys() == {"all", *pack.scheme.regions}


def assert_exported(scheme: Scheme) -> None:
    """The ONNX file of a detector gives the points of the scheme, and names them."""
    export(Path("models/real_only/seed-0"), Path("detector.onnx"))
    session = onnxruntime.InferenceSession("detector.onnx", providers=["CPUExecutionProvider"])
    points, _errors, *_ = session.run(None, {"images": np.zeros((2, 3, 32, 32), np.float32)})
    assert points.shape == (2, len(scheme), 2)
    assert session.get_modelmeta().custom_metadata_map["points"].split() == list(scheme.points)
