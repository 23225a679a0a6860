"""Faces and points: the label gap on the mean face, the best and worst faces, and where strategies differ."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemix.faces import geometry
from facemix.faces.face import STAND_IN_SHOWN
from facemix.reporting import figures, panels
from facemix.reporting.page import Gallery, Missing, Piece, Table, Text, chart, photograph
from facemix.reporting.sections.found import Found, predict
from facemix.strategies import ADAPTER_FROM, MODELS

MOST_DIFFERENT = 4
"""Faces shown on which strategies differ most."""
GAP_SHOWN = 12.0
"""Arrows of the label gap are magnified, by a whole number, up to this share of the face box in %."""
GAP_BELIEVED = 50.0
"""A label gap that is longer, in % of the face box, is none."""


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
    if why := nothing_to_draw(lengths):
        return [about, Text(text=why)]
    named = {name: [i for i in part if not np.isnan(lengths[i])] for name, part in found.real.scheme.regions.items()}
    regions = {name: part for name, part in named.items() if part}
    table = Table(
        caption="Mean shift from the synthetic to the real convention, % of the face box's longer side",
        header=["region", "length", "to the right", "down"],
        rows=[
            [name, f"{lengths[part].mean():.2f}", *(f"{value:+.2f}" for value in gap[part].mean(axis=0))]
            for name, part in regions.items()
        ],
    )
    rows = np.flatnonzero(found.real.splits == "train")
    image, points = panels.mean_face(found.real.images, found.real.landmarks, rows)
    side = float(geometry.square_side(geometry.landmark_box(points)))
    times = max(1, int(GAP_SHOWN / np.nanmax(lengths)))
    figures.label_gap(found.figures / "label_gap.png", image, points, times * gap * side / 100)
    name, longest = max(
        ((name, lengths[part].mean()) for name, part in regions.items()),
        key=lambda item: item[1],
    )
    magnified = f", {times} times as long as they are" if times > 1 else ""
    of = f"the training faces, {STAND_IN_SHOWN}" if found.stand_in else "the real training faces"
    return [
        about,
        chart(
            found.figures / "label_gap.png",
            alt=f"The mean face with an arrow at each of the points; they are longest on the {name}, "
            f"{longest:.2f} % of the face box on average.",
            caption=f"The mean of {of}. Arrows lead from where the synthetic convention has a point (rings) to "
            f"where the real one has it{magnified}; mean over {len(there)} seed{'s' if len(there) > 1 else ''}.",
            wide=False,
        ),
        table,
    ]


def nothing_to_draw(lengths: npt.NDArray[np.float64]) -> str:
    """Why shifts of these lengths (K,), in % of the box's longer side, are not drawn; empty where they are."""
    if np.isnan(lengths).all():
        return (
            "Here the two worlds have different landmark schemes, and no point of one is named in the other: the "
            "adapter translates one to the other, and there is no shift to show."
        )
    longest = np.nanmax(lengths)
    if longest == 0:
        return "The adapter that was best on validation changes nothing: no label gap was learned."
    if longest > GAP_BELIEVED:
        return (
            f"The adapter moves a point by {longest:.0f} % of the face box. No two conventions lie so far apart: the "
            "network behind it has not learned yet to find the points. Train longer."
        )
    return ""


def _read_gap(path: Path) -> npt.NDArray[np.float64]:
    """The shift (K, 2) of each point in % of the box's longer side; NaN where the synthetic scheme does not name it."""
    with path.open(newline="", encoding="utf-8") as file:
        return np.array([[float(row[key] or "nan") for key in ("dx", "dy")] for row in csv.DictReader(file)])


def best_and_worst(found: Found) -> list[Piece]:
    """The best, median and worst test face of each strategy."""
    rows = found.rows()
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
        predicted = predict(one, found.real, [rows[faces[i]] for i in chosen.values()])
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
    faces = sorted(rows)
    nme = np.array([[one.errors[face] for face in faces] for one in runs])
    chosen = panels.most_different(nme, MOST_DIFFERENT)
    at = [rows[faces[i]] for i in chosen]
    predicted = {one.strategy: predict(one, found.real, at) for one in runs}
    pieces: list[Piece] = [Text(text=f"Colours as above, detectors of seed {runs[0].seed}.")]
    for k, i in enumerate(chosen):
        image, truth = found.real.images[at[k]], found.real.landmarks[at[k]]
        pictures = [photograph(panels.judged(image, truth, None), alt="true landmarks", caption="ground truth")]
        pictures += [
            photograph(
                panels.judged(image, truth, predicted[one.strategy][k]),
                alt=f"true landmarks and those that {one.strategy} predicts",
                caption=f"`{one.strategy}`: NME {nme[j, i]:.2f}",
            )
            for j, one in enumerate(runs)
        ]
        pieces.append(
            Gallery(title=f"`{faces[i]}`: NME {nme[:, i].min():.2f} to {nme[:, i].max():.2f}", pictures=pictures)
        )
    return pieces
