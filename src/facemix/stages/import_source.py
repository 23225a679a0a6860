"""`facemix import`: takes a folder of faces into the project, whole or not at all."""

import dataclasses
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemix import cluster, config
from facemix.errors import FacemixError
from facemix.faces import on_ray, sources
from facemix.faces.face import HIDDEN, UNLABELLED, BrokenFace, Face
from facemix.faces.formats import ARCHIVES, FORMATS, OFFICIAL_300W, check, photos
from facemix.faces.formats.listing import visible
from facemix.faces.parallel import on_all_cores
from facemix.faces.tars import Member
from facemix.files import file_lock, whole_folder
from facemix.reporting import imported

ROLES = ("real", "synthetic")

_STAND_IN = "render.stand_in.n"
_NOTICES = ("README", "LICENSE", "LICENCE", "NOTICE")


def import_source(
    format: str,  # noqa: A002
    path: Path,
    name: str | None = None,
    role: str | None = None,
    link: bool = False,
    group: str | None = None,
    scheme: str | None = None,
    skip_broken: bool = False,
    every: int | None = None,
    check_only: bool = False,
    on: str | None = None,
    address: str | None = None,
    root: Path = Path(),
    known_broken: Sequence[BrokenFace] = (),
) -> Path:
    """Copies the faces of a folder to `data/sources/ROLE/NAME`, tracks them with DVC and names them in params.yaml.

    Every face is checked first, down to decoding its image. Before anything is copied, pictures of the faces with
    their points are written to `reports/import/NAME`, and what looks wrong is said. What fails, at whatever step,
    leaves nothing else behind.

    The originals are never changed. With `link`, `data/sources/ROLE/NAME` holds symbolic links to them; DVC follows the
    links, keeps a copy of its own in its cache (from there `dvc exp run --temp` and other checkouts take the files)
    and, told not to relink, leaves the links in place. So linking spares a second copy where the file system has
    neither reflinks nor hard links, but not the one in the cache.

    Args:
        format: a key of `facemix.faces.formats.FORMATS`.
        path: the folder in that format.
        name: name of the source; by default `300w` for that format, and the folder's own name for others.
        role: `real` or `synthetic`; by default what the format usually is.
        link: symbolic links to the original files instead of copies.
        group: a regular expression that finds in the id of a face (its path without suffix) what names the photograph,
            or `column:NAME`: a column, field or attribute of the files that does; it is kept in params.yaml.
        scheme: the name of the landmark scheme; by default that of the format, or the only one that the files fit.
            It is kept in params.yaml.
        skip_broken: leave broken faces out and list them, instead of importing nothing.
        every: k, where only each k-th frame of videos is wanted.
        check_only: show what would be imported, and import nothing.
        on: `ray`: the machines of a cluster decode.
        address: of that cluster.
        root: the project's root, which holds params.yaml.
        known_broken: faces that are known to be broken already.

    Returns:
        The folder of the source, or with `check_only` that of the pictures.

    Raises:
        FacemixError: the arguments do not fit, the source exists, or faces are broken: then all of them are listed.
        FacemixError: Ray's cluster cannot be joined, or its machines would decode otherwise.
        FacemixError: DVC failed.
    """
    if format in ARCHIVES:
        return _written_out(
            format,
            path,
            name,
            link,
            every,
            role=role,
            group=group,
            scheme=scheme,
            skip_broken=skip_broken,
            check_only=check_only,
            on=on,
            address=address,
            root=root,
        )
    if every is not None:
        raise FacemixError(f"--every: the format {format} has no videos; leave it out")
    role = role or (FORMATS[format].role if format in FORMATS else "real")
    name = name or (format if format == "300w" else path.resolve().name)
    source = config.Source(name=name, format=format, group=group, scheme=scheme, skip_broken=skip_broken or None)
    faces, broken = sources.read(source, path, role)
    broken += known_broken
    if faces and faces[0].scheme.name != FORMATS[format].scheme:
        source = dataclasses.replace(source, scheme=faces[0].scheme.name)
    shown = root / imported.FOLDER / name
    if check_only:
        broken += _damaged(faces, skip_broken, on, address)
        if usable := _usable(faces, broken):
            _show(format, shown, usable, role)
        _refuse(path, broken, skip_broken)
        print("nothing was imported; run the same command without --check to do so")
        return shown
    folder = root / sources.SOURCES / role / name
    with file_lock(root / "checkpoints" / "import"):  # each adds to the sources that params.yaml names
        changes = _changes(root / config.PARAMS_FILE, folder, source, role)
        broken += _damaged(faces, skip_broken, on, address)
        _refuse(path, broken, skip_broken)
        faces = _usable(faces, broken)
        if not faces:
            raise FacemixError(f"{path}: all faces are broken, nothing was imported")
        _show(format, shown, faces, role)
        _take_in(path, _files(path, faces), folder, link)
        params, before = root / config.PARAMS_FILE, (root / config.PARAMS_FILE).read_bytes()
        try:
            # DVC comes last: there is then nothing after it that could fail, and leave its file staged in git.
            config.update_params(params, changes)
            _track(root, folder, link)
        except BaseException:
            shutil.rmtree(folder)
            _tracker(folder).unlink(missing_ok=True)
            params.write_bytes(before)
            raise
        print(f"imported {len(faces)} faces as {role} source {name!r} into {folder}")
        if _STAND_IN in changes:
            print(f"{params}: set {_STAND_IN} to 0: rendered faces no longer stand in for real ones")
        return folder


