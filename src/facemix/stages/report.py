"""`facemix report`: all that came out, as one page for somebody who has read nothing else: `reports/report.html`."""

import csv
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facemix import config, tracking
from facemix.config import PARAMS_FILE, Params
from facemix.faces import formats, geometry, packs, pose
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.faces.landmarks import REGIONS
from facemix.faces.packs import Pack
from facemix.files import whole_file, whole_folder
from facemix.learning import evaluation
from facemix.learning.predict import Landmarker
from facemix.stages import compare, leaks
from facemix.stages.leaks import REPORTS
from facemix.strategies import ADAPTER_FROM, MODELS, STRATEGIES, Strategy
from facemix.verdict import comparison, figures, panels
from facemix.verdict import leaks as leaks_verdict
from facemix.verdict.comparison import Trained
from facemix.verdict.report import (
    Code,
    Gallery,
    Missing,
    More,
    Picture,
    Piece,
    Report,
    Section,
    Table,
    Text,
    chart,
    html,
    photograph,
)

PAGE = REPORTS / "report.html"
FIGURES = REPORTS / "figures"
SWEEP = "facemix sweep alpha=0,0.1,...,1 n_real=50,100,250,500,all seeds=3 && dvc repro --force --single-item report"

MOST_DIFFERENT = 4
"""Faces shown on which strategies differ most."""
GAP_SHOWN = 12.0
"""Arrows of the label gap are magnified, by a whole number, up to this share of the face box in %."""
PACKAGES = ("facemix", "torch", "timm", "numpy", "opencv-python", "scipy", "mitsuba", "dvc", "mlflow")

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is to report on."""

    params: Params
    summary: Mapping[str, Any]
    """What reports/metrics.json holds."""
    ranked: Sequence[Mapping[str, Any]]
    """Rows of reports/ranking.csv, the best strategy first."""
    trained: Sequence[Trained]
    real: Pack | None
    synthetic: Pack | None
    figures: Path
    """Where new figures go."""

    @property
    def unit(self) -> str:
        return f"% of the {figures.FACE_SIZES[self.summary['normalizer']]}"

    @property
    def stand_in(self) -> bool:
        """Rendered faces stand in for real ones."""
        return bool(comparison.faces_shown(self.trained))

    @property
    def test_faces(self) -> str:
        """What test faces are called."""
        return f"test faces, {STAND_IN_SHOWN}" if self.stand_in else "test faces"

    def first_seed(self) -> list[Trained]:
        """Each strategy at the first seed, the best strategy of all seeds first."""
        first = {one.strategy: one for one in self.trained if one.seed == self.trained[0].seed}
        return [first[row["strategy"]] for row in self.ranked]

    def rows(self) -> dict[str, int] | None:
        """Test face -> row of the real pack; None where the pack is not there, or holds other faces."""
        if self.real is None:
            return None
        place = {id_: row for row, id_ in enumerate(self.real.ids.tolist())}
        faces = self.trained[0].errors
        return {face: place[face] for face in faces} if place.keys() >= faces.keys() else None


def report(params: Params) -> None:
    """Writes reports/report.html and the figures that only it has, and tracks them.

    Raises:
        ValueError: `facemix compare` has not run on the models that are there, or what it wrote is damaged.
        OSError: an output cannot be written.
    """
    with whole_folder(FIGURES) as beside:
        found = read(params, beside)
        page = html(compose(found))
    with whole_file(PAGE) as beside_page:
        beside_page.write_text(page, encoding="utf-8")
    print(f"{PAGE}: {len(page) / 1e6:.1f} MB; {found.summary['verdict']['sentence']}")
    tracking.deliver()
    with tracking.start(
        name="report",
        experiment=params.tracking.experiment,
        tags={
            "strategy": "report",
            "verdict": found.summary["verdict"]["sentence"],
            **({"test_faces": STAND_IN_SHOWN} if found.stand_in else {}),
        },
    ) as run:
        run.artifact(PAGE)
        for figure in [*sorted(REPORTS.glob("*.png")), *sorted(FIGURES.iterdir())]:
            run.artifact(figure, folder="figures")


def read(params: Params, folder: Path) -> Found:
    """What the other stages left.

    Args:
        folder: where new figures go.

    Raises:
        ValueError: there is no ranking, or it is not that of the models that are there.
    """
    ranking, summary = REPORTS / "ranking.csv", REPORTS / "metrics.json"
    for path in (ranking, summary):
        if not path.exists():
            raise ValueError(f"{path}: not there, expected the results of `facemix compare`; run `dvc repro`")
    trained = comparison.read(MODELS, params.seeds)
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        with ranking.open(newline="", encoding="utf-8") as file:
            ranked = [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]
        if {row["strategy"] for row in ranked} != {one.strategy for one in trained}:
            raise ValueError("it ranks other strategies than there are in models/")
        _ = content["verdict"]["sentence"], content["verdict"]["status"], content["normalizer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{ranking}, {summary}: not what `facemix compare` writes ({error}); run `dvc repro`"
        ) from None
    return Found(
        params=params,
        summary=content,
        ranked=ranked,
        trained=trained,
        real=_pack("real"),
        synthetic=_pack("synthetic"),
        figures=folder,
    )


def _value(text: str) -> int | float | str | None:
    """A cell of a CSV file."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _pack(role: str) -> Pack | None:
    folder = packs.FOLDER / role
    return packs.read(folder) if folder.exists() else None


