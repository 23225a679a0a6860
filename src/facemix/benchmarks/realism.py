"""`facemix bench realism`: how much synthetic sets are worth as they are, face for face.

For each set and number of faces it trains `synthetic_only`, fits the label adapter on the real training faces, and
measures both on the real validation faces. The same with as many of the real training faces themselves says what
rendered faces could be worth at best. Real test faces are never decoded, and no test figure is made.
"""

import csv
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemix import config
from facemix.config import Params
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import formats, packing, packs, splits
from facemix.faces.face import Face
from facemix.faces.order import nested_order
from facemix.faces.packs import Pack
from facemix.faces.sources import assign, split_path
from facemix.strategies import STRATEGIES
from facemix.training import tasks
from facemix.training.landmarker import Landmarker
from facemix.training.predictions import predict_pack
from facemix.training.strategy import lasting
from facemix.training.tasks import Rows, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A set of faces where it lies on disk, in the layout of FORMAT."""

    name: str
    format: str
    path: Path


@dataclass(frozen=True, slots=True)
class Row:
    """One finished training; NME on the real validation faces, in %."""

    set: str
    n: int
    seed: int
    synthetic_only: float
    label_adaptation: float
    training: str
    """Digest of all that the result depends on."""


REFERENCE = "real"
COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


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
    steps: int | None = None,
    out: Path | None = None,
) -> list[Row]:
    """Trains on `counts` faces of each set, with each of the seeds 0, 1, .. `seeds` - 1, and prints a table.

    Both figures are of the best step and epoch by these same validation faces: they compare sets with each other.

    Args:
        params: model, augmentation, training and adaptation; `n_real` pairs fit the label adapter.
        real: the real faces.
        sets: the synthetic ones; folders of one name are one set.
        counts: numbers of faces to train on.
        seeds: number of trainings of each set and count.
        steps: of each training, if not those of params; warm-up and evaluations keep their share of them.
        out: CSV that takes a row as soon as a training is done; the trainings that it holds are not done again.

    Raises:
        FacemixError: an argument, a face or the CSV cannot be used.
    """
    _check(counts, seeds, steps)
    params = params if steps is None else dataclasses.replace(params, training=lasting(params.training, steps))
    known = {row.training: row for row in read_rows(out)} if out else {}
    rows: list[Row] = []
    faces: dict[str, list[Face]] = {}
    for folder in sets:
        faces.setdefault(folder.name, []).extend(_read("--set", folder))
    with tempfile.TemporaryDirectory() as temporary:
        real_pack = _pack_real(Path(temporary) / "real", real, params)
        available = {name: len(own) for name, own in faces.items()}
        available[REFERENCE] = int((real_pack.splits == "train").sum())
        for n in sorted(set(counts)):
            for name, count in available.items():
                if count < n:
                    print(f"{name}: {count} faces, left out at n {n}", flush=True)
                    continue
                for seed in range(seeds):
                    if name == REFERENCE:
                        synthetic, rows_used = real_pack, tasks.choose(real_pack, n, seed, "--n")
                    else:
                        place = Path(temporary) / "synthetic"
                        synthetic = _pack_synthetic(place, name, faces[name], n, seed, params)
                        rows_used = np.arange(n)
                    task = _task(real_pack, synthetic, rows_used, seed, params)
                    row = known.get(_digest(task)) or _train(task, name, Path(temporary) / "checkpoint.pt")
                    rows.append(row)
                    print(
                        f"{row.set}, n {n}, seed {seed}: NME {row.synthetic_only:.2f} synthetic_only, "
                        f"{row.label_adaptation:.2f} label_adaptation{' (known)' if row.training in known else ''}",
                        flush=True,
                    )
                    if out and row.training not in known:
                        append_row(out, row)
    print("\n" + table(rows))
    return rows


def _check(counts: Sequence[int], seeds: int, steps: int | None) -> None:
    for argument, value in [*(("--n", n) for n in counts), ("--seeds", seeds), ("--steps", steps)]:
        if value is not None and value < 1:
            raise FacemixError(f"{argument}: found {value}, expected at least 1")


def _read(argument: str, folder: Folder) -> list[Face]:
    try:
        faces, broken = formats.read(folder.format, folder.path)
        packing.raise_broken(broken, len(faces) + len(broken))
    except ValueError as error:
        raise FacemixError(f"{argument}: {error}") from None
    return faces


def _pack_real(place: Path, real: Folder, params: Params) -> Pack:
    """A pack of the real training and validation faces; says how many there are and what decided which validate."""
    faces = _read("--real", real)
    source = config.Source(name=real.name, format=real.format)
    assigned = assign(source, faces)
    for split in ("train", "validation"):
        if split not in assigned:
            raise FacemixError(f"--real: {real.path}: found no {split} faces among {len(faces)}, expected some")
    entries = [
        packing.Entry(face=face, source=real.name, split=split)
        for face, split in zip(faces, assigned, strict=True)
        if split in ("train", "validation")
    ]
    file = split_path(source, "real")
    listed = file.exists() and "validation" in splits.listed(faces, splits.read_split_file(file))
    print(
        f"{real.name}: {assigned.count('train')} training and {assigned.count('validation')} validation faces, "
        + (f"those of {file}" if listed else f"drawn by hash, because no {file} lists them"),
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
    identity = task.identity() | {"pairs": len(_pairs(task)), "adaptation": config.plain(task.params.adaptation)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _train(task: Task, name: str, checkpoint: Path) -> Row:
    trained = tasks.train_network(task, checkpoint, lambda _row: None).landmarker
    faces_seen = trained.about["training"]["faces_seen"]
    checkpoint.unlink()
    adapted = tasks.fit_adapter(
        dataclasses.replace(
            task,
            strategy=STRATEGIES["label_adaptation"],
            synthetic=None,
            real_rows=_pairs(task),
            base=trained,
            behind=faces_seen,
        )
    ).landmarker
    assert task.synthetic_rows is not None
    return Row(
        set=name,
        n=len(task.synthetic_rows),
        seed=task.seed,
        synthetic_only=_validation_nme(trained, task),
        label_adaptation=_validation_nme(adapted, task),
        training=_digest(task),
    )


def _validation_nme(landmarker: Landmarker, task: Task) -> float:
    rows = task.split("validation")
    predicted = predict_pack(landmarker, task.real, rows)
    errors = metrics.nme(predicted, task.real.landmarks[rows], task.real.scheme, task.params.evaluation.normalizer)
    return round(float(errors.mean()), 4)


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV of this bench; none where there is no such file.

    Raises:
        FacemixError: another kind of file, or a row that is not whole.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if tuple(header) != COLUMNS:
        raise FacemixError(f"--out {path}: found the columns {', '.join(header)}, expected {', '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            name, n, seed, synthetic_only, label_adaptation, training = line
            numbers = int(n), int(seed), float(synthetic_only), float(label_adaptation)
        except ValueError:
            raise FacemixError(
                f"--out {path}: line {number}: found {','.join(line)!r}, expected {','.join(COLUMNS)}; delete the line"
            ) from None
        rows.append(Row(name, *numbers, training))
    return rows


def append_row(path: Path, row: Row) -> None:
    """Adds a row to a CSV, which begins with its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begins = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, dataclasses.astuple(row)] if begins else [dataclasses.astuple(row)])


def table(rows: Sequence[Row]) -> str:
    """A line for each set and n: mean NME over the seeds and, from two seeds on, their standard deviation."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, row.n), []).append(row)
    width = max([len(row.set) for row in rows] + [3])
    lines = [f"{'set':{width}} {'n':>6} {'seeds':>6}   {'synthetic_only':>16} {'label_adaptation':>18}"]
    for (name, n), group in groups.items():
        first = _mean([row.synthetic_only for row in group])
        second = _mean([row.label_adaptation for row in group])
        lines.append(f"{name:{width}} {n:6d} {len(group):6d}   {first:>16} {second:>18}")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"