def _written_out(
    format: str,  # noqa: A002
    path: Path,
    name: str | None,
    link: bool,
    every: int | None,
    *,
    scheme: str | None,
    root: Path,
    **options: Any,
) -> Path:
    """Imports pictures that are inside of other files: writes them to a temporary folder first.

    Raises:
        FacemixError: as `import_source`; or links are asked for, or `every` for what is no video.
    """
    archive = ARCHIVES[format]
    if not path.is_dir():
        raise FacemixError(f"{path}: no such folder, expected {archive.expected}; check the path")
    if link:
        raise FacemixError(f"--link: the pictures of {format} are inside of other files; leave it out")
    if every is not None and (not archive.videos or every < 1):
        expected = "1 or more" if archive.videos else f"none, as {format} has no videos"
        raise FacemixError(f"--every: found {every}, expected {expected}")
    place = root / "checkpoints"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".extracted-", dir=place) as temporary:
        folder = Path(temporary)
        try:
            broken = archive.extract(path, folder, every or 1)
            for notice in _notices(path):
                shutil.copyfile(notice, folder / notice.name)
            return import_source(
                archive.format,
                folder,
                name or path.resolve().name,
                scheme=scheme or archive.scheme,
                root=root,
                known_broken=broken,
                **options,
            )
        except FacemixError as error:
            raise FacemixError(str(error).replace(str(folder), str(path))) from None


def _damaged(faces: Sequence[Face], skip_broken: bool, on: str | None, address: str | None) -> list[BrokenFace]:
    """What is broken in the pictures.

    Raises:
        FacemixError: the cluster that is to decode them cannot.
        FacemixError: it is to be left out, and lies in a tar, which is imported as it is.
    """
    with cluster.asked_for(on, address, on_ray.PACKAGES) as machines:
        broken = check(faces, on_ray.inspecting(machines) if machines else None)
    if skip_broken and (inside := next((face for face in broken if isinstance(face.path, Member)), None)):
        raise FacemixError(
            f"--skip-broken: {inside}: this face is inside of a tar, which can only be imported whole; remove it there"
        )
    return broken


def _usable(faces: Sequence[Face], broken: Sequence[BrokenFace]) -> list[Face]:
    unusable = {face.path for face in broken}
    return [face for face in faces if face.image not in unusable]


