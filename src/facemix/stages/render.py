"""`facemix render` and `facemix relabel`: sets of synthetic faces, for a folder of the user's or for the pipeline."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemix import cluster, config, tracking
from facemix.errors import FacemixError
from facemix.faces.sources import RENDERS
from facemix.files import file_lock, whole_folder
from facemix.render import folder, on_ray, sets, tables
from facemix.render.population import POPULATIONS, Population, changed
from facemix.render.relabel import relabel
from facemix.stages import former

_PICTURE = re.compile(rf"{folder.NAME}\.png")


def render_folder(
    out: Path | None = None,
    n: int | None = None,
    seed: int = 0,
    size: int = 256,
    domain: str = "synthetic",
    labels: str | None = None,
    scheme: str = tables.ANNOTATED,
    population: Path | None = None,
    seg: bool = False,
    image: str = "png",
    quality: int | None = None,
    shards: bool = False,
    processes: int | None = None,
    backend: str = "auto",
    on: str | None = None,
    address: str | None = None,
) -> None:
    """Renders a set into a folder of the user's, or goes on with it.

    Args:
        out: the folder.
        n: number of faces.
        seed: of equal seed and index come equal faces.
        size: side of a picture in pixels.
        domain: whose distributions.
        labels: `mesh`, `annotator` or `steady`; by default what the domain's usually are.
        scheme: which points are labelled.
        population: a YAML file with distributions to replace.
        seg: write the class of each pixel too.
        image: how pictures are compressed, `png`, `jpeg` or `webp`.
        quality: of JPEG and WebP; by default `sets.QUALITY`.
        shards: write tars of many faces.
        processes: by default one for each core.
        backend: of the renderer.
        on: `ray`: the machines of a cluster take the pictures.
        address: of that cluster.

    Raises:
        FacemixError: Ray's cluster cannot be joined, or its machines cannot render alike.
        FacemixError: what cannot be used, with its name; the folder holds something else.
        OSError: the disk is full or read-only.
        FacemixError: the generator failed, or a process of it died.
    """
    if out is None or n is None:
        raise FacemixError("found no --out or no --n, expected both: `facemix render --n 1000 --out DIR`")
    settings = sets.Settings(
        seed=seed,
        size=size,
        labels=labels or sets.usual_labels(domain, scheme),
        scheme=scheme,
        population=_changed(domain, population) if population else POPULATIONS[domain],
        segmentation=seg,
        image=image,
        quality=sets.QUALITY if quality is None and image != "png" else quality,
        backend=backend,
    )
    if on and processes is not None:
        raise FacemixError("--processes: on Ray each CPU of a machine renders a face; leave it out, or --on ray")
    with cluster.asked_for(on, address, on_ray.PACKAGES) as machines:
        sets.render_set(out, n, settings, processes, machines, sharded=shards)
    print(f"{out}: {n} faces")


def relabel_folder(
    path: Path, labels: str | None = None, scheme: str | None = None, processes: int | None = None
) -> None:
    """Gives the faces of a rendered folder new labels, without rendering.

    Args:
        path: the folder.
        labels: `mesh`, `annotator` or `steady`; by default as they are.
        scheme: which points are labelled; by default as they are.
        processes: by default one for each core.

    Raises:
        FacemixError: what cannot be used, with its name; the pictures are of another generator.
        OSError: the disk is full or read-only.
    """
    convention, of, count = relabel(path, labels, scheme, processes)
    print(f"{path}: {count} faces, labels {convention}, scheme {of}")


def _changed(domain: str, path: Path) -> Population:
    """The distributions of a domain, with those that a YAML file names replaced."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise FacemixError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise FacemixError(f"{path}: found {content!r}, expected a mapping of keys to values, such as `glasses: 0.5`")
    try:
        return changed(POPULATIONS[domain], content)
    except ValueError as error:
        raise FacemixError(f"{path}: {error}") from None


def render_stage(name: str, params: config.Params) -> None:
    """Renders `data/renders/NAME` as `render.NAME` of params.yaml says.

    DVC deletes an output before its stage runs. So the faces come into being at the main workspace's root, where a
    stopped run finds them again, and move when all are there. Pictures that the last run made are taken from DVC's
    cache where they are the same: new labels, or more faces, do not render them again.

    Raises:
        FacemixError: a key or value that a population cannot have.
        OSError: the disk is full or read-only.
        FacemixError: the generator failed, or a process of it died.
    """
    wanted: config.RenderedSet = getattr(params.render, name)
    out = RENDERS / name
    if wanted.n == 0:
        with whole_folder(out) as beside:
            folder.write_table(beside / folder.TABLE, [])
        print(f"{out}: no faces, because render.{name}.n is 0")
        return
    try:
        population = changed(POPULATIONS[name], wanted.population)
    except ValueError as error:
        raise FacemixError(f"params.yaml: render.{name}.{error}") from None
    scheme = wanted.scheme or tables.ANNOTATED
    try:
        settings = sets.Settings(
            seed=wanted.seed,
            size=wanted.image_size,
            labels=wanted.labels or sets.usual_labels(name, scheme),
            population=population,
            scheme=scheme,
        )
    except FacemixError as error:
        raise FacemixError(f"params.yaml: render.{name}.{error}") from None
    about = sets.manifest(settings)
    identity = json.dumps([wanted.n, sets.of_pictures(about)], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    with file_lock(tracking.workspace() / "checkpoints" / f"render-{name}-{digest}") as work:
        if not work.exists():
            _take_former(out, work, wanted.n, about)
        if (work / folder.MANIFEST).exists():
            relabel(work, settings.labels, settings.scheme)
        sets.render_set(work, wanted.n, settings)
        if out.exists():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work, out)  # not `rename`: a temporary workspace may lie on another disk
    print(f"{out}: {wanted.n} faces")


def _take_former(out: Path, work: Path, n: int, about: Mapping[str, Any]) -> None:
    """Copies what the stage wrote last, if its pictures are among those that are wanted now."""
    files = former.files(out)
    count = sum(bool(_PICTURE.fullmatch(name)) for name in files)
    if folder.MANIFEST not in files or not 0 < count <= n:
        return
    if sets.of_pictures(folder.read_json(files[folder.MANIFEST])) != sets.of_pictures(about):
        return
    with whole_folder(work) as beside:
        for name, file in files.items():
            shutil.copyfile(file, beside / name)
    print(f"{out}: {count} pictures of the last run stay as they are")
