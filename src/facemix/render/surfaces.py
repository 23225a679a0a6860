"""Meshes: smooth surfaces over a coarse mesh of quads, and what is handed to the renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Mesh:
    """A piece of the picture in head space: decimetres, y up, the face looks along +z.

    `points` and `normals` are (n, 3), `triangles` (m, 3), `colours` (n, 3) linear RGB or None, `uv` (n, 2) or None.
    `rest` (n, 3) says where each point lies on the template head: how far it follows the head when the neck bends.
    """

    points: Array
    normals: Array
    triangles: NDArray[np.uint32]
    rest: Array
    colours: Array | None = None
    uv: Array | None = None


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of several with colours; of none, a speck far behind the head, so that the scene keeps its structure."""
    if not meshes:
        speck = np.array([[0.0, 0, -40], [1e-3, 0, -40], [0, 1e-3, -40]])
        return Mesh(speck, np.tile([0.0, 0, 1], (3, 1)), np.array([[0, 1, 2]], np.uint32), speck, np.zeros((3, 3)))
    starts = np.cumsum([0] + [len(mesh.points) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.triangles + np.uint32(start) for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.rest for mesh in meshes]),
        np.concatenate([mesh.colours for mesh in meshes if mesh.colours is not None]),
    )


class Surface:
    """A part of the base mesh, subdivided `levels` times after Catmull and Clark, with its texture's seams.

    The landmarks' vertices are the first rows of `points`, moved onto the smooth surface.
    """

    def __init__(self, quads: NDArray, uv_quads: NDArray, uv: Array, levels: int) -> None:
        self.ids, coarse = np.unique(quads, return_inverse=True)
        coarse = coarse.reshape(-1, 4)
        used_uv, coarse_uv = np.unique(uv_quads, return_inverse=True)
        coarse_uv = coarse_uv.reshape(-1, 4)
        matrix, uv = sparse.identity(len(self.ids), format="csr"), uv[used_uv]
        for _ in range(levels):
            step, coarse = subdivided(coarse, matrix.shape[0])
            matrix = step @ matrix
            step, coarse_uv = subdivided(coarse_uv, len(uv), linear=True)
            uv = step @ uv
        self._matrix = matrix.tocsr()
        corners, corner_quads = np.unique(np.stack([coarse.ravel(), coarse_uv.ravel()], 1), axis=0, return_inverse=True)
        corner_quads = corner_quads.reshape(-1, 4)
        self._quads, self._corner_vertices = coarse, corners[:, 0]
        self.uv = uv[corners[:, 1]]
        self.triangles = np.concatenate([corner_quads[:, :3], corner_quads[:, [0, 2, 3]]]).astype(np.uint32)
        n = matrix.shape[0]
        self._around = sparse.coo_matrix(
            (np.ones(coarse.size), (coarse.ravel(), np.repeat(np.arange(len(coarse)), 4))), (n, len(coarse))
        ).tocsr()
        quad_means = _sparse(0.25, np.repeat(np.arange(len(coarse)), 4), coarse.ravel(), (len(coarse), n))
        count = np.maximum(np.asarray(self._around.sum(1)).ravel(), 1)
        self._means = (sparse.diags(1 / count) @ self._around @ quad_means).tocsr()

    def smooth(self, vertices: Array) -> Array:
        """The smooth surface's points, (k, 3), without seams; row i < len(ids) belongs to base vertex ids[i]."""
        return np.asarray(self._matrix @ vertices[self.ids])

    def shaped(self, vertices: Array) -> tuple[Array, Array]:
        """Points and unit normals (n, 3) at the rows of `uv`, from the base mesh's vertices (v, 3)."""
        points = self.smooth(vertices)
        diagonal = points[self._quads[:, 2]] - points[self._quads[:, 0]]
        other = points[self._quads[:, 3]] - points[self._quads[:, 1]]
        normals = unit(self._around @ np.cross(diagonal, other))
        return points[self._corner_vertices], normals[self._corner_vertices]

    def hollow(self, points: Array, normals: Array, reach: int) -> Array:
        """How far the surface lies below its surroundings (n,), decimetres; bulges are negative.

        Args:
            points: (n, 3) at the rows of `uv`.
            normals: (n, 3).
            reach: how wide the surroundings are, in neighbours of neighbours.
        """
        smooth, outward = np.empty((2, self._around.shape[0], 3))
        smooth[self._corner_vertices], outward[self._corner_vertices] = points, normals
        around = smooth
        for _ in range(reach):
            around = self._means @ around
        return dot(around - smooth, outward)[self._corner_vertices]