def compose(found: Found) -> Report:
    """The report's sections, drawing the figures that no other stage draws."""
    sections: dict[tuple[str, str], list[Piece]] = {
        ("ranking", "Which strategy wins"): ranking(found),
        ("errors", "How errors spread"): ced(found),
        ("sweep", "How many synthetic faces, how many real ones"): sweep(found),
        ("label-gap", "What the labels of the two worlds mean"): label_gap(found),
        ("faces", "Best, median and worst faces"): best_and_worst(found),
        ("differences", "Faces on which the strategies differ most"): most_different(found),
        ("regions", "Where on the face, and at which pose"): by_group(found),
        ("boxes", "When the face box is not perfect"): box_jitter(found),
        ("leaks", "Photographs that are there twice"): leaked(found),
        ("data", "The data"): data(found),
        ("reproduce", "How to get the same"): reproduce(found),
    }
    return Report(
        verdict=found.summary["verdict"]["sentence"],
        status=found.summary["verdict"]["status"],
        notes=_notes(found),
        sections=[Section(name=name, title=title, pieces=pieces) for (name, title), pieces in sections.items()],
    )


def _notes(found: Found) -> list[str]:
    size = figures.FACE_SIZES[found.summary["normalizer"]]
    notes = [
        "The question: does a detector of 68 facial landmarks get better when synthetic (rendered) faces are added to "
        "real ones? One network is trained by several strategies under equal budgets, and all are judged on the same "
        "test faces. NME, the normalised mean error, is the mean distance between a predicted and a true landmark in "
        f"per cent of the {size}: less is better."
    ]
    if found.stand_in:
        notes.insert(
            0,
            f"What is called real here is a {STAND_IN_SHOWN}: the numbers show the method at work, not what is best on "
            "photographs.",
        )
    sets = (*found.params.sources.real, *found.params.sources.synthetic)
    if bound := [source.name for source in sets if formats.licence(source.format, source.name) != "Apache-2.0"]:
        notes.append(
            f"This page shows faces of {' and '.join(bound)}: what may be published of them, their licences say "
            "(see The data)."
        )
    return notes


# --- Sections ---------------------------------------------------------------------------------------------------------


