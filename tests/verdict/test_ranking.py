import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces.schemes import ibug68
from facemix.files import write_table
from facemix.reporting import figures
from facemix.reporting import ranking as shown
from facemix.verdict import comparison
from facemix.verdict.comparison import Trained
from toy_results import trained as one


def trainings(shifts: dict[str, float], seeds: int = 3, controls: int | None = None, **changes: Any) -> list[Trained]:
    """`real_only`, the control, and strategies whose NME differs from theirs by a shift and some noise."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(seeds):
        base = 4 + rng.random(40)
        found.append(one("real_only", seed, base, **changes))
        if seed < (seeds if controls is None else controls):
            found.append(one("control", seed, base, **changes))
        for name, shift in shifts.items():
            noise = 0.1 * rng.standard_normal(40) if shift else 0
            found.append(one(name, seed, base + shift + noise, **changes))
    return found


def ranked(shifts: dict[str, float], **changes: Any) -> dict[str, dict[str, Any]]:
    return {row["strategy"]: row for row in comparison.rank(trainings(shifts, **changes))}


def answer(shifts: dict[str, float], **changes: Any) -> comparison.Headline:
    rows = comparison.rank(trainings(shifts, **changes))
    return comparison.headline(rows, n_real=250, test_faces="40 test faces")


# --- The ranking ---


def test_the_least_mean_test_nme_ranks_first() -> None:
    pairs = [(seed, shift) for seed, shift in enumerate((0.0, 0.2))]
    trained = [one("real_only", seed, [4 + shift, 6.0]) for seed, shift in pairs]
    trained += [one("label_adaptation", seed, [4 + shift, 5.0]) for seed, shift in pairs]
    rows = comparison.rank(trained)
    assert [(row["rank"], row["strategy"]) for row in rows] == [(1, "label_adaptation"), (2, "real_only")]
    assert rows[0]["test_nme"] == pytest.approx(4.55)
    assert rows[0]["test_nme_sd"] == pytest.approx(np.std([4.5, 4.6], ddof=1))
    assert (rows[0]["difference"], rows[1]["difference"]) == (pytest.approx(-0.5), 0)


def test_a_row_says_how_sure_its_difference_is() -> None:
    rows = ranked({"mixing": -1.0, "fine_tuning": 0.0, "synthetic_only": 1.0})
    verdicts = [rows[name]["verdict"] for name in ("mixing", "fine_tuning", "synthetic_only")]
    assert verdicts == ["better", "no difference shown", "worse"]
    assert rows["mixing"]["difference_low"] < rows["mixing"]["difference"] < rows["mixing"]["difference_high"] < 0
    assert (rows["mixing"]["resamples_below"], rows["synthetic_only"]["resamples_below"]) == pytest.approx(
        (1, 0), abs=0.01
    )
    keys = ("difference", "difference_low", "difference_high", "resamples_below", "p_adjusted")
    assert [rows["fine_tuning"][key] for key in keys] == [0, 0, 0, 0.5, 1]
    assert [rows["real_only"][key] for key in (*keys, "verdict")] == [0, None, None, None, None, None]


def test_a_strategy_is_compared_with_real_faces_alone_that_saw_as_many() -> None:
    rows = ranked({"mixing": -1.0, "label_adaptation": 1.0})
    compared = {name: (row["compared_with"], row["compared_faces_seen"]) for name, row in rows.items()}
    assert compared == {
        "mixing": ("control", 640),
        "label_adaptation": ("real_only", 320),
        "control": ("real_only", 320),
        "real_only": (None, None),
    }
    without = ranked({"mixing": -1.0}, controls=0)["mixing"]
    assert (without["compared_with"], without["faces_seen"], without["compared_faces_seen"]) == ("real_only", 640, 320)


def test_what_is_compared_is_the_control_and_not_the_baseline() -> None:
    trained = trainings({"mixing": -0.2})
    better = [replace(one, errors={face: nme - 1 for face, nme in one.errors.items()}) for one in trained]
    trained = [b if b.strategy == "control" else a for a, b in zip(trained, better, strict=True)]
    rows = {row["strategy"]: row for row in comparison.rank(trained)}
    assert rows["mixing"]["difference"] == pytest.approx(0.8, abs=0.05)
    assert (rows["mixing"]["verdict"], rows["control"]["difference"]) == ("worse", pytest.approx(-1))


def test_only_the_seeds_that_the_control_has_are_compared_with_it() -> None:
    rows = ranked({"mixing": -1.0, "label_adaptation": -1.0}, controls=2)
    assert (rows["mixing"]["seeds"], rows["mixing"]["compared_seeds"]) == (3, 2)
    assert rows["label_adaptation"]["compared_seeds"] == 3
    assert rows["mixing"]["compared_nme"] + rows["mixing"]["difference"] != pytest.approx(rows["mixing"]["test_nme"])


def test_the_control_does_not_count_in_holms_family() -> None:
    shifts = {"mixing": -0.03, "fine_tuning": 0.02, "label_adaptation": -0.01}
    rows = ranked(shifts)
    trained = [one for one in trainings(shifts) if one.strategy != "label_adaptation"]
    fewer = {row["strategy"]: row for row in comparison.rank(trained)}
    least = "fine_tuning"  # times 3 of 3, and 2 of 2
    assert fewer[least]["p_adjusted"] == pytest.approx(2 / 3 * rows[least]["p_adjusted"])
    assert fewer["control"]["p_adjusted"] == rows["control"]["p_adjusted"]


@pytest.mark.parametrize(
    ("difference", "p", "seeds", "seen", "verdict"),
    [
        (-1, 0.001, 3, 1, "better"),
        (-1, 0.001, 2, 1, "better"),
        (-1, 0.001, 1, 1, "undecided"),
        (+1, 0.001, 1, 1, "undecided"),
        (-1, 0.06, 3, 1, "no difference shown"),
        (-1, 0.001, 3, 2, "undecided"),  # saw more and won
        (-1, 0.001, 3, 0, "better"),  # saw fewer and won
        (+1, 0.001, 3, 2, "worse"),  # saw more and lost
        (+1, 0.001, 3, 0, "undecided"),  # saw fewer and lost
    ],
)
def test_a_verdict_needs_two_seeds_and_no_advantage(
    difference: float, p: float, seeds: int, seen: int, verdict: str
) -> None:
    assert comparison.judge(difference, p, seeds, seen, 1) == verdict


def test_without_the_baseline_there_is_a_ranking_and_no_difference() -> None:
    rows = comparison.rank([one("mixing", 0, [2.0, 3.0]), one("fine_tuning", 0, [1.0, 2.0])])
    assert [row["strategy"] for row in rows] == ["fine_tuning", "mixing"]
    assert {row["difference"] for row in rows} == {row["verdict"] for row in rows} == {None}
    found = comparison.headline(rows, n_real="all", test_faces="2 test faces")
    assert (found.status, found.sentence) == (
        "undecided",
        "Undecided at n_real = all on 2 test faces: real_only was not trained.",
    )


# --- The headline ---

WORSE = dict.fromkeys(comparison.COMBINED, 1.0)


@pytest.mark.parametrize(
    ("shifts", "status", "claim"),
    [
        (WORSE | {"mixing": -1.0}, "supported", "mixing beats control (NME 3."),
        (
            WORSE | {"mixing": 0.0},
            "undecided",
            "no combined training is shown to beat real faces alone; closest is mixing",
        ),
        (
            WORSE | {"mixing": 0.5},
            "refuted",
            "every combined training loses to real faces alone, mixing by least (NME 5.",
        ),
        (
            {"mixing": 0.5},
            "undecided",
            "every combined training that is there loses to real faces alone, mixing by least",
        ),
        ({"synthetic_only": -1.0}, "undecided", "no combined training is there to compare."),
    ],
)
def test_the_headline_is_supported_refuted_or_undecided(shifts: dict[str, float], status: str, claim: str) -> None:
    found = answer(shifts)
    assert found.status == status
    assert found.sentence.startswith(f"{status.capitalize()} at n_real = 250 on 40 test faces: {claim}")
    untrained = "not trained: label_adaptation, data_adaptation, fine_tuning"
    assert (untrained in found.sentence) == (shifts.keys() == {"mixing"})
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence


def test_the_headline_names_all_winners() -> None:
    sentence = answer({"mixing": -1.0, "fine_tuning": -0.5, "label_adaptation": 1.0}).sentence
    assert sentence.startswith("Supported at n_real = 250 on 40 test faces: mixing beats control (")
    assert "fine_tuning beats control too (-0." in sentence
    assert "label_adaptation beats" not in sentence


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_one_seed_decides_nothing_and_says_what_to_run(shift: float) -> None:
    shifts = dict.fromkeys(comparison.COMBINED, shift)
    rows = ranked(shifts, seeds=1)
    assert {rows[name]["verdict"] for name in shifts} == {"undecided"}
    assert {rows[name][key] for name in shifts for key in ("p_adjusted", "resamples_below")} == {None}
    found = answer(shifts, seeds=1)
    assert found.status == "undecided"
    assert found.sentence.startswith("Undecided at n_real = 250 on 40 test faces: one seed says nothing of how far ")
    assert "over photographs alone, 1 seed)" in found.sentence
    assert "p = " not in found.sentence and "p < " not in found.sentence
    assert found.sentence.endswith("or run `dvc exp run -S 'seeds=[0,1,2]' -S 'control_seeds=[0,1,2]'`.")
    alone = answer({"label_adaptation": shift}, seeds=1, controls=0).sentence
    assert "set seeds: [0, 1, 2] in params.yaml" in alone
    assert alone.endswith("or run `dvc exp run -S 'seeds=[0,1,2]'`.")


def test_two_seeds_decide_where_the_difference_is_great() -> None:
    assert answer({"mixing": -1.0}, seeds=2).status == "supported"


def test_who_saw_more_faces_is_not_supported_and_the_control_is_asked_for() -> None:
    found = answer({"mixing": -1.0}, controls=0)
    assert found.status == "undecided"
    assert "the comparison is not at equal cost; mixing against real_only (" in found.sentence
    assert "; mixing saw 640 faces, real_only 320; " in found.sentence
    assert "set control_seeds in params.yaml" in found.sentence
    both = answer({"mixing": -1.0}, controls=0, seeds=1)
    assert both.sentence.endswith("`dvc exp run -S 'seeds=[0,1,2]' -S 'control_seeds=[0,1,2]'`.")


def test_who_saw_more_faces_and_lost_all_the_same_is_refuted() -> None:
    assert answer(WORSE, controls=0).status == "refuted"
    fewer = [replace(one, faces_seen=10) if one.strategy == "mixing" else one for one in trainings(WORSE)]
    rows = comparison.rank(fewer)
    assert comparison.headline(rows, n_real=250, test_faces="40 test faces").status == "undecided"


# --- What may be compared ---

SETTINGS = {
    "alpha": 0.0,
    "n_real": 149,
    "n_synthetic": 0,
    "training": {"steps": 480, "warmup_steps": 40, "learning_rate": 0.02},
}


def alike(**changes: Any) -> list[Trained]:
    about = {"settings": SETTINGS, "packages": {"torch": "2.9", "opencv": "5.0"}, "code": "abc"}
    return trainings({"mixing": -1.0, "fine_tuning": 0.0}, seeds=2, **about | changes)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"settings": SETTINGS | {"n_real": 50}}, r"n_real: 149 \(real_only seed 0, .*\), 50 \(mixing seed 1\)"),
        ({"settings": SETTINGS | {"training": {"steps": 9}}}, r"training.steps: 480 .*, 9 \("),
        ({"packages": {"torch": "2.10", "opencv": "5.0"}}, r"version of torch: 2.9 .*, 2.10 \(mixing seed 1\)"),
        ({"packages": {"torch": "2.9"}}, r"version of opencv: 5.0 .*, not recorded \(mixing seed 1\)"),
        ({"code": "def"}, r"code: abc .*, def \(mixing seed 1\)"),
    ],
)
def test_trainings_that_differ_are_not_ranked_together(changes: dict[str, Any], found: str) -> None:
    trained = alike()
    comparison.check_alike(trained)
    trained = [*trained[:-2], replace(trained[-2], **changes), trained[-1]]
    assert (trained[-2].strategy, trained[-2].seed) == ("mixing", 1)
    with pytest.raises(FacemixError, match=f"found {found}.*run `dvc repro`"):
        comparison.rank(trained)


def test_a_setting_that_a_strategy_does_not_use_does_not_count() -> None:
    trained = [
        replace(one, settings=SETTINGS | {"alpha": 0.5, "n_synthetic": 240}) if one.strategy == "mixing" else one
        for one in alike()
    ]
    comparison.check_alike(trained)
    other = [replace(one, settings=one.settings | {"alpha": 0.3}) if one is trained[-2] else one for one in trained]
    with pytest.raises(FacemixError, match=r"found alpha of mixing: 0.5 \(mixing seed 0\), 0.3 \(mixing seed 1\)"):
        comparison.check_alike(other)


@pytest.mark.parametrize(
    ("strategy", "key", "value"),
    [("fine_tuning", "learning_rate", 0.006), ("control", "steps", 960), ("control", "warmup_steps", 80)],
)
def test_what_a_strategy_is_meant_to_have_of_its_own_may_differ(strategy: str, key: str, value: float) -> None:
    def changed(one: Trained, value: float) -> Trained:
        return replace(one, settings=SETTINGS | {"training": SETTINGS["training"] | {key: value}})

    trained = [changed(one, value) if one.strategy == strategy else one for one in alike()]
    comparison.check_alike(trained)
    last = next(one for one in reversed(trained) if one.strategy == strategy)
    with pytest.raises(FacemixError, match=f"training.{key} of {strategy}: "):
        comparison.check_alike([changed(one, 7) if one is last else one for one in trained])
    with pytest.raises(FacemixError, match=f"training.{key}: "):
        comparison.check_alike([changed(one, value) if one.strategy == "mixing" else one for one in alike()])


# --- Tables and pictures ---


@pytest.mark.parametrize("normalizer", (*ibug68().face_sizes, *metrics.BOX_SIZES))
def test_rates_are_shown_by_the_names_of_their_thresholds(normalizer: str) -> None:
    rows = comparison.rank([one("real_only", 0, [3.0, 20.0], normalizer)])
    header = shown.table(rows).splitlines()[0]
    for threshold in metrics.thresholds(ibug68(), normalizer):
        assert f"FR@{threshold}" in header
    assert f"AUC@{metrics.thresholds(ibug68(), normalizer)[0]}" in header
    assert header.count("FR@") == len(metrics.thresholds(ibug68(), normalizer))


def test_tables_for_plots_have_a_column_a_strategy() -> None:
    trained = [one("real_only", 0, [1.0, 3.0]), one("mixing", 0, [2.0, 2.0])]
    at_two = next(row for row in comparison.ced_table(trained) if row["nme"] == 2)
    assert at_two == {"nme": 2, "real_only": 0.5, "mixing": 1.0}
    assert comparison.box_jitter_table(trained) == [
        {"jitter": 0.0, "real_only": 2.0, "mixing": 2.0},
        {"jitter": 0.1, "real_only": 4.0, "mixing": 4.0},
    ]
    assert comparison.validation_table(trained)[0] == {"step": 10, "real_only": 4.0, "mixing": 4.0}


def test_the_printed_table_lines_up() -> None:
    rows = comparison.rank([one("real_only", 0, [10.0]), one("label_adaptation", 0, [5.25])])
    lines = shown.table(rows).splitlines()
    words = "rank strategy test NME compared with difference 95 % interval verdict FR@8 FR@10 AUC@8 val NME faces seen "
    assert lines[0].split() == (words + "of the compared").split()
    assert lines[1].split()[:5] == ["1", "label_adaptation", "5.25", "real_only", "-4.75"]
    assert len({line.index("5.25") + 4 if "5.25" in line else line.index("10.00") + 5 for line in lines[1:]}) == 1


def test_csv_rows_can_be_read_back(tmp_path: Path) -> None:
    write_table(tmp_path / "ranking.csv", comparison.rank([one("real_only", 0, [1.0])]))
    with (tmp_path / "ranking.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["strategy"] == "real_only"


@pytest.mark.parametrize(("seeds", "verdicts"), [(1, ["undecided"] * 3), (3, ["better", "no", "no"])])
def test_the_ranking_is_drawn_with_what_is_known(
    seeds: int, verdicts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    annotate = Axes.annotate
    monkeypatch.setattr(
        Axes,
        "annotate",
        lambda axes, text, *where, **style: annotate(axes, labels.append(text) or text, *where, **style),
    )
    trained = trainings({"mixing": -1.0, "fine_tuning": 0.0}, seeds=seeds)
    figures.ranking(tmp_path / "ranking.png", comparison.rank(trained), trained, "outer_eye")
    assert (tmp_path / "ranking.png").stat().st_size > 0
    compared = [label for label in labels if " " in label]
    assert [label.split()[1] for label in compared] == verdicts
    assert compared[0].endswith("(control)")
    assert len(labels) == 4 + 3
