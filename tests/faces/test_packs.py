import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import toy
from facemix.faces import cropping, formats, geometry, order, packing, packs
from facemix.faces.drawing import contact_sheet
from facemix.faces.order import nested_order
from facemix.faces.packing import Entry


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    faces, _ = formats.read("facesynthetics", toy.write_facesynthetics(tmp_path / "set", n=9))
    return [Entry(face=face, source="toy", split="train") for face in faces]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_pack_gives_back_the_original_points(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    pack = packs.read(tmp_path / "pack")
    assert pack.images.shape == (9, 64, 64, 3)
    assert list(pack.ids) == [f"toy/{entry.face.id}" for entry in entries]
    assert list(pack.photos) == [f"toy/{entry.face.photo}" for entry in entries]
    original = geometry.apply(geometry.invert(pack.transforms), pack.landmarks)
    np.testing.assert_allclose(original, [entry.face.landmarks for entry in entries], atol=1e-3)


def test_the_margin_is_the_crops_side_in_boxes(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    sides = geometry.square_side(geometry.landmark_box(packs.read(tmp_path / "pack").landmarks))
    np.testing.assert_allclose(sides, 32, atol=1e-3)


def test_a_pack_is_mapped_not_read(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    pack = packs.read(tmp_path / "pack")
    columns = (pack.ids, pack.photos, pack.subsets, pack.splits, pack.transforms, pack.boxes, *pack.by_hash)
    assert all(isinstance(array, np.memmap) for array in (pack.landmarks, pack.states, *columns))


def test_rows_are_found_by_ids(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    pack = packs.read(tmp_path / "pack")
    assert pack.rows_of(pack.ids[[4, 0, 4]].tolist()).tolist() == [4, 0, 4]
    assert pack.rows_of([]).tolist() == []
    for unknown in ("toy/none", pack.ids[0] + "x", ""):
        with pytest.raises(KeyError, match=f"'{unknown}'"):
            pack.rows_of([pack.ids[0], unknown])


def test_ids_of_one_hash_are_told_apart(tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    few = lambda ids: np.array([len(id_) % 2 for id_ in ids], np.uint64)  # noqa: E731
    monkeypatch.setattr(order, "hashes", few)
    monkeypatch.setattr(packs, "hashes", few)
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    pack = packs.read(tmp_path / "pack")
    assert pack.rows_of(pack.ids[::-1].tolist()).tolist() == list(range(9))[::-1]
    with pytest.raises(KeyError, match="'toy/000009'"):
        pack.rows_of(["toy/000003", "toy/000009"])


def test_the_same_faces_make_the_same_pack(tmp_path: Path, entries: list[Entry]) -> None:
    for name in ("a", "b"):
        packing.write(tmp_path / name, entries, size=64, margin=2.0)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_order_of_chosen_faces_is_that_of_their_ids() -> None:
    ids, rows = np.array([f"face-{i}" for i in range(30)]), np.array([29, 3, 17, 4, 0])
    np.testing.assert_array_equal(nested_order(ids, 5, rows), nested_order(ids[rows], 5))


def test_another_split_changes_the_digest(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "a", entries, size=64, margin=2.0)
    changed = [Entry(face=e.face, source=e.source, split="test") for e in entries]
    packing.write(tmp_path / "b", changed, size=64, margin=2.0)
    assert packs.read(tmp_path / "a").digest != packs.read(tmp_path / "b").digest


def test_all_broken_faces_are_listed_and_nothing_is_written(tmp_path: Path, entries: list[Entry]) -> None:
    for i in (2, 5):
        entries[i].face.image.write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 9 faces are broken(.|\n)*000002(.|\n)*000005"):
        packing.write(tmp_path / "out" / "pack", entries, size=64, margin=2.0)
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_leaves_the_former_pack(
    tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    packing.write(tmp_path / "out" / "pack", entries, size=64, margin=2.0)
    before = packs.read(tmp_path / "out" / "pack").digest

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="pack: could not be written .No space left on device.; nothing was changed"):
        packing.write(tmp_path / "out" / "pack", entries[:3], size=64, margin=2.0)
    assert packs.read(tmp_path / "out" / "pack").digest == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pack"]


def test_a_packs_space_is_taken_before_it_is_filled(
    tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def allocated(_: object, faces: object, *__: object) -> list[object]:
        (images,) = tmp_path.rglob("images/*.npy")
        taken.append(images.stat().st_blocks * 512)
        raise KeyboardInterrupt

    monkeypatch.setattr(cropping, "in_turn", allocated)
    with pytest.raises(KeyboardInterrupt):
        packing.write(tmp_path / "out" / "pack", entries, size=64, margin=2.0)
    assert taken[0] >= len(entries) * 64 * 64 * 3


def test_a_pack_of_parts_that_do_not_belong_together_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    about = json.loads((tmp_path / "pack" / "pack.json").read_text())
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(about | {"faces": 8}))
    with pytest.raises(ValueError, match="images holds 9 faces.*pack.json says 8; make it again"):
        packs.read(tmp_path / "pack")
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(about))
    (shard,) = (tmp_path / "pack/images").iterdir()
    np.save(shard, np.load(shard)[1:])
    with pytest.raises(ValueError, match=r"holds uint8 \(8, 64, 64, 3\), expected uint8 \(9, 64, 64, 3\)\); make it"):
        packs.read(tmp_path / "pack")
    assert len(packs.read(tmp_path / "pack", images=False)) == 9
    (tmp_path / "pack" / "columns.arrow").unlink()
    with pytest.raises(ValueError, match="not a readable pack"):
        packs.read(tmp_path / "pack")


def test_a_pack_of_one_file_of_images_is_to_be_made_again(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    about = json.loads((tmp_path / "pack" / "pack.json").read_text())
    del about["shards"]
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(about))
    np.save(tmp_path / "pack" / "images.npy", np.zeros((9, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="not a readable pack .'shards'.; make it again with `dvc repro prepare`"):
        packs.read(tmp_path / "pack")


def test_the_contact_sheet_shows_points_in_green(tmp_path: Path, entries: list[Entry]) -> None:
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0)
    pack = packs.read(tmp_path / "pack")
    sheet = contact_sheet(pack.images, pack.landmarks)
    assert sheet.shape == (64, 9 * 64, 3)
    x, y = pack.landmarks[0, 30].round().astype(int)
    assert sheet[y, x].tolist() == [60, 255, 60]


def test_the_face_finder_is_fitted_on_the_same_training_faces_and_leaves_the_digest(
    tmp_path: Path, entries: list[Entry]
) -> None:
    entries = [Entry(face=e.face, source=e.source, split="test" if k < 3 else "train") for k, e in enumerate(entries)]
    shown = {}

    def fit(name: str) -> packing.FitFinder:
        def fitted(images: Iterable[np.ndarray], boxes: np.ndarray) -> dict[str, int]:
            shown[name] = {(image.tobytes(), box.tobytes()) for image, box in zip(images, boxes, strict=True)}
            return {"of": len(boxes)}

        return fitted

    packing.write(tmp_path / "a", entries, size=64, margin=2.0, fit_finder=fit("a"))
    packing.write(tmp_path / "b", entries[::-1], size=64, margin=2.0, fit_finder=fit("b"))
    packing.write(tmp_path / "c", entries, size=64, margin=2.0)
    pack, without = packs.read(tmp_path / "a"), packs.read(tmp_path / "c")
    assert shown["a"] == shown["b"] and len(shown["a"]) == 6
    assert shown["a"] == {
        (pack.images[k].tobytes(), geometry.landmark_box(pack.landmarks[k]).tobytes()) for k in range(3, 9)
    }
    assert pack.finder == {"of": 6} and without.finder is None
    assert pack.digest == without.digest


def test_a_few_training_faces_are_enough_for_the_face_finder(
    tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "FITTED", 4)
    fit = lambda images, boxes: {"of": sum(1 for _ in images)}  # noqa: E731
    packing.write(tmp_path / "pack", entries, size=64, margin=2.0, fit_finder=fit)
    assert packs.read(tmp_path / "pack").finder == {"of": 4}
