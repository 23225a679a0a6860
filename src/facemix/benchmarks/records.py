"""Finished trainings of `facemix bench realism`: a row of a CSV for each, and beside it the errors of its faces.

The errors lie in a folder that is called as the CSV: `realism.csv` and `realism_faces/TRAINING.npz`.
"""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemix.benchmarks.halves import MEASURES, Errors
from facemix.errors import FacemixError
from facemix.files import whole_file


@dataclass(frozen=True, slots=True)
class Row:
    """One finished training; NME on the real validation faces, in %."""

    set: str
    n: int
    steps: int
    seed: int
    synthetic_only: float
    label_adaptation: float
    training: str
    """Digest of all that the result depends on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished training with the errors of its faces."""

    row: Row
    errors: Errors


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


def faces_path(csv_path: Path, training: str) -> Path:
    """Where the errors of a training's faces lie."""
    return csv_path.parent / f"{csv_path.stem}_faces" / f"{training}.npz"


def read(path: Path) -> list[Row]:
    """The rows of a CSV of this bench; none where there is no such file.

    Raises:
        FacemixError: another kind of file, or a row that is not whole.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if tuple(header) != COLUMNS:
        raise FacemixError(
            f"--out {path}: found the columns {', '.join(header)}, expected {', '.join(COLUMNS)}; name another file, "
            "as what an earlier version measured cannot be compared with what this one measures"
        )
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            name, n, steps, seed, synthetic_only, label_adaptation, training = line
            numbers = int(n), int(steps), int(seed), float(synthetic_only), float(label_adaptation)
        except ValueError:
            raise FacemixError(
                f"--out {path}: line {number}: found {','.join(line)!r}, expected {','.join(COLUMNS)}; delete the line"
            ) from None
        rows.append(Row(name, *numbers, training))
    return rows


def with_errors(path: Path, row: Row) -> Finished:
    """A row of a CSV with the errors of its faces.

    Raises:
        FacemixError: their file is missing or damaged.
    """
    file = faces_path(path, row.training)
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as content:
            (first_step, second_step), (first_epoch, second_epoch) = content["steps"], content["epochs"]
            errors = Errors(
                photos=content["photos"],
                synthetic_only=content["synthetic_only"],
                label_adaptation=content["label_adaptation"],
                steps=(int(first_step), int(second_step)),
                epochs=(int(first_epoch), int(second_epoch)),
            )
        if any(getattr(errors, measure).shape != errors.photos.shape for measure in MEASURES):
            raise ValueError("numbers of faces differ")
    except Exception as error:  # numpy and zipfile have many words for a damaged file
        what = "not found" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        raise FacemixError(
            f"{file}: {what}, expected the errors of the faces of {row.set}, n {row.n}, seed {row.seed}; put the file "
            f"back, or delete the line that ends in {row.training} from {path}"
        ) from error
    return Finished(row, errors)


def append(path: Path, finished: Finished) -> None:
    """Adds a training to a CSV, which begins with its header; the errors of its faces are there before the row is."""
    with whole_file(faces_path(path, finished.row.training)) as beside, beside.open("wb") as file:
        errors = finished.errors
        arrays = {field.name: np.array(getattr(errors, field.name)) for field in dataclasses.fields(errors)}
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    begins = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([COLUMNS] if begins else [])
        writer.writerow(dataclasses.astuple(finished.row))
