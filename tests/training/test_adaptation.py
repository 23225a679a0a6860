import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toy
from facemix.config import Adaptation
from facemix.faces.schemes import ibug68
from facemix.training import adaptation
from facemix.training.adaptation import LabelAdapter

SETTINGS = Adaptation(hidden=32, epochs=40, batch_size=16, learning_rate=3e-3, weight_decay=0.01)


def shapes(n: int, seed: int) -> np.ndarray:
    """Faces (n, 68, 2) in pixels: scaled, moved, a little deformed."""
    rng = np.random.default_rng(seed)
    deformed = toy.template() + rng.normal(0, 0.02, (n, 68, 2))
    return (deformed * rng.uniform(40, 80, (n, 1, 1)) + rng.uniform(0, 300, (n, 1, 2))).astype(np.float32)


def widen(points: np.ndarray) -> np.ndarray:
    """The other labelling convention: a jaw a tenth further from the nose."""
    out = points.copy()
    jaw = list(ibug68().regions["jaw"])
    out[:, jaw] = points[:, 30:31] + 1.1 * (points[:, jaw] - points[:, 30:31])
    return out


def error(points: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(points - truth, axis=-1).mean())


def random_adapter() -> LabelAdapter:
    adapter = LabelAdapter(ibug68(), ibug68(), 16)
    torch.nn.init.normal_(adapter.leave.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    return adapter


def test_a_new_adapter_changes_nothing() -> None:
    points = shapes(4, 0)
    np.testing.assert_allclose(adaptation.adapt(LabelAdapter(ibug68(), ibug68(), 8), points), points, atol=1e-3)


@given(st.floats(0.2, 5), st.floats(-500, 500))
def test_adapting_commutes_with_scale_and_shift(scale: float, shift: float) -> None:
    adapter, points = random_adapter(), shapes(3, 1)
    moved = adaptation.adapt(adapter, points * scale + shift)
    np.testing.assert_allclose(moved, adaptation.adapt(adapter, points) * scale + shift, atol=2e-2 * scale)


def test_a_known_label_gap_is_recovered() -> None:
    train, val = shapes(200, 2), shapes(50, 3)

    def validate(adapter: LabelAdapter) -> float:
        return error(adaptation.adapt(adapter, val), widen(val))

    fitted = adaptation.fit(
        train, widen(train), source=ibug68(), target=ibug68(), settings=SETTINGS, seed=0, validate=validate
    )
    assert validate(fitted.adapter) < 0.2 * error(val, widen(val))
    gap = adaptation.label_gap(fitted.adapter, val)
    unit, _, _ = adaptation.normalize(val)
    _, centre, side = adaptation.normalize(val)
    expected = 100 * ((widen(val) - centre) / side - unit).mean(axis=0)
    np.testing.assert_allclose(gap, expected, atol=0.5)  # % of the box's side; the jaw's own shift is up to 6


def test_the_best_epoch_by_validation_is_kept() -> None:
    train = shapes(50, 4)
    calls = iter([5.0, 4.0, 1.0, 3.0, 2.0])
    settings = Adaptation(hidden=8, epochs=4, batch_size=16, learning_rate=1e-3, weight_decay=0.0)
    fitted = adaptation.fit(
        train, widen(train), source=ibug68(), target=ibug68(), settings=settings, seed=0, validate=lambda _: next(calls)
    )
    assert fitted.best_epoch == 2
    assert [row["val_error"] for row in fitted.history] == [5, 4, 1, 3, 2]


@pytest.mark.parametrize(
    ("errors", "best"), [([np.nan, 2.0, 1.0, np.nan], 2), ([1.0, np.nan, 2.0, 3.0], 0), ([np.nan] * 4, 0)]
)
def test_an_epoch_without_a_number_is_never_kept_over_one_with(errors: list[float], best: int) -> None:
    train, calls = shapes(20, 4), iter(errors)
    settings = dataclasses.replace(SETTINGS, epochs=3)
    fitted = adaptation.fit(
        train, widen(train), source=ibug68(), target=ibug68(), settings=settings, seed=0, validate=lambda _: next(calls)
    )
    assert fitted.best_epoch == best


def test_a_mirrored_face_has_its_points_renamed() -> None:
    unit, _, _ = adaptation.normalize(shapes(3, 8))
    mirrored = adaptation.mirrored(torch.from_numpy(unit), ibug68()).numpy()
    np.testing.assert_allclose(mirrored, ibug68().mirrored(unit, 1))  # of a picture of one pixel: around 0
    np.testing.assert_allclose(mirrored[:, 36], unit[:, 45] * [-1, 1])


def test_where_nothing_helps_the_identity_is_kept() -> None:
    train = shapes(50, 5)
    calls = iter(range(1, 100))
    fitted = adaptation.fit(
        train, train, source=ibug68(), target=ibug68(), settings=SETTINGS, seed=0, validate=lambda _: float(next(calls))
    )
    assert fitted.best_epoch == 0
    np.testing.assert_allclose(adaptation.adapt(fitted.adapter, train), train, atol=1e-3)


def test_the_same_seed_fits_the_same_adapter() -> None:
    train = shapes(60, 6)
    one, other = (
        adaptation.fit(
            train,
            widen(train),
            source=ibug68(),
            target=ibug68(),
            settings=SETTINGS,
            seed=7,
            validate=lambda a: float(a.leave.weight.detach().std()),
        )
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one.adapter.parameters(), other.adapter.parameters(), strict=True))


def test_no_pairs_and_no_points() -> None:
    nothing = np.zeros((0, 68, 2), dtype=np.float32)
    assert adaptation.adapt(LabelAdapter(ibug68(), ibug68(), 4), nothing).shape == (0, 68, 2)
    with pytest.raises(ValueError, match="needs real training faces, found none; raise n_real"):
        adaptation.fit(
            nothing, nothing, source=ibug68(), target=ibug68(), settings=SETTINGS, seed=0, validate=lambda _: 0.0
        )


def test_faces_are_adapted_alike_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, points = random_adapter(), shapes(7, 8)
    points[2, 30] = np.nan
    whole = adaptation.adapt(adapter, points)
    monkeypatch.setattr(adaptation, "_AT_ONCE", 3)
    room = np.full((7, 68, 3), 5, np.float32)
    found = adaptation.adapt(adapter, points, out=room[..., :2])
    np.testing.assert_allclose(found, whole, atol=1e-3)
    assert np.shares_memory(found, room) and (room[..., 2] == 5).all()


def test_an_unlabelled_point_stays_one_and_spoils_no_other() -> None:
    train = shapes(60, 6)
    fitted = adaptation.fit(
        train,
        widen(train),
        source=ibug68(),
        target=ibug68(),
        settings=SETTINGS,
        seed=0,
        validate=lambda a: -float(a.leave.weight.detach().std()),
    )
    partly = train.copy()
    partly[3, 30] = np.nan  # the tip of the nose, which makes no box
    whole, found = adaptation.adapt(fitted.adapter, train), adaptation.adapt(fitted.adapter, partly)
    assert np.isnan(found[3, 30]).all() and np.isnan(found).sum() == 2
    np.testing.assert_array_equal(np.delete(found, 3, axis=0), np.delete(whole, 3, axis=0))
    rest = np.delete(np.arange(68), 30)
    np.testing.assert_allclose(found[3, rest], whole[3, rest], atol=0.05 * np.ptp(train[3]))