def _refuse(path: Path, broken: Sequence[BrokenFace], skip_broken: bool) -> None:
    """Lists the broken faces, if there are any.

    Raises:
        FacemixError: they are not to be left out.
    """
    lines = "".join(f"\n  {face}" for face in broken)
    if broken and skip_broken:
        print(f"{path}: {len(broken)} broken faces are left out:{lines}")
    elif broken:
        raise FacemixError(
            f"{path}: {len(broken)} broken faces, nothing was imported; correct or remove these, or leave them out "
            f"with --skip-broken:{lines}"
        )


def _show(format: str, folder: Path, faces: Sequence[Face], role: str) -> None:  # noqa: A002
    print("\n".join(summary(format, faces)))
    print(described(faces))
    if role == "real":
        print(photos.described(faces))
    print("\n".join(imported.show(folder, faces)))


def summary(format: str, faces: Iterable[Face]) -> list[str]:  # noqa: A002
    """Faces per subset, one line each; of 300-W also the official counts and what is missing."""
    counts = Counter(face.subset for face in faces)
    if format != "300w":
        return [f"{subset or 'faces'}: {count}" for subset, count in sorted(counts.items())]
    return [
        f"{subset}: {counts[subset]} of {official}"
        + (f", {gap} missing" if (gap := official - counts[subset]) > 0 else "")
        for subset, official in OFFICIAL_300W.items()
    ]


def described(faces: Sequence[Face]) -> str:
    """One line: the scheme, the official splits, and how many points are hidden or unlabelled."""
    states = np.stack([face.states for face in faces])
    splits = Counter(face.split for face in faces if face.split)
    listed = "".join(f"; {count} {split}" for split, count in sorted(splits.items()))
    shares = f"{(states == UNLABELLED).mean():.1%} unlabelled, {(states == HIDDEN).mean():.1%} hidden"
    scheme = faces[0].scheme
    return f"scheme {scheme.name}: {len(scheme)} points, {shares}{listed}"


def _changes(params: Path, folder: Path, source: config.Source, role: str) -> dict[str, object]:
    """The keys of params.yaml that a new source changes, once it is certain that it can be added."""
    name = source.name
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise FacemixError(f"name {name!r}: expected letters, digits, '-' and '_' only; choose one with --name")
    if role not in ROLES:
        raise FacemixError(f"role {role!r}: expected one of {', '.join(ROLES)}")
    if name in config.RENDERED.values():
        raise FacemixError(f"name {name!r}: this name stands for rendered faces; choose another with --name")
    before = config.load(params)
    taken = any(one.name == name for one in before.sources.real + before.sources.synthetic)
    if taken or folder.exists() or _tracker(folder).exists():
        raise FacemixError(
            f"{folder}: a source named {name!r} already exists; choose another with --name, or remove it first"
        )
    listed = before.sources.real if role == "real" else before.sources.synthetic
    entries = [config.plain(one) for one in (*listed, source)]
    changes: dict[str, object] = {f"sources.{role}": entries}
    if role == "real" and before.render.stand_in.n:
        changes[_STAND_IN] = 0
    return changes


def _files(path: Path, faces: Iterable[Face]) -> list[Path]:
    """What the readers need, and the notices that belong to it."""
    return list(dict.fromkeys(_notices(path) + [file for face in faces for file in face.files]))


def _notices(path: Path) -> list[Path]:
    return [file for file in visible(path) if file.is_file() and file.name.upper().startswith(_NOTICES)]


def _take_in(path: Path, files: Sequence[Path], folder: Path, link: bool) -> None:
    """Fills the folder under another name first, so that it is there whole or not at all."""
    with whole_folder(folder) as beside:

        def take(file: Path) -> None:
            target = beside / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                target.symlink_to(file.absolute())
            else:
                shutil.copyfile(file, target)

        on_all_cores(take, files, "linking" if link else "copying", "file")


def _tracker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.dvc")


def _track(root: Path, folder: Path, link: bool) -> None:
    target = folder.relative_to(root).as_posix()
    command = [sys.executable, "-m", "dvc", "add", *(["--no-relink"] if link else []), target]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise FacemixError(f"dvc add {target} failed in {root.resolve()}, nothing was imported:\n{done.stderr.strip()}")
