"""Points of several sweeps, united from their files alone."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy_project
import toy_script
from facemix.errors import FacemixError
from facemix.files import read_text, write_table
from facemix.sweeps import known, results, tables
from facemix.sweeps.grid import Result

ROOT = Path(__file__).parents[1]
GRID = ROOT / "docs/grid/points.csv"
script = toy_script.loaded("scripts/unite_points.py")


def write(folder: Path, found: list[Result]) -> Path:
    folder.mkdir()
    rows = tables.table(found, 0)
    write_table(folder / "points.csv", rows)
    results.write_errors(folder / "errors.parquet", rows, found)
    return folder / "points.csv"


@pytest.fixture(scope="module")
def published() -> list[Result]:
    found: list[Result] = script.united([GRID])
    return found


@pytest.fixture(scope="module")
def best(published: list[Result]) -> list[Result]:
    """Of each mix, the trainings at its best settings."""
    return tables.at_best_settings(published)[0]


def test_parts_of_a_grid_are_the_grid_again(
    published: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results.plots, "worth_by_part", lambda path, *_: path.write_bytes(b""))
    few = [one for one in published if one.n_synthetic == 300]
    files = [write(tmp_path / "b", [one for one in published if one not in few]), write(tmp_path / "a", few)]
    script.main(files)
    again = known.read(Path("reports/sweep/points.csv"))
    assert list(again) == [one.digest for one in published]  # in the same order, too
    assert all(one.result.errors is not None for one in again.values())
    assert Path("reports/sweep/n_real.png").exists() and Path("reports/sweep/worth.csv").exists()
    assert script.united([Path("reports/sweep/points.csv")])[0].point == published[0].point


def test_a_point_without_its_errors_takes_them_from_another_file(published: list[Result], tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", published)
    alone.with_name("errors.parquet").unlink()
    assert all(one.errors is not None for one in script.united([alone, GRID]))
    assert all(one.errors is None for one in script.united([alone]))


def test_a_training_that_is_two_points_stays_two(published: list[Result], tmp_path: Path) -> None:
    alone = [
        one for one in published if one.point.strategy == "real_only" and dict(one.point.settings)["n_real"] == 1709
    ]
    mixed = [
        replace(one, point=replace(one.point, strategy="mixing", settings=(("alpha", 0.0), *one.point.settings)))
        for one in alone
    ]
    found = script.united([write(tmp_path / "both", [*alone, *mixed]), GRID])
    assert len(found) == len(published) + len(mixed)
    twice = [one.point for one in found if one.digest in {one.digest for one in alone}]
    assert twice == [one.point for one in (*alone, *mixed)]


def test_a_training_counts_once_whatever_each_file_says_of_it_beside_its_figures(
    published: list[Result], tmp_path: Path
) -> None:
    elsewhere = [
        replace(
            one,
            commit="beef",
            seconds=None,
            point=replace(one.point, settings=(*one.point.settings, ("training.steps", 2400))),
        )
        for one in published
    ]
    found = script.united([write(tmp_path / "elsewhere", elsewhere), GRID])
    assert len(found) == len(published)
    assert {dict(one.point.settings)["training.steps"] for one in found} == {2400}
    assert all(one.seconds is not None for one in found)


def other(one: Result, **changes: Any) -> Result:
    """Another training of the same mix and seed."""
    digest = one.digest[::-1]
    return replace(one, digest=digest, experiment=f"sweep-{digest[:7]}", **changes)


def longer(found: Sequence[Result], steps: int) -> list[Result]:
    return [
        other(one, point=replace(one.point, settings=(*one.point.settings, ("training.steps", steps)))) for one in found
    ]


def test_trainings_that_differ_in_what_not_all_files_name_are_refused(published: list[Result], tmp_path: Path) -> None:
    for name, trainings in (("a", longer(published, 4800)), ("b", [other(one) for one in published])):
        with pytest.raises(FacemixError, match="differ in settings which the files do not both name"):
            script.united([GRID, write(tmp_path / name, trainings)])
    both = [*longer(published, 4800), *longer([other(one) for one in published], 2400)]
    assert len(script.united([write(tmp_path / "c", both)])) == 2 * len(published)
    tries = [one for one in both if one.point.seed == 0 or ("training.steps", 2400) in one.point.settings]
    assert len(script.united([write(tmp_path / "tries", tries)])) == len(tries)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries under DVC
def test_what_a_sweep_does_not_name_is_that_of_params_yaml_at_its_commit(
    best: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = toy_project.shell_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shell("git init -q && dvc init -q")
    text = read_text(ROOT / "params.yaml")
    for rate in ("0.03", "0.5"):
        params = re.sub(
            r"(?<=^training:)(.*?learning_rate: )\S+", rf"\g<1>{rate}", text, count=1, flags=re.DOTALL | re.MULTILINE
        )
        Path("params.yaml").write_text(params, encoding="utf-8")
        shell("git add -A && git commit -qm rates")
    commit = shell("git rev-parse HEAD~1").strip()

    def of(strategy: str, commit: str, **tried: float) -> list[Result]:
        named = {key.replace("__", "."): value for key, value in tried.items()}
        return [
            replace(one, commit=commit, point=replace(one.point, settings=tuple((axes(one) | named).items())))
            for one in best
            if one.point.strategy == strategy
        ]

    usual = write(tmp_path / "usual", [*of("real_only", commit), *of("fine_tuning", commit)])
    tries = [
        other(one, val_nme=9.0)
        for one in (
            *of("real_only", commit, training__learning_rate=0.07),
            *of("fine_tuning", commit, fine_tuning__learning_rate=0.08),
        )
        if one.point.seed == 0
    ]
    found = script.united([usual, write(tmp_path / "tries", tries)])
    assert {
        (one.point.strategy, *(value for key, value in sorted(one.point.settings) if "." in key)) for one in found
    } == {
        ("real_only", 0.03),
        ("real_only", 0.07),
        ("fine_tuning", 0.02, 0.03),
        ("fine_tuning", 0.08, 0.03),
    }
    for place, other_commit in (("elsewhere", "0" * 40), ("option", "--output=params.yaml")):
        unknown = [*of("real_only", other_commit), *of("fine_tuning", other_commit)]
        with pytest.raises(FacemixError, match="unite them in the project that trained them"):
            script.united([write(tmp_path / place, unknown), write(tmp_path / f"{place} tries", tries)])


def axes(one: Result) -> dict[str, Any]:
    """Numbers of faces and alpha."""
    return {key: value for key, value in one.point.settings if "." not in key}


def test_what_cannot_stand_together_is_refused_before_anything_is_written(
    best: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = best
    assert first.errors is not None
    fewer = replace(first, errors=first.errors.at(np.arange(len(first.errors.faces)) > 0))
    for name, changed, message in (
        ("seeds", others, "found seeds 1, 2 of sweep-.* and its like, expected seeds 0, 1, 2"),
        ("faces", [other(fewer), *others], "found 554 test faces that are not the 553 of"),
        ("rate", [other(first, failures=("fr10", 1.0)), *others], "found the failure rate fr8, expected fr10"),
        ("size", [other(first, normalizer="box_side"), *others], "found NME in % of outer_eye, expected box_side"),
    ):
        files = [write(tmp_path / name, changed[:1])] if name != "seeds" else []
        files.append(write(tmp_path / f"{name} others", list(others)))
        with pytest.raises(FacemixError, match=message):
            script.main(files)
    assert not Path("reports").exists()


def test_tries_may_be_of_one_seed_but_what_is_best_has_all(best: list[Result], tmp_path: Path) -> None:
    def rate(one: Result, value: float) -> Result:
        settings = axes(one) | {"training.learning_rate": value}
        return replace(one, point=replace(one.point, settings=tuple(settings.items())))

    usual = [rate(one, 0.02) for one in best if one.point.strategy == "real_only"]
    worse = [rate(other(one, val_nme=one.val_nme + 1), 0.04) for one in usual if one.point.seed == 0]
    assert len(script.united([write(tmp_path / "tries", [*usual, *worse])])) == len(usual) + len(worse)
    fewer = [one for one in usual if one.point.seed == 0 or dict(one.point.settings)["n_real"] != 50]
    with pytest.raises(FacemixError, match="found seed 0 of .* and its like, expected seeds 0, 1, 2"):
        script.united([write(tmp_path / "fewer", [*fewer, *worse])])


def test_different_figures_of_one_digest_are_refused(published: list[Result], tmp_path: Path) -> None:
    changed = write(tmp_path / "other", [replace(published[0], val_nme=9.0), *published[1:]])
    with pytest.raises(FacemixError, match=r"grid/points.csv and .*other/points.csv: found different figures of one"):
        script.united([GRID, changed])


def test_each_published_mix_has_three_seeds_at_its_best_settings(best: list[Result], published: list[Result]) -> None:
    _, choices = tables.at_best_settings(published)
    assert not any(one.missing for one in choices)
    seeds: dict[tuple[str, object], set[int]] = {}
    for one in best:
        seeds.setdefault((one.point.strategy, one.point.settings), set()).add(one.point.seed)
    assert set(map(frozenset, seeds.values())) == {frozenset({0, 1, 2})}


def test_a_region_that_some_points_lack_is_left_out(published: list[Result], tmp_path: Path) -> None:
    first, *others = published
    assert first.errors is not None
    fewer = {part: nme for part, nme in first.errors.nme.items() if part != "jaw"}
    path = write(tmp_path / "fewer", [*others[:2], replace(first, errors=replace(first.errors, nme=fewer))])
    regions = [set(one.errors.nme) for one in script.united([path]) if one.errors is not None]
    assert regions == [set(fewer)] * 3
