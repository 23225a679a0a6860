"""The renderer: a scene of fixed structure, path-traced by Mitsuba 3 and denoised by Open Image Denoise.

The structure (which shapes, which materials) never changes from face to face: Mitsuba then compiles its kernels once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemix.errors import FacemixError
from facemix.render.camera import Camera
from facemix.render.surfaces import Mesh, joined

Image = NDArray[np.floating[Any]]
VARIANTS = {"llvm": "llvm_ad_rgb", "scalar": "scalar_rgb"}
BACKENDS = ("auto", *VARIANTS)
OLDEST_LLVM = 16  # 14 is refused by Mitsuba, 15 crashes while compiling
SAMPLES = 3  # a pixel
BOUNCES = 3
NEAR = 0.01  # decimetres from the camera to where rays start, and depths count from

SKIN_SPECULAR = 0.45
LIGHT_SHAPE = (64, 128)  # of the panorama

# Every shape of the scene in its order (the renderer numbers them from 1): roughness, specular, clearcoat.
MATERIALS = {
    "skin": (0.45, SKIN_SPECULAR, 0.0),
    "mouth_lining": (0.35, 0.5, 0.0),
    "mouth": (0.22, 0.5, 0.3),
    "eyes": (0.5, 0.0, 0.0),  # what they mirror is laid over the picture: see lens.py
    "hair": (0.5, 0.15, 0.0),
    "brows": (0.6, 0.1, 0.0),
    "clothing": (0.85, 0.2, 0.0),
    "accessories": (0.35, 0.5, 0.2),
    "hats": (0.9, 0.15, 0.0),
    "occluder": (0.5, 0.4, 0.0),
}
SHAPES = (*MATERIALS, "lenses")  # lenses are laid over the finished picture: see lens.py


def choose_backend(backend: str) -> tuple[str, str | None]:
    """The backend to use, `llvm` or `scalar`, and what the user should be told about the choice, if anything.

    Raises:
        FacemixError: unknown, or `llvm` is asked for and cannot be had.
    """
    if backend not in BACKENDS:
        raise FacemixError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "scalar":
        return "scalar", None
    missing = _missing_llvm()
    if missing is None:
        return "llvm", None
    advice = f"{missing}; install libLLVM {OLDEST_LLVM} or newer (Debian: libllvm19)"
    if backend == "llvm":
        raise FacemixError(f"backend 'llvm': {advice}, or choose scalar")
    return "scalar", f"rendering without LLVM, which takes several times as long: {advice}"


def _missing_llvm() -> str | None:
    """Why LLVM cannot be used, if so."""
    import drjit

    if not drjit.has_backend(drjit.JitBackend.LLVM):
        path = os.environ.get("DRJIT_LIBLLVM_PATH")
        return f"no usable LLVM at DRJIT_LIBLLVM_PATH={path}" if path else "no usable LLVM was found"
    version = drjit.detail.llvm_version()
    if version[0] < OLDEST_LLVM:
        return f"the LLVM found has version {'.'.join(map(str, version))}, too old"
    return None


@dataclass(frozen=True)
class SkinTexture:
    """`colour` (rows, columns, 3) linear RGB; `relief` (rows, columns) heights; `roughness` 0 to 1."""

    colour: Image
    relief: Image
    roughness: float


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


class Renderer:
    """Mitsuba in one variant, on one thread: a process per core renders faces faster than all cores render one face.

    With LLVM one scene is kept and its values are changed: a new scene numbers its objects anew, and Dr.Jit then
    compiles the same kernel again, for seconds. Scalar code compiles nothing and takes a new scene for each face.
    """

    def __init__(self, backend: str, texture: tuple[int, int], size: int) -> None:
        """Args: the backend, rows and columns of the skin's texture, side of the pictures in pixels."""
        import drjit
        import mitsuba as mi

        mi.set_variant(VARIANTS[backend])
        drjit.set_thread_count(1)
        self._mi: Any = mi
        self._opaque = drjit.opaque
        # Apart: with a path tracer inside, Mitsuba's `aov` traces every path twice.
        self._image = mi.load_dict({"type": "path", "max_depth": BOUNCES, "hide_emitters": True})
        self._guides = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
        self._first_hit = mi.load_dict({"type": "aov", "aovs": "shape:shape_index,depth:depth"})
        self._kept: Any = None
        if backend == "llvm":
            nothing = {name: joined([]) for name in MATERIALS}
            nothing["skin"] = replace(nothing["skin"], colours=None, uv=np.zeros((3, 2)))
            skin = SkinTexture(np.full((*texture, 3), 0.5, np.float32), np.zeros(texture, np.float32), 0.5)
            light = np.ones((*LIGHT_SHAPE, 3), np.float32)
            self._kept = self._scene(nothing, skin, light, Camera(np.array([0.0, 0, 9]), 20.0, size))
            self._values = mi.traverse(self._kept)
            reinterpreted: Any = drjit.reinterpret_array
            pointers = [mi.ShapePtr(shape) for shape in self._kept.shapes()]
            self._numbers = [int(reinterpreted(mi.UInt32, pointer)[0]) for pointer in pointers]

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
        mi = self._mi
        if self._kept is None:
            scene = self._scene(meshes, skin, light, camera)
        else:
            scene = self._changed(meshes, skin, light, camera)
        image = np.array(mi.render(scene, integrator=self._image, spp=SAMPLES, seed=seed))
        guides = np.nan_to_num(np.array(mi.render(scene, integrator=self._guides, spp=SAMPLES, seed=seed)))
        first_hit = np.array(mi.render(scene, integrator=self._first_hit, spp=1, seed=seed))
        albedo, normal = guides[..., -6:-3], guides[..., -3:]
        radiance, cover = cut_out(denoised(image[..., :3], albedo, normal), np.clip(image[..., 3], 0, 1))
        return Rendering(
            radiance=radiance,
            albedo=np.ascontiguousarray(albedo, np.float32),
            cover=cover,
            shape=self._places(np.round(first_hit[..., -2]).astype(np.int64)),
            depth=np.where(first_hit[..., -1] > 0, first_hit[..., -1] + NEAR, 0).astype(np.float32),
        )

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """1 + the place in MATERIALS of each shape's number; LLVM numbers the shapes of all scenes of a process."""
        if self._kept is None:
            return numbers.astype(np.uint8)
        places = np.zeros(max(self._numbers) + 1, np.uint8)
        places[self._numbers] = 1 + np.arange(len(self._numbers))
        return places[numbers]

    def _scene(self, meshes: Mapping[str, Mesh], skin: SkinTexture, light: Image, camera: Camera) -> Any:
        mi = self._mi
        scene: dict[str, Any] = {"type": "scene"}
        for name, values in MATERIALS.items():
            material = _skin_material(mi, skin) if name == "skin" else _material(*values)
            scene[name] = _shape(mi, meshes[name], mi.load_dict(material))
        scene["light"] = {"type": "envmap", "bitmap": mi.Bitmap(light), "scale": 1.0}
        scene["sensor"] = _sensor(mi, camera)
        return mi.load_dict(scene)

    def _changed(self, meshes: Mapping[str, Mesh], skin: SkinTexture, light: Image, camera: Camera) -> Any:
        """The kept scene, with other values."""
        mi, values = self._mi, self._values
        for name in MATERIALS:
            for key, value in _buffers(meshes[name]).items():
                values[f"{name}.{key}"] = value
        values["skin.bsdf.nested_bsdf.base_color.data"] = mi.TensorXf(skin.colour)
        values["skin.bsdf.nested_texture.data"] = mi.TensorXf(skin.relief[..., None])
        # Opaque: a literal would be compiled into the kernel.
        values["skin.bsdf.nested_bsdf.roughness.value"] = self._opaque(mi.Float, skin.roughness)
        columns = values["light.data"].shape[1]  # with one or two repeated, for interpolation
        values["light.data"] = mi.TensorXf(np.take(light, np.arange(columns) % light.shape[1], axis=1))
        values["sensor.x_fov"] = camera.field_of_view
        values["sensor.to_world"] = _to_world(mi, camera)
        values.update()
        return self._kept


