"""What there is to report on: what the other stages left in reports/, models/ and data/packs/."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemix.config import REPORTS, Params
from facemix.errors import FacemixError
from facemix.faces import geometry, packs
from facemix.faces.face import STAND_IN_SHOWN
from facemix.faces.packs import Pack
from facemix.reporting import figures
from facemix.reporting.page import Missing, Picture, chart
from facemix.strategies import MODELS
from facemix.training import predictions
from facemix.verdict import comparison, results
from facemix.verdict.comparison import Trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is to report on."""

    params: Params
    summary: Mapping[str, Any]
    """What reports/metrics.json holds."""
    ranked: Sequence[Mapping[str, Any]]
    """Rows of reports/ranking.csv, the best strategy first."""
    trained: Sequence[Trained]
    real: Pack
    synthetic: Pack | None
    figures: Path
    """Where new figures go."""

    @property
    def unit(self) -> str:
        return f"% of the {figures.face_size(self.summary['normalizer'])}"

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

    def rows(self) -> dict[str, int]:
        """Test face -> row of the real pack."""
        faces = list(self.trained[0].errors)
        return dict(zip(faces, self.real.rows_of(faces).tolist(), strict=True))


SAME = 1e-4
"""NME: how far rounding may move a figure."""


def read(params: Params, folder: Path) -> Found:
    """What the other stages left.

    Args:
        folder: where new figures go.

    Raises:
        FacemixError: there is no ranking, or it is not that of the models that are there.
    """
    ranking, summary = REPORTS / "ranking.csv", REPORTS / "metrics.json"
    for path in (ranking, summary):
        if not path.exists():
            raise FacemixError(f"{path}: not found, expected the results of `facemix compare`; run `dvc repro`")
    trained = results.read(MODELS, params.seeds, params.evaluation.normalizer)
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        with ranking.open(newline="", encoding="utf-8") as file:
            ranked = [{key: parse(text) for key, text in row.items()} for row in csv.DictReader(file)]
        if {row["strategy"] for row in ranked} != {one.strategy for one in trained}:
            raise FacemixError("it ranks strategies that are not those in models/")
        for row in ranked:
            now = [one.metrics["test"]["nme"] for one in trained if one.strategy == row["strategy"]]
            if abs(sum(now) / len(now) - float(str(row["test_nme"]))) > SAME:
                raise FacemixError(f"the models of {row['strategy']} have changed since it was written")
        _ = content["verdict"]["sentence"], content["verdict"]["status"], content["normalizer"]
    except (ValueError, KeyError, TypeError) as error:
        raise FacemixError(
            f"{ranking}, {summary}: not what `facemix compare` writes ({error}); run `dvc repro`"
        ) from None
    return Found(
        params=params,
        summary=content,
        ranked=ranked,
        trained=trained,
        real=packs.read(packs.FOLDER / "real"),
        synthetic=packs.read(synthetic) if (synthetic := packs.FOLDER / "synthetic").exists() else None,
        figures=folder,
    )


def parse(text: str) -> int | float | str | None:
    """A cell of a CSV file."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def predict(one: Trained, pack: Pack, rows: Sequence[int]) -> npt.NDArray[np.float64]:
    """What a detector predicted on some of the faces that judge: (n, K, 2) pixels of the crops."""
    predicted = predictions.read(MODELS / one.strategy / f"seed-{one.seed}")
    place = {id_: i for i, id_ in enumerate(predicted.ids.tolist())}
    points = predicted.points[0.0][[place[id_] for id_ in pack.ids[rows].tolist()]]
    return geometry.apply(pack.transforms[rows], points)


def chart_of(path: Path, *, alt: str, caption: str, command: str) -> Picture | Missing:
    if not path.exists():
        return Missing(what=f"`{path}` is not there.", command=command)
    return chart(path, alt=alt, caption=caption)
