"""Points that others trained, read; whatever is wrong with their files is said."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from test_tables import swept

from facemix.errors import FacemixError
from facemix.faces.pose import BINS
from facemix.faces.schemes import TAKEN
from facemix.files import write_table
from facemix.sweeps import grid, known, results, tables
from facemix.sweeps.grid import Result


def given() -> list[Result]:
    return [replace(one, experiment=f"{one.experiment}-{one.digest[:7]}") for one in swept()]


def write(folder: Path, found: Sequence[Result]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = tables.table(found, 800)
    write_table(folder / "points.csv", rows)
    results.write_errors(folder / "errors.parquet", rows, found)
    return folder / "points.csv"


def change(path: Path, column: str, value: str, row: int = 0) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[row][column] = value
    write_table(path, rows)


def test_points_and_the_errors_beside_them_come_back_as_they_were(tmp_path: Path) -> None:
    path = write(tmp_path, given())
    found = known.read(path)
    assert found.keys() == {one.digest for one in given()}
    for one in given():
        back = found[one.digest].as_point(one.point)
        assert back.errors is not None and one.errors is not None
        order = np.argsort(one.errors.faces)
        for part, nme in one.errors.nme.items():
            assert back.errors.nme[part] == pytest.approx(nme[order], rel=1e-6)
        assert back.errors.photos.tolist() == one.errors.photos[order].tolist()
        assert replace(back, errors=None) == replace(one, errors=None)
    assert {one.n_real for one in found.values()} == {None, 50, 200, 800}


def test_points_alone_are_known_by_their_means(tmp_path: Path) -> None:
    path = write(tmp_path, given())
    (tmp_path / "errors.parquet").unlink()
    assert {one.result.errors for one in known.read(path).values()} == {None}
    change(path, "seconds", "")  # of older code, or of a model that DVC's cache had already
    assert known.read(path)[given()[0].digest].result.seconds is None


def test_a_training_that_stands_there_under_two_names_is_one(tmp_path: Path) -> None:
    *others, first = (one for one in given() if one.point.strategy != "mixing")
    twin = replace(first, point=replace(first.point, strategy="mixing", settings=(("alpha", 0), *first.point.settings)))
    found = known.read(write(tmp_path, [first, twin, *others]))
    assert len(found) == len(others) + 1
    assert found[first.digest].result.errors is not None
    assert len(found[first.digest].result.errors.faces) == 7


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path, given())
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[1]]), encoding="utf-8")
    assert [one.result.digest for one in known.read_points(path)] == [one.digest for one in given()]


def test_no_region_is_called_as_a_column_or_a_part() -> None:
    columns = {*known._FACES, *grid.AXES, "strategy", "seed"}
    assert columns | {one for one in BINS if one.isidentifier()} <= TAKEN


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("test_nme", "good", r"points.csv: line 2: found test_nme 'good', expected a number"),
        ("val_nme", "nan", "line 2: found val_nme 'nan', expected a number"),
        ("faces_seen", "", "line 2: found faces_seen '', expected a number"),
        ("digest", "1f0c9e2", "line 2: found digest '1f0c9e2' of .* expected 32 hexadecimal digits"),
        ("experiment", "sweep-0000000", "line 2: found digest .* of 'sweep-0000000', expected 32"),
        ("strategy", "best", "line 2: found strategy 'best', expected one of"),
        ("n_real", "0", "line 2: found n_real '0', expected a number from 1"),
        ("alpha", "0.5", "line 2: found alpha '0.5' of synthetic_only, expected none"),
        ("normalizer", "", "line 2: found no normalizer, expected the face size"),
    ],
)
def test_damaged_points_are_refused(column: str, value: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, given())
    change(path, column, value)
    with pytest.raises(FacemixError, match=message):
        known.read(path)


def test_a_file_that_excel_saved_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, given())
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert len(known.read(path)) == len(given())


def test_where_and_how_fast_a_training_ran_is_no_figure_of_it(tmp_path: Path) -> None:
    first, *_ = given()
    elsewhere = replace(first, seconds=99.0, commit="beef", experiment=f"other-{first.digest[:7]}")
    assert len(known.read(write(tmp_path, [first, elsewhere]))) == 1


def test_different_figures_of_one_digest_are_refused(tmp_path: Path) -> None:
    first, *_ = given()
    path = write(tmp_path, [first, first])
    assert len(known.read(path)) == 1
    change(path, "val_nme", "3.5", row=1)
    with pytest.raises(FacemixError, match=f"lines 2 and 3: found different figures of one digest, {first.digest}"):
        known.read(path)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, given())
    change(path, "test_nme", "7.5")
    with pytest.raises(FacemixError, match=r"errors.parquet: found other errors than those .* the two files of one"):
        known.read(path)
    write(tmp_path, given())
    table = parquet.read_table(tmp_path / "errors.parquet")
    parquet.write_table(table.drop_columns("digest"), tmp_path / "errors.parquet")
    with pytest.raises(FacemixError, match="errors.parquet: not what this version's `facemix sweep` writes .*move it"):
        known.read(path)
    path.write_text("strategy,alpha,n_real,seed,val_nme,test_nme,fr8,experiment\n", encoding="utf-8")
    with pytest.raises(FacemixError, match="found no column n_synthetic and .* digest and normalizer, expected"):
        known.read(path)
    path.write_text(",".join(tables.COLUMNS) + ",fr8\n", encoding="utf-8")
    with pytest.raises(FacemixError, match=r"points.csv: found no points"):
        known.read(path)


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FacemixError, match=r"none.csv: found no file, expected a points.csv as .*; name one that can"):
        known.read(tmp_path / "none.csv")
    with pytest.raises(FacemixError, match="found a folder, expected a points.csv"):
        known.read(tmp_path)


def test_nmes_of_different_face_sizes_are_not_mixed() -> None:
    first, second, *_ = given()
    results.check_alike([first, second], "auto")
    other = replace(second, normalizer="box_side")
    with pytest.raises(FacemixError, match="found NME in % of box_side, expected outer_eye as that of"):
        results.check_alike([first, other], "auto")
    with pytest.raises(FacemixError, match="expected outer_eye as that of params.yaml's evaluation.normalizer"):
        results.check_alike([other], "outer_eye")