def ranking(found: Found) -> list[Piece]:
    """The ranking with its intervals and the human floor."""
    floor = leaks.read_human_floor(found.summary["normalizer"])
    said = ", ".join(f"{row['strategy']} {row['test_nme']:.2f}" for row in found.ranked)
    columns = [key for key in compare.SHOWN if key != "rank" and any(row.get(key) is not None for row in found.ranked)]
    people: Piece
    if floor is not None:
        people = Text(
            text=f"The dashed line is the human floor: two people who annotate one photograph differ by an NME of "
            f"{floor:.2f}. No detector can be shown to be better than people agree."
        )
    elif leaks.HUMAN_FLOOR.exists():
        people = Text(text="There is no human floor to compare with: no photograph was found that is annotated twice.")
    else:
        people = Missing(what="Nobody has measured how far two people differ.", command="dvc repro leaks")
    return [
        _chart(
            REPORTS / "ranking.png",
            alt=f"Test NME of each strategy, best first: {said}. Beside it each strategy's difference to real_only "
            "with its 95 % interval, as in the table below.",
            caption=f"NME on {len(found.trained[0].errors)} {found.test_faces}, {found.unit}. Right: the difference to "
            "`real_only`; an interval that holds 0, or is grey, is a tie.",
            command="dvc repro compare",
        ),
        people,
        Table(
            caption=f"All strategies, the best first. NME in {found.unit}.",
            header=[compare.SHOWN[key] for key in columns],
            rows=[[compare.cell(key, row) for key in columns] for row in found.ranked],
        ),
        More(
            summary="What the columns and strategies mean",
            pieces=[
                Table(
                    caption="Columns",
                    header=["column", "meaning"],
                    rows=[
                        ["± seeds", "standard deviation of test NME between trainings that differ by chance only"],
                        ["vs real_only", "mean difference of NME to `real_only` on the same faces; below 0 is better"],
                        ["95 % interval", "where that difference lies, as far as faces and seeds can tell"],
                        ["P(better)", "share of resamples in which the strategy beats `real_only`"],
                        ["p (Holm)", "chance of so large a difference if there were none, for all strategies together"],
                        ["verdict", "better or worse where p is below 5 %, else tie"],
                        ["FR@8, FR@10", "share of faces with an NME above 8 or 10, in %"],
                        ["AUC@8", "area under the curve of errors up to 8; 1 would be perfect"],
                        ["val NME", "NME on the validation faces, by which everything was chosen"],
                    ],
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


def describe(strategy: Strategy, params: Params) -> str:
    """A strategy in words."""
    share = strategy.alpha(params)
    if strategy.shares_network_of:
        text = f"the network of `{strategy.shares_network_of}` as it is"
    elif share in (0, 1):
        text = f"trained on {'synthetic' if share else 'real'} faces only"
    else:
        text = f"trained on real and synthetic faces, {share:.0%} of each batch synthetic (`alpha`)"
    if strategy.adapts_labels:
        text += "; synthetic labels are first taken to the real convention by the label adapter"
    if strategy.starts_from:
        text += f"; starts from the network of `{strategy.starts_from}`"
    if strategy.adapts_predictions:
        text += "; what it predicts is taken to the real convention by the label adapter"
    return text


def ced(found: Found) -> list[Piece]:
    """The cumulative error distribution."""
    below = ", ".join(f"{row['strategy']} {100 - row['fr8']:.1f} %" for row in found.ranked)
    return [
        _chart(
            REPORTS / "ced.png",
            alt=f"Share of test faces up to each NME, a curve a strategy. Up to an NME of 8: {below}.",
            caption=f"Share of {found.test_faces} whose NME is at most what stands below, a curve a strategy: the "
            f"further to the upper left, the better. Up to an NME of 8: {below}.",
            command="dvc repro compare",
        )
    ]


def sweep(found: Found) -> list[Piece]:
    """The curves of a sweep."""
    pieces: list[Piece] = []
    shown = {
        "sweep_alpha.png": (
            "Test NME of mixing against alpha, a line for each number of real faces.",
            "Test NME of `mixing` against `alpha`, the share of synthetic faces in a batch, for each number of real "
            "faces: mean and range over seeds. A star marks the best alpha by validation.",
        ),
        "sweep_n_real.png": (
            "Test NME of each strategy against the number of real training faces.",
            "Test NME of each strategy against the number of real training faces, `mixing` at its best alpha by "
            "validation: mean and range over seeds.",
        ),
    }
    for name, (alt, caption) in shown.items():
        if (REPORTS / name).exists():
            faces = f" Test: {STAND_IN_SHOWN}." if found.stand_in else ""
            alt += " The numbers are in the table below."
            pieces.append(chart(REPORTS / name, alt=alt, caption=caption + faces))
    worth, points = (_table(REPORTS / name) for name in ("sweep_worth.csv", "sweep.csv"))
    if worth:
        header, rows = worth
        pieces.append(
            Table(
                caption="`worth`: as many real faces alone are as good as the strategy with n_real of them; low and "
                "high: a 95 % interval.",
                header=header,
                rows=rows,
            )
        )
    if points:
        header, rows = points
        table = Table(caption="Every training of the sweep", header=header, rows=rows)
        pieces.append(More(summary=f"All {len(rows)} trainings of the sweep", pieces=[table]))
    return pieces or [Missing(what="No sweep over `alpha` and `n_real` has been run.", command=SWEEP)]


def label_gap(found: Found) -> list[Piece]:
    """The label gap, drawn on the mean face of the real training set."""
    tables = [MODELS / ADAPTER_FROM / f"seed-{seed}" / "label_gap.csv" for seed in found.params.seeds]
    there = [_read_gap(path) for path in tables if path.exists()]
    about = Text(
        text="A rendered landmark lies where the 3-D model has it; a person clicks where a photograph shows it. A jaw "
        "point, for one, is rendered on the true contour and annotated on the visible outline. The label adapter "
        "learned that shift from points alone: what the detector trained on synthetic faces predicts on real "
        "training faces, and how people labelled these."
    )
    if not there:
        return [about, Missing(what="No label adapter has been trained.", command=f"dvc repro {ADAPTER_FROM}")]
    gap = np.mean(there, axis=0)
    lengths = np.linalg.norm(gap, axis=1)
    table = Table(
        caption="Mean shift from the synthetic to the real convention, % of the face box's longer side",
        header=["region", "length", "to the right", "down"],
        rows=[
            [name, f"{lengths[list(part)].mean():.2f}", *(f"{value:+.2f}" for value in gap[list(part)].mean(axis=0))]
            for name, part in REGIONS.items()
        ],
    )
    if found.real is None:
        return [about, Missing(what="The mean face needs the real faces.", command="dvc repro prepare"), table]
    if not lengths.any():
        return [about, Text(text="The adapter that was best on validation changes nothing: no label gap was learned.")]
    rows = np.flatnonzero(found.real.splits == "train")
    image, points = panels.mean_face(found.real.images, found.real.landmarks, rows)
    side = float(geometry.square_side(geometry.landmark_box(points)))
    times = max(1, int(GAP_SHOWN / lengths.max()))
    figures.label_gap(found.figures / "label_gap.png", image, points, times * gap * side / 100)
    name, longest = max(
        ((name, lengths[list(part)].mean()) for name, part in REGIONS.items()), key=lambda item: item[1]
    )
    magnified = f", {times} times as long as they are" if times > 1 else ""
    of = f"the training faces, {STAND_IN_SHOWN}" if found.stand_in else "the real training faces"
    return [
        about,
        chart(
            found.figures / "label_gap.png",
            alt=f"The mean face with an arrow at each of the 68 points; they are longest on the {name}, "
            f"{longest:.2f} % of the face box on average.",
            caption=f"The mean of {of}. Arrows lead from where the synthetic convention has a point (rings) to "
            f"where the real one has it{magnified}; mean over {len(there)} seed{'s' if len(there) > 1 else ''}.",
            wide=False,
        ),
        table,
    ]


def _read_gap(path: Path) -> npt.NDArray[np.float64]:
    """The shift (68, 2) of each point in % of the box's longer side."""
    with path.open(newline="", encoding="utf-8") as file:
        return np.array([[float(row["dx"]), float(row["dy"])] for row in csv.DictReader(file)])


def best_and_worst(found: Found) -> list[Piece]:
    """The best, median and worst test face of each strategy."""
    rows = found.rows()
    if rows is None or found.real is None:
        return [_no_faces()]
    faces = sorted(rows)
    galleries: list[Piece] = [
        Text(
            text=f"Green: where the landmarks are; magenta: where the detector of seed {found.trained[0].seed} finds "
            "them; a white line joins each pair." + (f" All faces: {STAND_IN_SHOWN}." if found.stand_in else "")
        )
    ]
    for one in found.first_seed():
        nme = np.array([one.errors[face] for face in faces])
        chosen = dict(zip(("best", "median", "worst"), panels.best_median_worst(nme), strict=True))
        predicted = _predict(one, found.real, [rows[faces[i]] for i in chosen.values()])
        if predicted is None:
            galleries.append(_no_model(one))
            continue
        pictures = [
            photograph(
                panels.judged(found.real.images[rows[faces[i]]], found.real.landmarks[rows[faces[i]]], points),
                alt=f"{which} face of {one.strategy}, NME {nme[i]:.2f}, with true and predicted landmarks",
                caption=f"{which}: NME {nme[i]:.2f}, `{faces[i]}`",
            )
            for (which, i), points in zip(chosen.items(), predicted, strict=True)
        ]
        galleries.append(Gallery(title=f"`{one.strategy}`", pictures=pictures))
    return galleries


def most_different(found: Found) -> list[Piece]:
    """The faces with the greatest range of NME between strategies, as each of them sees them."""
    rows = found.rows()
    runs = found.first_seed()
    if rows is None or found.real is None:
        return [_no_faces()]
    faces = sorted(rows)
    nme = np.array([[one.errors[face] for face in faces] for one in runs])
    chosen = panels.most_different(nme, MOST_DIFFERENT)
    at = [rows[faces[i]] for i in chosen]
    predicted = {one.strategy: _predict(one, found.real, at) for one in runs}
    pieces: list[Piece] = [_no_model(one) for one in runs if predicted[one.strategy] is None]
    pieces.append(Text(text=f"Colours as above, detectors of seed {runs[0].seed}."))
    for k, i in enumerate(chosen):
        image, truth = found.real.images[at[k]], found.real.landmarks[at[k]]
        pictures = [photograph(panels.judged(image, truth, None), alt="true landmarks", caption="ground truth")]
        for j, one in enumerate(runs):
            if (points := predicted[one.strategy]) is not None:
                pictures.append(
                    photograph(
                        panels.judged(image, truth, points[k]),
                        alt=f"true landmarks and those that {one.strategy} predicts",
                        caption=f"`{one.strategy}`: NME {nme[j, i]:.2f}",
                    )
                )
        pieces.append(
            Gallery(title=f"`{faces[i]}`: NME {nme[:, i].min():.2f} to {nme[:, i].max():.2f}", pictures=pictures)
        )
    return pieces


def by_group(found: Found) -> list[Piece]:
    """NME by region and by head pose."""
    normalizer, shown = found.summary["normalizer"], comparison.faces_shown(found.trained)
    regions = {region: {row["strategy"]: row[region] for row in found.ranked} for region in REGIONS}
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
    if rows is None or found.real is None:
        return [*pieces, Missing(what="NME by head pose needs the real faces.", command="dvc repro prepare")]
    faces = sorted(rows)
    yaw = pose.estimate(found.real.landmarks[[rows[face] for face in faces]])[:, 0]
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
        _chart(
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


def leaked(found: Found) -> list[Piece]:
    """Leaks, counted and shown."""
    pairs = leaks.read()
    if pairs is None:
        return [Missing(what="Nobody has looked for them.", command="dvc repro leaks")]
    tested, validated = (len(leaks_verdict.leaking(pairs, purpose)) for purpose in ("test", "validation"))
    counts = leaks_verdict.counts(pairs)
    pieces: list[Piece] = [
        Text(
            text=f"{tested} test face{'' if tested == 1 else 's'} and {validated} validation "
            f"face{'' if validated == 1 else 's'} show a photograph (or a rendered person) that was also learned from "
            "or chosen by. "
            + (
                "`facemix leaks --exclude && dvc repro` leaves the training faces among them out."
                if tested or validated
                else ""
            )
        )
    ]
    if counts:
        pieces.append(
            Table(
                caption="Pairs of faces that show one photograph, by their splits",
                header=["splits", "pairs", "leak"],
                rows=[
                    [
                        f"{first} / {second}",
                        str(count),
                        "yes" if leaks_verdict.is_leak({"split_a": first, "split_b": second}) else "no",
                    ]
                    for (first, second), count in counts.items()
                ],
            )
        )
        if leaks.SHEET.exists() and (image := cv2.imread(str(leaks.SHEET))) is not None:
            shown = min(len(pairs), leaks.SHOWN)
            pieces.append(
                photograph(
                    np.ascontiguousarray(image[..., ::-1]).astype(np.uint8),
                    alt=f"{shown} of the pairs side by side, with their splits, likeness and names.",
                    caption=f"{shown} of {len(pairs)} pairs, leaks first, the most alike first; all of them are in "
                    f"`{leaks.TABLE}`." + (f" Real faces: {STAND_IN_SHOWN}." if found.stand_in else ""),
                    wide=True,
                )
            )
    return pieces


def data(found: Found) -> list[Piece]:
    """A card for each split of the real faces and each source of synthetic ones."""
    pieces: list[Piece] = []
    for role, pack in (("real", found.real), ("synthetic", found.synthetic)):
        if pack is None:
            pieces.append(Missing(what=f"The {role} faces are not here.", command="dvc repro prepare"))
            continue
        known = {source.name: source.format for source in getattr(found.params.sources, role)}
        sources = np.array([id_.split("/", 1)[0] for id_ in pack.ids.tolist()])
        for name in np.unique(sources).tolist():
            splits = [one for one in leaks_verdict.PURPOSES if np.any((sources == name) & (pack.splits == one))]
            for split in splits:
                rows = np.flatnonzero((sources == name) & (pack.splits == split))
                shown = {config.RENDERED["real"]: STAND_IN_SHOWN, config.RENDERED["synthetic"]: "rendered"}.get(
                    name, name
                )
                title = f"{shown}: {'synthetic training faces' if (role, split) == ('synthetic', 'train') else split}"
                pieces += card(found, pack, rows, title, f"{role}-{name}-{split}", known.get(name))
    return pieces


def card(found: Found, pack: Pack, rows: Rows, title: str, name: str, format_: str | None) -> list[Piece]:
    """What is known of some faces of a pack.

    Args:
        name: of its figure.
        format_: that of its source; None: facemix rendered it.
    """
    source = pack.ids[rows[0]].split("/", 1)[0]
    poses = pose.estimate(pack.landmarks[rows])
    sizes = geometry.square_side(pack.boxes[rows])
    low, middle, high = np.quantile(sizes, [0.05, 0.5, 0.95])
    subsets = Counter(pack.subsets[rows].tolist())
    path = found.figures / f"set-{name}.png"
    figures.faces_of_a_set(path, poses, sizes)
    turns = [
        [angle, f"mean {mean:+.1f}°, standard deviation {sd:.1f}°"]
        for angle, mean, sd in zip(("yaw", "pitch", "roll"), poses.mean(axis=0), poses.std(axis=0), strict=True)
    ]
    licence = (
        "rendered by facemix from CC0 assets: free to use and to publish"
        if format_ is None
        else formats.licence(format_, source)
    )
    listed = ", ".join(f"{subset} {count}" for subset, count in sorted(subsets.items()) if subset != STAND_IN)
    table = Table(
        caption=f"{title}, as a card",
        header=["about", "what is known"],
        rows=[
            ["faces", f"{len(rows)} of {len(np.unique(pack.photos[rows]))} photographs or rendered people"],
            *([["subsets", listed]] if any(subsets) and listed else []),
            ["licence", licence],
            ["format", f"{format_ or 'rendered by the pipeline'}"],
            ["face size", f"median {middle:.0f} pixels, 90 % of them {low:.0f} to {high:.0f} (longer side of the box)"],
            *turns,
        ],
        words=True,
    )
    drawn = panels.sheet(pack.images, pack.landmarks, rows)
    return [
        More(
            summary=f"{title}: {len(rows)} faces",
            pieces=[
                table,
                chart(
                    path,
                    alt="Histograms of yaw, pitch, roll and face size, whose middles and spreads are in the card.",
                    caption=f"{title}: head pose, estimated from the points, and face size. Yaw turns to the person's "
                    "left, pitch nods down, roll tilts to the person's right.",
                ),
                photograph(
                    drawn,
                    alt=f"Some of the faces, evenly chosen, with their points: {title}",
                    caption=f"{title}: evenly chosen faces with their points.",
                    wide=True,
                ),
            ],
        )
    ]


def reproduce(found: Found) -> list[Piece]:
    """Versions, parameters and commands."""
    sources = found.params.sources
    imports = [
        f"facemix import {source.format} FOLDER --name {source.name} --role {role}"
        for role in ("real", "synthetic")
        for source in getattr(sources, role)
    ]
    commit = _git("rev-parse", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--", "src", "dvc.yaml", str(PARAMS_FILE))
    digests = [
        [f"{role} faces", pack.digest] for role, pack in (("real", found.real), ("synthetic", found.synthetic)) if pack
    ]
    return [
        Code(
            label="Commands",
            text="\n".join(
                [
                    f"git checkout {commit}",
                    "pip install -c constraints.txt -e .",
                    *(f"{line}  # unless data/sources has it" for line in imports),
                    "dvc repro",
                ]
            ),
        ),
        *([Text(text="Not all was committed: the parameters below are those that were used.")] if changed else []),
        Table(
            caption="Versions and contents",
            header=["what", "which"],
            rows=[
                ["git commit", commit],
                *digests,
                ["seeds", ", ".join(str(seed) for seed in sorted({one.seed for one in found.trained}))],
                ["Python", platform.python_version()],
                *([name, _version(name)] for name in PACKAGES),
            ],
            words=True,
        ),
        More(
            summary="All parameters",
            pieces=[Code(label="params.yaml", text=PARAMS_FILE.read_text(encoding="utf-8"))]
            if PARAMS_FILE.exists()
            else [Missing(what=f"{PARAMS_FILE} is not here.", command=f"git checkout {PARAMS_FILE}")],
        ),
    ]


# --- Small things -----------------------------------------------------------------------------------------------------


def _chart(path: Path, *, alt: str, caption: str, command: str) -> Picture | Missing:
    if not path.exists():
        return Missing(what=f"`{path}` is not there.", command=command)
    return chart(path, alt=alt, caption=caption)


def _no_faces() -> Missing:
    return Missing(
        what="The real faces that the models were tested on are not here.", command="dvc repro prepare compare report"
    )


def _no_model(one: Trained) -> Missing:
    return Missing(
        what=f"No readable model of `{one.strategy}`, seed {one.seed}.", command=f"dvc repro {one.strategy}@{one.seed}"
    )


def _predict(one: Trained, pack: Pack, rows: Sequence[int]) -> npt.NDArray[np.float32] | None:
    """What a detector predicts on some faces: (n, 68, 2) pixels of the crops; None where it cannot be read."""
    folder = MODELS / one.strategy / f"seed-{one.seed}"
    try:
        landmarker = Landmarker.load(folder)
    except ValueError:
        return None
    return evaluation.predict_pack(landmarker, pack, np.array(rows))


def _table(path: Path) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of a CSV file, numbers shortened; None where there is none."""
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, [[_short(cell) for cell in row] for row in rows]


def _short(cell: str) -> str:
    value = _value(cell)
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else cell


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
