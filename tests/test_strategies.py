import dataclasses

import pytest

from facemix import config, strategies
from facemix.strategies import STRATEGIES


def test_a_strategy_comes_after_those_that_it_needs() -> None:
    names = list(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        needed = [strategy.starts_from, strategy.shares_network_of]
        needed += [strategies.ADAPTER_FROM] if strategy.adapts_labels else []
        assert all(names.index(other) < names.index(name) for other in needed if other)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_is_a_matter_of_mixing_alone(alpha: float, params: config.Params) -> None:
    changed = dataclasses.replace(params, alpha=alpha)
    assert STRATEGIES["mixing"].alpha(changed) == alpha
    for name, strategy in STRATEGIES.items():
        if name != "mixing":
            assert strategy.alpha(changed) == strategy.alpha(params)
