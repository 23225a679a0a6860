"""`facemix bench realism`: how much synthetic sets are worth as they are, face for face.

For each set and number of faces it trains `synthetic_only`, fits the label adapter on the real training faces, and
measures both on the real validation faces: each half of these by what the other half chose (`halves`). The same with as
many of the real training faces themselves says what rendered faces could be worth at best. Real test faces are never
decoded, and no test figure is made.
"""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemix import config
from facemix.benchmarks import curve_plot, findings, halves, records
from facemix.benchmarks.records import Finished, Row
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.faces import formats, packing, packs, schemes, sources, splits
from facemix.faces.face import Face
from facemix.faces.order import nested_order
from facemix.faces.packs import Pack
from facemix.strategies import STRATEGIES
from facemix.training import tasks
from facemix.training.strategy import lasting
from facemix.training.tasks import Rows, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A set of faces where it lies on disk, in the layout of FORMAT."""

    name: str
    format: str
    path: Path


REFERENCE = "real"


def parse_real(text: str) -> Folder:
    """The folder of `--real FORMAT:PATH`; it goes by the name of its format.

    Raises:
        FacemixError: another form, or a format that there is not.
    """
    return _folder("--real", text, text.partition(":")[0], text)


def parse_set(text: str) -> Folder:
    """The folder of `--set NAME=FORMAT:PATH`.

    Raises:
        FacemixError: another form, or a format that there is not.
    """
    name, _, place = text.partition("=")
    return _folder("--set", text, name, place)


def _folder(argument: str, text: str, name: str, place: str) -> Folder:
    format_, _, path = place.partition(":")
    if argument == "--set" and name == REFERENCE:
        raise FacemixError(
            f"{argument}: found the name {REFERENCE!r}, the name of the real training faces; choose another"
        )
    if not (name and path):
        form = "FORMAT:PATH" if argument == "--real" else "NAME=FORMAT:PATH"
        raise FacemixError(f"{argument}: found {text!r}, expected {form}")
    if format_ not in formats.FORMATS:
        raise FacemixError(f"{argument}: found the format {format_!r}, expected one of {', '.join(formats.FORMATS)}")
    return Folder(name=name, format=format_, path=Path(path))


def realism(
    params: Params,
    real: Folder,
    sets: Sequence[Folder],
    counts: Sequence[int],
    *,
    seeds: int,
    steps: Sequence[int] = (),
    out: Path | None = None,
    picture: Path | None = None,
) -> list[Finished]:
    """Trains on `counts` faces of each set, with each of the seeds 0, 1, .. `seeds` - 1, and prints what comes out.

    Args:
        params: model, augmentation, training and adaptation; `n_real` pairs fit the label adapter.
        real: the real faces.
        sets: the synthetic ones; folders of one name are one set.
        counts: numbers of faces to train on; of equal seed, more faces contain the fewer.
        seeds: number of trainings of each set, count and number of steps.
        steps: of the trainings of each count, by default those of params; warm-up and evaluations keep their share.
        out: CSV that takes a row as soon as a training is done; the trainings that it holds are not done again.
        picture: file for the errors against the numbers of faces, as a PNG.

    Raises:
        FacemixError: an argument, a face or the CSV cannot be used.
    """
    _check(counts, seeds, steps)
    known = {row.training: row for row in records.read(out)} if out else {}
    lengths = [lasting(params.training, one) for one in sorted(set(steps)) or [params.training.steps]]
    finished: list[Finished] = []
    faces: dict[str, list[Face]] = {}
    for folder in sets:
        faces.setdefault(folder.name, []).extend(read("--set", folder))
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        real_pack = _pack_real(place / "real", real, params)
        for name, n, seed in _plan(faces, real_pack, counts, seeds):
            if name == REFERENCE:
                synthetic, rows = real_pack, tasks.choose(real_pack, n, seed, "--n")
            else:
                synthetic = _pack_synthetic(place / "synthetic", name, faces[name], n, seed, params)
                _check_schemes(name, synthetic, real_pack)
                rows = np.arange(n)
            for training in lengths:
                task = _task(real_pack, synthetic, rows, seed, dataclasses.replace(params, training=training))
                row = known.get(_digest(task))
                one = records.with_errors(out, row) if out and row else _train(task, name, place / "checkpoint.pt")
                if out and not row:
                    records.append(out, one)
                _say(one.row, is_known=bool(row))
                finished.append(one)
    if not finished:
        raise FacemixError("--n: no set has that many faces, expected one at least; lower it")
    print("\n" + findings.said(finished))
    if picture:
        curve_plot.draw(picture, findings.grouped(finished))
    return finished


def _plan(
    faces: Mapping[str, Sequence[Face]], real: Pack, counts: Sequence[int], seeds: int
) -> Iterator[tuple[str, int, int]]:
    """Set, number of faces and seed of each training; says which sets are too small for a number."""
    available = {name: len(own) for name, own in faces.items()} | {REFERENCE: int((real.splits == "train").sum())}
    for n in sorted(set(counts)):
        for name, count in available.items():
            if count < n:
                print(f"{name}: {count} faces, left out at n {n}", flush=True)
                continue
            for seed in range(seeds):
                yield name, n, seed


def _say(row: Row, is_known: bool) -> None:
    print(
        f"{row.set}, n {row.n}, steps {row.steps}, seed {row.seed}: NME {row.synthetic_only:.2f} synthetic_only, "
        f"{row.label_adaptation:.2f} label_adaptation{' (known)' if is_known else ''}",
        flush=True,
    )


def _check(counts: Sequence[int], seeds: int, steps: Sequence[int]) -> None:
    for argument, value in [*(("--n", n) for n in counts), ("--seeds", seeds), *(("--steps", one) for one in steps)]:
        if value < 1:
            raise FacemixError(f"{argument}: found {value}, expected at least 1")


def _check_schemes(name: str, synthetic: Pack, real: Pack) -> None:
    if not len(schemes.shared(synthetic.scheme, real.scheme)[0]):
        raise FacemixError(
            f"--set {name}: found points of {synthetic.scheme.name}, none of which is called as one of "
            f"{real.scheme.name}, the scheme of the real faces; expected some in common, by which both can be compared"
        )


def read(argument: str, folder: Folder) -> list[Face]:
    """The faces of a folder; photographs of real ones are known by their content too, as `facemix prepare` does.

    Raises:
        FacemixError: a face is broken; the message begins with the argument that named the folder.
    """
    source = config.Source(name=folder.name, format=folder.format)
    try:
        faces, broken = sources.read(source, folder.path, "real" if argument == "--real" else "synthetic")
        packing.raise_broken(broken, len(faces) + len(broken))
    except ValueError as error:
        raise FacemixError(f"{argument}: {error}") from None
    return faces


def of_split(real: Folder, split: str) -> list[Face]:
    """The real faces of one split.

    Raises:
        FacemixError: there is none, or a face is broken.
    """
    faces = read("--real", real)
    assigned = sources.assign(config.Source(name=real.name, format=real.format), faces)
    chosen = [face for face, own in zip(faces, assigned, strict=True) if own == split]
    if not chosen:
        raise FacemixError(f"--real: {real.path}: found no {split} faces among {len(faces)}, expected some")
    return chosen


def _pack_real(place: Path, real: Folder, params: Params) -> Pack:
    """A pack of the real training and validation faces; says how many there are, what decided which, and the halves."""
    faces = read("--real", real)
    source = config.Source(name=real.name, format=real.format)
    assigned = sources.assign(source, faces)
    for split in ("train", "validation"):
        if split not in assigned:
            raise FacemixError(f"--real: {real.path}: found no {split} faces among {len(faces)}, expected some")
    entries = [
        packing.Entry(face=face, source=real.name, split=split)
        for face, split in zip(faces, assigned, strict=True)
        if split in ("train", "validation")
    ]
    photos = np.array([f"{entry.source}/{entry.face.photo}" for entry in entries if entry.split == "validation"])
    try:
        second = int(halves.in_second(photos).sum())
    except FacemixError as error:
        raise FacemixError(f"--real: {real.path}: {error}") from None
    file = sources.split_path(source, "real")
    listed = file.exists() and "validation" in splits.listed(faces, splits.read_split_file(file))
    print(
        f"{real.name}: {assigned.count('train')} training and {len(photos)} validation faces, "
        + (f"those of {file}" if listed else f"drawn by hash, because no {file} lists them")
        + f"\n{real.name}: {len(photos) - second} and {second} of the validation faces choose step and epoch for each "
        "other",
        flush=True,
    )
    packing.write(place, entries, size=params.pack.crop_size, margin=params.pack.margin)
    return packs.read(place)


def _pack_synthetic(place: Path, name: str, faces: Sequence[Face], n: int, seed: int, params: Params) -> Pack:
    """A pack of the n faces that `tasks.choose` would draw from the whole set: the rest is not even decoded."""
    order = nested_order(np.array([f"{name}/{face.id}" for face in faces]), seed)
    entries = [packing.Entry(face=faces[i], source=name, split="train") for i in np.sort(order[:n])]
    packing.write(place, entries, size=params.pack.crop_size, margin=params.pack.margin)
    return packs.read(place)


def _task(real: Pack, synthetic: Pack, rows: Rows, seed: int, params: Params) -> Task:
    return Task(
        strategy=STRATEGIES["synthetic_only"],
        seed=seed,
        params=params,
        alpha=1.0,
        real=real,
        synthetic=synthetic,
        real_rows=None,
        synthetic_rows=rows,
        held_out=None,
        base=None,
        adapter=None,
        behind={},
        inputs={"real": real.digest, "synthetic": synthetic.digest},
    )


def _pairs(task: Task) -> Rows:
    """The real training faces that fit the label adapter."""
    return tasks.choose(task.real, task.params.n_real, task.seed, "n_real")


def _digest(task: Task) -> str:
    params = task.params
    identity = task.identity() | {
        "pairs": len(_pairs(task)),
        "adaptation": config.plain(params.adaptation),
        "evaluation": config.plain(params.evaluation),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _train(task: Task, name: str, checkpoint: Path) -> Finished:
    errors = halves.measure(task, _pairs(task), checkpoint)
    assert task.synthetic_rows is not None
    means = {measure: round(float(getattr(errors, measure).mean()), 4) for measure in halves.MEASURES}
    row = Row(
        set=name,
        n=len(task.synthetic_rows),
        steps=task.params.training.steps,
        seed=task.seed,
        **means,
        training=_digest(task),
    )
    return Finished(row, errors)
