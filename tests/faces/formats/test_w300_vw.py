"""300-VW: frames out of videos, with their points."""

import cv2
import numpy as np
import pytest

from facemix.errors import FacemixError
from facemix.faces.formats import csv_points, w300_vw
from faces.formats.toy_sets import divided, face68

SIDE = 64
POINTS = face68() + 16


def write(folder, brightness=(40, 80, 120, 160), numbers=(1, 2, 3, 4)):
    """A video whose frames have these brightnesses, and points that move right by a pixel a frame."""
    (folder / "annot").mkdir(parents=True)
    video = cv2.VideoWriter(str(folder / "vid.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (SIDE, SIDE))
    for value in brightness:
        video.write(np.full((SIDE, SIDE, 3), value, np.uint8))
    video.release()
    for number in numbers:
        rows = "\n".join(f"{x + number} {y + 1}" for x, y in POINTS)  # 1-based: frame 1 moves by nothing
        (folder / f"annot/{number:06d}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_frames_and_points_belong_together(tmp_path, out):
    write(tmp_path / "set/mine", numbers=(2, 4))
    assert w300_vw.extract(tmp_path / "set", out) == []
    faces, broken = divided(csv_points.read(out, None))
    assert (broken, [face.id for face in faces]) == ([], ["mine/000002", "mine/000004"])
    assert {face.scheme.name for face in faces} == {"ibug68"}
    for face, value, moved in zip(faces, (80, 160), (1, 3), strict=True):
        assert abs(int(cv2.imread(str(face.image))[20, 20, 0]) - value) < 8
        np.testing.assert_allclose(face.landmarks, POINTS + [moved, 0], rtol=1e-6)


def test_a_video_is_one_photograph_and_its_number_says_the_official_split(tmp_path, out):
    for name in ("001", "203", "410", "mine"):
        write(tmp_path / "set" / name)
    w300_vw.extract(tmp_path / "set", out)
    faces, _ = divided(csv_points.read(out, None))
    found = {(face.photo, face.split, face.subset) for face in faces}
    assert found == {
        ("001", "train", ""), ("203", "test", "category_2"), ("410", "test", "category_3"), ("mine", "", ""),
    }  # fmt: skip
    assert len(faces) == 16


def test_the_official_lists_are_complete():
    splits = list(w300_vw.OFFICIAL.values())
    counts = {split: splits.count(split) for split in set(splits)}
    assert counts == {
        ("train", ""): 50, ("test", "category_1"): 31, ("test", "category_2"): 19, ("test", "category_3"): 14,
    }  # fmt: skip


def test_each_kth_frame_from_the_first(tmp_path, out):
    write(tmp_path / "set/a")
    w300_vw.extract(tmp_path / "set", out, every=3)
    assert [face.id for face in divided(csv_points.read(out, None))[0]] == ["a/000001", "a/000004"]


def test_all_that_is_broken_is_named_and_the_rest_is_there(tmp_path, out):
    write(tmp_path / "set/a", numbers=(1, 2, 5, 6))
    write(tmp_path / "set/b")
    (tmp_path / "set/a/annot/000001.pts").write_text("nothing")
    (tmp_path / "set/b/vid.avi").write_bytes(b"no video")
    broken = w300_vw.extract(tmp_path / "set", out)
    assert [error.path.relative_to(tmp_path / "set").as_posix() for error in broken] == [
        *(f"a/annot/00000{i}.pts" for i in (1, 5, 6)),
        *(f"b/annot/00000{i}.pts" for i in (1, 2, 3, 4)),
    ]
    assert "found 'nothing'" in str(broken[0]) and f"no frame 5 in {tmp_path}/set/a/vid.avi" in str(broken[1])
    assert [face.id for face in divided(csv_points.read(out, None))[0]] == ["a/000002"]


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda root: (root / "a/vid.avi").unlink(), "a: expected one video beside annot/, found none"),
        (lambda root: (root / "a/vid.mp4").touch(), "a: expected one video beside annot/, found vid.avi and vid.mp4"),
        (lambda root: (root / "a/annot/x.pts").touch(), "x.pts: expected the number of a frame as name"),
        (lambda root: (root / "a/vid.avi").write_bytes(b""), "set: all 4 frames are broken; restore (.|\n)*000004.pts"),
        (lambda root: (root / "a/annot").rename(root / "a/b"), "set: no folder with a video and annot/"),
    ],
)
def test_what_is_no_use_is_refused(tmp_path, out, damage, reason):
    write(tmp_path / "set/a")
    damage(tmp_path / "set")
    with pytest.raises(FacemixError, match=reason):
        w300_vw.extract(tmp_path / "set", out)
