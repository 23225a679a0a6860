"""Colour: laws of light and of pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.render.camera import Camera, toned
from facemix.render.colour import LUMA, blackbody, cast, to_linear, to_srgb
from facemix.render.lens import WET, Eyeball, glistening


@given(st.floats(0, 1))
def test_light_and_values_are_inverses(value: float) -> None:
    assert to_srgb(to_linear(np.array(value))) == pytest.approx(value, abs=1e-6)


def test_srgb_is_that_of_the_standard() -> None:
    np.testing.assert_allclose(to_linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.2140411, 1], atol=1e-6)


def test_glowing_bodies_are_redder_the_colder_they_are() -> None:
    ratios = [np.divide(*blackbody(1e6 / kelvin)[[0, 2]]) for kelvin in (2500, 3500, 5000, 6500, 9000)]
    assert ratios == sorted(ratios, reverse=True)
    np.testing.assert_allclose(blackbody(1e6 / 6500), 1, atol=0.07)  # close to the white of sRGB


@given(st.floats(-60, 60), st.floats(-0.1, 0.1))
def test_a_cast_changes_colour_and_not_brightness(warmer: float, greener: float) -> None:
    factors = cast(warmer, greener)
    assert (factors > 0).all()
    assert factors @ LUMA == pytest.approx(1, abs=1e-6)


def test_no_cast_is_white() -> None:
    np.testing.assert_allclose(cast(0, 0), 1, atol=1e-6)


COLOURS = st.tuples(*[st.floats(0.01, 4)] * 3)


@given(COLOURS, st.floats(0, 1.5))
def test_the_tone_curve_keeps_the_hue(colour: tuple[float, ...], contrast: float) -> None:
    before = np.array(colour, np.float32)
    after = to_linear(toned(before[None, None], contrast, 1.0)[0, 0].astype(float))

    def without_grey(rgb: np.ndarray) -> np.ndarray:
        return rgb - rgb @ LUMA

    a, b = without_grey(before.astype(float)), without_grey(after)
    if np.linalg.norm(b) > 1e-3:
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


@given(COLOURS, st.floats(0, 1.5), st.floats(0, 2))
def test_pictures_hold_nothing_that_a_screen_cannot_show(
    colour: tuple[float, ...], contrast: float, saturation: float
) -> None:
    shown = toned(np.array(colour, np.float32)[None, None], contrast, saturation)
    assert np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1


def test_brighter_light_gives_a_brighter_picture() -> None:
    greys = np.linspace(0.01, 5, 60, dtype=np.float32)[None, :, None].repeat(3, 2)
    assert (np.diff(toned(greys, 1.0, 1.0)[0, :, 0]) >= 0).all()


def test_an_eye_mirrors_a_lamp_where_the_law_of_reflection_says() -> None:
    """A lamp far above behind the camera, at 60 degrees: the normal that mirrors it leans by half of that."""
    camera = Camera(np.array([0.0, 0, 100]), 1.4, 201)
    light = np.zeros((64, 128, 3), np.float32)
    row = int((90 - 60) / 180 * 64)
    light[row - 1 : row + 2, 62:66] = 100.0  # the middle column is behind the camera
    ball = Eyeball(np.zeros(3), np.array([0.0, -1, 0]), 1.0)  # looks down: no cornea in sight
    picture = glistening(np.zeros((201, 201, 3), np.float32), np.ones((201, 201), bool), [ball], camera, light)
    y, x = np.unravel_index(picture[..., 0].argmax(), (201, 201))
    scale = camera.focal_length / 100
    assert 100 - y == pytest.approx(np.sin(np.radians(30)) * scale, abs=3.5)
    assert x == pytest.approx(100, abs=3.5)
    assert picture.max() == pytest.approx(100 * WET, rel=0.1)
