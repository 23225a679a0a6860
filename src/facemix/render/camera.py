"""The camera: where it stands, what falls where in the picture, and how light becomes a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.colour import LUMA, to_linear, to_srgb
from facemix.render.person import Person
from facemix.render.surfaces import Array, smoothstep

Image = NDArray[np.floating[Any]]
BURNT = 1.1  # light above this loses its colour and form
WHITE, GAIN = 3.0, 1.25  # light that becomes white; what the curve is scaled by
HARSH = 0.25  # share of pictures whose brightest part may burn, up to e times


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along -z from `position` (3,); angles in degrees, pictures of `size` x `size`."""

    position: Array
    field_of_view: float
    size: int

    @property
    def focal_length(self) -> float:
        """Pixels."""
        return self.size / 2 / float(np.tan(np.radians(self.field_of_view / 2)))

    def pixels(self, points: Array) -> Array:
        """Where points (n, 3) fall, (n, 2), 0-based pixel centres."""
        ray = points - self.position
        scale = self.focal_length / -ray[:, 2]
        return np.stack([ray[:, 0] * scale, -ray[:, 1] * scale], 1) + (self.size - 1) / 2

    def depth(self, points: Array) -> Array:
        """Distance (n,) of points (n, 3) from the camera, decimetres."""
        distance: Array = np.linalg.norm(points - self.position, axis=-1)
        return distance


def framed(landmarks: Array, person: Person, size: int) -> Camera:
    """Sets up the camera at the person's distance, with a lens that gives the box around the landmarks (68, 3) the
    person's share of the picture."""
    low, high = landmarks.min(0), landmarks.max(0)
    middle, extent = (low + high) / 2, float((high - low)[:2].max())
    side = extent / person.face_share  # decimetres of what the picture shows at the face
    distance = 10 * person.distance
    aim = middle + side * np.array([person.shift_x, person.shift_y, 0])
    aim[1] += 0.1 * extent  # there is more head above the brows than below the chin
    return Camera(aim + [0, 0, distance], float(np.degrees(2 * np.arctan(side / 2 / distance))), size)


def scattered(radiance: Image, albedo: Image, skin: Image, pixels_per_decimetre: float) -> Image:
    """Light that enters the skin and leaves it elsewhere: blurs what falls on it, red furthest.

    After Jimenez et al., Screen-Space Perceptual Rendering of Human Skin (2009): the light (radiance over albedo) is
    blurred within the skin, for each colour by its own mean free path.

    Args:
        radiance: (rows, columns, 3), linear.
        albedo: (rows, columns, 3).
        skin: share of skin (rows, columns), 0 to 1.
        pixels_per_decimetre: scale of the face in the picture.
    """
    albedo = np.maximum(albedo, 0.02)
    light = radiance / albedo
    spread = light.copy()
    for channel, length in enumerate((0.030, 0.012, 0.007)):  # decimetres
        sigma = length * pixels_per_decimetre
        if sigma < 0.25:
            continue
        weight = cv2.GaussianBlur(skin, (0, 0), sigma) + 1e-4
        spread[..., channel] = cv2.GaussianBlur(light[..., channel] * skin, (0, 0), sigma) / weight
    # Only where the whole surrounding is skin: at edges the albedo may be of what lies behind.
    share = (0.65 * cv2.erode(skin, np.ones((3, 3), np.uint8)))[..., None]
    return light * albedo * (1 - share) + spread * albedo * share


def exposed(radiance: Image, skin: NDArray[np.bool_], person: Person, tone: float) -> Image:
    """Linear light (size, size, 3) scaled so that the skin is as bright as in a photograph, and not burnt.

    Args:
        radiance: (size, size, 3).
        skin: the pixels (size, size) by which the exposure is set.
        person: holds what was drawn for the camera.
        tone: brightness of the skin, 0 to 1: dark skin is meant to come out darker.
    """
    light = np.maximum(radiance[skin] if skin.any() else radiance.reshape(-1, 3), 1e-3).mean(1)
    typical, bright = float(np.exp(np.log(light).mean())), float(np.percentile(light, 92))
    target = 0.2 * (tone / 0.35) ** 0.5 * person.exposure
    rng = person.rng("exposure")
    burnt = BURNT * float(np.exp(rng.random() * (rng.random() < HARSH)))
    return radiance * np.float32(min(target / typical, burnt / bright))


def toned(radiance: Image, contrast: float, saturation: float) -> Image:
    """Values of a picture (rows, columns, 3), 0 to 1, of linear light: the tone curve moves brightness, not hue.

    Args:
        radiance: (rows, columns, 3), linear.
        contrast: 0 leaves Reinhard's curve as it is, 1 bends it as cameras do.
        saturation: of the colours, 1 as they are.
    """
    luma = np.maximum(radiance @ LUMA, 1e-6)[..., None]
    rolled = luma * (1 + luma / WHITE**2) / (1 + luma)  # Reinhard's curve: highlights roll off
    grey = to_srgb(np.clip(GAIN * rolled, 0, 1))
    grey = np.clip((1 - contrast) * grey + contrast * smoothstep(grey, 0, 1), 0, 1)
    bright = to_linear(grey)
    coloured = bright * (1 + saturation * (radiance / luma - 1))
    # A colour that a screen cannot show loses saturation until it can.
    over, under = coloured.max(-1, keepdims=True) - bright, bright - coloured.min(-1, keepdims=True)
    share = np.minimum(np.minimum((1 - bright) / np.maximum(over, 1e-6), bright / np.maximum(under, 1e-6)), 1)
    shown: Image = to_srgb(np.clip(bright + share * (coloured - bright), 0, 1)).astype(np.float32)
    return shown


def developed(radiance: Image, person: Person) -> NDArray[np.uint8]:
    """A photograph (size, size, 3) uint8 RGB of exposed light: white balance, tone curve, blur, noise, JPEG."""
    rng = person.rng("camera")
    size = radiance.shape[0]
    picture = toned(radiance * np.array(person.white_balance, np.float32), person.contrast, person.saturation)
    picture = np.repeat((picture @ LUMA)[..., None], 3, 2) if person.grey else picture
    if person.blur * size > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), person.blur * size)
    else:  # cameras sharpen
        picture = picture + rng.uniform(0, 0.8) * (picture - cv2.GaussianBlur(picture, (0, 0), 0.004 * size + 0.4))
    grain = rng.normal(0, person.noise, picture.shape)
    if rng.random() < 0.5:  # noise of a camera is coarser than a pixel after its own processing
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2
    encoded = np.round(np.clip(picture + grain, 0, 1) * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", encoded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, person.jpeg])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])
