"""What an import shows: numbers that can be read, and words for what looks wrong."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import toy
from facemix.faces import schemes
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, Face
from facemix.faces.schemes import Scheme
from facemix.reporting import imported, numbered

IBUG68 = schemes.ibug68()


def faces(folder: Path, n: int = 8, points: np.ndarray | None = None, states: np.ndarray | None = None) -> list[Face]:
    """Faces of 96 px, drawn unless `points` says where they are."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(n):
        image, drawn = toy.face(rng)
        path = folder / f"{k}.png"
        assert cv2.imwrite(str(path), image)
        own = np.full(68, VISIBLE, dtype=np.uint8) if states is None else states.astype(np.uint8)
        landmarks = np.where(own[:, None] == UNLABELLED, np.nan, drawn if points is None else points)
        found.append(
            Face(id=str(k), subset="", photo=str(k), image=path, landmarks=landmarks.astype(np.float32), states=own,
                 scheme=IBUG68, files=(path,))
        )  # fmt: skip
    return found


def mirrored(face: Face) -> Face:
    from dataclasses import replace

    return replace(face, landmarks=(face.landmarks * [-1, 1] + [95, 0]).astype(np.float32))


def test_pictures_are_written_and_replace_former_ones(tmp_path: Path) -> None:
    found = faces(tmp_path)
    for chosen in (found, found[:2]):
        lines = imported.show(tmp_path / "shown", chosen)
        assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["faces.png", "numbered.png", "set.png"]
        assert not any(line.startswith("warning") for line in lines)
    sheet = cv2.imread(str(tmp_path / "shown/numbered.png"))
    assert sheet.shape == (imported.SIDE, 2 * imported.SIDE, 3)


def test_points_are_drawn_where_they_are(tmp_path: Path) -> None:
    found = faces(tmp_path, 1)
    imported.show(tmp_path / "shown", found)
    tile = cv2.imread(str(tmp_path / "shown/faces.png"))[..., ::-1].astype(int)
    crop, points, _ = imported._crop(found[0], imported.TILE)
    for i, colour in ((45, "left"), (36, "right"), (8, "middle")):
        x, y = points[i].round().astype(int)
        assert np.abs(tile[y, x] - numbered.COLOURS[colour]).max() < 60
    assert crop.shape == tile.shape


def test_face_sizes_and_poses_are_told(tmp_path: Path) -> None:
    found = faces(tmp_path)
    size = np.linalg.norm(found[0].landmarks[36] - found[0].landmarks[45])
    lines = imported.described(found[:1])
    assert f"face size (outer eye): {size:.0f} to {size:.0f} px" in lines[0]
    assert lines[1].startswith("pose: ") and "frontal" in lines[1] and len(lines) == 2


def test_what_is_missing_is_told_by_region_the_worst_first(tmp_path: Path) -> None:
    states = np.full(68, VISIBLE)
    states[[0, 1, 2, 48]], states[[36, 37, 10]] = HIDDEN, UNLABELLED
    lines = imported.described(faces(tmp_path, 2, states=states))
    assert "no face has one" in lines[0] and "cannot be told" in lines[1]
    assert lines[2] == f"unlabelled: eyes {2 / 12:.1%}, jaw {1 / 17:.1%}"
    assert lines[3] == f"hidden: jaw {3 / 17:.1%}, mouth {1 / 20:.1%}"


def test_a_mirrored_set_is_warned_of(tmp_path: Path) -> None:
    found = [mirrored(face) for face in faces(tmp_path)]
    lines = imported.show(tmp_path / "shown", found)
    assert [line for line in lines if line.startswith("warning: left and right are swapped: in 100% of 8 faces")]


