"""Where people put the 68 points, against where the generator's two conventions put them.

    facemix preset 300w && facemix import 300w ~/300w && dvc repro prepare
    python scripts/measure_annotator_habits.py

Takes the training photographs and the generator's people that face the camera, turned upright, both sides of the face
as one. For each point it prints how far the median of each convention lies from that of the photographs, in % of the
outer-eye distance: outwards from the middle of the face, and down. Lips are measured along the mouth's own width.
"""

import numpy as np
import numpy.typing as npt

from facemix.config import RENDERED
from facemix.faces import packs
from facemix.faces.schemes import ibug68
from facemix.render import labels, studio
from facemix.render.head import Head
from facemix.render.person import person
from facemix.render.population import POPULATIONS

Points = npt.NDArray[np.float64]

PEOPLE = 1000
FRONTAL = 0.06  # tip of the nose beside the middle of the eyes, of the outer-eye distance
LIPS = (49, 50, 59, 58, 60, 61, 67)


def upright(points: Points) -> Points:
    """Frontal faces among (n, 68, 2): from the middle of the eyes, x outwards on the right side, y down."""
    right, left = points[:, 36], points[:, 45]
    across = left - right
    width = np.linalg.norm(across, axis=1)
    x = across / width[:, None]
    turned = np.stack([x, np.stack([-x[:, 1], x[:, 0]], 1)], 1)
    faces = np.einsum("nij,nkj->nki", turned, points - ((left + right) / 2)[:, None]) / width[:, None, None]
    faces = faces[np.abs(faces[:, 30, 0]) < FRONTAL]
    both: Points = (faces * [-1, 1] + faces[:, ibug68().mirror]) / 2
    return both


def along_mouth(faces: Points) -> Points:
    """How far out the points of LIPS lie, in shares of the mouth's width (n, 7)."""
    shares: Points = faces[:, LIPS, 0] / (2 * faces[:, 48:49, 0])
    return shares


def main() -> None:
    real = packs.read(packs.FOLDER / "real")
    chosen = (real.splits == "train") & (np.char.find(real.ids, f"{RENDERED['real']}/") != 0)
    if not chosen.any():
        raise SystemExit(f"{packs.FOLDER / 'real'}: no photographs; see --help")
    head = Head()
    outline = labels.Outline(head)
    sittings = [studio.sit(head, person(POPULATIONS["synthetic"], 0, index), 256) for index in range(PEOPLE)]
    photographs = upright(np.asarray(real.landmarks[chosen], float))
    mesh = upright(np.array([labels.mesh_labels(s.shape, s.pose, s.camera) for s in sittings]))
    people = upright(
        np.array([labels.annotator_labels(s.person, s.shape, s.pose, s.camera, outline, steady=True) for s in sittings])
    )
    print(f"{len(photographs)} photographs, {len(mesh)} people of the generator")
    print(f"{'point':>5}{'mesh':>16}{'annotator':>16}")
    for point in [*range(9), *range(17, 22), *range(27, 34), *range(36, 42)]:
        off = [100 * np.median(faces - np.median(photographs, 0), 0)[point] for faces in (mesh, people)]
        print(f"{point:5}" + "".join(f"{x:10.1f}{y:6.1f}" for x, y in off))
    print("\nshare of the mouth's width from its middle\npoint  photographs  mesh  annotator")
    shares = np.array([np.median(along_mouth(faces), 0) for faces in (photographs, mesh, people)])
    for point, (seen, true, marked) in zip(LIPS, shares.T, strict=True):
        print(f"{point:5}{seen:13.2f}{true:6.2f}{marked:11.2f}")


if __name__ == "__main__":
    main()
