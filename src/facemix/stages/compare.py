"""`facemix compare`: ranks the trained strategies and writes `reports/`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemix import tracking
from facemix.checks import human_floor
from facemix.checks import pairs as leaks
from facemix.config import ANSWERS, REPORTS, Params
from facemix.files import whole_file, write_table
from facemix.reporting import figures, ranking
from facemix.stages import prune
from facemix.stages.register import model_folder, registration
from facemix.strategies import MODELS, STRATEGIES
from facemix.verdict import comparison, results


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the comparison came to."""

    trained: Sequence[comparison.Trained]
    missing: Sequence[tuple[str, int]]
    """Strategies and seeds that are not trained."""
    ranked: Sequence[Mapping[str, Any]]
    verdict: comparison.Headline
    floor: float | None
    """The human floor, % NME."""
    unranked: Sequence[str]
    """In words: what no ranking holds, and why."""
    n_leaking: int | None
    """Test faces that training or validation shows, too; None before `leaks` has run."""

    @property
    def normalizer(self) -> str:
        return str(self.trained[0].metrics["normalizer"])

    @property
    def test_faces(self) -> dict[str, str]:
        """What the test faces are called where they are no photographs."""
        shown = comparison.faces_shown(self.trained)
        return {"test_faces": shown} if shown else {}


def compare(params: Params) -> None:
    """Ranks all strategies by test NME; writes the verdict, the table, the metrics, the plots, and a summary run."""
    prune.prune(params)
    found = _find(params)
    box_jitter = _write_tables_and_figures(found.trained, found.ranked, found.floor)
    with whole_file(REPORTS / "metrics.json") as beside:
        beside.write_text(json.dumps(_summary(found), indent=2) + "\n", encoding="utf-8")
    _say(found)
    _track(found, params, box_jitter)


def _find(params: Params) -> _Found:
    trained = results.read(MODELS, params.seeds, params.evaluation.normalizer)
    missing = results.missing(MODELS, params.seeds)
    ranked = comparison.rank(trained)
    shown = comparison.faces_shown(trained)
    faces, photos = len(trained[0].errors), len(set(trained[0].photos.values()))
    verdict = comparison.headline(
        ranked,
        n_real=params.n_real,
        test_faces=f"{faces} test faces of {photos} {'renders' if shown else 'photographs'}"
        + (f", {shown}" if shown else ""),
        missing=missing,
    )
    pairs = leaks.read()
    return _Found(
        trained=trained,
        missing=missing,
        ranked=ranked,
        verdict=verdict,
        unranked=list(results.unranked(MODELS, params.seeds, results.scheme_of(model_folder(trained[0]))).values()),
        floor=human_floor.read(trained[0].metrics["normalizer"]),
        n_leaking=None if pairs is None else len(leaks.leaking(pairs, "test")),
    )


def _summary(found: _Found) -> dict[str, Any]:
    """What `reports/metrics.json` holds; validation first, so that `dvc exp show` shows it first."""
    return {
        "val_nme": {row["strategy"]: round(row["val_nme"], 4) for row in found.ranked},
        "test_nme": {row["strategy"]: round(row["test_nme"], 4) for row in found.ranked},
        "normalizer": found.normalizer,
        **found.test_faces,
        "best": found.ranked[0]["strategy"],
        **({"unranked": list(found.unranked)} if found.unranked else {}),
        **({} if found.n_leaking is None else {"leaking_test_faces": found.n_leaking}),
        **({} if found.floor is None else {"human_floor": found.floor}),
        "verdict": dataclasses.asdict(found.verdict),
    }


