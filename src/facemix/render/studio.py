"""The studio: puts a person before the camera and takes the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facemix.errors import FacemixError
from facemix.render import tables, visibility
from facemix.render.backends import choose_backend
from facemix.render.camera import Camera, developed, exposed, framed, scattered
from facemix.render.canvas import Canvas
from facemix.render.clothing import clothing
from facemix.render.eyes import eyes, pupil
from facemix.render.glasses import glasses
from facemix.render.hair import Groom, brows, hair
from facemix.render.hats import hat
from facemix.render.head import Head, Pose, Shape, posed_marks, rotation, shaped, texture_position
from facemix.render.labels import CONVENTIONS, Outline, annotator_labels, posed_points
from facemix.render.lens import Eyeball, Panes, glazed, glistening, panes
from facemix.render.light import background, environment
from facemix.render.materials import SHAPES
from facemix.render.mouth import mouth
from facemix.render.noise import Noise
from facemix.render.occluders import occluder
from facemix.render.person import Person, person
from facemix.render.population import Population
from facemix.render.scene import Image, Renderer, Rendering
from facemix.render.skin import skin, skin_tone
from facemix.render.surfaces import Array, Mesh, joined, unit
from facemix.render.tables import Table

SEGMENTS = ("background", "skin", "hair", "eyes", "mouth", "clothing", "accessory")
SEGMENT_OF = {
    "skin": "skin",
    "mouth_lining": "mouth",
    "mouth": "mouth",
    "eyes": "eyes",
    "hair": "hair",
    "brows": "hair",
    "clothing": "clothing",
    "accessories": "accessory",
    "hats": "accessory",
    "lenses": "accessory",
    "occluder": "accessory",
}
LINING = np.array([0.42, 0.13, 0.11])  # linear RGB


@dataclass(frozen=True)
class RenderedFace:
    """`image` (S, S, 3) uint8 RGB; `landmarks` (K, 2) float64, 0-based pixel centres; `segmentation` (S, S) uint8,
    places in SEGMENTS; `record` what was drawn, for faces.parquet."""

    image: NDArray[np.uint8]
    landmarks: Array
    segmentation: NDArray[np.uint8]
    record: dict[str, object]


@dataclass(frozen=True)
class Sitting:
    """A person who sits before the camera: geometry only, the same on every machine."""

    person: Person
    shape: Shape
    pose: Pose
    camera: Camera

    @cached_property
    def marks(self) -> Array:
        """The 68 marks (68, 3) of the posed head."""
        return posed_marks(self.shape, self.pose)


class Studio:
    """Everything that faces share: head, noise, hair's growth, and, when a picture is taken, the renderer.

    `table` places the points of the scheme that faces are labelled by.
    """

    def __init__(self, size: int, backend: str = "auto", table: Table | None = None) -> None:
        self.size, self.table = size, table or tables.ibug68()
        self.head, self.noise = Head(), Noise()
        self.groom, self.outline = Groom(self.head), Outline(self.head)
        self.canvas = Canvas(self.head, columns=max(96, 3 * size // 2))
        self.renderer = Renderer(choose_backend(backend)[0], self.canvas.shape, size)
        surface = self.head.parts["skin"]
        lining = self.head.inside_mouth[surface.triangles].all(1)
        self._outer, self._lining = surface.triangles[~lining], surface.triangles[lining]
        self._skin_uv = texture_position(surface.uv)

    def shoot(
        self, population: Population, seed: int, index: int, labels: str, lap: Callable[[str], None] = lambda _: None
    ) -> RenderedFace:
        """Takes picture `index`: a pure function of its arguments and the backend.

        Args:
            population: whom to draw from.
            seed: of the set.
            index: of the face in it.
            labels: one of CONVENTIONS.
            lap: told the name of each stage when it ends.
        """
        return self.photograph(sit(self.head, person(population, seed, index), self.size), labels, lap)

    def photograph(self, sitting: Sitting, labels: str, lap: Callable[[str], None] = lambda _: None) -> RenderedFace:
        """Takes the picture of one person; arguments as of `shoot`."""
        person_, camera = sitting.person, sitting.camera
        rendering, lenses, light = self._rendered(sitting, lap)
        glass = panes(lenses, camera, rendering.depth)
        rendering = _behind_dark_glass(rendering, glass)
        points = landmarks(sitting, labels, self.outline, self.table)
        radiance = self._exposed(rendering, sitting)
        radiance = radiance + (1 - rendering.cover[..., None]) * background(person_, self.size, self.noise)
        image = developed(glazed(radiance, glass, camera, light), person_)
        seen = visibility.seen(rendering, person_, sitting.shape, sitting.pose, camera)
        record = _record(person_, camera) | {
            "visible": self.table.visible(seen),
            "seen": visibility.packed(seen),
        }
        lap("develop")
        return RenderedFace(image, points, _segmentation(rendering), record)

    def cut_out(self, sitting: Sitting) -> Image:
        """The person alone, (S, S, 4): linear RGB times the share of each pixel that they cover, and that share."""
        rendering, _, _ = self._rendered(sitting, lambda _: None)
        return np.dstack([self._exposed(rendering, sitting), rendering.cover])

    def _rendered(self, sitting: Sitting, lap: Callable[[str], None]) -> tuple[Rendering, Mesh, Image]:
        """What the renderer gives, the lenses, posed, and the light around."""
        lap("head")
        painted = skin(sitting.person, sitting.shape, self.canvas, self.noise)
        lap("skin")
        meshes = self._meshes(sitting, lap)
        light = environment(sitting.person, self.noise)
        lap("light")
        rendering = self.renderer.render(meshes, painted, light, sitting.camera, seed=sitting.person.index)
        on_eyes = rendering.shape == 1 + SHAPES.index("eyes")
        radiance = glistening(rendering.radiance, on_eyes, _eyeballs(sitting), sitting.camera, light)
        lap("render")
        return replace(rendering, radiance=radiance), meshes["lenses"], light

    def _meshes(self, sitting: Sitting, lap: Callable[[str], None]) -> dict[str, Mesh]:
        """All that stands before the camera, posed, one mesh a material."""
        person_, shape, pose = sitting.person, sitting.shape, sitting.pose
        view = rotation(pose.yaw, pose.pitch, pose.roll).T @ np.array([0.0, 0, 1])
        detail = self.size / 256
        points, normals = shape.skin
        rest, _ = self.head.skin_rest
        meshes = {
            "skin": Mesh(points, normals, self._outer, rest, uv=self._skin_uv),
            "mouth_lining": Mesh(points, normals, self._lining, rest, np.tile(LINING, (len(points), 1))),
            "eyes": joined(eyes(person_, shape)),
            "mouth": joined(mouth(person_, shape)),
        }
        lap("eyes and teeth")
        meshes["hair"] = joined(hair(person_, shape, self.groom, view, detail))
        meshes["brows"] = joined(brows(person_, shape, self.groom, view, detail))
        lap("hair")
        meshes["clothing"] = joined(clothing(person_, shape, self.noise))
        frames, lenses = glasses(person_, shape)
        meshes["accessories"], meshes["lenses"] = joined(frames), joined(lenses)
        meshes["hats"] = joined(hat(person_, shape))
        meshes["occluder"] = joined(occluder(person_, shape, view))
        lap("clothing")
        return {name: _posed(meshes[name], pose) for name in SHAPES}

    def _exposed(self, rendering: Rendering, sitting: Sitting) -> Image:
        """Linear RGB (S, S, 3) of what was rendered, as the camera takes it: black where nothing is."""
        camera, points = sitting.camera, sitting.camera.pixels(sitting.marks)
        face_depth = float(camera.depth(sitting.marks).mean())
        on_skin = rendering.shape == 1 + SHAPES.index("skin")
        scale = camera.focal_length / face_depth
        radiance = scattered(rendering.radiance, rendering.albedo, on_skin.astype(np.float32), scale)
        rows, columns = np.mgrid[: self.size, : self.size]
        low, high = points.min(0), points.max(0)
        on_skin &= (rows > low[1]) & (rows < high[1]) & (columns > low[0]) & (columns < high[0])
        return exposed(radiance, on_skin, sitting.person, float(skin_tone(sitting.person.melanin).mean()))


def sit(head: Head, person_: Person, size: int) -> Sitting:
    """Shapes and poses a person's head, and sets up the camera."""
    shape = shaped(head, person_.identity, person_.expression)
    pose = Pose(person_.yaw, person_.pitch, person_.roll, person_.torso_yaw)
    return Sitting(person_, shape, pose, framed(posed_marks(shape, pose), person_, size))


