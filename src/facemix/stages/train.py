"""`facemix train STRATEGY --seed K`: one strategy, one seed, from packs to `models/STRATEGY/seed-K`."""

import csv
import fcntl
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facemix import tracking
from facemix.config import Params, plain
from facemix.faces import packs, splits
from facemix.faces.packs import Pack
from facemix.files import whole_folder
from facemix.learning import adaptation, evaluation, training
from facemix.learning.adaptation import LabelAdapter
from facemix.learning.augment import augment
from facemix.learning.batches import MixedBatches, TrainingSet
from facemix.learning.model import LandmarkNet
from facemix.learning.predict import Landmarker
from facemix.stages.prepare import PACKS
from facemix.strategies import ADAPTER_FROM, Strategy

MODELS = Path("models")

Rows = npt.NDArray[np.int64]
Table = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training: what the strategy says, with the faces and models that it needs."""

    strategy: Strategy
    seed: int
    params: Params
    alpha: float
    real: Pack
    """Always there: its validation and test faces judge every strategy."""
    synthetic: Pack | None
    real_rows: Rows | None
    """The real training faces, where the strategy uses any."""
    synthetic_rows: Rows | None
    base: Landmarker | None
    """The trained detector that this one starts from, or whose network it shares."""
    adapter: LabelAdapter | None
    """Adapts the labels of the synthetic faces."""
    inputs: Mapping[str, str]
    """Digests of packs and models: with the parameters, all that the result depends on."""

    def split(self, *names: str) -> Rows:
        return np.flatnonzero(np.isin(self.real.splits, names))

    def identity(self) -> dict[str, Any]:
        """All that the trained weights depend on. Two tasks of equal identity are the same training."""
        params = self.params
        sections = ["adaptation"] if self.strategy.shares_network_of else ["model", "augmentation", "training"]
        return {
            "strategy": self.strategy.name,
            "seed": self.seed,
            "alpha": self.alpha,
            "n_real": 0 if self.real_rows is None else len(self.real_rows),
            "n_synthetic": 0 if self.synthetic_rows is None else len(self.synthetic_rows),
            **{section: plain(getattr(params, section)) for section in sections},
            "evaluation": plain(params.evaluation),
            "inputs": dict(self.inputs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished detector and what there is to say about how it came about."""

    landmarker: Landmarker
    history: Table
    metrics: Mapping[str, object]
    label_gap: Table | None = None
    picture: npt.NDArray[np.uint8] | None = None
    """(H, W, 3) RGB: the first augmented batch with its points."""


def train(strategy: Strategy, seed: int, params: Params, resume: Path | None = None) -> None:
    """Trains a strategy, evaluates it and writes its folder; the folder appears only when it is complete.

    A training that was stopped goes on from the checkpoint that it left at the main workspace's root.

    Args:
        resume: another checkpoint of this very training to go on from.

    Raises:
        ValueError: a setting or an input that cannot be used, or `resume` is a checkpoint of another configuration.
        OSError: an output cannot be written.
    """
    task = gather(strategy, seed, params)
    identity = task.identity()
    folder = MODELS / strategy.name / f"seed-{seed}"
    tracking.deliver()
    with (
        alone(checkpoint_path(task)) as checkpoint,
        tracking.start(
            name=f"{strategy.name} seed {seed}",
            experiment=params.tracking.experiment,
            identity=checkpoint.stem,
            tags={"strategy": strategy.name},
            params=identity,
            datasets=_datasets(task),
        ) as run,
    ):
        if resume:
            adopt(resume, checkpoint, identity)
        if strategy.shares_network_of:
            outcome = fit_adapter(task)
        else:
            outcome = train_network(task, checkpoint, lambda row: _report(row, run))
        metrics = write_outputs(folder, task, outcome)
        run.metrics({key: float(value) for key, value in tracking.flatten(metrics).items() if _is_number(value)})
        for file in sorted(folder.iterdir()):
            if not file.name.startswith("model."):
                run.artifact(file)
        run.model(folder)
    checkpoint.unlink(missing_ok=True)
    val, test = metrics["val"]["nme"], metrics["test"]["nme"]
    print(f"{folder}: NME {val:.2f} on validation, {test:.2f} on test (% of {params.evaluation.normalizer})")


