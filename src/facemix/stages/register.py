"""`facemix register`: makes a trained model a version in MLflow's registry, and says how to serve the champion."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from facemix import tracking
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.faces.face import STAND_IN
from facemix.reporting import figures
from facemix.strategies import MODELS
from facemix.verdict import comparison, results


def register(params: Params, model: Path | None) -> None:
    """Registers a trained model, by default the best by validation, and prints the champion of its benchmark.

    Raises:
        FacemixError: nothing is trained, `model` is none of the trained models that compare, or MLflow is away (what
            was registered is then kept and sent later).
    """
    trained = results.read(MODELS, params.seeds, params.evaluation.normalizer)
    chosen = comparison.champion(trained) if model is None else _named(trained, model)
    folder, about = model_folder(chosen), registration(chosen, trained, params)
    with tracking.start(
        name="register",
        experiment=params.tracking.experiment,
        tags={"strategy": "register"},
        patience=tracking.LONG_PATIENCE,
    ) as run:
        run.register(folder, **about)
    alias = about["benchmark"].alias
    try:
        champion = tracking.champion(alias)
    except tracking.StoreAwayError as error:
        raise FacemixError(
            f"MLflow at {tracking.shown_uri()} does not answer ({error}); {folder} is kept, and `facemix deliver` "
            "will register it"
        ) from None
    if champion is None:
        raise FacemixError(
            f"{folder} is not in MLflow's registry yet; it is kept, and `facemix deliver` will register it"
        )
    same = champion.digest == tracking.model_digest(folder)
    said = "" if same else f"; {folder} has {about['nme']:.2f}"
    print(
        f"{alias}: version {champion.version}, {champion.tags.get('strategy')} seed {champion.tags.get('seed')}, "
        f"NME {champion.nme:.2f} on validation{said}\n"
        f"mlflow models serve -m models:/facemix@{alias} --env-manager local --port 5001"
    )


def _named(trained: Sequence[comparison.Trained], model: Path) -> comparison.Trained:
    for one in trained:
        if model_folder(one).resolve() == model.resolve():
            return one
    found = ", ".join(str(model_folder(one)) for one in trained)
    raise FacemixError(f"--model {model}: expected a trained model of the seeds in params.yaml, one of {found}")


def model_folder(one: comparison.Trained) -> Path:
    """Where a trained model lies."""
    return MODELS / one.strategy / f"seed-{one.seed}"


def registration(chosen: comparison.Trained, trained: Sequence[comparison.Trained], params: Params) -> dict[str, Any]:
    """What the model registry is told of a trained model, one of `trained`: see `tracking.Run.register`."""
    nme, normalizer = float(chosen.metrics["val"]["nme"]), str(chosen.metrics["normalizer"])
    best = "the best" if chosen is comparison.champion(trained) else "one"
    said = [
        f"`{chosen.strategy}`, seed {chosen.seed}: NME {nme:.2f} % of the {figures.face_size(normalizer)} on "
        f"validation, {best} of {len(trained)} trained models."
    ]
    tags = {"strategy": chosen.strategy, "seed": str(chosen.seed)}
    if command := _how_to_get(model_folder(chosen)):
        tags["dvc_get"] = command
        said.append(f"Its files, in a clone of the project:\n\n```sh\n{command}\n```")
    sources = [source.name for source in params.sources.real]
    return {
        "nme": nme,
        "benchmark": tracking.Benchmark(
            sources=STAND_IN if comparison.faces_shown(trained) else "-".join(sources),
            faces=str(chosen.metrics["validation_faces"]),
            scheme=str(chosen.metrics["scheme"]),
            normalizer=normalizer,
        ),
        "tags": tags,
        "description": "\n\n".join(said),
    }


def _how_to_get(folder: Path) -> str:
    """The command that gets a trained model from DVC; empty where DVC has not made it.

    What `dvc repro` makes is in no commit yet, but DVC names its content: the commit is the first one with that name.
    """
    if name := os.environ.get("DVC_EXP_NAME"):
        return f"dvc get . {folder} --rev {name} --out champion"
    if not Path("dvc.lock").exists():
        return ""
    stages = YAML(typ="safe").load(Path("dvc.lock")).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", []) if out["path"] == folder.as_posix()]
    if not outs:
        return ""
    commit = f"$(git log --reverse --format=%H -S {outs[0]['md5']} -- dvc.lock | head -n 1)"
    return f"dvc get . {folder} --rev {commit} --out champion"
