"""MLflow's model registry: the models of the runs, the versions of `facemix`, and the champion of each benchmark."""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facemix.tracking.store import StoreAwayError, artifacts, client, file_lock, line

REGISTERED = "facemix"
"""The model's name in the registry."""
ABOUT = (
    "Facial landmarks. An alias `champion-...` for each benchmark (validation faces, landmark scheme and face size) is "
    "on the version with the lowest NME on it."
)
DIGEST_TAG = "facemix.digest"
MODEL_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python", "safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """What validation NMEs were measured on: only on equal benchmarks they compare."""

    sources: str
    """What people call the faces, as `300w`; shown, not compared."""
    faces: str
    """Digest of the validation faces."""
    scheme: str
    """The landmark scheme, as `ibug68`."""
    normalizer: str
    """The face size under the NME."""

    @property
    def alias(self) -> str:
        """The champion's alias in the registry, as `champion-300w-1f0c9e2a`."""
        digest = hashlib.sha256("\0".join((self.faces, self.scheme, self.normalizer)).encode()).hexdigest()[:8]
        name = re.sub(r"[^a-z0-9]+", "-", self.sources.lower()).strip("-")[:40]
        return "-".join(filter(None, ("champion", name, digest)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The best registered version on a benchmark."""

    version: str
    nme: float
    """On validation, in % of the face size."""
    digest: str
    """Fingerprint of the model, see `model_digest`."""
    tags: Mapping[str, str]


def champion(alias: str) -> Champion | None:
    """The version that has an alias; None where no version has it.

    Raises:
        StoreAwayError: MLflow cannot be asked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = client()
        try:
            found = connection.search_registered_models(f"name = '{REGISTERED}'")
            if not found or alias not in found[0].aliases:
                return None
            version = connection.get_model_version(REGISTERED, found[0].aliases[alias])
        except Exception as error:
            raise StoreAwayError(line(error)) from error
    tags = dict(version.tags)
    nme = float(tags.get(_nme_tag(alias), "nan"))  # none where somebody moved the alias by hand
    return Champion(version=str(version.version), nme=nme, digest=tags.get("digest", ""), tags=tags)


def model_digest(checkpoint: Path) -> str:
    """Fingerprint of a trained model: the same weights of the same making have the same.

    Raises:
        OSError: it is no folder of a trained model.
    """
    content = b"".join((checkpoint / name).read_bytes() for name in ("model.json", "model.safetensors"))
    return hashlib.sha256(content).hexdigest()[:16]


def register(client: Any, run_id: str, checkpoint: Path, entry: Mapping[str, Any]) -> None:
    """Make a checkpoint folder a version of `facemix`, unless it is one, and give the alias to the best of all.

    Args:
        client: MLflow's.
        run_id: The run that logs the model where its training's run is not in the store.
        checkpoint: The folder.
        entry: `alias` of the benchmark, `nme` on it, `tags` (with `digest`) and `description` of the version.
    """
    tags = entry["tags"] | {_nme_tag(entry["alias"]): f"{entry['nme']:.4f}"}
    same = f"name = '{REGISTERED}' AND tags.digest = '{tags['digest']}'"
    with file_lock("registering"):
        if found := client.search_model_versions(same):  # those weights, perhaps measured on something else
            client.update_model_version(REGISTERED, found[0].version, entry["description"])
            for key, value in tags.items():
                client.set_model_version_tag(REGISTERED, found[0].version, key, value)
        else:
            if not client.search_registered_models(f"name = '{REGISTERED}'"):
                client.create_registered_model(REGISTERED, description=ABOUT)
            model = _logged_model(client, run_id, tags["digest"]) or log_model(client, run_id, checkpoint)
            client.create_model_version(
                REGISTERED,
                model.artifact_location,
                run_id=model.source_run_id,
                model_id=model.model_id,
                tags=tags,
                description=entry["description"],
            )
        best = best_version(client.search_model_versions(f"name = '{REGISTERED}'"), entry["alias"])
        client.set_registered_model_alias(REGISTERED, entry["alias"], best)


def best_version(versions: Sequence[Any], alias: str) -> str:
    """The version with the lowest NME on a benchmark, of those that were measured on it; of equal ones the first."""
    measured = [one for one in versions if _nme_tag(alias) in one.tags]
    return str(min(measured, key=lambda one: (float(one.tags[_nme_tag(alias)]), int(one.version))).version)


def _nme_tag(alias: str) -> str:
    return f"val_nme.{alias}"


def _logged_model(client: Any, run_id: str, digest: str) -> Any | None:
    """That very model as a run of its training has logged it; none where DVC took it from its cache."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'")
    return next((model for model in found if str(model.status) == "READY"), None)  # no filter finds a status


def log_model(client: Any, run_id: str, checkpoint: Path) -> Any:
    """Log a checkpoint folder as the model of a run, and return what MLflow knows of it."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run = client.get_run(run_id)
    experiments = [run.info.experiment_id]
    found = client.search_logged_models(experiments, f"source_run_id = '{run_id}' AND name = 'model'")
    tags = {DIGEST_TAG: model_digest(checkpoint)}
    model = (
        found[0] if found else client.create_logged_model(*experiments, name="model", source_run_id=run_id, tags=tags)
    )
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary, "model")
        record = Model(
            artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
        )
        _save_model(checkpoint, saved, record)
        artifacts(model.artifact_location).log_artifacts(str(saved))
    if model.model_id not in [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def _save_model(checkpoint: Path, target: Path, record: Any) -> None:
    """Write a checkpoint as an MLflow model: code, not a pickle, and this package with it, so that it runs anywhere."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array

    points, boxes = Array(Array(Array(DataType.double))), Array(Array(DataType.double))
    package = Path(__file__).parents[1]
    save_model(
        target,
        python_model=str(package / "evaluation" / "served.py"),
        artifacts={"model": checkpoint.absolute().as_uri()},  # of a path MLflow would not quote `?`
        code_paths=[str(package)],
        mlflow_model=record,
        signature=ModelSignature(
            # An array of doubles would refuse whole numbers in JSON: the model checks the boxes itself.
            inputs=Schema([ColSpec(DataType.binary, "image"), ColSpec(AnyType(), "boxes", required=False)]),
            outputs=Schema(
                [
                    ColSpec(points, "landmarks"),
                    ColSpec(boxes, "boxes"),
                    *(ColSpec(AnyType(), name) for name in ("errors", "visible", "scores")),  # null where not known
                ]
            ),
        ),
        input_example=pd.DataFrame({"image": [_example_image()], "boxes": [[[16.0, 16.0, 47.0, 47.0]]]}),
        # Said, so that MLflow does not load the model in another process to find out.
        pip_requirements=[requirement for name in MODEL_PACKAGES for requirement in _requirement(name)],
    )


def _example_image() -> bytes:
    """A grey PNG of 64 x 64 pixels: it shows the form of a request, and is nobody's photograph."""
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1])


def _requirement(package: str) -> list[str]:
    try:
        release = version(package).partition("+")[0]  # 2.13.0+cpu is no release of any index
    except PackageNotFoundError:
        return []
    # A server draws no windows: the headless build of the same release needs no libGL.
    return [f"{'opencv-python-headless' if package == 'opencv-python' else package}=={release}"]