def gather(strategy: Strategy, seed: int, params: Params) -> Task:
    """Opens what a strategy needs; a set of faces that it does not train on is not even opened."""
    alpha = strategy.alpha(params)
    trains = strategy.shares_network_of is None
    real = packs.read(PACKS / "real")
    synthetic = packs.read(PACKS / "synthetic") if trains and alpha > 0 else None
    inputs = {"real": real.digest} | ({"synthetic": synthetic.digest} if synthetic else {})
    base, adapter = None, None
    if needed := strategy.starts_from or strategy.shares_network_of:
        base = _load_model(needed, seed, inputs)
    if synthetic and strategy.adapts_labels:
        adapter = _load_model(ADAPTER_FROM, seed, inputs).adapter
        assert adapter is not None
    return Task(
        strategy=strategy,
        seed=seed,
        params=params,
        alpha=alpha,
        real=real,
        synthetic=synthetic,
        real_rows=choose(real, params.n_real, seed, "n_real") if not trains or alpha < 1 else None,
        synthetic_rows=choose(synthetic, params.n_synthetic, seed, "n_synthetic") if synthetic else None,
        base=base,
        adapter=adapter,
        inputs=inputs,
    )


def _load_model(strategy: str, seed: int, inputs: dict[str, str]) -> Landmarker:
    folder = MODELS / strategy / f"seed-{seed}"
    landmarker = Landmarker.load(folder)
    inputs[strategy] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
    return landmarker


def choose(pack: Pack, count: int | str, seed: int, key: str) -> Rows:
    """Rows of the first `count` training faces of a pack in the seed's order.

    Raises:
        ValueError: more than there are, with the number there is.
    """
    rows = np.flatnonzero(pack.splits == "train")
    wanted = len(rows) if count == "all" else int(count)
    if wanted > len(rows):
        raise ValueError(f"params.yaml: {key}: found {wanted}, but there are {len(rows)} training faces; lower it")
    return np.sort(rows[splits.nested_order(pack.ids[rows], seed)[:wanted]])


def train_network(task: Task, checkpoint: Path, report: Callable[[training.Row], None]) -> Outcome:
    """Trains the network of a strategy."""
    params, model = task.params, task.params.model
    network = new_network(task)
    batches = MixedBatches(
        None if task.real_rows is None else _training_set(task.real, task.real_rows, None),
        None if task.synthetic is None else _training_set(task.synthetic, task.synthetic_rows, task.adapter),
        alpha=task.alpha,
        batch_size=params.training.batch_size,
        seed=task.seed,
    )
    validation = task.split("validation")

    def validate(candidate: LandmarkNet) -> float:
        predicted = evaluation.predict_pack(Landmarker(candidate, model.context, about), task.real, validation)
        errors = evaluation.measure(predicted, task.real, validation, params.evaluation.normalizer)
        return float(errors.nme.mean())

    about = _about(task)
    field = model.context / params.pack.margin * params.pack.size
    result = training.train(
        network,
        batches,
        input_size=model.input_size,
        field=field,
        settings=params.training,
        augmentation=params.augmentation,
        learning_rate=task.strategy.learning_rate(params),
        seed=task.seed,
        validate=validate,
        checkpoint=checkpoint,
        identity=task.identity(),
        report=report,
    )
    network.load_state_dict(result.weights)
    seen = params.training.steps * params.training.batch_size
    budget = {
        "steps": params.training.steps,
        "best_step": result.best_step,
        "faces_seen": seen,
        "pretraining_faces_seen": task.base.about["training"]["faces_seen"] if task.base else 0,
    }
    return Outcome(
        landmarker=Landmarker(network, model.context, about | {"training": budget}),
        history=result.history,
        metrics={"training": budget},
        picture=picture_of_batch(batches, field, task),
    )


