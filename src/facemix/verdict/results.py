"""What trainings left, read: model folders with their predictions become the records that the verdict compares."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemix.errors import FacemixError
from facemix.evaluation import measure
from facemix.evaluation.measure import Errors
from facemix.faces import packs, schemes
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme
from facemix.strategies import STRATEGIES
from facemix.training import certainty, predictions
from facemix.training.predictions import Predictions
from facemix.verdict.comparison import CONTROL, Trained, named

_NO_SETTING = ("packages", "code", "inputs", "strategy", "seed")
"""What stands among the things that a training is made of, and is no setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One trained detector: what its folder holds, measured."""

    about: dict[str, Any]
    """What model.json holds."""
    errors: dict[float, Errors]
    """Level of box jitter -> errors of all faces that judge; 0: in tight boxes."""
    figures: dict[str, Any]
    """See `measure.figures` and `_reliability`; with what model.json says under `training` and `adapter`.

    A detector of another scheme than the real faces' is judged by the points that both schemes name: `judged_points`
    says how many they are. Where there is none, no set of faces has figures.
    """
    history: list[dict[str, float]]
    """Rows of history.csv."""

    @property
    def scheme(self) -> Scheme:
        """Of its points."""
        return schemes.parse(self.about["scheme"], "model.json")

    @property
    def faces_seen(self) -> int:
        """By every network behind it: its own, the one that it started from, and the one behind its label adapter."""
        return sum(self.about["training"]["faces_seen"].values())


def read(models: Path, seeds: Sequence[int], normalizer: str) -> list[Trained]:
    """Every trained strategy at the seeds that all of them have, in the order of the table.

    The control may have fewer. Left out are detectors of another scheme than the real faces' (see `unranked`): an NME
    over other points is no comparison.

    Args:
        models: the folder `models`.
        seeds: those of params.yaml.
        normalizer: the face size under the NME.

    Raises:
        FacemixError: nothing is there, no seed is common to all, or a file is damaged.
    """
    names = _trained(models, seeds)
    if not names:
        raise FacemixError(f"{models}: no trained strategy, expected {models}/STRATEGY/seed-K; run `dvc repro`")
    lacking = missing(models, seeds)
    common = [seed for seed in seeds if not any((name, seed) in lacking for name in names)]
    if not common:
        raise FacemixError(
            f"{models}: no seed that every strategy was trained with, expected at least one; missing: "
            f"{named(lacking)}; run `dvc repro`"
        )
    pack = packs.read(packs.FOLDER / "real")
    left_out = unranked(models, common, pack.scheme)
    trained = [
        _record(load(models / name / f"seed-{seed}", pack, normalizer), name, seed)
        for name in names
        if name not in left_out
        for seed in common
        if name != CONTROL or (models / name / f"seed-{seed}").is_dir()
    ]
    if not trained:
        raise FacemixError("; ".join([f"{models}: nothing to rank", *left_out.values()]) + "; run `dvc repro`")
    return trained


def unranked(models: Path, seeds: Sequence[int], real: Scheme | None) -> dict[str, str]:
    """What no ranking holds, and why, in words: strategies whose detectors find points of another scheme.

    Args:
        models: the folder `models`.
        seeds: that were trained.
        real: the scheme of the real faces; None: not known, and nothing is said.
    """
    found = {}
    for name in _trained(models, seeds):
        files = [models / name / f"seed-{seed}" / "model.json" for seed in seeds]
        scheme = scheme_of(next(file.parent for file in files if file.parent.is_dir()))
        if scheme and real and (reason := why_unranked(name, scheme, real)):
            found[name] = reason
    return found


def why_unranked(strategy: str, own: Scheme, real: Scheme) -> str | None:
    """Why a strategy whose detectors find the points of one scheme is not ranked on real faces; None: it is."""
    if own.points == real.points:
        return None
    named = len(schemes.shared(own, real)[0])
    judged = f"{named} of the {len(real)} points of {real.name}" if named else f"no point of {real.name}"
    return f"{strategy} is not ranked: it finds the points of {own.name}, and so {judged}"


def scheme_of(folder: Path) -> Scheme | None:
    """The scheme of a trained detector; None where its model.json is not usable, which `load` says better."""
    file = folder / "model.json"
    try:
        return schemes.parse(json.loads(file.read_text(encoding="utf-8"))["scheme"], str(file))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def missing(models: Path, seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Strategy and seed of each training that is not there, of strategies that were trained with another seed.

    The control, which costs most, may have fewer seeds.
    """
    return [
        (name, seed)
        for name in _trained(models, seeds)
        for seed in seeds
        if name != CONTROL and not (models / name / f"seed-{seed}").is_dir()
    ]


