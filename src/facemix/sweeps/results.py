"""What a sweep's points say: read from their experiments, measured, and written as tables and figures."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facemix.config import ANSWERS, PARAMS_FILE, REPORTS
from facemix.errors import FacemixError
from facemix.evaluation import metrics
from facemix.faces import packs, pose
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.faces.parallel import on_all_cores
from facemix.faces.schemes import Scheme
from facemix.files import whole_file, write_table
from facemix.strategies import MODELS
from facemix.sweeps import grid, plots, tables
from facemix.sweeps.grid import Errors, Inputs, Point, Result
from facemix.sweeps.outputs import Outputs, texts
from facemix.sweeps.point import SUMMARY
from facemix.sweeps.repository import Repository
from facemix.sweeps.work import Experiment
from facemix.training import predictions
from facemix.verdict import results, tuning, worth
from facemix.verdict.results import Detector

PACK_FILES = ("pack.json", "landmarks.npy", "states.npy", "columns.arrow")
MODEL_FILES = ("model.json", "history.csv", predictions.FILE)
"""What is read of each: neither crops nor weights."""
CURVES = ("curves.csv", "alpha.png", "n_real.png", "worth.csv", "parts.png")
FOLDER = REPORTS / "sweep"
"""Where tables and figures of a sweep go."""
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unranked:
    """A training that is compared with none: an NME over other points than the real faces' is no comparison."""

    reason: str
    n_synthetic: int
    """Synthetic training faces that were used."""


def read_results(
    project: Repository,
    digests: Mapping[Point, str],
    experiments: Mapping[str, Experiment],
    normalizer: str,
) -> tuple[dict[Point, Result | Unranked], int]:
    """Each training measured, as DVC has it in its experiment, and the number of real training faces.

    Args:
        project: where the experiments are.
        digests: of each training.
        experiments: that there are.
        normalizer: the face size under the NME.

    Raises:
        FacemixError: an experiment's files are no longer in DVC's cache, or are not what a training writes.
    """
    if not digests:
        return {}, 0
    names = {point: grid.experiment_name(point, digest) for point, digest in digests.items()}
    revisions = {name: experiments[name].revision for name in names.values()}
    summaries = texts(project, list(revisions.values()), SUMMARY)
    with Outputs(project, revisions.values()) as outputs:
        first = next(iter(names.values()))  # the faces are the same for all
        pack = _read(outputs, first, revisions[first], "prepare@real", packs.FOLDER / "real", PACK_FILES, _points_of)
        rows = np.flatnonzero(np.isin(pack.splits, predictions.JUDGING))
        yaw = pose.estimate(pack.landmarks[rows], pack.scheme)[:, 0]
        yaws = dict(zip(pack.ids[rows].tolist(), yaw.tolist(), strict=True))

        def read(point: Point) -> Result | Unranked:
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
            return measured(
                detector,
                pack.scheme,
                yaws,
                point=point,
                experiment=name,
                commit=experiments[name].commit,
                digest=digests[point],
                seconds=_seconds(summaries[revisions[name]], point.strategy),
            )

        read_points = on_all_cores(read, list(names), "reading points", unit="point")
    return dict(zip(names, read_points, strict=True)), int(np.sum(pack.splits == "train"))


def measured(
    detector: Detector, scheme: Scheme, yaws: Mapping[str, float], *, point: Point, **about: Any
) -> Result | Unranked:
    """What a training came to.

    Args:
        detector: as `results.load` gives it.
        scheme: of the real faces.
        yaws: of each face, degrees.
        point: that was trained.
        about: the other fields of its `Result`.
    """
    n_synthetic = detector.about["made_of"]["n_synthetic"]
    if reason := results.why_unranked(point.strategy, detector.scheme, scheme):
        return Unranked(reason=reason, n_synthetic=n_synthetic)
    figures = detector.figures
    failures = metrics.rate_names(figures["thresholds"])[0]
    return Result(
        point=point,
        val_nme=figures["val"]["nme"],
        test_nme=figures["test"]["nme"],
        failures=(failures, figures["test"][failures]),
        normalizer=figures["normalizer"],
        subsets=frozenset(figures["test"]["subsets"]),
        faces_seen=detector.faces_seen,
        n_synthetic=n_synthetic,
        errors=tested(detector, scheme, yaws),
        **about,
    )


def _seconds(summary: str | None, strategy: str) -> float | None:
    """What an experiment's own figures say of the time of its training; those of older code say nothing."""
    try:
        return float(json.loads(summary or "")["seconds"][strategy])
    except (ValueError, KeyError, TypeError):
        return None


def count_behind(
    found: Mapping[Point, Result | Unranked], inputs: Mapping[str, Inputs]
) -> dict[Point, Result | Unranked]:
    """The same; what trains on no synthetic faces itself has the number that the network behind it was trained on."""
    counted: dict[Point, Result | Unranked] = {}
    for point, one in found.items():
        behind = [found[need].n_synthetic for need in grid.needed(point, inputs) if need in found]
        counted[point] = dataclasses.replace(one, n_synthetic=one.n_synthetic or max(behind, default=0))
    return counted


def check_alike(found: Sequence[Result], normalizer: str) -> None:
    """Raises FacemixError where NMEs are in % of different face sizes, or not of the one that params.yaml names."""
    sizes = {one.normalizer: one.experiment for one in found}
    if normalizer != metrics.AUTO and (other := next((size for size in sizes if size != normalizer), None)):
        sizes = {normalizer: f"{PARAMS_FILE}'s evaluation.normalizer", other: sizes[other]}
    if len(sizes) > 1:
        (one, where), (other, there), *_ = sizes.items()
        raise FacemixError(
            f"{there}: found NME in % of {other}, expected {one} as that of {where}; set evaluation.normalizer in "
            f"{PARAMS_FILE} to {other}, which trains nothing again, or leave --known out"
        )


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


