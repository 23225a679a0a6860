"""`facemix convert`: an imported set, a folder or predictions as COCO keypoints, CSV or .pts for other tools."""

import csv
import difflib
import json
import os
import shlex
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from facemix import config
from facemix.errors import FacemixError
from facemix.faces import reduction, schemes, sources, writing
from facemix.faces.face import UNLABELLED, VISIBLE, BrokenFace, Face, File
from facemix.faces.formats import FORMATS, fitting
from facemix.faces.parallel import on_all_cores
from facemix.faces.schemes import Scheme
from facemix.faces.tars import Member
from facemix.faces.writing import WRITERS, Item
from facemix.files import whole_folder

COLUMNS = ("image", "face", "point", "x", "y")
"""Of a CSV that `facemix predict` writes."""
MODEL_FILE = "predictions.npz"
"""In a model's folder (`facemix.training.predictions`, which needs torch and is imported late)."""


def convert(
    source: str,
    to: str,
    out: Path,
    *,
    scheme: str | None = None,
    link: bool = False,
    format: str | None = None,  # noqa: A002
    source_scheme: str | None = None,
    skip_broken: bool = False,
) -> None:
    """Writes faces and their pictures to a new folder, which `facemix import` reads again.

    Args:
        source: the name of a source in params.yaml; or a folder, with `format`; or predictions: what `facemix predict
            --out` wrote, or a trained model's folder, whose predictions of the faces that judge it are taken.
        to: a key of `facemix.faces.writing.WRITERS`.
        out: the folder, which must not be there yet.
        scheme: write the points of this scheme, made from those that there are.
        link: symbolic links to the pictures instead of copies.
        format: of the folder.
        source_scheme: of a folder or of predictions, where their files do not tell.
        skip_broken: leave out what cannot be read or written, and list it, instead of writing nothing.

    Raises:
        FacemixError: what cannot be used, with its name; nothing is written.
        OSError: the disk is full or read-only.
    """
    if to not in WRITERS:
        raise FacemixError(f"--to {to}: expected one of {', '.join(WRITERS)}")
    if out.exists() or out.is_symlink():
        raise FacemixError(f"{out}: is there already; choose another folder, or remove it")
    items, broken = _found(source, format, source_scheme)
    if scheme:
        items, more = _reduced(items, scheme)
        broken += more
    if to == "pts":
        broken += writing.missing_points(items)
        items = [item for item in items if not (item.face.states == UNLABELLED).any()]
    if broken and skip_broken:
        print(f"{source}: {len(broken)} faces are left out:" + "".join(f"\n  {error}" for error in broken))
    elif broken:
        listed = "".join(f"\n  {error}" for error in broken)
        raise FacemixError(
            f"{source}: {len(broken)} faces cannot be read or written, nothing was written; correct these, or leave "
            f"them out with --skip-broken:{listed}"
        )
    if not items:
        raise FacemixError(f"{source}: no face is left to write")
    written = _written(items, to)
    if link and (inside := next((image for image in written.images.values() if isinstance(image, Member)), None)):
        raise FacemixError(f"--link: {inside}: this picture is inside of a tar; leave it out")
    with whole_folder(out) as beside:
        for place, text in written.texts.items():
            (beside / place).parent.mkdir(parents=True, exist_ok=True)
            (beside / place).write_text(text, encoding="utf-8")
        _take_images([(image, beside / place) for place, image in written.images.items()], link)
    _say(out, to, items, written)


def _written(items: Sequence[Item], to: str) -> writing.Written:
    try:
        return WRITERS[to](items)
    except BrokenFace as error:
        raise FacemixError(str(error)) from None


def _take_images(pairs: Sequence[tuple[File, Path]], link: bool) -> None:
    for folder in {target.parent for _, target in pairs}:
        folder.mkdir(parents=True, exist_ok=True)

    def take(pair: tuple[File, Path]) -> None:
        image, target = pair
        if not isinstance(image, Path):
            target.write_bytes(image.read_bytes())
        elif link:
            target.symlink_to(image.resolve())  # the original, though the source may be of links and go away
        else:
            shutil.copyfile(image, target)

    on_all_cores(take, pairs, "linking pictures" if link else "copying pictures")