def _say(found: _Found) -> None:
    """Prints the ranking and the verdict, and what they lack."""
    shown = "".join(f"; test: {name}" for name in found.test_faces.values())
    print(f"NME in % of the {figures.face_size(found.normalizer)}, {len(found.trained[0].errors)} test faces{shown}")
    if found.missing:
        compared = ", ".join(str(seed) for seed in sorted({one.seed for one in found.trained}))
        missing = comparison.named(found.missing)
        print(
            f"missing: {missing}; compared at the seeds that all strategies have ({compared}); run `dvc repro` to "
            "train the rest"
        )
    print(ranking.table(found.ranked))
    for sentence in found.unranked:
        print(sentence)
    if found.floor is not None:
        print(f"human floor (two annotators of one photograph): {found.floor:.2f}")
    if found.n_leaking:
        print(
            f"{found.n_leaking} test faces show a photograph that training or validation holds too ({leaks.TABLE}); "
            "exclude it from training with `facemix leaks --exclude`"
        )
    champion = comparison.champion(found.trained)
    print(f"best by validation: {model_folder(champion)}, NME {champion.metrics['val']['nme']:.2f}")
    print(found.verdict.sentence)
    if answers := _answers():
        print(f"asked before: {', '.join(map(str, answers))}")


def _answers() -> list[Path]:
    """What `facemix advise` and `facemix gate` have written."""
    return [file for name in ("advice", "gate") for file in sorted(ANSWERS.glob(f"{name}.*"))]


def _track(found: _Found, params: Params, box_jitter: Sequence[Mapping[str, float]]) -> None:
    """The summary run in MLflow; the best model in its registry where the workspace says so."""
    with tracking.start(
        name="compare",
        experiment=params.tracking.experiment,
        tags={"strategy": "compare", "verdict": found.verdict.sentence, **found.test_faces},
        description=found.verdict.sentence,
        params={
            "alpha": params.alpha,
            "n_real": params.n_real,
            "n_synthetic": params.n_synthetic,
            "seeds": params.seeds,
            "best": found.ranked[0]["strategy"],
            "normalizer": found.normalizer,
            "verdict": found.verdict.status,
        },
        patience=tracking.LONG_PATIENCE,
    ) as run:
        run.metrics({f"test.nme.{row['strategy']}": row["test_nme"] for row in found.ranked})
        run.metrics(
            {
                f"test.box_jitter.{row['jitter']:.2f}.{name}": nme
                for row in box_jitter
                for name, nme in row.items()
                if name != "jitter"
            }
        )
        for file in sorted(REPORTS.iterdir()):
            if file.suffix in (".csv", ".json", ".png"):
                run.artifact(file)
        for file in _answers():
            run.artifact(file, folder=ANSWERS.name)
        if params.tracking.register:
            champion = comparison.champion(found.trained)
            run.register(model_folder(champion), **registration(champion, found.trained, params))


def _write_tables_and_figures(
    trained: Sequence[comparison.Trained], ranked: Sequence[Mapping[str, Any]], floor: float | None
) -> list[dict[str, float]]:
    """Writes `reports/*.csv` and `*.png`; returns test NME at each level of box jitter."""
    normalizer = trained[0].metrics["normalizer"]
    ced, box_jitter = comparison.ced_table(trained), comparison.box_jitter_table(trained)
    tables = {
        "ranking.csv": ranked,
        "errors.csv": comparison.error_table(trained),
        "ced.csv": ced,
        "box_jitter.csv": box_jitter,
        "validation.csv": comparison.validation_table(trained),
    }
    for name, rows in tables.items():
        # `dvc plots` draws nothing where a column that dvc.yaml names is not there.
        untrained = {
            one: "" for one in STRATEGIES if name not in ("ranking.csv", "errors.csv") and rows and one not in rows[0]
        }
        with whole_file(REPORTS / name) as beside:
            # No rows: where nothing but the label adapter was trained, no step was validated.
            write_table(beside, [{**row, **untrained} for row in rows], () if rows else ("step", *STRATEGIES))
    with whole_file(REPORTS / "ranking.png") as beside:
        figures.ranking(beside, ranked, trained, normalizer, floor)
    with whole_file(REPORTS / "ced.png") as beside:
        figures.ced(beside, ced, trained, normalizer)
    with whole_file(REPORTS / "box_jitter.png") as beside:
        figures.box_jitter(beside, box_jitter, trained, normalizer)
    return box_jitter
