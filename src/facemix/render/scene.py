"""The scene: meshes of few surfaces under a panorama of light, and its picture, traced by Mitsuba 3 and denoised.

Its structure (which shapes, which surfaces) never changes from face to face: Mitsuba then compiles its kernel once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemix.render.backends import VARIANTS
from facemix.render.camera import Camera
from facemix.render.denoising import cut_out, denoised
from facemix.render.materials import MATERIALS, SHAPES, SURFACES, SkinTexture, surface
from facemix.render.surfaces import Mesh, joined
from facemix.render.tracing import SAMPLER, CompiledTracer, PlainTracer

Image = NDArray[np.floating[Any]]
NEAR = 0.01  # decimetres from the camera to where rays start, and depths count from
LIGHT_SHAPE = (64, 128)  # of the panorama
# Mitsuba has Embree build its best tree, which splits triangles: 3 microseconds each. The robust one is not split.
CPU_TREE = {"embree_use_robust_intersections": True}


@dataclass(frozen=True)
class Rendering:
    """What the renderer saw, each (S, S) or (S, S, 3).

    `radiance` and `albedo` are linear RGB; `cover` the share of the pixel that is not background; `shape` 0 where there
    is nothing, else 1 + the place in SHAPES; `depth` the distance from the camera, decimetres, 0 for nothing.
    """

    radiance: Image
    albedo: Image
    cover: Image
    shape: NDArray[np.uint8]
    depth: Image


@dataclass(frozen=True)
class Body:
    """All meshes of one surface in one.

    `buffers` are its flat arrays by the names that Mitsuba has for them; `kinds` (n,) the number in SHAPES of each mesh
    in it and `ends` (n,) how many triangles it and those before it have.
    """

    buffers: dict[str, NDArray[Any]]
    kinds: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def kind(self, triangles: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The number in SHAPES of the mesh that a triangle is part of; any shape."""
        return self.kinds[np.searchsorted(self.ends, triangles, "right")]


class Renderer:
    """Mitsuba in one variant. On a CPU on one thread: a process per core is faster than all cores on one face.

    One scene is kept and its values are changed: of a new one, Dr.Jit would compile the kernel again, for seconds.
    """

    def __init__(self, backend: str, texture: tuple[int, int], size: int) -> None:
        """Args: the backend, rows and columns of the skin's texture, side of the pictures in pixels."""
        import drjit
        import mitsuba as mi

        mi.set_variant(VARIANTS[backend])
        if backend != "cuda":
            drjit.set_thread_count(1)
        self._mi: Any = mi
        self._trace = PlainTracer(mi) if backend == "scalar" else CompiledTracer(mi, size)
        skin = SkinTexture(np.full((*texture, 3), 0.5, np.float32), np.zeros(texture, np.float32), 0.5)
        light = np.ones((*LIGHT_SHAPE, 3), np.float32)
        scene: dict[str, Any] = {"type": "scene"} if backend == "cuda" else {"type": "scene", **CPU_TREE}
        for name, body in _bodies(dict.fromkeys(MATERIALS, joined([])), skin).items():
            scene[name] = _shape(mi, body, mi.load_dict(surface(mi, name, skin)))
        scene["light"] = {"type": "envmap", "bitmap": mi.Bitmap(light), "scale": 1.0}
        scene["sensor"] = _sensor(mi, Camera(np.array([0.0, 0, 9]), 20.0, size))
        self._scene = mi.load_dict(scene)
        self._values = mi.traverse(self._scene)
        self._numbers = _numbers(mi, self._scene, backend)

    def render(
        self, meshes: Mapping[str, Mesh], skin: SkinTexture, light: Image, camera: Camera, seed: int
    ) -> Rendering:
        """Renders posed meshes, one per key of MATERIALS, under a panorama of light.

        Args:
            meshes: in the camera's space.
            skin: what the skin looks like.
            light: radiance (*LIGHT_SHAPE, 3).
            camera: where it is seen from.
            seed: of the samples.
        """
        bodies = _bodies(meshes, skin)
        self._change(bodies, skin, light, camera)
        seen = self._trace(self._scene, seed)
        radiance, cover = cut_out(denoised(seen.radiance, seen.albedo, seen.normal), seen.cover)
        shape = np.zeros(seen.shape.shape, np.uint8)
        for number, body in zip(self._numbers, bodies.values(), strict=True):
            here = seen.shape == number
            shape[here] = body.kind(seen.triangle[here])
        return Rendering(
            radiance=radiance,
            albedo=np.ascontiguousarray(seen.albedo, np.float32),
            cover=cover,
            shape=shape,
            depth=np.where(seen.depth > 0, seen.depth + NEAR, 0).astype(np.float32),
        )

    def _change(self, bodies: Mapping[str, Body], skin: SkinTexture, light: Image, camera: Camera) -> None:
        """Gives the scene other values."""
        mi, values = self._mi, self._values
        for name, body in bodies.items():
            for key, value in body.buffers.items():
                _put(mi, values, f"{name}.{key}", value)
        images = {
            "skin.bsdf.nested_bsdf.base_color.data": skin.colour,
            "skin.bsdf.nested_texture.data": skin.relief[..., None],
        }
        for key, image in images.items():
            _put(mi, values, key, np.ascontiguousarray(image, np.float32))
        values["sensor.x_fov"] = camera.field_of_view
        values["sensor.to_world"] = _to_world(mi, camera)
        values.update()
        # Last, as the panorama is as far away as the shapes reach: at once with them, as those of before did.
        around = np.arange(-1, light.shape[1] + 1) % light.shape[1]  # a column more on both sides, for interpolation
        _put(mi, values, "light.data", np.ascontiguousarray(light[:, around], np.float32))
        values.update()