def new_network(task: Task) -> LandmarkNet:
    """The network at its starting weights: those of the base, or random ones (or ImageNet's) by the seed."""
    model = task.params.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        network = LandmarkNet(model.backbone, model.input_size, model.width, model.weights)
    if task.base:
        found, expected = task.base.about["network"], _architecture(task.params)
        if found != expected:
            folder = MODELS / str(task.strategy.starts_from) / f"seed-{task.seed}"
            raise ValueError(f"{folder}: found the network {found}, params.yaml says {expected}; run `dvc repro`")
        network.load_state_dict(task.base.network.state_dict())
    return network


def _training_set(pack: Pack, rows: Rows | None, adapter: LabelAdapter | None) -> TrainingSet:
    assert rows is not None
    labels = adaptation.adapt(adapter, pack.landmarks) if adapter else pack.landmarks
    return TrainingSet(images=pack.images, landmarks=labels, rows=rows)


def fit_adapter(task: Task) -> Outcome:
    """Fits the label adapter on what the synthetic-trained network predicts on real training faces."""
    assert task.base is not None and task.real_rows is not None
    real, validation = task.real, task.split("validation")
    pairs = evaluation.predict_pack(task.base, real, task.real_rows)
    unadapted = evaluation.predict_pack(task.base, real, validation)

    def validate(adapter: LabelAdapter) -> float:
        adapted = adaptation.adapt(adapter, unadapted)
        return float(evaluation.measure(adapted, real, validation, task.params.evaluation.normalizer).nme.mean())

    fitted = adaptation.fit(
        pairs, real.landmarks[task.real_rows], settings=task.params.adaptation, seed=task.seed, validate=validate
    )
    gap = adaptation.label_gap(fitted.adapter, pairs)
    budget = task.base.about["training"]
    about = (
        task.base.about
        | _about(task)
        | {
            "network": task.base.about["network"],
            "adapter": {"hidden": task.params.adaptation.hidden},
            "training": budget,
        }
    )
    before, after = fitted.history[0]["val_nme"], fitted.history[fitted.best_epoch]["val_nme"]
    return Outcome(
        landmarker=Landmarker(task.base.network, task.base.context, about, fitted.adapter),
        history=fitted.history,
        metrics={
            "training": budget,
            "adaptation": {
                "pairs": len(pairs),
                "best_epoch": fitted.best_epoch,
                "val_nme_before": before,
                "val_nme_after": after,
                "mean_shift": float(np.linalg.norm(gap, axis=-1).mean()),
            },
        },
        label_gap=[{"point": i, "dx": x, "dy": y} for i, (x, y) in enumerate(gap.tolist())],
    )


