"""Faces written for other tools: our own readers read the same again."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemix.faces import formats
from facemix.faces.face import HIDDEN, UNLABELLED, VISIBLE, Face
from facemix.faces.formats import photos
from facemix.faces.writing import WRITERS, Item, Written, as_coco, as_csv, as_pts, missing_points
from toy_five import FACE, FIVE

SPLITS = ("train", "validation", "test", "challenging")


def picture(path: Path, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), hash(path.stem) % 200, np.uint8))
    return path


def item(image: Path, root: Path, points: np.ndarray = FACE, states: object = VISIBLE, **changes: object) -> Item:
    place = image.relative_to(root).as_posix()
    states = np.full(5, states, dtype=np.uint8) if np.isscalar(states) else np.array(states, dtype=np.uint8)
    face = Face(
        id=place.rsplit(".", 1)[0],
        subset="",
        photo=place.rsplit(".", 1)[0],
        image=image,
        landmarks=np.where(states[:, None] == UNLABELLED, np.nan, points).astype(np.float32),
        states=states,
        scheme=FIVE,
        files=(image,),
    )
    return Item(face=replace(face, **changes), place=PurePosixPath(place))


def written(folder: Path, content: Written) -> Path:
    for place, text in content.texts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    for place, image in content.images.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(image.read_bytes())
    return folder


def again(folder: Path, name: str, content: Written) -> list[Face]:
    faces, broken = formats.read(name, written(folder, content), scheme=FIVE)
    assert [str(error) for error in broken] == []
    return faces


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@st.composite
def sets(draw: st.DrawFn) -> tuple[int, float, list[tuple[int, str, str]]]:
    """Seed, scale of the coordinates, and of each face its picture, split and photograph."""
    face = st.tuples(st.integers(0, 2), st.sampled_from(SPLITS), st.sampled_from(["", "one day", "Ä/7"]))
    faces = draw(st.lists(face, min_size=1, max_size=6))
    return draw(st.integers(0, 2**32 - 1)), 10 ** draw(st.floats(0.5, 5.5)), faces


def made(root: Path, drawn: tuple[int, float, list[tuple[int, str, str]]], lowest: int) -> list[Item]:
    seed, scale, faces = drawn
    rng = np.random.default_rng(seed)
    items = []
    for k, (number, split, photo) in enumerate(sorted(faces)):
        states = rng.integers(lowest, 3, 5)
        states[:2] = VISIBLE
        image = picture(root / f"some/{number}x.png")
        one = item(image, root, rng.uniform(1, scale, (5, 2)), states, split=split, id=f"some/{number}x/{k}")
        items.append(replace(one, face=replace(one.face, photo=photo or one.face.photo)))
    return items


def equal(items: list[Item], faces: list[Face]) -> None:
    assert len(faces) == len(items)
    for one, face in zip(items, faces, strict=True):
        np.testing.assert_allclose(face.landmarks, one.face.landmarks, rtol=0, atol=1e-3)
        assert np.array_equal(face.states, one.face.states)


def official(items: list[Item]) -> list[str]:
    """Of each face: one split alone is none."""
    splits = [one.face.split for one in items]
    return splits if len(set(splits)) > 1 else [""] * len(splits)


@settings(max_examples=20)
@given(drawn=sets())
def test_csv_reads_back_as_the_same_set(drawn) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = made(Path(folder) / "root", drawn, UNLABELLED)
        faces = again(Path(folder) / "out", "csv", as_csv(items))
        items.sort(key=lambda one: one.face.id)
        equal(items, faces)
        assert [face.id for face in faces] == [one.face.id for one in items]
        assert [face.photo for face in faces] == [one.face.photo for one in items]
        assert [face.split for face in faces] == official(items)


@settings(max_examples=20)
@given(drawn=sets())
def test_coco_reads_back_as_the_same_set(drawn) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = made(Path(folder) / "root", drawn, UNLABELLED)
        faces = again(Path(folder) / "out", "coco", as_coco(items))
        known = {one.face.landmarks[0].tobytes(): one for one in items}
        assert len(faces) == len(items)
        same = [known[face.landmarks[0].tobytes()] for face in faces]  # decimals of single precision are exact
        equal(same, faces)
        assert [face.photo for face in faces] == [one.face.photo for one in same]
        assert [face.split for face in faces] == official(same)


@settings(max_examples=20)
@given(drawn=sets())
def test_pts_reads_back_with_the_same_points(drawn) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = made(Path(folder) / "root", drawn, VISIBLE)
        equal(items, again(Path(folder) / "out", "pts", as_pts(items)))


def test_faces_of_one_picture_are_one_photograph_in_pts_too(root: Path) -> None:
    a, b = picture(root / "12.png"), picture(root / "b.png", 50)
    items = [item(a, root), item(a, root, FACE + 3), item(b, root), item(b, root, FACE + 2)]
    faces = photos.by_content(again(root.parent / "out", "pts", as_pts(items)))
    assert len({face.photo for face in faces[:2]}) == len({face.photo for face in faces[2:]}) == 1
    assert len({face.photo for face in faces}) == 2


def test_no_two_faces_get_one_file_of_points(root: Path) -> None:
    pictures = [picture(root / name) for name in ("a.png", "a_0.png", "a.jpg", "b.png", "b_mirror.png")]
    items = [item(image, root, FACE + k) for k, image in enumerate([*pictures, pictures[0]])]
    content = as_pts(items)
    assert len(content.texts) == len(content.images) == 6
    assert len(again(root.parent / "out", "pts", content)) == 6


def test_pts_says_what_it_cannot_keep_and_refuses_unlabelled_points(root: Path) -> None:
    image = picture(root / "a.png")
    items = [item(image, root, states=HIDDEN, split="test"), item(image, root, FACE + 3)]
    lost = " ".join(as_pts(items).lost)
    assert "hidden" in lost and "splits" in lost and "photograph" in lost
    assert as_pts(items[1:]).lost == []
    (error,) = missing_points([*items, item(image, root, states=[0, 0, 2, 2, 2])])
    assert "2 points are unlabelled" in str(error)


def test_coco_is_what_pycocotools_expects(root: Path) -> None:
    image = picture(root / "in" / "a.png")
    content = json.loads(
        as_coco([item(image, root, FACE - [30, 0], [2, 1, 0, 2, 2])]).texts[PurePosixPath("annotations.json")]
    )
    (found,) = content["images"]
    assert found == {"id": 1, "file_name": "in/a.png", "width": 40, "height": 30}
    (one,) = content["annotations"]
    assert one["keypoints"] == [40, 40, 2, 0.5, 41, 1, 0, 0, 0, 35, 80, 2, 6, 81, 2]
    assert (one["num_keypoints"], one["iscrowd"], one["image_id"], one["category_id"]) == (4, 0, 1, 1)
    assert one["bbox"] == [0.5, 30, 39.5, 1] and one["area"] == 39.5  # ends with the picture, and is not empty
    (category,) = content["categories"]
    assert category["keypoints"] == list(FIVE.points) and category["skeleton"] == [[1, 3], [3, 2]]
    assert category["flip_idx"] == [1, 0, 2, 4, 3]


def test_coco_has_a_file_for_each_split_and_ids_that_are_unique_over_all(root: Path) -> None:
    items = [
        item(picture(root / f"{k}.png"), root, FACE + k, split=split) for k, split in enumerate(["train", "test", ""])
    ]
    content = as_coco(items)
    assert sorted(map(str, content.texts)) == ["other.json", "test.json", "train.json"] and content.lost == []
    parsed = [json.loads(text) for text in content.texts.values()]
    for key in ("images", "annotations"):
        assert sorted(one["id"] for file in parsed for one in file[key]) == [1, 2, 3]


def test_what_coco_cannot_say_is_told(root: Path) -> None:
    image = picture(root / "a.png")
    assert "v = 1" in as_coco([item(image, root, states=HIDDEN)]).lost[0]
    assert "only one" in as_coco([item(image, root, split="test")]).lost[0]
    assert "only one" in as_csv([item(image, root, split="test")]).lost[0]


def test_a_picture_on_its_side_has_the_size_that_it_is_shown_in(root: Path) -> None:
    from PIL import Image

    root.mkdir()
    turned = Image.new("RGB", (40, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "a.jpg", exif=exif)
    content = as_coco([item(root / "a.jpg", root)])
    image = json.loads(content.texts[PurePosixPath("annotations.json")])["images"][0]
    assert (image["width"], image["height"]) == (30, 40)
    assert len(again(root.parent / "out", "coco", content)) == 1


def test_every_writer_has_a_reader() -> None:
    assert WRITERS.keys() <= formats.FORMATS.keys()
