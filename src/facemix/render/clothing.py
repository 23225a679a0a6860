"""Clothing: what covers the neck and shoulders.

The cloth lies on the template's collar, which covers neck, shoulders and chest. Where a garment has its opening the
cloth dives below the skin, so that its edge is as fine as the interpolation between points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from facemix.render.head import Head, Shape
from facemix.render.noise import Noise
from facemix.render.person import Person
from facemix.render.solids import ellipsoid, lattice, solid, tube
from facemix.render.surfaces import Array, Mesh, mesh_normals, smoothstep, unit

NECK_AXIS = np.array([0.0, 0.15])  # x and z on the template
NECK_RADIUS = 0.6
SPLITS = 1
# Decimetres from the axis of the neck, and the height, on the template: what ends there is no neckline.
HEM_FROM, HEM_BELOW = 1.1, 5.0
HEM_LENGTH, HEM_FLARE = 4.0, 0.2  # decimetres down and outwards
RING = 96  # points of a line around the neck
PALETTE = np.array(
    [[0.7, 0.7, 0.68], [0.012, 0.012, 0.014], [0.02, 0.03, 0.08], [0.14, 0.15, 0.16], [0.4, 0.02, 0.025],
     [0.03, 0.12, 0.3], [0.05, 0.12, 0.06], [0.45, 0.38, 0.28], [0.5, 0.25, 0.27], [0.1, 0.025, 0.04],
     [0.3, 0.42, 0.55], [0.55, 0.4, 0.06]]
)  # fmt: skip


@dataclass(frozen=True)
class Cloth:
    """The collar in fine triangles.

    `matrix` takes the coarse points to the fine ones; `rest` (n, 3) are the template's, `around` (n,) their angles
    about the neck, 0 in front.
    """

    matrix: sparse.csr_matrix
    triangles: NDArray[np.uint32]
    rest: Array
    around: Array


@lru_cache(maxsize=1)
def _cloth(head: Head) -> Cloth:
    """The template's collar with every triangle split in four, SPLITS times."""
    surface = head.parts["collar"]
    coarse, _ = surface.shaped(head.vertices)
    triangles = surface.triangles.astype(int)
    matrix = sparse.identity(len(coarse), format="csr")
    for _ in range(SPLITS):
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
        edges, middle = np.unique(edges, axis=0, return_inverse=True)
        n = matrix.shape[0]
        rows = np.repeat(np.arange(len(edges)), 2)
        halves = sparse.coo_matrix((np.full(2 * len(edges), 0.5), (rows, edges.ravel())), (len(edges), n)).tocsr()
        matrix = sparse.vstack([matrix, halves @ matrix]).tocsr()
        a, b, c = triangles.T
        ab, bc, ca = middle.reshape(-1, 3).T + n
        triangles = np.concatenate(
            [np.stack(corner, 1) for corner in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    rest = matrix @ coarse
    around = np.arctan2(rest[:, 0] - NECK_AXIS[0], rest[:, 2] - NECK_AXIS[1])
    return Cloth(matrix, triangles.astype(np.uint32), rest, around)


SECTORS = 4 * RING  # in which points are gathered for a line around the neck
_TURN = ((np.arange(RING) / RING)[:, None] - (np.arange(SECTORS) + 0.5)[None] / SECTORS + 0.5) % 1 - 0.5
_BLUR = np.exp(-((_TURN * RING) ** 2)) + 1e-6  # (RING, SECTORS); the rest of the ring counts where there are no points


@dataclass(frozen=True)
class Body:
    """The collar of one person: points and normals (n, 3) of the cloth before it is lifted off the skin."""

    cloth: Cloth
    points: Array
    normals: Array

    def line(self, inside: Array, lift: float) -> tuple[Array, Array, Array]:
        """The line around the neck where `inside` (n,) is 0: points, lifted, normals and rest, (RING, 3) each."""
        near = np.nonzero(np.abs(inside) < 0.08)[0]
        weights = np.exp(-((inside[near] / 0.03) ** 2))
        sector = ((self.cloth.around[near] / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
        sums = [np.bincount(sector, weights, SECTORS)]
        for values in (self.points, self.normals, self.cloth.rest):
            sums += [np.bincount(sector, weights * values[near, axis], SECTORS) for axis in range(3)]
        smooth = _BLUR @ np.stack(sums, 1)
        points, normals, rest = np.split(smooth[:, 1:] / smooth[:, :1], 3, axis=1)
        directions = unit(normals)
        return points + lift * directions, directions, rest


def clothing(person: Person, shape: Shape, noise: Noise) -> list[Mesh]:
    """What a person wears; sometimes nothing that can be seen."""
    rng = person.rng("clothing")
    if person.garment == "bare":
        return []
    cloth = _cloth(shape.head)
    points, normals = shape.head.parts["collar"].shaped(shape.now)
    body = Body(cloth, cloth.matrix @ points, unit(cloth.matrix @ normals))
    garment = {
        "tshirt": _tshirt, "vneck": _vneck, "tank": _tank, "shirt": _shirt, "hoodie": _hoodie,
        "turtleneck": _turtleneck, "suit": _suit,
    }  # fmt: skip
    return garment[person.garment](rng, body, noise)


def _opening(cloth: Cloth, front: float, back: float) -> Array:
    """How far each point (n,) lies below a neckline, decimetres, whose heights in front and behind are given."""
    turn = (1 - np.cos(cloth.around)) / 2
    outwards = np.hypot(cloth.rest[:, 0], cloth.rest[:, 2] - NECK_AXIS[1]) - NECK_RADIUS
    # On the shoulders, which are nearly level, the way outwards counts as well.
    below: Array = front + (back - front) * turn - cloth.rest[:, 1] + 0.6 * np.maximum(outwards, 0)
    return below


def _worn(
    rng: np.random.Generator, body: Body, noise: Noise, inside: Array, thickness: Array | float, colours: Array
) -> Mesh:
    """Cloth over the points where `inside` (n,) is above 0, with folds; colours (n, 3)."""
    rest = body.cloth.rest
    folds = noise.cloud(rng, (96, 96), rng.uniform(6, 16), 3)
    x, y = (rest[:, 0] + 3) / 6 * 95, (rest[:, 1] - 4.4 + 0.3 * rest[:, 2]) / 2.4 * 95
    relief = cv2.remap(folds, x[:, None].astype(np.float32), y[:, None].astype(np.float32), cv2.INTER_LINEAR)[:, 0]
    height = thickness + rng.uniform(0.006, 0.016) * np.clip(relief, -2, 2) * smoothstep(inside, 0, 0.3)
    lift = np.where(inside > 0, np.minimum(inside / 0.08, 1) * height, np.maximum(inside / 0.08, -1) * 0.08)
    points = body.points + lift[:, None] * body.normals
    triangles = body.cloth.triangles
    # What is far from the cloth is left out: it could come through the skin where the neck bends.
    kept = triangles[(inside > -0.06)[triangles].any(1)]
    used = np.zeros(len(points), bool)
    used[kept] = True
    kept = (np.cumsum(used) - 1)[kept].astype(np.uint32)
    points = points[used]
    return lengthened(Mesh(points, mesh_normals(points, kept), kept, rest[used], np.clip(colours[used], 0.004, 0.85)))


def lengthened(cloth: Mesh) -> Mesh:
    """Cloth that hangs down from where the template's body ends: pictures of small children show more than it has."""
    assert cloth.colours is not None
    edges = np.stack([cloth.triangles, np.roll(cloth.triangles, -1, 1)], 2).reshape(-1, 2).astype(np.int64)
    _, first, uses = np.unique(np.sort(edges, 1) @ [len(cloth.points), 1], return_index=True, return_counts=True)
    outwards = np.hypot(cloth.rest[:, 0], cloth.rest[:, 2] - NECK_AXIS[1]) > HEM_FROM
    outwards |= cloth.rest[:, 1] < HEM_BELOW
    hem = edges[first[uses == 1]]
    hem = hem[outwards[hem].all(1)]
    above, below = np.unique(hem, return_inverse=True)
    below = below.reshape(hem.shape) + len(cloth.points)
    quads = np.column_stack([hem[:, 1], hem[:, 0], below[:, 0], below[:, 1]])
    level = cloth.normals[above] * [1, 0, 1]
    return Mesh(
        np.concatenate([cloth.points, cloth.points[above] + [0, -HEM_LENGTH, 0] + HEM_FLARE * level]),
        np.concatenate([cloth.normals, unit(level)]),
        np.concatenate([cloth.triangles, quads[:, :3], quads[:, [0, 2, 3]]]).astype(np.uint32),
        np.concatenate([cloth.rest, cloth.rest[above]]),
        np.concatenate([cloth.colours, cloth.colours[above]]),
    )


def _dye(rng: np.random.Generator) -> Array:
    """A colour of cloth, linear RGB: mostly a common one, sometimes any."""
    if rng.random() < 0.75:
        colour = PALETTE[rng.integers(len(PALETTE))] * np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.08, 3))
    else:
        hue = np.clip(np.abs((rng.random() * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
        colour = rng.uniform(0.05, 0.5) * (1 - rng.uniform(0.4, 0.97) * (1 - hue))
    return np.clip(colour, 0.006, 0.75)


def _dyed(rng: np.random.Generator, rest: Array, plain: float) -> Array:
    """Colours (n, 3) of a cloth: plain with probability `plain`, else stripes, checks or a print."""
    first, second = _dye(rng), _dye(rng)
    colours = np.tile(first, (len(rest), 1))
    pattern = "plain" if rng.random() < plain else str(rng.choice(["stripes", "bars", "checks", "print", "dots"]))
    width, share = rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.6)
    across = np.mod(rest[:, 0] / width, 1) < share
    down = np.mod((rest[:, 1] - 0.35 * np.abs(rest[:, 0])) / width, 1) < share
    if pattern == "stripes":
        colours[down] = second
    elif pattern == "bars":
        colours[across] = second
    elif pattern == "checks":
        colours += 0.5 * (second - first) * (across[:, None] + 1.0 * down[:, None])
    elif pattern == "dots":
        cell = np.mod(rest[:, :2] / max(width, 0.16), 1) - 0.5
        colours[(cell**2).sum(1) < 0.06] = second
    elif pattern == "print":
        front = (rest[:, 2] > 0.5) & (np.abs(rest[:, 0]) < 0.7) & (rest[:, 1] < 5.25)
        blocks = rng.random((12, 16)) < 0.5
        row, column = ((5.25 - rest[:, 1]) / 0.1).astype(int) % 12, ((rest[:, 0] + 0.7) / 0.09).astype(int) % 16
        colours[front & blocks[row, column]] = second
    return colours * np.exp(rng.normal(0, rng.uniform(0.0, 0.12), (len(rest), 1)))


def _tshirt(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A T-shirt with a round neckline."""
    inside = _opening(body.cloth, rng.uniform(5.5, 5.72), rng.uniform(5.88, 5.95))
    return _with_hem(rng, body, noise, inside)


def _vneck(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A T-shirt with a pointed neckline."""
    rest = body.cloth.rest
    dip = rng.uniform(0.35, 0.7) * np.maximum(1 - np.abs(rest[:, 0]) / rng.uniform(0.4, 0.5), 0) * (rest[:, 2] > 0.3)
    return _with_hem(rng, body, noise, _opening(body.cloth, 5.75, 5.93) - dip)


def _with_hem(rng: np.random.Generator, body: Body, noise: Noise, inside: Array) -> list[Mesh]:
    colours = _dyed(rng, body.cloth.rest, 0.55)
    hem = _dye(rng) if rng.random() < 0.2 else colours[0]
    path, normals, rest = body.line(inside - 0.02, 0.025)
    band = tube(path, (rng.uniform(0.03, 0.05), 0.016), normals, hem * 0.92, rest, closed=True)
    return [_worn(rng, body, noise, inside, rng.uniform(0.03, 0.05), colours), band]


def _tank(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A top with two straps."""
    x = np.abs(body.cloth.rest[:, 0])
    low = _opening(body.cloth, 5.2, 5.45) - 2 * np.maximum(x - 1.2, 0)
    strap = np.minimum(rng.uniform(0.08, 0.18) - np.abs(x - 0.9), _opening(body.cloth, 5.72, 5.93))
    colours = _dyed(rng, body.cloth.rest, 0.55)
    return [_worn(rng, body, noise, np.maximum(low, strap), rng.uniform(0.03, 0.05), colours)]


def _turtleneck(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A pullover with a collar that is rolled or stands."""
    inside = np.full(len(body.points), 1.0)
    colours = _dyed(rng, body.cloth.rest, 0.8)
    top = rng.uniform(5.93, 6.0)
    meshes = [_worn(rng, body, noise, inside, 0.05, colours)]
    colour = colours[0]
    path, normals, rest = body.line(top - body.cloth.rest[:, 1], 0.06)
    outward = unit(normals * [1, 0, 1])
    for down, out, radii in ((0.0, 0.0, (0.08, 0.045)), (0.1, 0.03, (0.09, 0.055)), (0.18, 0.06, (0.06, 0.045))):
        roll = path + out * outward - [0, down, 0]
        meshes.append(tube(roll, radii, outward, colour, rest, closed=True))
    return meshes


def _hoodie(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A sweater whose hood lies on the back, often with strings."""
    cloth = body.cloth
    inside = _opening(cloth, rng.uniform(5.55, 5.7), 5.92)
    colours = _dyed(rng, cloth.rest, 0.85)
    colour = colours[0]
    meshes = [_worn(rng, body, noise, inside, 0.06, colours)]
    path, normals, rest = body.line(inside - 0.1, 0.06)
    angles = (np.arange(RING) / RING * 2 - 1) * np.pi
    behind = ((1 - np.cos(angles)) / 2)[:, None]
    size = 0.05 + rng.uniform(0.06, 0.1) * behind
    crumpled = 1 + 0.15 * behind * (np.sin(7 * angles + rng.uniform(0, 6)) + np.sin(12 * angles))[:, None]
    hood = path + 0.4 * normals * size + np.array([0, 0.2, -0.25]) * behind**3 * rng.uniform(0.3, 1.0)
    meshes.append(tube(hood, size * [1.5, 0.8] * crumpled, normals, colour * 0.95, rest, closed=True, sides=14))
    if rng.random() < 0.6:
        string = np.clip(_dye(rng) if rng.random() < 0.4 else np.array([0.6, 0.6, 0.58]), 0, 0.8)
        for side in (-1, 1):
            drop = np.linspace(0, rng.uniform(0.5, 0.9), 6)[:, None]
            start = path[RING // 2 + 5 * side] + [0, -0.02, 0.09]
            fall = start + drop * np.array([0.08 * side, -1, 0.16])
            meshes.append(tube(fall, [0.018, 0.018], [1, 0, 0], string, rest[RING // 2], sides=6))
    return meshes


def _shirt(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A shirt with a folded collar and an open button."""
    cloth = body.cloth
    inside = _opening(cloth, 5.72, 5.95) - rng.uniform(0.0, 0.55) * np.maximum(
        1 - np.abs(cloth.rest[:, 0]) / 0.3, 0
    ) * (cloth.rest[:, 2] > 0.3)
    colours = _dyed(rng, cloth.rest, 0.6)
    placket = (np.abs(cloth.rest[:, 0]) < 0.02) & (cloth.rest[:, 2] > 0.5)
    colours[placket] *= 0.7
    colour = colours[0]
    return [_worn(rng, body, noise, inside, 0.045, colours), *_collar(body, colour, rng.uniform(0.06, 0.3), 0.05, 1.0)]


def _collar(body: Body, colour: Array, gap: float, lift: float, width: float) -> list[Mesh]:
    """The folded collar of a shirt, left and right half.

    Args:
        body: whose.
        colour: (3,).
        gap: between the collar's points, radians about the neck.
        lift: off the skin, decimetres.
        width: of the part that is folded down, relative to a usual collar's.
    """
    path, normals, rest = body.line(_opening(body.cloth, 5.72, 5.93), lift)
    angles = (np.arange(RING) / RING * 2 - 1) * np.pi
    front = (1 + np.cos(angles)) / 2
    outward = unit(normals * [1, 0.2, 1])
    stand = np.array([0, 0.12, 0]) - 0.02 * outward
    fall = (
        np.array([0, -1, 0]) * (0.04 + 0.34 * front**4)[:, None] + outward * width * (0.05 + 0.13 * front**2)[:, None]
    )
    # From inside the neck up, over the fold, and down to the edge that lies on the cloth.
    profile = [path - 0.03 * outward, path + stand, path + stand + [0, 0.02, 0] + 0.03 * outward,
               path + stand * 0.5 + 0.5 * fall * [1, 0.6, 1] + 0.03 * outward, path + fall]  # fmt: skip
    sheet = np.stack(profile)
    meshes = []
    for side in (-1, 1):
        half = np.nonzero((side * angles > gap) & (side * angles < np.pi - 0.01))[0]
        half = np.append(half, 0) if side > 0 else np.insert(half, 0, 0)
        rows = sheet[:, half].reshape(-1, 3)
        meshes.append(
            solid(rows, lattice(len(profile), len(half), wrapped=False), colour, np.tile(rest[half], (len(profile), 1)))
        )
    return meshes


def _suit(rng: np.random.Generator, body: Body, noise: Noise) -> list[Mesh]:
    """A jacket with lapels over a shirt, mostly with a tie."""
    cloth = body.cloth
    x, y, z = np.abs(cloth.rest[:, 0]), cloth.rest[:, 1], cloth.rest[:, 2]
    wool = np.array(
        [[0.012, 0.012, 0.014], [0.015, 0.02, 0.045], [0.06, 0.06, 0.065], [0.12, 0.09, 0.06], [0.2, 0.2, 0.2]]
    )[rng.integers(5)]
    white = np.array([0.65, 0.66, 0.68]) * np.exp(rng.normal(0, 0.1)) if rng.random() < 0.7 else _dye(rng)
    edge = 0.06 + 0.40 * np.clip((y - 4.5) / 1.35, 0, 1)  # half width of the jacket's opening
    beyond = np.where(z > 0.1, x - edge, 1.0)
    shirt_opening = 5.72 if rng.random() < 0.75 else 5.6  # buttoned up, with a tie, or not
    tie = shirt_opening > 5.7
    jacket = np.minimum(beyond, 0.5 * _opening(cloth, 5.66, 5.84))
    lapel = (jacket > 0) & (beyond < 0.26) & (z > 0.2)
    colours = np.where((jacket > 0)[:, None], wool, white)
    colours[lapel] *= 1.2
    colours[lapel & (beyond > 0.235)] *= 0.35
    colours[(beyond > 0) & (beyond < 0.015) & (z > 0.1)] *= 0.4
    meshes = []
    thickness = 0.045 + 0.05 * smoothstep(jacket, -0.01, 0.03) + 0.03 * lapel * smoothstep(0.26 - beyond, 0, 0.04)
    inside = _opening(cloth, shirt_opening, 5.95)
    if tie:
        silk, other = _dye(rng), _dye(rng)
        blade = (x < 0.075 + 0.06 * np.clip(5.6 - y, 0, 1)) & (z > 0.4)
        stripes = np.mod((cloth.rest[:, 0] + y) / rng.uniform(0.1, 0.25), 1) < (0.4 if rng.random() < 0.5 else 0)
        colours[blade] = np.where(stripes[blade, None], other, silk)
        thickness = thickness + 0.03 * blade
    meshes.append(_worn(rng, body, noise, inside, thickness, colours))
    path, _, rest = body.line(_opening(cloth, 5.72, 5.93), 0.07)
    if tie:
        meshes.append(ellipsoid(path[RING // 2] + [0, -0.04, 0.03], [0.085, 0.1, 0.06], silk, rest[RING // 2], rings=8))
    return meshes + _collar(body, white, 0.05 if tie else 0.2, 0.1, 0.6)
