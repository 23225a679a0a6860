"""What is said of trainings whose errors are known."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.benchmarks import curve_plot, findings
from facemix.benchmarks.findings import say_ratio
from facemix.benchmarks.halves import Errors
from facemix.benchmarks.records import Finished, Row
from facemix.verdict import curve

PHOTOS = np.array([f"photo {i // 2}" for i in range(120)])
RNG = np.random.default_rng(0)
FACES = RNG.gamma(9, 0.5, 120)
FACES /= FACES.mean()


def training(name: str, n: int, seed: int, error: float, adapted: float | None = None, steps: int = 40) -> Finished:
    """A training of these mean errors, in which hard faces are hard; what is left to chance hangs on the seed."""
    rng = np.random.default_rng([seed, n, *name.encode()])
    own = [mean * (FACES + rng.normal(0, 0.03, 120) + rng.normal(0, 0.002)) for mean in (error, adapted or 0.8 * error)]
    errors = Errors(photos=PHOTOS, synthetic_only=own[0], label_adaptation=own[1], steps=(10, 20), epochs=(1, 2))
    return Finished(Row(name, n, steps, seed, own[0].mean(), own[1].mean(), f"{name}{n}{steps}{seed}"), errors)


def trainings(name: str, counts: list[int], law: tuple[float, float, float], seeds: int = 3) -> list[Finished]:
    return [training(name, n, seed, float(curve.law(n, np.array(law)))) for n in counts for seed in range(seeds)]


def test_a_difference_is_the_share_of_the_second_error() -> None:
    finished = [training(name, 50, seed, error) for name, error in (("ours", 4.5), ("theirs", 5)) for seed in range(3)]
    ours, theirs = findings.grouped(finished).values()
    share, low, high = findings.ratio(
        findings.errors_of(ours, "synthetic_only"), findings.errors_of(theirs, "synthetic_only"), PHOTOS
    )
    assert low < -0.1 < high and high - low < 0.05  # pairs: faces differ by a third, their ratios do not
    said = findings.said(finished)
    assert re.search(
        r"^synthetic_only, n 50, steps 40: ours is (9|10)\.\d % lower than theirs, 95 % interval", said, re.M
    )
    assert "95 % intervals over 120 faces of 60 photographs and 3 seeds" in said
    back = findings.ratio(
        findings.errors_of(theirs, "synthetic_only"), findings.errors_of(ours, "synthetic_only"), PHOTOS
    )
    assert 1 + back[0] == pytest.approx(1 / (1 + share))


@given(scale=st.floats(0.1, 10))
def test_equal_errors_have_no_difference_whatever_their_size(scale: float) -> None:
    errors = scale * np.stack([FACES, FACES[::-1]])
    assert findings.ratio(errors, errors, PHOTOS) == pytest.approx((0, 0, 0), abs=1e-12)


def test_errors_that_are_a_multiple_differ_by_that_and_nothing_else() -> None:
    errors = np.stack([FACES, FACES[::-1]])
    assert findings.ratio(0.9 * errors, errors, PHOTOS) == pytest.approx((-0.1, -0.1, -0.1))


def test_a_difference_is_told_in_the_direction_in_which_it_was_found() -> None:
    assert say_ratio("a", "b", -0.08, -0.11, -0.05) == "a is 8.0 % lower than b, 95 % interval 5.0 to 11.0"
    assert say_ratio("a", "b", 0.03, 0.01, 0.06) == "a is 3.0 % higher than b, 95 % interval 1.0 to 6.0"
    text = "a is 3.0 % lower than b, 95 % interval -1.0 to 7.0: no difference shown"
    assert say_ratio("a", "b", -0.03, -0.07, 0.01) == text


def test_the_table_has_a_line_for_each_set_n_and_steps() -> None:
    lines = findings.table(
        findings.grouped(
            [training("ours", 50, seed, 5 + seed, steps=steps) for steps in (40, 80) for seed in (0, 1)]
            + [training("a long name", 50, 0, 5)]
        )
    ).splitlines()
    assert lines[0].split() == ["set", "n", "steps", "seeds", "synthetic_only", "label_adaptation"]
    assert [line.split()[:4] for line in lines[1:3]] == [["ours", "50", steps, "2"] for steps in ("40", "80")]
    assert re.fullmatch(r"a long name +50 +40 +1 +5\.\d\d +4\.\d\d", lines[3])
    assert "±" in lines[1]


LAW, LOWER = (30.0, 0.5, 4.0), (30.0, 0.5, 3.0)


def test_curves_are_said_with_their_parameters_and_how_far_apart_their_floors_are() -> None:
    counts = [100, 400, 1600, 6400]
    said = findings.said(trainings("ours", counts, LOWER) + trainings("theirs", counts, LAW))
    number = r"[\d.e+-]+"
    assert re.search(
        rf"^synthetic_only, steps 40: ours, n 100, 400, 1600, 6400\n"
        rf"  C {number} \({number} to {number}\), D {number} \({number} to {number}\), a {number} \(",
        said,
        re.M,
    )
    found = re.search(
        r"^synthetic_only, steps 40: C of ours is ([\d.]+) below that of theirs, 95 % interval ([\d.-]+) to ([\d.]+)",
        said,
        re.M,
    )
    assert found
    difference, low, high = map(float, found.groups())
    assert low < difference < high and low < 1 < high


def test_flat_curves_and_too_few_n_are_said_without_parameters() -> None:
    flat = findings.said(trainings("ours", [100, 200, 400, 800], (0.0, 0.5, 4.0)))
    assert flat.count("  not determined: the curve is flat") == 2
    assert " C " not in flat
    two = findings.said(trainings("ours", [100, 200], LAW))
    assert "steps 40: ours: no curve through 2 n; four or more are needed" in two
    assert "curve" not in findings.said(trainings("ours", [100], LAW))


def test_curves_of_different_n_or_steps_are_not_compared() -> None:
    finished = trainings("ours", [100, 400, 1600, 6400], LAW) + trainings("theirs", [100, 400, 1600], LAW)
    assert "C of" not in findings.said(finished)


def test_one_seed_is_said_to_know_nothing_of_others() -> None:
    said = findings.said([training(name, 50, 0, 5) for name in ("ours", "theirs")])
    assert "120 faces of 60 photographs, of one seed: they know nothing of other seeds" in said


@pytest.mark.parametrize("counts", [[100], [100, 400, 1600]])
def test_the_picture_is_drawn_with_or_without_curves(counts: list[int], tmp_path: Path) -> None:
    finished = trainings("ours", counts, LAW) + [training("theirs", 100, 0, 5, steps=80)]
    curve_plot.draw(tmp_path / "new" / "curve.png", findings.grouped(finished))
    assert (tmp_path / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")