def _trained(models: Path, seeds: Sequence[int]) -> list[str]:
    return [name for name in STRATEGIES if any((models / name / f"seed-{seed}").is_dir() for seed in seeds)]


def load(folder: Path, pack: Pack, normalizer: str) -> Detector:
    """Reads and measures what one training left.

    Args:
        folder: `models/STRATEGY/seed-K`.
        pack: the real one, whose faces judge.
        normalizer: the face size under the NME.

    Raises:
        FacemixError: a file is missing or damaged, or the predictions are of other faces.
    """
    predicted = predictions.read(folder)
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        training = {**about["training"], "faces_seen": {k: int(v) for k, v in about["training"]["faces_seen"].items()}}
        about = about | {"training": training}
        _ = about["made_of"]["packages"], about["made_of"]["code"]
        _, named = schemes.shared(schemes.parse(about["scheme"], str(folder / "model.json")), pack.scheme)
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise FacemixError(
            f"{folder}: {missing} is missing; expected in the folder of every seed; run `dvc repro`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FacemixError(f"{folder}: damaged results ({error!r}); delete the folder and run `dvc repro`") from error
    try:
        errors = measure.measure(predicted, pack, normalizer)
    except FacemixError as error:
        raise FacemixError(f"{folder}: {error}") from None
    finite = np.isfinite(predicted.points[0.0][:, named]).all(axis=(1, 2))
    bad = predicted.ids[~finite].tolist()
    if bad:
        raise FacemixError(
            f"{folder / predictions.FILE}: the points of {bad[0]} are not finite, expected finite ones for every face; "
            "delete the folder and run `dvc repro`"
        )
    partly = len(named) < len(pack.scheme)
    if partly:
        errors = {level: one.judged() for level, one in errors.items()}
    if len(named) and not np.any(errors[0.0].splits == "test"):
        raise FacemixError(f"{folder / predictions.FILE}: no test face; delete the folder and run `dvc repro`")
    figures = measure.figures(errors, pack, normalizer)
    figures |= {"judged_points": len(named)} if partly else {}
    figures |= {key: about[key] for key in ("training", "adapter") if about[key]}
    figures |= _reliability(predicted, pack, about)
    return Detector(about=about, errors=errors, figures=figures, history=history)


def _reliability(predicted: Predictions, pack: Pack, about: Mapping[str, Any]) -> dict[str, Any]:
    """`within`: set of faces -> pairs of a level and the share of points within its radius; of a calibrated detector.

    And `within_90`, its share at the level of 90 %.
    """
    radius = certainty.read(about["certainty"]).radius if about.get("certainty") else {}
    found = measure.reliability(predicted, pack, radius)
    if not found:
        return {}
    return {
        "within_90": {name: shares[0.9] for name, shares in found.items()},
        "within": {name: [[level, share] for level, share in shares.items()] for name, shares in found.items()},
    }


def _record(found: Detector, strategy: str, seed: int) -> Trained:
    test = found.errors[0.0].of("test")
    ids = test.ids.tolist()
    made_of = found.about["made_of"]
    sets = {f"{role} faces": made_of["inputs"][role] for role in ("real", "synthetic") if role in made_of["inputs"]}
    return Trained(
        strategy=strategy,
        seed=seed,
        metrics=found.figures,
        errors=dict(zip(ids, test.nme.tolist(), strict=True)),
        photos=dict(zip(ids, test.photos.tolist(), strict=True)),
        box_jitter={level: float(errors.of("test").nme.mean()) for level, errors in found.errors.items()},
        history=found.history,
        faces_seen=found.faces_seen,
        packages=made_of["packages"],
        settings=sets | {key: value for key, value in made_of.items() if key not in _NO_SETTING},
        code=made_of["code"],
    )
