"""What came out: ranking, curves of errors, sweep, NME by region and pose, and in disturbed boxes."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemix.checks import human_floor
from facemix.config import ANSWERS, REPORTS, Params
from facemix.errors import FacemixError
from facemix.faces import pose
from facemix.faces.face import STAND_IN_SHOWN
from facemix.reporting import figures
from facemix.reporting import ranking as table_of_ranking
from facemix.reporting.page import Missing, More, Picture, Piece, Table, Text, chart
from facemix.reporting.sections.found import Found, chart_of, parse
from facemix.strategies import STRATEGIES, Strategy
from facemix.verdict import comparison
from facemix.verdict.worth import ALL

SWEEP_FOLDER = REPORTS / "sweep"
ADVISE = "facemix advise && dvc repro"


COLUMNS = [
    ["± seeds", "standard deviation of test NME between trainings that differ by chance only"],
    ["compared with", "the training on real faces alone that saw as many faces, else `real_only`"],
    ["difference", "mean difference of NME to it on the same faces; below 0 is better"],
    ["95 % interval", "the range in which the true difference lies, at 95 % confidence over faces and seeds"],
    ["resamples below 0", "share of resamples in which the difference is below 0"],
    [
        "p (Holm)",
        "probability of a difference this large if there were none, adjusted for comparing several strategies",
    ],
    [
        "verdict",
        "better or worse where p is below 5 %, else no difference shown; undecided with one seed, "
        "and where the winner saw more faces",
    ],
    ["FR@8 (and others)", "failure rate: share of faces with an NME above 8, in %"],
    ["AUC@8", "area under the curve of errors up to an NME of 8; 1 would be perfect"],
    ["val NME", "NME on the validation faces, on which everything was chosen"],
    ["faces seen", "training faces that all networks behind the detector were shown, counted each time"],
    ["of the compared", "the same for the training that it is compared with"],
]
"""What the columns of the ranking mean."""


def ranking_picture(found: Found) -> Picture | Missing:
    """The ranking drawn: what the page begins with."""
    said = ", ".join(f"{row['strategy']} {row['test_nme']:.2f}" for row in found.ranked)
    return chart_of(
        REPORTS / "ranking.png",
        alt=f"Test NME of each strategy, best first: {said}. Beside it each strategy's difference to real faces "
        "alone with its 95 % interval, as in the table below.",
        caption=f"NME on {len(found.trained[0].errors)} {found.test_faces}, {found.unit}. Right: the difference to "
        "real faces alone (the table below says which training); a grey interval means that no difference is shown.",
        command="dvc repro compare",
    )


def ranking(found: Found) -> list[Piece]:
    """The verdict with its numbers, the ranking, and the human floor."""
    columns = {key: name for key, name in table_of_ranking.headings(found.ranked).items() if key != "rank"}
    return [
        Text(text=found.summary["verdict"]["sentence"]),
        Table(
            caption=f"All strategies, the best first. NME in {found.unit}.",
            header=list(columns.values()),
            rows=[[table_of_ranking.cell(key, row) for key in columns] for row in found.ranked],
        ),
        *(Text(text=f"{sentence}.") for sentence in found.summary.get("unranked", ())),
        _people(found),
        More(
            summary="What the columns and strategies mean",
            pieces=[
                Table(
                    caption="Columns",
                    header=["column", "meaning"],
                    rows=COLUMNS,
                    words=True,
                ),
                Table(
                    caption="Strategies",
                    header=["strategy", "how it is trained"],
                    rows=[
                        [name, describe(STRATEGIES[name], found.params)]
                        for name in (row["strategy"] for row in found.ranked)
                    ],
                    words=True,
                ),
            ],
        ),
    ]


def _people(found: Found) -> Piece:
    """How far two people differ."""
    floor = human_floor.read(found.summary["normalizer"])
    if floor is not None:
        return Text(
            text=f"The dashed line is the human floor: two people who annotate one photograph differ by an NME of "
            f"{floor:.2f}. A detector cannot be shown to be better than that."
        )
    if human_floor.FILE.exists():
        return Text(text="There is no human floor, because no photograph was found that was annotated twice.")
    return Missing(what="The human floor has not been measured.", command="dvc repro leaks")


def describe(strategy: Strategy, params: Params) -> str:
    """A strategy in words."""
    share = strategy.alpha(params)
    if strategy.shares_network_of:
        text = f"the network of `{strategy.shares_network_of}` as it is"
    elif share in (0, 1):
        text = f"trained on {'synthetic' if share else 'real'} faces only"
    else:
        named = " (`alpha`)" if strategy.synthetic_share == "alpha" else ""
        text = f"trained on real and synthetic faces, {share:.0%} of each batch synthetic{named}"
    if strategy.adapts_labels:
        text += "; the label adapter first converts the synthetic labels to the real convention"
    if strategy.own_head:
        text += "; each kind has a head of its own on the shared network, and that of synthetic faces is thrown away"
    if strategy.budgets > 1:
        times = "twice" if strategy.budgets == 2 else f"{strategy.budgets} times"
        text += f"; for {times} as many steps"
    if strategy.starts_from:
        text += f"; starts from the network of `{strategy.starts_from}`"
    if strategy.adapts_predictions:
        text += "; the label adapter converts its predictions to the real convention"
    return text


def ced(found: Found) -> list[Piece]:
    """The cumulative error distribution."""
    limit = found.trained[0].metrics["thresholds"][0]
    below = ", ".join(f"{row['strategy']} {100 - row[f'fr{limit}']:.1f} %" for row in found.ranked)
    return [
        chart_of(
            REPORTS / "ced.png",
            alt=f"Share of test faces up to each NME, one curve for each strategy. Up to an NME of {limit}: {below}.",
            caption=f"Share of {found.test_faces} with at most the NME on the horizontal axis, one curve for each "
            f"strategy: the further to the upper left, the better. Up to an NME of {limit}: {below}.",
            command="dvc repro compare",
        )
    ]


def sweep(found: Found) -> list[Piece]:
    """The curves of a sweep."""
    pieces: list[Piece] = []
    band = "the mean over seeds, and its 95 % interval as a band"
    shown = {
        "alpha.png": (
            "Test NME of mixing against alpha, a line for each number of real faces.",
            "Test NME of `mixing` against `alpha`, the share of synthetic faces in a batch, for each number of real "
            f"faces: {band}. A star marks the best alpha by validation.",
        ),
        "n_real.png": (
            "Test NME of each strategy against the number of real training faces.",
            "Test NME of each strategy against the number of real training faces, `mixing` at its best alpha by "
            f"validation: {band}.",
        ),
        "parts.png": (
            "How many real faces alone are as good as N real and the synthetic ones, for each region and head pose.",
            "How many real faces alone are as good as N real ones and the synthetic ones, with intervals, one "
            "panel for each "
            "region and head pose. On the dotted line synthetic faces change nothing; a triangle lies beyond the "
            "numbers that `real_only` was trained on.",
        ),
    }
    faces = _tested_on(found)
    pieces += [
        chart(SWEEP_FOLDER / name, alt=f"{alt} The numbers are in the tables below.", caption=caption + faces)
        for name, (alt, caption) in shown.items()
        if (SWEEP_FOLDER / name).exists()
    ]
    worth, points = (_table(SWEEP_FOLDER / name) for name in ("worth.csv", "points.csv"))
    if worth:
        caption = "`worth`: this many real faces alone are as good as the strategy with n_real of them; low and high: "
        caption += "the ends of its interval, at the `confidence` given, in %."
        header, rows = worth
        whole = [row for row in rows if dict(zip(header, row, strict=True)).get("part", ALL) == ALL]
        pieces.append(Table(caption=caption, header=header, rows=whole))
        if len(whole) < len(rows):
            parts = Table(caption=caption, header=header, rows=[row for row in rows if row not in whole])
            pieces.append(More(summary="The same by region and head pose", pieces=[parts]))
    if points:
        header, rows = _without(("commit", "digest"), *points)  # long, and named by the experiment
        table = Table(caption="Every point of the sweep", header=header, rows=rows)
        pieces.append(More(summary=f"All {len(rows)} points of the sweep", pieces=[table]))
    return pieces or [
        Missing(what="No sweep over `alpha` and `n_real` has been run.", command=f"{sweep_command(found)} && dvc repro")
    ]


def sweep_command(found: Found) -> str:
    """A sweep that this project can run, with as many curves as its real faces allow."""
    total = int(np.sum(found.real.splits == "train"))
    counts = [str(n) for n in (50, 100, 250) if n < total]
    return f"facemix sweep alpha=0.25,0.5,0.75 n_real={','.join([*counts, 'all'])} seeds=3"


def is_swept() -> bool:
    """Whether there is a sweep to ask."""
    return (SWEEP_FOLDER / "points.csv").exists()


def _tested_on(found: Found) -> str:
    """What captions of a sweep say of its test faces; points that others trained may have been tested on others."""
    import pyarrow.parquet as parquet

    path = SWEEP_FOLDER / "errors.parquet"
    if path.exists():
        tested = set(parquet.read_table(path, columns=["face"])["face"].to_pylist())
        if not tested.issuperset(found.trained[0].errors):
            return " Tested on other faces than all else on this page: its points come from another project."
    return f" Test: {STAND_IN_SHOWN}." if found.stand_in else ""


def answers(found: Found) -> list[Piece]:
    """What `facemix advise` and `facemix gate` answered."""
    gate = _answered(ANSWERS / "gate.json", "facemix gate --min-gain 2%")
    advice = _answered(ANSWERS / "advice.json", ADVISE)
    pieces: list[Piece] = [Text(text=f"`facemix gate`: {gate['sentence']}.")] if gate else []
    if not advice:
        first = "" if is_swept() else f"{sweep_command(found)} && "
        return [*pieces, Missing(what="No advice has been asked of a sweep.", command=first + ADVISE)]
    try:
        about, *others = advice["answers"]
        said = [[one["title"], sentence] for one in others for sentence in one["sentences"]]
        tables = [(one["title"], one["table"]) for one in others if one["table"]]
        about = " ".join(about["sentences"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(ANSWERS / "advice.json", ADVISE, error) from None
    faces = _tested_on(found)
    return [
        *pieces,
        Table(caption="What the sweep advises", header=["question", "answer"], rows=said, words=True),
        Text(text=about),
        chart_of(
            ANSWERS / "advice.png",
            alt="Test NME against numbers of faces with the laws that the advice rests on.",
            caption="Test NME against numbers of real and of synthetic faces: points were measured, lines are the "
            "laws, bands their 95 % intervals; dashed is what extrapolates. A star is the cheapest mix for a target. "
            "Where prices were given, the last panel has the least cost of each NME." + faces,
            command=ADVISE,
        ),
        *(
            More(summary=title, pieces=[Table(caption=title, header=header, rows=rows)])
            for title, (header, *rows) in tables
        ),
    ]


def _answered(path: Path, again: str) -> dict[str, Any]:
    """What an answer's file holds; nothing where there is none."""
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = content["sentence" if path.stem == "gate" else "answers"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, again, error) from None
    return content


