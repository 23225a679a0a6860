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
    patches = duplicates.cut(real.images, real.landmarks, real.scheme)
    others = duplicates.cut(synthetic.images, synthetic.landmarks, synthetic.scheme)
    found = duplicates.find(np.concatenate([patches, others]), len(real))

    images = dict(zip([*real.ids.tolist(), *synthetic.ids.tolist()], [*real.images, *synthetic.images], strict=True))
    assigned = dict(zip(real.ids.tolist(), real.splits.tolist(), strict=True)) | {
        id_: "synthetic" if split == "train" else split
        for id_, split in zip(synthetic.ids.tolist(), synthetic.splits.tolist(), strict=True)
    }
    ids = list(images)
    rows = [
        pairs.row(_kind(pair, images[a], images[b]), (a, b), assigned, pair.similarity)
        for pair in found
        for a, b in [(ids[pair.first], ids[pair.second])]
    ]
    rows += [pairs.row("person", faces, assigned, None) for faces in _same_people(real, synthetic, params)]
    rows.sort(key=pairs.rank)
    with whole_file(pairs.TABLE) as beside:
        write_table(beside, rows, pairs.COLUMNS)
    worst = [(images[pair["face_a"]], images[pair["face_b"]]) for pair in rows[: pairs.SHOWN]]
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


def _kind(pair: Pair, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> str:
    if np.array_equal(first, second):
        return "exact"
    return "mirrored" if pair.mirrored else "near"


def _same_people(real: Pack, synthetic: Pack, params: config.Params) -> list[tuple[str, str]]:
    """The rendered faces of one person, where both sets draw from one stock of people by one seed."""
    rendered = {"stand_in": params.render.stand_in, "synthetic": params.render.synthetic}
    stocks = {(changed(POPULATIONS[name], wanted.population).people, wanted.seed) for name, wanted in rendered.items()}
    if len(stocks) > 1:
        return []
    others = _by_person(synthetic, config.RENDERED["synthetic"])
    pictures = _by_person(real, config.RENDERED["real"])
    return [pair for person, own in pictures.items() for pair in itertools.product(own, others.get(person, []))]


def _by_person(pack: Pack, source: str) -> dict[str, list[str]]:
    """The faces of a rendered source, by whom they show."""
    found: dict[str, list[str]] = defaultdict(list)
    for id_, photo in zip(pack.ids.tolist(), pack.photos.tolist(), strict=True):
        if id_.startswith(f"{source}/"):
            found[photo.removeprefix(f"{source}/")].append(id_)
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