def _say(out: Path, to: str, items: Sequence[Item], written: writing.Written) -> None:
    scheme = items[0].face.scheme
    for what in written.lost:
        print(f"{out}: the format {to} cannot keep {what}")
    if missing := [
        name for i, name in enumerate(scheme.points) if all(item.face.states[i] == UNLABELLED for item in items)
    ]:
        print(f"{out}: unlabelled in every face: {', '.join(missing)}")
    pictures = len(written.images)
    print(f"{out}: {len(items)} faces in {pictures} pictures, scheme {scheme.name}")
    print(f"to read it again: facemix import {to} {shlex.quote(str(out))} --scheme {scheme.name}")


def _reduced(items: Sequence[Item], name: str) -> tuple[list[Item], list[BrokenFace]]:
    """The faces in another scheme, and those of which less than two points are left."""
    if not items:
        return [], []
    scheme, made_of = reduction.between(items[0].face.scheme, name)
    kept, broken = [], []
    for item in items:
        face = reduction.reduced(item.face, scheme, made_of)
        count = int((face.states != UNLABELLED).sum())
        if count >= 2:
            kept.append(replace(item, face=face))
        else:
            reason = f"{face.id}: {count} labelled points of the scheme {name}, expected two or more"
            broken.append(BrokenFace(face.image, reason))
    return kept, broken


# What is converted


