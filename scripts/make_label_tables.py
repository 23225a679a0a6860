"""Makes the label tables that follow from that of the 68 points: src/facemix/render/data/labels/.

    python scripts/make_label_tables.py

`ibug68.yaml` was made by hand. A point of another scheme that has the name of one of its points has its place. Other
points are set on the template head, on the person's right side; those on the left are their mirror images:

- The jaw between two points: half-way on the smooth curve through all of them, then the nearest place on the skin.
- Brows: the lower outline lies below the curve of the 68 points, by half of the band that hair grows in.
- The middle of a lid: the vertex half-way along the edge of the lid.
- The centre of an eye is the mean of its six points, that of the mouth the mean of the middles of both inner lips.
  Pupils turn with the eyes.
- The sides of the nose were chosen by hand (NOSE).
- `dense`: 500 places of the skin that can be seen from the front, each as far as can be from all before it (farthest
  point sampling: Y. Eldar et al., IEEE TIP 1997), always with its mirror image; its scheme is made too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path
from scipy.spatial import cKDTree

from facemix.faces import schemes
from facemix.render import tables
from facemix.render.head import Head, shaped
from facemix.render.labels import THROAT
from facemix.render.surfaces import Array, unit

DERIVED = ("wflw98", "lapa106", "cofw29", "aflw19", "five")
BROW = {  # decimetres up from a point of the brow's curve
    "upper_inner_end": ("inner_end", 0.012),
    "lower_inner_end": ("inner_end", -0.028),
    "lower_inner": ("upper_inner", -0.037),
    "lower_middle": ("upper_middle", -0.033),
    "lower_outer": ("upper_outer", -0.024),
    "middle": ("upper_middle", -0.016),
}
NOSE = {"upper": 112, "middle": 283, "lower": 5056}  # beside the root; above the wing; where the wing is widest
UP = np.array([0.0, 1.0, 0.0])
EYE = ("outer_corner", "upper_outer", "upper_inner", "inner_corner", "lower_inner", "lower_outer")
DENSE = 500
SEEDS = (36, 39, 48, 30, 8, 33)  # points of ibug68 that dense begins with: sizes can then be measured as usual
HIGH, BACK = 7.82, 0.62  # decimetres: the hairline, the front of the ears
FACING = 0.22  # the least z of a normal of the front
ASIDE = np.array([1e-4, 1e-5, 0])  # decimetres: what stands before an edge stands beside it too

Place = int | list[int] | dict[str, list[int] | list[float]] | dict[str, str]


class Template:
    """The smooth skin of the template by its base vertices; vertices are called by their numbers in hm08."""

    def __init__(self) -> None:
        self.head = Head()
        self.numbers = np.array(sorted(tables.vertex_rows(), key=lambda number: tables.vertex_rows()[number]))
        shape = shaped(self.head, {}, {})
        self.points, self.eye = shape.smooth, shape.eye("r")
        with np.load(Path(tables.__file__).parent / "data" / "head.npz") as data:
            self.quads = data["quads_skin"].astype(int)
        self.triangles = np.concatenate([self.quads[:, :3], self.quads[:, [0, 2, 3]]])
        skin = np.unique(self.quads)
        distance, near = cKDTree(self.points[skin]).query(self.points[skin] * [-1, 1, 1])
        self._partner = dict(zip(skin.tolist(), np.where(distance < 1e-6, skin[near], -1).tolist(), strict=True))

    def at(self, name: str) -> Array:
        """A point (3,) of ibug68."""
        table = tables.ibug68()
        return table.of(self.points)[table.scheme.index(name)]

    def nearest(self, target: Array) -> Place:
        """The place of the skin that is nearest to a point (3,)."""
        middles = self.points[self.triangles].mean(1)
        chosen = self.triangles[np.argsort(np.linalg.norm(middles - target, axis=1))[:60]]
        corners = self.points[chosen]
        edges = (corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1)
        two = (np.linalg.pinv(edges) @ (target - corners[:, 0])[:, :, None])[:, :, 0]
        weights = np.column_stack([1 - two.sum(1), two]).clip(0)
        weights /= weights.sum(1, keepdims=True)
        best = np.linalg.norm((weights[:, :, None] * corners).sum(1) - target, axis=1).argmin()
        first, second = np.round(weights[best, :2], 6).tolist()
        return {
            "triangle": self.numbers[chosen[best]].tolist(),
            "weights": [first, second, round(1 - first - second, 6)],
        }

    def between(self, first: int, last: int) -> int:
        """The vertex half-way along the shortest path of edges between two."""
        edges = np.concatenate([self.quads[:, [i, (i + 1) % 4]] for i in range(4)])
        length = np.linalg.norm(self.points[edges[:, 0]] - self.points[edges[:, 1]], axis=1)
        n = len(self.points)
        _, once = np.unique(edges, axis=0, return_index=True)
        graph = coo_matrix((length[once], edges[once].T), (n, n))
        rows = [tables.vertex_rows()[number] for number in (first, last)]
        distance, before = shortest_path(graph, directed=False, indices=rows[0], return_predecessors=True)
        path = [rows[1]]
        while path[-1] != rows[0]:
            path.append(int(before[path[-1]]))
        return int(self.numbers[min(path, key=lambda row: abs(distance[row] - distance[rows[1]] / 2))])

    def mirrored(self, place: Place) -> Place:
        """The mirror image of a place."""
        if isinstance(place, dict):
            if "pupil" in place:
                return {"pupil": "left" if place["pupil"] == "right" else "right"}
            return place | {"triangle": [self._opposite(number) for number in place["triangle"]]}  # type: ignore[arg-type]
        return [self._opposite(number) for number in place] if isinstance(place, list) else self._opposite(place)

    def _opposite(self, number: int) -> int:
        row = self._partner[tables.vertex_rows()[number]]
        assert row >= 0, f"vertex {number} has no partner"
        return int(self.numbers[row])


def main() -> None:
    template = Template()
    by_hand = tables_places("ibug68")
    places = right_side(template, by_hand) | by_hand
    for name in [name for name in places if name.startswith("right_") and name not in by_hand]:
        places[name.replace("right_", "left_", 1)] = template.mirrored(places[name])
    for name in DERIVED:
        points = schemes.load(name).points
        write(name, {point: places[point] for point in points})
    dense = dense_places(template)
    write_dense_scheme(template, dense)
    write("dense", dict(zip(dense_names(template, dense), dense, strict=True)))


def tables_places(name: str) -> dict[str, Place]:
    """The places of a table as its file states them."""
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(tables.BUILT_IN / f"{name}.yaml")
    return dict(content["places"])


def right_side(template: Template, by_hand: Mapping[str, Place]) -> dict[str, Place]:
    """Places on the right side that ibug68 lacks."""
    jaw = [*(f"right_jaw_{k}" for k in range(8, 0, -1)), "chin", *(f"left_jaw_{k}" for k in range(1, 9))]
    through = np.array([template.at(name) for name in jaw])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(through, axis=0), axis=1))])
    halves = CubicSpline(length, through)((length[1:] + length[:-1]) / 2)
    found: dict[str, Place] = {f"right_jaw_{7 - k}_half": template.nearest(halves[k]) for k in range(8)}
    for name, (start, up) in BROW.items():
        found[f"right_brow_{name}"] = template.nearest(template.at(f"right_brow_{start}") + up * UP)
    for lid in ("upper", "lower"):
        ends = [by_hand[f"right_eye_{lid}_{end}"] for end in ("outer", "inner")]
        found[f"right_eye_{lid}_middle"] = template.between(*(int(end) for end in ends))  # type: ignore[arg-type]
    found |= {f"right_nose_side_{name}": number for name, number in NOSE.items()}
    around = [int(by_hand[f"right_eye_{name}"]) for name in EYE]  # type: ignore[arg-type]
    lips = [int(by_hand[f"{lip}_lip_inside"]) for lip in ("upper", "lower")]  # type: ignore[arg-type]
    found |= {"right_eye_middle": around, "right_eye_centre": around, "mouth_middle": lips}
    return found | {"right_pupil": {"pupil": "right"}}


def dense_places(template: Template) -> list[Place]:
    """Places spread evenly over the face, each with its mirror image."""
    points, corners = candidates(template)
    middle = np.abs(points[:, 0]) < 1e-6
    names = tables.ibug68().scheme.points
    seeds = [int(np.linalg.norm(points - template.at(names[k]), axis=1).argmin()) for k in SEEDS]
    gap = np.where(middle, np.inf, 2 * np.abs(points[:, 0]))  # to the own mirror image
    chosen: list[Place] = []
    while len(chosen) < DENSE:
        best = seeds.pop(0) if seeds else int(gap.argmax())
        place: Place = [int(number) for number in template.numbers[corners[best]]]
        chosen += [place] if middle[best] else [place, template.mirrored(place)]
        for sign in (1, -1):
            gap = np.minimum(gap, np.linalg.norm(points - points[best] * [sign, 1, 1], axis=1))
    return [place[0] if isinstance(place, list) and len(place) == 1 else place for place in chosen]


def dense_names(template: Template, places: Sequence[Place]) -> list[str]:
    """The names of the places: those that are points of ibug68 are called so, which links the two schemes."""
    known = tables.ibug68()
    gap, near = cKDTree(known.of(template.points)).query(positions(template, places))
    return [
        known.scheme.points[k] if distance < 1e-9 else f"dense_{i:03d}"
        for i, (k, distance) in enumerate(zip(near.tolist(), gap.tolist(), strict=True))
    ]


def positions(template: Template, places: Sequence[Place]) -> Array:
    """Where places are on the template (n, 3)."""
    numbers = [place if isinstance(place, list) else [place] for place in places]
    rows = [[tables.vertex_rows()[number] for number in own] for own in numbers]  # type: ignore[index]
    return np.array([template.points[own].mean(0) for own in rows])


def candidates(template: Template) -> tuple[Array, list[NDArray[np.int64]]]:
    """Places (n, 3) of the right side and the middle of the visible front, and the vertices whose mean each is."""
    quads = template.quads
    edges = np.unique(np.sort(np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)]), 1), axis=0)
    corners = [*np.unique(quads)[:, None], *edges, *quads]
    points = np.array([template.points[rows].mean(0) for rows in corners])
    at_vertices = vertex_normals(template)
    normals = unit(np.array([at_vertices[rows].mean(0) for rows in corners]))
    face = (points @ [0, 1, 0.5] > THROAT) & (points[:, 1] < HIGH) & (points[:, 2] > BACK)
    in_front = face & (normals[:, 2] > FACING)
    kept = np.flatnonzero(in_front & (points[:, 0] < 1e-6))
    kept = kept[[not covered(points[k] - ASIDE, template) for k in kept]]
    return points[kept], [corners[k] for k in kept]


def vertex_normals(template: Template) -> Array:
    across = np.cross(
        template.points[template.quads[:, 2]] - template.points[template.quads[:, 0]],
        template.points[template.quads[:, 3]] - template.points[template.quads[:, 1]],
    )
    normals = np.zeros_like(template.points)
    np.add.at(normals, template.quads.ravel(), np.repeat(across, 4, axis=0))
    return unit(normals)


def covered(point: Array, template: Template) -> bool:
    """Whether the head stands before a point (3,), seen from the front."""
    flat = template.points[template.triangles][:, :, :2] - point[:2]
    after, last = np.roll(flat, -1, axis=1), np.roll(flat, -2, axis=1)
    areas = after[..., 0] * last[..., 1] - after[..., 1] * last[..., 0]
    total = areas.sum(1)
    over = (areas * np.sign(total)[:, None] > 0).all(1) & (np.abs(total) > 1e-12)
    depth = (areas[over] * template.points[template.triangles[over]][:, :, 2]).sum(1) / total[over]
    eye, radius = template.eye
    beside = np.linalg.norm(point[:2] - eye[:2])
    in_socket = beside < radius and point[2] < eye[2] + np.sqrt(radius**2 - beside**2)
    return bool((depth > point[2] + 0.02).any() or in_socket)


def write_dense_scheme(template: Template, places: Sequence[Place]) -> None:
    """src/facemix/faces/schemes_data/dense.yaml: the points belong to the region of the nearest point of ibug68."""
    names, points = dense_names(template, places), positions(template, places)
    _, partner = cKDTree(points).query(points * [-1, 1, 1])
    scheme = tables.ibug68().scheme
    _, near = cKDTree(tables.ibug68().of(template.points)).query(points)
    region_of = {k: region for region, members in scheme.regions.items() for k in members}
    regions = {
        region: [name for name, k in zip(names, near, strict=True) if region_of[int(k)] == region]
        for region in scheme.regions
    }
    lines = [
        f"# {len(names)} points spread evenly over the face: scripts/make_label_tables.py makes this file.",
        "# The first are points of ibug68.",
        "name: dense",
        "source: farthest point sampling on the template of facemix's own generator; only rendered faces have them",
        *listed("points", names, 0),
        *listed("mirror", [f"[{names[i]}, {names[j]}]" for i, j in enumerate(partner) if i < j], 0),
        "regions:",
        *(line for region, members in regions.items() for line in listed(region, members, 2)),
        "skeleton: []",
        "face_sizes:",
        "  outer_eye:",
        f"    between: [[{names[0]}], [{names[1]}]]",
        "    thresholds: [8, 10]",
        "normalizer: outer_eye",
    ]
    (schemes.BUILT_IN / "dense.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"dense: {len(names)} points, {(partner == np.arange(len(names))).sum()} on the middle")


def listed(key: str, values: list[str], indent: int) -> list[str]:
    """A YAML list in lines of at most 120 characters."""
    lines = [" " * indent + f"{key}: ["]
    line = " " * (indent + 2)
    for i, value in enumerate(values):
        item = value + ("," if i < len(values) - 1 else "")
        if len(line) + len(item) > 118:
            lines.append(line.rstrip())
            line = " " * (indent + 2)
        line += item + " "
    return [*lines, line.rstrip(), " " * indent + "]"]


def write(name: str, places: Mapping[str, Place]) -> None:
    lines = [
        "# Made by scripts/make_label_tables.py.",
        f"scheme: {name}",
        "source: derived from ibug68.yaml",
        "places:",
    ]
    for point, place in places.items():
        value = "{" + ", ".join(f"{k}: {v}" for k, v in place.items()) + "}" if isinstance(place, dict) else place
        lines.append(f"  {point}: {value}")
    (tables.BUILT_IN / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
