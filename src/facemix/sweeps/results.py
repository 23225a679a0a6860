"""What a sweep's points say: read from their experiments, measured, and written as tables and figures."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facemix.config import REPORTS
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import packs, pose
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.faces.parallel import on_all_cores
from facemix.files import whole_file, write_table
from facemix.strategies import MODELS
from facemix.sweeps import plots, tables
from facemix.sweeps.grid import Errors, Point, Result
from facemix.sweeps.outputs import Outputs
from facemix.sweeps.repository import Repository
from facemix.training import predictions
from facemix.verdict import results, worth
from facemix.verdict.results import Detector

PACK_FILES = ("pack.json", "landmarks.npy", "states.npy", "columns.arrow")
MODEL_FILES = ("model.json", "history.csv", predictions.FILE)
"""What is read of each: neither crops nor weights."""
CURVES = ("curves.csv", "alpha.png", "n_real.png", "worth.csv", "parts.png")
FOLDER = REPORTS / "sweep"
"""Where tables and figures of a sweep go."""
Read = TypeVar("Read")


def read_results(
    project: Repository, names: Mapping[Point, str], revisions: Mapping[str, str], normalizer: str
) -> tuple[dict[Point, Result], int]:
    """Each training measured, as DVC has it in its experiment, and the number of real training faces.

    Args:
        project: where the experiments are.
        names: the experiment of each training.
        revisions: the git revision of each experiment.
        normalizer: the face size under the NME.

    Raises:
        FacemixError: an experiment's files are no longer in DVC's cache, or are not what a training writes.
    """
    if not names:
        return {}, 0
    with Outputs(project, [revisions[name] for name in names.values()]) as outputs:
        first = next(iter(names.values()))  # the faces are the same for all
        pack = _read(outputs, first, revisions[first], "prepare@real", packs.FOLDER / "real", PACK_FILES, _points_of)
        rows = np.flatnonzero(np.isin(pack.splits, predictions.JUDGING))
        yaw = pose.estimate(pack.landmarks[rows], pack.scheme)[:, 0]
        yaws = dict(zip(pack.ids[rows].tolist(), yaw.tolist(), strict=True))

        def read(point: Point) -> Result:
            name, folder = names[point], MODELS / point.strategy / f"seed-{point.seed}"
            detector = _read(
                outputs,
                name,
                revisions[name],
                point.stage,
                folder,
                MODEL_FILES,
                lambda model: results.load(model, pack, normalizer),
            )
            return Result(point=point, experiment=name, metrics=detector.figures, errors=tested(detector, yaws))

        read_points = on_all_cores(read, list(names), "reading points", unit="point")
    return dict(zip(names, read_points, strict=True)), int(np.sum(pack.splits == "train"))


def _points_of(pack: Path) -> Pack:
    return packs.read(pack, images=False)


def _read(
    outputs: Outputs,
    experiment: str,
    revision: str,
    stage: str,
    folder: Path,
    files: Iterable[str],
    read: Callable[[Path], Read],
) -> Read:
    """What a function reads from some files of a folder that a stage made in an experiment.

    Raises:
        FacemixError: as `read_results` does.
    """
    with tempfile.TemporaryDirectory() as temporary:
        there = Path(temporary) / "files"
        try:
            outputs.bring(revision, stage, folder, there, files)
            return read(there)
        except FileNotFoundError as error:
            raise FacemixError(
                f"{experiment}: its files are no longer in DVC's cache ({error}); run `dvc exp remove {experiment}`, "
                "then the sweep again"
            ) from None
        except FacemixError as error:
            raise FacemixError(
                f"{experiment}: {error}; run `dvc exp remove {experiment}`, then the sweep again"
            ) from None


def tested(detector: Detector, yaws: Mapping[str, float]) -> Errors:
    """The errors of a detector on its test faces, sorted by name.

    Args:
        detector: as `results.load` gives it.
        yaws: of each face, degrees.
    """
    errors = detector.errors[0.0].of("test", "challenging")
    order = np.argsort(errors.ids)
    regions = metrics.by_region(errors.points, detector.scheme)
    return Errors(
        faces=errors.ids[order],
        subsets=errors.subsets[order],
        photos=errors.photos[order],
        yaw=np.array([yaws[face] for face in errors.ids[order].tolist()]),
        nme={part: values[order] for part, values in {worth.ALL: errors.nme, **regions}.items()},
    )


def write_tables(found: Sequence[Result], total: int) -> None:
    """Writes `points.csv`, a row a point, and `errors.parquet`, a row a point and test face."""
    rows = tables.table(found, total)
    with whole_file(FOLDER / "points.csv") as beside:
        write_table(beside, rows)
    write_errors(FOLDER / "errors.parquet", rows, found)
    for name in CURVES:  # those of another grid
        (FOLDER / name).unlink(missing_ok=True)
    print(f"{FOLDER / 'points.csv'}: {len(rows)} points")


def write_curves(found: Sequence[Result], total: int) -> None:
    """Draws NME against alpha and n_real and says what synthetic faces are worth in real ones, where these vary."""
    rows = tables.table(found, total)
    if others := [
        key
        for key in rows[0]
        if key not in tables.COLUMNS and not metrics.is_rate(key) and len({row[key] for row in rows} - {None}) > 1
    ]:
        print(f"no curves are drawn, because they need one value of every other key, and {' and '.join(others)} varies")
        return
    normalizer = str(found[0].metrics["normalizer"])
    shown = STAND_IN_SHOWN if STAND_IN in found[0].metrics["test"]["subsets"] else ""
    varied = [key for key in ("alpha", "n_real") if len({row[key] for row in rows} - {None}) > 1]
    if varied:
        curves = tables.curves(found, total)
        with whole_file(FOLDER / "curves.csv") as beside:
            write_table(beside, curves)
        for key in varied:
            with whole_file(FOLDER / f"{key}.png") as beside:
                plots.SWEPT[key](beside, curves, normalizer, shown)
    if equals := tables.worth_table(found, total):
        counts = tables.real_counts(rows)
        with whole_file(FOLDER / "worth.csv") as beside:
            write_table(beside, [worth.say_worths(row, counts) for row in equals])
        with whole_file(FOLDER / "parts.png") as beside:
            plots.worth_by_part(beside, equals, counts, shown)
        print("\n".join(worth.say_worth(row, counts) for row in equals if row["part"] == worth.ALL))


def write_errors(path: Path, rows: Sequence[Mapping[str, Any]], found: Sequence[Result]) -> None:
    """Writes a row a point and tested face: strategy, alpha, n_real, seed, face, subset, photo, yaw, nme, regions.

    What else was given in the grid stands behind the seed.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    errors = [one.errors for one in found]

    def repeated(rows: Sequence[Mapping[str, Any]], key: str, kind: Any) -> Any:
        return pyarrow.array(
            [value for row, one in zip(rows, errors, strict=True) for value in [row[key]] * len(one.faces)], kind
        )

    def other(key: str) -> Any:
        if any(isinstance(row[key], str) for row in rows):  # a column has one type: 100 beside `all` are words, too
            words = [{key: None if row[key] is None else str(row[key])} for row in rows]
            return repeated(words, key, pyarrow.string())
        return repeated(rows, key, None)

    def joined(parts: Iterable[npt.NDArray[Any]], kind: Any) -> Any:
        return pyarrow.array(np.concatenate(list(parts)), kind)

    columns = {
        "strategy": repeated(rows, "strategy", pyarrow.string()),
        "alpha": repeated(rows, "alpha", pyarrow.float64()),
        "n_real": repeated(rows, "n_real", pyarrow.int64()),
        "seed": repeated(rows, "seed", pyarrow.int64()),
        **{key: other(key) for key in rows[0] if key not in tables.COLUMNS and not metrics.is_rate(key)},
        "face": joined((one.faces for one in errors), pyarrow.string()),
        "subset": joined((one.subsets for one in errors), pyarrow.string()),
        "photo": joined((one.photos for one in errors), pyarrow.string()),
        "yaw": joined((one.yaw for one in errors), pyarrow.float32()),
        "nme": joined((one.nme[worth.ALL] for one in errors), pyarrow.float32()),
    }
    for region in [part for part in errors[0].nme if part != worth.ALL]:
        columns[region] = joined((one.nme[region] for one in errors), pyarrow.float32())
    with whole_file(path) as beside:
        parquet.write_table(pyarrow.table(columns), beside, compression="zstd")