def subdivided(quads: NDArray, n: int, linear: bool = False) -> tuple[sparse.csr_matrix, NDArray]:
    """One Catmull-Clark step on quads (f, 4) over n vertices; borders stay. `linear` splits without smoothing.

    Returns:
        The matrix (m, n) that takes old vertices to new ones, old ones first, and the new quads (4 f, 4).
    """
    faces = len(quads)
    edges = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), 1)
    edges, edge_of, uses = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    edge_of, count = edge_of.ravel(), len(edges)
    which_face = np.repeat(np.arange(faces), 4)
    centre = _sparse(0.25, which_face, quads.ravel(), (faces, n))
    middle = _sparse(0.5, np.repeat(np.arange(count), 2), edges.ravel(), (count, n))
    if linear:
        new_edges, new_vertices = middle, sparse.identity(n, format="csr")
    else:
        inner = (uses == 2).astype(float)
        edge_faces = _sparse(1.0, edge_of, which_face, (count, faces))
        new_edges = sparse.diags(1 - 0.5 * inner) @ middle + sparse.diags(0.25 * inner) @ edge_faces @ centre
        vertex_edges = _sparse(1.0, edges.ravel(), np.repeat(np.arange(count), 2), (n, count))
        vertex_faces = _sparse(1.0, quads.ravel(), which_face, (n, faces))
        valence = np.maximum(np.asarray(vertex_faces.sum(1)).ravel(), 1)
        edge_count = np.maximum(np.asarray(vertex_edges.sum(1)).ravel(), 1)
        border = np.asarray(vertex_edges @ (1 - inner)).ravel() > 0
        around = (
            sparse.diags(1 / valence) @ vertex_faces @ centre + sparse.diags(2 / edge_count) @ vertex_edges @ middle
        )
        keep = np.where(border, 1, (valence - 3) / valence)
        new_vertices = sparse.diags(np.where(border, 0, 1 / valence)) @ around + sparse.diags(keep)
    e, f = edge_of.reshape(-1, 4) + n, np.arange(faces) + n + count
    quarters = [np.stack([quads[:, i], e[:, i], f, e[:, i - 1]], 1) for i in range(4)]
    return sparse.vstack([new_vertices, new_edges, centre]).tocsr(), np.concatenate(quarters)


def _sparse(value: float, rows: NDArray, columns: NDArray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.coo_matrix((np.full(len(rows), value), (rows, columns)), shape).tocsr()


def unit(vectors: Array) -> Array:
    """Vectors scaled to length 1 along the last axis; zero stays zero."""
    return vectors / (np.sqrt(dot(vectors, vectors))[..., None] + vectors.dtype.type(1e-12))


def dot(a: Array, b: Array) -> Array:
    """Products of vectors (..., k), summed along the last axis: faster than NumPy's sum, since k is 2 or 3."""
    total = a[..., 0] * b[..., 0]
    for axis in range(1, a.shape[-1]):
        total = total + a[..., axis] * b[..., axis]
    return total


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below low, 1 above high, a smooth cubic between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def mesh_normals(points: Array, triangles: NDArray) -> Array:
    """Unit vertex normals (n, 3), weighted by area."""
    corners = points[triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(triangles[:, k], across[:, axis], len(points))
    return unit(normals)