def _damaged(path: Path, again: str, error: Exception) -> FacemixError:
    return FacemixError(f"{path}: not what its command writes ({error!r}); run `{again}`, or delete the file")


def _table(path: Path) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of a CSV file, numbers shortened; None where there is none."""
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, [[_short(cell) for cell in row] for row in rows]


def _without(names: Sequence[str], header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without some columns."""
    kept = [i for i, name in enumerate(header) if name not in names]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _short(cell: str) -> str:
    value = parse(cell)
    if not isinstance(value, float):
        return cell
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.1 else f"{value:.3g}"


def by_group(found: Found) -> list[Piece]:
    """NME by region and by head pose."""
    normalizer, shown = found.summary["normalizer"], comparison.faces_shown(found.trained)
    there = found.trained[0].metrics["test"]["regions"]
    regions = {region: {row["strategy"]: row[region] for row in found.ranked} for region in there}
    figures.nme_by_group(found.figures / "nme_by_region.png", regions, normalizer, shown)
    pieces: list[Piece] = [
        chart(
            found.figures / "nme_by_region.png",
            alt="Test NME of each strategy in each region of the face, as in the table below.",
            caption=f"NME by region of the face on {found.test_faces}, {found.unit}, mean over seeds.",
        ),
        _groups("NME by region", regions),
    ]
    rows = found.rows()
    faces = sorted(rows)
    yaw = pose.estimate(found.real.landmarks[[rows[face] for face in faces]], found.real.scheme)[:, 0]
    nme = {
        row["strategy"]: np.mean(
            [[one.errors[face] for face in faces] for one in found.trained if one.strategy == row["strategy"]], axis=0
        )
        for row in found.ranked
    }
    bins = pose.yaw_bin(yaw)
    turned = {
        f"{name} ({inside.sum()})": {strategy: float(errors[inside].mean()) for strategy, errors in nme.items()}
        for name in pose.BINS
        if (inside := bins == name).any()
    }
    if not turned:
        return pieces
    figures.nme_by_group(found.figures / "nme_by_pose.png", turned, normalizer, shown)
    return [
        *pieces,
        chart(
            found.figures / "nme_by_pose.png",
            alt="Test NME of each strategy by how far the head is turned, as in the table below.",
            caption=f"NME by how far the head is turned to either side (number of faces in brackets) on "
            f"{found.test_faces}, {found.unit}, mean over seeds: frontal below {pose.BIN_EDGES[0]}°, turned above "
            f"{pose.BIN_EDGES[1]}°. The turn is estimated from the true points, by the fit of one rigid head: good to "
            "about 5 degrees.",
        ),
        _groups("NME by turn of the head (number of faces)", turned),
    ]


