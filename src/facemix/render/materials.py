"""What things are made of, and how they are told to the renderer: few surfaces, whose properties vary by the point.

Each more surface costs a renderer that compiles its kernels: it goes through all of them wherever a ray may hit one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Material:
    """`surface` is a key of SURFACES; `roughness` and `clearcoat` 0 to 1."""

    surface: str
    roughness: float
    clearcoat: float = 0.0


# How strongly each surface mirrors, 0 to 1. Skin has a texture, the others have the colours of their points.
SURFACES = {"skin": 0.45, "glossy": 0.5, "matt": 0.15}

# Of every mesh, in the order of their numbers.
MATERIALS = {
    "skin": Material("skin", 0.45),
    "mouth_lining": Material("glossy", 0.35),
    "mouth": Material("glossy", 0.22, 0.3),
    "eyes": Material("matt", 0.5),  # what they mirror is laid over the picture: see lens.py
    "hair": Material("matt", 0.6),
    "brows": Material("matt", 0.6),
    "clothing": Material("matt", 0.85),
    "accessories": Material("glossy", 0.35, 0.2),
    "hats": Material("matt", 0.9),
    "occluder": Material("glossy", 0.5),
}
SHAPES = (*MATERIALS, "lenses")  # lenses are laid over the finished picture: see lens.py


@dataclass(frozen=True)
class SkinTexture:
    """`colour` (rows, columns, 3) linear RGB; `relief` (rows, columns) heights; `roughness` 0 to 1."""

    colour: Image
    relief: Image
    roughness: float


def surface(mi: Any, name: str, skin: SkinTexture) -> dict[str, Any]:
    """What the renderer is told of a key of SURFACES."""
    principled: dict[str, Any] = {"type": "principled", "specular": SURFACES[name], "roughness": _by_point("roughness")}
    if name == "skin":
        principled["base_color"] = _bitmap(mi, skin.colour)
        return {"type": "bumpmap", "arbitrary": _bitmap(mi, skin.relief[..., None]), "surface": principled}
    principled |= {"base_color": _by_point("color"), "clearcoat": _by_point("clearcoat"), "clearcoat_gloss": 0.95}
    return {"type": "twosided", "surface": principled}


def _by_point(name: str) -> dict[str, Any]:
    return {"type": "mesh_attribute", "name": f"vertex_{name}"}


def _bitmap(mi: Any, image: Image) -> dict[str, Any]:
    bitmap = mi.Bitmap(np.ascontiguousarray(image, np.float32))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"}
