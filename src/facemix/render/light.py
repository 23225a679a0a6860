"""Light around the head, and what is seen behind it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.render.colour import DAYLIGHT, blackbody, cast, to_linear
from facemix.render.noise import Noise
from facemix.render.person import Person
from facemix.render.scene import LIGHT_SHAPE

Image = NDArray[np.floating[Any]]
STOPS = 16.0  # the panoramas' files hold log2(1 + 32 radiance / mean) / STOPS
ROWS, COLUMNS = LIGHT_SHAPE
BELOW = (0.1, 0.7)  # share of the light from straight below that gets past the body, or comes off a white shirt
ADAPTED = 0.75  # share of the light's colour that cameras take out by themselves
WARMTH, TINT = 25.0, 0.02  # of what colour is left: standard deviation, mired and the logarithm of green
LAMP_WARMTH = 20.0  # mired by which lamps of one studio differ
FILL = (-3.2, 0.0)  # logarithm of the light from everywhere beside lamps or the sun: least and most
ASIDE, AHEAD = 0.45, (0.2, 0.3)  # logarithm of how much more light comes from one side, and from the front
PAINT_WARMTH, PAINT_TINT = 50.0, 0.04  # of walls and things, as WARMTH and TINT
VIVID_SHARE, VIVID = 0.2, 0.4  # share of those with a colour of their own; deviation of its logarithm
PEOPLE = 0.6  # share of clutter with other people in it
BYSTANDER = 0.22  # width of a bystander's head / side of the picture of them


@cache
def panorama(name: str) -> Image:
    """Radiance (256, 512, 3) of a photographed place, of mean 1; rows from the zenith down."""
    data = (files("facemix.render") / "data" / "lights" / f"{name}.jpg").read_bytes()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    log = image[..., ::-1].astype(np.float32) / 255
    radiance: Image = (np.exp2(STOPS * log) - 1) / 32
    return radiance / radiance.mean()


def environment(person: Person, noise: Noise) -> Image:
    """Light from all sides: radiance (ROWS, COLUMNS, 3) of mean 1. The camera looks from the middle column's side."""
    rng = person.rng("light")
    fill = float(np.exp(rng.uniform(*FILL)))
    if person.light == "panorama":
        light = np.roll(panorama(person.panorama), int(person.light_yaw / 360 * 512), 1)
        light = cv2.resize(np.minimum(light, 150), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
        light = light + rng.uniform(0.02, 0.15)  # from everywhere, else some faces are half black
        light = light + rng.uniform(0, 0.5) * _lamp(rng.normal(0, 30), rng.uniform(10, 55), 35, 1.0)
    elif person.light == "sun":
        height = np.linspace(1, -1, ROWS)[:, None, None]
        light = fill * np.where(height > 0, 1 + 0.8 * np.array([0.75, 0.95, 1.3]), 0.7) * np.ones((ROWS, COLUMNS, 3))
        light = light + _lamp(rng.uniform(-110, 110), rng.uniform(15, 70), 4, rng.uniform(40, 160)) * np.array(
            [1.05, 1, 0.9]
        )
    elif person.light == "flash":
        light = 0.4 * cv2.resize(
            np.minimum(panorama(person.panorama), 20), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA
        )
        light = light + _lamp(rng.normal(0, 12), rng.uniform(-5, 30), rng.uniform(4, 12), np.exp(rng.uniform(2, 4)))
    else:
        light = np.full((ROWS, COLUMNS, 3), 0.6 * fill) * (
            1 + 0.4 * noise.cloud(rng, (ROWS, COLUMNS), 16)[..., None]
        ).clip(0.2)
        for _ in range(rng.integers(1, 4)):
            colour = blackbody(DAYLIGHT + rng.normal(0, LAMP_WARMTH))
            light = light + colour * _lamp(
                rng.uniform(-130, 130), rng.uniform(0, 70), rng.uniform(8, 25), rng.uniform(3, 20)
            )
    light = light * _adapted(person, light) * _above_the_body(rng.uniform(*BELOW))
    light = light * _uneven(rng.normal(0, ASIDE), rng.normal(*AHEAD))
    return (light / light.mean()).astype(np.float32)


def _adapted(person: Person, light: Image) -> Image:
    """Factors (3,) that take most of the colour out of light (rows, columns, 3): cameras go by what lights a face."""
    warmer, greener = person.rng("light colour").normal(0, [WARMTH, TINT])
    mean = (light * _on_a_face(light.shape[:2])).sum((0, 1))
    return cast(warmer, greener) / (mean / mean.mean()) ** ADAPTED


@cache
def _on_a_face(shape: tuple[int, int]) -> Image:
    """How much the parts of a panorama (rows, columns, 1) add to the light on a face that looks at the camera."""
    rows, columns = shape
    longitude = np.radians((np.arange(columns) + 0.5) / columns * 360 - 180)[None, :]
    latitude = np.radians(90 - (np.arange(rows) + 0.5) / rows * 180)[:, None]
    share: Image = (np.maximum(np.cos(longitude), 0) * np.cos(latitude) ** 2 + 0.1 * np.cos(latitude))[..., None]
    return share


def _uneven(aside: float, ahead: float) -> Image:
    """What walls, windows and photographers do to light: factors (ROWS, COLUMNS, 1) towards the right and the front."""
    lon = np.radians((np.arange(COLUMNS) + 0.5) / COLUMNS * 360 - 180)[None, :]
    level = np.cos(np.radians(90 - (np.arange(ROWS) + 0.5) / ROWS * 180))[:, None]
    factors: Image = np.exp(level * (aside * np.sin(lon) + ahead * np.cos(lon)))[..., None]
    return factors


def _above_the_body(below: float) -> Image:
    """Share of the light that comes past the body, (ROWS, 1, 1): the chest keeps off all but `below` from below."""
    height = np.linspace(90, -90, ROWS)
    return (below + (1 - below) / (1 + np.exp(-(height + 5) / 6)))[:, None, None]


def _lamp(yaw: float, height: float, radius: float, radiance: float) -> Image:
    """One round lamp with a soft edge, (ROWS, COLUMNS, 1); degrees, yaw 0 is behind the camera."""
    lon = np.radians((np.arange(COLUMNS) + 0.5) / COLUMNS * 360 - 180 - yaw)[None, :]
    lat = np.radians(90 - (np.arange(ROWS) + 0.5) / ROWS * 180)[:, None]
    up = np.radians(height)
    angle = np.degrees(np.arccos(np.clip(np.sin(lat) * np.sin(up) + np.cos(lat) * np.cos(up) * np.cos(lon), -1, 1)))
    lamp: Image = (radiance / (1 + np.exp((angle - radius) / 1.2)))[..., None]
    return lamp


def background(person: Person, size: int, noise: Noise) -> Image:
    """What is seen behind the head: linear RGB (size, size, 3), about as bright as the face."""
    rng = person.rng("background")
    if person.background == "panorama":
        place = panorama(person.panorama)
        behind = 180 - person.light_yaw if person.light == "panorama" else 180.0  # where the light of it comes from
        picture: Image = _view(place, behind, rng.uniform(-12, 25), rng.uniform(35, 80), size) * _adapted(person, place)
        blur = rng.uniform(0, 0.02)
    elif person.background == "wall":
        colour = rng.uniform(0.02, 0.9) * _paint(rng)
        slope = (
            1
            + rng.uniform(-0.5, 0.5) * np.linspace(-1, 1, size)[:, None]
            + rng.uniform(-0.5, 0.5) * np.linspace(-1, 1, size)
        )
        picture = colour * (slope * (1 + rng.uniform(0, 0.2) * noise.cloud(rng, (size, size), size / 12)))[
            ..., None
        ].clip(0.05)
        blur = 0.0
    else:
        picture, blur = _clutter(rng, size, noise), rng.uniform(0.004, 0.02)
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur * size) if blur * size > 0.3 else picture
    if person.background != "panorama":
        picture = picture * _adapted(person, np.ones((1, 1, 3)))
    brightness = np.exp(rng.normal(-1.8, 0.9)) / max(float(np.median(picture)), 1e-3)
    return (picture * brightness).astype(np.float32)


