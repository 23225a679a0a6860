"""`facemix leaks`: photographs that are there twice, and how far two people's annotations of one lie apart."""

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facemix import config
from facemix.checks import duplicates, human_floor, pairs
from facemix.checks.duplicates import Pair
from facemix.faces import packs, splits
from facemix.faces.packs import Pack
from facemix.faces.sources import SPLIT_FILES, split_path
from facemix.files import whole_file, write_table
from facemix.render.population import POPULATIONS, changed


def leaks(params: config.Params, exclude: bool = False) -> None:
    """Finds what the packs hold twice; writes the table of pairs, a sheet of the worst of them and the human floor.

    Synthetic faces are compared with real ones, not with each other.

    Args:
        exclude: add the training faces that leak to the `excluded` of their split files.

    Raises:
        FacemixError: a pack is missing or damaged.
        OSError: an output cannot be written.
    """
    real, synthetic = (packs.read(packs.FOLDER / role) for role in ("real", "synthetic"))
    both = _Both(real, synthetic)
    patches = duplicates.on_disk(len(both))
    duplicates.cut(real.images, real.landmarks, real.scheme, patches[: len(real)])
    duplicates.cut(synthetic.images, synthetic.landmarks, synthetic.scheme, patches[len(real) :])
    found = duplicates.find(patches, len(real))

    people = _same_people(real, synthetic, params)
    where = {both.id(row): row for pair in [*((pair.first, pair.second) for pair in found), *people] for row in pair}
    assigned = {id_: both.split(row) for id_, row in where.items()}
    rows = [
        pairs.row(_kind(pair, both), (both.id(pair.first), both.id(pair.second)), assigned, pair.similarity)
        for pair in found
    ]
    rows += [pairs.row("person", (both.id(one), both.id(other)), assigned, None) for one, other in people]
    rows.sort(key=pairs.rank)
    with whole_file(pairs.TABLE) as beside:
        write_table(beside, rows, pairs.COLUMNS)
    worst = [[both.image(where[pair[f"face_{side}"]]) for side in "ab"] for pair in rows[: pairs.SHOWN]]
    _, data = cv2.imencode(".png", pairs.sheet(rows[: pairs.SHOWN], worst)[..., ::-1])
    with whole_file(pairs.SHEET) as beside:
        beside.write_bytes(data.tobytes())

    among_real = [pair for pair in found if pair.second < len(real)]
    floor = human_floor.measure(among_real, real.landmarks, real.scheme, params.evaluation.normalizer)
    with whole_file(human_floor.FILE) as beside:
        beside.write_text(json.dumps(floor, indent=2) + "\n", encoding="utf-8")
    print(report(rows, floor))
    if exclude:
        _exclude(pairs.leaking(rows, "training"), params)


class _Both:
    """The faces of both packs in the order in which they are compared: real ones, then synthetic ones."""

    def __init__(self, real: Pack, synthetic: Pack) -> None:
        self._real, self._synthetic = real, synthetic

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def _at(self, row: int) -> tuple[Pack, int]:
        return (self._real, row) if row < len(self._real) else (self._synthetic, row - len(self._real))

    def id(self, row: int) -> str:
        pack, own = self._at(row)
        return str(pack.ids[own])

    def split(self, row: int) -> str:
        """`synthetic` for synthetic faces that are trained on."""
        pack, own = self._at(row)
        split = str(pack.splits[own])
        return "synthetic" if pack is self._synthetic and split == "train" else split

    def image(self, row: int) -> npt.NDArray[np.uint8]:
        pack, own = self._at(row)
        return np.asarray(pack.images[own])


def _kind(pair: Pair, both: _Both) -> str:
    if np.array_equal(both.image(pair.first), both.image(pair.second)):
        return "exact"
    return "mirrored" if pair.mirrored else "near"


def _same_people(real: Pack, synthetic: Pack, params: config.Params) -> list[tuple[int, int]]:
    """Rows of `_Both` that show one rendered person, where both sets draw from one stock of people by one seed."""
    rendered = {"stand_in": params.render.stand_in, "synthetic": params.render.synthetic}
    stocks = {(changed(POPULATIONS[name], wanted.population).people, wanted.seed) for name, wanted in rendered.items()}
    if len(stocks) > 1:
        return []
    others = _by_person(synthetic, config.RENDERED["synthetic"])
    pictures = _by_person(real, config.RENDERED["real"])
    return [
        (row, len(real) + other)
        for person, own in pictures.items()
        for row, other in itertools.product(own, others.get(person, []))
    ]


def _by_person(pack: Pack, source: str) -> dict[str, list[int]]:
    """The rows of a rendered source, by whom they show."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.char.startswith(pack.ids, f"{source}/")).tolist():
        found[str(pack.photos[row]).removeprefix(f"{source}/")].append(row)
    return found


def report(found: Sequence[pairs.Row], floor: Mapping[str, Any]) -> str:
    """What was found, as text: pairs by their two splits, and the human floor."""
    lines = [f"{pairs.TABLE}: {len(found)} pairs of faces show one photograph (or one rendered person)"]
    for (split_a, split_b), count in pairs.counts(found).items():
        leak = pairs.is_leak({"split_a": split_a, "split_b": split_b})
        lines.append(f"  {f'{split_a} / {split_b}':26s}{count:6d}" + ("  leak" if leak else ""))
    if "nme" in floor:
        lines.append(
            f"{human_floor.FILE}: two annotators of a photograph differ by an NME of {floor['nme']:.2f} % (median "
            f"{floor['median']:.2f} %; {floor['photographs']} photographs, {floor['pairs']} pairs)"
        )
    return "\n".join(lines)


def _exclude(ids: Sequence[str], params: config.Params) -> None:
    """Writes training faces of the packs into the split files of their sources."""
    for role in ("real", "synthetic"):
        rendered = config.Source(name=config.RENDERED[role], format="facesynthetics")
        for source in (*getattr(params.sources, role), rendered):
            own = [id_.removeprefix(f"{source.name}/") for id_ in ids if id_.startswith(f"{source.name}/")]
            if own:
                path = SPLIT_FILES / role / f"{source.name}.yaml"
                if not path.exists() and (of_format := split_path(source, role)).exists():
                    # That of the format holds for every source of it; what is excluded here is of this one alone.
                    with whole_file(path) as beside:
                        shutil.copyfile(of_format, beside)
                splits.exclude(path, own)
                print(f"{path}: {len(own)} training faces excluded; `dvc repro` leaves them out")
    if not ids:
        print("no training face leaks: nothing to exclude")