def denoised(radiance: Image, albedo: Image, normal: Image) -> Image:
    """The picture without the noise of few samples, (S, S, 3), guided by what the light cannot change."""
    import mitsuba_oidn

    channels = [np.ascontiguousarray(np.nan_to_num(c), np.float32) for c in (radiance, albedo, normal)]
    guides = np.clip(channels[1], 0, 1), channels[2]
    clean = mitsuba_oidn.denoise(np.maximum(channels[0], 0), *guides, hdr=True, quality=mitsuba_oidn.Quality.Fast)
    return np.maximum(np.array(clean, np.float32), 0)


def cut_out(radiance: Image, cover: Image) -> tuple[Image, Image]:
    """Radiance (S, S, 3) and cover (S, S), both with a smooth outline.

    Of so few samples an outline is ragged, and denoising one of the two alone leaves dots along it. So pixels of the
    outline take the mean light of what is covered around them, and as much of it as the blurred cover says.

    Args:
        radiance: of what is covered, times the cover.
        cover: share of each pixel that is covered, 0 to 1.
    """
    cover = cover.astype(np.float32)
    around = cv2.GaussianBlur(radiance, (0, 0), 1.0) / (cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None] + 1e-4)
    smooth = cv2.GaussianBlur(cover, (0, 0), 0.7)
    return np.where(cover[..., None] == 1, radiance, around) * smooth[..., None], smooth


