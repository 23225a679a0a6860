"""The ranking beside that of an established library, autorank: Friedman's test over photographs, then Nemenyi's."""

import warnings

import numpy as np
import pytest

from facemix.verdict import bootstrap, comparison, simulation

MEANS = {"real_only": 4.0, "mixing": 3.6, "fine_tuning": 3.8, "data_adaptation": 4.0, "synthetic_only": 5.0}
"""True NME, %."""


def test_order_and_verdicts_are_those_of_autorank() -> None:
    autorank = pytest.importorskip("autorank", reason="not installed: pip install -c constraints.txt -e '.[dev]'")
    import pandas

    rng = np.random.default_rng(0)
    photo_of = np.arange(120)
    errors = simulation.errors(rng, np.array([*MEANS.values()]), 3, photo_of, seed_sd=0.003, photo_sd=0.03)
    names, real = list(MEANS), list(MEANS).index("real_only")
    found = bootstrap.compare(errors - errors[real], photo_of.astype(np.str_), resamples=2000)
    adjusted = bootstrap.holm(np.array([one.p_value for one in found])[np.arange(len(found)) != real])
    p_values = iter(adjusted.tolist())
    ours = {
        name: comparison.judge(one.mean, next(p_values), 3, 1, 1)
        for name, one in zip(names, found, strict=True)
        if name != "real_only"
    }

    table = pandas.DataFrame(errors.mean(axis=1).T, columns=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        theirs = autorank.autorank(table, alpha=0.05, order="ascending", force_mode="nonparametric")
    ranks = theirs.rankdf["meanrank"]
    assert theirs.pvalue < 0.05
    said = {
        name: comparison.NO_DIFFERENCE
        if abs(ranks[name] - ranks["real_only"]) <= theirs.cd
        else "better"
        if ranks[name] < ranks["real_only"]
        else "worse"
        for name in ours
    }
    assert (
        ours
        == said
        == {
            "mixing": "better",
            "fine_tuning": "better",
            "data_adaptation": comparison.NO_DIFFERENCE,
            "synthetic_only": "worse",
        }
    )
    apart = [name for name in names if name != "data_adaptation"]  # the order of equals is chance
    by_error = sorted(apart, key=lambda name: errors[names.index(name)].mean())
    assert by_error == [name for name in ranks.sort_values().index if name in apart]
