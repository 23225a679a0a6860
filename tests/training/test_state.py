"""A step by its closed form: what decays, what is averaged, what is random."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from facemix.faces.schemes import ibug68
from facemix.training import loop, state
from facemix.training.batches import MixedBatches
from facemix.training.model import LandmarkNet
from facemix.training.processes import Group
from facemix.training.recipe import Recipe
from facemix.training.state import State
from toy_training import FACES, PARAMS, SETTINGS, run

GROUP = Group(torch.device("cpu"))


def begun(**settings: Any) -> tuple[State, Recipe]:
    torch.manual_seed(0)
    network = LandmarkNet(ibug68(), "mobilenetv3_small_050", 32, 8)
    changed = dataclasses.replace(SETTINGS, **settings)
    recipe = Recipe(
        mirror_order=ibug68().mirror,
        batches=MixedBatches(FACES, None, alpha=0, batch_size=4, seed=0),
        context=1.2,
        input_size=32,
        settings=changed,
        augmentation=PARAMS.augmentation,
        learning_rate=0.02,
        seed=0,
    )
    return State.begin(network, recipe, GROUP), recipe


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Its parameters, and its statistics of normalisation."""
    return {key: value.clone() for key, value in module.state_dict().items() if value.is_floating_point()}


def test_weights_decay_and_biases_and_normalisation_do_not() -> None:
    made, _ = begun(weight_decay=0.07)
    decay = {id(p): group["weight_decay"] for group in made.optimizer.param_groups for p in group["params"]}
    for module in made.model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = isinstance(module, (nn.Conv2d, nn.Linear)) and name == "weight"
            assert decay.pop(id(parameter)) == (0.07 if decays else 0)
    assert not decay


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (5, 0.4), (1000, 0.9)])
def test_the_average_follows_by_its_decay_and_faster_in_the_first_steps(step: int, kept: float) -> None:
    averaged, current = [torch.tensor([1.0, 2.0]), torch.tensor(-1.0)], [torch.tensor([3.0, -2.0]), torch.tensor(4.0)]
    expected = [kept * a + (1 - kept) * c for a, c in zip(averaged, current, strict=True)]
    state.average(averaged, current, 0.9, step)
    torch.testing.assert_close(averaged, expected)


def test_weights_and_statistics_of_the_average_follow_those_of_the_model_in_each_step() -> None:
    made, recipe = begun(ema_decay=0.15)
    load = loop.inputs(recipe, GROUP)
    expected = copied(made.averaged)
    assert any("running_var" in key for key in expected)
    for kept in (0.1, 0.15, 0.15):
        made.advance(recipe, load, GROUP)
        current = copied(made.model)
        assert all(not torch.equal(current[key], value) for key, value in expected.items() if "running_var" in key)
        expected = {key: kept * value + (1 - kept) * current[key] for key, value in expected.items()}
        torch.testing.assert_close(copied(made.averaged), expected)


def test_what_is_validated_and_kept_is_the_average(tmp_path: Path) -> None:
    validated, values = [], iter([3.0, 1.0, 2.0])
    models: list[dict[str, Tensor]] = []

    def validate(network: LandmarkNet) -> float:
        validated.append({key: value.clone() for key, value in network.state_dict().items()})
        return next(values)

    advance = State.advance
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "advance", lambda self, *a: (advance(self, *a), models.append(copied(self.averaged)))[0])
        kept = run(tmp_path / "checkpoint.pt", validate=validate).weights
    assert all(torch.equal(kept[key], value) for key, value in validated[1].items())
    assert all(torch.equal(kept[key], value) for key, value in models[5].items())


@pytest.mark.parametrize("nothing", [float("nan"), float("inf")])
def test_an_evaluation_that_is_no_number_is_never_kept_over_one(nothing: float, tmp_path: Path) -> None:
    values = iter([nothing, 2.0, 1.0, nothing])
    settings = dataclasses.replace(SETTINGS, steps=4, evaluate_every=1)
    result = run(tmp_path / "checkpoint.pt", settings=settings, validate=lambda _: next(values))
    assert result.best_step == 3


def test_what_is_random_in_a_backbone_is_a_function_of_seed_and_step() -> None:
    def trained(before: int, seed: int = 0) -> dict[str, Tensor]:
        made, recipe = begun()
        recipe = dataclasses.replace(recipe, seed=seed)
        made.model.backbone.register_forward_pre_hook(lambda _, given: nn.functional.dropout(given[0], 0.3))
        torch.manual_seed(before)
        made.advance(recipe, loop.inputs(recipe, GROUP), GROUP)
        return copied(made.model)

    expected = trained(1)
    assert all(torch.equal(value, expected[key]) for key, value in trained(2).items())
