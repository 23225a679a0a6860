"""`facemix prepare ROLE`: the sources of one role become one pack."""

from collections import Counter
from pathlib import Path

import cv2

from facemix import config
from facemix.errors import FacemixError
from facemix.faces import packing, packs, sources
from facemix.faces.drawing import contact_sheet
from facemix.faces.face import STAND_IN, STAND_IN_SHOWN
from facemix.files import whole_file

SHEETS = Path("reports/packs")
"""Pictures of some faces of each pack with their points."""


def prepare(role: str, params: config.Params) -> None:
    """Reads every source of a role and what is rendered for it, splits the real faces, and writes `data/packs/ROLE`.

    Raises:
        FacemixError: no sources, broken faces (all are listed), or no validation or test faces.
    """
    entries = sources.entries(role, params)
    counts = Counter(entry.split for entry in entries)
    if role == "real":
        for split in ("validation", "train", "test"):
            if not counts[split]:
                raise FacemixError(
                    f"sources.real: no {split} faces among {len(entries)}; expected some in each of validation, train "
                    f"and test: complete the source, or list validation faces in {sources.SPLIT_FILES}/real/NAME.yaml"
                )
    folder = packs.FOLDER / role
    packing.write(folder, entries, size=params.pack.crop_size, margin=params.pack.margin)
    pack = packs.read(folder)
    _, sheet = cv2.imencode(
        ".png", contact_sheet(pack.images, pack.landmarks)[..., ::-1]
    )  # `imwrite` hides a full disk
    with whole_file(SHEETS / f"{role}.png") as beside:
        beside.write_bytes(sheet.tobytes())
    shown = ", ".join(f"{count} {split}" for split, count in sorted(counts.items()))
    stand_in = any(entry.face.subset == STAND_IN for entry in entries)
    print(f"{folder}: {shown}" + (f"; {STAND_IN_SHOWN}" if stand_in else ""))
