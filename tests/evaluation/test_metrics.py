import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.evaluation import metrics
from facemix.faces import schemes
from facemix.faces.schemes import ibug68

RNG = np.random.default_rng(0)
TRUTH = RNG.random((5, 68, 2)) * 100
PREDICTED = TRUTH + RNG.normal(0, 3, TRUTH.shape)
ERRORS = st.lists(st.floats(0, 30), min_size=1, max_size=40).map(np.array)
SIZES = (*ibug68().face_sizes, *metrics.BOX_SIZES)


def test_nme_equals_the_plain_loop() -> None:
    for i in range(len(TRUTH)):
        size = ((TRUTH[i, 36] - TRUTH[i, 45]) ** 2).sum() ** 0.5
        total = sum(((PREDICTED[i, k] - TRUTH[i, k]) ** 2).sum() ** 0.5 for k in range(68))
        assert metrics.nme(PREDICTED, TRUTH, ibug68())[i] == pytest.approx(100 * total / 68 / size)


def test_normalizers_measure_what_they_say() -> None:
    points = np.zeros((1, 68, 2))
    points[0, 0], points[0, 16] = (0, 0), (40, 90)  # opposite corners of the box
    points[0, 36:42], points[0, 42:48] = (10, 10), (30, 10)
    points[0, 36], points[0, 45] = (4, 10), (36, 10)
    expected = {"outer_eye": 32, "inter_pupil": 22, "box_side": 60, "box_diagonal": np.hypot(40, 90)}
    assert {name: float(metrics.face_size(points, ibug68(), name)[0]) for name in SIZES} == pytest.approx(expected)


@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(-100, 100))
def test_nme_does_not_change_under_similarity(scale: float, angle: float, shift: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = metrics.nme(PREDICTED @ turn + shift, TRUTH @ turn + shift, ibug68())
    np.testing.assert_allclose(moved, metrics.nme(PREDICTED, TRUTH, ibug68()), rtol=1e-6)


def test_a_face_of_zero_size_has_no_nme() -> None:
    with pytest.raises(ValueError, match="1 of 1 faces have no outer_eye"):
        metrics.nme(np.zeros((1, 68, 2)), np.zeros((1, 68, 2)), ibug68())


def test_the_regions_of_a_face_make_up_its_nme() -> None:
    errors = metrics.point_errors(PREDICTED, TRUTH, ibug68())
    regions = metrics.by_region(errors, ibug68())
    assert regions["eyes"] == pytest.approx(errors[:, 36:48].mean(axis=1))
    total = sum(len(ibug68().regions[name]) * nme for name, nme in regions.items())
    assert total / 68 == pytest.approx(metrics.nme(PREDICTED, TRUTH, ibug68()))


def test_an_unlabelled_point_has_no_part_in_the_error_of_its_face() -> None:
    truth = TRUTH.copy()
    truth[0, 48:68] = np.nan
    errors = metrics.point_errors(PREDICTED, truth, ibug68())
    whole = metrics.point_errors(PREDICTED, TRUTH, ibug68())
    assert metrics.nme(PREDICTED, truth, ibug68())[0] == pytest.approx(whole[0, :48].mean())
    np.testing.assert_array_equal(errors[1:], whole[1:])
    regions = metrics.by_region(errors, ibug68())
    assert np.isnan(regions["mouth"][0]) and regions["jaw"][0] == pytest.approx(whole[0, :17].mean())


def test_a_face_without_the_points_of_its_size_is_refused_with_what_to_do() -> None:
    truth = TRUTH.copy()
    truth[3, 36] = np.nan
    with pytest.raises(ValueError, match="1 of 5 faces have no outer_eye, the first is 3: .*box_side"):
        metrics.nme(PREDICTED, truth, ibug68())
    assert np.isfinite(metrics.nme(PREDICTED, truth, ibug68(), "box_side")).all()


def test_a_size_that_a_scheme_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="found 'outer_eye', but the scheme five has .*box_side"):
        metrics.resolved("outer_eye", schemes.load("five"))
    with pytest.raises(ValueError, match="did you mean 'outer_eye'"):
        metrics.resolved("outer-eye", ibug68())
    assert metrics.resolved("auto", ibug68()) == "outer_eye"


def test_failure_rate_counts_faces_above_the_threshold() -> None:
    assert metrics.failure_rate(np.array([1.0, 8.0, 8.1, 20.0]), 8) == 50


def test_an_error_that_is_no_number_is_a_failure() -> None:
    errors = np.array([np.nan, 1.0, 20.0])
    assert metrics.failure_rate(errors, 8) == pytest.approx(200 / 3)
    assert metrics.ced(errors, np.array([0.5, 8, np.inf])) == pytest.approx([0, 1 / 3, 2 / 3])
    assert metrics.auc(errors, 8) == pytest.approx((1 - 1 / 8) / 3)


@pytest.mark.parametrize("normalizer", SIZES)
def test_rates_are_named_for_the_thresholds_of_their_face_size(normalizer: str) -> None:
    thresholds = metrics.thresholds(ibug68(), normalizer)
    errors = np.array([0.0, *thresholds, 50.0])
    found = metrics.rates(errors, thresholds)
    assert list(found) == [*(f"fr{one:g}" for one in thresholds), f"auc{thresholds[0]}"]
    for name, rate in found.items():
        measured = metrics.failure_rate if name.startswith("fr") else metrics.auc
        assert rate == measured(errors, float(name.lstrip("fauocr")))


def test_a_face_that_fails_by_one_size_fails_by_the_others_at_about_the_same_error() -> None:
    sizes = {"outer_eye": 1, "inter_pupil": 1.39, "box_side": 0.605, "box_diagonal": 0.4275}  # medians of 300-W
    by_outer_eye = {name: metrics.thresholds(ibug68(), name)[0] / size for name, size in sizes.items()}
    assert all(7 < threshold < 12 for threshold in by_outer_eye.values())


@given(ERRORS)
def test_auc_is_the_area_under_the_ced(errors: np.ndarray) -> None:
    thresholds = np.linspace(0, 8, 80_001)
    area = np.trapezoid(metrics.ced(errors, thresholds), thresholds) / 8
    assert metrics.auc(errors, 8) == pytest.approx(area, abs=1e-3)


@given(ERRORS)
def test_ced_rises_from_share_of_zeros_to_one(errors: np.ndarray) -> None:
    curve = metrics.ced(errors, np.linspace(0, 30, 50))
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == 1
