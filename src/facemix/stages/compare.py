"""`facemix compare`: ranks the trained strategies and writes `reports/`."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from facemix import tracking
from facemix.checks.pairs import leaking
from facemix.config import REPORTS, Params
from facemix.evaluation.metrics import THRESHOLDS, rate_names
from facemix.files import whole_file, write_table
from facemix.reporting import figures
from facemix.stages import leaks
from facemix.strategies import MODELS, STRATEGIES
from facemix.verdict import comparison, results

SHOWN = {
    "rank": "rank",
    "strategy": "strategy",
    "test_nme": "test NME",
    "test_nme_sd": "± seeds",
    "compared_with": "compared with",
    "difference": "difference",
    "difference_low": "95 % interval",
    "resamples_below": "resamples below 0",
    "p_adjusted": "p (Holm)",
    "verdict": "verdict",
    **{
        name: re.sub(r"(\D+)", lambda kind: f"{kind[0].upper()}@", name)
        for normalizer in THRESHOLDS
        for name in rate_names(normalizer)
    },
    "val_nme": "val NME",
    "challenging_nme": "challenging",
    "full_nme": "full",
    "faces_seen": "faces seen",
    "compared_faces_seen": "of the compared",
}
_THOUSANDTHS = (*(f"auc{of[0]}" for of in THRESHOLDS.values()), "resamples_below", "p_adjusted")


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
    found = _find(params)
    box_jitter = _write_tables_and_figures(found.trained, found.ranked, found.floor)
    with whole_file(REPORTS / "metrics.json") as beside:
        beside.write_text(json.dumps(_summary(found), indent=2) + "\n", encoding="utf-8")
    _say(found)
    tracking.deliver()
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
        floor=leaks.read_human_floor(trained[0].metrics["normalizer"]),
        n_leaking=None if pairs is None else len(leaking(pairs, "test")),
    )


def _summary(found: _Found) -> dict[str, Any]:
    """What `reports/metrics.json` holds; validation first, so that `dvc exp show` shows it first."""
    return {
        "val_nme": {row["strategy"]: round(row["val_nme"], 4) for row in found.ranked},
        "test_nme": {row["strategy"]: round(row["test_nme"], 4) for row in found.ranked},
        "normalizer": found.normalizer,
        **found.test_faces,
        "best": found.ranked[0]["strategy"],
        **({} if found.n_leaking is None else {"leaking_test_faces": found.n_leaking}),
        **({} if found.floor is None else {"human_floor": found.floor}),
        "verdict": {"status": found.verdict.status, "sentence": found.verdict.sentence},
    }


def _say(found: _Found) -> None:
    """Prints the ranking and the verdict, and what they lack."""
    shown = "".join(f"; test: {name}" for name in found.test_faces.values())
    print(f"NME in % of the {figures.FACE_SIZES[found.normalizer]}, {len(found.trained[0].errors)} test faces{shown}")
    if found.missing:
        compared = ", ".join(str(seed) for seed in sorted({one.seed for one in found.trained}))
        missing = comparison.named(found.missing)
        print(f"missing: {missing}; compared at the seeds that all have: {compared}; run `dvc repro`")
    print(table(found.ranked))
    if found.floor is not None:
        print(f"two annotators of a photograph: {found.floor:.2f}")
    if found.n_leaking:
        print(
            f"{found.n_leaking} test faces show a photograph that training or validation holds too ({leaks.TABLE}); "
            "leave it out of training by `facemix leaks --exclude`"
        )
    champion = comparison.champion(found.trained)
    print(f"best by validation: {_folder(champion)}, NME {champion.metrics['val']['nme']:.2f}")
    print(found.verdict.sentence)


def _track(found: _Found, params: Params, box_jitter: Sequence[Mapping[str, float]]) -> None:
    """The summary run in MLflow, and the champion in its model registry."""
    champion = comparison.champion(found.trained)
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
        run.register(_folder(champion), **registration(champion, _folder(champion), len(found.trained)))


def _folder(one: comparison.Trained) -> Path:
    return MODELS / one.strategy / f"seed-{one.seed}"


def registration(champion: comparison.Trained, folder: Path, candidates: int) -> dict[str, Any]:
    """What the model registry is told of the champion: see `tracking.Run.register`."""
    nme, normalizer = champion.metrics["val"]["nme"], champion.metrics["normalizer"]
    said = [
        f"`{champion.strategy}`, seed {champion.seed}: NME {nme:.2f} % of the {figures.FACE_SIZES[normalizer]} on "
        f"validation, the best of {candidates} trained models."
    ]
    tags = {"strategy": champion.strategy, "seed": str(champion.seed)}
    if command := _how_to_get(folder):
        tags["dvc_get"] = command
        said.append(f"Its files, in a clone of the project:\n\n```sh\n{command}\n```")
    return {
        "nme": nme,
        "measured_on": f"{normalizer} of faces {champion.metrics.get('validation_faces', 'unknown')}",
        "tags": tags,
        "description": "\n\n".join(said),
    }


def _how_to_get(folder: Path) -> str:
    """The command that gets a trained model from DVC; empty where DVC does not run this.

    What `dvc repro` makes is in no commit yet, but DVC names its content: the commit is the first one with that name.
    """
    if name := os.environ.get("DVC_EXP_NAME"):
        return f"dvc get . {folder} --rev {name} --out champion"
    if "DVC_STAGE" not in os.environ:
        return ""
    stages = YAML(typ="safe").load(Path("dvc.lock"))["stages"]
    outs = [out for stage in stages.values() for out in stage.get("outs", []) if out["path"] == folder.as_posix()]
    if not outs:
        return ""
    commit = f"$(git log --reverse --format=%H -S {outs[0]['md5']} -- dvc.lock | head -n 1)"
    return f"dvc get . {folder} --rev {commit} --out champion"


def table(ranked: Sequence[Mapping[str, Any]]) -> str:
    """The ranking as text, columns aligned; what no strategy has is left out."""
    columns = [key for key in SHOWN if any(row.get(key) is not None for row in ranked)]
    cells = [[SHOWN[key] for key in columns]] + [[cell(key, row) for key in columns] for row in ranked]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if key == "strategy" else cell.rjust(width)
            for key, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    )


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


def cell(key: str, row: Mapping[str, Any]) -> str:
    """A value of a row of the ranking as text."""
    value = row.get(key)
    if value is None:
        return "-"
    if key == "p_adjusted" and value < 0.001:
        return "< 0.001"
    if key == "difference_low":
        return f"{value:+.2f} to {row['difference_high']:+.2f}"
    if isinstance(value, float):
        return f"{value:+.2f}" if key == "difference" else f"{value:.3f}" if key in _THOUSANDTHS else f"{value:.2f}"
    return f"{value:,}" if key.endswith("faces_seen") else str(value)
