"""Each mix at its own best settings on validation."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.errors import FacemixError
from facemix.verdict import tuning
from facemix.verdict.tuning import MixName, Try


def tried(
    strategy: str = "control",
    seed: int = 0,
    val_nme: float = 4.0,
    n_real: int = 100,
    n_synthetic: int = 0,
    faces_seen: int | None = 320,
    **settings: Any,
) -> Try:
    return Try(
        mix=MixName(strategy=strategy, alpha=None, n_real=n_real, n_synthetic=n_synthetic),
        settings={key.replace("__", "."): value for key, value in settings.items()},
        seed=seed,
        val_nme=val_nme,
        faces_seen=faces_seen,
    )


def test_where_nothing_varies_all_trainings_stay_and_no_choice_is_told() -> None:
    tries = [tried(seed=seed, training__learning_rate=0.02) for seed in (0, 1)]
    assert tuning.at_best(tries) == ([0, 1], [])


@given(st.permutations(range(6)))
def test_each_mix_stands_at_its_own_best_in_whatever_order_tries_come(order: list[int]) -> None:
    tries = [
        tried("control", 0, 4.3, training__learning_rate=0.02),
        tried("control", 1, 4.1, training__learning_rate=0.02),
        tried("control", 0, 4.2, training__learning_rate=0.04),
        tried("control", 1, 4.1, training__learning_rate=0.04),
        tried("real_only", 0, 4.0, training__learning_rate=0.02),
        tried("real_only", 0, 4.5, training__learning_rate=0.04),
    ]
    kept, choices = tuning.at_best([tries[i] for i in order])
    assert {order[i] for i in kept} == {2, 3, 4} and kept == sorted(kept)
    found = {one.mix.strategy: (one.settings, one.tries) for one in choices}
    assert found == {
        "control": ({"training.learning_rate": 0.04}, 2),
        "real_only": ({"training.learning_rate": 0.02}, 2),
    }


def test_tries_are_judged_over_the_seeds_that_all_have() -> None:
    """At 0.02 seed 1 is bad luck; by the mean of all its seeds it would lose to 0.04, which has seed 0 alone."""
    usual = [tried(seed=seed, val_nme=nme, training__learning_rate=0.02) for seed, nme in ((0, 4.0), (1, 4.9))]
    kept, _ = tuning.at_best([*usual, tried(seed=0, val_nme=4.1, training__learning_rate=0.04)])
    assert kept == [0, 1]


def test_a_mix_has_settings_of_its_own_at_each_number_of_faces() -> None:
    tries = [
        tried(n_real=n, val_nme=nme, augmentation__colour=colour)
        for n, colour, nme in ((50, 0.3, 5.0), (50, 0.6, 4.9), (100, 0.3, 4.4), (100, 0.6, 4.5))
    ]
    kept, choices = tuning.at_best(tries)
    assert kept == [1, 2]
    assert [str(one) for one in tuning.grouped(choices)] == [
        "control with 50 real faces: augmentation.colour = 0.6, best of 2 on validation",
        "control with 100 real faces: augmentation.colour = 0.3, best of 2 on validation",
    ]


def test_a_setting_that_does_not_matter_to_a_strategy_is_no_try_of_it() -> None:
    tries = [
        tried("fine_tuning", val_nme=nme, fine_tuning__learning_rate=rate) for rate, nme in ((0.01, 3.8), (0.02, 3.9))
    ]
    kept, choices = tuning.at_best([tried("real_only"), *tries])
    assert kept == [0, 1]
    assert [(one.settings, one.tries) for one in choices] == [({}, 1), ({"fine_tuning.learning_rate": 0.01}, 2)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model__width": 64}, r"found several values of model.width, expected one, since all .* share one arch"),
        (
            {"training__steps": 9, "faces_seen": 640},
            r"trainings of control that saw 320 and 640 faces, .* value of training.steps by itself",
        ),
        ({"training__steps": 9, "faces_seen": None}, r"found several values of training.steps, expected one"),
        ({"training__steps": 20, "seed": 7}, r"100 real faces: found values of training.steps without a common seed"),
        ({"training__steps": 10, "val_nme": 3.0}, r"found two trainings with seed 0 and the same settings"),
    ],
)
def test_tries_that_cannot_compete_are_refused(other: dict[str, Any], message: str) -> None:
    usual = [tried(seed=seed, model__width=128, training__steps=10) for seed in (0, 1, 2)]
    with pytest.raises(FacemixError, match=message):
        tuning.at_best([*usual, tried(**{"model__width": 128, "training__steps": 10} | other)])


def test_mixes_are_listed_together_only_where_each_number_was_trained_with_each_other() -> None:
    tries = [
        tried("fine_tuning", n_real=n, n_synthetic=m, training__learning_rate=0.02) for n in (50, 100) for m in (10, 30)
    ]
    tries += [tried("fine_tuning", n_real=250, n_synthetic=10, training__learning_rate=0.02)]
    tries += [tried("real_only", n_real=50, training__learning_rate=0.04)]
    _, choices = tuning.at_best(tries)
    found = {(one.strategy, *one.n_real): one.n_synthetic for one in tuning.grouped(choices)}
    assert found == {("fine_tuning", 50, 100, 250): [10], ("fine_tuning", 50, 100): [30], ("real_only", 50): []}


def test_unequal_search_is_said_where_it_is() -> None:
    def rates(strategy: str, n_real: int, *rates: float) -> list[Try]:
        return [tried(strategy, n_real=n_real, training__learning_rate=rate) for rate in rates]

    both = (0.02, 0.04)
    equal = [*rates("control", 50, *both), *rates("real_only", 50, *both), *rates("synthetic_only", 0, *both)]
    _, choices = tuning.at_best(equal)
    assert tuning.unequal(choices) is None and len(tuning.sentences(choices)) == 3
    _, choices = tuning.at_best([*equal, *rates("control", 100, 0.02)])  # a curve rests on all its numbers
    said = "Not all were tried as often: 1 to 2 times. What was tried more often has an advantage."
    assert tuning.unequal(choices) == said == tuning.sentences(choices)[-1]


def test_each_alpha_is_a_try() -> None:
    tries = [tried(n_real=n, training__learning_rate=rate) for n in (50, 100) for rate in (0.02, 0.04)]
    mixed = [
        replace(one, mix=replace(one.mix, strategy="mixing", alpha=alpha)) for one in tries for alpha in (0.2, 0.5)
    ]
    _, choices = tuning.at_best([*tries, *mixed])
    assert (tuning.unequal(choices) or "").startswith("Not all were tried as often: 2 to 4 times, each alpha a try.")


def test_a_mix_whose_best_settings_lack_seeds_is_left_out_and_said() -> None:
    usual = [tried(seed=seed, training__learning_rate=0.02) for seed in (0, 1, 2)]
    better = tried(seed=0, val_nme=3.0, training__learning_rate=0.04)
    whole = [tried("real_only", seed=seed, training__learning_rate=0.02) for seed in (0, 1, 2)]
    kept, choices = tuning.at_best([*usual, better, *whole])
    assert kept == [4, 5, 6]
    said = (
        "control with 100 real faces: training.learning_rate = 0.04, best of 2 on validation, but left out: not trained"
    )
    assert tuning.sentences(choices)[0] == f"{said} with seed 1 and 2, as others are; sweep that"


@given(st.permutations(range(4)))
def test_of_equal_settings_those_with_more_seeds_stand_whatever_the_order(order: list[int]) -> None:
    tries = [tried(seed=seed, training__learning_rate=0.04) for seed in (0, 1, 2)]
    tries.append(tried(seed=0, training__learning_rate=0.02))
    kept, _ = tuning.at_best([tries[i] for i in order])
    assert {order[i] for i in kept} == {0, 1, 2}


def test_a_training_that_stands_there_twice_counts_once_for_the_choice() -> None:
    tries = [tried(training__learning_rate=rate, val_nme=nme) for rate, nme in ((0.02, 4.0), (0.02, 4.0), (0.04, 4.1))]
    assert tuning.at_best(tries)[0] == [0, 1]


def test_a_blank_setting_is_refused_where_it_could_be_any() -> None:
    rates = [tried(training__learning_rate=rate) for rate in (0.02, 0.04)]
    with pytest.raises(FacemixError, match=r"trainings of control with and without a value of training.learning_rate"):
        tuning.at_best([*rates, tried(n_real=50)])
    with pytest.raises(FacemixError, match=r"found two trainings with seed 0 and the same settings, expected one"):
        tuning.at_best([rates[0], tried(val_nme=3.0)])
    assert tuning.at_best([rates[0], tried(n_real=50)]) == ([0, 1], [])  # one value is all there is
