"""Rays through a scene: what light they bring, and what they hit first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
SAMPLES = 2  # a pixel
SAMPLER = "multijitter"  # spreads a pixel's samples evenly: two of them are worth nearly three of an independent one
BOUNCES = 3  # of a ray until it must have reached the panorama


@dataclass(frozen=True)
class Sight:
    """What was seen through each pixel, (S, S) or (S, S, 3): the mean of its samples, or what one of them hit first.

    `radiance` and `albedo` are linear RGB, `normal` is of unit length, `cover` the share that is not background, all
    means; `shape` is the renderer's number of the shape, 0 for nothing, `triangle` the place in its mesh, `depth` the
    distance from where rays start, decimetres, 0 for nothing.
    """

    radiance: Image
    albedo: Image
    normal: Image
    cover: Image
    shape: NDArray[np.int64]
    triangle: NDArray[np.int64]
    depth: Image


def finite(samples: Image) -> Image:
    """The same samples, 0 where light or colour is not finite: one such pixel would blacken all skin around it."""
    return np.where(np.isfinite(samples), samples, samples.dtype.type(0))


class PlainTracer:
    """Mitsuba's own integrators, for code that is not compiled: one for light, one for what is hit first."""

    def __init__(self, mi: Any) -> None:
        self._mi = mi
        # Apart: with a path tracer inside, Mitsuba's `aov` traces every path twice.
        self._light = mi.load_dict({"type": "path", "max_depth": BOUNCES, "hide_emitters": True})
        # The shading normal of a bumpy surface would be that of the bumps alone.
        channels = "albedo:albedo,normal:geo_normal,shape:shape_index,triangle:prim_index,depth:depth"
        self._first_hit = mi.load_dict({"type": "aov", "aovs": channels})

    def __call__(self, scene: Any, seed: int) -> Sight:
        """Traces SAMPLES rays a pixel for each of the two."""

        def rendered(integrator: Any, samples: int, seed: int) -> Image:
            return finite(np.array(self._mi.render(scene, integrator=integrator, spp=samples, seed=seed)))

        light = rendered(self._light, SAMPLES, seed)
        # One at a time: a mean of numbers of triangles would say nothing.
        hits = [rendered(self._first_hit, 1, seed * SAMPLES + k)[..., -9:] for k in range(SAMPLES)]
        guides = np.mean([hit[..., :6] for hit in hits], 0)
        shape, triangle = np.round(hits[0][..., 6:8]).astype(np.int64).transpose(2, 0, 1)
        return Sight(
            radiance=light[..., :3],
            albedo=guides[..., :3],
            normal=guides[..., 3:],
            cover=np.clip(light[..., 3], 0, 1),
            shape=shape,
            triangle=triangle,
            depth=hits[0][..., 8],
        )


class CompiledTracer:
    """One kernel for everything; light that was thrown on once is taken to be thrown on evenly, as by chalk."""

    def __init__(self, mi: Any, size: int) -> None:
        self._mi, self._size = mi, size
        self._sampler = mi.load_dict({"type": SAMPLER, "sample_count": SAMPLES})
        self._sampler.set_samples_per_wavefront(SAMPLES)

    def __call__(self, scene: Any, seed: int) -> Sight:
        """Traces SAMPLES rays a pixel."""
        import drjit

        mi, size, sampler = self._mi, self._size, self._sampler
        rays = size * size * SAMPLES
        sampler.seed(mi.UInt32(seed), rays)
        pixel = drjit.arange(mi.UInt32, rays) // SAMPLES
        corner = mi.Point2f(mi.Float(pixel % size), mi.Float(pixel // size))
        ray, _ = scene.sensors()[0].sample_ray(0.0, 0.5, (corner + sampler.next_2d()) / size, mi.Point2f(0.5))
        hit = scene.ray_intersect(ray, mi.RayFlags.All, True)
        seen = hit.is_valid()
        albedo = hit.bsdf().eval_diffuse_reflectance(hit, seen)
        means = [*_light(mi, scene, sampler, hit), *albedo, *hit.sh_frame.n, mi.Float(1)]
        means = [drjit.select(seen, value, 0) for value in means]
        number = drjit.reinterpret_array(mi.UInt32, hit.shape)
        firsts = [drjit.select(seen, value, 0) for value in (number, hit.prim_index, hit.t)]
        drjit.eval(means, firsts)
        samples = [finite(np.array(value)).reshape(size, size, SAMPLES) for value in means]
        channels = np.stack([sum(value[..., k] for k in range(SAMPLES)) / SAMPLES for value in samples], 2)
        radiance, albedo, normal, cover = np.split(channels, [3, 6, 9], axis=2)
        shape, triangle, depth = (np.array(value).reshape(size, size, SAMPLES)[..., 0] for value in firsts)
        return Sight(radiance, albedo, normal, cover[..., 0], shape.astype(np.int64), triangle.astype(np.int64), depth)


def _light(mi: Any, scene: Any, sampler: Any, hit: Any) -> Any:
    """Light that comes from what was hit: from the panorama, at once or by way of one other place.

    The first is sampled by the panorama and by the surface, weighted by the power heuristic of Veach (1997).
    """
    import drjit

    seen = hit.is_valid()
    lamp, brightness = scene.sample_emitter_direction(hit, sampler.next_2d(), True, seen)
    passed, density, thrown, share = hit.bsdf().eval_pdf_sample(
        mi.BSDFContext(), hit, hit.to_local(lamp.d), sampler.next_1d(), sampler.next_2d(), seen
    )
    radiance = passed * brightness * _weight(lamp.pdf, density)
    other = scene.ray_intersect(hit.spawn_ray(hit.to_world(thrown.wo)), mi.RayFlags.All, False, seen)
    beyond, again = seen & ~other.is_valid(), seen & other.is_valid()
    there = mi.DirectionSample3f(scene, other, hit)
    chance = scene.pdf_emitter_direction(hit, there, beyond)
    radiance += drjit.select(beyond, share * scene.environment().eval(other, beyond) * _weight(thrown.pdf, chance), 0)
    lamp, brightness = scene.sample_emitter_direction(other, sampler.next_2d(), True, again)
    slope = other.to_local(lamp.d).z
    lit = again & (slope * other.wi.z > 0)
    chalk = other.bsdf().eval_diffuse_reflectance(other, lit) * drjit.abs(slope) / drjit.pi
    return radiance + drjit.select(lit, share * chalk * brightness, 0)


def _weight(density: Any, other: Any) -> Any:
    """How much a sample counts that was drawn with this density where another way of drawing has the other."""
    import drjit

    return drjit.select(density > 0, drjit.square(density) / (drjit.square(density) + drjit.square(other)), 0)
