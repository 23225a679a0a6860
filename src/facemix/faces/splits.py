"""Which faces train, validate and test: photo by photo, the same everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemix.errors import FacemixError
from facemix.faces.face import Face
from facemix.faces.order import fraction
from facemix.files import whole_file

TESTS = ("test", "challenging")
"""Official splits that test; both together are Full."""

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFile:
    """A committed split (`data/splits/real/300w.yaml`)."""

    validation: tuple[str, ...]
    """Ids of the faces that validate."""
    excluded: tuple[str, ...]
    """Ids of faces that do not train: their photograph also stands in validation or a test subset."""


def read_split_file(path: Path) -> SplitFile:
    """Reads a split file: a YAML mapping of `validation` and `excluded` to lists of face ids.

    Raises:
        FacemixError: another structure, or an id under both.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise FacemixError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from None
    keys = ("validation", "excluded")
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(key), list) and all(isinstance(id_, str) for id_ in content[key]) for key in keys
    ):
        raise FacemixError(f"{path}: expected the keys validation and excluded, each with a list of face ids")
    both = set(content["validation"]) & set(content["excluded"])
    if both:
        raise FacemixError(
            f"{path}: {sorted(both)[0]} is listed under both validation and excluded; list it under one of them"
        )
    return SplitFile(validation=tuple(content["validation"]), excluded=tuple(content["excluded"]))


def exclude(path: Path, ids: Sequence[str]) -> None:
    """Adds faces to the `excluded` of a split file, which need not be there yet; all else in it stays, comments too.

    Raises:
        FacemixError: the file has another structure, or lists one of the faces under validation; it is then untouched.
        OSError: it cannot be written.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096  # do not fold long lines
    if path.exists():
        read_split_file(path)
        content = yaml.load(path)
    else:
        content = {"excluded": [], "validation": []}
    listed = content["excluded"]
    for id_ in sorted(set(ids) - set(listed), reverse=True):
        listed.insert(0, id_)  # in front: what follows the list in the file hangs on its last item
    with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
        read_split_file(beside)


def assign(faces: Sequence[Face], split_file: SplitFile | None) -> list[str]:
    """The split of each face of a real source: train, validation, test, challenging or excluded.

    The format's official split decides what tests. What validates is what the split file lists; where the source holds
    none of that, the official validation faces; where there are none, a fixed share of the photographs, chosen by hash,
    and where no face tests officially, another share tests. What the split file excludes is excluded, and so is a
    training face whose photograph stands in a test or validation set.
    """
    listed = split_file is not None and not set(split_file.validation).isdisjoint(face.id for face in faces)
    has_test = any(face.split in TESTS for face in faces)
    has_validation = any(face.split == "validation" for face in faces)

    def first_choice(face: Face) -> str:
        if face.split in TESTS:
            return face.split
        if face.id in excluded:
            return "excluded"
        place = fraction("split", face.photo)
        if listed:
            validates = face.id in validation
        else:
            validates = face.split == "validation" if has_validation else place < VALIDATION_SHARE
        if validates:
            return "validation"
        tests = not has_test and VALIDATION_SHARE <= place < VALIDATION_SHARE + TEST_SHARE
        return "test" if tests and face.photo not in listed_photos else "train"

    validation = set(split_file.validation) if split_file else set()
    excluded = set(split_file.excluded) if split_file else set()
    listed_photos = {face.photo for face in faces if face.id in validation}
    splits = [first_choice(face) for face in faces]
    held_out = {face.photo for face, split in zip(faces, splits, strict=True) if split in ("test", "challenging")}
    validating = {face.photo for face, split in zip(faces, splits, strict=True) if split == "validation"}
    return [
        "excluded"
        if (split in ("train", "validation") and face.photo in held_out)
        or (split == "train" and face.photo in validating)
        else split
        for face, split in zip(faces, splits, strict=True)
    ]
