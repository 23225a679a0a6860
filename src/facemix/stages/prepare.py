"""`facemix prepare ROLE`: the sources of one role become one pack."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemix import cluster, config
from facemix.errors import FacemixError
from facemix.faces import cropping, offset, on_ray, packing, packs, sources
from facemix.faces.drawing import contact_sheet
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.files import whole_file
from facemix.finding.fit import fit_frame
from facemix.stages import former

SHEETS = Path("reports/packs")
"""Of each pack: a picture of some faces with their points, and the offset of each source's points."""


def prepare(role: str, params: config.Params, on: str | None = None, address: str | None = None) -> None:
    """Reads every source of a role and what is rendered for it, splits the real faces, and writes `data/packs/ROLE`.

    Says which sources have points that lie beside what they mark; they are moved by a source's own `offset` only.

    Args:
        role: real or synthetic.
        params: of the project.
        on: `ray`: the machines of a cluster decode.
        address: of that cluster.

    Raises:
        FacemixError: Ray's cluster cannot be joined, or its machines would decode otherwise.
        FacemixError: no sources, broken faces (all are listed), or no validation or test faces.
    """
    entries = sources.entries(role, params)
    counts = Counter(entry.split for entry in entries)
    if role == "real":
        _check_splits(entries, counts)
    folder, made_of = packs.FOLDER / role, packs.FOLDER / f"{role}.made_of.json"
    with cluster.asked_for(on, address, on_ray.PACKAGES) as machines:
        written = packing.write(
            folder,
            entries,
            size=params.pack.crop_size,
            margin=params.pack.margin,
            fit_finder=fit_frame if role == "real" else None,
            former=_former(folder, made_of),
            cut_all=on_ray.cutting(machines) if machines else cropping.here,
        )
    with whole_file(made_of) as beside:
        shards = [dataclasses.asdict(shard) for shard in written.shards]
        beside.write_text(json.dumps({"shards": shards}, indent=2) + "\n", encoding="utf-8")
    pack = packs.read(folder)
    _, sheet = cv2.imencode(
        ".png", contact_sheet(pack.images, pack.landmarks)[..., ::-1]
    )  # `imwrite` hides a full disk
    with whole_file(SHEETS / f"{role}.png") as beside:
        beside.write_bytes(sheet.tobytes())
    report = _offsets(role, params, pack, np.array([entry.source for entry in entries]))
    with whole_file(SHEETS / f"{role}.json") as beside:
        beside.write_text(json.dumps({"label_offsets": report}, indent=2) + "\n", encoding="utf-8")
    shown = ", ".join(f"{count} {split}" for split, count in sorted(counts.items()))
    stand_in = any(entry.face.subset == STAND_IN for entry in entries)
    print(f"{folder}: {shown}" + (f"; {STAND_IN_SHOWN}" if stand_in else ""))
    if written.taken:
        print(f"{folder}: {written.taken} of {len(written.shards)} shards are those of the last run")
    if pack.finder and pack.finder["scale"] is None:
        print(
            f"{folder}: the face finder tells where {pack.finder['found']} of {pack.finder['of']} training faces are; "
            "expected half of them or more. Detectors that are trained on them need boxes to predict"
        )


def _former(folder: Path, made_of: Path) -> packing.Former | None:
    """The pack that is there, or else the one that DVC took away before this stage; None where neither is whole."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    place = made_of if made_of.exists() else former.file(made_of)
    try:
        content = json.loads(place.read_text(encoding="utf-8")) if place else {}
        shards = [packing.Shard(**shard) for shard in content["shards"]]
    except (ValueError, KeyError, TypeError):
        return None
    return packing.Former(files=there or former.files(folder), shards=shards)


def _check_splits(entries: Sequence[packing.Entry], counts: Mapping[str, int]) -> None:
    missing = [split for split in ("validation", "train", "test") if not counts[split]]
    if not missing:
        return
    n_photos = len({(entry.source, entry.face.photo) for entry in entries})
    first = entries[0]
    raise FacemixError(
        f"sources.real: no {missing[0]} faces among {len(entries)} of {n_photos} photographs; expected some in each of "
        f"validation, train and test, and all faces of a photograph in one of them. Add photographs, or list some that "
        f"validate in {sources.SPLIT_FILES}/real/NAME.yaml. If there are more photographs ({first.face.id} counts as "
        f"one of {first.face.photo}), say which part of a face's id names the photograph: set group of the source "
        "in params.yaml to a regular "
        f"expression, such as '.*' if each face is a photograph of its own"
    )


def _offsets(
    role: str, params: config.Params, pack: packs.Pack, of_source: npt.NDArray[np.str_]
) -> dict[str, dict[str, object]]:
    """Measures the offset of each source on its training faces, and prints those that are worth a word.

    Args:
        of_source: (N,) the source of each face.
    """
    report: dict[str, dict[str, object]] = {}
    for source, _ in sources.folders(role, params):
        rows = np.flatnonzero((of_source == source.name) & (pack.splits == "train"))
        found = offset.measure(pack.images, pack.landmarks, pack.scheme, pack.transforms[:, 0, 0], rows)
        applied = list(source.offset) if source.offset else None
        report[source.name] = {"applied": applied, "right": None, "error": None, "faces": 0}
        if applied:
            print(f"{source.name}: points moved by {applied} px, the offset given in params.yaml")
        if found is None:
            continue
        report[source.name] |= {"right": round(found.right, 3), "error": round(found.error, 3), "faces": found.faces}
        if found.significant:
            print(_advice(role, source, found))
    return report


def _advice(role: str, source: config.Source, found: offset.Offset) -> str:
    """What was measured, what it usually means and what to do."""
    side = "right" if found.right > 0 else "left"
    already = source.offset or (0.0, 0.0)
    move = f"[{already[0] - found.right:.2f}, {already[1]:g}]"
    return (
        f"{source.name}: points lie {abs(found.right):.2f} ± {found.error:.2f} px to the {side} of what they mark, by "
        f"the symmetry of {found.faces} training faces (a vertical offset cannot be measured in this way). About a "
        "pixel usually "
        f"means that the files count pixels from 1, about half a pixel that they count from the corner of a pixel; "
        f"both shift points vertically as well. Nothing was moved; to move the points, add offset: {move} to "
        f"{source.name} in "
        f"sources.{role} of params.yaml"
    )