def picture_of_batch(batches: MixedBatches, field: float, task: Task) -> npt.NDArray[np.uint8]:
    """The first batch as the network sees it, with its points: (H, W, 3) RGB."""
    crops, landmarks = batches.load(0)
    images, points = augment(
        torch.from_numpy(crops),
        torch.from_numpy(landmarks),
        field=field,
        size=task.params.model.input_size,
        settings=task.params.augmentation,
        generator=torch.Generator().manual_seed(training.step_seed(task.seed, 0)),
    )
    pixels = (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return packs.contact_sheet(pixels, points.numpy(), columns=8, rows=4)


def write_outputs(folder: Path, task: Task, outcome: Outcome) -> dict[str, Any]:
    """Evaluates and writes a strategy's folder beside, then renames it; returns what metrics.json holds."""
    rows = task.split("validation", "test", "challenging")
    predicted = evaluation.predict_pack(outcome.landmarker, task.real, rows)
    errors = evaluation.measure(predicted, task.real, rows, task.params.evaluation.normalizer)
    sets = {"val": ["validation"], "test": ["test"]}
    if np.any(task.real.splits == "challenging"):
        sets |= {"challenging": ["challenging"], "full": ["test", "challenging"]}
    metrics: dict[str, Any] = {"normalizer": task.params.evaluation.normalizer}
    metrics |= {name: evaluation.summarize(errors.of(*names)) for name, names in sets.items()}
    metrics |= outcome.metrics

    tested = errors.of("test", "challenging")
    with whole_folder(folder) as beside:
        outcome.landmarker.save(beside)
        (beside / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        write_table(
            beside / "errors.csv",
            [
                {"face": id_, "subset": subset, "nme": f"{nme:.6f}"}
                for id_, subset, nme in zip(tested.ids, tested.subsets, tested.nme, strict=True)
            ],
        )
        write_table(beside / "history.csv", outcome.history)
        if outcome.label_gap:
            write_table(beside / "label_gap.csv", outcome.label_gap)
        if outcome.picture is not None:
            cv2.imwrite(str(beside / "batch.png"), outcome.picture[..., ::-1])
    return metrics


def write_table(path: Path, rows: Table) -> None:
    """Writes rows of equal keys as CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _architecture(params: Params) -> dict[str, Any]:
    model = params.model
    return {
        "backbone": model.backbone,
        "input_size": model.input_size,
        "context": model.context,
        "width": model.width,
    }


def _about(task: Task) -> dict[str, Any]:
    return {
        "facemix": version("facemix"),
        "strategy": task.strategy.name,
        "seed": task.seed,
        "alpha": task.alpha,
        "network": _architecture(task.params),
        "adapter": None,
    }


def _datasets(task: Task) -> list[tracking.Dataset]:
    def dataset(name: str, pack: Pack, folder: str, rows: Rows, context: str) -> tracking.Dataset:
        return tracking.Dataset(
            name=name, digest=pack.digest, source=f"{PACKS}/{folder}", n_faces=len(rows), context=context
        )

    found = [
        dataset(f"real-{split}", task.real, "real", task.split(split), context)
        for split, context in (("validation", "validation"), ("test", "test"), ("challenging", "test"))
        if len(task.split(split))
    ]
    if task.real_rows is not None:
        found.append(dataset("real-train", task.real, "real", task.real_rows, "training"))
    if task.synthetic is not None and task.synthetic_rows is not None:
        found.append(dataset("synthetic-train", task.synthetic, "synthetic", task.synthetic_rows, "training"))
    return found


def _report(row: training.Row, run: tracking.Run) -> None:
    step = int(row["step"])
    run.metrics({key: value for key, value in row.items() if key != "step"}, step=step)
    if not sys.stderr.isatty():  # a log file shows no progress bar: one line an evaluation instead
        print(f"step {step}: training loss {row['train_loss']:.3f}, validation NME {row['val_nme']:.2f}", flush=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Checkpoints lie at the main workspace's root: what a temporary experiment's own folder holds is deleted with it.


def checkpoint_path(task: Task) -> Path:
    """Where this very training keeps its checkpoint, by the digest of its identity."""
    digest = hashlib.sha256(json.dumps(task.identity(), sort_keys=True).encode()).hexdigest()[:12]
    return tracking.workspace() / "checkpoints" / f"{task.strategy.name}-seed-{task.seed}-{digest}.pt"


@contextmanager
def alone(checkpoint: Path) -> Iterator[Path]:
    """Keeps two processes from the same training at the same time: the second waits for the first."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    lock = checkpoint.with_suffix(".lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process does this very training ({lock}); waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield checkpoint


def adopt(resume: Path, checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Makes a given checkpoint the one to go on from, after checking that it is of this very training."""
    if not resume.exists():
        raise ValueError(f"--resume {resume}: no such file, expected a checkpoint of an earlier run of this training")
    content = training.read_checkpoint(resume, identity, torch.device("cpu"))
    if resume.resolve() != checkpoint:
        training.write_checkpoint(checkpoint, content)