def _found(
    source: str,
    format: str | None,  # noqa: A002
    source_scheme: str | None,
) -> tuple[list[Item], list[BrokenFace]]:
    """The faces of what the user named, and the broken ones."""
    path = Path(source)
    if format is not None:
        fit = FORMATS[format].fitting(path) if format in FORMATS and path.is_dir() else []
        if len(fit) > 1 and not source_scheme:
            raise FacemixError(f"{source}: {' and '.join(fit)} fit its points; say which with --source-scheme NAME")
        own = config.Source(name="folder", format=format, scheme=source_scheme)
        return _of_folder(own, path, "real")
    params = config.load() if config.PARAMS_FILE.exists() else None
    known = {} if params is None else _sources(params)
    if source in known:
        if source_scheme:
            raise FacemixError(f"--source-scheme {source_scheme}: {source} has a scheme already; leave it out")
        own, folder, role = known[source]
        return _of_folder(own, folder, role)
    if path.is_file() and path.suffix in (".json", ".csv"):
        return _of_predictions(path, source_scheme), []
    if (path / MODEL_FILE).is_file():
        if params is None:
            raise FacemixError(f"{config.PARAMS_FILE}: not found; run this from the project's root")
        return _of_model(path, params), []
    near = difflib.get_close_matches(source, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    if path.is_dir():
        raise FacemixError(f"{source}: a folder that is no source of params.yaml; say what it holds with --format")
    raise FacemixError(
        f"{source}: found no such source{hint}; expected {', '.join(known) or 'a source of params.yaml'}, a folder "
        "with --format, a file of `facemix predict`, or a folder models/STRATEGY/seed-K"
    )


def _sources(params: config.Params) -> dict[str, tuple[config.Source, Path, str]]:
    """Every source by its name, those that are rendered too: source, folder, role."""
    found = {}
    for role in config.RENDERED:
        try:
            found.update({own.name: (own, folder, role) for own, folder in sources.folders(role, params)})
        except FacemixError:
            continue  # the role has no source, or its faces are not rendered yet
    return found


def _of_folder(own: config.Source, folder: Path, role: str) -> tuple[list[Item], list[BrokenFace]]:
    faces, broken = sources.read(own, folder, role)
    if own.skip_broken and broken:
        print(f"{own.name}: {len(broken)} broken faces are left out, as skip_broken in params.yaml says")
        broken = []
    return [Item(face=face, place=_below(face.image, folder)) for face in faces], broken


def _below(image: File, folder: Path) -> PurePosixPath:
    if isinstance(image, Member):
        return image.place
    assert isinstance(image, Path)
    return PurePosixPath(image.relative_to(folder).as_posix())


def _of_model(folder: Path, params: config.Params) -> list[Item]:
    """The faces that judge a model, with the points that it predicts, and the split that they judge in."""
    from facemix.training import predictions

    predicted = predictions.read(folder)
    entries = {f"{entry.source}/{entry.face.id}": entry for entry in sources.entries("real", params)}
    of_name = {own.name: folder for own, folder in sources.folders("real", params)}
    items = []
    for id_, points in zip(predicted.ids.tolist(), predicted.points[0.0], strict=True):
        if id_ not in entries:
            raise FacemixError(
                f"{folder / MODEL_FILE}: a face {id_} that params.yaml's sources do not have; check out the "
                "parameters that the model was trained with"
            )
        entry = entries[id_]
        if len(points) != len(entry.face.scheme):
            raise FacemixError(
                f"{folder / MODEL_FILE}: {len(points)} points a face, expected {len(entry.face.scheme)} as "
                f"{entry.source} has; check out the parameters that the model was trained with"
            )
        states = np.full(len(points), VISIBLE, dtype=np.uint8)
        face = replace(entry.face, landmarks=points, states=states, split=entry.split, id=id_)
        items.append(Item(face=face, place=entry.source / _below(face.image, of_name[entry.source])))
    return items


def _of_predictions(path: Path, scheme: str | None) -> list[Item]:
    """The faces of a file that `facemix predict --out` wrote. Its pictures are where it says, from where one is."""
    rows = _of_json(path) if path.suffix == ".json" else _of_csv(path)
    counts = {len(points) for _, points in rows}
    if len(counts) != 1:
        raise FacemixError(f"{path}: faces of {sorted(counts)} points, expected the same number in each")
    own = schemes.load(scheme) if scheme else _only(path, counts)
    if counts != {len(own)}:
        raise fitting.wrong_count(counts, own, str(path))
    images = {image: Path(os.path.normpath(Path(image).absolute())) for image, _ in rows}
    if missing := next((image for image, place in images.items() if not place.is_file()), None):
        raise FacemixError(f"{path}: picture {missing}: not found; run this where the predictions were made")
    common = Path(os.path.commonpath([place.parent for place in images.values()]))
    of_image: dict[str, list[npt.NDArray[np.float32]]] = defaultdict(list)
    for image, points in rows:
        of_image[image].append(points)
    return [
        _predicted(images[image], common, k if len(found) > 1 else None, points, own)
        for image, found in of_image.items()
        for k, points in enumerate(found)
    ]


def _only(path: Path, counts: set[int]) -> Scheme:
    """The one scheme of so many points."""
    found = fitting.of_count(counts)
    if len(found) != 1:
        which = f"{' and '.join(found)} have" if found else "no known scheme has"
        raise FacemixError(f"{path}: {which} {min(counts)} points; say which with --source-scheme NAME")
    return schemes.load(found[0])


def _predicted(image: Path, common: Path, number: int | None, points: npt.NDArray[np.float32], scheme: Scheme) -> Item:
    place = _below(image, common)
    photo = place.with_suffix("").as_posix()
    face = Face(
        id=photo if number is None else f"{photo}/{number}",
        subset="",
        photo=photo,
        image=image,
        landmarks=points,
        states=np.full(len(scheme), VISIBLE, dtype=np.uint8),
        scheme=scheme,
        files=(image,),
    )
    return Item(face=face, place=place)


Rows = list[tuple[str, npt.NDArray[np.float32]]]


def _of_json(path: Path) -> Rows:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        rows = [(str(face["image"]), np.array(face["landmarks"], dtype=np.float32)) for face in content]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _no_predictions(path, "a list of objects with image and landmarks") from None
    return _checked(path, rows)


def _of_csv(path: Path) -> Rows:
    points: dict[tuple[str, str], dict[int, tuple[float, float]]] = defaultdict(dict)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                points[row["image"], row["face"]][int(row["point"])] = (float(row["x"]), float(row["y"]))
    except (ValueError, TypeError, KeyError, csv.Error):
        raise _no_predictions(path, f"the columns {', '.join(COLUMNS)}") from None
    if any(sorted(face) != list(range(len(face))) for face in points.values()):
        raise _no_predictions(path, "the points 0 to K - 1 of each face")
    return _checked(
        path,
        [(image, np.array([xy for _, xy in sorted(face.items())], np.float32)) for (image, _), face in points.items()],
    )


def _checked(path: Path, rows: Rows) -> Rows:
    if not rows or not all(
        points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all() for _, points in rows
    ):
        raise _no_predictions(path, "faces of finite points x, y")
    return rows


def _no_predictions(path: Path, expected: str) -> FacemixError:
    return FacemixError(
        f"{path}: not what `facemix predict --out` writes, expected {expected}; to convert a folder of annotations, "
        "name the folder and its --format"
    )
