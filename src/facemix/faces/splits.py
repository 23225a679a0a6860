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
    """A committed split (`data/splits/real/300w.yaml`): names of faces by their ids, or of whole photographs."""

    validation: tuple[str, ...] = ()
    """What validates."""
    test: tuple[str, ...] = ()
    """What tests."""
    excluded: tuple[str, ...] = ()
    """What is left out, such as training faces whose photograph also stands in validation or a test subset."""

    def items(self) -> list[tuple[str, tuple[str, ...]]]:
        """The lists by what they are called, which is also the split of what they name."""
        return [(key, getattr(self, key)) for key in _KEYS]


_KEYS = ("validation", "test", "excluded")


def read_split_file(path: Path) -> SplitFile:
    """Reads a split file: a YAML mapping of `validation`, `test` and `excluded`, or some of them, to lists of names.

    Raises:
        FacemixError: another structure, or a name that stands there twice.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise FacemixError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from None
    expected = "expected the keys validation, test and excluded, or some of them, each with a list of names; correct it"
    if not isinstance(content, Mapping) or not content:
        raise FacemixError(f"{path}: found no keys, {expected}")
    for key, names in content.items():
        if key not in _KEYS:
            raise FacemixError(f"{path}: found the key {key!r}, {expected}")
        if not isinstance(names, list):
            raise FacemixError(f"{path}: {key}: found {names!r}, {expected}")
        if wrong := [name for name in names if not isinstance(name, str)]:
            raise FacemixError(
                f"{path}: {key}: found {wrong[0]!r}, expected the name of a face or a photograph; put a number in "
                "quotation marks"
            )
    split_file = SplitFile(**{key: tuple(names) for key, names in content.items()})
    stated: dict[str, str] = {}
    for key, names in split_file.items():
        for name in names:
            if name in stated:
                places = f"under both {stated[name]} and {key}" if stated[name] != key else f"twice under {key}"
                raise FacemixError(f"{path}: {name} is listed {places}; list it once")
            stated[name] = key
    return split_file


def exclude(path: Path, ids: Sequence[str]) -> None:
    """Adds faces to the `excluded` of a split file, which need not be there yet; all else in it stays, comments too.

    Raises:
        FacemixError: the file has another structure, or lists one of the faces under another key; it is then untouched.
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
    listed = content.setdefault("excluded", [])
    for id_ in sorted(set(ids) - set(listed), reverse=True):
        listed.insert(0, id_)  # in front: what follows the list in the file hangs on its last item
    with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
        read_split_file(beside)


def listed(faces: Sequence[Face], split_file: SplitFile) -> list[str]:
    """What a split file says of each face: validation, test, excluded, or "" where it does not name it.

    A name that is no face's id stands for all faces of the photograph that is called so.
    """
    stated = {name: key for key, names in split_file.items() for name in names}
    ids = {face.id for face in faces}
    return [stated.get(face.id) or ("" if face.photo in ids else stated.get(face.photo, "")) for face in faces]


def unknown(faces: Sequence[Face], names: Sequence[str]) -> list[str]:
    """Those of a split file's names that neither a face nor a photograph has."""
    known = {face.id for face in faces} | {face.photo for face in faces}
    return [name for name in names if name not in known]


def assign(faces: Sequence[Face], split_file: SplitFile | None) -> list[str]:
    """The split of each face of a real source: train, validation, test, challenging or excluded.

    What the split file says of a face comes first. Where it lists no test face that is there, the format's official
    split decides what tests, else a fixed share of the photographs, chosen by hash. Where it lists some, the official
    test faces that it leaves out are excluded: nobody should train on them unawares. In the same way validate what the
    split file lists, else the official validation faces, else another share of the photographs. At last, a training
    face is excluded whose photograph stands in a test or validation set.
    """
    said = listed(faces, split_file or SplitFile())
    lists_test, lists_validation = "test" in said, "validation" in said
    has_test = lists_test or any(face.split in TESTS for face in faces)
    has_validation = any(face.split == "validation" for face in faces)
    listed_photos = {face.photo for face, split in zip(faces, said, strict=True) if split == "validation"}

    def first_choice(face: Face) -> str:
        if face.split in TESTS:
            return "excluded" if lists_test else face.split
        place = fraction("split", face.photo)
        if not lists_validation and (face.split == "validation" if has_validation else place < VALIDATION_SHARE):
            return "validation"
        tests = not has_test and VALIDATION_SHARE <= place < VALIDATION_SHARE + TEST_SHARE
        return "test" if tests and face.photo not in listed_photos else "train"

    splits = [split or first_choice(face) for face, split in zip(faces, said, strict=True)]
    held_out = {face.photo for face, split in zip(faces, splits, strict=True) if split in ("test", "challenging")}
    validating = {face.photo for face, split in zip(faces, splits, strict=True) if split == "validation"}
    return [
        "excluded"
        if (split in ("train", "validation") and face.photo in held_out)
        or (split == "train" and face.photo in validating)
        else split
        for face, split in zip(faces, splits, strict=True)
    ]
