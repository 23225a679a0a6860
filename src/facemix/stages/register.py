"""`facemix register`: makes a trained model a version in MLflow's registry, and says how to serve the champion."""

from collections.abc import Sequence
from pathlib import Path

from facemix import tracking
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.stages.compare import model_folder, registration
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
            f"MLflow at {tracking.shown_uri()} is away ({error}); {folder} is kept, `facemix deliver` registers it"
        ) from None
    if champion is None:
        raise FacemixError(f"{folder} is not in MLflow's registry yet; it is kept, `facemix deliver` registers it")
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