def test_points_without_names_are_judged_by_a_scheme_that_is_made_of_them() -> None:
    mesh = schemes.load("mediapipe478")
    assert schemes.layout(mesh.name) is None
    points = np.random.default_rng(0).uniform(0, 5, (6, 478, 2))
    places = {33: (-30, 0), 133: (-10, 0), 159: (-20, -4), 145: (-20, 4), 1: (0, 30), 61: (-15, 50)}
    partner = {33: 263, 133: 362, 159: 386, 145: 374, 61: 291}
    for i, (x, y) in places.items():
        points[:, i] = (100 + x, 100 + y)
        if i in partner:
            points[:, partner[i]] = (100 - x, 100 + y)
    for seen, swapped in ((points, 0), (points * [-1, 1] + [200, 0], 1)):
        found = imported._measured_sides(seen, mesh, None)
        assert found is not None and found.swapped == swapped


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def boxes(scheme: Scheme, side: int) -> dict[int, tuple[float, ...]]:
    points = (schemes.layout(scheme.name) * 0.8 + 0.1) * side
    size, words = numbered._size(len(points)), numbered.labels(scheme.points)
    found = {}
    for i, (x, y) in numbered.placed(points, side, words).items():
        width, height, _ = numbered._extent(words[i], size)
        found[i] = (x - width / 2 + 1, y - height / 2 + 1, x + width / 2 - 1, y + height / 2 - 1)
    return found


@pytest.mark.parametrize("name", ["five", "coco17", "hand21", "cofw29", "ibug68", "wflw98", "lapa106"])
def test_every_point_of_a_usual_scheme_has_a_number_that_covers_no_other(name: str) -> None:
    scheme = schemes.load(name)
    found = boxes(scheme, 900)
    assert len(found) >= 0.97 * len(scheme)
    listed = list(found.values())
    assert not any(overlap(a, b) for k, a in enumerate(listed) for b in listed[:k])
    assert all(x0 >= -1 and y0 >= -1 and x1 <= 901 and y1 <= 901 for x0, y0, x1, y1 in listed)


@pytest.mark.parametrize("name", ["five", "coco17", "hand21", "cofw29", "ibug68", "wflw98", "lapa106"])
def test_no_label_is_drawn_over_a_point(name: str) -> None:
    scheme = schemes.load(name)
    points = np.round((schemes.layout(name) * 0.8 + 0.1) * 900)
    image = numbered.numbered(
        np.zeros((900, 900, 3), dtype=np.uint8),
        points,
        np.full(len(points), VISIBLE, dtype=np.uint8),
        ["middle"] * len(points),
        (),
        scheme.points,
    )
    assert all(tuple(image[y, x]) == numbered.COLOURS["middle"] for x, y in points.astype(int))


def test_points_of_a_small_scheme_have_their_names_too() -> None:
    assert numbered.labels(["nose", "chin"]) == ["0 nose", "1 chin"]
    assert numbered.labels(IBUG68.points)[67] == "67"


def test_numbers_of_many_points_are_thinned_out_but_spread() -> None:
    points = np.random.default_rng(0).uniform(150, 750, (478, 2))
    found = numbered.placed(points, 900, [str(i) for i in range(len(points))])
    assert 60 < len(found) < 400
    quarters = {(points[i, 0] > 450, points[i, 1] > 450) for i in found}
    assert len(quarters) == 4


def test_numbers_go_first_to_points_far_from_each_other() -> None:
    points = np.stack([np.arange(9.0), np.zeros(9)], axis=1)
    assert numbered._far_first(points, np.arange(9))[:3] == [0, 8, 4]


def test_unlabelled_points_have_no_number(tmp_path: Path) -> None:
    points = schemes.layout("ibug68") * 800
    points[5] = np.nan
    assert 5 not in numbered.placed(points, 900, [str(i) for i in range(len(points))]) and 6 in numbered.placed(
        points, 900, [str(i) for i in range(len(points))]
    )
    states = np.full(68, VISIBLE, dtype=np.uint8)
    states[5] = UNLABELLED
    image = np.zeros((900, 900, 3), dtype=np.uint8)
    assert numbered.numbered(image, points, states, ["middle"] * 68, IBUG68.skeleton, IBUG68.points).any()