def _groups(caption: str, groups: Mapping[str, Mapping[str, float]]) -> Table:
    strategies = next(iter(groups.values()))
    return Table(
        caption=caption,
        header=["strategy", *groups],
        rows=[[name, *(f"{group[name]:.2f}" for group in groups.values())] for name in strategies],
    )


def box_jitter(found: Found) -> list[Piece]:
    """NME in disturbed face boxes."""
    levels = list(found.trained[0].box_jitter)
    table = {row["jitter"]: row for row in comparison.box_jitter_table(found.trained)}
    names = [row["strategy"] for row in found.ranked]
    return [
        Text(
            text="Detectors are shown each face in the tight box of its true landmarks. No face detector draws such "
            "boxes, so everything was repeated with boxes moved and scaled at random, the same for every strategy."
        ),
        chart_of(
            REPORTS / "box_jitter.png",
            alt="Test NME of each strategy against the jitter of the face boxes, as in the table below.",
            caption=f"NME on {found.test_faces} against the jitter of the face boxes, {found.unit}.",
            command="dvc repro compare",
        ),
        Table(
            caption="NME by jitter of the face box, % of its side",
            header=["strategy", *(f"± {100 * level:.0f} %" if level else "tight" for level in levels)],
            rows=[[name, *(f"{table[level][name]:.2f}" for level in levels)] for name in names],
        ),
    ]
