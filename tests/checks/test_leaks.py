import csv
import dataclasses
import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet as parquet
import pytest

import toy
from facemix import config
from facemix.checks import candidates, duplicates, human_floor
from facemix.checks import pairs as verdict
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import geometry, packs
from facemix.faces.face import Face
from facemix.faces.formats import w300
from facemix.faces.images import read_image
from facemix.faces.schemes import ibug68
from facemix.stages.leaks import leaks
from facemix.stages.prepare import prepare

PARAMS = config.load(Path(__file__).resolve().parents[2] / "params.yaml")
SIZE = 96

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.floating]


def drawn(n: int, seed: int = 0) -> tuple[Image, npt.NDArray[np.float32]]:
    """Different faces: images (n, SIZE, SIZE, 3) and points (n, 68, 2)."""
    rng = np.random.default_rng(seed)
    images, points = zip(*(toy.face(rng, SIZE) for _ in range(n)), strict=True)
    return np.array(images), np.array(points)


def recropped(image: Image, points: Points) -> tuple[Image, Points]:
    """Moved by some pixels and shrunk a little."""
    transform = np.array([[0.93, 0.0, 5.0], [0.0, 0.93, -2.0]])
    moved = cv2.warpAffine(image, transform, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return moved, points @ transform[:, :2].T + transform[:, 2]


COPIES = {
    "equal": lambda image, points: (image, points),
    "recompressed": lambda image, points: (
        cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
        points,
    ),
    "darker": lambda image, points: ((0.6 * image + 20).astype(np.uint8), points),
    "mirrored": lambda image, points: (image[:, ::-1], points[ibug68().mirror] * [-1, 1] + [SIZE - 1, 0]),
    "recropped": recropped,
    "annotated anew": lambda image, points: (image, points + np.random.default_rng(0).normal(0, 0.4, points.shape)),
}


def cut(pairs: list[tuple[Image, Points]]) -> Image:
    return duplicates.cut(np.array([image for image, _ in pairs]), np.array([points for _, points in pairs]), ibug68())


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_and_brings_its_points_along(name: str) -> None:
    images, points = drawn(8)
    faces = [*zip(images, points, strict=True), COPIES[name](images[3], points[3])]
    patches = cut(faces)
    (pair,) = duplicates.find(patches, len(patches))
    assert (pair.first, pair.second, pair.mirrored) == (3, 8, name == "mirrored")
    first, second = human_floor.annotations([pair], np.array([points for _, points in faces]), ibug68())
    expected = metrics.nme(COPIES["annotated anew"](images[3], points[3])[1][None], points[3][None], ibug68())
    np.testing.assert_array_equal(first[0], points[3].astype(float))
    np.testing.assert_allclose(
        metrics.nme(second, first, ibug68()), expected if name == "annotated anew" else 0, atol=0.4
    )


def test_different_faces_are_not_found() -> None:
    patches = duplicates.cut(*drawn(40), ibug68())
    assert duplicates.find(patches, 40) == []


def test_the_order_of_faces_does_not_matter() -> None:
    images, points = drawn(4)
    faces = [*zip(images, points, strict=True), COPIES["recropped"](images[1], points[1])]
    (there,) = duplicates.find(cut(faces), 5)
    (back,) = duplicates.find(cut(faces[::-1]), 5)
    assert {4 - back.first, 4 - back.second} == {there.first, there.second}
    assert back.similarity == pytest.approx(there.similarity, abs=0.05)


def test_what_follows_the_first_n_is_not_compared_among_itself() -> None:
    images, points = drawn(3)
    patches = duplicates.cut(images[[0, 1, 1, 0]], points[[0, 1, 1, 0]], ibug68())
    assert [(pair.first, pair.second) for pair in duplicates.find(patches, 1)] == [(0, 3)]


def test_flat_pictures_are_no_duplicates() -> None:
    _, points = drawn(2)
    patches = duplicates.cut(np.full((2, SIZE, SIZE, 3), 128, dtype=np.uint8), points, ibug68())
    assert duplicates.find(patches, 2) == []


def test_patches_on_disk_are_those_in_memory() -> None:
    images, points = drawn(5)
    room = duplicates.on_disk(6)
    duplicates.cut(images, points, ibug68(), room[1:])
    np.testing.assert_array_equal(room[1:], duplicates.cut(images, points, ibug68()))
    assert not room[0].any() and len(duplicates.on_disk(0)) == 0


def test_too_small_a_disk_is_told_before_anything_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FacemixError, match="no room for patches of 300000 faces .*expected 1.4 GiB; set TMPDIR"):
        duplicates.on_disk(300000)


