"""The laws of the experiment: what a strategy may learn from, and how long; each dies with what it guards."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import toy
from facemix import config
from facemix.config import Augmentation, Params
from facemix.errors import FacemixError
from facemix.faces import geometry, order, packs, schemes
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE
from facemix.faces.packs import Pack
from facemix.faces.schemes import Scheme, ibug68
from facemix.strategies import STRATEGIES, Strategy
from facemix.training import augment, frame, loop, predictions, tasks
from facemix.training.batches import SYNTHETIC, TrainingSet
from facemix.training.frame import Frame
from facemix.training.landmarker import Landmarker
from facemix.training.loop import Recipe, Result
from facemix.training.model import LandmarkNet
from facemix.training.tasks import Outcome

CROP, MARGIN = 64, 2.0
REAL_SPLITS = ["train"] * 12 + ["validation"] * 5 + ["test"] * 4 + ["challenging"] * 2 + ["excluded"]
TRAINED = [name for name, strategy in STRATEGIES.items() if strategy.trains]
STILL = Augmentation(rotation=0, scale=0, shift=0, mirror=0, colour=0, grey=0, blur=0, noise=0, occlusion=0)

Tensors = Mapping[str, Tensor]


def pack(splits: list[str], seed: int, jaw: float = 1.0) -> Pack:
    """Drawn faces, one of each split that is listed."""
    rng = np.random.default_rng(seed)
    drawn = [toy.face(rng, jaw=jaw) for _ in splits]
    boxes = np.stack([geometry.landmark_box(points) for _, points in drawn])
    transforms = geometry.crop_transform(boxes, CROP, MARGIN)
    ids = np.array([f"toy-{seed}/{i}" for i in range(len(splits))])
    return Pack(
        images=np.stack([geometry.warp(image, way, CROP) for (image, _), way in zip(drawn, transforms, strict=True)]),
        landmarks=geometry.apply(transforms, np.stack([points for _, points in drawn])).astype(np.float32),
        states=np.full((len(splits), 68), VISIBLE, dtype=np.uint8),
        scheme=ibug68(),
        ids=ids,
        subsets=np.full(len(splits), "toy"),
        photos=ids,
        splits=np.array(splits),
        transforms=transforms,
        boxes=boxes,
        digest=f"pack {seed}",
        by_hash=order.by_hash(ids),
    )


def poisoned(real: Pack, *splits: str) -> Pack:
    """The same pack, but nothing of the faces of these splits is true."""
    chosen = np.isin(real.splits, splits)
    assert chosen.any()
    images, landmarks = real.images.copy(), real.landmarks.copy()
    images[chosen] = 255 - images[chosen, ::-1]
    landmarks[chosen] = landmarks[chosen] * [0.5, 0.8] + 7
    return dataclasses.replace(real, images=images, landmarks=landmarks)


@dataclass
class World:
    """The faces and models that strategies find."""

    real: Pack
    synthetic: Pack
    params: Params
    scratch: Path

    def carry_out(self, name: str, params: Params | None = None) -> Outcome:
        return carried_out(STRATEGIES[name], params or self.params, self.scratch)


def carried_out(strategy: Strategy, params: Params, scratch: Path) -> Outcome:
    (scratch / "checkpoint.pt").unlink(missing_ok=True)
    return tasks.carry_out(tasks.gather(strategy, 0, params), scratch / "checkpoint.pt", lambda _row: None)


def let_find(patch: pytest.MonkeyPatch, world: World) -> None:
    patch.setattr(packs, "read", lambda folder: {"real": world.real, "synthetic": world.synthetic}[folder.name])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """Faces, tiny parameters, and a folder with the models that other strategies start from."""
    params = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
    params = dataclasses.replace(
        params,
        alpha=0.5,
        n_real="all",
        n_synthetic="all",
        pack=config.Pack(crop_size=CROP, margin=MARGIN),
        model=dataclasses.replace(params.model, input_size=32, width=8),
        training=dataclasses.replace(
            params.training, steps=4, batch_size=4, warmup_steps=1, evaluate_every=1, ema_decay=0.5, device="cpu"
        ),
        fine_tuning=dataclasses.replace(params.fine_tuning, learning_rate=0.003),
        adaptation=dataclasses.replace(params.adaptation, epochs=3, batch_size=8),
    )
    root = tmp_path_factory.mktemp("laws")
    world = World(pack(REAL_SPLITS, 0), pack(["train"] * 9 + ["excluded"], 1, jaw=1.06), params, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        let_find(patch, world)
        for name in ("synthetic_only", "label_adaptation"):
            detector = world.carry_out(name).landmarker
            if detector.adapter is not None:  # so short a fit may have left it as it was
                torch.nn.init.normal_(detector.adapter.leave.weight, std=0.02)
            detector.save(root / f"models/{name}/seed-0")
    return world, root


@pytest.fixture
def world(made: tuple[World, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """What a test changes of it, the next one does not see."""
    found, root = made
    world = dataclasses.replace(found, scratch=tmp_path)
    monkeypatch.chdir(root)
    let_find(monkeypatch, world)
    return world


@dataclass
class Call:
    """What a strategy hands to the training loop."""

    recipe: Recipe
    start: Tensors
    """Weights that training starts from."""
    outcome: Outcome

    @property
    def sets(self) -> list[TrainingSet | None]:
        """The real faces and the synthetic ones."""
        return list(self.recipe.batches.sets)


@pytest.fixture
def call(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Call]:
    """Carries out a strategy with a training loop that does nothing, and tells what the loop was given."""
    given: list[tuple[Recipe, Tensors]] = []

    def do_nothing(network: LandmarkNet, recipe: Recipe, **_: Any) -> Result:
        given.append((recipe, copy.deepcopy(network.state_dict())))
        return Result(weights=given[-1][1], best_step=1, history=[{"step": 1, "val_error": 1.0}])

    monkeypatch.setattr(loop, "train", do_nothing)

    def call(name: str, **changes: Any) -> Call:
        outcome = world.carry_out(name, dataclasses.replace(world.params, **changes))
        return Call(*given.pop(), outcome)

    return call


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def parts(outcome: Outcome) -> list[Tensors]:
    """All that is learned: the network, and the adapter where there is one."""
    detector = outcome.landmarker
    return [part.state_dict() for part in (detector.network, detector.adapter) if part is not None]


# --- Which faces it learns from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_training_faces_alone_are_trained_on(name: str, world: World, call: Callable[..., Call]) -> None:
    found = call(name)
    for faces, its_pack in zip(found.sets, (world.real, world.synthetic), strict=True):
        if faces is not None:
            assert faces.rows.tolist() == np.flatnonzero(its_pack.splits == "train").tolist()
            assert faces.images is its_pack.images


@pytest.mark.parametrize("name", ["real_only", "label_adaptation", "mixing", "two_heads", "fine_tuning"])
def test_nothing_that_is_learned_or_chosen_depends_on_test_faces(name: str, world: World) -> None:
    clean = world.carry_out(name)
    world.real = poisoned(world.real, "test", "challenging", "excluded")
    found = world.carry_out(name)
    assert all(same(one, other) for one, other in zip(parts(found), parts(clean), strict=True))
    assert found.history == clean.history


def test_a_detector_is_calibrated_without_a_test_face(world: World, tmp_path: Path) -> None:
    found = []
    for number, real in enumerate((world.real, poisoned(world.real, "test", "challenging", "excluded"))):
        world.real = real
        task, folder = tasks.gather(STRATEGIES["real_only"], 0, world.params), tmp_path / str(number)
        folder.mkdir()
        tasks.write(folder, task, tasks.carry_out(task, tmp_path / "checkpoint.pt", lambda _row: None))
        found.append(Landmarker.load(folder).about["certainty"])
        (tmp_path / "checkpoint.pt").unlink()
    assert found[0] == found[1] and len(found[0]["scale"]) == 68


@pytest.mark.parametrize("name", ["real_only", "label_adaptation", "two_heads"])
def test_validation_faces_choose_but_are_not_learned_from(name: str, world: World) -> None:
    clean = world.carry_out(name).history
    world.real = poisoned(world.real, "validation")
    history = world.carry_out(name).history
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in clean]
    assert all(one["val_error"] != other["val_error"] for one, other in zip(history, clean, strict=True))


def test_the_adapter_is_fitted_on_the_labels_of_real_training_faces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, given = tasks.adaptation.fit, []
    monkeypatch.setattr(tasks.adaptation, "fit", lambda *pairs, **how: (given.append(pairs), fit(*pairs, **how))[1])
    world.carry_out("label_adaptation")
    (predicted, labelled), training = given[0], world.real.splits == "train"
    np.testing.assert_array_equal(labelled, world.real.landmarks[training])
    base = Landmarker.load("models/synthetic_only/seed-0")
    np.testing.assert_array_equal(predicted, tasks.predict_pack(base, world.real, np.flatnonzero(training)))


@pytest.mark.parametrize(("alpha", "twin"), [(0.0, "real_only"), (1.0, "data_adaptation")])
def test_mixing_at_an_end_is_the_strategy_of_one_set_bit_for_bit(alpha: float, twin: str, world: World) -> None:
    mixed = world.carry_out("mixing", dataclasses.replace(world.params, alpha=alpha))
    assert same(parts(mixed)[0], parts(world.carry_out(twin))[0])
    assert mixed.landmarker.about["training"]["faces_seen"].keys() == (
        {"mixing"} if alpha == 0 else {"mixing", "synthetic_only"}
    )


# --- What is hidden ---------------------------------------------------------------------------------------------------


def with_hidden(faces: Pack) -> Pack:
    states = faces.states.copy()
    states[:, :17] = HIDDEN
    states[:, 20] = UNLABELLED
    return dataclasses.replace(faces, states=states)


def test_hidden_points_are_learned_from_the_faces_that_tell_them(world: World, call: Callable[..., Call]) -> None:
    world.synthetic = with_hidden(world.synthetic)
    real, synthetic = call("mixing").sets
    assert real is not None and synthetic is not None
    assert np.isnan(real.landmarks[..., 2]).all()  # where no point is called hidden, "visible" says nothing
    assert (synthetic.landmarks[:, :17, 2] == 0).all() and (synthetic.landmarks[:, 21:, 2] == 1).all()
    assert np.isnan(synthetic.landmarks[:, 20, 2]).all()
    assert call("real_only").outcome.landmarker.network.probe is None


def test_the_head_of_real_faces_tells_hidden_points_only_where_real_faces_do(world: World) -> None:
    world.synthetic = with_hidden(world.synthetic)
    assert world.carry_out("two_heads").landmarker.network.probe is None
    world.real = with_hidden(world.real)
    assert world.carry_out("two_heads").landmarker.network.probe is not None


@pytest.mark.parametrize("name", ["real_only", "mixing", "two_heads"])
def test_to_learn_what_is_hidden_changes_nothing_else_bit_for_bit(name: str, world: World) -> None:
    plain = parts(world.carry_out(name))[0]
    world.real, world.synthetic = with_hidden(world.real), with_hidden(world.synthetic)
    told = world.carry_out(name)
    network = parts(told)[0]
    probe = {key for key in network if key.startswith("probe.")}
    assert told.landmarker.about["visibility"] and probe
    assert all(network[key].any() for key in probe)
    assert same(plain, {key: value for key, value in network.items() if key not in probe})


def test_the_adapter_leaves_what_its_network_knows_of_hidden_points(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.synthetic = with_hidden(world.synthetic)
    detector = world.carry_out("synthetic_only").landmarker
    monkeypatch.chdir(world.scratch)
    detector.save(Path("models/synthetic_only/seed-0"))
    world.carry_out("label_adaptation").landmarker.save(Path("adapted"))
    faces = world.real.images[:2]
    adapted = Landmarker.load("adapted").look(faces[:, 16:48, 16:48])
    np.testing.assert_allclose(adapted.visible, detector.look(faces[:, 16:48, 16:48]).visible, rtol=1e-5)
    assert np.ptp(adapted.visible) > 0


# --- How it learns: the same for all, but for what the table says -----------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_every_strategy_has_its_budget_and_its_rate(name: str, world: World, call: Callable[..., Call]) -> None:
    recipe, training = call(name).recipe, world.params.training
    times = 2 if name in ("control", "two_heads") else 1
    rate = 0.003 if name == "fine_tuning" else training.learning_rate
    expected = {"steps": 4 * times, "warmup_steps": times, "evaluate_every": times, "learning_rate": rate}
    assert recipe.settings == dataclasses.replace(training, **expected)
    assert recipe.learning_rate == rate
    assert recipe.batches.batch_size == 4


@pytest.mark.parametrize("name", TRAINED)
def test_every_strategy_sees_faces_alike(name: str, world: World, call: Callable[..., Call]) -> None:
    found = call(name)
    assert all(dataclasses.asdict(world.params.augmentation).values())  # nothing is off
    assert found.recipe.augmentation == world.params.augmentation
    assert found.recipe.context == found.outcome.landmarker.context == world.params.model.context
    assert found.recipe.input_size == world.params.model.input_size


@pytest.mark.parametrize("name", TRAINED)
def test_every_strategy_starts_from_the_same_network_but_fine_tuning(name: str, call: Callable[..., Call]) -> None:
    start, usual = call(name).start, call("real_only").start
    if name == "two_heads":  # the head of synthetic faces comes beside
        start = {key: start[key][: len(value)] if value.ndim else start[key] for key, value in usual.items()}
    assert same(start, usual) == (name != "fine_tuning")
    shared = Landmarker.load("models/synthetic_only/seed-0").network.state_dict()
    assert same(start, shared) == (name == "fine_tuning")


@pytest.mark.parametrize("name", ["real_only", "synthetic_only", "data_adaptation", "mixing", "two_heads"])
def test_a_face_is_framed_by_the_labels_that_it_is_trained_on_as_evaluation_frames_it(
    name: str, call: Callable[..., Call]
) -> None:
    recipe = call(name, augmentation=STILL).recipe
    crops, labels = recipe.batches.load(0)
    changes = recipe.changes(0, CROP)
    mirror_order = torch.from_numpy(recipe.mirror_order.copy())
    images, points = augment.apply(
        torch.from_numpy(crops), torch.from_numpy(labels), changes, recipe.input_size, mirror_order
    )
    boxes = geometry.landmark_box(labels)
    transforms = geometry.crop_transform(boxes, recipe.input_size, recipe.context)
    np.testing.assert_allclose(points.numpy(), geometry.apply(transforms, labels), atol=1e-3)
    shown = np.stack([geometry.warp(crop, way, recipe.input_size) for crop, way in zip(crops, transforms, strict=True)])
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy() * 255, shown, atol=4)  # of whole numbers


def test_synthetic_faces_have_adapted_labels_where_the_table_says_so(world: World, call: Callable[..., Call]) -> None:
    adapter = Landmarker.load("models/label_adaptation/seed-0").adapter
    assert adapter is not None
    adapted = tasks.adaptation.adapt(adapter, world.synthetic.landmarks)
    assert np.abs(adapted - world.synthetic.landmarks).max() > 0.1
    for name in TRAINED:
        real, synthetic = call(name).sets
        if synthetic is not None:
            expected = adapted if STRATEGIES[name].adapts_labels else world.synthetic.landmarks
            np.testing.assert_array_equal(synthetic.landmarks[:, -68:], expected)
        if real is not None:
            np.testing.assert_array_equal(real.landmarks[:, :68], world.real.landmarks)


def test_with_two_heads_a_face_is_labelled_at_its_own_points_alone(world: World, call: Callable[..., Call]) -> None:
    found = call("two_heads")
    real, synthetic = found.sets
    assert real is not None and synthetic is not None
    assert np.isnan(real.landmarks[:, 68:]).all() and np.isnan(synthetic.landmarks[:, :68]).all()
    assert found.recipe.mirror_order[68:].tolist() == (world.synthetic.scheme.mirror + 68).tolist()
    assert found.recipe.weights is not None and len(found.recipe.weights) == 136


# --- What the table means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "behind"), [({}, set()), ({"starts_from": "synthetic_only"}, {"synthetic_only"})])
def test_a_new_row_that_adapts_predictions_gets_an_adapter_for_its_own_network(
    row: dict[str, Any], behind: set[str], world: World
) -> None:
    strategy = Strategy(name="new", synthetic_share=0.0, adapts_predictions=True, **row)
    outcome = carried_out(strategy, world.params, world.scratch)
    assert outcome.landmarker.adapter is not None
    assert outcome.landmarker.about["training"]["faces_seen"].keys() == {"new"} | behind
    plain = dataclasses.replace(strategy, adapts_predictions=False)
    assert same(parts(outcome)[0], parts(carried_out(plain, world.params, world.scratch))[0])


SEEN = {
    "synthetic_only": {"synthetic_only": 16},
    "real_only": {"real_only": 16},
    "label_adaptation": {"synthetic_only": 16},
    "data_adaptation": {"data_adaptation": 16, "synthetic_only": 16},
    "mixing": {"mixing": 16, "synthetic_only": 16},
    "two_heads": {"two_heads": 32},
    "fine_tuning": {"fine_tuning": 16, "synthetic_only": 16},
    "control": {"control": 32},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_network_behind_a_detector_is_counted(name: str, world: World) -> None:
    assert world.carry_out(name).landmarker.about["training"]["faces_seen"] == SEEN[name]


def test_predictions_are_made_in_boxes_disturbed_at_their_level(world: World) -> None:
    detector = Landmarker.load("models/label_adaptation/seed-0")
    rows = np.flatnonzero(np.isin(world.real.splits, predictions.JUDGING))
    found = predictions.of_judging_faces(detector, world.real).points
    assert found.keys() == {0.0, *predictions.BOX_JITTER}
    back = geometry.invert(world.real.transforms[rows])
    for level, points in found.items():
        expected = geometry.apply(back, predictions.predict_pack(detector, world.real, rows, level))
        np.testing.assert_allclose(points, expected, rtol=1e-5)
        assert level == 0 or np.abs(points - found[0.0]).max() > 0.5


# --- Synthetic faces of another scheme --------------------------------------------------------------------------------


def renamed(*kept: str) -> Scheme:
    """The scheme ibug68 but with points of other names, all but those that are kept."""

    def new(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: new(value) for key, value in part.items()}
        if isinstance(part, list):
            return [new(item) for item in part]
        return f"other_{part}" if part in ibug68().points and part not in kept else part

    return schemes.parse(new(ibug68().as_dict()) | {"name": "other"}, "other")


def test_a_strategy_that_mixes_labels_of_two_schemes_is_refused(world: World) -> None:
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed())
    strategy = Strategy(name="raw", synthetic_share="alpha")
    with pytest.raises(FacemixError, match="raw: .* points of other .* those of ibug68; expected one scheme"):
        tasks.gather(strategy, 0, world.params)


def test_where_no_point_is_named_in_both_schemes_some_rendered_faces_do_not_train(
    world: World, call: Callable[..., Call]
) -> None:
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed())
    held_out = tasks.gather(STRATEGIES["synthetic_only"], 0, world.params).held_out
    _, faces = call("synthetic_only").sets
    assert held_out is not None
    assert faces is not None
    assert len(held_out) == 1
    assert sorted([*faces.rows, *held_out]) == np.flatnonzero(world.synthetic.splits == "train").tolist()


def test_rendered_faces_that_do_not_train_choose_the_step_where_real_ones_cannot(world: World) -> None:
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed())
    held_out = tasks.gather(STRATEGIES["synthetic_only"], 0, world.params).held_out
    clean = world.carry_out("synthetic_only")
    world.real = poisoned(world.real, "train", "validation", "test")
    assert world.carry_out("synthetic_only").history == clean.history
    moved = world.synthetic.landmarks.copy()
    moved[held_out] += 5
    world.synthetic = dataclasses.replace(world.synthetic, landmarks=moved)
    history = world.carry_out("synthetic_only").history
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in clean.history]
    assert all(one["val_error"] != other["val_error"] for one, other in zip(history, clean.history, strict=True))


def test_two_heads_take_synthetic_faces_of_any_scheme_and_real_ones_choose_the_step(world: World) -> None:
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed())
    clean = world.carry_out("two_heads")
    assert clean.landmarker.scheme.points == clean.landmarker.network_scheme.points == ibug68().points
    assert "shown" not in clean.landmarker.about
    world.real = poisoned(world.real, "validation")
    history = world.carry_out("two_heads").history
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in clean.history]
    assert all(one["val_error"] != other["val_error"] for one, other in zip(history, clean.history, strict=True))


def test_where_some_points_are_named_in_both_schemes_they_alone_choose_the_step(world: World) -> None:
    nose = ibug68().points[27:31]
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed(*nose))
    clean = world.carry_out("synthetic_only")
    landmarks = world.real.landmarks.copy()
    landmarks[world.real.splits == "validation", 40] += 1  # an eye, which makes no box
    world.real = dataclasses.replace(world.real, landmarks=landmarks)
    assert world.carry_out("synthetic_only").history == clean.history
    landmarks[world.real.splits == "validation", 28] += 1
    assert world.carry_out("synthetic_only").history != clean.history


@pytest.mark.parametrize("name", ["synthetic_only", "two_heads"])
def test_faces_of_another_scheme_are_shown_at_the_size_that_real_ones_will_have(
    name: str, world: World, call: Callable[..., Call]
) -> None:
    kept = ibug68().points[17:48]  # brows, nose and eyes
    landmarks = world.synthetic.landmarks.copy()
    landmarks[:, 50, 1] -= CROP  # what is no lip in this scheme reaches far above the head
    world.synthetic = dataclasses.replace(world.synthetic, landmarks=landmarks, scheme=renamed(*kept))
    recipe = call(name, augmentation=STILL).recipe
    crops, labels = recipe.batches.load(0)
    mirror_order = torch.from_numpy(recipe.mirror_order.copy())
    _, shown = augment.apply(
        torch.from_numpy(crops), torch.from_numpy(labels), recipe.changes(0, CROP), recipe.input_size, mirror_order
    )
    transforms = geometry.crop_transform(geometry.landmark_box(world.real.landmarks), recipe.input_size, recipe.context)
    real = geometry.apply(transforms, world.real.landmarks)

    def box(points: np.ndarray) -> np.ndarray:
        return np.median(geometry.landmark_box(points[:, 17:48]), axis=0)

    faces = shown.numpy()[recipe.batches.draw(0)[0] == SYNTHETIC][:, -68:]
    assert len(faces)
    np.testing.assert_allclose(box(faces), box(real), atol=0.06 * recipe.input_size)


def test_a_network_that_finds_all_points_expects_the_face_where_training_showed_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = renamed(*ibug68().points[17:48])
    landmarks = world.real.landmarks.copy()
    landmarks[:, 50, 1] -= CROP  # far above the head
    shown = frame.by_names(landmarks, other, world.real.landmarks, ibug68())
    assert shown.scale < 0.8
    about = {"scheme": other.as_dict(), "shown": dataclasses.asdict(shown)}
    monkeypatch.setattr(tasks, "predict_pack", lambda _landmarker, _pack, rows: landmarks[rows])
    found = tasks.reframed(Landmarker(None, 1.2, about), world.real, np.arange(20)).frame  # type: ignore[arg-type]
    assert (found.down, found.scale) == pytest.approx((0, 1), abs=0.03)


def test_the_translator_of_a_network_of_another_scheme_finds_its_frame_on_real_training_faces(world: World) -> None:
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed())
    own = Strategy(name="own", synthetic_share=1.0, adapts_predictions=True)
    clean = carried_out(own, world.params, world.scratch).landmarker
    assert clean.scheme.points == ibug68().points
    assert clean.network_scheme.points == world.synthetic.scheme.points
    assert clean.frame != Frame()
    world.real = poisoned(world.real, "validation", "test", "challenging")
    assert carried_out(own, world.params, world.scratch).landmarker.frame == clean.frame
    folder = world.scratch / "saved"
    folder.mkdir()
    clean.save(folder)
    again = Landmarker.load(folder)
    rows = np.flatnonzero(world.real.splits == "train")
    np.testing.assert_array_equal(
        predictions.predict_pack(again, world.real, rows), predictions.predict_pack(clean, world.real, rows)
    )


def test_a_detector_of_another_scheme_is_judged_by_the_points_that_both_name(world: World) -> None:
    nose = ibug68().points[27:31]
    world.synthetic = dataclasses.replace(world.synthetic, scheme=renamed(*nose))
    detector = world.carry_out("synthetic_only").landmarker
    found = predictions.of_judging_faces(detector, world.real).points[0.0]
    assert np.array_equal(~np.isnan(found).any(axis=(0, 2)), [27 <= i < 31 for i in range(68)])
