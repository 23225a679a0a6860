from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemix.faces import formats, splits
from facemix.faces.face import VISIBLE, Face
from facemix.faces.formats.w300 import SPLITS
from facemix.faces.order import nested_order
from facemix.faces.schemes import ibug68
from facemix.faces.splits import SplitFile

COMMITTED = Path(__file__).resolve().parents[2] / "data" / "splits" / "real" / "300w.yaml"
POINTS = np.zeros((68, 2), dtype=np.float32)


def face(id_: str, photo: str = "") -> Face:
    subset = id_.rpartition("/")[0]
    return Face(
        id=id_,
        subset=subset,
        photo=photo or id_,
        image=Path(id_),
        landmarks=POINTS,
        states=np.full(68, VISIBLE, dtype=np.uint8),
        scheme=ibug68(),
        split=SPLITS.get(subset, "train" if "/" in id_ else ""),
        files=(Path(id_),),
    )


def test_listed_faces_validate_and_excluded_ones_do_nothing() -> None:
    faces = [face("afw/1"), face("afw/2"), face("afw/3"), face("lfpw/testset/1"), face("ibug/1")]
    split_file = SplitFile(validation=("afw/1",), excluded=("afw/3",))
    assert splits.assign(faces, split_file) == ["validation", "train", "excluded", "test", "challenging"]


def test_a_photograph_never_stands_on_two_sides() -> None:
    faces = [
        face("helen/trainset/7_1", "helen/7"),
        face("helen/testset/7_2", "helen/7"),
        face("afw/1_1", "afw/1"),
        face("afw/1_2", "afw/1"),
    ]
    assert splits.assign(faces, SplitFile(validation=("afw/1_1",), excluded=())) == [
        "excluded",
        "test",
        "validation",
        "excluded",
    ]


@given(st.integers(0, 1000))
def test_without_a_split_file_photographs_are_split_by_hash(salt: int) -> None:
    faces = [face(f"{salt}/{i}", photo=f"{salt}/{i // 3}") for i in range(600)]
    assigned = splits.assign(faces, None)
    assert assigned == splits.assign(faces[::-1], None)[::-1]  # order does not matter
    by_photo = {one.photo: {s for f, s in zip(faces, assigned, strict=True) if f.photo == one.photo} for one in faces}
    assert all(len(found) == 1 for found in by_photo.values())
    counts = Counter(assigned)
    assert counts.keys() == {"train", "validation", "test"}


def test_a_set_without_test_subsets_tests_on_a_share_of_what_the_split_file_does_not_list() -> None:
    faces = [face(f"{i}", photo=f"{i // 2}") for i in range(400)]
    assigned = splits.assign(faces, SplitFile(validation=tuple(f"{i}" for i in range(0, 80, 2)), excluded=()))
    assert assigned[:80] == ["validation", "excluded"] * 40
    assert assigned[80::2] == assigned[81::2]
    assert Counter(assigned[80:]).keys() == {"train", "test"}


def test_listed_faces_test_and_official_test_faces_beside_them_are_left_out() -> None:
    faces = [face("afw/1"), face("afw/2"), face("lfpw/testset/1"), face("lfpw/testset/2"), face("ibug/1")]
    split_file = SplitFile(validation=("afw/2",), test=("afw/1", "lfpw/testset/1"))
    assert splits.assign(faces, split_file) == ["test", "validation", "test", "excluded", "excluded"]


def test_what_a_split_file_says_of_an_official_test_face_counts() -> None:
    faces = [face("lfpw/testset/1"), face("lfpw/testset/2"), face("lfpw/testset/3"), face("afw/1")]
    split_file = SplitFile(validation=("lfpw/testset/1",), excluded=("lfpw/testset/2",))
    assert splits.assign(faces, split_file) == ["validation", "excluded", "test", "train"]


def test_where_a_split_file_lists_test_faces_no_others_test() -> None:
    faces = [face(f"{i}", photo=f"{i // 2}") for i in range(400)]
    assigned = splits.assign(faces, SplitFile(test=("0", "2")))
    assert assigned[:4] == ["test", "excluded", "test", "excluded"]
    assert Counter(assigned[4:]).keys() == {"train", "validation"}


def test_listed_test_faces_that_are_not_there_change_nothing() -> None:
    faces = [face(f"{i}") for i in range(100)]
    assert splits.assign(faces, SplitFile(test=("x",))) == splits.assign(faces, None)


def test_the_name_of_a_photograph_stands_for_all_its_faces() -> None:
    faces = [face("a/0", "a"), face("a/1", "a"), face("b/0", "b"), face("c", "c"), face("d", "c")]
    split_file = SplitFile(validation=("b",), test=("a",), excluded=("c",))
    assert splits.listed(faces, split_file) == ["test", "test", "validation", "excluded", ""]  # c is a face as well
    assert splits.unknown(faces, ("a", "a/1", "c", "e")) == ["e"]


@given(st.integers(0, 50), st.integers(0, 100), st.integers(0, 100))
def test_subsets_are_nested_and_keep_their_faces_when_others_are_missing(seed: int, k: int, more: int) -> None:
    ids = np.array([f"face-{i}" for i in range(200)])
    order = nested_order(ids, seed)
    assert set(order[:k]) <= set(order[: k + more])
    kept = ids[np.sort(order[:150])]  # the others are missing
    chosen = kept[nested_order(kept, seed)[:k]]
    assert set(chosen) == set(ids[order[:k]])


def test_other_seeds_give_other_subsets() -> None:
    ids = np.array([f"face-{i}" for i in range(200)])
    assert set(nested_order(ids, 0)[:50]) != set(nested_order(ids, 1)[:50])


def test_the_committed_split_lists_300_training_faces() -> None:
    committed = splits.read_split_file(COMMITTED)
    assert len(set(committed.validation)) == 300
    assert not any("testset" in id_ or "ibug" in id_ for id_ in committed.validation + committed.excluded)


def test_the_known_near_duplicates_of_test_faces_are_excluded() -> None:
    known = {f"lfpw/trainset/image_{n}" for n in ("0215", "0828", "0862")} | {"helen/trainset/296814969_2"}
    assert set(splits.read_split_file(COMMITTED).excluded) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no keys, expected the keys validation, test and excluded"),
        ("tests: [a]", "found the key 'tests', expected"),
        ("test: a", "test: found 'a', expected .* list of names"),
        ("test: [000012]", "test: found 12, expected .* quotation marks"),
        ("test: [a, b, a]", "a is listed twice under test"),
        ("validation: [a]\nexcluded: [a]", "a is listed under both validation and excluded"),
        ("validation: [a", "split.yaml: not YAML .*; correct it"),
    ],
)
def test_a_bad_split_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        splits.read_split_file(path)


@pytest.mark.real_data
def test_the_committed_split_on_300w(shared_data: Path) -> None:
    faces, _ = formats.read("300w", shared_data / "300w")
    counts = Counter(splits.assign(faces, splits.read_split_file(COMMITTED)))
    assert counts == {"train": 1709, "validation": 300, "test": 554, "excluded": 3}