def _view(sphere: Image, yaw: float, height: float, field: float, size: int) -> Image:
    """A perspective view (size, size, 3) into a panorama; angles and field of view in degrees."""
    across = np.tan(np.radians(field / 2)) * (2 * (np.arange(size) + 0.5) / size - 1)
    x, y = np.meshgrid(across, -across)
    up = np.radians(height)
    forward, rise = np.cos(up) - y * np.sin(up), np.sin(up) + y * np.cos(up)
    longitude = np.arctan2(x, forward) + np.radians(yaw)
    latitude = np.arctan2(rise, np.hypot(x, forward))
    rows, columns = sphere.shape[:2]
    u = np.mod(longitude / (2 * np.pi) + 0.5, 1) * columns - 0.5
    v = (0.5 - latitude / np.pi) * rows - 0.5
    return cv2.remap(sphere, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _paint(rng: np.random.Generator) -> NDArray[np.float64]:
    """The colour (3,) of a wall or a thing: mostly a warm or a cool grey."""
    grey = cast(*rng.normal(0, [PAINT_WARMTH, PAINT_TINT]))
    return grey * np.exp(rng.normal(0, VIVID, 3)) if rng.random() < VIVID_SHARE else grey


def _clutter(rng: np.random.Generator, size: int, noise: Noise) -> Image:
    """Patches, bars and discs of many colours: a room, a crowd or a shelf, out of focus."""
    picture = np.full((size, size, 3), rng.uniform(0.05, 0.5) * _paint(rng), np.float32)
    for _ in range(rng.integers(6, 40)):
        colour = (np.exp(rng.normal(-1.6, 0.9)) * _paint(rng)).tolist()
        x, y = rng.uniform(-0.2, 1.2, 2) * size
        extent = np.exp(rng.normal(-1.8, 0.7, 2)) * size
        box = cv2.boxPoints(((x, y), tuple(extent.tolist()), rng.choice([0, 90, rng.uniform(0, 180)]))).astype(np.int32)
        if rng.random() < 0.85:
            cv2.fillConvexPoly(picture, box, colour, cv2.LINE_AA)
        else:
            cv2.circle(picture, (int(x), int(y)), int(extent.min()), colour, -1, cv2.LINE_AA)
    picture = (picture * (1 + 0.12 * noise.cloud(rng, (size, size), size / 16)[..., None])).clip(0.002)
    return _with_people(picture, rng) if rng.random() < PEOPLE else picture


@cache
def bystanders() -> list[Image]:
    """People before nothing, (s, s, 4) float32: linear RGB times cover, and cover; the generator's own renders."""
    people = []
    for file in sorted((files("facemix.render") / "data" / "bystanders").iterdir(), key=lambda file: file.name):
        image = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        cover = image[..., 3:].astype(np.float32) / 255
        people.append(np.dstack([to_linear(image[..., 2::-1].astype(np.float32) / 255) * cover, cover]))
    return people


def _with_people(picture: Image, rng: np.random.Generator) -> Image:
    """Linear RGB (size, size, 3) with one to three people in it, who stand beside or behind."""
    size = len(picture)
    for _ in range(rng.integers(1, 4)):
        person = bystanders()[rng.integers(len(bystanders()))]
        side = len(person)
        x, y = size * (0.5 + rng.choice([-1, 1]) * rng.uniform(0.2, 0.6)), size * rng.uniform(0.2, 0.6)
        scale = size * rng.uniform(0.1, 0.22) / (BYSTANDER * side / 2)
        move = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 6), scale)
        move[:, 2] += np.array([x, y]) - side / 2
        if rng.random() < 0.5:
            person = person[:, ::-1]
        placed = cv2.warpAffine(person, move, (size, size), borderMode=cv2.BORDER_REPLICATE)
        colour = rng.uniform(0.5, 1.2) * np.exp(rng.normal(0, 0.1, 3)).astype(np.float32)
        picture = picture * (1 - placed[..., 3:]) + placed[..., :3] * colour
    return picture
