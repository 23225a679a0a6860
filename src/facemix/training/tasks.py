"""One training of the experiment: what a strategy needs, and how its detector comes about.

Knows neither DVC nor MLflow.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facemix.config import Params, plain
from facemix.errors import FacemixError
from facemix.faces import geometry, mapped, packs, schemes
from facemix.faces.drawing import contact_sheet
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE
from facemix.faces.order import nested_order
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme
from facemix.files import File, write_table
from facemix.training import adaptation, augment, frame, heads, judging, loop, predictions, preflight, processes
from facemix.training.adaptation import LabelAdapter
from facemix.training.batches import MixedBatches, TrainingSet
from facemix.training.landmarker import Landmarker
from facemix.training.model import LandmarkNet
from facemix.training.predictions import predict_pack
from facemix.training.strategy import ADAPTER_FROM, MODELS, Strategy
from facemix.workspace import installed_packages

CODE = (
    "training",
    "faces/face.py",
    "faces/geometry.py",
    "faces/looking.py",
    "faces/mapped.py",
    "faces/order.py",
    "faces/packs.py",
    "faces/schemes.py",
    "faces/shards.py",
)
"""What of the package decides weights and predictions: what the training stages of dvc.yaml depend on."""

FRAMINGS = 2
"""How often a network of another scheme is shown the real training faces to learn where it expects them."""

_AT_ONCE = 4096  # faces whose labels are in memory

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
    """The synthetic training faces, likewise."""
    held_out: Rows | None
    """Synthetic faces that do not train, and choose the best step: where real faces cannot."""
    base: Landmarker | None
    """The trained detector that this one starts from, or whose network it shares."""
    adapter: LabelAdapter | None
    """Adapts the labels of the synthetic faces."""
    behind: Mapping[str, int]
    """Faces seen by each other network that the detector owes something to: the base, and the adapter's."""
    inputs: Mapping[str, str]
    """Digests of packs and models: with the parameters, all that the result depends on."""

    def split(self, *names: str) -> Rows:
        return np.flatnonzero(np.isin(self.real.splits, names))

    @property
    def scheme(self) -> Scheme:
        """Of the points that the detector finds: the real ones but where only raw synthetic labels train."""
        return self.synthetic.scheme if self.synthetic and self.strategy.keeps_labels(self.params) else self.real.scheme

    @property
    def learned_scheme(self) -> Scheme:
        """Of the points that the network learns: with two heads, those of both."""
        if not self.strategy.own_head:
            return self.scheme
        assert self.synthetic is not None
        return heads.joint(self.real.scheme, self.synthetic.scheme)

    @property
    def learns_visibility(self) -> bool:
        """Whether any faces that the points of its detector are trained on say which are hidden."""
        trained_on = [(self.real, self.alpha < 1), (self.synthetic, self.alpha > 0 and not self.strategy.own_head)]
        return any(pack is not None and used and _tells_hidden(pack) for pack, used in trained_on)

    def identity(self) -> dict[str, Any]:
        """All that the trained weights depend on. Two tasks of equal identity are the same training."""
        params, strategy = self.params, self.strategy
        sections = ["model", "augmentation"] if strategy.trains else []
        sections += ["adaptation"] if strategy.adapts_predictions else []
        return {
            "strategy": self.strategy.name,
            "seed": self.seed,
            "alpha": self.alpha,
            "n_real": 0 if self.real_rows is None else len(self.real_rows),
            "n_synthetic": 0 if self.synthetic_rows is None else len(self.synthetic_rows),
            **{section: plain(getattr(params, section)) for section in sections},
            **({"training": plain(strategy.training(params))} if strategy.trains else {}),
            "inputs": dict(self.inputs),
            "packages": installed_packages(),
            "code": code(Path(__file__).parents[1]),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished detector and what there is to say about how it came about."""

    landmarker: Landmarker
    history: Table
    label_gap: Table | None = None
    picture: npt.NDArray[np.uint8] | None = None
    """(H, W, 3) RGB: the first augmented batch with its points."""


@cache
def code(package: Path) -> str:
    """A digest of the package's code that decides how a training ends: one begun by other code does not go on."""
    digest = hashlib.sha256()
    for place in (package / name for name in CODE):
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def gather(strategy: Strategy, seed: int, params: Params) -> Task:
    """Opens what a strategy needs; a set of faces that it does not train on is not even opened.

    Raises:
        FacemixError: what it needs is not there or does not fit, or the strategy has no meaning for these faces.
    """
    if strategy.trains:
        preflight.check(params)
    alpha = strategy.alpha(params)
    real = packs.read(packs.FOLDER / "real")
    synthetic = packs.read(packs.FOLDER / "synthetic") if strategy.trains and alpha > 0 else None
    inputs = {"real": real.digest} | ({"synthetic": synthetic.digest} if synthetic else {})
    across = synthetic is not None and synthetic.scheme.points != real.scheme.points
    if synthetic and across and alpha < 1 and strategy.keeps_labels(params):
        raise FacemixError(
            f"{strategy.name}: trains on real and synthetic faces at once, but the synthetic ones have the points of "
            f"{synthetic.scheme.name} and the real ones those of {real.scheme.name}; expected one scheme, or a "
            "strategy that adapts the labels of synthetic faces, or has a head for them"
        )
    base, adapter = None, None
    behind: dict[str, int] = {}
    if needed := strategy.starts_from or strategy.shares_network_of:
        # A network that is shared is used as it is; one to start from is copied to the device by the training.
        device = "cpu" if strategy.starts_from else str(processes.choose_device(params.training.device))
        base = _load_model(needed, seed, inputs, device)
        behind |= base.about["training"]["faces_seen"]
    if strategy.needs_adapter(params):
        adapting = _load_model(ADAPTER_FROM, seed, inputs)
        adapter = adapting.adapter
        assert adapter is not None
        behind |= adapting.about["training"]["faces_seen"]
        if synthetic and adapter.source.points != synthetic.scheme.points:
            raise FacemixError(
                f"{MODELS / ADAPTER_FROM / f'seed-{seed}'}: adapts points of {adapter.source.name}, but the synthetic "
                f"faces have those of {synthetic.scheme.name}; run `dvc repro`"
            )
    synthetic_rows = choose(synthetic, params.n_synthetic, seed, "n_synthetic") if synthetic else None
    held_out = None
    if (
        synthetic
        and across
        and strategy.keeps_labels(params)
        and not len(schemes.shared(synthetic.scheme, real.scheme)[0])
    ):
        assert synthetic_rows is not None
        synthetic_rows, held_out = judging.hold_out(synthetic, synthetic_rows, seed)
    return Task(
        strategy=strategy,
        seed=seed,
        params=params,
        alpha=alpha,
        real=real,
        synthetic=synthetic,
        real_rows=choose(real, params.n_real, seed, "n_real") if strategy.uses_real(params) else None,
        synthetic_rows=synthetic_rows,
        held_out=held_out,
        base=base,
        adapter=adapter,
        behind=behind,
        inputs=inputs,
    )


def _load_model(strategy: str, seed: int, inputs: dict[str, str], device: str = "cpu") -> Landmarker:
    folder = MODELS / strategy / f"seed-{seed}"
    landmarker = Landmarker.load(folder, device)
    inputs[strategy] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
    return landmarker


def choose(pack: Pack, count: int | str, seed: int, key: str) -> Rows:
    """Rows of the first `count` training faces of a pack in the seed's order.

    Raises:
        FacemixError: more than there are, with the number there is.
    """
    rows = np.flatnonzero(pack.splits == "train")
    wanted = len(rows) if count == "all" else int(count)
    if wanted > len(rows):
        raise FacemixError(
            f"params.yaml: {key}: found {wanted}, but there are {len(rows)} training faces; lower it, or use all"
        )
    order = nested_order(pack.ids, seed, rows)
    return np.sort(rows[order[:wanted]])


def carry_out(task: Task, checkpoint: File, report: Callable[[loop.Row], None]) -> Outcome:
    """Trains what the strategy says: a network, a label adapter, or both one after the other."""
    outcome = train_network(task, checkpoint, report) if task.strategy.trains else None
    if task.strategy.adapts_predictions:
        outcome = fit_adapter(task, outcome)
    assert outcome is not None
    return outcome


def write(folder: Path, task: Task, outcome: Outcome) -> None:
    """Fills an empty folder with all that a training leaves: network, predictions, and how they came about."""
    landmarker = predictions.calibrated(outcome.landmarker, task.real)
    landmarker.save(folder)
    predictions.write(folder, predictions.of_judging_faces(landmarker, task.real))
    write_table(folder / "history.csv", outcome.history)
    if outcome.label_gap:
        write_table(folder / "label_gap.csv", outcome.label_gap)
    if outcome.picture is not None:
        cv2.imwrite(str(folder / "batch.png"), outcome.picture[..., ::-1])


def train_network(
    task: Task,
    checkpoint: File,
    report: Callable[[loop.Row], None],
    judge: Callable[[Landmarker], float] | None = None,
) -> Outcome:
    """Trains the network of a strategy; several processes under `torchrun` share each batch.

    Args:
        task: what to train.
        checkpoint: file to go on from.
        report: called by the first process for each row of the history.
        judge: error of the network at each evaluation, which chooses the best step; by default that on the real
            validation faces, or on the faces that are held out.
    """
    params, model, settings = task.params, task.params.model, task.strategy.training(task.params)
    network = new_network(task)
    batches = MixedBatches(
        None if task.alpha == 1 else _training_set(task, task.real, task.real_rows, None),
        None if task.synthetic is None else _training_set(task, task.synthetic, task.synthetic_rows, task.adapter),
        alpha=task.alpha,
        batch_size=settings.batch_size,
        seed=task.seed,
    )
    making = about(task)
    if task.alpha == 1 and (shown := frame_by_names(task)) != frame.AS_GIVEN:
        making["shown"] = dataclasses.asdict(shown)
    error = judge or judging_error(task)

    def detector(trained: LandmarkNet, made: dict[str, Any]) -> Landmarker:
        own = heads.real_head(trained, task.scheme, architecture(params)) if task.strategy.own_head else trained
        return Landmarker(own, model.context, made)

    recipe = loop.Recipe(
        batches=batches,
        mirror_order=task.learned_scheme.mirror,
        weights=_weights(task),
        context=model.context,
        input_size=model.input_size,
        settings=settings,
        augmentation=params.augmentation,
        learning_rate=settings.learning_rate,
        seed=task.seed,
    )
    with processes.joined(params.training.device) as group:
        result = loop.train(
            network,
            recipe,
            validate=lambda candidate: error(detector(candidate, making)),
            checkpoint=checkpoint,
            identity=task.identity(),
            report=report,
            group=group,
        )
    network.load_state_dict(result.weights)
    budget = {
        "steps": settings.steps,
        "best_step": result.best_step,
        "faces_seen": {task.strategy.name: settings.steps * settings.batch_size, **task.behind},
    }
    return Outcome(
        landmarker=detector(network, making | {"training": budget}),
        history=result.history,
        picture=picture_of_batch(recipe),
    )


def _weights(task: Task) -> npt.NDArray[np.float32] | None:
    """How much each point that the network learns counts in the loss."""
    if not task.strategy.own_head:
        return None
    assert task.synthetic is not None
    return heads.weights(task.real.scheme, task.synthetic.scheme)


def judging_error(task: Task) -> Callable[[Landmarker], float]:
    """What chooses the best step: the error on real validation faces, or on the faces that are held out."""
    if task.held_out is None:
        return judging.error_on(task.real, task.split("validation"))
    assert task.synthetic is not None
    return judging.error_on(task.synthetic, task.held_out)


def new_network(task: Task) -> LandmarkNet:
    """The network at its starting weights: those of the base, or random ones (or ImageNet's) by the seed.

    From a base of another scheme, points that both schemes name take over their heads; those of the others are random.
    A head of synthetic faces comes beside what every strategy starts from.
    """
    asked, visibility = architecture(task.params), task.learns_visibility
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        network = LandmarkNet.of(asked, task.scheme, task.params.model.weights, visibility)
        if task.strategy.own_head:
            usual, network = network, LandmarkNet.of(asked, task.learned_scheme, visibility=visibility)
            network.take_over(usual, range(len(task.scheme)), range(len(task.scheme)))
    if task.base:
        found = task.base.about["network"]
        if found != asked:
            folder = MODELS / str(task.strategy.starts_from) / f"seed-{task.seed}"
            raise FacemixError(f"{folder}: found the network {found}, params.yaml says {asked}; run `dvc repro`")
        own, theirs = schemes.shared(task.scheme, task.base.network_scheme)
        network.take_over(task.base.network, own.tolist(), theirs.tolist())
    return network


def frame_by_names(task: Task) -> frame.Frame:
    """Where synthetic faces of another scheme are shown, so that a network sees them as it will see the real ones."""
    if task.synthetic is None or task.adapter or task.synthetic.scheme.points == task.real.scheme.points:
        return frame.AS_GIVEN
    real = task.real.landmarks[task.split("validation")]
    return frame.by_names(task.synthetic.landmarks[task.synthetic_rows], task.synthetic.scheme, real, task.real.scheme)


def _training_set(task: Task, pack: Pack, rows: Rows | None, adapter: LabelAdapter | None) -> TrainingSet:
    """The faces with the labels that train: those of the pack, or what is made of them, on disk as well."""
    assert rows is not None
    labels = pack.landmarks
    if adapter or task.learns_visibility or task.strategy.own_head:
        shape = (len(pack), len(task.learned_scheme), 3 if task.learns_visibility else 2)
        labels = mapped.on_disk(f"labels of {len(pack)} faces", shape, np.float32)
        _fill(_own_labels(labels, task, pack), pack.scheme if task.strategy.own_head else task.scheme, pack, adapter)
    shown = frame_by_names(task) if pack is task.synthetic else frame.AS_GIVEN
    return TrainingSet(images=pack.images, landmarks=labels, ids=pack.ids, rows=rows, frame=shown)


def _own_labels(labels: npt.NDArray[np.float32], task: Task, pack: Pack) -> npt.NDArray[np.float32]:
    """The part of labels (N, M, d) that faces of a pack have; with two heads the rest becomes NaN, unlabelled."""
    if not task.strategy.own_head:
        return labels
    for part in mapped.parts(len(labels), _AT_ONCE):
        labels[part] = np.nan
        mapped.release(labels)
    n_real = len(task.real.scheme)
    return labels[:, n_real:] if pack is task.synthetic else labels[:, :n_real]


def _fill(labels: npt.NDArray[np.float32], scheme: Scheme, pack: Pack, adapter: LabelAdapter | None) -> None:
    """Fills in the points (N, M, 2) of a scheme, adapted where there is an adapter; with room for 3, also who is seen.

    Without an adapter the scheme is that of the pack.
    """
    if adapter:
        adaptation.adapt(adapter, pack.landmarks, out=labels[..., :2])
    learns_visibility = labels.shape[-1] > 2
    tells_hidden = learns_visibility and _tells_hidden(pack)
    for part in mapped.parts(len(pack), _AT_ONCE):
        if not adapter:
            labels[part, :, :2] = pack.landmarks[part]
        if learns_visibility:
            seen = _visible(pack.states[part], tells_hidden)[..., None]
            labels[part, :, 2:] = schemes.in_scheme(seen, pack.scheme, scheme)
        for array in (labels, pack.landmarks, pack.states):
            mapped.release(array)


def _visible(states: npt.NDArray[np.uint8], tells_hidden: bool) -> npt.NDArray[np.float32]:
    """Whether points (n, K) are seen: 1, 0, or NaN where the labels do not say."""
    if not tells_hidden:
        return np.full(states.shape, np.nan, dtype=np.float32)
    return np.where(states == UNLABELLED, np.nan, states == VISIBLE).astype(np.float32)


def _tells_hidden(pack: Pack) -> bool:
    """Labels that call no point hidden call all of them visible, whatever is to be seen."""
    found = any((pack.states[part] == HIDDEN).any() for part in mapped.parts(len(pack), _AT_ONCE))
    mapped.release(pack.states)
    return found


def fit_adapter(task: Task, trained: Outcome | None = None) -> Outcome:
    """Fits the label adapter on what a network predicts on real training faces.

    Args:
        task: the strategy, whose predictions the adapter adapts.
        trained: the task's own network; without it that of the strategy whose network it shares.
    """
    base = trained.landmarker if trained else task.base
    assert base is not None and task.real_rows is not None
    real, validation = task.real, task.split("validation")
    across = {}
    if base.network_scheme.points != real.scheme.points:
        base = reframed(base, real, task.real_rows)
        across = {"network_scheme": base.network_scheme.as_dict(), "frame": base.about["frame"]}
    pairs = predict_pack(base, real, task.real_rows)
    unadapted = predict_pack(base, real, validation)

    def validate(adapter: LabelAdapter) -> float:
        return predictions.validation_error(adaptation.adapt(adapter, unadapted), real.landmarks[validation])

    fitted = adaptation.fit(
        pairs,
        real.landmarks[task.real_rows],
        source=base.network_scheme,
        target=real.scheme,
        settings=task.params.adaptation,
        seed=task.seed,
        validate=validate,
    )
    gap = adaptation.label_gap(fitted.adapter, pairs)
    adapter = {
        "hidden": task.params.adaptation.hidden,
        "pairs": len(pairs),
        "best_epoch": fitted.best_epoch,
        "val_error_before": fitted.history[0]["val_error"],
        "val_error_after": fitted.history[fitted.best_epoch]["val_error"],
    }
    shifts = np.linalg.norm(gap, axis=-1)
    if not np.isnan(shifts).all():
        adapter["mean_shift"] = float(np.nanmean(shifts))
    kept = {key: base.about[key] for key in ("network", "training")}
    kept["visibility"] = base.network.probe is not None
    made = about(task) | kept | {"scheme": real.scheme.as_dict(), "adapter": adapter} | across
    return Outcome(
        landmarker=Landmarker(base.network, base.context, made, fitted.adapter),
        history=trained.history if trained else fitted.history,
        label_gap=[
            {"point": i, "dx": "" if np.isnan(x) else x, "dy": "" if np.isnan(y) else y}
            for i, (x, y) in enumerate(gap.tolist())
        ],
        picture=trained.picture if trained else None,
    )


def reframed(landmarker: Landmarker, real: Pack, rows: Rows) -> Landmarker:
    """A detector of another scheme, told where in the boxes of real training faces it expects the face.

    Each time it is shown them where it expected them so far, and the boxes of the points that it finds say better.
    """
    given = geometry.landmark_box(real.landmarks[rows])
    shown = frame.Frame(**landmarker.about.get("shown", {}))  # in training
    for _ in range(FRAMINGS):
        found = frame.between(given, shown.of(geometry.landmark_box(predict_pack(landmarker, real, rows))))
        told = landmarker.about | {"frame": dataclasses.asdict(found)}
        landmarker = Landmarker(landmarker.network, landmarker.context, told)
    return landmarker


def picture_of_batch(recipe: loop.Recipe) -> npt.NDArray[np.uint8]:
    """The first batch as the network sees it, with its points: (H, W, 3) RGB."""
    crops, landmarks = recipe.batches.load(0)
    changes = recipe.changes(0, crops.shape[1])
    images, points = augment.apply(
        torch.from_numpy(crops),
        torch.from_numpy(landmarks),
        changes,
        recipe.input_size,
        torch.from_numpy(recipe.mirror_order.copy()),
    )
    pixels = (images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return contact_sheet(pixels, points[..., :2].numpy(), columns=8, rows=4)


def architecture(params: Params) -> dict[str, Any]:
    """What rebuilds the network."""
    model = params.model
    return {
        "backbone": model.backbone,
        "input_size": model.input_size,
        "context": model.context,
        "width": model.width,
        "mirror": model.mirror,
    }


def about(task: Task) -> dict[str, Any]:
    """What model.json says of a detector, before its training is added."""
    return {
        "facemix": version("facemix"),
        "strategy": task.strategy.name,
        "seed": task.seed,
        "network": architecture(task.params),
        "adapter": None,
        "visibility": task.learns_visibility,
        "scheme": task.scheme.as_dict(),
        "finder": task.real.finder if task.scheme.points == task.real.scheme.points else None,
        "made_of": task.identity(),
    }
