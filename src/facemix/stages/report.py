"""`facemix report`: all that came out, as one page for somebody who has read nothing else: `reports/report.html`."""

from facemix import tracking
from facemix.config import ANSWERS, REPORTS, Params
from facemix.faces import formats
from facemix.faces.face import STAND_IN_SHOWN
from facemix.files import whole_file, whole_folder
from facemix.reporting import figures
from facemix.reporting.page import Piece, Report, Section, html
from facemix.reporting.sections import certainty, faces, provenance, results
from facemix.reporting.sections.found import Found, read

PAGE = REPORTS / "report.html"
FIGURES = REPORTS / "figures"


def report(params: Params) -> None:
    """Writes reports/report.html and the figures that only it has, and tracks them.

    Raises:
        FacemixError: `facemix compare` has not run on the models that are there, or what it wrote is damaged.
        OSError: an output cannot be written.
    """
    with whole_folder(FIGURES) as beside:
        found = read(params, beside)
        page = html(compose(found))
    with whole_file(PAGE) as beside_page:
        beside_page.write_text(page, encoding="utf-8")
    print(f"{PAGE}: {len(page) / 1e6:.1f} MB; {found.summary['verdict']['sentence']}")
    with tracking.start(
        name="report",
        experiment=params.tracking.experiment,
        tags={
            "strategy": "report",
            "verdict": found.summary["verdict"]["sentence"],
            **({"test_faces": STAND_IN_SHOWN} if found.stand_in else {}),
        },
        patience=tracking.LONG_PATIENCE,
    ) as run:
        run.artifact(PAGE)
        for figure in [*sorted(REPORTS.glob("*.png")), *sorted(ANSWERS.glob("*.png")), *sorted(FIGURES.iterdir())]:
            run.artifact(figure, folder="figures")


def compose(found: Found) -> Report:
    """The report's sections, drawing the figures that no other stage draws."""
    sections: dict[tuple[str, str], list[Piece]] = {
        ("ranking", "Which strategy wins"): results.ranking(found),
        ("errors", "How errors spread"): results.ced(found),
        ("sweep", "How many real faces synthetic ones are worth"): results.sweep(found),
        ("advice", "What follows: advice, and whether the gain is enough"): results.answers(found),
        ("label-gap", "What the labels of the two worlds mean"): faces.label_gap(found),
        ("faces", "Best, median and worst faces"): faces.best_and_worst(found),
        ("differences", "Faces on which the strategies differ most"): faces.most_different(found),
        ("regions", "By region of the face and by head pose"): results.by_group(found),
        ("boxes", "When the face box is not perfect"): results.box_jitter(found),
        ("certainty", "Whether detectors know how sure they are"): certainty.reliability(found),
        ("leaks", "Photographs that occur twice"): provenance.leaked(found),
        ("data", "The data"): provenance.data(found),
        ("reproduce", "How to reproduce this"): provenance.reproduce(found),
    }
    verdict = found.summary["verdict"]
    return Report(
        question=f"Does a detector of {len(found.real.scheme)} landmarks get better when synthetic (rendered) faces "
        "are added to real ones?",
        answer=verdict["answer"],
        status=verdict["status"],
        picture=results.ranking_picture(found),
        advice=_advice(found),
        notes=_notes(found),
        sections=[Section(name=name, title=title, pieces=pieces) for (name, title), pieces in sections.items()],
    )


def _advice(found: Found) -> str:
    """What a reader does next."""
    bring = "bring photographs of your own: `facemix import FORMAT PATH`, then `dvc repro`"
    advice = found.summary["verdict"]["advice"]
    if found.stand_in:
        return f"{bring[0].upper()}{bring[1:]}." + (f" For a verdict, {advice}." if advice else "")
    if advice:
        return f"{advice[0].upper()}{advice[1:]}."
    if not results.is_swept():
        return f"Ask how much they are worth: `{results.sweep_command(found)} && dvc repro`."
    if not (ANSWERS / "advice.json").exists():
        return f"Ask what follows from the sweep: `{results.ADVISE}`."
    return "Choose a mix (see What follows)."


def _notes(found: Found) -> list[str]:
    size = figures.face_size(found.summary["normalizer"])
    notes = [
        "One network is trained by several strategies, and all are judged on the same test faces. NME, the normalised "
        f"mean error, is the mean distance between a predicted and a true landmark in per cent of the {size}: less is "
        "better."
    ]
    if found.stand_in:
        notes.insert(
            0,
            f"The faces called real here are a {STAND_IN_SHOWN}: the numbers show how the method works, not what "
            "is best on photographs.",
        )
    sets = (*found.params.sources.real, *found.params.sources.synthetic)
    if bound := [source.name for source in sets if formats.licence(source.format, source.name) != "Apache-2.0"]:
        notes.append(
            f"This page shows faces of {' and '.join(bound)}. Their licences say what may be published (see The data)."
        )
    return notes