@pytest.mark.parametrize(
    ("splits", "leak"),
    [
        (("train", "validation"), True),
        (("test", "train"), True),
        (("challenging", "synthetic"), True),
        (("validation", "test"), True),
        (("train", "train"), False),
        (("train", "synthetic"), False),
        (("test", "challenging"), False),
        (("test", "excluded"), False),
    ],
)
def test_a_leak_serves_two_purposes(splits: tuple[str, str], leak: bool) -> None:
    faces = dict(zip("ab", splits, strict=True))
    row = verdict.row("near", ("a", "b"), faces, 0.9)
    assert row == verdict.row("near", ("b", "a"), faces, 0.9)
    assert verdict.is_leak(row) == leak
    assert verdict.leaking([row], "test") == [
        face for face, split in faces.items() if leak and split in ("test", "challenging")
    ]


# A project with copies planted across its splits


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Params:
    """Of the training faces, 00000 is test face 00004, 00006 is validation face 00012, 00018 and 00024 are one."""
    monkeypatch.chdir(tmp_path)
    real = toy.write_300w(tmp_path / "data/sources/real/toy", n=36)
    toy.write_facesynthetics(tmp_path / "data/sources/synthetic/drawn", n=6)
    train = real / "helen/trainset"
    plant(real / "helen/testset/00004_1", train / "00000_1", "mirrored")
    plant(train / "00012_1", train / "00006_1", "darker")
    plant(train / "00018_1", train / "00024_1", "annotated anew")
    plant(real / "lfpw/testset/00005_1", tmp_path / "data/sources/synthetic/drawn/000002", "equal")
    (tmp_path / "data/splits/real").mkdir(parents=True)
    excluded = "# Mine\nexcluded: # by hand\n  - helen/trainset/00030_1\n"
    validation = "\n# One of 300\nvalidation:\n  - helen/trainset/00012_1\n"
    (tmp_path / "data/splits/real/300w.yaml").write_text(excluded + validation)
    sources = config.Sources(
        real=(config.Source(name="toy", format="300w"),),
        synthetic=(config.Source(name="drawn", format="facesynthetics"),),
    )
    pack = config.Pack(crop_size=88, margin=2.0)
    params = dataclasses.replace(PARAMS, sources=sources, render=toy.NO_RENDERS, pack=pack)
    prepare("real", params)
    prepare("synthetic", params)
    return params


def plant(face: Path, copy: Path, how: str) -> None:
    """Writes a copy of a face of a 300-W folder over another one, or over one of a FaceSynthetics folder."""
    points = np.loadtxt(face.with_suffix(".pts"), skiprows=3, max_rows=len(ibug68())) - 1
    image, points = COPIES[how](cv2.imread(f"{face}.jpg"), points)
    if copy.with_suffix(".pts").exists():
        cv2.imwrite(f"{copy}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])
        toy.write_pts(copy.with_suffix(".pts"), points + 0.01)  # equal points would be known as one photograph
    else:
        cv2.imwrite(f"{copy}.png", image)
        np.savetxt(f"{copy}_ldmks.txt", points)


def found() -> dict[tuple[str, str], str]:
    with Path("reports/leaks.csv").open(newline="") as file:
        return {(row["face_a"], row["face_b"]): row["kind"] for row in csv.DictReader(file)}


def test_planted_copies_are_listed_by_split(project: config.Params, capsys: pytest.CaptureFixture[str]) -> None:
    leaks(project)
    train = "toy/helen/trainset"
    assert found() == {
        (f"{train}/00000_1", "toy/helen/testset/00004_1"): "mirrored",
        (f"{train}/00006_1", f"{train}/00012_1"): "near",
        (f"{train}/00018_1", f"{train}/00024_1"): "near",
        ("drawn/000002", "toy/lfpw/testset/00005_1"): "exact",
    }
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "/", "test", "1", "leak"] in printed
    assert ["synthetic", "/", "test", "1", "leak"] in printed
    assert ["train", "/", "train", "1"] in printed
    assert cv2.imread("reports/leaks.png").shape[1] > 0


def test_the_human_floor_is_the_nme_between_two_annotations(project: config.Params) -> None:
    leaks(project)
    floor = json.loads(Path("reports/human_floor.json").read_text())
    source = Path("data/sources/real/toy/helen/trainset")
    first, second = (
        np.loadtxt(source / f"{name}_1.pts", skiprows=3, max_rows=len(ibug68()))[None] for name in ("00018", "00024")
    )
    assert (floor["pairs"], floor["photographs"]) == (1, 1)  # copied annotations are no second ones
    assert floor["nme"] == pytest.approx(float(metrics.nme(second, first, ibug68())[0]), rel=0.1)
    assert floor["nme"] == pytest.approx(floor["median"])