def landmarks(sitting: Sitting, labels: str, outline: Outline, table: Table | None = None) -> Array:
    """A table's points (K, 2), pixels, by a convention of CONVENTIONS; by default the 68 points of ibug68.

    Raises:
        FacemixError: no such convention, or none of this scheme.
    """
    table = table or tables.ibug68()
    if labels == "mesh":
        return sitting.camera.pixels(posed_points(table, sitting.person, sitting.shape, sitting.pose))
    annotated = table.scheme.name == tables.ANNOTATED
    if labels in CONVENTIONS and annotated:
        steady = labels == "steady"
        return annotator_labels(sitting.person, sitting.shape, sitting.pose, sitting.camera, outline, steady)
    known = CONVENTIONS if annotated else CONVENTIONS[:1]
    raise FacemixError(f"labels {labels!r}: expected one of {', '.join(known)} for scheme {table.scheme.name}")


def _eyeballs(sitting: Sitting) -> list[Eyeball]:
    """Both eyeballs as they are posed."""
    balls = []
    for side in ("left", "right"):
        looks_at, centre = pupil(sitting.person, sitting.shape, side)
        seen, middle = sitting.pose.applied(np.array([looks_at, centre]), np.array([centre, centre]))
        balls.append(Eyeball(middle, unit(seen - middle), sitting.shape.eye(side[0])[1]))
    return balls