def tested(detector: Detector, scheme: Scheme, yaws: Mapping[str, float]) -> Errors:
    """The errors of a detector on its test faces, sorted by name.

    Args:
        detector: as `results.load` gives it.
        scheme: of the real faces.
        yaws: of each face, degrees.
    """
    errors = detector.errors[0.0].of("test", "challenging")
    order = np.argsort(errors.ids)
    regions = metrics.by_region(errors.points, scheme)
    return Errors(
        faces=errors.ids[order],
        subsets=errors.subsets[order],
        photos=errors.photos[order],
        yaw=np.array([yaws[face] for face in errors.ids[order].tolist()]),
        nme={part: values[order] for part, values in {**regions, worth.ALL: errors.nme}.items()},
    )


def write_tables(found: Sequence[Result], total: int) -> None:
    """Writes `points.csv`, a row a point, and `errors.parquet`, a row a point and test face."""
    rows = tables.table(found, total)
    with whole_file(FOLDER / "points.csv") as beside:
        write_table(beside, rows)
    whole = [(row, one) for row, one in zip(rows, found, strict=True) if one.errors is not None]
    if whole:
        write_errors(FOLDER / "errors.parquet", *zip(*whole, strict=True))
    else:
        (FOLDER / "errors.parquet").unlink(missing_ok=True)
    if len(whole) < len(found):
        print(
            f"{len(found) - len(whole)} of {len(found)} points known by means alone, as no errors.parquet with them "
            "lay beside the file: what is so known stands in points.csv and takes part in means at most, in no "
            "interval and no worth"
        )
    for former in (*(FOLDER / name for name in CURVES), *ANSWERS.glob("advice.*")):  # of another grid
        former.unlink(missing_ok=True)
    print(f"{FOLDER / 'points.csv'}: {len(rows)} point{'s' * (len(rows) != 1)}")


def write_curves(found: Sequence[Result], total: int) -> None:
    """Draws NME against alpha and n_real and says what synthetic faces are worth in real ones, where these vary.

    Where numbers of synthetic faces vary, that is done at one of them: see `tables.at_one_n_synthetic`. Where other
    settings vary, each mix stands at its own best ones: see `tuning.at_best`.
    """
    try:
        best, choices = tables.at_best_settings(found, total)
    except FacemixError as error:
        print(f"no curves are drawn: {error}")
        return
    kept, n_synthetic = tables.at_one_n_synthetic(best)
    rows = tables.table(kept, total)
    shown = tables.chosen_for(choices, rows)
    for line in tuning.sentences(shown):
        print(line)
    varied = [key for key in ("alpha", "n_real") if len({row[key] for row in rows} - {None}) > 1]
    if not varied:
        return
    if n_synthetic:
        left_out = len(tables.mixes(best) - tables.mixes(kept))
        print(
            f"the curves are of trainings with {n_synthetic:,} synthetic faces; {left_out} "
            f"mix{'es' * (left_out > 1)} with other numbers of them are left out: what more of them bring is told by "
            "`facemix advise`"
        )
    normalizer = kept[0].normalizer
    titles = [f"test: {STAND_IN_SHOWN}"] if any(STAND_IN in one.subsets for one in kept) else []
    titles += [f"synthetic training faces: {n_synthetic:,}"] if n_synthetic else []
    titles += ["each mix at its own best settings"] if shown else []
    title = "; ".join(titles)
    curves = tables.curves(kept, total)
    with whole_file(FOLDER / "curves.csv") as beside:
        write_table(beside, tables.with_settings(curves, shown))
    for key in varied:
        with whole_file(FOLDER / f"{key}.png") as beside:
            plots.SWEPT[key](beside, curves, normalizer, title)
    if equals := tables.worth_table(kept, total):
        counts = tables.real_counts(rows)
        with whole_file(FOLDER / "worth.csv") as beside:
            write_table(beside, [worth.say_worths(row) for row in equals])
        with whole_file(FOLDER / "parts.png") as beside:
            plots.worth_by_part(beside, equals, counts, title)
        print("\n".join(worth.say_worth(row) for row in equals if row["part"] == worth.ALL))


def write_errors(path: Path, rows: Sequence[Mapping[str, Any]], found: Sequence[Result]) -> None:
    """Writes a row a point and tested face: what names the point, the face, its errors, and the digest of the point.

    What was given in the grid beside alpha and numbers of faces stands before the face, too. Regions are there that all
    points have.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    errors = [one.errors for one in found if one.errors is not None]

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
        "n_synthetic": repeated(rows, "n_synthetic", pyarrow.int64()),
        **{key: other(key) for key in rows[0] if key not in tables.COLUMNS and not metrics.is_rate(key)},
        "face": joined((one.faces for one in errors), pyarrow.string()),
        "subset": joined((one.subsets for one in errors), pyarrow.string()),
        "photo": joined((one.photos for one in errors), pyarrow.string()),
        "yaw": joined((one.yaw for one in errors), pyarrow.float32()),
        "nme": joined((one.nme[worth.ALL] for one in errors), pyarrow.float32()),
    }
    for region in [part for part in errors[0].nme if part != worth.ALL and all(part in one.nme for one in errors)]:
        columns[region] = joined((one.nme[region] for one in errors), pyarrow.float32())
    columns["digest"] = repeated(rows, "digest", pyarrow.string()).dictionary_encode()
    with whole_file(path) as beside:
        parquet.write_table(pyarrow.table(columns), beside, compression="zstd")