def pair(points: Points, first: int, second: int) -> duplicates.Pair:
    """Two faces of one image, found by pixels that do not move: frames follow annotations, pixels do not."""
    frames = duplicates.frames(points[[first, second]], ibug68())
    both = (np.vstack([frame, [0, 0, 1]]) for frame in frames)
    transform = (next(both) @ np.linalg.inv(next(both)))[:2]
    return duplicates.Pair(first=first, second=second, mirrored=False, similarity=1.0, transform=transform)


@pytest.mark.parametrize("normalizer", (*ibug68().face_sizes, *metrics.BOX_SIZES))
@pytest.mark.parametrize("degrees", [0, 40])
def test_the_human_floor_is_measured_as_the_nme_of_detectors_is(normalizer: str, degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    truth = 30 * toy.template() @ turn + 50
    points = np.array([truth, truth + np.random.default_rng(0).normal(0, 1, truth.shape)])
    floor = human_floor.measure([pair(points, 0, 1)], points, ibug68(), normalizer)
    assert floor["nme"] == pytest.approx(float(metrics.nme(points[1:], points[:1], ibug68(), normalizer)[0]), abs=1e-3)


def test_a_photograph_counts_once_in_the_human_floor() -> None:
    points = np.repeat(toy.template()[None] * 20 + 36, 5, axis=0)
    points[1:3] += [[[1.0, 0.0]], [[2.0, 0.0]]]  # one photograph three times: 1, 2 and 1 pixels apart
    points[4] += [3.0, 0.0]  # another one twice
    pairs = [pair(points, a, b) for a, b in ((0, 1), (0, 2), (1, 2), (3, 4))]
    floor = human_floor.measure(pairs, points, ibug68(), "outer_eye")
    per_pixel = 100 / float(metrics.face_size(points[:1], ibug68())[0])
    assert floor["nme"] == pytest.approx((4 / 3 + 3) / 2 * per_pixel, abs=1e-3)
    assert (floor["pairs"], floor["photographs"]) == (4, 2)
    assert human_floor.measure([], points, ibug68(), "outer_eye") == {
        "normalizer": "outer_eye",
        "photographs": 0,
        "pairs": 0,
    }


def test_excluded_training_faces_stay_out_and_the_test_stays_as_it_was(project: config.Params) -> None:
    before = packs.read(Path("data/packs/real"))
    leaks(project, exclude=True)
    prepare("real", project)
    prepare("synthetic", project)
    after, drawn_pack = packs.read(Path("data/packs/real")), packs.read(Path("data/packs/synthetic"))
    changed = dict(
        zip(after.ids[before.splits != after.splits], after.splits[before.splits != after.splits], strict=True)
    )
    assert changed == {f"toy/helen/trainset/{name}_1": "excluded" for name in ("00000", "00006")}
    assert drawn_pack.ids[drawn_pack.splits == "excluded"].tolist() == ["drawn/000002"]
    text = Path("data/splits/real/toy.yaml").read_text()  # of this source alone: others of the format keep their faces
    assert text.startswith("# Mine\nexcluded: # by hand\n  - helen/trainset/00000_1\n")
    assert text.endswith("  - helen/trainset/00030_1\n\n# One of 300\nvalidation:\n  - helen/trainset/00012_1\n")
    leaks(project)
    with Path("reports/leaks.csv").open(newline="") as file:
        assert not any(verdict.is_leak(row) for row in csv.DictReader(file))


@pytest.mark.parametrize("pictures", [1, 2])
def test_rendered_sets_of_one_stock_of_people_share_persons(
    pictures: int, project: config.Params, tmp_path: Path
) -> None:
    for name in ("stand_in", "synthetic"):
        folder = toy.write_facesynthetics(tmp_path / "data/renders" / name, n=30, seed=2 + len(name))
        if pictures > 1:
            table = {"file": [f"{i:06d}.png" for i in range(30)], "person": [i // pictures for i in range(30)]}
            parquet.write_table(pyarrow.table(table), folder / "faces.parquet")
    rendered = config.RenderedSet(n=30, seed=5, image_size=96, population={"people": 3})
    render = config.Render(synthetic=rendered, stand_in=rendered)
    params = dataclasses.replace(project, sources=config.Sources(real=(), synthetic=()), render=render)
    prepare("real", params)
    prepare("synthetic", params)
    leaks(params)
    assert {frozenset(pair) for pair in found()} == {
        frozenset({f"rendered/{i:06d}", f"stand_in/{j:06d}"})
        for i in range(30)
        for j in range(30)
        if i // pictures == j // pictures
    }
    assert set(found().values()) == {"person"}
    other = dataclasses.replace(rendered, population={"people": 4})
    leaks(dataclasses.replace(params, render=dataclasses.replace(render, synthetic=other)))
    assert found() == {}


@pytest.mark.real_data
def test_the_copies_that_300w_holds(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for link, target in (
        ("data/sources/real/300w", shared_data / "300w"),
        ("data/sources/synthetic/dgfaces_v1", shared_data / "synthetic/dgfaces_v1"),
        ("data/splits", Path(__file__).resolve().parents[2] / "data/splits"),
    ):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(target)
    sources = config.Sources(
        real=(config.Source(name="300w", format="300w"),),
        synthetic=(config.Source(name="dgfaces_v1", format="dgfaces_v1"),),
    )
    pack = config.Pack(crop_size=176, margin=2.0)
    params = dataclasses.replace(PARAMS, sources=sources, render=toy.NO_RENDERS, pack=pack)
    prepare("real", params)
    prepare("synthetic", params)
    leaks(params)
    pairs = {tuple(face.removeprefix("300w/") for face in pair) for pair in found()}
    train, test = "lfpw/trainset/image_", "lfpw/testset/image_"
    # The photographs of test faces are excluded from training; some of validation are not.
    assert {pair for pair in pairs if pair[0].startswith(test) and pair[1].startswith(train)} == {
        (f"{test}{a}", f"{train}{b}") for a, b in (("0007", "0862"), ("0066", "0215"), ("0096", "0828"))
    }
    assert {(f"{train}{a}", f"{train}{b}") for a, b in (("0384", "0345"), ("0809", "0825"), ("0827", "0843"))} <= pairs
    assert len(pairs) == pytest.approx(158, abs=3)
    floor = json.loads(Path("reports/human_floor.json").read_text())
    assert floor["nme"] == pytest.approx(2.73, abs=0.05)


def by_all_pairs(patches: Image, n: int) -> set[tuple[int, int, bool]]:
    """The plain way: the correlation of all pairs, and a full registration of all that are coarsely alike."""
    small = [cv2.resize(patch, (candidates.COARSE,) * 2, interpolation=cv2.INTER_AREA) for patch in patches]
    contrast = np.array([candidates.local_contrast(patch) for patch in small])
    straight, mirrored = candidates.units(contrast), candidates.units(contrast[:, :, ::-1])
    found = set()
    for others, sides in ((straight, patches), (mirrored, np.ascontiguousarray(patches[:, :, ::-1]))):
        for i, j in np.argwhere(np.triu(straight[:n] @ others.T, 1) >= candidates.CANDIDATE).tolist():
            if duplicates._register(patches[i], sides[j], 40, 1e-4)[0] >= duplicates.ALIKE:
                found.add((i, j, others is mirrored))
    return found


@pytest.mark.real_data
def test_no_copy_is_lost_that_comparing_all_pairs_finds(shared_data: Path) -> None:
    """Of 300-W, with a copy of each face: cropped, mirrored, compressed, and some of them annotated anew as well."""
    faces = [face for face in w300.read(shared_data / "300w", ibug68()) if isinstance(face, Face)][::3]
    frames = [geometry.crop_transform(geometry.landmark_box(face.landmarks), SIZE, 2.0) for face in faces]
    originals = [
        (geometry.warp(read_image(face.image), frame, SIZE), geometry.apply(frame, face.landmarks))
        for face, frame in zip(faces, frames, strict=True)
    ]
    rng, ways = np.random.default_rng(0), list(COPIES.values())
    copies = [
        (image, points + rng.normal(0, (0, 0.5, 1)[i % 3], points.shape))
        for i, original in enumerate(originals)
        for image, points in [ways[i % len(ways)](*original)]
    ]
    patches = cut([*originals, *copies])
    found = {(pair.first, pair.second) for pair in duplicates.find(patches, len(patches))}
    expected = {pair[:2] for pair in by_all_pairs(patches, len(patches))}
    assert found == expected
    assert len(found & {(i, i + len(faces)) for i in range(len(faces))}) > 0.9 * len(faces)