def _material(roughness: float, specular: float, clearcoat: float) -> dict[str, Any]:
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    surface = {"type": "principled", "base_color": colour, "roughness": roughness, "specular": specular}
    if clearcoat:
        surface |= {"clearcoat": clearcoat, "clearcoat_gloss": 0.95}
    return {"type": "twosided", "surface": surface}


def _skin_material(mi: Any, skin: SkinTexture) -> dict[str, Any]:
    colour, relief = _bitmap(mi, skin.colour), _bitmap(mi, skin.relief[..., None])
    surface = {"type": "principled", "base_color": colour, "roughness": skin.roughness, "specular": SKIN_SPECULAR}
    return {"type": "bumpmap", "arbitrary": relief, "surface": surface}


def _bitmap(mi: Any, image: Image) -> dict[str, Any]:
    bitmap = mi.Bitmap(np.ascontiguousarray(image, np.float32))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"}


def _shape(mi: Any, mesh: Mesh, material: Any) -> Any:
    properties = mi.Properties()
    properties["material"] = material
    counts = len(mesh.points), len(mesh.triangles)
    has_uv = mesh.uv is not None
    shape = mi.Mesh("mesh", *counts, has_vertex_normals=True, has_vertex_texcoords=has_uv, props=properties)
    if mesh.colours is not None:
        shape.add_attribute("vertex_color", 3, mesh.colours.astype(np.float32).ravel())
    values = mi.traverse(shape)
    for key, value in _buffers(mesh).items():
        values[key] = value
    values.update()
    return shape


def _buffers(mesh: Mesh) -> dict[str, NDArray[Any]]:
    """A mesh by the names that Mitsuba has for its parts, flat."""
    buffers = {"vertex_positions": mesh.points, "vertex_normals": mesh.normals}
    if mesh.colours is not None:
        buffers["vertex_color"] = mesh.colours
    if mesh.uv is not None:
        buffers["vertex_texcoords"] = mesh.uv
    flat: dict[str, NDArray[Any]] = {key: value.astype(np.float32).ravel() for key, value in buffers.items()}
    return flat | {"faces": mesh.triangles.astype(np.uint32).ravel()}


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
        "sampler": {"type": "independent"},
    }