def labeller(size: int, table: Table) -> Callable[[Population, int, int, str], Array]:
    """A function that gives the points (K, 2) of a face whose picture is there; arguments as of `Studio.shoot`."""
    head = Head()
    outline = Outline(head)
    return lambda population, seed, index, labels: landmarks(
        sit(head, person(population, seed, index), size), labels, outline, table
    )


def _posed(mesh: Mesh, pose: Pose) -> Mesh:
    points, normals = pose.applied(mesh.points, mesh.rest), pose.turned(mesh.normals, mesh.rest)
    return Mesh(points, normals, mesh.triangles, mesh.rest, mesh.colours, mesh.uv)


def _behind_dark_glass(rendering: Rendering, glass: Panes) -> Rendering:
    """What is behind dark lenses cannot be seen; behind clear ones it can."""
    shape = np.where(glass.dark, 1 + SHAPES.index("lenses"), rendering.shape).astype(np.uint8)
    return replace(rendering, shape=shape, depth=np.where(glass.dark, glass.distance, rendering.depth))


def _segmentation(rendering: Rendering) -> NDArray[np.uint8]:
    classes = np.array([0] + [SEGMENTS.index(SEGMENT_OF[name]) for name in SHAPES], np.uint8)
    return classes[rendering.shape]


def _record(person_: Person, camera: Camera) -> dict[str, object]:
    """The row of faces.parquet: what was drawn; the weights of morph targets as JSON."""
    record = asdict(person_)
    record["identity"] = json.dumps({name: round(weight, 4) for name, weight in person_.identity.items()})
    record["expression"] = json.dumps({name: round(weight, 4) for name, weight in person_.expression.items()})
    for key in ("ancestry", "white_balance"):
        record[key] = list(record[key])
    return record | {"field_of_view": camera.field_of_view}
