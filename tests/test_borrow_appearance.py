"""Rendered pictures that borrow from photographs: what changes, what stays, and where it comes from."""

import csv
import dataclasses
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
import toy_script
from facemix import config
from facemix.errors import FacemixError
from facemix.faces import formats, geometry, tars
from facemix.faces.face import STAND_IN
from facemix.faces.packing import Entry
from facemix.render import folder

ROOT = Path(__file__).parents[1]
WAYS = ("colour", "fourier", "background")


borrowing = toy_script.loaded("scripts/borrow_appearance.py")


def muted(middle: tuple[int, int, int], spread: int) -> np.ndarray:
    """A picture whose colours are far from black and white."""
    rng = np.random.default_rng(spread)
    return (np.array(middle) + rng.integers(-spread, spread + 1, (40, 40, 3))).astype(np.uint8)


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape, dtype=np.uint8)


def moments(image: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(np.float32(image) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    return np.concatenate([lab.mean(axis=0), lab.std(axis=0)])


def test_colours_have_the_mean_and_the_deviation_of_the_donor() -> None:
    image, donor = muted((120, 110, 130), 20), muted((140, 120, 100), 10)
    assert moments(borrowing.with_colours(image, donor)) == pytest.approx(moments(donor), abs=0.3)


def test_colours_are_measured_where_the_face_is_seen() -> None:
    image, donor, seen = muted((120, 110, 130), 20), muted((140, 120, 100), 10), (slice(5, 30), slice(10, 40))
    image[30:], donor[30:] = 60, 255
    assert moments(borrowing.with_colours(image, donor, seen)[seen]) == pytest.approx(moments(donor[seen]), abs=0.3)


def test_a_picture_of_one_colour_takes_the_mean_colour() -> None:
    donor = muted((140, 120, 100), 10)
    found = borrowing.with_colours(np.full_like(donor, 90), donor)
    assert np.ptp(found, axis=(0, 1)).tolist() == [0, 0, 0]
    assert moments(found)[:3] == pytest.approx(moments(donor)[:3], abs=0.8)


def test_the_noise_of_a_grey_picture_is_not_blown_up_to_colours() -> None:
    grey, donor = muted((120, 120, 120), 1), muted((120, 120, 120), 60)
    deviation = moments(borrowing.with_colours(grey, donor))[3:]
    assert deviation == pytest.approx(borrowing.STRETCHED * moments(grey)[3:], rel=0.1)
    assert np.all(deviation < moments(donor)[3:] / 10)


def test_a_picture_stays_that_borrows_colours_from_itself() -> None:
    image = pictures(30, 20, 3)
    assert np.abs(borrowing.with_colours(image, image).astype(int) - image).max() <= 1


@given(height=st.integers(2, 16), width=st.integers(2, 16), beta=st.floats(0, 0.5))
def test_low_amplitudes_are_the_donors_and_all_else_is_the_pictures_own(height: int, width: int, beta: float) -> None:
    image, donor = pictures(2, height, width, 3)
    own, other, found = (
        np.fft.fft2(one.astype(float), axes=(0, 1))
        for one in (image, donor, borrowing.with_amplitudes(image, donor, beta))
    )
    low = np.array([[max(abs(y), abs(x)) < beta for x in np.fft.fftfreq(width)] for y in np.fft.fftfreq(height)])
    assert np.abs(found)[low] == pytest.approx(np.abs(other)[low], abs=1e-6)
    assert np.abs(found)[~low] == pytest.approx(np.abs(own)[~low], abs=1e-6)
    assert found * np.abs(own) == pytest.approx(own * np.abs(found), abs=1e-6 * np.abs(own).max())  # equal phases


def test_beta_0_leaves_the_picture() -> None:
    image, donor = pictures(2, 9, 12, 3)
    assert borrowing.with_amplitudes(image, donor, 0.0) == pytest.approx(image.astype(float), abs=1e-9)


def test_a_person_stays_and_the_background_is_new() -> None:
    image, background = pictures(2, 30, 30, 3)
    person = np.zeros((30, 30), bool)
    person[10:, 8:22] = True  # down to the lower border, where nothing fades
    found = borrowing.before(image, person, background)
    assert np.array_equal(found[~person], background[~person])
    inside = slice(10 + borrowing.EDGE, None), slice(8 + borrowing.EDGE, 22 - borrowing.EDGE)
    assert np.array_equal(found[inside], image[inside])
    edge = (image[20, 8].astype(float) + 2.0 * background[20, 8]) / 3
    assert found[20, 8] == pytest.approx(edge, abs=0.51)


@pytest.mark.parametrize("is_person", [False, True])
def test_a_picture_of_nothing_else_has_no_edge(is_person: bool) -> None:
    image, background = pictures(2, 8, 8, 3)
    found = borrowing.before(image, np.full((8, 8), is_person), background)
    assert np.array_equal(found, image if is_person else background)


def test_a_photograph_is_framed_as_the_other_face() -> None:
    photograph = np.zeros((120, 160, 3), np.uint8)
    photograph[40:80, 60:100] = 255
    found = borrowing.framed(photograph, np.array([60.0, 40, 99, 79]), np.array([10.0, 15, 29.5, 34.5]), (50, 70))
    assert found.shape == (50, 70, 3)
    rows, columns = np.nonzero(found[..., 0] > 127)
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == pytest.approx([10, 15, 29.5, 34.5], abs=1)


def test_what_a_detector_sees_ends_with_the_picture() -> None:
    box = np.array([40.0, 50, 60, 60])
    assert borrowing.field_of_view(box, 2.0, (100, 100)) == (slice(35, 76), slice(30, 71))
    assert borrowing.field_of_view(box, 9.0, (100, 80)) == (slice(0, 100), slice(0, 80))


boxes = st.tuples(st.floats(-20, 70), st.floats(-20, 50), st.floats(1, 30), st.floats(1, 30))


@given(faces=st.lists(boxes, max_size=4), smallest=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_background_keeps_away_from_every_face(faces: list[tuple[float, ...]], smallest: int, seed: int) -> None:
    drawn = np.array(faces).reshape(-1, 4)
    around = np.concatenate([drawn[:, :2], drawn[:, :2] + drawn[:, 2:]], axis=1)
    blocked = np.zeros((50, 70), bool)
    for x0, y0, w, h in faces:
        y, x = np.ogrid[:50, :70]
        blocked |= (np.abs(x - x0 - w / 2) <= 0.75 * w) & (np.abs(y - y0 - h / 2) <= 0.75 * h)
    square = borrowing.free_square(np.random.default_rng(seed), (50, 70), around, smallest)
    if square:
        (top, bottom), (left, right) = ((one.start, one.stop) for one in square)
        assert min(top, left) >= 0 and bottom <= 50 and right <= 70
        assert bottom - top == right - left >= smallest
        assert not blocked[square].any()


@pytest.mark.parametrize(("left", "room"), [(20.0, range(46, 70)), (29.0, range(24))])
def test_a_background_is_as_large_as_the_room_beside_a_face(left: float, room: range) -> None:
    face = np.array([[left, 10, left + 20, 40]])  # 1.5 times as large: 5 pixels more to the left and to the right
    rng = np.random.default_rng(0)
    assert borrowing.free_square(rng, (50, 70), face, 25) is None
    rows, columns = borrowing.free_square(rng, (50, 70), face, 23)
    assert rows.stop - rows.start == columns.stop - columns.start == 23
    assert room.start <= columns.start < columns.stop <= room.stop


# --- Sets -------------------------------------------------------------------------------------------------------------


def write_photographs(root: Path, n: int = 12) -> Path:
    """300-W with one colour beside the faces, a third of them in the test subsets."""
    toy.write_300w(root, n=n)
    for seed, image in enumerate(sorted(root.rglob("*.jpg"))):
        wide = np.full((96, 200, 3), np.random.default_rng(seed).integers(0, 256, 3), np.uint8)
        wide[:, :70] = cv2.imread(str(image))[:, :70]
        cv2.imwrite(str(image), wide)
    return root


def write_rendered(root: Path, n: int = 8) -> Path:
    toy.write_facesynthetics(root, n=n)
    person = np.zeros((96, 96), np.uint8)
    person[20:, 20:76] = 1
    for i in range(n):
        cv2.imwrite(str(root / f"{i:06d}_seg.png"), person)
    folder.write_table(root / folder.TABLE, [{"index": i, "file": f"{i:06d}.png", "person": f"p{i}"} for i in range(n)])
    folder.write_manifest(root / folder.MANIFEST, {"scheme": "ibug68", "seed": 3})
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with photographs, and a rendered set `plain`."""
    root = tmp_path_factory.mktemp("project")
    params = config.load(ROOT / "params.yaml")
    sources = config.Sources(real=(config.Source(name="300w", format="300w"),), synthetic=())
    plain = config.plain(dataclasses.replace(params, sources=sources, render=toy.NO_RENDERS))
    (root / "params.yaml").write_text(json.dumps(plain))
    write_photographs(root / "data/sources/real/300w")
    write_rendered(root / "plain")
    return root


@pytest.fixture(autouse=True)
def at_its_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def run(out: Path, *options: str, rendered: str = "plain") -> str:
    return borrowing.run(borrowing.parsed([rendered, "--out", str(out), *options]))


def content(root: Path, files: str = "*") -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in root.glob(files)}


def changed(out: Path) -> set[str]:
    """Names of the pictures that are not those of the set."""
    return {
        file.name for file in Path("plain").glob("??????.png") if file.read_bytes() != (out / file.name).read_bytes()
    }


def donors(out: Path) -> dict[str, str]:
    with (out / borrowing.BORROWED).open(newline="") as file:
        return {row["file"]: row["photograph"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("how", WAYS)
def test_with_share_0_only_the_note_is_new(how: str, tmp_path: Path) -> None:
    assert "0 of 8 pictures changed" in run(tmp_path / "out", "--how", how, "--share", "0")
    before, after = content(Path("plain")), content(tmp_path / "out")
    assert {name for name in after if after[name] != before.get(name)} == {folder.MANIFEST, borrowing.BORROWED}
    assert before.keys() <= after.keys()


@pytest.mark.parametrize("how", WAYS)
def test_with_share_1_all_pictures_are_new_and_all_points_stay(how: str, tmp_path: Path) -> None:
    run(tmp_path / "out", "--how", how, "--share", "1")
    assert len(changed(tmp_path / "out")) == 8
    before, after = content(Path("plain")), content(tmp_path / "out")
    same = [name for name in before if "_" in name] + [folder.TABLE]
    assert [name for name in same if before[name] != after[name]] == []
    (faces, broken), (plain, _) = (formats.read("facesynthetics", root) for root in (tmp_path / "out", Path("plain")))
    assert not broken
    assert [(face.id, face.photo) for face in faces] == [(face.id, face.photo) for face in plain]


@pytest.mark.parametrize("how", WAYS)
def test_the_same_seed_gives_the_same_bytes(how: str, tmp_path: Path) -> None:
    for name, seed in (("first", "7"), ("again", "7"), ("other", "8")):
        run(tmp_path / name, "--how", how, "--seed", seed)
    assert content(tmp_path / "first") == content(tmp_path / "again")
    assert content(tmp_path / "first", "*.png") != content(tmp_path / "other", "*.png")


def test_each_way_changes_the_same_faces_and_a_larger_share_some_more(tmp_path: Path) -> None:
    for how in WAYS:
        run(tmp_path / how, "--how", how)
    run(tmp_path / "more", "--how", "colour", "--share", "0.8")
    some = changed(tmp_path / "colour")
    assert (
        some == changed(tmp_path / "fourier") == changed(tmp_path / "background") == donors(tmp_path / "colour").keys()
    )
    assert 0 < len(some) < 8
    assert some < changed(tmp_path / "more")


def test_colour_and_fourier_borrow_from_the_same_photographs(tmp_path: Path) -> None:
    for how in ("colour", "fourier"):
        run(tmp_path / how, "--how", how, "--share", "1")
    assert donors(tmp_path / "colour") == donors(tmp_path / "fourier")


def test_a_new_background_is_a_part_of_a_photograph(tmp_path: Path) -> None:
    run(tmp_path / "out", "--how", "background", "--share", "1")
    for name, photograph in donors(tmp_path / "out").items():
        beside_the_person = cv2.imread(str(tmp_path / "out" / name))[:20]
        one_colour = cv2.imread(f"data/sources/real/300w/{photograph}.jpg")[:, 150:].mean(axis=(0, 1))
        assert np.abs(beside_the_person - one_colour).max() < 12


def entries(root: Path, split: str = "train", subset: str | None = None) -> list[Entry]:
    faces, _ = formats.read("300w", root)
    faces = [dataclasses.replace(face, subset=face.subset if subset is None else subset) for face in faces]
    return [Entry(face=face, source="300w", split=face.split if split == "own" else split) for face in faces]


def test_only_training_faces_are_borrowed_from() -> None:
    real = borrowing.photographs(entries(Path("data/sources/real/300w"), "own"))
    assert {face.subset for face in real.training} == {"helen/trainset", "lfpw/trainset"}


@pytest.mark.parametrize(("split", "subset"), [("test", None), ("train", STAND_IN)])
def test_without_photographs_that_train_there_is_nothing_to_borrow(split: str, subset: str | None) -> None:
    with pytest.raises(FacemixError, match="found no photographs that train, .* `facemix import FORMAT PATH`"):
        borrowing.photographs(entries(Path("data/sources/real/300w"), split, subset))


def of_one_photograph(same_picture: bool) -> list[Entry]:
    """Two faces that were annotated in copies of one picture, or in two pictures."""
    first, second = entries(Path("data/sources/real/300w"))[:2]
    image = Path("copy.jpg")
    image.write_bytes((first if same_picture else second).face.image.read_bytes())
    second = dataclasses.replace(second, face=dataclasses.replace(second.face, photo=first.face.photo, image=image))
    return [first, second]


def test_a_background_keeps_away_from_all_faces_of_its_picture() -> None:
    pair = of_one_photograph(same_picture=True)
    real = borrowing.photographs(pair)
    expected = [geometry.landmark_box(entry.face.landmarks) for entry in pair]
    assert np.array_equal(real.boxes(pair[0].face), expected)


def test_a_picture_gives_no_background_where_other_faces_in_it_are_annotated_elsewhere() -> None:
    pair = of_one_photograph(same_picture=False)
    real = borrowing.photographs(pair)
    assert real.boxes(pair[0].face) is None
    with pytest.raises(FacemixError, match="found none with a square"):
        borrowing.borrow_background(np.random.default_rng(0), pair[0].face, np.zeros((96, 96, 3), np.uint8), real=real)


def test_photographs_full_of_faces_give_no_background(tmp_path: Path) -> None:
    real = borrowing.photographs(entries(toy.write_300w(tmp_path, n=4)))
    (face, *_), _ = formats.read("facesynthetics", Path("plain"))
    with pytest.raises(FacemixError, match="4 training photographs: found none with a square of 100 pixels"):
        borrowing.borrow_background(np.random.default_rng(0), face, np.zeros((500, 400, 3), np.uint8), real=real)


def test_a_set_without_segmentations_is_answered_with_how_to_make_them(tmp_path: Path) -> None:
    toy.write_facesynthetics(tmp_path / "bare", n=2)
    message = r"000000_seg.png: not found, expected a segmentation of each face \(2 of 2 .*`facemix render --seg`"
    with pytest.raises(FacemixError, match=message):
        run(tmp_path / "out", "--how", "background", rendered=str(tmp_path / "bare"))
    run(tmp_path / "out", "--how", "colour", rendered=str(tmp_path / "bare"))


def test_a_segmentation_of_another_size_is_refused(tmp_path: Path) -> None:
    write_rendered(tmp_path / "odd", n=1)
    cv2.imwrite(str(tmp_path / "odd/000000_seg.png"), np.zeros((20, 30), np.uint8))
    with pytest.raises(FacemixError, match="000000_seg.png: found 30 x 20 pixels, expected 96 x 96 as the picture has"):
        run(tmp_path / "out", "--how", "background", "--share", "1", rendered=str(tmp_path / "odd"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share", "1.5"], "--share: found 1.5, expected a probability, 0 to 1"),
        (["--seed", "-1"], "--seed: found -1, expected 0 or more"),
        (["--beta", "0.2", "0.1"], "--beta: found 0.2 0.1, expected two numbers from 0 to 0.5, the smaller one first"),
        (["--out", "plain"], "plain: there is something already; use another folder, or remove this one"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match=message):
        run(tmp_path / "out", "--how", "colour", *options)


def test_a_damaged_picture_ends_in_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = write_rendered(tmp_path / "damaged", n=1) / "000000.png"
    damaged.write_bytes(damaged.read_bytes()[:500])
    arguments = [str(damaged.parent), "--how", "colour", "--share", "1", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["borrow", *arguments])
    with pytest.raises(SystemExit, match="damaged/000000.png: .*; copy the file again"):
        borrowing.main()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_set_ends_in_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["borrow", "nowhere", "--how", "colour", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="borrow_appearance.py: nowhere: no such folder, expected files NNNNNN.png"):
        borrowing.main()


def test_shards_are_refused(tmp_path: Path) -> None:
    loose = write_rendered(tmp_path / "loose", n=1)
    files = [(path.name.replace("_", "."), path.read_bytes()) for path in sorted(loose.glob("0*"))]
    tars.write(tmp_path / "shards/000000.tar", files)
    with pytest.raises(FacemixError, match="shards: found shards, .*; expected a set rendered without --shards"):
        borrowing.rendered_faces(tmp_path / "shards", needs_segmentation=False)