def _put(mi: Any, values: Any, key: str, value: NDArray[Any]) -> None:
    """Sets an array of the scene; `values[key] = value` would first compare it with the old one, slowly."""
    held, kind, owner, _ = values.properties[key]
    mi.set_property(held, kind, type(mi.get_property(held, kind, owner))(value))
    values.set_dirty(key)


def _numbers(mi: Any, scene: Any, backend: str) -> list[int]:
    """The number of each body of a scene; compiled code numbers the shapes of all scenes of a process."""
    if backend == "scalar":
        return list(range(1, 1 + len(SURFACES)))
    import drjit

    reinterpreted: Any = drjit.reinterpret_array
    return [int(reinterpreted(mi.UInt32, mi.ShapePtr(shape))[0]) for shape in scene.shapes()]


def _bodies(meshes: Mapping[str, Mesh], skin: SkinTexture) -> dict[str, Body]:
    """The meshes by their surface, in the order of SURFACES."""
    return {
        name: _body({kind: meshes[kind] for kind, material in MATERIALS.items() if material.surface == name}, skin)
        for name in SURFACES
    }


def _body(meshes: Mapping[str, Mesh], skin: SkinTexture) -> Body:
    parts = [(mesh, MATERIALS[kind]) for kind, mesh in meshes.items()]
    starts = np.cumsum([0] + [len(mesh.points) for mesh, _ in parts])
    ends = np.cumsum([len(mesh.triangles) for mesh, _ in parts])
    roughness = [skin.roughness if material.surface == "skin" else material.roughness for _, material in parts]
    values: dict[str, list[Any]] = {
        "vertex_positions": [mesh.points for mesh, _ in parts],
        "vertex_normals": [mesh.normals for mesh, _ in parts],
        "vertex_roughness": [
            np.full(len(mesh.points), rough) for (mesh, _), rough in zip(parts, roughness, strict=True)
        ],
        "faces": [mesh.triangles + start for (mesh, _), start in zip(parts, starts, strict=False)],
    }
    if any(mesh.uv is not None for mesh, _ in parts):
        values["vertex_texcoords"] = [mesh.uv for mesh, _ in parts]
    else:
        values["vertex_color"] = [mesh.colours for mesh, _ in parts]
        values["vertex_clearcoat"] = [np.full(len(mesh.points), material.clearcoat) for mesh, material in parts]
    buffers = {
        key: np.concatenate(several, dtype=np.uint32 if key == "faces" else np.float32, casting="unsafe").ravel()
        for key, several in values.items()
    }
    kinds = np.array([1 + SHAPES.index(kind) for kind in meshes], np.uint8)
    return Body(buffers, kinds, ends)


def _shape(mi: Any, body: Body, material: Any) -> Any:
    buffers = body.buffers
    properties = mi.Properties()
    properties["material"] = material
    counts = len(buffers["vertex_roughness"]), len(buffers["faces"]) // 3
    has_uv = "vertex_texcoords" in buffers
    shape = mi.Mesh("mesh", *counts, has_vertex_normals=True, has_vertex_texcoords=has_uv, props=properties)
    for key, channels in (("vertex_color", 3), ("vertex_roughness", 1), ("vertex_clearcoat", 1)):
        if key in buffers:
            shape.add_attribute(key, channels, buffers[key])
    values = mi.traverse(shape)
    for key, value in buffers.items():
        values[key] = value
    values.update()
    return shape


def _to_world(mi: Any, camera: Camera) -> Any:
    position = camera.position
    return mi.ScalarTransform4f().look_at(
        origin=position.tolist(), target=(position - [0, 0, 1]).tolist(), up=[0, 1, 0]
    )


def _sensor(mi: Any, camera: Camera) -> dict[str, Any]:
    return {
        "type": "perspective",
        "fov": camera.field_of_view,
        "near_clip": NEAR,
        "far_clip": 1000.0,
        "to_world": _to_world(mi, camera),
        "film": {
            "type": "hdrfilm",
            "width": camera.size,
            "height": camera.size,
            "pixel_format": "rgba",
            "rfilter": {"type": "box"},  # the denoiser expects pixels that share no samples
        },
        "sampler": {"type": SAMPLER},
    }
